"""Learning from a teacher whose logits can be read."""
