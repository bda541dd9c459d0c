"""One module per stage: SECTIONS and PROMPTS of its recipe, what it `writes`, the steps that it `reads`, and `run`."""
