"""log p(answer | prompt) of several answers to each prompt in one forward pass.

A prompt is read once for all of its answers: an encoder-decoder encodes it once; a decoder-only
model sees one sequence of the prompt and then its answers, each of which attends to the prompt and
to itself alone.
"""

import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerBase

from pipeline.models import tiles
from pipeline.models.masks import additive, visible

IGNORED = -100
"""A label that no loss looks at."""


class Candidates(NamedTuple):
    """Answers to B prompts, at most K to each, as token ids; an answer ends in eos."""

    prompts: list[list[int]]
    answers: list[list[list[int]]]

    @property
    def tokens(self) -> torch.Tensor:
        """Tokens of each answer, (B, K); 0 where a prompt has fewer than K."""
        lengths = [list(map(len, row)) for row in self.answers]
        tokens_BK, _ = padded(lengths, 0, None)
        return tokens_BK


def encode(
    tokenizer: PreTrainedTokenizerBase, prompt: str, answers: Sequence[str], separate: bool
) -> dict[str, Any]:
    """Token ids of a prompt and of its answers; `separate` for an encoder-decoder.

    A decoder-only model's are cut out of prompt + answer + eos, as TRL does it.
    """
    if separate:
        return {
            "prompt": tokenizer(prompt)["input_ids"],
            "answers": tokenizer(text_target=list(answers))["input_ids"],
        }
    ids = tokenizer(prompt)["input_ids"]
    whole = tokenizer([prompt + answer + tokenizer.eos_token for answer in answers])["input_ids"]
    # less than the prompt where a token spans its end
    shared = len(os.path.commonprefix([ids, *whole]))
    return {"prompt": ids[:shared], "answers": [row[shared:] for row in whole]}


Scorer = Callable[[Any, Candidates, int], torch.Tensor]
"""model, candidates and pad token to sums over the answers' tokens, in nats, (B, K); 0 where a
prompt has fewer."""


