"""What a tokenizer puts before and after every text by itself."""

from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerBase

from pipeline.errors import StudentError


def around(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The tokens that it puts before a text, as bos, and after it, as eos."""
    whole = tokenizer("a")["input_ids"]
    text = tokenizer("a", add_special_tokens=False)["input_ids"]
    for start in range(len(whole) - len(text) + 1):
        end = start + len(text)
        if whole[start:end] == text:
            return whole[:start], whole[end:]
    return [], []


def lead(tokenizer: PreTrainedTokenizerBase) -> str:
    """What it puts before a text, as a template would write it."""
    before, _ = around(tokenizer)
    return "".join(tokenizer.convert_ids_to_tokens(before))


def without_end(tokenizer: PreTrainedTokenizerBase) -> None:
    """Have it put nothing after a text; StudentError where it cannot be stopped.

    A decoder's answer would begin after the end of its text.
    """
    before, after = around(tokenizer)
    if after:
        only_before(tokenizer, before)


def only_before(tokenizer: PreTrainedTokenizerBase, tokens: list[int]) -> None:
    """Have it put these tokens before a text, and nothing after it."""
    if getattr(tokenizer, "add_eos_token", False):
        tokenizer.add_eos_token = False  # a slow tokenizer has nothing else
    if tokenizer.is_fast:
        names = tokenizer.convert_ids_to_tokens(tokens)
        special = [{"id": "before", "ids": tokens, "tokens": names}] if tokens else []
        single = "before $A" if tokens else "$A"
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=single, special_tokens=special
        )
    if around(tokenizer) != (tokens, []):
        raise StudentError(
            f"student.model = {tokenizer.name_or_path!r}: its tokenizer puts "
            f"{' '.join(tokenizer.convert_ids_to_tokens(around(tokenizer)[1]))} after every text, "
            "so the student's answer would begin after its prompt's end, and that cannot be "
            "switched off here.\nCopy the model into a folder, save its tokenizer there without "
            "it (add_eos_token = false), and give that folder as student.model."
        )
