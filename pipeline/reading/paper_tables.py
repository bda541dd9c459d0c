"""The paper's tables with our figures beside its own, as Markdown, CSV and SVG.

Values in, text out.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.reading import charts
from pipeline.reading.published import Percents

DRAWN = ("T2", "T3", "T4")
"""The tables whose rows are win-tie rates, which bars can show."""


@dataclass(frozen=True)
class Figure:
    """Ours: a rate with its 95 % interval, from n literals (or pairs) and some seeds.

    None where there is no run; no interval where it is the mean of seeds alone.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    seeds: tuple[float, ...] = ()
    count: bool = False
    """It is no rate, and not shown in percent."""

    def __str__(self) -> str:
        if self.value is None:
            return "-"
        if self.count:
            return f"{self.value:.1f}"
        if self.low is None or self.high is None:
            return f"{100 * self.value:.1f}"
        return f"{100 * self.value:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]"


@dataclass(frozen=True)
class Table:
    """One table: columns of the paper's figures in percent, then columns of ours."""

    name: str
    title: str
    paper: tuple[str, ...]
    ours: tuple[str, ...]
    rows: list[tuple[str, Percents, tuple[Figure, ...]]]
    notes: tuple[str, ...] = ()


def cells(table: Table) -> Iterator[list[str]]:
    """The head of a table, then its rows."""
    yield ["", *(f"paper: {name}" for name in table.paper), *table.ours, "n", "seeds"]
    for label, paper, ours in table.rows:
        seeds = ", ".join(f"{100 * value:.1f}" for value in ours[0].seeds)
        yield [label, *map(_percent, paper), *map(str, ours), str(ours[0].n or "-"), seeds or "-"]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def markdown(tables: Sequence[Table]) -> str:
    """The tables in Markdown."""
    lines = [
        '# The tables of "Small But Funny" (arXiv 2402.18113), the paper\'s numbers beside ours',
        "",
        "Percent; ours with 95 % intervals over seeds and literals (docs/results.md says how), and",
        "each seed's rate.",
        "In the fresh rate an answer counts less the more of a student's answers add the same",
        "words to their sentences (their device); devices are an effective number.",
        "",
    ]
    for table in tables:
        head, *rows = cells(table)
        lines += [f"## {table.name}. {table.title}", ""]
        lines += [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
        for row in rows:
            lines.append(f"| {' | '.join(row)} |")
        lines.append("")
        for note in table.notes:
            lines += [note, ""]
    return "\n".join(lines)


def as_csv(tables: Sequence[Table]) -> str:
    """One line per figure.

    It has table, row, column, source (paper or ours), value, low, high (percent), n, seeds.
    """
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(["table", "row", "column", "source", "value", "low", "high", "n", "seeds"])
    for table in tables:
        for label, paper, ours in table.rows:
            for column, value in zip(table.paper, paper, strict=True):
                lines.writerow([table.name, label, column, "paper", value, None, None, None, None])
            for column, figure in zip(table.ours, ours, strict=True):
                lines.writerow([table.name, label, column, "ours", *_numbers(figure)])
    return out.getvalue()


def _numbers(figure: Figure) -> list[float | None]:
    """Value, low and high in percent, n and seeds; what there is none of stays empty."""
    factor = 1 if figure.count else 100
    rates: list[float | None] = []
    for rate in (figure.value, figure.low, figure.high):
        rates.append(None if rate is None else round(factor * rate, 4))
    return [*rates, figure.n or None, len(figure.seeds) or None]


def drawing(tables: Sequence[Table]) -> str:
    """T2 to T4 as one SVG.

    Our rates are bars with intervals, the paper's first figure is a diamond.
    """
    drawings = []
    for table in tables:
        if table.name in DRAWN:
            bars: list[charts.Bar] = []
            marks = []
            for label, paper, ours in table.rows:
                bars.append((label, ours[0].value, ours[0].low, ours[0].high))
                marks.append(None if paper[0] is None else paper[0] / 100)
            title = f"{table.name}. {table.title}: bars are ours, diamonds the paper's"
            drawings.append((title, bars, marks))
    return str(charts.sheet(drawings))
