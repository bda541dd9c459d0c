"""Words that go together, and what is said of them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """One circle of a subject, such as bread in food; what fits it does not fit onions."""

    things: str
    """Nouns of the group, in the singular where the plural only adds an s. A line is about one."""
    others: str
    """Other words that point to the group."""
    said: str
    """Lines that follow `The bread` or `The crumbs`, with bars between them."""
    aside: str
    """A line that stands alone after the sentence."""

    @property
    def lines(self) -> list[str]:
        return self.said.split(" | ")
