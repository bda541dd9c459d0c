"""Who compares jokes, and how: the sections [critic] and [judge] of the configuration."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.config.endpoint import Endpoint
from pipeline.config.section import Positive, Section
from pipeline.vocabulary import POOLED, Aspect


class Judging(Section):
    """Who compares two jokes, and how."""

    endpoint: Endpoint
    tie_band: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
    """A tie is a probability within this of 0.5 in both orders."""
    temperature: Annotated[float, Field(ge=0)] = 0.0
    """0 is greedy."""
    max_tokens: Positive = 256
    """Reason and answer together."""

    def _asked(self) -> dict[str, Any]:
        """What decides its answers."""
        left_out = dict.fromkeys(Endpoint.in_no_recipe, True)
        return self.model_dump(
            include={"temperature", "max_tokens", "endpoint"}, exclude={"endpoint": left_out}
        )


class Critic(Judging):
    tie_band: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
    """A tie is a probability within this of 0.5 in both orders. Where it is not given, it is 0 for
    cloze, whose probabilities are all near 0.5."""
    method: Literal["choice", "cloze"] = "choice"
    """choice asks which attempt is better; cloze compares the perplexities of prompts/cloze.j2 with
    each."""
    aspect: Aspect = "overall"
    """What the choice is about, each with words of its own in prompts/critic.j2: overall (the last
    there), humor or consistency."""
    pairs: Literal["farthest", "alike", "all", "swiss"] = "farthest"
    """Which pairs of a literal's candidates are judged: the one with the largest n-gram edit
    distance (the paper's, which is most often one of unlike length, and dropped by
    dpo.length_ratio), that among the pairs of like length, all, or rounds of pairs that follow from
    the verdicts before them, until `share` of all are judged."""
    alike: Annotated[float, Field(gt=0, le=1)] = 0.85
    """alike: the least that the shorter of two is of the longer, in characters."""
    share: Annotated[float, Field(gt=0, le=1)] = 1 / 3
    """swiss: of all pairs, how many."""
    ngram: Positive = 1
    """n of the n-gram edit distance."""

    @model_validator(mode="before")
    @classmethod
    def cloze_has_no_band(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("method") == "cloze":
            return {"tie_band": 0.0, **given}
        return given

    @model_validator(mode="after")
    def cloze_is_live(self) -> "Critic":
        if self.method == "cloze" and self.endpoint.mode == "batch":
            raise ValueError('critic.method = "cloze" needs mode = "live"')
        return self


class Judge(Judging):
    """Who decides the win-tie rate; it may be another model than the critic."""

    aspects: Annotated[list[Aspect], Field(min_length=1)] = ["overall"]
    """What it judges, each by calls of its own: overall (WTR), humor alone (WTR-H), consistency
    alone (WTR-C)."""

    sets: Annotated[int, Field(ge=2)] | None = None
    """Also asks which of two sets is the funnier one: a contestant's answers to so many sentences,
    or its teacher's. A judge that sees one sentence at a time cannot notice that they repeat."""
    panel: list[Judging] = []
    """More judges, each a [[judge.panel]] with an endpoint of its own, asked the same. The rates
    are then those of all judges together, and stand beside those of each."""

    @property
    def judges(self) -> dict[str, Judging]:
        """Every judge by its name: its model, with a number from the second of that name on."""
        every = [self, *self.panel]
        return dict(zip(named([judge.endpoint.model for judge in every]), every, strict=True))

    @model_validator(mode="after")
    def no_judge_twice(self) -> "Judge":
        asked = [self._asked()]
        for judge in self.panel:
            if judge._asked() in asked:
                raise ValueError(
                    f"panel: {judge.endpoint.model} at {judge.endpoint.base_url} would give the "
                    "same answers a second time: name another model, or leave it out"
                )
            asked.append(judge._asked())
        return self

    @field_validator("aspects")
    @classmethod
    def each_once(cls, aspects: list[Aspect]) -> list[Aspect]:
        return list(dict.fromkeys(aspects))


def named(models: Sequence[str]) -> list[str]:
    """The judges' names, given their models: no two the same, and none that of all together."""
    names: list[str] = [POOLED]
    for model in models:
        name = model
        number = 2
        while name in names:
            name = f"{model} #{number}"
            number += 1
        names.append(name)
    return names[1:]


def recorded_judges(recipe: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name and the section of every judge that a recipe has recorded, as `Judge.judges`."""
    judge = recipe.get("judge") or {}
    every = [judge, *(judge.get("panel") or [])] if judge.get("endpoint") else []
    yield from zip(named([one["endpoint"]["model"] for one in every]), every, strict=True)
