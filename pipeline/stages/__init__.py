"""One module per stage: SECTIONS and PROMPTS of its recipe, the row that it `writes`, the steps that it `reads`, and `run`."""
