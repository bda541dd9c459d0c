"""One module per stage: ROW it writes, SECTIONS and PROMPTS of its recipe, `reads`, and `run`, which yields rows."""
