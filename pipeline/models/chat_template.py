"""The chat template: which one, of which day, and whether a sentence comes through it whole."""

from typing import Any

from transformers import PreTrainedTokenizerBase

from pipeline import prompts
from pipeline.errors import ConfigError, StudentError
from pipeline.models.chat_front import fixed, led
from pipeline.models.endings import lead, only_before

PROBES = (
    'Ann & Bob said "it\'s <b>fine</b>", twice.',
    "Zoë paid 5 € for the 日本語  lesson \\ {{ naps }} 🤡!",
    "The kettle was on again" + ", and again" * 400 + ".",
)
"""Sentences that escaping, lower case, other alphabets, collapsed blanks or a cut would change."""
SHORT = PROBES[:2]
"""For what counts tokens: of the long one, transformers would warn at every start."""
MEND = (
    "Copy the model into a folder, mend its chat_template.jinja there (a message's content is a "
    "string, to be printed once, as it is), and give that folder as student.model."
)
THOUGHTS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
)
"""How models open and close a thought."""
PLAIN = "{{ messages[-1]['content'] + '\\n' }}"
"""The template of a student without any."""


def settle(tokenizer: PreTrainedTokenizerBase, date: str, encoder_decoder: bool) -> None:
    """Have the tokenizer's chat template be one that gives the same prompts always, if it has any.

    ConfigError or StudentError, in words, where a sentence does not come through it whole, or a
    server could not give a decoder-only student the prompts of its training.
    """
    template = _single(tokenizer)
    tokenizer.chat_template = template and fixed(template, date)
    _check(tokenizer)
    if encoder_decoder:
        return
    if tokenizer.chat_template:
        _leave_lead_to_template(tokenizer)
    served(tokenizer)


def prompt(tokenizer: PreTrainedTokenizerBase, words: str) -> str:
    """These words as the tokenizer is given them, which adds its lead (a bos) by itself."""
    if not tokenizer.chat_template:
        return words + "\n"
    return _rendered(tokenizer, words).removeprefix(lead(tokenizer))


def served(tokenizer: PreTrainedTokenizerBase) -> str:
    """A chat template by which a server gives a decoder-only student the very tokens of `prompt`.

    A server has the template write all of them. StudentError where there is none.
    """
    before = lead(tokenizer)
    candidates = [f"{before}{PLAIN}", f"{before} {PLAIN}"]
    if tokenizer.chat_template:
        own = tokenizer.chat_template
        candidates = [own, led(own, before), led(own, f"{before} ")]
    for template in candidates:
        if all(_is_served(tokenizer, template, words) for words in SHORT):
            return template
    raise StudentError(
        f"student.model = {tokenizer.name_or_path!r}: its tokenizer puts {before!r} before every "
        "text, and no chat template could give a server the same tokens.\nCopy the model into a "
        "folder, save its tokenizer there so that it puts nothing, or a special token, before a "
        "text, and give that folder as student.model."
    )


def _is_served(tokenizer: PreTrainedTokenizerBase, template: str, words: str) -> bool:
    """Whether a server with this template gives the tokens of `prompt`."""
    message = {"role": "user", "content": words}
    given = tokenizer.apply_chat_template(
        [message], chat_template=template, add_generation_prompt=True
    )
    return given["input_ids"] == tokenizer(prompt(tokenizer, words))["input_ids"]


def _leave_lead_to_template(tokenizer: PreTrainedTokenizerBase) -> None:
    """Have the template alone write the lead, where the tokenizer's changes the token after it.

    So a model was trained by its makers, and so a server asks it.
    """
    before = lead(tokenizer)
    text = _rendered(tokenizer, PROBES[0])
    if not before or not text.startswith(before):
        return
    whole = tokenizer(text, add_special_tokens=False)["input_ids"]
    if tokenizer(text.removeprefix(before))["input_ids"] != whole:
        only_before(tokenizer, [])


