"""Ollama's Modelfile: how it is to ask a student in a GGUF file.

Ollama reads no chat template of transformers' from the file that it would use as it stands; it has
templates of Go. Every prompt of a student is one message of a user, and what is around it is always
the same (pipeline/models/chat_template.py), so that two texts and a blank are all of its template.
"""

import re
from collections.abc import Sequence
from typing import Any

from pipeline.config.student import Evaluate
from pipeline.models import chat_template

BLANK = "{{ .Prompt }}"
"""Where Go puts the message."""
MARK = "\u2603"
MOST = 4096
"""Tokens of context that Ollama is to keep room for, many times a sentence and its joke."""
SIGNS = re.compile(r'\{+|"')


def modelfile(
    tokenizer: Any, stops: Sequence[int], evaluate: Evaluate, file: str, context: int | None
) -> str:
    """The text of a Modelfile beside the GGUF `file`; `stops` are the tokens that end an answer.

    Ollama's own defaults would sample, punish repeats and cut the context.
    """
    settings: list[tuple[str, Any]] = [
        ("temperature", evaluate.temperature),
        ("top_p", evaluate.top_p),
        ("top_k", evaluate.top_k or 0),
        ("min_p", evaluate.min_p or 0),
        ("repeat_penalty", 1),
        ("num_predict", evaluate.max_new_tokens),
    ]
    if context:
        settings.append(("num_ctx", min(context, MOST)))
    settings += [("stop", _quoted(tokenizer.decode([stop]))) for stop in stops]
    lines = [f"FROM ./{file}", f'TEMPLATE """{template(tokenizer)}"""']
    lines += [f"PARAMETER {name} {value}" for name, value in settings]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A text as a Modelfile has it: nothing in it is escaped."""
    marks = '"'
    if '"' in text or "\n" in text:
        marks = '"""'
    return f"{marks}{text}{marks}"


def template(tokenizer: Any) -> str:
    """The Go template that makes of a message what the student's prompt is.

    Without the tokenizer's lead (a bos), which llama.cpp adds by itself where the tokenizer does.
    """
    before, after = chat_template.prompt(tokenizer, MARK).split(MARK)
    return _literally(before) + BLANK + _literally(after)


def _literally(text: str) -> str:
    """A text of which Go takes nothing for its own, nor a Modelfile for the end of a template."""
    return SIGNS.sub(lambda signs: f"{{{{ `{signs[0]}` }}}}", text)
