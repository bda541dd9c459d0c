"""The paper's tables filled with what our finished runs say."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from pipeline.judging import diversity, metrics
from pipeline.reading import people
from pipeline.reading.comparison import EVALUATE
from pipeline.reading.made import as_made
from pipeline.reading.paper_tables import Figure, Table
from pipeline.reading.published import CRITICS, DATA, METHODS, OUT_OF_DOMAIN, PEOPLE, SEEDS, Entry
from pipeline.rows import jsonl
from pipeline.rows.records import TEACHER, Joke, Metric, Verdict
from pipeline.runs.files import ANSWERS, METRICS, RECORDS
from pipeline.runs.literals import literals
from pipeline.runs.run import Run
from pipeline.runs.step import Step

AGREEMENT = Step("agreement")
OURS = (
    "ours",
    "ours: fresh",
    "ours: over imitation",
    "ours: answers with the most common device",
    "ours: devices",
    "ours: known jokes",
)
"""Columns of the tables of methods."""
ONE_SEED = (
    "These are of one seed each, with intervals over literals alone: what another seed would give, "
    "they do not say."
)


def tables(prefix: str) -> list[Table]:
    """The tables with what there is of our runs."""
    return [
        _critics(prefix),
        _in_domain(prefix),
        _out_of_domain(prefix),
        Table(
            "T4",
            "Data size and feedback frequency, WTR in the domain",
            ("WTR",),
            OURS,
            [(entry.label, entry.paper, figures(prefix, entry, "test", 1)) for entry in DATA],
            (ONE_SEED,),
        ),
        Table(
            "T6",
            "People's WTR",
            ("humor", "consistency", "overall"),
            ("ours: humor", "ours: consistency", "ours: overall"),
            [(entry.label, entry.paper, people.figures(prefix, entry)) for entry in PEOPLE],
            tuple(people.notes(prefix)),
        ),
    ]


def _critics(prefix: str) -> Table:
    return Table(
        "T1",
        "Critic against people",
        ("agreement, humor", "agreement", "position bias", "length bias"),
        ("ours: agreement", "ours: position bias", "ours: length bias"),
        [(entry.label, entry.paper, _agreement(prefix, entry)) for entry in CRITICS],
        tuple(_floor(prefix)),
    )


def _in_domain(prefix: str) -> Table:
    theirs = {entry.label: entry.paper[0] for entry in METHODS}
    return Table(
        "T2",
        "WTR in the domain",
        ("GPT-4", "Llama-2"),
        OURS,
        [(entry.label, entry.paper, figures(prefix, entry, "test")) for entry in METHODS],
        (
            *_cost(prefix),
            *_order(prefix, "test", theirs),
            *_differences(prefix, "test", theirs),
            *_made_on(prefix),
        ),
    )


def _out_of_domain(prefix: str) -> Table:
    return Table(
        "T3",
        "WTR out of the domain",
        ("GPT-4",),
        OURS,
        [
            (entry.label, (OUT_OF_DOMAIN.get(entry.label),), figures(prefix, entry, "ood"))
            for entry in METHODS
        ],
        (
            *_order(prefix, "ood", OUT_OF_DOMAIN),
            *_differences(prefix, "ood", OUT_OF_DOMAIN),
        ),
    )


def figures(prefix: str, entry: Entry, split: str, seeds: int | None = None) -> tuple[Figure, ...]:
    """The contestant's WTR, fresh rate, gain over sft, and variety over all seeds there are.

    The intervals are over seeds and literals; variety is the mean over seeds.
    """
    by_seed = []
    gains = []
    known: list[float] = []
    for seed in range(seeds or SEEDS.get(entry.experiment, 1)):
        run = Run(f"{prefix}-{entry.experiment}-{seed}")
        if run.manifest(EVALUATE):
            own = _verdicts(run, split, entry.contestant)
            by_seed.append(own)
            if entry.contestant != "sft":
                gains.append(_less(own, _verdicts(run, split, "sft")))
            known += _known(run, split, entry.contestant)
    varieties = [diversity.measure(_answers(own, entry.contestant)) for own in by_seed]
    shares = [variety.device_share for variety in varieties if variety]
    devices = [variety.effective for variety in varieties if variety]
    return (
        _pooled([metrics.credits(own) for own in by_seed], entry),
        _pooled([metrics.fresh_credits(own) for own in by_seed], entry),
        _pooled(gains, entry, rate=False),
        Figure(metrics.mean(shares)),
        Figure(metrics.mean(devices), count=True),
        Figure(metrics.mean(known)),
    )


def _known(run: Run, split: str, contestant: str) -> list[float]:
    """The share of answers that repeat a known joke, where the run watched for them."""
    shares = []
    for row in jsonl.read(run.at(EVALUATE) / METRICS, Metric):
        if (row.split, row.contestant, row.vs, row.aspect) == (split, contestant, None, "overall"):
            shares.append(row.known)
    return [share for share in shares if share is not None]


def _answers(verdicts: Sequence[Verdict], contestant: str) -> list[tuple[str, str]]:
    """What the contestant made of each literal; of the teacher, its reference jokes."""
    if contestant == TEACHER:
        return list({row.literal_id: (row.literal, row.b_text) for row in verdicts}.values())
    return [(row.literal, row.a_text) for row in verdicts if row.a_text]


def _less(own: Sequence[Verdict], others: Sequence[Verdict]) -> dict[str, float]:
    """The difference of two contestants' credits by literal, where both have one."""
    theirs = metrics.credits(others)
    ours = metrics.credits(own)
    return {literal: ours[literal] - theirs[literal] for literal in ours if literal in theirs}