def _single(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The tokenizer's chat template; of several by name, the default, or the only one.

    None where there is none; StudentError where there are several and none is the default.
    """
    templates = tokenizer.chat_template
    if not isinstance(templates, dict):
        return templates or None
    if "default" in templates:
        return templates["default"]
    if len(templates) > 1:
        raise StudentError(
            f"student.model = {tokenizer.name_or_path!r} has several chat templates "
            f"({', '.join(sorted(templates))}) and no default one.\nCopy the model into a folder, "
            "put the one to use there as chat_template.jinja, and give that folder as "
            "student.model."
        )
    return next(iter(templates.values()), None)


def _rendered(tokenizer: PreTrainedTokenizerBase, words: str) -> str:
    """The prompt that the chat template makes of these words; StudentError where it cannot."""
    try:
        text = _text(tokenizer, words)
    except Exception as error:  # noqa: BLE001 - a template is code of the model's, and raises what it likes
        why = (str(error).splitlines() or [""])[0]
        raise _fault(
            tokenizer, f"fails on a message of a user: {type(error).__name__}: {why}"
        ) from None
    if words not in text:
        wants = ""
        if _wants_parts(tokenizer, words):
            wants = " It wants content as a list of parts, which is not given here."
        raise _fault(
            tokenizer,
            f"leaves the message out, or changes it: of {_short(words)} it makes "
            f"{_short(text)}.{wants}",
        )
    return text


def _text(tokenizer: PreTrainedTokenizerBase, content: Any) -> str:
    message = {"role": "user", "content": content}
    return str(tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True))


def _wants_parts(tokenizer: PreTrainedTokenizerBase, words: str) -> bool:
    """Whether the template prints words that come as a list of parts."""
    try:
        return words in _text(tokenizer, [{"type": "text", "text": words}])
    except Exception:  # noqa: BLE001 - it does not want them; what is wrong is being said
        return False


def _check(tokenizer: PreTrainedTokenizerBase) -> None:
    """ConfigError or StudentError where a sentence does not come out of the prompt once and whole.

    It goes through student.j2 and the chat template; also where two prompts differ in more than
    their sentences, or the student's answer would be part of a thought.
    """
    messages = [prompts.render("student", literal=sentence) for sentence in PROBES]
    if len(set(messages)) < len(messages):
        raise ConfigError(
            "prompts/student.j2 says the same of different sentences. Write {{ literal }} where "
            "the sentence belongs."
        )
    if not tokenizer.chat_template:
        return
    first = None
    for words in messages:
        text = _rendered(tokenizer, words)
        if text.count(words) > 1:
            raise _fault(tokenizer, f"prints the message {text.count(words)} times.")
        around = text.split(words)
        if first is None:
            first = around
        if around != first:
            raise _fault(
                tokenizer, "makes prompts of two sentences that differ in more than the sentences."
            )
        if _rendered(tokenizer, words) != text:
            raise _fault(tokenizer, "makes another prompt each time.")
        _check_thought(tokenizer, around[1])


def _check_thought(tokenizer: PreTrainedTokenizerBase, tail: str) -> None:
    """StudentError where the prompt, after its sentence, ends inside a thought."""
    for opening, closing in THOUGHTS:
        if tail.rfind(opening) > tail.rfind(closing):
            raise StudentError(
                f"student.model = {tokenizer.name_or_path!r}: its chat template opens a thought "
                f"({opening}) in which the prompt ends, even where enable_thinking is false, so "
                "the student's answer would be a part of it.\nCopy the model into a folder, close "
                f"it in its chat_template.jinja there ({closing}) or take it out, and give that "
                "folder as student.model."
            )


def _fault(tokenizer: PreTrainedTokenizerBase, what: str) -> StudentError:
    return StudentError(
        f"student.model = {tokenizer.name_or_path!r}: its chat template {what}\n{MEND}"
    )


def _short(text: str) -> str:
    """A text as a person can read it in one line."""
    return repr(text if len(text) <= 120 else text[:117] + "...")
