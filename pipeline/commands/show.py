"""show: one joke's whole life, or the rows of a stage, in the terminal."""

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline import ROUND_STAGES, SPOKEN_STAGE, STAGES
from pipeline.console import WIDTH, Console, clean
from pipeline.errors import ConfigError, StageError, meant
from pipeline.reading import between, comparison, lookup
from pipeline.reading.comparison import EVALUATE
from pipeline.reading.life import Files, Life
from pipeline.rows.records import Verdict
from pipeline.runs.files import ANSWERS, DROPPED, RECORDS
from pipeline.runs.run import Run, existing
from pipeline.runs.step import Step

COLUMNS = {
    "joke/": ("id", "author", "index", "text"),
    "imitation/": ("id", "prompt", "completion"),
    "preference/": ("id", "p", "chosen", "rejected"),
    "ranking/": ("id", "candidates"),
    "prompt/": ("id", "prompt"),
    "retrieval/": ("id", "literal", "jokes"),
    "comparison/": ("id", "literal", "chosen", "rejected"),
    "vote/": ("id", "voter", "aspect", "answer", "a_text", "b_text"),
    "drop/": ("dropped", "reason", "text"),
}
"""By the kind of row, what tells it from its neighbours."""


def run(args: argparse.Namespace) -> None:
    """Print what `show` was asked for; ConfigError or StageError where it is not there."""
    run = existing(args.run)
    others = [args.id, args.stage, args.outcome, args.author, args.dropped]
    if args.where and any(other is not None for other in others):
        raise ConfigError("--where goes with --limit alone: it lists sentences, not rows.")
    if args.id:
        shown = life(run, lookup.resolve(run, args.id))
    elif args.where:
        winner, loser = args.where
        shown = where(run, winner, loser, args.limit)
    elif args.stage:
        shown = listing(run, args)
    else:
        raise ConfigError(
            f"show what? An id, --stage {'|'.join(STAGES)} for some ids, or --where round-1 sft "
            "for the sentences on which one did better."
        )
    Console(columns=WIDTH).print(shown)


def life(run: Run, identity: str) -> RenderableType:
    """Everything about the literal that an id belongs to, stage by stage.

    The id itself is marked.
    """
    by_step: dict[str, Files] = defaultdict(lambda: defaultdict(list))
    for source, row in lookup.life(run, identity):
        by_step[source.step][source.path.name].append(row)
    return Group(*Life(identity, by_step).parts())


def listing(run: Run, args: argparse.Namespace) -> RenderableType:
    """The first rows of a stage that pass the filters, as a table."""
    step = Step(args.stage, args.round if args.stage in ROUND_STAGES else None)
    if step not in run.steps():
        raise ConfigError(
            f"--round {args.round}: run {run.name} has no {step}. humor-distill status --run "
            f"{run.name}"
        )
    path = _path(run, step, RECORDS if args.dropped is None else DROPPED)
    passing = filter(_filter(args, path.parent), lookup.Source(str(step), path).rows())
    rows = list(islice(passing, args.limit))
    if not rows:
        return Text(f"No row of {step} in run {run.name} is like that.")
    table = _table(rows)
    more = sum(1 for _ in passing)
    limited = "; more with --limit" if more else ""
    rest = Text(
        f"{len(rows)} of {len(rows) + more} rows{limited}. One row's life: show ID --run "
        f"{run.name}",
        style="dim",
    )
    return Group(table, rest)


