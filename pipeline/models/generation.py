"""The student writes: batches of answers, sampled, greedy or by beams."""

from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedTokenizerBase

from pipeline.config.student import Generation
from pipeline.config.whole import Config
from pipeline.models import footprint
from pipeline.models.decoding import write
from pipeline.models.memory import Batches
from pipeline.models.student_prompt import length, prompt, room, special_tokens, stop_tokens
from pipeline.progress import Progress
from pipeline.rows.records import Joke, LiteralText
from pipeline.rows.row import content_id, make
from pipeline.rows.training import SPECIAL_TOKEN


class Task(NamedTuple):
    """One answer to write: this author's number-th (from 0) for this literal."""

    literal: LiteralText
    author: str
    number: int

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells it apart, and seeds its draws."""
        return self.literal.id, self.author, self.number


class Writing(NamedTuple):
    """What writing needs of the step that asks for it."""

    config: Config
    step: str
    """Shown beside the progress."""
    drop: Callable[[str, str, str, str], None]
    """Notes what is left out: literal, the dropped id, the reason and whose answer it would have
    been."""
    kept: Sequence[Joke] = ()
    """What an interrupted attempt has written."""
    drop_cut: bool = False
    """Leave out answers that came to no end within max_new_tokens."""


def write_jokes(
    writing: Writing,
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    tasks: Sequence[Task],
    settings: Generation,
) -> Iterator[Joke]:
    """One Joke per task, in batches of about equal prompt length.

    Rows that `writing.kept` has are not made again. Literals whose prompt and answer would not fit
    the student's context are left out and counted.
    """
    config = writing.config
    done = {(joke.literal_id, joke.author, joke.index): joke for joke in writing.kept}
    tasks = fitting(writing, tokenizer, tasks, settings)
    texts = {task.literal.id: prompt(tokenizer, task.literal.text) for task in tasks}
    longest = length(tokenizer, texts[tasks[-1].literal.id]) if tasks else 1
    size = footprint.at_a_time(config, model, settings, longest)
    fitting_memory = Batches(size, writing.step)
    tokens = 0
    stops = stop_tokens(model, tokenizer)
    finished = _finished(tasks, done, size)
    with Progress(f"{writing.step}, on {model.device}", len(tasks)) as progress:
        for start in range(0, len(tasks), size):
            batch = tasks[start : start + size]
            if start < finished:
                for task in batch:
                    if task.key in done:
                        yield done[task.key]
                    else:
                        _drop_cut(writing, task, task.author)
                progress.advance(rows=len(batch))
                continue

            def written_by(part: Sequence[Task]) -> list[list[int]]:
                seeds = [int(content_id("s", config.seed, *task.key)[2:], 16) for task in part]
                prompts = [texts[task.literal.id] for task in part]
                numbers = [task.number for task in part]
                ids = tokenizer(prompts)["input_ids"]
                return write(model, tokenizer, ids, settings, seeds, numbers)

            written = fitting_memory.each(batch, written_by)
            answers = tokenizer.batch_decode(written, skip_special_tokens=True)
            for task, answer, text in zip(batch, written, answers, strict=True):
                tokens += len(answer)
                if writing.drop_cut and answer[-1] not in stops:
                    _drop_cut(writing, task, text.strip())
                else:
                    yield joke(task, text.strip())
            progress.advance(f"{tokens / progress.seconds:.0f} tokens/s", rows=len(batch))


def _finished(tasks: Sequence[Task], done: Container[Any], size: int) -> int:
    """How many tasks an interrupted attempt has finished, in whole batches.

    Those without a row, in a batch before another's row, were dropped then.
    """
    written = [place for place, task in enumerate(tasks) if task.key in done]
    if not written:
        return 0
    last = written[-1] // size * size
    whole = all(task.key in done for task in tasks[last : last + size])
    return last + size if whole else last


def _drop_cut(writing: Writing, task: Task, text: str) -> None:
    """Leave out an answer that was cut; its text, or whose it was, where that is not known."""
    writing.drop(task.literal.id, task.literal.id, "cut at max_new_tokens", text)


def fitting(
    writing: Writing,
    tokenizer: PreTrainedTokenizerBase,
    tasks: Sequence[Task],
    settings: Generation,
) -> list[Task]:
    """The tasks whose answers have room, shortest prompts first; the others are dropped."""
    texts = {task.literal.id: prompt(tokenizer, task.literal.text) for task in tasks}
    lengths = {literal: length(tokenizer, text) for literal, text in texts.items()}
    left = room(writing.config)
    special = special_tokens(tokenizer)
    fits = []
    for task in tasks:
        literal = task.literal.id
        if special.search(task.literal.text):
            writing.drop(literal, literal, SPECIAL_TOKEN, task.author)
        elif left(lengths[literal]) >= settings.max_new_tokens:
            fits.append(task)
        else:
            writing.drop(literal, literal, "longer than the student's context", task.author)
    fits.sort(key=lambda task: (lengths[task.literal.id], task.literal.id))
    return fits


def joke(task: Task, text: str, call: str | None = None) -> Joke:
    """The row of an answer; `call` is a server's."""
    return make(
        Joke,
        literal_id=task.literal.id,
        literal=task.literal.text,
        text=text,
        author=task.author,
        index=task.number,
        call=call,
    )


def generate(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    settings: Generation,
    seeds: Sequence[int],
    numbers: Sequence[int] = (),
) -> list[tuple[str, int]]:
    """For each prompt the answer, without special tokens, and how many tokens it took."""
    return of_tokens(
        model, tokenizer, tokenizer(list(texts))["input_ids"], settings, seeds, numbers
    )


@torch.no_grad()
def of_tokens(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    ids: list[list[int]],
    settings: Generation,
    seeds: Sequence[int] = (),
    numbers: Sequence[int] = (),
) -> list[tuple[str, int]]:
    """The same for prompts that are tokens."""
    written = write(model, tokenizer, ids, settings, seeds or [0] * len(ids), numbers)
    answers = tokenizer.batch_decode(written, skip_special_tokens=True)
    return [(text.strip(), len(ids)) for text, ids in zip(answers, written, strict=True)]
