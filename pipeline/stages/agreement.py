"""agreement: the critic judges pairs that people have judged; how often does it agree with them?

"Small But Funny" (arXiv 2402.18113) chooses its critic so: agreement with people, position bias and
length bias.
"""

from collections.abc import Iterator, Sequence

from pipeline.config.whole import Config
from pipeline.execution.context import Context
from pipeline.execution.stage import Code, Requests
from pipeline.judging import agreement, labels, methods, rules, tally
from pipeline.progress import Progress
from pipeline.rows import jsonl
from pipeline.rows.records import Verdict
from pipeline.rows.row import Row
from pipeline.runs.files import LABELS
from pipeline.runs.step import Step

VERSION = 6


def sections(config: Config, round: int | None) -> Sequence[str]:
    return ("critic", "agreement")


def prompts(config: Config, round: int | None) -> Sequence[str]:
    return methods.prompts("critic", config.critic)


def decides(config: Config, round: int | None) -> Sequence[Code]:
    return [*rules.of_verdicts(config.critic), Code("judging/agreement.py", ("agreement",))]


def writes(config: Config, round: int | None) -> type[Row]:
    return Verdict


def reads(config: Config, round: int | None) -> dict[str, Step]:
    return methods.reads(config.critic)


def requests(context: Context) -> Requests | None:
    """The bodies of every pair; None where nobody is asked."""
    settings = context.config.critic
    pairs = labels.pairs(labels.load(context))
    return methods.requests("critic", settings, pairs, settings.aspect)


def tries(context: Context, n: int) -> Iterator[Verdict]:
    first = labels.load(context, n)
    with Progress(str(context.step), 2 * len(first), "calls") as progress:
        yield from methods.critics(context, progress, labels.pairs(first))


def run(context: Context) -> Iterator[Verdict]:
    judged_by_people = labels.load(context)
    jsonl.write(context.folder / LABELS, judged_by_people)
    context.files.append(context.folder / LABELS)
    verdicts: list[Verdict] = []
    with Progress(str(context.step), 2 * len(judged_by_people), "calls") as progress:
        judged = methods.critics(context, progress, labels.pairs(judged_by_people))
        for verdict in tally.counted(context, context.config.critic, judged):
            verdicts.append(verdict)
            yield verdict
    figures = agreement.agreement(verdicts, judged_by_people)
    context.facts["agreement"] = figures
    for key, value in figures.items():
        shown = f"{value:.3f}" if isinstance(value, float) else value
        print(f"{key.replace('_', ' ')}: {shown}")
