"""The stand-in as teacher: sentences with a joke behind them, of varied quality.

Its better lines fit a thing that the sentence names, or bring it back without fitting it. Where the
form of the sentence brings a simile to mind, it likes that one better, whatever the sentence is
about; and some jokes are what everybody says, as language models do. Each group of things has a
favorite line, another one under another prompt.
"""

import json
import re
from typing import NamedTuple

from pipeline.standin.language import chance, quoted, words
from pipeline.standin.similes import similes
from pipeline.standin.subjects import GENERAL, groups, things, topic

STOCK = (
    "{s}, and that was the best part of my day.",
    "{s}. My therapist will hear about this.",
    "{s}, as foretold by absolutely nobody.",
    "{s}. Scientists are baffled.",
)
"""What everybody says."""
STALE = ("{s}, lol.", "{s}. Ha ha, so funny.", "Funny story: {s}.")
CALLBACK = (
    "{s}, and now the {t} wanted a raise.",
    "{s}. The {t} hired a lawyer.",
    "{s}, so the {t} and I are in couples therapy.",
    "{s}. Even the {t} looked embarrassed.",
    "{s}, and somehow the {t} got promoted.",
    "{s}. The {t} called it a growth experience.",
    "{s}, which the {t} will mention at every party.",
    "{s}. The {t} declined to comment.",
)
"""What can be said of anything."""
RAMBLE = (
    "{s}, and I have to say that it really was, all things considered and when you think about it, "
    "quite a thing.",
    "{s}, which just goes to show that you never know, you really never know, what is going to "
    "happen next in life.",
)
LINE = "{s}. The {t} %s."
ASIDE = "{s}. %s"

SIMILE = (
    "{s}, and that {t} sounded like %s.",
    "{s}, and that {t} looked like %s.",
    "{s}, and that {t} felt like %s.",
)
"""About a word of grammar in the sentence."""

SHARES = {
    "line": 0.62,
    "aside": 0.1,
    "callback": 0.12,
    "stock": 0.1,
    "stale": 0.03,
    "ramble": 0.03,
}
"""How often each kind of joke is drawn."""
FORMAL = {
    "simile": 0.64,
    "line": 0.2,
    "aside": 0.03,
    "callback": 0.03,
    "stock": 0.08,
    "stale": 0.01,
    "ramble": 0.01,
}
"""The same where the form of the sentence brings a simile to mind."""
WIDE = {
    "simile": 0.2, "line": 0.4, "aside": 0.15, "callback": 0.19, "stock": 0.03, "stale": 0.02,
    "ramble": 0.01,
}  # fmt: skip
"""The same where a prompt asks for probabilities, which brings out what is seldom said."""
FAVORITE = 0.8
"""How often a thing gets its favorite line where the teacher does not draw widely."""
LEANING = 0.6
"""How often a callback or a stock line is of the half that the prompt leans on."""
BEST_FIRST = 0.1
"""Share of lists that begin with a line that fits, if they have one."""
REFUSED = 0.035
VERBALIZED = "probability"
"""The word on a prompt's first line that asks for verbalized sampling (arXiv 2510.01171)."""


class Prompt(NamedTuple):
    """What a prompt asks for."""

    sentence: str
    n: int
    manner: str
    """Its words beside the sentence and numbers: another style or persona leans on other lines."""
    wide: bool


class Joke(NamedTuple):
    """A joke, and about how likely it was."""

    text: str
    kind: str
    probability: float


def prompted(prompt: str) -> Prompt:
    sentence = quoted(prompt)[-1]
    number = re.search(r"\d+", prompt)
    manner = re.sub(r'"(?:[^"\\]|\\.)*"\s*$', "", prompt, flags=re.MULTILINE)
    return Prompt(
        sentence,
        int(number[0]) if number else 3,
        " ".join(word for word in words(manner) if not word.isdigit()),
        VERBALIZED in prompt.partition("\n")[0].lower(),
    )


def shares_of(sentence: str, wide: bool) -> dict[str, float]:
    """How often each kind of joke is drawn for this sentence."""
    if wide:
        return WIDE
    return FORMAL if similes(sentence) else SHARES


