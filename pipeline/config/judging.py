"""Who compares jokes, and how: the sections [critic] and [judge] of the configuration."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.config.endpoint import LOCAL, STANDIN, Endpoint
from pipeline.config.section import Positive, PromptName, Section
from pipeline.vocabulary import POOLED, TAUGHT, Aspect

Method = Literal["choice", "cloze", "reward_model"]


class Judging(Section):
    """Who compares two jokes, and how."""

    endpoint: Endpoint | None = None
    """Who is asked; reward_model asks nobody, and does without."""
    method: Method = "choice"
    """choice asks which of two attempts is better; cloze compares the perplexities of
    prompts/cloze.j2 with each; reward_model compares what the model of [reward_model] makes of
    each, which people's own verdicts taught."""
    prompt: PromptName | None = None
    """Whose words ask, a file of prompts/ without .j2; where it is not given, critic, judge or, of
    the moderator, offence; cloze by that method. Sets are asked about by judge_sets."""
    tie_band: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
    """A tie is a probability within this of 0.5 in both orders. Where it is not given, it is 0 for
    cloze, whose probabilities are all near 0.5."""
    temperature: Annotated[float, Field(ge=0)] = 0.0
    """0 is greedy."""
    max_tokens: Positive = 256
    """Reason and answer together."""

    @property
    def server(self) -> Endpoint:
        """The endpoint of a method that asks."""
        if self.endpoint is None:
            raise ValueError(f'method = "{self.method}" has no endpoint')
        return self.endpoint

    def template(self, role: str) -> str:
        """The name of the prompt by which it is asked as critic or judge."""
        return self.prompt or ("cloze" if self.method == "cloze" else role)

    @property
    def name(self) -> str:
        """Its model's."""
        return self.endpoint.model if self.endpoint else TAUGHT

    @model_validator(mode="before")
    @classmethod
    def by_method(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        if given.get("method") == "cloze":
            return {"tie_band": 0.0, **given}
        if given.get("method") == "reward_model":
            return {**given, "endpoint": None}
        return given

    @model_validator(mode="after")
    def somebody_judges(self) -> "Judging":
        if self.method == "reward_model":
            if self.prompt:
                raise ValueError('prompt: method = "reward_model" asks nobody')
            return self
        if self.endpoint is None:
            raise ValueError(f'method = "{self.method}" needs an endpoint: whom it asks')
        if self.method == "cloze":
            if self.endpoint.mode == "batch":
                raise ValueError('method = "cloze" needs mode = "live"')
            if self.endpoint.base_url == STANDIN:
                raise ValueError(
                    f'the stand-in has no cloze: set endpoint.base_url = "{LOCAL}" and a model'
                )
        elif self.endpoint.base_url == LOCAL:
            raise ValueError(f'endpoint.base_url = "{LOCAL}" goes with method = "cloze" alone')
        return self

    def _asked(self) -> dict[str, Any]:
        """What decides its answers."""
        left_out = dict.fromkeys(Endpoint.in_no_recipe, True)
        decides = {"method", "endpoint"}
        if self.method != "reward_model":
            decides |= {"prompt"}
        if self.method == "choice":
            decides |= {"temperature", "max_tokens"}
        return self.model_dump(include=decides, exclude={"endpoint": left_out})


class Critic(Judging):
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
        return dict(zip(named([judge.name for judge in every]), every, strict=True))

    @model_validator(mode="after")
    def no_judge_twice(self) -> "Judge":
        asked = [self._asked()]
        for judge in self.panel:
            if judge._asked() in asked:
                where = f" at {judge.endpoint.base_url}" if judge.endpoint else ""
                raise ValueError(
                    f"panel: {judge.name}{where} would give the same answers a second time: name "
                    "another model, or leave it out"
                )
            asked.append(judge._asked())
        return self

    @model_validator(mode="after")
    def each_can_be_asked(self) -> "Judge":
        for judge in (self, *self.panel):
            if judge.method == "choice":
                continue
            if self.sets:
                raise ValueError(f'sets: method = "{judge.method}" knows no sets of answers')
            if len(self.aspects) > 1:
                raise ValueError(
                    f'aspects: method = "{judge.method}" says the same of each; name one'
                )
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
    every = [judge, *(judge.get("panel") or [])] if judge else []
    models = [(one.get("endpoint") or {"model": TAUGHT})["model"] for one in every]
    yield from zip(named(models), every, strict=True)
