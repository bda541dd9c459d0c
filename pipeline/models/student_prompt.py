"""The student's prompt, how long it is, and how much room it leaves for an answer."""

import re
from collections.abc import Callable
from typing import Any

from transformers import PreTrainedTokenizerBase

from pipeline.config.whole import Config
from pipeline.models import chat_template
from pipeline.models.student import architecture
from pipeline.progress import Progress
from pipeline.prompts import render
from pipeline.rows.training import Measured


def prompt(tokenizer: PreTrainedTokenizerBase, literal: str, template: str = "student") -> str:
    """The student's prompt for a literal, up to where its answer begins.

    sft, sample, dpo and evaluate all use it. The template, student.j2 or another for a teacher,
    goes through the chat template where there is one, and ends in a newline where there is none, so
    that no token spans prompt and answer; an encoder-decoder, whose encoder reads it, keeps to the
    same words. A bos that the tokenizer adds by itself is left to it.
    """
    return chat_template.prompt(tokenizer, render(template, literal=literal))


def stop_tokens(model: Any, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that end an answer: the eos of the tokenizer and the model's generation config."""
    named = model.generation_config.eos_token_id
    if not isinstance(named, list):
        named = [named]
    return sorted({tokenizer.eos_token_id, *named} - {None})


def length(tokenizer: PreTrainedTokenizerBase, prompt: str) -> int:
    """Tokens of a prompt, with those that the tokenizer puts around every text."""
    return len(tokenizer(prompt)["input_ids"])


def answer_length(tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    """Tokens of an answer, without those that begin or end it."""
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


def _around_answers(config: Config, tokenizer: PreTrainedTokenizerBase) -> int:
    """Tokens that an answer has in training beside its own: eos, and a decoder's bos as in BART."""
    if not architecture(config).is_encoder_decoder:
        return 1
    return len(tokenizer(text_target="")["input_ids"])


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str]:
    """Finds the tokens in a text that are no text to the tokenizer: ends, roles, padding.

    A text that spells one out would end an answer or begin another turn. To tokenize around it is
    no way out: the rows would mean one thing here and another to whoever trains on them elsewhere.
    """
    added = tokenizer.added_tokens_decoder.values()
    names = {token.content for token in added if token.special} | {*tokenizer.all_special_tokens}
    longest_first = sorted((name for name in names if name), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def room(config: Config, max_length: int | None = None) -> Callable[[int], int]:
    """The tokens left for an answer, eos among them, after a prompt of so many tokens.

    Prompt and answer share a decoder's context, or a shorter max_length; an encoder-decoder has as
    much for each.
    """
    most = min(value for value in (context(config), max_length, 10**9) if value)
    if architecture(config).is_encoder_decoder:
        return lambda prompt_tokens: most if prompt_tokens <= most else 0
    return lambda prompt_tokens: most - prompt_tokens


def context(config: Config) -> int | None:
    """The most tokens that the student takes; None where that is not limited."""
    # T5's positions are relative, and its n_positions only what it was pretrained with
    return getattr(architecture(config).get_text_config(), "max_position_embeddings", None)


def measure(
    config: Config,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int | None,
    literals: dict[str, str],
    jokes: dict[str, str],
    progress: Progress,
) -> Measured:
    """Prompts, lengths and room of literals and jokes, both given as texts by id."""
    left = room(config, max_length)
    special = special_tokens(tokenizer)
    spelled = [key for key, text in [*literals.items(), *jokes.items()] if special.search(text)]
    texts = {literal: prompt(tokenizer, text) for literal, text in literals.items()}
    lengths = {}
    for joke, text in jokes.items():
        lengths[joke] = answer_length(tokenizer, text)
        progress.advance()
    around = _around_answers(config, tokenizer)
    rooms = {literal: left(length(tokenizer, text)) - around for literal, text in texts.items()}
    return Measured(texts, lengths, rooms, frozenset(spelled))
