"""try: type a sentence, see every student's answer side by side, with the time it took."""

import argparse
import sys
import time
from collections.abc import Iterator
from typing import Any

from rich.table import Table

from pipeline.config.whole import Config
from pipeline.console import Console, clean
from pipeline.errors import HumorDistillError
from pipeline.reading import made
from pipeline.runs import known
from pipeline.runs.run import Run, existing
from pipeline.runs.step import Step


def run(args: argparse.Namespace) -> None:
    """Answer the sentences given, or those typed until an empty line or the end of input."""
    run = existing(args.run)
    made_with = made.as_made(run)
    known.require(run.name, made_with.model_dump(mode="json"), args.adopt, known.FETCHED)
    students = made.contestants(run, made_with)
    config = made.as_made(run, list(students.values())[-1], args.trust_remote_code)

    from pipeline.models import casting, student, student_prompt

    tokenizer = student.load_tokenizer(config)
    models = {}
    for name, step in students.items():
        print(f"loading {name}", file=sys.stderr, flush=True)
        models[name] = student.load(config, student.weights(run, step) if step else None)
        casting.tell(run, step)
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
        for row in _answers(models, tokenizer, prompt, config):
            table.add_row(*row)
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


def _answers(
    models: dict[str, Any], tokenizer: Any, prompt: str, config: Config
) -> Iterator[tuple[Any, ...]]:
    """Name, seconds and answer of each student."""
    from pipeline.models import generation

    for name, model in models.items():
        began = time.perf_counter()
        [(text, _)] = generation.generate(
            model, tokenizer, [prompt], config.evaluate, [config.seed]
        )
        yield name, f"{time.perf_counter() - began:.2f}", clean(text)


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
