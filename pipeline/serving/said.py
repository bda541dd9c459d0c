"""What served students say: why it is no answer, and whether they sample at all."""

import sys
from collections import Counter, defaultdict

from pipeline.config.student import Generation
from pipeline.llm.answer import Answer

CUT = "cut at max_new_tokens"
"""Why an answer that came to no end is no candidate."""
LOOKED_AT = 5
"""Sentences after whose candidates it is plain whether a server samples."""


def why_none(answer: Answer, drop_cut: bool) -> str | None:
    """Why what a served student said is no answer of its; None where it is one."""
    if answer.error:
        return f"no answer: {answer.error.partition(':')[0]}"
    if answer.refusal or answer.ended == "filtered":
        return "no answer: refused"
    return CUT if drop_cut and answer.ended == "cut" else None


class Alike:
    """Tells once that a server samples nothing: equal candidates cannot be compared.

    It looks at the candidates of the first sentences, `k` of each.
    """

    def __init__(self, step: str, settings: Generation, k: int, key: str) -> None:
        self._step = step
        self._settings = settings
        self._k = k
        self._key = key
        self._texts: dict[str, set[str]] = defaultdict(set)
        self._counts: Counter[str] = Counter()

    def note(self, literal: str, text: str) -> None:
        """A candidate came."""
        if self._settings.temperature == 0 or self._k == 1 or len(self._counts) > LOOKED_AT:
            return
        self._texts[literal].add(text)
        self._counts[literal] += 1
        if len(self._counts) < LOOKED_AT or self._counts[literal] < self._k:
            return
        if all(len(texts) == 1 for texts in self._texts.values()):
            print(
                f"{self._step}: the server gives {self._k} equal candidates for each of the first "
                f"{LOOKED_AT} sentences at temperature {self._settings.temperature:g}. It does not "
                f"sample, and equal ones cannot be compared. For `transformers serve`: {self._key} "
                """= { generation_config = '{"do_sample": true, "top_k": 0}' }""",
                file=sys.stderr,
            )
