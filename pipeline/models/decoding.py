"""Token ids in, token ids out: sampled, greedy or by beams."""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedTokenizerBase

from pipeline.config.student import Generation
from pipeline.models import cached
from pipeline.models.sampler import RowSampler
from pipeline.models.student_prompt import stop_tokens

SEGMENT = 12
"""Tokens between two looks at which rows have stopped."""
REREAD = 32
"""The same where the rows that go on are read again, as their keys and values are not kept."""


@torch.no_grad()
def write(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    ids: list[list[int]],
    settings: Generation,
    seeds: Sequence[int],
    numbers: Sequence[int] = (),
) -> list[list[int]]:
    """For each prompt, given as token ids, the tokens of the answer.

    The stop token is among them where the answer came to one. Sampled with its seed where
    temperature is above 0, else greedy; with beams, the best of them, or the one of its number
    (from 0).
    """
    sampler = functools.partial(RowSampler, settings=settings, pad=tokenizer.pad_token_id)
    beams = settings.beams(model.config.is_encoder_decoder)
    if beams > 1:
        return _with_beams(model, tokenizer, ids, settings, beams, numbers or [0] * len(ids))
    if model.config.is_encoder_decoder:
        sampling = [sampler(seeds, 1)] if settings.temperature > 0 else []
        return _answers(model, tokenizer, ids, settings.max_new_tokens, sampling)
    return _in_segments(model, tokenizer, ids, settings, seeds, sampler)


def _in_segments(
    model: Any,
    tokenizer: Any,
    ids: list[list[int]],
    settings: Generation,
    seeds: Sequence[int],
    sampler: Any,
) -> list[list[int]]:
    """Rows that have stopped leave the batch every few tokens.

    So one long answer does not hold up others.
    """
    stops = stop_tokens(model, tokenizer)
    written: list[list[int]] = [[] for _ in ids]
    going = list(range(len(ids)))
    done = 0
    width = max(map(len, ids))
    cache = cached.prompts(model, ids, tokenizer.pad_token_id, SEGMENT)
    most = SEGMENT if cache else REREAD
    options: dict[str, Any] = {}
    if cache is None and cached.fits(model):
        options["cache_implementation"] = "static"
    while going and done < settings.max_new_tokens:
        steps = min(most, settings.max_new_tokens - done)
        so_far = [ids[row] + written[row] for row in going]
        draws = sampler([seeds[row] for row in going], width)
        segments = _answers(
            model,
            tokenizer,
            so_far,
            steps,
            [draws] if settings.temperature > 0 else [],
            width + done,
            cache,
            **options,
        )
        for row, segment in zip(going, segments, strict=True):
            written[row] += segment
        places = [place for place, row in enumerate(going) if written[row][-1] not in stops]
        going = [going[place] for place in places]
        done += steps
        if cache and going:
            cache = cached.of_rows(model, cache, places, width + done - 1, SEGMENT)
    return written


def _with_beams(
    model: Any,
    tokenizer: Any,
    ids: list[list[int]],
    settings: Generation,
    beams: int,
    numbers: Sequence[int],
) -> list[list[int]]:
    """Beam search once for each different prompt.

    A row gets the beam of its number, the best being 0.
    """
    prompts = dict.fromkeys(map(tuple, ids))
    returned = max(numbers) + 1
    answers = _answers(
        model,
        tokenizer,
        [list(prompt) for prompt in prompts],
        settings.max_new_tokens,
        [],
        num_beams=max(beams, returned),
        num_return_sequences=returned,
    )
    first = {prompt: place * returned for place, prompt in enumerate(prompts)}
    written = zip(ids, numbers, strict=True)
    return [answers[first[tuple(row)] + number] for row, number in written]


def _answers(
    model: Any,
    tokenizer: Any,
    ids: list[list[int]],
    steps: int,
    sampling: list[Any],
    width: int | None = None,
    cache: Any = None,
    **options: Any,
) -> list[list[int]]:
    """The new tokens of each row, up to its stop token; `sampling` is a RowSampler, or nothing.

    Rows are padded to `width`, or to the longest; a `cache` is of all tokens but the last.
    """
    stops = stop_tokens(model, tokenizer)
    padding = {"padding": "max_length", "max_length": width} if width else {}
    batch = tokenizer.pad({"input_ids": ids}, return_tensors="pt", **padding).to(model.device)
    if cache:
        batch["past_key_values"] = cache
    begun = batch["input_ids"].shape[1]
    if model.config.is_encoder_decoder:
        begun = 1
        for key in ("decoder_start_token_id", "forced_bos_token_id"):
            options[key] = getattr(model.generation_config, key)
    out = model.generate(
        **batch,
        logits_processor=LogitsProcessorList(sampling),
        generation_config=GenerationConfig(
            do_sample=False,
            max_new_tokens=steps,
            eos_token_id=stops,
            pad_token_id=tokenizer.pad_token_id,
            disable_compile=True,
            **options,
        ),
    )
    return [up_to_stop(row, stops) for row in out[:, begun:].tolist()]


def up_to_stop(tokens: list[int], stops: Sequence[int]) -> list[int]:
    """The tokens up to the first that stops, and that one."""
    for place, token in enumerate(tokens):
        if token in stops:
            return tokens[: place + 1]
    return tokens
