"""Candidates to pairs, verdicts to preferences: values in, values out."""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Literal

from pipeline.lessons import Imitation, Preference, Ranking
from pipeline.records import Joke, Verdict, make


def edit_distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Levenshtein distance between two sequences."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]


def ngrams(text: str, n: int) -> list[str]:
    """The word n-grams of a text, lower-cased; the whole text where it is shorter than n words."""
    words = text.lower().split()
    return [" ".join(words[i : i + n]) for i in range(max(1, len(words) - n + 1))]


def candidates(jokes: Sequence[Joke]) -> tuple[list[Joke], list[tuple[str, str]]]:
    """The candidates of one literal that can be compared, and (id, reason) of those that were left out.

    Empty candidates, copies of the literal and repeats of an earlier candidate are left out, and all of them where
    fewer than two are left.
    """
    dropped: list[tuple[str, str]] = []
    kept: dict[str, Joke] = {}
    for joke in sorted(jokes, key=lambda joke: joke.index):
        text = " ".join(joke.text.lower().split())
        if not text:
            dropped.append((joke.id, "empty candidate"))
        elif text == " ".join(joke.literal.lower().split()):
            dropped.append((joke.id, "copy of the literal"))
        elif text in kept:
            dropped.append((joke.id, "same candidate"))
        else:
            kept[text] = joke
    if len(kept) < 2:
        dropped += [(literal, "literal without two candidates") for literal in {joke.literal_id for joke in jokes}]
        return [], dropped
    return list(kept.values()), dropped


def choose(jokes: Sequence[Joke], which: Literal["farthest", "all"], n: int) -> list[tuple[Joke, Joke]]:
    """The pairs of one literal's candidates to judge.

    `farthest` is the pair with the largest n-gram edit distance ("Small But Funny", arXiv 2402.18113, critique phase),
    the first such pair in candidate order; `all` is every pair.
    """
    pairs = list(combinations(jokes, 2))
    if which == "farthest" and pairs:
        grams = {joke.id: ngrams(joke.text, n) for joke in jokes}
        pairs = [max(pairs, key=lambda pair: edit_distance(grams[pair[0].id], grams[pair[1].id]))]
    return pairs


def imitations(
    jokes: Iterable[Joke], prompts: dict[str, str], lengths: dict[str, int], room: dict[str, int]
) -> tuple[list[Imitation], list[tuple[str, str, str]]]:
    """What imitation learns from jokes, and (literal, id, reason) of those left out; arguments as in `preferences`."""
    rows, dropped = [], []
    for joke in jokes:
        if lengths[joke.id] > room[joke.literal_id]:
            dropped.append((joke.literal_id, joke.id, "longer than max_length"))
        else:
            rows.append(imitation(joke.literal_id, prompts[joke.literal_id], joke.id, joke.text))
    return rows, dropped


def imitation(literal: str, prompt: str, joke: str, text: str) -> Imitation:
    return make(Imitation, literal_id=literal, joke_id=joke, prompt=prompt, completion=text)


