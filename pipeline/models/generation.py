"""The student writes: batches of answers, sampled or greedy. One of the modules that import
torch."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedTokenizerBase,
)

from pipeline.config.student import Generation
from pipeline.config.whole import Config
from pipeline.models.student_prompt import length, prompt, room, stop_tokens
from pipeline.progress import Progress
from pipeline.rows.records import Joke, LiteralText
from pipeline.rows.row import content_id, make

SEGMENT = 32
"""Tokens between two looks at which rows have stopped."""
NUCLEUS = 64
"""Tokens looked at first; where they hold less than top_p of the mass, the whole vocabulary is
sorted."""


class Task(NamedTuple):
    """One answer to write: this author's number-th (from 0) for this literal."""

    literal: LiteralText
    author: str
    number: int


class RowSampler(LogitsProcessor):
    """Nucleus sampling (arXiv 1904.09751), of the top_k tokens alone if so set, with one random
    generator per row.

    A row's draws depend on its own seed alone, not on the rows beside it. It leaves one token per
    row possible, so that generation itself is greedy.
    """

    def __init__(
        self, seeds: Sequence[int], prompt_tokens: int, settings: Generation, pad: int
    ) -> None:
        draws = [
            torch.rand(settings.max_new_tokens, generator=torch.Generator().manual_seed(seed))
            for seed in seeds
        ]
        self.draws = torch.stack(draws)
        self.prompt_tokens, self.settings, self.pad = prompt_tokens, settings, pad

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """scores (B, V) -> (B, V) with one finite entry per row."""
        p_BV = torch.softmax(scores.float() / self.settings.temperature, dim=-1)
        top_k = self.settings.top_k
        draw_B1 = self.draws[:, input_ids.shape[1] - self.prompt_tokens, None].to(scores.device)
        p_BK, token_BK = p_BV.topk(min(top_k or NUCLEUS, p_BV.shape[-1]))
        if top_k:
            return self._only(
                scores, self.pick(p_BK / p_BK.sum(-1, keepdim=True), token_BK, draw_B1)
            )
        picked_B1 = self.pick(p_BK, token_BK, draw_B1)
        going = (input_ids[:, -1] != self.pad) | (
            input_ids.shape[1] == self.prompt_tokens
        )  # T5 starts with pad
        wide = (p_BK.sum(-1) < self.settings.top_p) & going
        if bool(wide.any()):
            picked_B1[wide] = self.pick(*p_BV[wide].sort(descending=True), draw_B1[wide])
        return self._only(scores, picked_B1)

    def _only(self, scores: torch.Tensor, picked_B1: torch.Tensor) -> torch.Tensor:
        return torch.full_like(scores, float("-inf")).scatter(1, picked_B1, 0.0)

    def pick(
        self, p_BK: torch.Tensor, token_BK: torch.Tensor, draw_B1: torch.Tensor
    ) -> torch.Tensor:
        """The token (B, 1) at each draw of the nucleus; K tokens in falling order of
        probability."""
        before_BK = p_BK.cumsum(-1) - p_BK
        cdf_BK = (p_BK * (before_BK < self.settings.top_p)).cumsum(-1)
        place_B1 = (
            (cdf_BK < draw_B1 * cdf_BK[:, -1:]).sum(-1, keepdim=True).clamp(max=p_BK.shape[-1] - 1)
        )
        return token_BK.gather(1, place_B1)


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


def write_jokes(
    writing: Writing,
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    tasks: Sequence[Task],
    settings: Generation,
) -> Iterator[Joke]:
    """One Joke per task, in batches of about equal prompt length; rows that `writing.kept` has are
    not made again.

    Literals whose prompt and answer would not fit the student's context are left out and counted.
    """
    config = writing.config
    done = {(joke.literal_id, joke.author, joke.index): joke for joke in writing.kept}
    texts = {task.literal.id: prompt(tokenizer, task.literal.text) for task in tasks}
    lengths = {literal: length(tokenizer, text) for literal, text in texts.items()}
    left = room(config)
    fitting = []
    for task in tasks:
        if left(lengths[task.literal.id]) >= settings.max_new_tokens:
            fitting.append(task)
        else:
            writing.drop(
                task.literal.id, task.literal.id, "longer than the student's context", task.author
            )
    fitting.sort(key=lambda task: (lengths[task.literal.id], task.literal.id))
    size = config.runtime.generate_batch
    tokens = 0
    with Progress(f"{writing.step}, on {model.device}", len(fitting)) as progress:
        for start in range(0, len(fitting), size):
            batch = fitting[start : start + size]
            keys = [(task.literal.id, task.author, task.number) for task in batch]
            if all(key in done for key in keys):
                yield from (done[key] for key in keys)
                progress.advance(rows=len(batch))
                continue
            seeds = [int(content_id("s", config.seed, *key)[2:], 16) for key in keys]
            prompts = [texts[task.literal.id] for task in batch]
            numbers = [task.number for task in batch]
            answers = generate(model, tokenizer, prompts, settings, seeds, numbers)
            for task, (text, count) in zip(batch, answers, strict=True):
                tokens += count
                yield make(
                    Joke,
                    literal_id=task.literal.id,
                    literal=task.literal.text,
                    text=text,
                    author=task.author,
                    index=task.number,
                    call=None,
                )
            progress.advance(f"{tokens / progress.seconds:.0f} tokens/s", rows=len(batch))


