"""Which ids were seen, in little memory."""

from array import array
from collections import defaultdict


class SeenIds:
    """Which ids of one kind were seen, in eight bytes each: a stage may write a million rows."""

    def __init__(self) -> None:
        self._buckets: defaultdict[int, array[int]] = defaultdict(lambda: array("Q"))

    def add(self, identity: str) -> bool:
        """Whether it is new."""
        number = int(identity[2:], 16)
        bucket = self._buckets[number % 4096]
        if number in bucket:
            return False
        bucket.append(number)
        return True
