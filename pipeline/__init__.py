"""humor-distill: distil a funny large language model into a small one.

The large one is teacher and critic.
"""

__version__ = "0.12.0"

ROUND_STAGES = ("sample", "critic", "dpo")
"""These belong to a round and may repeat."""
OPTIONAL_STAGES = ("reward-model", "retriever", "judge-card", "agreement")
"""These are there if their section is configured."""
FIRST_STAGES = ("reward-model", "teacher")
"""These come before any student."""
LAST_STAGES = ("retriever", "evaluate", "judge-card", "agreement")
"""These come after all rounds."""
SPOKEN_STAGE = "vote"
"""People make it, whenever they like."""
STAGES = (*FIRST_STAGES, "sft", *ROUND_STAGES, *LAST_STAGES)
"""In the paper's order."""


def spelt(stage: str) -> str:
    """A stage's name as Python and TOML can write it."""
    return stage.replace("-", "_")
