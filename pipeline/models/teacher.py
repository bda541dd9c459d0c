"""A teacher that is loaded here, so that its logits can be read."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from pipeline.config.student import Student
from pipeline.config.whole import Config
from pipeline.errors import StudentError
from pipeline.models import student, student_prompt
from pipeline.models.likelihood import answer_states, padded
from pipeline.models.tiles import in_tiles
from pipeline.runs.hashes import folder_hash, local_folder


class Teacher:
    """The model of [llmr] or [gkd] and its tokenizer.

    StudentError where its vocabulary is not the student's.
    """

    def __init__(self, config: Config, section: str, own: PreTrainedTokenizerBase) -> None:
        self.tokenizer = teacher_tokenizer(config, section, own)
        named_as = getattr(config, section).teacher
        self.identity = {"model": named_as, "sha256": folder_hash(local_folder(named_as))}
        """For the manifest."""
        with named(f"{section}.teacher"):
            self.model = student.load(_as_student(config, section)).requires_grad_(False)

    @torch.no_grad()
    def figures(
        self,
        prompts: Sequence[list[list[int]]],
        answers: list[list[int]],
        size: int,
        read: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, ...]],
    ) -> tuple[torch.Tensor, ...]:
        """What `read` makes of the teacher's logits for each token of each answer, each (B, T).

        It is given logits (M, size) and the tokens (M,), a tile at a time. Logits are the mean over
        the teacher's prompts: `prompts` has for each template the token ids of B prompts. Tokens
        from `size` on are left out.
        """
        pad = self.tokenizer.pad_token_id
        known = []
        for ids in answers:  # the student may have more embeddings
            known.append([min(token, size - 1) for token in ids])
        taken_BT, there_BT = padded(known, 0, self.model.device)
        own = [answer_states(self.model, list(of), known, pad) for of in prompts]

        def tile(taken_M: torch.Tensor, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
            logits_MV = torch.zeros(())
            for states, values_MD in zip(own, values, strict=True):
                logits_MV = logits_MV + states.logits(values_MD)[..., :size].float()
            return read(logits_MV / len(own), taken_M)

        return in_tiles(
            tile, own[0].vocabulary, there_BT, taken_BT, *(states.values for states in own)
        )


def teacher_tokenizer(
    config: Config, section: str, own: PreTrainedTokenizerBase
) -> PreTrainedTokenizerBase:
    """The teacher's tokenizer, after a comparison with the student's."""
    with named(f"{section}.teacher"):
        taught = _as_student(config, section)
        tokenizer = student.load_tokenizer(taught)
    ours = own.get_vocab()
    theirs = tokenizer.get_vocab()
    pad = {own.pad_token, tokenizer.pad_token}  # one may have had to be added
    differ = sorted(
        (id, token) for token, id in ours.items() if theirs.get(token) != id and token not in pad
    )
    if differ:
        id, token = differ[0]
        in_theirs = f"{theirs[token]} there" if token in theirs else "not there"
        raise StudentError(
            f"{section}.teacher = {taught.student.model!r} has another vocabulary than "
            f"student.model = {config.student.model!r}: {len(differ)} tokens differ; {token!r} is "
            f"token {id} here and {in_theirs}.\n"
            "Its logits say nothing about the student's tokens. Take a teacher and a student of "
            "one family, or learn from the teacher's jokes and verdicts instead (objective = "
            '"ft", "dpo", ...).'
        )
    return tokenizer


def shared_vocabulary(config: Config, section: str) -> int:
    """How many tokens teacher and student both have embeddings of.

    Some are padded to a round number.
    """
    return min(_sizes(config, section))


def same_size(config: Config, section: str) -> bool:
    """Whether they have equally many."""
    return len(set(_sizes(config, section))) == 1


def _sizes(config: Config, section: str) -> list[int]:
    """Embeddings of the student and of the teacher."""
    both = (config, _as_student(config, section))
    return [student.architecture(of).get_text_config().vocab_size for of in both]


def teacher_room(config: Config, section: str) -> Any:
    """student_prompt.room of the teacher."""
    return student_prompt.room(_as_student(config, section))


def _as_student(config: Config, section: str) -> Config:
    """The configuration in which the teacher is the student.

    The teacher is loaded and given its prompts as one.
    """
    settings = getattr(config, section)
    trusted = config.student.trust_remote_code
    taught = Student(
        model=settings.teacher,
        revision=settings.revision,
        dtype=settings.dtype,
        inference_dtype=config.student.inference_dtype,
        trust_remote_code=trusted,
        date=config.student.date,
    )
    return config.model_copy(update={"student": taught})


@contextmanager
def named(key: str) -> Iterator[None]:
    """Within, what is wrong with a model is said of this key of the configuration."""
    try:
        yield
    except StudentError as error:
        raise StudentError(str(error).replace("student.model", key)) from None
