"""humor-distill: distil a funny large language model into a small one.

The large one is teacher and critic.
"""

__version__ = "0.6.0"

ROUND_STAGES = ("sample", "critic", "dpo")
"""These belong to a round and may repeat."""
OPTIONAL_STAGES = ("retriever", "agreement")
"""These are there if their section is configured."""
LAST_STAGES = ("retriever", "evaluate", "agreement")
"""These come after all rounds."""
STAGES = ("teacher", "sft", *ROUND_STAGES, *LAST_STAGES)
"""In the paper's order."""
