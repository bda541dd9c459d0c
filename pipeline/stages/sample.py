"""sample: k candidates per literal.

They are from the student that the round starts from, the untrained one, or the teacher.

"Small But Funny" (arXiv 2402.18113), critique phase, has the critic choose among six candidates of
the student.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline import prompts as templates
from pipeline.config.whole import Config
from pipeline.execution.context import Context
from pipeline.execution.stage import Code, Expected, Requests
from pipeline.llm.answer import Answer
from pipeline.parsing.said import said
from pipeline.progress import Progress
from pipeline.rows.records import Joke, LiteralText
from pipeline.rows.row import Row, content_id, make
from pipeline.runs.step import Step, student_step

VERSION = 3
CUT = "cut at max_new_tokens"
"""Why an answer that came to no end is no candidate."""
LOOKED_AT = 5
"""Sentences after whose candidates it is plain whether a server samples."""
ROUND_KEYS = ("candidates",)


def sections(config: Config, round: int | None) -> Sequence[str]:
    return ("literals", "student", "sample")


def prompts(config: Config, round: int | None) -> Sequence[str]:
    return ("student",)


def decides(config: Config, round: int | None) -> Sequence[Code]:
    """Only what a server answers is read by rules."""
    return (Code("parsing"),) if config.sample.endpoint else ()


def writes(config: Config, round: int | None) -> type[Row]:
    return Joke


def reads(config: Config, round: int | None) -> dict[str, Step]:
    candidates = config.round(round).candidates
    if candidates == "teacher":
        return {"teacher": Step("teacher")}
    if candidates == "base" or config.sample.endpoint:
        return {}
    return {"student": student_step(config, round or 1)}


def requests(context: Context) -> Requests | None:
    """A chat-completions body per candidate, for a student that is served elsewhere.

    None for one that is not.
    """
    endpoint = context.config.sample.endpoint
    return None if endpoint is None else (endpoint, _bodies(context))


def expected(config: Config, round: int | None, literals: Mapping[Any, int]) -> list[Expected]:
    sample = config.sample
    if sample.endpoint is None:
        return []
    calls = sample.k * sum(literals[split] for split in sample.splits)
    return [Expected(sample.endpoint, "student", calls, sample.max_new_tokens)]


def run(context: Context) -> Iterator[Joke]:
    candidates = context.round.candidates
    literals = context.literals(*context.config.sample.splits)
    if candidates == "teacher":
        wanted = {literal.id for literal in literals}
        yield from (joke for joke in context.rows("teacher", Joke) if joke.literal_id in wanted)
    elif context.config.sample.endpoint:
        yield from _served(context, "base" if candidates == "base" else "sft")
    else:
        yield from _local(context, literals)


def _local(context: Context, literals: list[LiteralText]) -> Iterator[Joke]:
    """Candidates of a student that is loaded here."""
    from pipeline.models import casting, generation, student

    config = context.config
    author = "base"
    weights = None
    start = context.inputs.get("student")
    if start:
        author = "sft" if start.round is None else f"round-{start.round}"
        weights = student.weights(context.run, start)
    tasks = []
    for literal in literals:
        tasks += [generation.Task(literal, author, index) for index in range(config.sample.k)]
    tokenizer = student.load_tokenizer(config)
    model = student.load(config, weights)
    casting.tell(context.run, start)
    writing = generation.Writing(
        config, str(context.step), context.drop, context.kept(Joke), drop_cut=True
    )
    yield from generation.write_jokes(writing, model, tokenizer, tasks, config.sample)


def _bodies(context: Context) -> Iterator[tuple[tuple[LiteralText, int], dict[str, Any]]]:
    """Tagged with the literal and the candidate's index."""
    sample = context.config.sample
    for literal in context.literals(*sample.splits):
        content = templates.render("student", literal=literal.text)
        for index in range(sample.k):
            body = {
                "messages": [{"role": "user", "content": content}],
                "temperature": sample.temperature,
                "top_p": sample.top_p,
                "max_tokens": sample.max_new_tokens,
                "seed": int(content_id("s", context.config.seed, literal.id, index)[2:9], 16),
            }
            yield (literal, index), body


def _served(context: Context, author: str) -> Iterator[Joke]:
    """Candidates of a student that is served elsewhere."""
    sample = context.config.sample
    if sample.endpoint is None:
        return
    calls = len(context.literals(*sample.splits)) * sample.k
    alike = _Alike(context)
    with Progress(str(context.step), calls, "calls") as progress:
        for (literal, index), answer in context.door(progress).ask(
            sample.endpoint, _bodies(context)
        ):
            text, after = said(answer.text or "")
            why = _why_none(answer, text)
            if why:
                left_out = answer.error or answer.refusal or answer.text
                context.drop(literal.id, literal.id, why, left_out)
                continue
            if after:
                context.drop(literal.id, literal.id, "after the answer's end", after)
            alike.note(literal.id, text)
            yield make(
                Joke,
                literal_id=literal.id,
                literal=literal.text,
                text=text,
                author=author,
                index=index,
                call=answer.id,
            )


def _why_none(answer: Answer, text: str) -> str | None:
    """Why an answer is no candidate; None where it is one."""
    if answer.error:
        return f"no answer: {answer.error.partition(':')[0]}"
    if answer.refusal or answer.ended == "filtered":
        return "no answer: refused"
    if answer.ended == "cut":
        return CUT
    return None if text else "no answer: empty"


class _Alike:
    """Tells once, after a few literals, that a server samples nothing."""

    def __init__(self, context: Context) -> None:
        self._sample = context.config.sample
        self._step = context.step
        self._texts: dict[str, set[str]] = defaultdict(set)
        self._counts: Counter[str] = Counter()

    def note(self, literal: str, text: str) -> None:
        """A candidate came."""
        if self._sample.temperature == 0 or self._sample.k == 1 or len(self._counts) > LOOKED_AT:
            return
        self._texts[literal].add(text)
        self._counts[literal] += 1
        if len(self._counts) < LOOKED_AT or self._counts[literal] < self._sample.k:
            return
        if all(len(texts) == 1 for texts in self._texts.values()):
            print(
                f"{self._step}: the server gives {self._sample.k} equal candidates for each of the "
                f"first {LOOKED_AT} sentences at temperature {self._sample.temperature:g}. It does "
                "not sample, and equal ones cannot be compared. For `transformers serve`: "
                "sample.endpoint.extra_body = "
                """{ generation_config = '{"do_sample": true, "top_k": 0}' }""",
                file=sys.stderr,
            )
