"""Does a row agree with the rows that it refers to, by id? For verify."""

from collections import Counter
from typing import Any

from pipeline.judging import card, metrics, verdict
from pipeline.reading import place, rules
from pipeline.reading.place import Judged, Place, is_by
from pipeline.rows.card import CardFigure, Probe
from pipeline.rows.records import Drop, Flag, Joke, Label, Metric, SetVerdict, Verdict
from pipeline.rows.row import Row
from pipeline.rows.training import (
    Comparison,
    Imitation,
    Margin,
    Preference,
    Prompt,
    Ranking,
    Retrieval,
    Rollout,
)
from pipeline.rows.vote import Vote
from pipeline.runs.files import RECORDS

OF_PEOPLE = ("reward-model", "judge-card", "agreement")
"""Steps that leave out pairs which people judged, about whatever those are."""
CLOSE = 1e-9
"""The difference between two figures that is rounding."""


class Joins:
    """Remembers what later rows refer to, as the steps go by in order."""

    def __init__(self) -> None:
        self.literal_of: dict[str, tuple[str, str]] = {}
        """Text and split of every literal."""
        self.jokes: dict[str, tuple[str, str]] = {}
        """Text and author of every joke seen."""
        self.verdicts: dict[str, tuple[str, str, str]] = {}
        """a, b and outcome of every verdict seen."""

    def check(self, row: Row, at: Place) -> None:
        """Note what is wrong with a row of a step, given the rows before it."""
        getattr(self, f"_{type(row).__name__.lower()}")(row, at)

    def _unless(self, true: bool, at: Place, row: Row, fault: str) -> None:
        if not true:
            at.faults.append(f"{at.folder / at.file}: {row.id}: {fault}")

    def _ruled(self, true: bool, at: Place, row: Row, fault: str, *by: str) -> None:
        """Like `_unless`, where rules of ours made the row of what it is compared with."""
        if not true:
            at.otherwise.append((frozenset(by), f"{at.folder / at.file}: {row.id}: {fault}"))

    def _joke(self, row: Joke, at: Place) -> None:
        self._literal(row, at, row.literal)
        self.jokes[row.id] = row.text, row.author

    def _literal(self, row: Any, at: Place, text: str | None = None) -> None:
        literal = self.literal_of.get(row.literal_id)
        self._unless(literal is not None, at, row, f"no literal {row.literal_id}")
        if literal and text is not None:
            self._unless(
                literal[0] == text, at, row, f"its literal is not the text of {row.literal_id}"
            )

    def _has_joke(self, row: Row, at: Place, joke: str, text: str) -> None:
        self._unless(joke in self.jokes, at, row, f"no joke {joke}")
        written, _ = self.jokes.get(joke, (text, ""))
        self._unless(written == text, at, row, f"its text is not that of {joke}")

    def _comparison(self, row: Comparison, at: Place) -> None:
        about = {row.subject, row.literal_id}
        if at.file == RECORDS:
            at.subjects |= about
        else:
            told = sorted(about & at.subjects)
            self._unless(not told, at, row, f"held out, but {told} was learned from")

    def _imitation(self, row: Imitation, at: Place) -> None:
        self._literal(row, at)
        self._has_joke(row, at, row.joke_id, row.completion)
        self._in_split(row, at)

    def _in_split(self, row: Any, at: Place) -> None:
        wanted = "train" if at.file == RECORDS else "validation"
        _, split = self.literal_of.get(row.literal_id, ("", wanted))
        self._unless(split == wanted, at, row, f"a {split} literal among the {wanted} rows")

    def _prompt(self, row: Prompt, at: Place) -> None:
        at.prompts.add(row.literal_id)
        self._literal(row, at)

    def _rollout(self, row: Rollout, at: Place) -> None:
        self._unless(row.literal_id in at.prompts, at, row, f"no prompt about {row.literal_id}")

    def _retrieval(self, row: Retrieval, at: Place) -> None:
        self._literal(row, at, row.literal)
        self._in_split(row, at)
        self._unless(len(row.joke_ids) == len(row.jokes), at, row, "not as many jokes as ids")
        for joke, text in zip(row.joke_ids, row.jokes, strict=False):
            self._has_joke(row, at, joke, text)

    def _verdict(self, row: Verdict, at: Place) -> None:
        self._literal(row, at, row.literal)
        self._has_joke(row, at, row.a, row.a_text)
        self._has_joke(row, at, row.b, row.b_text)
        self._decided(row, at, at.tie_band(row.role, row.judge))
        self.verdicts[row.id] = row.a, row.b, row.outcome
        if row.role == "judge":
            _, split = self.literal_of.get(row.literal_id, ("", ""))
            _, author = self.jokes.get(row.a, ("", ""))
            at.judged[split, row.aspect, author].append(
                Judged(
                    row.judge,
                    row.literal_id,
                    row.outcome,
                    metrics.score(row),
                    (row.literal, row.a_text),
                    (row.literal, row.b_text),
                )
            )

    def _decided(self, row: Verdict | SetVerdict, at: Place, tie_band: float) -> None:
        """Whether a verdict is what its orders say."""
        same = row.outcome == verdict.outcome(row.orders, tie_band)
        self._ruled(same, at, row, "its orders give another outcome", rules.OUTCOME)
        same = _close(row.p_a, verdict.mean(row.orders))
        self._ruled(same, at, row, "p_a is not the mean of its orders", rules.MEAN)

    def _vote(self, row: Vote, at: Place) -> None:
        self._literal(row, at, row.literal)
        self._has_joke(row, at, row.a, row.a_text)
        self._has_joke(row, at, row.b, row.b_text)

    def _probe(self, row: Probe, at: Place) -> None:
        self._verdict(row, at)
        at.probes[row.judge or ""].append(row)

    def _cardfigure(self, row: CardFigure, at: Place) -> None:
        """Shares of what the judge did, against its verdicts; no other figure is computed again."""
        probes = at.probes[row.judge]
        failed = sum(probe.outcome == "failed" for probe in probes)
        value = failed / len(probes) if probes else None
        n = len(probes)
        if row.measure in (made := card.shares(probes)):
            credits, failed = made[row.measure]
            value, n = metrics.mean(credits), len(credits)
        elif row.measure != "failures":
            return
        same = (row.n, row.failed) == (n, failed) and _close(row.value, value)
        self._ruled(same, at, row, "not what the verdicts say", rules.CARD)

    def _setverdict(self, row: SetVerdict, at: Place) -> None:
        lists = (row.literal_ids, row.literals, row.a, row.b, row.a_texts, row.b_texts)
        if len({len(part) for part in lists}) > 1:
            self._unless(False, at, row, "its lists are not of one length")
            return
        for literal, text in zip(row.literal_ids, row.literals, strict=True):
            self._unless(
                self.literal_of.get(literal, ("", ""))[1] == row.split, at, row, "another split"
            )
            same = self.literal_of.get(literal, ("", ""))[0] == text
            self._unless(same, at, row, f"its literal is not the text of {literal}")
        for joke, text in zip([*row.a, *row.b], [*row.a_texts, *row.b_texts], strict=True):
            self._has_joke(row, at, joke, text)
        authors = {self.jokes.get(joke, ("", ""))[1] for joke in row.a}
        self._unless(authors == {row.contestant}, at, row, "another contestant's answers")
        self._decided(row, at, at.tie_band("judge", row.judge))
        score = metrics.score(row)
        if score is not None:
            at.sets[row.split, row.contestant].append((row.judge, row.a[0], score))

    def _flag(self, row: Flag, at: Place) -> None:
        self._literal(row, at)
        self._has_joke(row, at, row.joke_id, row.text)

    def _preference(self, row: Preference, at: Place) -> None:
        at.learned.add(row.id)
        self._literal(row, at)
        if row.verdict_id:
            a, b, outcome = self.verdicts.get(row.verdict_id, ("", "", ""))
            self._unless(bool(outcome), at, row, f"no verdict {row.verdict_id}")
            orders = {"a": (a, b), "b": (b, a)}
            if row.tie:
                orders = {"tie": (a, b), "inconsistent": (a, b)}
            same = (row.chosen_id, row.rejected_id) == orders.get(outcome, ("", ""))
            self._ruled(same, at, row, f"not what {row.verdict_id} says", rules.PREFERENCES)
        self._has_joke(row, at, row.chosen_id, row.chosen)
        self._has_joke(row, at, row.rejected_id, row.rejected)

    def _ranking(self, row: Ranking, at: Place) -> None:
        at.learned.add(row.id)
        self._literal(row, at)
        for joke, text in zip(row.candidate_ids, row.candidates, strict=True):
            self._has_joke(row, at, joke, text)
        in_order = row.scores == sorted(row.scores, reverse=True)
        self._ruled(in_order, at, row, "not in the order of its scores", rules.RANKINGS)

    def _label(self, row: Label, at: Place) -> None:
        self.literal_of.setdefault(row.literal_id, (row.literal, "people"))
        self.jokes |= {row.a: (row.a_text, "people"), row.b: (row.b_text, "people")}

    def _margin(self, row: Margin, at: Place) -> None:
        at.margins.add(row.preference_id)
        self._unless(row.preference_id in at.learned, at, row, f"no preference {row.preference_id}")

    def _drop(self, row: Drop, at: Place) -> None:
        at.reasons[row.reason] += 1
        if at.folder.name in OF_PEOPLE:
            return
        self._literal(row, at)
        known = any(row.dropped in rows for rows in (self.jokes, self.verdicts, self.literal_of))
        self._unless(known, at, row, f"no literal, joke or verdict {row.dropped}")

    def _metric(self, row: Metric, at: Place) -> None:
        """Counts, rates and differences against the verdicts.

        Intervals, the controlled rate, kappa and diversity are not computed again.
        """
        at.figured.add(row.judge)
        if row.vs is None:
            self._rate(row, at)
        else:
            self._difference(row, row.vs, at)

    def _rate(self, row: Metric, at: Place) -> None:
        judged = at.of(row, row.contestant)
        counts = Counter(one.outcome for one in judged)
        same = (
            row.win == counts["a"]
            and row.loss == counts["b"]
            and row.tie == counts["tie"]
            and row.inconsistent == counts["inconsistent"]
            and row.failed == counts["failed"]
        )
        self._ruled(same, at, row, f"the verdicts say {dict(counts)}", rules.RATE)
        credits = place.credits(judged)
        self._ruled(
            row.n == len(credits),
            at,
            row,
            f"n is not {len(credits)}, as the verdicts say",
            rules.RATE,
        )
        mean = metrics.mean(list(credits.values()))
        self._ruled(
            _close(row.wtr, mean),
            at,
            row,
            "wtr is not the mean of the verdicts' scores",
            rules.RATE,
        )
        if row.schema_ != "metric/1":
            fresh = metrics.mean(list(place.fresh_credits(judged).values()))
            same = _close(row.fresh_wtr, fresh)
            self._ruled(
                same, at, row, "fresh_wtr is not what the verdicts and answers give", *rules.FRESH
            )
        if row.sets is not None:
            scores = []
            for judge, first, score in at.sets[row.split, row.contestant]:
                if is_by(judge, row):
                    scores.append((first, score))
            by_set = list(metrics.by_literal(scores).values())
            same = row.sets == len(by_set) and _close(row.set_rate, metrics.mean(by_set))
            self._ruled(same, at, row, "set_rate is not the mean of the sets' scores", rules.RATE)

    def _difference(self, row: Metric, baseline: str, at: Place) -> None:
        ours = place.credits(at.of(row, row.contestant))
        theirs = place.credits(at.of(row, baseline))
        deltas = [ours[literal] - theirs[literal] for literal in ours.keys() & theirs.keys()]
        same = _close(row.delta, metrics.mean(deltas))
        self._ruled(
            same,
            at,
            row,
            "delta is not the mean difference of the verdicts' scores",
            rules.DIFFERENCE,
        )


def _close(recorded: float | None, computed: float | None) -> bool:
    if recorded is None or computed is None:
        return recorded is None and computed is None
    return abs(recorded - computed) < CLOSE
