"""try: type a sentence, see every student's answer side by side, with the time it took."""

import argparse
import sys
import time
from collections.abc import Iterator

from pipeline.errors import HumorDistillError
from pipeline.reading import made
from pipeline.reading.terminal import clean
from pipeline.runs.run import existing


def run(args: argparse.Namespace) -> None:
    """Answer the sentences given, or those typed until an empty line or the end of input."""
    found = existing(args.run)
    config = made.as_made(found)
    there = made.contestants(found, config)
    config = made.as_made(found, list(there.values())[-1])
    from rich.console import Console
    from rich.table import Table

    from pipeline.models import generation, student, student_prompt
    from pipeline.runs.step import Step

    tokenizer = student.load_tokenizer(config)
    models = {}
    for name, step in there.items():
        print(f"loading {name}", file=sys.stderr, flush=True)
        models[name] = student.load(config, student.weights(found, step) if step else None)
    searcher = None
    if found.manifest(Step("retriever")):
        from pipeline.retrieval.searcher import NAME, Searcher

        print(f"loading {NAME}", file=sys.stderr, flush=True)
        try:
            searcher = Searcher(found, config)
        except HumorDistillError as error:
            print(f"without {NAME}: {error}", file=sys.stderr)
    room = student_prompt.room(config)
    console = Console(highlight=False)
    for sentence in args.sentence or _typed():
        prompt = student_prompt.prompt(tokenizer, sentence)
        if (
            room(length := student_prompt.length(tokenizer, prompt))
            < config.evaluate.max_new_tokens
        ):
            most = f"{config.evaluate.max_new_tokens} tokens of an answer"
            print(f"That is {length} tokens, which leave no room for {most}.", file=sys.stderr)
            continue
        table = Table(
            box=None,
            pad_edge=False,
            header_style="bold",
            title=clean(sentence),
            title_justify="left",
        )
        for column in ("student", "seconds", "answer"):
            table.add_column(column, no_wrap=column != "answer", overflow="fold")
        for name, model in models.items():
            began = time.perf_counter()
            [(text, _)] = generation.generate(
                model, tokenizer, [prompt], config.evaluate, [config.seed]
            )
            table.add_row(name, f"{time.perf_counter() - began:.2f}", clean(text))
        if searcher:
            began = time.perf_counter()
            [nearest] = searcher.nearest([sentence])
            table.add_row(NAME, f"{time.perf_counter() - began:.4f}", clean(nearest.text))
        console.print(table)


def _typed() -> Iterator[str]:
    """Sentences from the terminal or a pipe, one a line."""
    while True:
        try:
            line = input("sentence> " if sys.stdin.isatty() else "").strip()
        except EOFError:
            return
        if not line:
            return
        yield line
