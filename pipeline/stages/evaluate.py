"""evaluate: how often each student ties or beats its teacher, on sentences nobody trained on.

The win-tie rate is that of "Small But Funny" (arXiv 2402.18113); both orders of each pair are judged.
"""

from collections import defaultdict
from collections.abc import Iterator
from itertools import chain, combinations, product

from pipeline import best_of, jsonl, judge, metrics, prompts
from pipeline.config import Config
from pipeline.context import Context
from pipeline.progress import Progress
from pipeline.records import Joke, LiteralText, Metric, Verdict, make
from pipeline.runs import ANSWERS, CANDIDATES, METRICS, SELECTION, Step

SECTIONS = ("literals", "student", "sample", "critic", "evaluate", "judge")
"""sample and critic: best-of-N is made with them."""
PROMPTS = ("student", *prompts.CRITIC, "judge")


def writes(config: Config, round: int | None) -> type[Verdict]:
    return Verdict


Verdicts = dict[tuple[str, str], list[Verdict]]
"""The judge's, by aspect and contestant."""


def reads(config: Config, round: int | None) -> dict[str, Step]:
    rounds = {f"round-{r}": Step("dpo", r) for r in range(1, len(config.rounds) + 1)}
    found = {"retriever": Step("retriever")} if config.retriever else {}
    return {"teacher": Step("teacher"), "sft": Step("sft"), **rounds, **found}


def run(context: Context) -> Iterator[Verdict]:
    settings, aspects = context.config.judge, context.config.judge.aspects
    literals = context.literals(*context.config.evaluate.splits)
    teacher = context.rows("teacher", Joke)
    reference = {joke.literal_id: joke for joke in teacher if joke.index == 0}
    answers = _answers(context, [literal for literal in literals if literal.id in reference])
    pairs = [(joke, reference[joke.literal_id]) for joke in answers if joke.text]
    author_of = {joke.id: joke.author for joke in answers}
    verdicts: Verdicts = defaultdict(list)
    with Progress(str(context.step), 2 * len(pairs) * len(aspects)) as progress:
        for aspect in aspects:
            for verdict in judge.verdicts("judge", settings, context.door(progress), pairs, aspect):
                verdicts[aspect, author_of[verdict.a]].append(verdict)
                yield verdict
    train = {literal.id for literal in context.literals("train")}
    trained_on = {joke.text for joke in teacher if joke.literal_id in train}
    rows = list(figures(literals, reference, answers, verdicts, settings.endpoint.model, trained_on))
    jsonl.write(context.folder / METRICS, rows)
    context.files += [context.folder / ANSWERS, context.folder / METRICS]
    _leave_out(context, literals, reference, answers)
    print(table(rows))


def _leave_out(context: Context, literals: list[LiteralText], reference: dict[str, Joke], answers: list[Joke]) -> None:
    """What was not judged; counted from the answers, as an interrupted attempt may have written some of them."""
    context.drops.clear()
    given = {(joke.author, joke.literal_id): joke for joke in answers}
    for literal in literals:
        if literal.id not in reference:
            context.drop(literal.id, literal.id, "literal without the teacher's reference")
            continue
        for name in _contestants(context):
            answer = given.get((name, literal.id))
            if answer is None or not answer.text:
                what = answer.id if answer else literal.id
                context.drop(literal.id, what, "answer, empty or not fitting the student's context", name)


def _contestants(context: Context) -> dict[str, str]:
    """The contestants, and the student that answers for each."""
    n = context.config.evaluate.best_of
    sft, *rounds = (name for name in context.inputs if name not in ("teacher", "retriever"))
    found = {"retriever": "retriever"} if "retriever" in context.inputs else {}
    chosen = {best_of.name(n): sft} if n else {}
    return {"base": "base", **found, sft: sft, **chosen, **{name: name for name in rounds}}


