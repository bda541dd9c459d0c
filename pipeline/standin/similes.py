"""What the stand-in says by the form of a sentence: a word of grammar brings a simile to mind.

These are its easy jokes: they come without a thought for what the sentence is about.
"""

from pipeline.standin.language import words

SIMILES = {
    "although": "a lawyer on a trampoline",
    "because": "a detective with a free afternoon",
    "unless": "a horoscope with small print",
    "since": "a grandfather clock on holiday",
    "without": "a pirate with two good eyes",
    "while": "a juggler in an elevator",
    "until": "a kettle in a soap opera",
    "halfway": "a bridge with second thoughts",
    "during": "a drum solo at a funeral",
    "through": "a mole with a map",
    "between": "a ham in a family quarrel",
    "under": "a troll with a mortgage",
    "near": "a spy in a bright hat",
    "behind": "a magician's second rabbit",
    "never": "a vampire at brunch",
    "always": "a metronome in love",
    "nobody": "a ghost at roll call",
    "everyone": "a flash mob of accountants",
    "someone": "a burglar with manners",
    "every": "a stamp collector on a bender",
    "each": "a bee with a clipboard",
    "than": "a tall man at the ballet",
    "only": "a lonely sock",
    "still": "a statue with an itch",
    "too": "an elephant on a diet",
    "almost": "a silver medal",
    "again": "a boomerang with a grudge",
    "if": "a fortune cookie on trial",
    "when": "a cuckoo with stage fright",
    "before": "a rooster with jet lag",
    "after": "a punchline by mail",
    "where": "a compass at a magnet fair",
    "who": "an owl at a quiz",
    "how": "a manual in Latin",
    "over": "a sheep with ambitions",
    "around": "a goldfish on a tour",
    "more": "a second slice of wedding",
    "most": "a raffle for one",
    "two": "a pair of nervous twins",
    "three": "a bad day for the pigs",
    "five": "a pentagon at a party",
    "ten": "a bowling pin with nerves",
    "twenty": "a choir of parrots",
    "so": "a domino with a dream",
    "but": "a plot twist nobody ordered",
    "or": "a coin on its edge",
}
"""Word of grammar -> the simile it brings to mind."""


def similes(sentence: str) -> list[tuple[str, str]]:
    """The words of the sentence that bring similes to mind, in its order, and the similes."""
    named = dict.fromkeys(words(sentence))
    return [(word, SIMILES[word]) for word in named if word in SIMILES]
