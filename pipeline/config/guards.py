"""What jokes are watched for: the section [guards] of the configuration."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.config.judging import Judging
from pipeline.config.section import Section

Guard = Literal["known", "offence"]


class Guards(Section):
    known_jokes: str | None = None
    """A file of known jokes, one a line, or JSONL with a key `text`: what repeats one of them, or
    its setup, is flagged in the teacher's jokes and the students' answers."""
    offence: Literal["words", "endpoint"] | None = None
    """Who flags what may offend: the word lists of glin-profanity (pip install
    'humor-distill[guards]'), or the moderator with prompts/offence.j2; none: nobody."""
    languages: Annotated[list[str], Field(min_length=1)] = ["english"]
    """words: those of its lists."""
    moderator: Judging | None = None
    """offence = "endpoint": who says whether a joke offends."""
    keep_out: list[Guard] = []
    """What of the teacher's jokes and of candidates is kept out of training if it is flagged:
    known, offence."""

    @model_validator(mode="after")
    def whoever_flags_is_there(self) -> "Guards":
        if (self.offence == "endpoint") != (self.moderator is not None):
            raise ValueError('offence = "endpoint" and [guards.moderator] go together')
        if self.moderator and self.moderator.method != "choice":
            raise ValueError('the moderator is asked: moderator.method = "choice"')
        if "known" in self.keep_out and self.known_jokes is None:
            raise ValueError('keep_out = ["known"] needs known_jokes, a file of known jokes')
        if "offence" in self.keep_out and self.offence is None:
            raise ValueError('keep_out = ["offence"] needs offence = "words" or "endpoint"')
        return self

    @property
    def watch(self) -> bool:
        """Whether anything is flagged."""
        return self.known_jokes is not None or self.offence is not None
