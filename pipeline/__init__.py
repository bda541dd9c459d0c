"""humor-distill: distil a funny large language model into a small one.

The large one is teacher and critic.
"""

import os
from pathlib import Path

ROUND_STAGES = ("sample", "critic", "dpo")
"""These belong to a round and may repeat."""
OPTIONAL_STAGES = ("retriever", "agreement")
"""These are there if their section is configured."""
LAST_STAGES = ("retriever", "evaluate", "agreement")
"""These come after all rounds."""
STAGES = ("teacher", "sft", *ROUND_STAGES, *LAST_STAGES)
"""In the paper's order."""

ROOT = Path(__file__).resolve().parent.parent
"""The project folder: configs/, prompts/ and relative paths in configurations are found here."""


def data_folder() -> Path:
    """Where runs/ and cache/ are.

    That is data/ in the project, or the environment variable HUMOR_DISTILL_DATA.
    """
    return Path(os.environ.get("HUMOR_DISTILL_DATA") or ROOT / "data")


TEMPLATES = Path(__file__).resolve().parent / "templates"
"""What reports and cards are made of."""
