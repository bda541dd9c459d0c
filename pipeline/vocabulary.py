"""The words that the configuration, the rows and the commands share, each said once."""

from typing import Literal, get_args

Split = Literal["train", "validation", "test", "ood"]
SPLITS: tuple[Split, ...] = get_args(Split)
"""ood is out of domain."""
SHARES = "train=80,validation=5,test=15"
"""How a plain list may be dealt out to them."""

Aspect = Literal["overall", "humor", "consistency"]
"""What two jokes are compared by."""
ASPECTS: tuple[Aspect, ...] = get_args(Aspect)

Outcome = Literal["a", "b", "tie", "inconsistent", "failed"]
"""What the two presentations of a pair say together."""
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

TAUGHT = "reward-model"
"""The model of [reward_model], where a verdict or a figure names who judged."""
POOLED = "pooled"
"""All judges of a panel together, where a figure names its judge."""

Objective = Literal["dpo", "brio", "sd", "ft", "gkd", "llmr"]
"""What a round learns; config/objectives.py says what each is made of."""
