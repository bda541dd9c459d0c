"""Rules of ours by which rows come of answers and verdicts: what stages name by `decides`."""

from collections.abc import Sequence

from pipeline.config.judging import Judging
from pipeline.config.rounds import Round
from pipeline.config.whole import Config
from pipeline.execution.stage import Code

VERDICT = Code("judging/verdict.py", ("outcome", "mean"))
"""Orders to a verdict."""


def of_verdicts(*sections: Judging) -> Sequence[Code]:
    """The rules by which their answers become verdicts."""
    rules = [VERDICT]
    named = {settings.method for settings in sections}
    if "choice" in named:
        rules += [Code("judging/choice.py", ("read_order",)), Code("parsing")]
    if named - {"choice"}:
        rules.append(Code("judging/scored.py", ("orders",)))
    return rules


def of_round(config: Config, learned: Round) -> Sequence[Code]:
    """How rows come of verdicts or jokes, and which step of a training is kept by verdicts."""
    rules = [*_of_rows(config, learned)]
    if config.stops_by_rate(learned):
        rules += [*of_verdicts(config.critic), Code("judging/held_out.py", ("rates",))]
    return rules


def _of_rows(config: Config, learned: Round) -> Sequence[Code]:
    """llmr's are the prompts themselves."""
    if learned.learning.reads == "prompts":
        return ()
    file = "judging/preferences.py"
    if learned.learning.reads == "jokes":
        return (Code(file, ("imitations",)),)
    if learned.rankings:
        return (Code(file, ("rankings",)),)
    rules = [Code(file, ("preferences",))]
    if config.dpo.pairing == "divpo":
        rules = [Code("judging/deviation.py", ("pairs",)), Code(file, ("scored",))]
    if config.dpo.deviation_weight:
        rules.append(Code("judging/deviation.py", ("weighed",)))
    return rules
