"""What stages write: one class per kind of row, one JSON object per line."""