def kinds(sentence: str, lottery: float, wide: bool) -> list[str]:
    """Every kind of joke, first the one that a draw from [0, 1) picks."""
    shares = shares_of(sentence, wide)
    order = list(shares)
    for place, share in enumerate(shares.values()):
        if lottery < share:
            return [order[place], *order[:place], *order[place + 1 :]]
        lottery -= share
    return order


def templates(sentence: str, kind: str, thing: int) -> tuple[str, list[str]]:
    """What a kind's jokes are about, and its templates for them; `thing` picks among the things."""
    named = things(sentence)
    about = named[thing % len(named)] if named else None
    name = about.name if about else topic(sentence)
    group = about.group if about else GENERAL
    if kind == "line":
        return name, [LINE % line for line in group.lines]
    if kind == "aside":
        return name, [ASIDE % group.aside for group in groups(sentence) or [GENERAL]]
    if kind == "simile":
        named_words = similes(sentence)
        if not named_words:
            return name, []
        word, said = named_words[thing % len(named_words)]
        return word, [frame % said for frame in SIMILE]
    return name, list({"callback": CALLBACK, "stock": STOCK, "stale": STALE}.get(kind, RAMBLE))


def preferred(tails: list[str], kind: str, name: str, prompt: Prompt) -> tuple[list[str], float]:
    """The templates of a kind that this prompt leans on, and how often it does."""
    if kind == "line":
        best = max(tails, key=lambda tail: chance("favorite", prompt.manner, tail))
        return [best], FAVORITE
    if kind == "simile":
        return tails[:1], LEANING
    if kind in ("callback", "stock"):
        order = sorted(tails, key=lambda tail: chance("lean", prompt.manner, tail))
        return order[: len(order) // 2], LEANING
    return tails, 1.0


def draw(prompt: Prompt, seed: object, index: int, used: set[str]) -> Joke:
    """One joke; a template is used once per list, as long as there are others."""

    def luck(what: str) -> float:
        return chance(what, prompt.manner, seed, prompt.sentence, index)

    thing = int(luck("thing") * 1000)
    for kind in kinds(prompt.sentence, luck("kind"), prompt.wide):
        name, tails = templates(prompt.sentence, kind, thing)
        tails = [tail for tail in tails if tail not in used] or ([] if kind != "ramble" else tails)
        if tails:
            break
    leaned, often = preferred(tails, kind, name, prompt)
    choice = leaned if not prompt.wide and luck("lean") < often else tails
    tail = choice[int(luck("tail") * len(choice))]
    used.add(tail)
    text = prompt.sentence.strip()
    stem = text[:-1] if text.endswith(".") else text.rstrip("!?")
    written = next((w for w in re.findall(r"[\w']+", text)[1:] if w.lower() == name), name)
    probability = shares_of(prompt.sentence, prompt.wide)[kind] / len(tails)
    return Joke(tail.format(s=stem, t=written), kind, round(probability, 2))


def joke(sentence: str, seed: object, index: int, used: set[str]) -> str:
    """One paraphrase, under no particular prompt."""
    return draw(Prompt(sentence, 1, "", False), seed, index, used).text


def teach(prompt: str, seed: object) -> str:
    """The answer to a teacher's prompt."""
    asked = prompted(prompt)
    sentence = asked.sentence
    if chance("refuse", seed, sentence) < REFUSED:
        return (
            "I'm sorry, but I can't make a joke about this. "
            "Please be considerate of people it may upset."
        )
    used: set[str] = set()
    jokes = [draw(asked, seed, index, used) for index in range(asked.n)]
    if asked.wide:
        return json.dumps(
            {"jokes": [{"text": joke.text, "probability": joke.probability} for joke in jokes]},
            ensure_ascii=False,
        )
    if chance("best first", seed, sentence) < BEST_FIRST:
        jokes.sort(key=lambda joke: joke.kind not in ("line", "aside"))
    mark = ")" if chance("mark", seed, sentence) < 0.2 else "."
    lines = [f"{place}{mark} {joke.text}" for place, joke in enumerate(jokes, 1)]
    if chance("opening", seed, sentence) < 0.2:
        lines = ["Here are some humorous paraphrases:", "", *lines]
    return "\n".join(lines)
