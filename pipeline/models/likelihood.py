"""log p(answer | prompt) of several answers to each prompt in one forward pass. Imports torch.

A prompt is read once for all of its answers: an encoder-decoder encodes it once; a decoder-only
model sees one sequence of the prompt and then its answers, each of which attends to the prompt and
to itself alone.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedTokenizerBase
from trl.trainer.utils import add_fused_lm_head

CLOSE = {True: 1e-3, False: 2e-2}
"""How far packed and separate scores may differ, relative and in nats, in float32 and in half
precision."""
TILE = 128
"""Tokens that the head sees at a time."""
IGNORED = -100
"""A label that no loss looks at."""


class Candidates(NamedTuple):
    """Answers to B prompts, at most K to each, as token ids; an answer ends in eos."""

    prompts: list[list[int]]
    answers: list[list[list[int]]]

    @property
    def tokens(self) -> torch.Tensor:
        """Tokens of each answer, (B, K); 0 where a prompt has fewer than K."""
        most = max(map(len, self.answers))
        return torch.tensor(
            [[len(ids) for ids in row] + [0] * (most - len(row)) for row in self.answers]
        )


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
    shared = len(
        os.path.commonprefix([ids, *whole])
    )  # less than the prompt where a token spans its end
    return {"prompt": ids[:shared], "answers": [row[shared:] for row in whole]}


Scorer = Callable[[Any, Candidates, int], torch.Tensor]
"""model, candidates and pad token to sums over the answers' tokens, in nats, (B, K); 0 where a
prompt has fewer."""


@torch.no_grad()
def scorer(model: Any, longest: Candidates, pad: int) -> Scorer:
    """The quickest way to score candidates that is right for this model.

    The quick way keeps no logits and, for a decoder-only model, packs a prompt's answers into one
    row. Whether it is right is tried on `longest`, a row of the data: architectures without such
    masks, windows shorter than a row, and heads that do more than multiply and add get the plain
    way.
    """
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    quick, plain = (
        (encoded_once, with_logits) if base.config.is_encoder_decoder else (packed, separate)
    )
    if quick is packed:
        add_fused_lm_head(base)
    training = model.training
    model.eval()
    try:
        together, apart = quick(model, longest, pad), plain(model, longest, pad)
        close = CLOSE[model.dtype == torch.float32]
        return quick if torch.allclose(together, apart, rtol=close, atol=close) else plain
    except (RuntimeError, ValueError, TypeError):
        return plain
    finally:
        model.train(training)


def separate(model: Any, candidates: Candidates, pad: int) -> torch.Tensor:
    """A Scorer: one row for each answer, with the prompt before it."""
    pairs = [
        (prompt, ids)
        for prompt, row in zip(candidates.prompts, candidates.answers, strict=True)
        for ids in row
    ]
    ids_NT, mask_NT = padded([prompt + ids for prompt, ids in pairs], pad, model.device)
    labels_NT, _ = padded(
        [[IGNORED] * len(prompt) + ids for prompt, ids in pairs], IGNORED, model.device
    )
    out = model(input_ids=ids_NT, attention_mask=mask_NT, labels=labels_NT, fused_lm_head=True)
    return _by_prompt(out.log_probs.sum(1), candidates)


def _by_prompt(sums_N: torch.Tensor, candidates: Candidates) -> torch.Tensor:
    parts = torch.split(sums_N, [len(row) for row in candidates.answers])
    return torch.nn.utils.rnn.pad_sequence(list(parts), batch_first=True)


def with_logits(model: Any, candidates: Candidates, pad: int) -> torch.Tensor:
    """A Scorer for an encoder-decoder, by the logits that it gives."""
    inputs, labels_NT = _decoded(model, candidates, pad)
    return _by_prompt(_token_scores(model(**inputs).logits, labels_NT).sum(1), candidates)


def encoded_once(model: Any, candidates: Candidates, pad: int) -> torch.Tensor:
    """A Scorer for an encoder-decoder."""
    inputs, labels_NT = _decoded(model, candidates, pad)
    return _by_prompt(_in_tiles(model, inputs, labels_NT).sum(1), candidates)


def answer_logits(
    model: Any, prompts: list[list[int]], answers: list[list[int]], pad: int
) -> torch.Tensor:
    """The logits from which each token of one answer to each prompt is predicted: (B, T, V); padded
    on the right."""
    if model.config.is_encoder_decoder:
        inputs, _ = _decoded(model, Candidates(prompts, [[ids] for ids in answers]), pad)
        return model(**inputs).logits
    answer_BT, answered_BT = padded(answers, pad, model.device)
    prompt_BS, mask_BS = (
        part.flip(1) for part in padded([ids[::-1] for ids in prompts], pad, model.device)
    )
    mask_BT = torch.cat([mask_BS, answered_BT], 1)
    out = model(
        input_ids=torch.cat([prompt_BS, answer_BT], 1),
        attention_mask=mask_BT,
        position_ids=(mask_BT.cumsum(1) - 1).clamp(min=0),
        logits_to_keep=answer_BT.shape[1] + 1,
        use_cache=False,
    )
    return out.logits[:, :-1]


def _in_tiles(model: Any, inputs: dict[str, Any], labels_NT: torch.Tensor) -> torch.Tensor:
    """log p of each label (N, T): the head goes over labelled places in tiles, which backward
    computes again.

    When the model calls it, the head sees each row's first place alone; from here, what it would
    have seen.
    """
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    head, bias, seen = base.get_output_embeddings(), getattr(base, "final_logits_bias", None), []

    def first(_: Any, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        seen.append(given[0])
        return (given[0][:, :1],)

    hook = head.register_forward_pre_hook(first)
    try:
        model(**inputs)
    finally:
        hook.remove()

    def tile(hidden_MD: torch.Tensor, labels_M: torch.Tensor) -> torch.Tensor:
        logits_MV = head(hidden_MD)
        return _token_scores(logits_MV if bias is None else logits_MV + bias, labels_M)

    counted_NT = labels_NT != IGNORED
    hidden_MD, labels_M = seen[0][counted_NT], labels_NT[counted_NT]
    tiles = zip(torch.split(hidden_MD, TILE), torch.split(labels_M, TILE), strict=True)
    scores_M = torch.cat([checkpoint(tile, *part, use_reentrant=False) for part in tiles])
    return scores_M.new_zeros(labels_NT.shape).masked_scatter(counted_NT, scores_M)


def _decoded(model: Any, candidates: Candidates, pad: int) -> tuple[dict[str, Any], torch.Tensor]:
    """What the decoder is given, each source encoded once for all its answers; labels (N, T),
    IGNORED where padded."""
    device = model.device
    ids_BS, mask_BS = padded(candidates.prompts, pad, device)
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    source = base.get_encoder()(input_ids=ids_BS, attention_mask=mask_BS)
    counts = torch.tensor([len(row) for row in candidates.answers], device=device)
    labels_NT, answered_NT = padded([ids for row in candidates.answers for ids in row], pad, device)
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
    rows, places, owners, labels = [], [], [], []
    for prompt, answers in zip(candidates.prompts, candidates.answers, strict=True):
        shared = prompt[:-1]
        ids, at, owner, label = (
            list(shared),
            list(range(len(shared))),
            [0] * len(shared),
            [IGNORED] * len(shared),
        )
        for number, answer in enumerate(answers, 1):
            ids += [prompt[-1], *answer]
            at += range(len(shared), len(prompt) + len(answer))
            owner += [number] * (1 + len(answer))
            label += [IGNORED, *answer]
        rows.append(ids)
        places.append(at)
        owners.append(owner)
        labels.append(label)
    device = model.device
    ids_BT, _ = padded(rows, pad, device)
    owner_BT, _ = padded(owners, -1, device)
    label_BT, _ = padded(labels, IGNORED, device)
    place_BT, _ = padded(places, 0, device)
    seen = visible(owner_BT)
    inputs = {
        "input_ids": ids_BT,
        "attention_mask": seen
        if model.config._attn_implementation == "sdpa"
        else additive(seen, model.dtype),
        "position_ids": place_BT,
        "use_cache": False,
    }
    scores_BT = _in_tiles(
        model, inputs, torch.nn.functional.pad(label_BT[:, 1:], (0, 1), value=IGNORED)
    )
    most = max(map(len, candidates.answers))
    owner_of = owner_BT[:, 1:].clamp(min=0)
    return scores_BT.new_zeros(len(rows), most + 1).scatter_add(1, owner_of, scores_BT[:, :-1])[
        :, 1:
    ]


def visible(owner_BT: torch.Tensor) -> torch.Tensor:
    """Attention mask (B, 1, T, T): true where a token may look.

    Owner 0 is the prompt, which all see; tokens of one answer see each other; -1 is padding; nobody
    looks ahead.
    """
    same = owner_BT[:, :, None] == owner_BT[:, None, :]
    before = torch.ones(
        owner_BT.shape[1], owner_BT.shape[1], dtype=torch.bool, device=owner_BT.device
    ).tril()
    return ((same | (owner_BT == 0)[:, None, :]) & before)[:, None]


def additive(seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The same mask as what is added to attention scores."""
    return torch.zeros_like(seen, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)


def padded(
    rows: Sequence[Sequence[int]], value: int, device: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows padded on the right to one length, and their mask."""
    most = max(map(len, rows))
    ids = torch.tensor([[*row, *[value] * (most - len(row))] for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (most - len(row)) for row in rows], device=device)
    return ids, mask