def _answers(context: Context, literals: list[LiteralText]) -> list[Joke]:
    """One answer per contestant and literal; a contestant that an interrupted attempt finished is read back."""
    from pipeline import generation, student

    path, n = context.folder / ANSWERS, context.config.evaluate.best_of
    contestants = _contestants(context)
    weights = {name: student.weights(context.run, step) for name, step in context.inputs.items() if name != "teacher"}
    parts = {name: context.folder / f"answers-{name}.jsonl" for name in contestants}
    tokenizer = student.load_tokenizer(context.config)
    for name, who in contestants.items():
        if path.exists() or parts[name].exists():
            continue
        if name == "retriever":
            jsonl.write(parts[name], _retrieved(context, literals))
            continue
        model = student.load(context.config, weights.get(who))
        if name == who:
            tasks = [generation.Task(literal, name, 0) for literal in literals]
            jokes = generation.write_jokes(context, model, tokenizer, tasks, context.config.evaluate)
        else:
            jokes = iter(best_of.answers(context, model, tokenizer, literals))
        jsonl.write(parts[name], jokes)
    if not path.exists():
        jsonl.write(path, [joke for part in parts.values() for joke in jsonl.read(part, Joke)])
    for part in parts.values():
        part.unlink(missing_ok=True)
    if n:
        context.files += [context.folder / CANDIDATES, context.folder / SELECTION]
    found = jsonl.load(path, Joke)
    if n:
        chosen = sum(joke.author == best_of.name(n) for joke in found)
        context.facts["best_of"] = {"n": n, "answers": chosen, **best_of.cost(context)}
    return found


def _retrieved(context: Context, literals: list[LiteralText]) -> Iterator[Joke]:
    """The nearest of the retriever's jokes to each literal."""
    from pipeline.searching import NAME, Searcher

    searcher = Searcher(context.run, context.config)
    for literal, found in zip(literals, searcher.nearest([literal.text for literal in literals]), strict=True):
        yield make(Joke, literal_id=literal.id, literal=literal.text, text=found.text, author=NAME, index=0, call=None)


def figures(
    literals: list[LiteralText],
    reference: dict[str, Joke],
    answers: list[Joke],
    verdicts: Verdicts,
    judge_model: str,
    trained_on: set[str],
) -> Iterator[Metric]:
    """Metric rows per split, aspect and contestant, then the differences between each two contestants."""
    splits = list(dict.fromkeys(literal.split for literal in literals))
    contestants = list(dict.fromkeys(joke.author for joke in answers))
    aspects = list(dict.fromkeys(aspect for aspect, _ in verdicts)) or ["overall"]
    for split, aspect in product(splits, aspects):
        inside = {literal.id for literal in literals if literal.split == split}
        common = {"split": split, "judge": judge_model, "aspect": aspect}
        judged = {name: [v for v in verdicts.get((aspect, name), []) if v.literal_id in inside] for name in contestants}
        for name in contestants:
            given = [joke for joke in answers if joke.author == name and joke.literal_id in inside]
            texts = [joke.text for joke in given]
            yield make(
                Metric,
                contestant=name,
                **common,
                **metrics.win_tie_rate(judged[name]),
                no_reference=sum(literal not in reference for literal in inside),
                no_answer=sum(literal in reference for literal in inside) - sum(bool(text) for text in texts),
                length_ratio=metrics.length_ratio(texts, [joke.literal for joke in given]),
                distinct_1=metrics.distinct(texts, 1),
                distinct_2=metrics.distinct(texts, 2),
                repeats=metrics.repeats(texts, trained_on),
            )
        for earlier, later in combinations(contestants, 2):
            difference = metrics.difference(judged[later], judged[earlier])
            yield make(Metric, contestant=later, vs=earlier, **common, **difference)


def table(rows: list[Metric]) -> str:
    """The win-tie rates and their differences, as a person reads them."""
    head = (
        f"{'split':<11} {'contestant':<11} {'WTR':>6}  {'95 % interval':<15} {'n':>5} {'win':>5} {'tie':>5} {'loss':>5}"
    )
    lines = [
        f"Win-tie rate against the teacher, judged by {rows[0].judge}" if rows else "",
        "",
        head + "  incons.  failed",
    ]
    for row in rows:
        if row.vs is None:
            interval = "-" if row.wtr is None else f"{row.low:.3f} - {row.high:.3f}"
            rate = "-" if row.wtr is None else f"{row.wtr:.3f}"
            lines.append(
                f"{row.view:<11} {row.contestant:<11} {rate:>6}  {interval:<15} {row.n:>5} {row.win:>5} {row.tie:>5} "
                f"{row.loss:>5}  {row.inconsistent:>7}  {row.failed:>6}"
            )
    lines += ["", f"{'split':<11} {'difference':<22} {'WTR':>7}  95 % interval, paired over literals"]
    for row in rows:
        if row.vs is not None and row.delta is not None:
            what = f"{row.contestant} - {row.vs}"
            lines.append(f"{row.view:<11} {what:<22} {row.delta:>+7.3f}  {row.delta_low:+.3f} - {row.delta_high:+.3f}")
    return "\n".join(chain([""], lines, [""]))
