"""Token ids in, token ids out: sampled, greedy or by beams."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedTokenizerBase

from pipeline.config.student import Generation
from pipeline.models import cached
from pipeline.models.sampler import RowSampler, asynchronous
from pipeline.models.student_prompt import stop_tokens

SEGMENT = cached.ROOM
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
    beams = settings.beams(model.config.is_encoder_decoder)
    if beams > 1:
        return _with_beams(model, tokenizer, ids, settings, beams, numbers or [0] * len(ids))
    sampler = None
    if settings.temperature > 0:
        sampler = RowSampler(seeds, 1, settings, tokenizer.pad_token_id)
    most = settings.max_new_tokens
    read = cached.read(model, ids, tokenizer.pad_token_id, most)
    if read is not None:
        stops = stop_tokens(model, tokenizer)
        return _in_segments(read, stops, tokenizer.pad_token_id, most, sampler)
    if model.config.is_encoder_decoder:
        return _answers(model, tokenizer, ids, most, sampler)
    return _read_again(model, tokenizer, ids, most, sampler)


def _in_segments(
    read: cached.Read, stops: Sequence[int], pad: int, most: int, sampler: RowSampler | None
) -> list[list[int]]:
    """Rows that have stopped leave the batch every few tokens.

    So one long answer does not hold up others. In between nothing is asked of the device, so that
    it never waits for its next kernel.
    """
    token_B1 = read.first_B1
    device = token_B1.device
    stop_N = torch.tensor(stops, device=device)
    written: list[list[int]] = [[] for _ in token_B1]
    going = list(range(len(written)))
    done = 0
    while True:
        ended_B1 = torch.zeros_like(token_B1, dtype=torch.bool)
        tokens = []
        for place in range(done, min(done + SEGMENT, most)):
            logits_BV = read.logits(token_B1, place)
            if sampler:
                token_B1 = sampler.tokens(logits_BV, place, ~ended_B1[:, 0])
            else:
                token_B1 = logits_BV.argmax(-1, keepdim=True)
            token_B1 = token_B1.masked_fill(ended_B1, pad)
            tokens.append(token_B1)
            ended_B1 = ended_B1 | torch.isin(token_B1, stop_N)
            if not asynchronous(device) and bool(ended_B1.all()):
                break
        for row, segment in zip(going, torch.cat(tokens, 1).tolist(), strict=True):
            written[row] += up_to_stop(segment, stops)
        done += len(tokens)
        places = [place for place, row in enumerate(going) if written[row][-1] not in stops]
        if not places or done == most:
            return written
        going = [going[place] for place in places]
        rows = torch.tensor(places, device=device)
        read.only(rows)
        token_B1 = token_B1[rows]
        sampler = sampler.of_rows(rows) if sampler else None


def _read_again(
    model: Any,
    tokenizer: Any,
    ids: list[list[int]],
    most: int,
    sampler: RowSampler | None,
) -> list[list[int]]:
    """The same where the model's keys and values cannot be kept from one segment to the next."""
    stops = stop_tokens(model, tokenizer)
    written: list[list[int]] = [[] for _ in ids]
    going = list(range(len(ids)))
    width = max(map(len, ids))
    done = 0
    while going and done < most:
        steps = min(REREAD, most - done)
        so_far = [ids[row] + written[row] for row in going]
        draws = sampler.of_rows(torch.tensor(going), width) if sampler else None
        segments = _answers(model, tokenizer, so_far, steps, draws, width + done)
        for row, segment in zip(going, segments, strict=True):
            written[row] += segment
        going = [row for row in going if written[row][-1] not in stops]
        done += steps
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
        None,
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
    sampler: RowSampler | None,
    width: int | None = None,
    **options: Any,
) -> list[list[int]]:
    """The new tokens of each row, by transformers' own loop, up to its stop token.

    Rows are padded to `width`, or to the longest.
    """
    stops = stop_tokens(model, tokenizer)
    padding = {"padding": "max_length", "max_length": width} if width else {}
    batch = tokenizer.pad({"input_ids": ids}, return_tensors="pt", **padding).to(model.device)
    begun = batch["input_ids"].shape[1]
    if model.config.is_encoder_decoder:
        begun = 1
        for key in ("decoder_start_token_id", "forced_bos_token_id"):
            options[key] = getattr(model.generation_config, key)
    out = model.generate(
        **batch,
        logits_processor=LogitsProcessorList([sampler] if sampler else []),
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
