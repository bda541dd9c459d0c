"""What people's votes came to in finished runs: for the tables and the report."""

from collections.abc import Iterator
from typing import Any

from pipeline import SPOKEN_STAGE
from pipeline.reading.paper_tables import Figure
from pipeline.reading.published import PEOPLE, Entry
from pipeline.runs.run import Run
from pipeline.runs.step import Step
from pipeline.voting.words import by_voters, in_words

VOTE = Step(SPOKEN_STAGE)
ASPECTS = ("humor", "consistency", "overall")
"""The columns of table 6."""


def votes_of(run: Run) -> dict[str, Any] | None:
    """What the run's votes came to; None where nobody has voted."""
    manifest = run.manifest(VOTE)
    return None if manifest is None else dict(manifest["people"])


def figures(prefix: str, entry: Entry) -> tuple[Figure, ...]:
    """People's WTR of a row of table 6, by aspect, on the test sentences of seed 0."""
    people = votes_of(Run(f"{prefix}-{entry.experiment}-0"))
    found = {}
    for rate in people["rates"] if people else []:
        if (rate["contestant"], rate["split"]) == (entry.contestant, "test"):
            found[rate["aspect"]] = Figure(rate["wtr"], rate["low"], rate["high"], rate["n"])
    return tuple(found.get(aspect, Figure()) for aspect in ASPECTS)


def notes(prefix: str) -> Iterator[str]:
    """How many voted, and how far they agree; or that nobody has."""
    nobody = True
    for entry in PEOPLE:
        people = votes_of(Run(f"{prefix}-{entry.experiment}-0"))
        if people:
            nobody = False
            said = by_voters(people["votes"], people["voters"])
            yield f"{entry.label}: {said}. {' '.join(in_words(people))}"
    if nobody:
        yield "Ours stays empty until people have voted: humor-distill vote."