def where(run: Run, winner: str, loser: str, limit: int) -> RenderableType:
    """The sentences on which one contestant has more credit than another, with both answers."""
    _path(run, EVALUATE, RECORDS)
    judged = comparison.judged(run)
    contestants = list(dict.fromkeys(name for _, name in judged))
    for name in (winner, loser):
        if name not in contestants:
            raise ConfigError(
                f"--where: {name} is no contestant of run {run.name}. There are "
                f"{', '.join(contestants)}, each compared with the teacher's jokes."
                f"{meant(name, contestants)}"
            )
    parts: list[RenderableType] = []
    told = 0
    alike = 0
    for view, name in judged:
        if name != winner:
            continue
        own = _by_literal(judged[view, winner])
        others = _by_literal(judged.get((view, loser), []))
        differing = between.differing(judged[view, winner], judged.get((view, loser), []))
        alike += len(differing.worse) + differing.alike
        for literal in differing.better:
            told += 1
            if told <= limit:
                parts += _both(view, (winner, own[literal]), (loser, others[literal]))
    if not told:
        return Text(f"{winner} did better than {loser} on no sentence of run {run.name}.")
    more = "; more with --limit" if told > limit else ""
    parts.append(
        Text(
            f"{min(told, limit)} of {told} sentences on which {winner} did better than {loser}, "
            f"of {told + alike}{more}. Why: show ID --run {run.name}",
            style="dim",
        )
    )
    return Group(*parts)


def _by_literal(verdicts: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    """A sentence may have several: of several judges, or answers."""
    groups: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        groups[verdict.literal_id].append(verdict)
    return groups


def _both(view: str, *told: tuple[str, list[Verdict]]) -> Iterator[RenderableType]:
    """A sentence, the teacher's joke, and two contestants' answers with their verdicts."""
    _, verdicts = told[0]
    yield Text.assemble((view, "dim"), "  ", clean(verdicts[0].literal))
    yield Text.assemble("    teacher: ", clean(verdicts[0].b_text))
    for name, verdicts in told:
        judges = {verdict.judge for verdict in verdicts}
        for verdict in verdicts:
            outcome = comparison.OUTCOMES[verdict.outcome]
            by = f", by {verdict.judge}" if len(judges) > 1 else ""
            head = clean(f"    {name}, {outcome}{by}: ")
            yield Text.assemble(head, clean(verdict.a_text), ("  " + verdict.id, "cyan"))


def _path(run: Run, step: Step, name: str) -> Path:
    """The step's file; StageError where it is not there."""
    folder = run.at(step)
    if not (folder / name).exists():
        what = f"is not complete. Make it: {step.command(run.name)}"
        if (folder / RECORDS).exists():
            what = "dropped nothing"
        raise StageError(f"{step} of run {run.name} {what}")
    return folder / name


def _filter(args: argparse.Namespace, folder: Path) -> Callable[[dict[str, Any]], bool]:
    """Whether a row is what --outcome, --author and --dropped ask for."""
    answers = lookup.Source("", folder / ANSWERS)
    if folder.name in (SPOKEN_STAGE, "judge-card"):  # on what evaluate's contestants answered
        answers = lookup.Source("", folder.parent / "evaluate" / ANSWERS)
    author_of: dict[str, str] = {}
    if args.author and answers.path.exists():
        author_of = {row["id"]: row["author"] for row in answers.rows()}

    def passes(row: dict[str, Any]) -> bool:
        if args.outcome and row.get("outcome") != args.outcome:
            return False
        judged = author_of.get(row.get("a", ""))
        if args.author and args.author not in (row.get("author"), row.get("probe"), judged):
            return False
        return not args.dropped or args.dropped in row["reason"]

    return passes


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    for column in _cells(rows[0]):
        table.add_column(column, no_wrap=column in ("id", "dropped"), overflow="fold")
    for row in rows:
        table.add_row(*(clean("" if value is None else value) for value in _cells(row).values()))
    return table


def _cells(row: dict[str, Any]) -> dict[str, Any]:
    """The columns that tell a row from its neighbours."""
    if row["schema"].startswith(("verdict/", "probe/")):
        probe = {"probe": row["probe"]} if "probe" in row else {}
        return {
            "id": row["id"],
            **probe,
            "outcome": row["outcome"],
            "p(a) shown ab, ba": " ".join(_p_a(order) for order in row["orders"]),
            "a": row["a_text"],
            "b": row["b_text"],
        }
    keys = next(keys for kind, keys in COLUMNS.items() if row["schema"].startswith(kind))
    return {key: _cell(row[key]) for key in keys}


def _p_a(order: dict[str, Any]) -> str:
    return "-" if order["p_a"] is None else f"{order['p_a']:.2f}"


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return " > ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.3f}"
    return value
