"""The student writes: batches of answers, sampled or greedy. One of the modules that import torch."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, PreTrainedTokenizerBase

from pipeline.config import Generation
from pipeline.context import Context
from pipeline.progress import Progress
from pipeline.records import Joke, LiteralText, content_id, make
from pipeline.student import length, prompt, room, stop_tokens

SEGMENT = 32
"""Tokens between two looks at which rows have stopped."""
NUCLEUS = 64
"""Tokens looked at first; where they hold less than top_p of the mass, the whole vocabulary is sorted."""


class Task(NamedTuple):
    """One answer to write: this author's number-th (from 0) for this literal."""

    literal: LiteralText
    author: str
    number: int


class RowSampler(LogitsProcessor):
    """Nucleus sampling (arXiv 1904.09751) with one random generator per row.

    A row's draws depend on its own seed alone, not on the rows beside it. It leaves one token per row possible, so
    that generation itself is greedy.
    """

    def __init__(self, seeds: Sequence[int], prompt_tokens: int, settings: Generation, pad: int) -> None:
        draws = [torch.rand(settings.max_new_tokens, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        self.draws = torch.stack(draws)
        self.prompt_tokens, self.settings, self.pad = prompt_tokens, settings, pad

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """scores (B, V) -> (B, V) with one finite entry per row."""
        p_BV = torch.softmax(scores.float() / self.settings.temperature, dim=-1)
        draw_B1 = self.draws[:, input_ids.shape[1] - self.prompt_tokens, None].to(scores.device)
        p_BK, token_BK = p_BV.topk(min(NUCLEUS, p_BV.shape[-1]))
        picked_B1 = self.pick(p_BK, token_BK, draw_B1)
        wide = (p_BK.sum(-1) < self.settings.top_p) & (input_ids[:, -1] != self.pad)
        if bool(wide.any()):
            picked_B1[wide] = self.pick(*p_BV[wide].sort(descending=True), draw_B1[wide])
        return torch.full_like(scores, float("-inf")).scatter(1, picked_B1, 0.0)

    def pick(self, p_BK: torch.Tensor, token_BK: torch.Tensor, draw_B1: torch.Tensor) -> torch.Tensor:
        """The token (B, 1) at each draw of the nucleus; K tokens in falling order of probability."""
        before_BK = p_BK.cumsum(-1) - p_BK
        cdf_BK = (p_BK * (before_BK < self.settings.top_p)).cumsum(-1)
        place_B1 = (cdf_BK < draw_B1 * cdf_BK[:, -1:]).sum(-1, keepdim=True).clamp(max=p_BK.shape[-1] - 1)
        return token_BK.gather(1, place_B1)


def write_jokes(
    context: Context, model: Any, tokenizer: PreTrainedTokenizerBase, tasks: Sequence[Task], settings: Generation
) -> Iterator[Joke]:
    """One Joke per task, in batches of about equal prompt length; rows that context.kept has are not made again.

    Literals whose prompt and answer would not fit the student's context are left out and counted.
    """
    done = {
        (joke.literal_id, joke.author, joke.index): joke for joke in context.kept.values() if isinstance(joke, Joke)
    }
    texts = {task.literal.id: prompt(tokenizer, task.literal.text) for task in tasks}
    lengths = {literal: length(tokenizer, text) for literal, text in texts.items()}
    limit = room(context.config) - settings.max_new_tokens
    fitting = [task for task in tasks if lengths[task.literal.id] <= limit]
    for task in tasks:
        if lengths[task.literal.id] > limit:
            context.drop(task.literal.id, task.literal.id, "longer than the student's context", task.author)
    fitting.sort(key=lambda task: (lengths[task.literal.id], task.literal.id))
    size, tokens = context.config.runtime.generate_batch, 0
    with Progress(f"{context.step}, on {model.device}", len(fitting)) as progress:
        for start in range(0, len(fitting), size):
            batch = fitting[start : start + size]
            keys = [(task.literal.id, task.author, task.number) for task in batch]
            if all(key in done for key in keys):
                yield from (done[key] for key in keys)
                progress.advance(rows=len(batch))
                continue
            seeds = [int(content_id("s", context.config.seed, *key)[2:], 16) for key in keys]
            answers = generate(model, tokenizer, [texts[task.literal.id] for task in batch], settings, seeds)
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
) -> list[tuple[str, int]]:
    """For each prompt the answer, without special tokens, and how many tokens it took; greedy at temperature 0.

    Rows that have stopped leave the batch every SEGMENT tokens, so that one long answer does not hold up the others.
    """
    stops = stop_tokens(model, tokenizer)
    prompts_ids = tokenizer(list(texts))["input_ids"]
    written: list[list[int]] = [[] for _ in texts]
    going, done = list(range(len(texts))), 0
    while going and done < settings.max_new_tokens:
        steps = min(SEGMENT, settings.max_new_tokens - done)
        ids = [prompts_ids[row] + written[row] for row in going]
        batch = tokenizer.pad({"input_ids": ids}, padding_side="left", return_tensors="pt").to(model.device)
        width = batch["input_ids"].shape[1]
        sampler = RowSampler([seeds[row] for row in going], width - done, settings, tokenizer.pad_token_id)
        out = model.generate(
            **batch,
            logits_processor=LogitsProcessorList([sampler] if settings.temperature > 0 else []),
            generation_config=GenerationConfig(
                do_sample=False,
                max_new_tokens=steps,
                eos_token_id=stops,
                pad_token_id=tokenizer.pad_token_id,
                cache_implementation="static" if model.device.type == "cpu" else None,
                disable_compile=True,
            ),
        )
        for row, new in zip(going, out[:, width:].tolist(), strict=True):
            end = next((place for place, token in enumerate(new) if token in stops), len(new) - 1)
            written[row] += new[: end + 1]
        going, done = [row for row in going if written[row][-1] not in stops], done + steps
    answers = tokenizer.batch_decode(written, skip_special_tokens=True)
    return [(text.strip(), len(ids)) for text, ids in zip(answers, written, strict=True)]
