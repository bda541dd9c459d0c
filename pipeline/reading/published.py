"""The tables of "Small But Funny" (arXiv 2402.18113), and which of our runs answers which row.

Values only.
"""

from dataclasses import dataclass

Percents = tuple[float | None, ...]


@dataclass(frozen=True)
class Entry:
    """A row of a paper's table.

    Its label, the paper's figures in percent, and what to look up in our runs.
    """

    label: str
    paper: Percents
    experiment: str = ""
    """Name of an experiment; its runs are PREFIX-EXPERIMENT-SEED."""
    contestant: str = ""


METHODS = (
    Entry("the teacher", (None, None), "dpo", "teacher"),
    Entry("imitation (sft)", (None, None), "dpo", "sft"),
    Entry("FT", (30, 28), "ft", "round-1"),
    Entry("SD", (35, 36), "sd", "round-1"),
    Entry("BRIO", (48, 53), "brio", "round-1"),
    Entry("DPO", (52, 60), "dpo", "round-1"),
    Entry("BRIO-DPO", (56, 65), "brio-dpo", "round-2"),
    Entry("best of 6", (None, None), "dpo", "best-of-6"),
    Entry("LLMR", (None, None), "llmr", "round-1"),
    Entry("G2R", (None, None), "g2r", "retriever"),
)
"""Table 2, WTR in the domain; as judges GPT-4 and Llama-2. Rows without figures are not in the
paper."""
OUT_OF_DOMAIN: dict[str, float | None] = {
    "FT": 34,
    "SD": None,
    "BRIO": 42,
    "DPO": 47,
    "BRIO-DPO": 49,
}
"""Table 3, WTR out of the domain."""
DATA = (
    Entry("FT, a third of the data (12K pairs)", (24,), "third-ft", "round-1"),
    Entry("FT, two thirds (24K)", (26,), "two-thirds-ft", "round-1"),
    Entry("FT, all (36K)", (30,), "ft", "round-1"),
    Entry("BRIO, a third (12K)", (43,), "third-brio", "round-1"),
    Entry("BRIO, two thirds (24K)", (45,), "two-thirds-brio", "round-1"),
    Entry("BRIO, all (36K)", (53,), "brio", "round-1"),
    Entry("BRIO, a third, 10 epochs on the same pairs", (None,), "third-refreshed-1", "round-1"),
    Entry(
        "BRIO, a third, pairs refreshed 2 times in 10 epochs", (56,), "third-refreshed-2", "round-2"
    ),
    Entry(
        "BRIO, a third, pairs refreshed 10 times in 10 epochs",
        (66,),
        "third-refreshed-10",
        "round-10",
    ),
)
"""Table 4, data size and feedback frequency."""
CRITICS = (
    Entry("cloze", (57, 47, 0, 25), "critic-cloze"),
    Entry("multiple choice", (76, 59, 15, 20), "critic-choice"),
)
"""Table 1: agreement with people (two figures; the first is that for humor), position bias, length
bias."""
PEOPLE = (
    Entry("FT", (23, 38, 29), "ft", "round-1"),
    Entry("BRIO", (43, 32, 45), "brio", "round-1"),
    Entry("DPO", (51, 34, 50), "dpo", "round-1"),
)
"""Table 6, how often people prefer the student or call it a tie: humor, consistency, overall."""


@dataclass(frozen=True)
class Experiment:
    """How a run of the tables is made."""

    config: str
    settings: tuple[str, ...] = ()
    source: str = ""
    """The experiment whose run of the same seed it branches from."""
    only: str = "all"
    """The command."""


THIRD = "literals.limit={{train={third}}}"
"""A part of the train split; {third} and {two_thirds} are counted in the literals' files, and
{weights} are those of the student that the source's first round trained."""
TWO_THIRDS = "literals.limit={{train={two_thirds}}}"
EXPERIMENTS: dict[str, Experiment] = {
    "dpo": Experiment("dpo"),
    "ft": Experiment("ft", source="dpo"),
    "sd": Experiment("sd", source="dpo"),
    "brio": Experiment("brio", source="dpo"),
    "brio-dpo": Experiment("brio-dpo", source="dpo"),
    "llmr": Experiment("llmr", ("llmr.teacher={weights}",), "dpo"),
    "g2r": Experiment("g2r", source="dpo"),
    "third-brio": Experiment("brio", (THIRD,)),
    "third-ft": Experiment("ft", (THIRD,), "third-brio"),
    "two-thirds-brio": Experiment("brio", (TWO_THIRDS,)),
    "two-thirds-ft": Experiment("ft", (TWO_THIRDS,), "two-thirds-brio"),
    "third-refreshed-1": Experiment(
        "iterative", (THIRD, "rounds.0.repeat=1", "dpo.trainer.num_train_epochs=10"), "third-brio"
    ),
    "third-refreshed-2": Experiment(
        "iterative", (THIRD, "rounds.0.repeat=2", "dpo.trainer.num_train_epochs=5"), "third-brio"
    ),
    "third-refreshed-10": Experiment("iterative", (THIRD,), "third-brio"),
    "critic-choice": Experiment("dpo", ("critic.aspect=humor",), only="agreement"),
    "critic-cloze": Experiment(
        "dpo",
        (
            "critic.method=cloze",
            "critic.endpoint={{base_url='local:',model='data/students/micro'}}",
        ),
        only="agreement",
    ),
}
SEEDS = {"dpo": 3, "ft": 3, "sd": 3, "brio": 3, "brio-dpo": 3, "llmr": 3, "g2r": 3}
"""Seeds of an experiment, from 0; one where it is not named."""