def _pooled(by_seed: Sequence[dict[str, float]], entry: Entry, rate: bool = True) -> Figure:
    """The mean over seeds and literals; nothing for the teacher, which is not judged."""
    if entry.contestant == TEACHER or not by_seed or not set.intersection(*map(set, by_seed)):
        return Figure()
    value, low, high = metrics.pooled(by_seed)
    low, high = max(low, 0.0 if rate else -1.0), min(high, 1.0)
    means = tuple(sum(credit.values()) / len(credit) for credit in by_seed)
    return Figure(value, low, high, min(map(len, by_seed)), means)


def _verdicts(run: Run, split: str, contestant: str) -> list[Verdict]:
    """The overall verdicts on a contestant's answers to a split; the teacher's are those on all."""
    folder = run.at(EVALUATE)
    config = run.config()
    inside = set()
    if config:
        inside = {row.id for row in literals(config, split)}
    author = {joke.id: joke.author for joke in jsonl.read(folder / ANSWERS, Joke)}
    verdicts = []
    for verdict in jsonl.read(folder / RECORDS, Verdict):
        if verdict.literal_id not in inside or verdict.aspect != "overall":
            continue
        if contestant in (TEACHER, author[verdict.a]):
            verdicts.append(verdict)
    return verdicts


def _agreement(prefix: str, entry: Entry) -> tuple[Figure, ...]:
    manifest = Run(f"{prefix}-{entry.experiment}-0").manifest(AGREEMENT)
    if manifest is None:
        return Figure(), Figure(), Figure()
    rates = manifest["agreement"]
    keys = ("agreement", "position_bias", "length_bias")
    return tuple(
        Figure(rates[key], rates[f"{key}_low"], rates[f"{key}_high"], rates["n"]) for key in keys
    )


def _floor(prefix: str) -> Iterator[str]:
    """What a critic has to beat."""
    manifest = Run(f"{prefix}-critic-choice-0").manifest(AGREEMENT)
    if manifest:
        rates = manifest["agreement"]
        yield (
            f"People prefer the longer of two jokes in {100 * rates['longer']:.1f} % of these "
            f"{rates['n']:,} pairs."
        )


def _cost(prefix: str) -> Iterator[str]:
    """What best-of-N takes for each answer."""
    manifest = Run(f"{prefix}-dpo-0").manifest(EVALUATE)
    if manifest is None or not manifest.get("best_of"):
        return
    best = manifest["best_of"]
    answers = best["answers"]
    cost = "unknown"
    if best["cost"] is not None:
        cost = f"{best['cost'] / answers:.5f} {best['currency'] or ''}".strip()
    yield (
        f"Best of {best['n']} asks the critic {best['calls'] / answers:.1f} times for each answer "
        f"({best['tokens'] / answers:,.0f} tokens, cost {cost}), and samples {best['n']} "
        "candidates; a trained student answers once."
    )


def _order(prefix: str, split: str, paper: dict[str, float | None]) -> Iterator[str]:
    """How our order of the methods compares with the paper's; nothing where a run is missing."""
    theirs = {label: value for label, value in paper.items() if value is not None}
    ours = {}
    for entry in METHODS:
        if entry.label in theirs:
            value = figures(prefix, entry, split)[0].value
            if value is None:
                return
            ours[entry.label] = value
    if len(theirs) < 2:
        return
    tau = metrics.kendall_tau(list(theirs.values()), [ours[label] for label in theirs])
    yield (
        f"Order in the paper: {_ranked(theirs)}. Ours: {_ranked(ours)}. Kendall's tau {tau:+.2f}."
    )


def _differences(prefix: str, split: str, paper: dict[str, float | None]) -> Iterator[str]:
    """Of the methods that follow one another in the paper's order, ours: paired over seeds too."""
    theirs = {label: value for label, value in paper.items() if value is not None}
    entries = {entry.label: entry for entry in METHODS}
    order = sorted(theirs, key=lambda label: theirs[label])
    said = []
    for worse, better in pairwise(order):
        by_seed = []
        for seed in range(SEEDS.get(entries[better].experiment, 1)):
            judged = []
            for entry in (entries[better], entries[worse]):
                run = Run(f"{prefix}-{entry.experiment}-{seed}")
                if run.manifest(EVALUATE):
                    judged.append(_verdicts(run, split, entry.contestant))
            if len(judged) == 2:
                by_seed.append(_less(*judged))
        figure = _pooled(by_seed, entries[better], rate=False)
        if figure.value is not None:
            number = "one seed" if len(by_seed) == 1 else f"{len(by_seed)} seeds"
            said.append(f"{better} less {worse} {figure} ({number})")
    if said:
        yield f"Differences, paired over literals and seeds: {'; '.join(said)}."


def _made_on(prefix: str) -> Iterator[str]:
    """Who judged the runs, and the processors that they were trained on."""
    processors = set()
    judges = set()
    for name, seeds in SEEDS.items():
        for seed in range(seeds):
            run = Run(f"{prefix}-{name}-{seed}")
            manifest = run.manifest(EVALUATE)
            if manifest:
                judges.add(as_made(run).judge_in_words)
                for step in run.manifests().values():
                    made_with = step["made_with"]
                    processors.add(made_with.get("processor") or made_with["platform"])
    if processors:
        yield f"Judged by {'; '.join(sorted(judges))}."
        yield (
            f"Made on: {'; '.join(sorted(processors))}. Another processor rounds otherwise, which "
            "can carry a run as far as another seed."
        )


def _ranked(rates: dict[str, float]) -> str:
    return " > ".join(sorted(rates, key=lambda label: -rates[label]))
