"""humor-distill: distil a funny large language model into a small one, with the large one as teacher and critic."""

import os
from pathlib import Path

STAGES = ("teacher", "sft", "sample", "critic", "dpo", "evaluate", "agreement")
"""In the paper's order; sample, critic and dpo belong to a round and may repeat; agreement is there if configured."""
ROUND_STAGES = ("sample", "critic", "dpo")

ROOT = Path(__file__).resolve().parent.parent
"""The project folder: configs/, prompts/ and relative paths in configurations are found here."""


def data_folder() -> Path:
    """Where runs/ and cache/ are: data/ in the project, or the environment variable HUMOR_DISTILL_DATA."""
    return Path(os.environ.get("HUMOR_DISTILL_DATA") or ROOT / "data")
