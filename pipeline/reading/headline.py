"""What a person should read first of an evaluation: values in, words out."""

import re
from collections.abc import Sequence

from pipeline.reading.variety import percent
from pipeline.rows.records import Metric


def lines(rows: Sequence[Metric]) -> list[str]:
    """Of each split the last contestant: its rate, its fresh rate, and the gains over sft."""
    said = []
    for split in views([row for row in rows if row.aspect == rows[0].aspect]):
        here = [row for row in rows if row.view == split]
        last = [row for row in here if row.vs is None][-1]
        if last.wtr is None:
            continue
        gain = None
        for row in here:
            if row.contestant == last.contestant and row.vs == "sft":
                gain = row
        line = (
            f"{last.contestant} ties or beats its teacher in {percent(last.wtr)} of judgements on "
            f"{last.n} {split} sentences ({_interval(last.low, last.high)})"
        )
        if gain:
            line += _gain(gain.delta, gain.delta_low, gain.delta_high)
        if last.fresh_wtr is not None:
            line += (
                f"; its fresh rate, in which what it says often counts less, is "
                f"{percent(last.fresh_wtr)} ({_interval(last.fresh_low, last.fresh_high)})"
            )
            if gain:
                line += _gain(gain.fresh_delta, gain.fresh_delta_low, gain.fresh_delta_high)
        said.append(line + ".")
    return said


def better_student(rows: Sequence[Metric], run: str) -> str | None:
    """The student of a run to take by its fresh rate, where that is not the last one."""
    split = views(rows)[0] if rows else ""
    rates: dict[str, float] = {}
    for row in rows:
        trained = re.fullmatch(r"sft|round-\d+", row.contestant)
        if trained and row.view == split and row.vs is None and row.fresh_wtr is not None:
            rates[row.contestant] = row.fresh_wtr
    if not rates:
        return None
    last = list(rates)[-1]
    best = max(rates, key=rates.__getitem__)
    if rates[best] <= rates[last]:
        return None
    said = f"{percent(rates[best])} against {percent(rates[last])}"
    for row in rows:
        if (row.contestant, row.vs, row.view) == (last, best, split) and row.fresh_delta_low:
            said += _gain(row.fresh_delta, row.fresh_delta_low, row.fresh_delta_high, of=last)
    return (
        f"{best} has a better fresh rate on {split} than {last}, {said}: "
        f"humor-distill export --run {run} --contestant {best} FOLDER"
    )


def _interval(low: float | None, high: float | None) -> str:
    return f"95 % interval {percent(low or 0)} to {percent(high or 0)}"


def _gain(delta: float | None, low: float | None, high: float | None, of: str | None = None) -> str:
    """A gain over sft, or of a contestant's over another, in words; nothing where there is none."""
    if delta is None:
        return ""
    over = f"of {of}" if of else "against imitation alone"
    return f", {delta:+.3f} {over} ({low:+.3f} to {high:+.3f}, paired)"


def views(rows: Sequence[Metric]) -> list[str]:
    """The splits as the judge saw them, in the order of the rows."""
    return list(dict.fromkeys(row.view for row in rows))
