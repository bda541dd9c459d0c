"""Deal sentences out to splits by shares, by their content."""

import hashlib
from collections.abc import Mapping

from pipeline.similarity import NearDuplicates, fold


class Shares:
    """Which split each sentence goes into, in the order in which they come.

    The hash of its words decides, so that sentences that come after it move none. One that nearly
    repeats an earlier sentence goes where that went: a test sentence that was trained on in other
    words would be no test.
    """

    def __init__(self, shares: Mapping[str, float]) -> None:
        """`shares` of each split; they need not sum to 1 or 100."""
        self._shares = dict(sorted(shares.items()))
        self._near = NearDuplicates()
        self._splits: list[str] = []
        """Of the sentences so far."""
        self.followed = 0
        """How many went where an earlier one had gone."""

    def split(self, text: str) -> str:
        folded = fold(text)
        place = self._near.find(folded)
        if place is None:
            split = self._of_hash(folded)
        else:
            split = self._splits[place]
            self.followed += 1
        self._near.add(folded)
        self._splits.append(split)
        return split

    def empty(self) -> list[str]:
        """The splits that no sentence went into."""
        return [split for split in self._shares if split not in self._splits]

    def _of_hash(self, text: str) -> str:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        drawn = int.from_bytes(digest[:8]) / 2**64 * sum(self._shares.values())
        for split, share in self._shares.items():
            if drawn < share:
                return split
            drawn -= share
        return split
