"""Words, as far as the stand-in knows any."""

import hashlib
import json
import re

STOP = frozenset(
    (
        "a about above after again against ago all almost along already also although always am "
        "among an and another any anyone anything are around as at away back be because been "
        "before behind being below beside best better between both but by can cannot could did "
        "do does doing done down during each either else enough even ever every everyone "
        "everything few for from full gave get gets getting give gives go goes going gone good "
        "got had has have having he her here hers herself him himself his how however i if in "
        "into is isn it its itself just keep keeps kept know last least less let like little "
        "long look looked made make makes many may me might mine more most much must my myself "
        "need never new next no nobody none nor not nothing now of off often old on once one "
        "only or other our ourselves out over own past put quite rather really said same saw say "
        "second see seem seems she should since six so some somebody someone something "
        "sometimes soon still such take takes tell than that the their them themselves then "
        "there these they thing things think third this those though three through till to "
        "today together told tomorrow too took toward twice two under unless until up upon us "
        "usually very want wanted wants was we well went were what whatever when whenever where "
        "whether which while who whole whom whose why will with within without would yesterday "
        "yet you your yourself whoever hardly maybe perhaps nearly mostly finally instead "
        "across near onto ones used using came come comes felt feel feels found find finds "
        "became become stayed stays left leave leaves asked asks seemed exactly completely "
        "probably barely actually definitely honestly totally yes yeah okay lot bit way kind part sort "
        "stuff remember heard thought guess sure agree listen sounds learned switched rolled mention"
    ).split()
)
"""Words that say nothing of what a sentence is about."""
DETERMINERS = frozenset(
    "a an another each every her his its my no our that the their this those your".split()
)
ADJECTIVES = frozenset(
    (
        "bad big black blue bright brown busy cheap clean cold cool dark deep dirty dry early easy "
        "empty entire extra fast favorite final first flat free fresh front frozen great green "
        "grey hard heavy high hot huge large late left light local loud low main nice orange plain "
        "pink plastic pretty purple quick quiet red right round sharp short silver slow small soft "
        "sour spare strong sweet tall thick thin tiny upper warm weak wet white wide wooden wrong "
        "yellow young half neighborhood only whole older"
    ).split()
)
"""Words that stand between a determiner and its noun."""


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+(?:'[a-z]+)?", text.lower())


def content(text: str) -> list[str]:
    return [word for word in words(text) if word not in STOP and len(word) > 2]


def singulars(word: str) -> list[str]:
    """The word, and what it may be the plural of."""
    forms = [word]
    if word.endswith("s") and len(word) > 3:
        forms.append(word[:-1])
    if word.endswith("es"):
        forms.append(word[:-2])
    return forms


def within(line: str, text: str) -> bool:
    """Whether the words of a line stand in a text, in a row."""
    return f" {' '.join(words(line))} " in f" {' '.join(words(text))} "


def device(sentence: str, joke: str) -> str:
    """What a joke adds to its sentence: the words that are not the sentence's own."""
    own = set(words(sentence)) | DETERMINERS
    return " ".join(word for word in words(joke) if word not in own)


def quoted(prompt: str) -> list[str]:
    """The JSON strings that end lines of the prompt, as the bundled templates write them."""
    ends = [re.search(r'"(?:[^"\\]|\\.)*"\s*$', line) for line in prompt.splitlines()]
    return [json.loads(end[0]) for end in ends if end]


def chance(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts alone."""
    digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
