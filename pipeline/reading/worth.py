"""What a run's judge is worth, by its card and by people's votes, as the report shows it."""

from collections.abc import Iterator
from typing import Any

from pipeline.judging import taught, trust
from pipeline.reading.people import votes_of
from pipeline.rows import jsonl
from pipeline.rows.card import CardFigure
from pipeline.runs.files import CARD
from pipeline.runs.run import Run
from pipeline.runs.step import Step
from pipeline.voting import words
from pipeline.voting.card import figures

CARD_STEP = Step("judge-card")


def card(run: Run, complete: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The judge's card, in words and in figures; nothing where none was made."""
    if str(CARD_STEP) not in complete:
        return {"card": [], "card_lines": []}
    own = jsonl.load(run.at(CARD_STEP) / CARD, CardFigure)
    judges = list(dict.fromkeys(figure.judge for figure in own))
    votes = list(figures(votes_of(run), judges, own[0].aspect))
    rows = []
    for figure in trust.told([*own, *votes]):
        rows.append((figure, trust.shown(figure), trust.MEASURES[figure.measure]))
    return {"card": rows, "card_lines": trust.lines(own)}


def by_people(complete: dict[str, dict[str, Any]]) -> str:
    """How often the model is right that people's verdicts taught; nothing where there is none."""
    manifest = complete.get("reward-model")
    if manifest is None:
        return ""
    settings = manifest["recipe"]["reward_model"]
    about = settings["split_key"] or settings["literal_key"]
    said = f"The reward model, which people taught, is {taught.said(manifest['held_out'], about)}."
    told = complete["evaluate"].get("learned_from")
    if told:
        said += f" It learned from pairs about {told} of the sentences here, too: of those it says "
        said += "what it was told."
    return said


def people(run: Run) -> dict[str, Any]:
    """What people's votes came to; nothing where nobody has voted."""
    votes = votes_of(run)
    if votes is None:
        return {"people": None, "people_lines": []}
    counted = words.by_voters(votes["votes"], votes["voters"])
    return {"people": votes, "people_lines": [f"{counted}.", *words.in_words(votes)]}


def no_judge(run: Run) -> Iterator[str]:
    """Where people's votes say that the judge is none."""
    votes = votes_of(run)
    if votes and (warning := words.below_floor(votes)):
        yield warning
