"""The student: load it, phrase its prompt, let it write. One of the modules that import torch."""

import ctypes.util
import hashlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedTokenizerBase,
)

from pipeline import prompts
from pipeline.config import Config, Generation, Runtime
from pipeline.errors import StudentError
from pipeline.progress import Progress
from pipeline.recipe import student_folder
from pipeline.records import Joke, LiteralText, content_id, make
from pipeline.store import Context

PAD_NAMES = ("<|pad|>", "<pad>", "[PAD]", "<|finetune_right_pad_id|>", "<|vision_pad|>", "<unk>", "<|endoftext|>")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""glibc's malloc.h."""
SEGMENT = 32
"""Tokens between two looks at which rows have stopped."""
NUCLEUS = 64
"""Tokens looked at first; where they hold less than top_p of the mass, the whole vocabulary is sorted."""


def keep_memory() -> None:
    """Have glibc keep freed tensors' memory: giving it back and faulting it in again costs a third of a CPU step."""
    if sys.platform == "linux" and (libc := ctypes.util.find_library("c")):
        for option in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            ctypes.CDLL(libc).mallopt(option, 1 << 30)


def device(runtime: Runtime) -> str:
    """cuda, mps or cpu: as configured, or the best there is."""
    if runtime.device != "auto":
        return runtime.device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _source(config: Config) -> dict[str, Any]:
    folder = student_folder(config)
    return {
        "pretrained_model_name_or_path": str(folder or config.student.model),
        "trust_remote_code": config.student.trust_remote_code,
        **({} if folder else {"revision": config.student.revision}),
    }


def architecture(config: Config) -> Any:
    """The student's transformers config; StudentError where it cannot be found or cannot be trained here."""
    try:
        found = AutoConfig.from_pretrained(**_source(config))
    except (OSError, ValueError) as error:
        raise StudentError(
            f"student.model = {config.student.model!r}: {str(error).splitlines()[0]}\n"
            "Give a folder with a config.json, or the id of a model on the Hub that this machine can reach."
        ) from None
    if found.is_encoder_decoder:
        raise StudentError(
            f"student.model = {config.student.model!r} is an encoder-decoder ({found.model_type}). TRL's trainers would "
            "train it on the wrong targets without an error, so it is refused. Choose a decoder-only model."
        )
    return found


def load_tokenizer(config: Config) -> PreTrainedTokenizerBase:
    """The tokenizer, with a pad token that is not eos: a student whose pad is eos never learns to stop."""
    found = architecture(config)
    try:
        tokenizer = AutoTokenizer.from_pretrained(**_source(config), padding_side="left")
    except (OSError, ValueError) as error:
        raise StudentError(f"student.model = {config.student.model!r}: no tokenizer: {error}") from None
    if tokenizer.eos_token_id is None:
        raise StudentError(
            f"The tokenizer of {config.student.model!r} has no eos token, so the student could never learn to stop. "
            'Set "eos_token" in its tokenizer_config.json.'
        )
    if tokenizer.pad_token_id in (None, tokenizer.eos_token_id):
        known = tokenizer.get_vocab()
        free = [name for name in PAD_NAMES if name in known and known[name] != tokenizer.eos_token_id]
        if not free and len(tokenizer) >= found.get_text_config().vocab_size:
            raise StudentError(
                f"The tokenizer of {config.student.model!r} has no pad token apart from eos, and the model has no spare "
                f"embedding for one. Add a pad token to the tokenizer and resize the model's embeddings once, then "
                "point student.model at the saved folder."
            )
        tokenizer.pad_token = free[0] if free else PAD_NAMES[0]
    return tokenizer


def load(config: Config, weights: Path | None = None, train: bool = False) -> Any:
    """The student as a model: untrained, or with the weights or the adapter in a folder that a stage wrote."""
    architecture(config)
    keep_memory()
    options: dict[str, Any] = {"dtype": config.student.dtype}
    if config.student.quantization != "none":
        options["quantization_config"] = quantization(config)
    adapter = weights is not None and (weights / "adapter_config.json").exists()
    source = _source(config) if weights is None or adapter else {"pretrained_model_name_or_path": str(weights)}
    model = AutoModelForCausalLM.from_pretrained(**source, **options)
    if adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(weights), is_trainable=train)
    if config.student.quantization == "none":
        model = model.to(device(config.runtime))
    return model.train() if train else model.eval()


