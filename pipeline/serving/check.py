"""Greedy answers of what became of a student, beside the run's own.

A file that is served elsewhere may split prompts into other tokens, and nobody would notice.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipeline import prompts
from pipeline.config.student import Evaluate
from pipeline.config.whole import Config
from pipeline.models import footprint, generation, student, student_prompt
from pipeline.progress import Progress
from pipeline.runs.literals import literals
from pipeline.serving import gguf
from pipeline.serving.process import Server, free_ports, here

PATIENCE = 300.0
"""Seconds that a server may take to read a file."""


class Compared(NamedTuple):
    """So many prompts, and how many of them are the same tokens, and have the same answer."""

    prompts: int
    tokens: int
    answers: int
    differs: tuple[str, str, str] | None
    """The first sentence whose answers differ, the run's own answer, and the other."""

    def __str__(self) -> str:
        said = (
            f"of {self.prompts} prompts {self.tokens} are the same tokens, and {self.answers} have "
            "the same greedy answer as in the run"
        )
        if self.differs:
            sentence, own, other = self.differs
            said += f"; first {sentence!r}: {own!r} there, {other!r} here"
        return said


def greedy(evaluate: Evaluate) -> Evaluate:
    """The settings of evaluate's answers, without chance."""
    return evaluate.model_copy(update={"temperature": 0.0})


def sentences(config: Config, tokenizer: Any, number: int) -> list[str]:
    """The first literals of evaluate's splits that leave the student room for an answer."""
    room = student_prompt.room(config)
    special = student_prompt.special_tokens(tokenizer)
    found: list[str] = []
    for literal in literals(config, *config.evaluate.splits):
        length = student_prompt.length(tokenizer, student_prompt.prompt(tokenizer, literal.text))
        fits = room(length) >= config.evaluate.max_new_tokens
        if fits and not special.search(literal.text):
            found.append(literal.text)
        if len(found) == number:
            break
    return found


def own(config: Config, weights: Path | None, tokenizer: Any, texts: Sequence[str]) -> list[str]:
    """The run's student's greedy answers, as its evaluation has them."""
    model = student.load(config, weights)
    asked = [student_prompt.prompt(tokenizer, text) for text in texts]
    longest = max((student_prompt.length(tokenizer, prompt) for prompt in asked), default=1)
    size = footprint.at_a_time(config, model, greedy(config.evaluate), longest)
    answers = []
    with Progress("the run's own answers", len(asked)) as progress:
        for start in range(0, len(asked), size):
            part = asked[start : start + size]
            made = generation.generate(
                model, tokenizer, part, greedy(config.evaluate), range(len(part))
            )
            answers += [text for text, _ in made]
            progress.advance(rows=len(part))
    return answers


def of_folder(
    folder: Path, config: Config, texts: Sequence[str]
) -> tuple[list[list[int]], list[str]]:
    """The tokens of the prompts and the answers, as any user of transformers has them."""
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    trust = config.student.trust_remote_code
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust)
    kind: Any = AutoModelForCausalLM
    if student.is_encoder_decoder(config):
        kind = AutoModelForSeq2SeqLM
    model = kind.from_pretrained(folder, trust_remote_code=trust).eval()
    tokens, answers = [], []
    with Progress("the folder's answers", len(texts)) as progress:
        for text in texts:
            if student.is_encoder_decoder(config):
                ids = tokenizer(student_prompt.prompt(tokenizer, text))["input_ids"]
            else:
                ids = tokenizer.apply_chat_template(
                    [_message(text)], add_generation_prompt=True, return_dict=True
                )["input_ids"]
            [(answer, _)] = generation.of_tokens(model, tokenizer, [ids], greedy(config.evaluate))
            tokens.append(ids)
            answers.append(answer)
            progress.advance()
    return tokens, answers


def of_file(file: Path, config: Config, texts: Sequence[str]) -> tuple[list[list[int]], list[str]]:
    """The same of a GGUF file, as llama.cpp's server has them."""
    import json
    import urllib.request

    gguf.require("xllamacpp")

    def ask(path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with here(request, config.runtime.timeout) as response:
            return json.load(response)

    [port] = free_ports(1)
    command = [sys.executable, "-m", "pipeline.serving.llama", str(file.resolve()), str(port)]
    tokens, answers = [], []
    with (
        tempfile.TemporaryDirectory() as place,
        Server(command, port, Path(place) / "log") as server,
        Progress("llama.cpp's answers", len(texts)) as progress,
    ):
        server.wait(PATIENCE, file.name)
        for text in texts:
            messages = [_message(text)]
            prompt = ask("apply-template", {"messages": messages})["prompt"]
            split = {"content": prompt, "add_special": True, "parse_special": True}
            tokens.append(ask("tokenize", split)["tokens"])
            settings = {"temperature": 0, "max_tokens": config.evaluate.max_new_tokens}
            answer = ask("v1/chat/completions", {"messages": messages, **settings})
            answers.append((answer["choices"][0]["message"]["content"] or "").strip())
            progress.advance()
    return tokens, answers


def _message(text: str) -> dict[str, str]:
    return {"role": "user", "content": prompts.render("student", literal=text)}


def compare(
    tokenizer: Any, texts: Sequence[str], own: Sequence[str], tokens: Any, answers: Sequence[str]
) -> Compared:
    """What the run's own answers to these sentences are beside others', and their prompts."""
    asked = [tokenizer(student_prompt.prompt(tokenizer, text))["input_ids"] for text in texts]
    differing = [
        (text, one, other)
        for text, one, other in zip(texts, own, answers, strict=True)
        if one != other
    ]
    return Compared(
        len(texts),
        sum(one == other for one, other in zip(asked, tokens, strict=True)),
        len(texts) - len(differing),
        differing[0] if differing else None,
    )