def base_of(model: Any) -> Any:
    """The model itself, without an adapter around it."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def separate(model: Any, candidates: Candidates, pad: int) -> torch.Tensor:
    """A Scorer: one row for each answer, with the prompt before it."""
    rows = []
    labels = []
    for prompt, answers in zip(candidates.prompts, candidates.answers, strict=True):
        for ids in answers:
            rows.append(prompt + ids)
            labels.append([IGNORED] * len(prompt) + ids)
    ids_NT, mask_NT = padded(rows, pad, model.device)
    labels_NT, _ = padded(labels, IGNORED, model.device)
    out = model(input_ids=ids_NT, attention_mask=mask_NT, labels=labels_NT, fused_lm_head=True)
    return _by_prompt(out.log_probs.sum(1), candidates)


def _by_prompt(sums_N: torch.Tensor, candidates: Candidates) -> torch.Tensor:
    """Sums of N answers as (B, K)."""
    parts = torch.split(sums_N, [len(row) for row in candidates.answers])
    return torch.nn.utils.rnn.pad_sequence(list(parts), batch_first=True)


def with_logits(model: Any, candidates: Candidates, pad: int) -> torch.Tensor:
    """A Scorer for an encoder-decoder, by the logits that it gives."""
    inputs, labels_NT = _decoded(model, candidates, pad)
    return _by_prompt(_token_scores(model(**inputs).logits, labels_NT).sum(1), candidates)


def encoded_once(model: Any, candidates: Candidates, pad: int) -> torch.Tensor:
    """A Scorer for an encoder-decoder."""
    inputs, labels_NT = _decoded(model, candidates, pad)
    return _by_prompt(_scored(model, inputs, labels_NT).sum(1), candidates)


def answer_states(
    model: Any, prompts: list[list[int]], answers: list[list[int]], pad: int
) -> tiles.States:
    """What the head predicts each token of one answer to each prompt from: (B, T, D).

    They are padded on the right.
    """
    if model.config.is_encoder_decoder:
        inputs, _ = _decoded(model, Candidates(prompts, [[ids] for ids in answers]), pad)
        return tiles.states(model, **inputs)
    answer_BT, answered_BT = padded(answers, pad, model.device)
    # prompts are padded on the left: turned round, on the right, and turned back
    turned_BS, turned_mask_BS = padded([ids[::-1] for ids in prompts], pad, model.device)
    mask_BT = torch.cat([turned_mask_BS.flip(1), answered_BT], 1)
    states = tiles.states(
        model,
        input_ids=torch.cat([turned_BS.flip(1), answer_BT], 1),
        attention_mask=mask_BT,
        position_ids=(mask_BT.cumsum(1) - 1).clamp(min=0),
        logits_to_keep=answer_BT.shape[1] + 1,
        use_cache=False,
    )
    return states._replace(values=states.values[:, :-1])


def answer_logits(
    model: Any, prompts: list[list[int]], answers: list[list[int]], pad: int
) -> torch.Tensor:
    """The logits themselves, (B, T, V): as large as they are, where few of them are needed."""
    states = answer_states(model, prompts, answers, pad)
    return states.logits(states.values)


def _scored(model: Any, inputs: dict[str, Any], labels_NT: torch.Tensor) -> torch.Tensor:
    """log p of each label (N, T), 0 where it is IGNORED."""
    states = tiles.states(model, **inputs)

    def read(values_MD: torch.Tensor, labels_M: torch.Tensor) -> tuple[torch.Tensor]:
        return (_token_scores(states.logits(values_MD), labels_M),)

    (scores_NT,) = tiles.in_tiles(
        read, states.vocabulary, labels_NT != IGNORED, states.values, labels_NT
    )
    return scores_NT


def _decoded(model: Any, candidates: Candidates, pad: int) -> tuple[dict[str, Any], torch.Tensor]:
    """What the decoder is given, and the labels (N, T), IGNORED where padded.

    Each source is encoded once for all its answers.
    """
    device = model.device
    ids_BS, mask_BS = padded(candidates.prompts, pad, device)
    base = base_of(model)
    source = base.get_encoder()(input_ids=ids_BS, attention_mask=mask_BS)
    counts = torch.tensor([len(row) for row in candidates.answers], device=device)
    answers = list(itertools.chain.from_iterable(candidates.answers))
    labels_NT, answered_NT = padded(answers, pad, device)
    inputs = {
        "encoder_outputs": (source.last_hidden_state.repeat_interleave(counts, 0),),
        "attention_mask": mask_BS.repeat_interleave(counts, 0),
        "decoder_input_ids": base.prepare_decoder_input_ids_from_labels(labels_NT),
        "use_cache": False,
    }
    return inputs, labels_NT.masked_fill(answered_NT == 0, IGNORED)


def _token_scores(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """log p of each label, 0 where it is IGNORED; logits (..., V) and labels (...)."""
    flat = cross_entropy(
        logits.float().flatten(0, -2), labels.flatten(), reduction="none", ignore_index=IGNORED
    )
    return -flat.view(labels.shape)


def packed(model: Any, candidates: Candidates, pad: int) -> torch.Tensor:
    """A Scorer: one row for each prompt.

    The row is the prompt but its last token, and then for each answer that last token and the
    answer: so an answer's first token is predicted from the prompt's last, and labels shift as they
    always do.
    """
    rows = []
    for prompt, answers in zip(candidates.prompts, candidates.answers, strict=True):
        rows.append(_pack(prompt, answers))
    device = model.device
    ids_BT, _ = padded([row.ids for row in rows], pad, device)
    owner_BT, _ = padded([row.owners for row in rows], -1, device)
    label_BT, _ = padded([row.labels for row in rows], IGNORED, device)
    place_BT, _ = padded([row.places for row in rows], 0, device)
    mask = visible(owner_BT)
    if model.config._attn_implementation != "sdpa":
        mask = additive(mask, model.dtype)
    inputs = {
        "input_ids": ids_BT,
        "attention_mask": mask,
        "position_ids": place_BT,
        "use_cache": False,
    }
    next_BT = torch.nn.functional.pad(label_BT[:, 1:], (0, 1), value=IGNORED)
    scores_BT = _scored(model, inputs, next_BT)
    most = max(map(len, candidates.answers))
    owner_of_next = owner_BT[:, 1:].clamp(min=0)
    sums = scores_BT.new_zeros(len(rows), most + 1)
    sums = sums.scatter_add(1, owner_of_next, scores_BT[:, :-1])
    return sums[:, 1:]  # the first is the prompt's


class PackedRow(NamedTuple):
    """A prompt and its answers as one row; a value for each token."""

    ids: list[int]
    places: list[int]
    """Positions, of each answer as if it alone came after the prompt."""
    owners: list[int]
    """0 for the prompt, the number of the answer, from 1, for the others."""
    labels: list[int]
    """The token itself in an answer, IGNORED elsewhere."""


def _pack(prompt: list[int], answers: list[list[int]]) -> PackedRow:
    shared = len(prompt) - 1
    row = PackedRow(prompt[:-1], list(range(shared)), [0] * shared, [IGNORED] * shared)
    for number, answer in enumerate(answers, 1):
        row.ids.extend([prompt[-1], *answer])
        row.places.extend(range(shared, len(prompt) + len(answer)))
        row.owners.extend([number] * (1 + len(answer)))
        row.labels.extend([IGNORED, *answer])
    return row


def padded(
    rows: Sequence[Sequence[int]], value: int, device: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows padded on the right to one length, and their mask."""
    most = max(map(len, rows))
    values = []
    mask = []
    for row in rows:
        missing = most - len(row)
        values.append([*row, *[value] * missing])
        mask.append([1] * len(row) + [0] * missing)
    return torch.tensor(values, device=device), torch.tensor(mask, device=device)