def preferences(
    verdicts: Iterable[Verdict],
    prompts: dict[str, str],
    lengths: dict[str, int],
    bounds: tuple[float, float],
    room: dict[str, int] | None = None,
    ties: bool = False,
) -> tuple[list[Preference], list[tuple[Verdict, str]]]:
    """What DPO can learn from verdicts, and which verdicts were dropped and why.

    With `ties`, a tied or inconsistent verdict becomes a preference whose chosen and rejected are a and b.

    `prompts` gives the student prompt by literal id, `lengths` the tokens of a joke by joke id; `bounds` are the
    smallest and largest len(chosen) / len(rejected) that stay. `room` gives the tokens left for an answer after each
    literal's prompt; a pair with a longer joke would be cut in training, and is dropped.
    """
    rows: list[Preference] = []
    dropped: list[tuple[Verdict, str]] = []
    for verdict in verdicts:
        tie = verdict.outcome in ("tie", "inconsistent")
        if verdict.outcome == "failed" or (tie and not ties):
            dropped.append((verdict, verdict.outcome))
            continue
        a, b = (verdict.a, verdict.a_text), (verdict.b, verdict.b_text)
        (chosen_id, chosen), (rejected_id, rejected) = (b, a) if verdict.outcome == "b" else (a, b)
        if room and max(lengths[chosen_id], lengths[rejected_id]) > room[verdict.literal_id]:
            dropped.append((verdict, "longer than max_length"))
        elif not bounds[0] <= lengths[chosen_id] / max(1, lengths[rejected_id]) <= bounds[1]:
            dropped.append((verdict, "length ratio"))
        else:
            p_a = verdict.p_a or 0.0
            rows.append(
                make(
                    Preference,
                    literal_id=verdict.literal_id,
                    verdict_id=verdict.id,
                    prompt=prompts[verdict.literal_id],
                    chosen=chosen,
                    rejected=rejected,
                    chosen_id=chosen_id,
                    rejected_id=rejected_id,
                    p=1 - p_a if verdict.outcome == "b" else p_a,
                    tie=tie,
                )
            )
    return rows, dropped


def as_ranking(row: Preference) -> Ranking:
    """A preference as a ranking of two."""
    return make(
        Ranking,
        literal_id=row.literal_id,
        prompt=row.prompt,
        candidates=[row.chosen, row.rejected],
        candidate_ids=[row.chosen_id, row.rejected_id],
        scores=[row.p, 1 - row.p],
    )


def rankings(
    verdicts: Iterable[Verdict], prompts: dict[str, str], lengths: dict[str, int], room: dict[str, int]
) -> tuple[list[Ranking], list[tuple[str, str, str]]]:
    """The candidates of each literal from best to worst, and (literal, id, reason) of what was dropped.

    Where every pair was judged, a candidate's score is the mean probability by which the critic prefers it to the
    others (the Borda count); else the mean probability of that by Bradley-Terry scores (schedule.py). Failed verdicts
    count as not judged; equal scores are ordered by joke id. Arguments are as in `preferences`.
    """
    dropped: list[tuple[str, str, str]] = []
    won: dict[str, dict[str, dict[str, float]]] = {}
    texts: dict[str, str] = {}
    for verdict in verdicts:
        scores = won.setdefault(verdict.literal_id, {})
        if verdict.outcome == "failed" or verdict.p_a is None:
            dropped.append((verdict.literal_id, verdict.id, "failed"))
            continue
        sides = (verdict.a, verdict.a_text, verdict.p_a), (verdict.b, verdict.b_text, 1 - verdict.p_a)
        for (joke, text, p), (other, _, _) in (sides, sides[::-1]):
            texts[joke] = text
            scores.setdefault(joke, {})[other] = p
    rows = []
    for literal, scores in won.items():
        long = [joke for joke in scores if lengths[joke] > room[literal]]
        dropped += [(literal, joke, "longer than max_length") for joke in long]
        mean = {joke: score for joke, score in _scores(scores).items() if joke not in long}
        order = sorted(mean, key=lambda joke: (-mean[joke], joke))
        if len(order) < 2:
            dropped.append((literal, literal, "fewer than two candidates"))
            continue
        rows.append(
            make(
                Ranking,
                literal_id=literal,
                prompt=prompts[literal],
                candidates=[texts[joke] for joke in order],
                candidate_ids=order,
                scores=[mean[joke] for joke in order],
            )
        )
    return rows, dropped


def _scores(won: dict[str, dict[str, float]]) -> dict[str, float]:
    """Each joke's score, from the probabilities by which it was preferred to others."""
    if all(len(values) == len(won) - 1 for values in won.values()):
        return {joke: sum(values.values()) / len(values) for joke, values in won.items()}
    from pipeline import schedule

    place = {joke: number for number, joke in enumerate(won)}
    judged = [(place[a], place[b], p) for a, values in won.items() for b, p in values.items() if place[a] < place[b]]
    return dict(zip(won, schedule.mean_wins(len(won), judged), strict=True))