@torch.no_grad()
def generate(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    settings: Generation,
    seeds: Sequence[int],
    numbers: Sequence[int] = (),
) -> list[tuple[str, int]]:
    """For each prompt the answer, without special tokens, and how many tokens it took."""
    written = write(model, tokenizer, tokenizer(list(texts))["input_ids"], settings, seeds, numbers)
    answers = tokenizer.batch_decode(written, skip_special_tokens=True)
    return [(text.strip(), len(ids)) for text, ids in zip(answers, written, strict=True)]


@torch.no_grad()
def write(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    ids: list[list[int]],
    settings: Generation,
    seeds: Sequence[int],
    numbers: Sequence[int] = (),
) -> list[list[int]]:
    """For each prompt, given as token ids, the tokens of the answer, with the stop token where it
    came to one.

    Sampled with its seed where temperature is above 0, else greedy; with beams, the best of them,
    or the one of its number (from 0).
    """
    sampler = functools.partial(RowSampler, settings=settings, pad=tokenizer.pad_token_id)
    if (beams := settings.beams(model.config.is_encoder_decoder)) > 1:
        return _with_beams(model, tokenizer, ids, settings, beams, numbers or [0] * len(ids))
    if model.config.is_encoder_decoder:
        processors = [sampler(seeds, 1)] if settings.temperature > 0 else []
        return _answers(model, tokenizer, ids, settings.max_new_tokens, processors)
    return _in_segments(model, tokenizer, ids, settings, seeds, sampler)


def _in_segments(
    model: Any,
    tokenizer: Any,
    ids: list[list[int]],
    settings: Generation,
    seeds: Sequence[int],
    sampler: Any,
) -> list[list[int]]:
    """Rows that have stopped leave the batch every SEGMENT tokens, so that one long answer does not
    hold up others."""
    stops = stop_tokens(model, tokenizer)
    written: list[list[int]] = [[] for _ in ids]
    going, done = list(range(len(ids))), 0
    while going and done < settings.max_new_tokens:
        steps = min(SEGMENT, settings.max_new_tokens - done)
        so_far = [ids[row] + written[row] for row in going]
        draws = sampler([seeds[row] for row in going], max(map(len, so_far)) - done)
        cache = "static" if model.device.type == "cpu" else None
        found = _answers(
            model,
            tokenizer,
            so_far,
            steps,
            [draws] if settings.temperature > 0 else [],
            cache_implementation=cache,
            disable_compile=True,
        )
        for row, new in zip(going, found, strict=True):
            written[row] += new
        going, done = [row for row in going if written[row][-1] not in stops], done + steps
    return written


def _with_beams(
    model: Any,
    tokenizer: Any,
    ids: list[list[int]],
    settings: Generation,
    beams: int,
    numbers: Sequence[int],
) -> list[list[int]]:
    """Beam search once for each different prompt; a row gets the beam of its number, the best being
    0."""
    places = {key: place for place, key in enumerate(dict.fromkeys(map(tuple, ids)))}
    returned = max(numbers) + 1
    beams = max(beams, returned)
    found = _answers(
        model,
        tokenizer,
        [list(key) for key in places],
        settings.max_new_tokens,
        [],
        num_beams=beams,
        num_return_sequences=returned,
    )
    return [
        found[places[tuple(row)] * returned + number]
        for row, number in zip(ids, numbers, strict=True)
    ]


def _answers(
    model: Any,
    tokenizer: Any,
    ids: list[list[int]],
    steps: int,
    processors: list[Any],
    **options: Any,
) -> list[list[int]]:
    """The new tokens of each row, up to its stop token."""
    stops, own = stop_tokens(model, tokenizer), model.generation_config
    batch = tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(model.device)
    begun = batch["input_ids"].shape[1]
    if model.config.is_encoder_decoder:
        begun = 1
        options |= {
            key: getattr(own, key) for key in ("decoder_start_token_id", "forced_bos_token_id")
        }
    out = model.generate(
        **batch,
        logits_processor=LogitsProcessorList(processors),
        generation_config=GenerationConfig(
            do_sample=False,
            max_new_tokens=steps,
            eos_token_id=stops,
            pad_token_id=tokenizer.pad_token_id,
            **options,
        ),
    )
    return [_up_to_stop(row, stops) for row in out[:, begun:].tolist()]


def _up_to_stop(tokens: list[int], stops: Sequence[int]) -> list[int]:
    """The tokens up to the first that stops, and that one."""
    for place, token in enumerate(tokens):
        if token in stops:
            return tokens[: place + 1]
    return tokens