def quantization(config: Config) -> BitsAndBytesConfig:
    """NF4 with double quantization, as in QLoRA (arXiv 2305.14314), or LLM.int8()."""
    if config.student.quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    compute = torch.float32 if config.student.dtype == "float32" else torch.bfloat16
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )


def prompt(tokenizer: PreTrainedTokenizerBase, literal: str) -> str:
    """The student's prompt for a literal, up to where its answer begins; sft, sample, dpo and evaluate all use it.

    prompts/student.j2 goes through the chat template where there is one, and ends in a newline where there is none, so
    that no token spans prompt and answer. A bos that the tokenizer adds by itself is left to it.
    """
    words = prompts.render("student", literal=literal)
    if not tokenizer.chat_template:
        return words + "\n"
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": words}], tokenize=False, add_generation_prompt=True, enable_thinking=False
    )
    bos = tokenizer.bos_token
    adds_bos = bos is not None and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    return str(text).removeprefix(bos) if adds_bos and bos else str(text)


def length(tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    """Tokens of a text."""
    return len(tokenizer(text)["input_ids"])


def room(config: Config, tokenizer: PreTrainedTokenizerBase, max_length: int | None = None) -> int:
    """The most tokens that prompt and answer may have together: the model's context or a shorter max_length."""
    context = getattr(architecture(config).get_text_config(), "max_position_embeddings", None)
    return min(value for value in (context, max_length, 10**9) if value)


def fingerprint(model: Any, adapter: str = "default") -> str:
    """SHA-256 of the trained part of a model in memory: an adapter's weights, or all of them."""
    digest = hashlib.sha256()
    adapted = hasattr(model, "peft_config")
    mark = f".{adapter}."
    for name, tensor in sorted(model.state_dict().items()):
        if adapted and mark not in name:
            continue
        digest.update(name.replace(mark, ".").encode())
        digest.update(tensor.detach().contiguous().cpu().view(torch.uint8).numpy().tobytes() if tensor.dim() else b"")
    return digest.hexdigest()


class Task(NamedTuple):
    """One answer to write: the index-th by this author for this literal."""

    literal: LiteralText
    author: str
    index: int


class RowSampler(LogitsProcessor):
    """Nucleus sampling (arXiv 1904.09751) with one random generator per row.

    A row's draws depend on its own seed alone, not on the rows beside it. It leaves one token per row possible, so
    that generation itself is greedy.
    """

    def __init__(self, seeds: Sequence[int], prompt_tokens: int, settings: Generation, pad: int) -> None:
        draws = [
            torch.rand(settings.max_new_tokens, generator=torch.Generator().manual_seed(seed)) for seed in seeds
        ]
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
    done = {(joke.literal_id, joke.author, joke.index): joke for joke in context.kept.values() if isinstance(joke, Joke)}
    lengths = {task.literal.id: 0 for task in tasks}
    texts = {task.literal.id: prompt(tokenizer, task.literal.text) for task in tasks}
    lengths = {literal: length(tokenizer, text) for literal, text in texts.items()}
    limit = room(context.config, tokenizer) - settings.max_new_tokens
    fitting = [task for task in tasks if lengths[task.literal.id] <= limit]
    if len(fitting) < len(tasks):
        context.dropped["longer than the student's context"] += len(tasks) - len(fitting)
    fitting.sort(key=lambda task: (lengths[task.literal.id], task.literal.id))
    size, tokens = context.config.runtime.generate_batch, 0
    with Progress(f"{context.step}, on {model.device}", len(fitting)) as progress:
        for start in range(0, len(fitting), size):
            batch = fitting[start : start + size]
            keys = [(task.literal.id, task.author, task.index) for task in batch]
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
                    index=task.index,
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
    stops = model.generation_config.eos_token_id
    stops = {tokenizer.eos_token_id, *(stops if isinstance(stops, list) else [stops])} - {None}
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
                eos_token_id=sorted(stops),
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
