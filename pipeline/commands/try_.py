"""try: type a sentence, see every student's answer side by side, with the time it took."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from rich.table import Table

from pipeline.config.whole import Config
from pipeline.console import Console, clean
from pipeline.errors import HumorDistillError
from pipeline.execution.context import Context
from pipeline.reading import made
from pipeline.rows.records import LiteralText
from pipeline.rows.row import make
from pipeline.runs import known
from pipeline.runs.run import Run, existing
from pipeline.runs.step import Step


def run(args: argparse.Namespace) -> None:
    """Answer the sentences given, or those typed until an empty line or the end of input."""
    run = existing(args.run)
    made_with = made.as_made(run)
    settings = made_with.model_dump(mode="json")
    known.require(run.name, settings, args.adopt, known.FETCHED)
    known.require(run.name, {"runtime": settings["runtime"]}, args.adopt)  # its servers
    students = made.contestants(run, made_with)
    config = made.as_made(run, list(students.values())[-1], args.trust_remote_code)

    from pipeline.models import student, student_prompt

    tokenizer = student.load_tokenizer(config)
    writers = _writers(run, config, students)
    searcher = _searcher(run, config)
    room = student_prompt.room(config)
    special = student_prompt.special_tokens(tokenizer)
    console = Console()
    for sentence in args.sentence or _typed():
        spelled = special.search(sentence)
        if spelled:
            print(
                f"{spelled[0]} is a special token of the student's, and no text.", file=sys.stderr
            )
            continue
        prompt = student_prompt.prompt(tokenizer, sentence)
        length = student_prompt.length(tokenizer, prompt)
        if room(length) < config.evaluate.max_new_tokens:
            most = f"{config.evaluate.max_new_tokens} tokens of an answer"
            print(f"That is {length} tokens, which leave no room for {most}.", file=sys.stderr)
            continue
        table = _table(sentence)
        for name, write in writers.items():
            began = time.perf_counter()
            answer = clean(write(sentence))
            table.add_row(name, f"{time.perf_counter() - began:.2f}", answer)
        if searcher:
            table.add_row(*_nearest(searcher, sentence))
        console.print(table)


def _searcher(run: Run, config: Config) -> Any:
    """The run's retriever; None where it has none, or none that works here, which is said."""
    if not run.manifest(Step("retriever")):
        return None
    from pipeline.retrieval.searcher import NAME, Searcher

    print(f"loading {NAME}", file=sys.stderr, flush=True)
    try:
        return Searcher(run, config)
    except HumorDistillError as error:
        print(f"without {NAME}: {error}", file=sys.stderr)
        return None


def _table(sentence: str) -> Table:
    table = Table(
        box=None,
        pad_edge=False,
        header_style="bold",
        title=clean(sentence),
        title_justify="left",
    )
    for column in ("student", "seconds", "answer"):
        table.add_column(column, no_wrap=column != "answer", overflow="fold")
    return table


def _writers(
    run: Run, config: Config, students: dict[str, Step | None]
) -> dict[str, Callable[[str], str]]:
    """What answers a sentence as each student: behind the run's servers, or loaded here."""
    from pipeline.models import casting, generation, student, student_prompt, together
    from pipeline.serving.students import elsewhere

    context = Context(config, run, Step("try"), {}, dry=True)
    servers = elsewhere(context)
    tokenizer = student.load_tokenizer(config)
    writers: dict[str, Callable[[str], str]] = {}

    def here(students: Any, weights: Any, sentence: str) -> str:
        prompt = student_prompt.prompt(tokenizer, sentence)
        with students.student(weights) as model:
            [(text, _)] = generation.generate(
                model, tokenizer, [prompt], config.evaluate, [config.seed]
            )
        return text

    def served(servers: Any, endpoint: Any, sentence: str) -> str:
        literal = make(LiteralText, text=sentence, split="test", source="try", licence="")
        task = generation.Task(literal, "try", 0)
        [text] = servers.texts(endpoint, [task], config.evaluate)
        return str(text)

    loaded = together.Students(config, side_by_side=True)
    for name, step in students.items():
        print(f"loading {name}", file=sys.stderr, flush=True)
        weights = student.weights(run, step) if step else None
        if servers:
            writers[name] = partial(served, servers, servers.endpoint(weights))
        else:
            with loaded.student(weights):
                writers[name] = partial(here, loaded, weights)
        casting.tell(run, step)
    return writers


def _nearest(searcher: Any, sentence: str) -> tuple[Any, ...]:
    """Name, seconds and answer of the retriever."""
    from pipeline.retrieval.searcher import NAME

    began = time.perf_counter()
    [nearest] = searcher.nearest([sentence])
    return NAME, f"{time.perf_counter() - began:.4f}", clean(nearest.text)


def _typed() -> Iterator[str]:
    """Sentences from the terminal or a pipe, one a line."""
    prompt = ""
    if sys.stdin.isatty():
        prompt = "sentence> "
    while True:
        try:
            line = input(prompt).strip()
        except EOFError:
            return
        if not line:
            return
        yield line
