"""dpo: the round's student learns by the round's objective: from the critic's verdicts, or from a teacher's logits.

"Small But Funny" (arXiv 2402.18113), critique phase: dpo (Rafailov et al., arXiv 2305.18290, eq. 7), brio (Liu et al.,
arXiv 2203.16804) and sd, maximum likelihood on the preferred candidates; ft, on the teacher's jokes, is its control.
gkd (Agarwal et al., arXiv 2306.13649) and llmr (Li et al., arXiv 2409.12500) need no verdicts.
"""

import importlib
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline import jsonl, objective, pairs
from pipeline.config import Config
from pipeline.context import Context
from pipeline.llm.cache import cache_path, spent_on
from pipeline.progress import Progress
from pipeline.records import Joke, Row, Verdict
from pipeline.runs import HELD_OUT, Step, student_step

SECTIONS = ("literals", "student", "sft", "dpo")
PROMPTS = ("student",)


def writes(config: Config, round: int | None) -> type[Row]:
    return objective.row(objective.round_of(config, round))


def reads(config: Config, round: int | None) -> dict[str, Step]:
    one, start = objective.round_of(config, round), student_step(config, round or 1)
    if not objective.judges(one.objective):
        return {"student": start} if one.objective == "llmr" else {"teacher": Step("teacher"), "student": start}
    needed = {"teacher": Step("teacher")} if objective.watched(config, round) else {}
    return {"critic": Step("critic", round), "student": start, **needed}


def run(context: Context) -> Iterator[Row]:
    from pipeline import imitation, student, trainers

    one = objective.round_of(context.config, context.step.round)
    arguments = trainers.arguments(context.config, one, context.folder)
    tokenizer = student.load_tokenizer(context.config)
    split_of = {literal.id: literal.split for literal in context.literals("train", "validation")}
    learned = list(_learn(context, arguments, tokenizer, set(split_of)))
    held_out = [row for row in learned if split_of[row.literal_id] == "validation"]
    yield from (row for row in learned if split_of[row.literal_id] == "train")
    jsonl.write(context.folder / HELD_OUT, held_out)
    context.files.append(context.folder / HELD_OUT)
    if len(learned) == len(held_out):
        return
    context.facts["objective"] = one.objective
    if "critic" in context.inputs:
        context.facts["critic_cost"] = _paid(context, len(learned))
    held = context.folder / HELD_OUT if held_out else None
    if objective.imitates(one):
        imitation.train(context, arguments, tokenizer, held, context.inputs["student"])
    elif objective.learns_from_verdicts(one):
        trainers.train_preferences(context, arguments, tokenizer, held)
    else:
        importlib.import_module(f"pipeline.{one.objective}").train(context, arguments, tokenizer, held)


def _paid(context: Context, rows: int) -> dict[str, Any]:
    """What the critic's answers cost for each row that came of them, whoever paid; None where a price is unknown."""
    verdicts = context.rows("critic", Verdict)
    calls = dict.fromkeys(order.call for verdict in verdicts for order in verdict.orders if order.call)
    paid = spent_on(cache_path(), list(calls))
    return {**paid, "per_row": None if paid["cost"] is None else paid["cost"] / rows}


def _learn(context: Context, arguments: Any, tokenizer: Any, literals: set[str]) -> Sequence[Any]:
    """The rows about these literals that the objective trains on; what is left out goes to the context."""
    one, settings = objective.round_of(context.config, context.step.round), context.config.dpo
    if one.objective == "llmr":
        from pipeline import llmr

        return list(llmr.prompts(context, tokenizer, context.literals("train", "validation")))
    if one.objective in ("ft", "gkd"):
        jokes = [joke for joke in context.rows("teacher", Joke) if joke.literal_id in literals]
        told = {joke.literal_id: joke.literal for joke in jokes}
        found = _measured(context, arguments, tokenizer, told, {joke.id: joke.text for joke in jokes})
        learned, without = pairs.imitations(jokes, *found)
        return _less(context, learned, without)
    verdicts = [verdict for verdict in context.rows("critic", Verdict) if verdict.literal_id in literals]
    told = {verdict.literal_id: verdict.literal for verdict in verdicts}
    texts = {joke: text for of in verdicts for joke, text in ((of.a, of.a_text), (of.b, of.b_text))}
    found = _measured(context, arguments, tokenizer, told, texts)
    if one.rankings:
        ranked, without = pairs.rankings(verdicts, *found)
        return _less(context, ranked, without)
    ties = settings.ties != "drop" and one.objective == "dpo"
    rows, dropped = pairs.preferences(verdicts, found.prompts, found.lengths, settings.length_ratio, found.room, ties)
    _less(context, rows, [(verdict.literal_id, verdict.id, reason) for verdict, reason in dropped])
    if one.objective == "dpo":
        return rows
    if one.objective == "brio":
        return [pairs.as_ranking(row) for row in rows]
    best = {row.chosen_id: row for row in rows}  # where all pairs are judged, a joke may win more than once
    return [pairs.imitation(row.literal_id, row.prompt, joke, row.chosen) for joke, row in best.items()]


def _measured(context: Context, arguments: Any, tokenizer: Any, literals: dict[str, str], jokes: dict[str, str]) -> Any:
    from pipeline import student

    longest = getattr(arguments, "max_length", None)  # transformers' own trainer has none
    with Progress(f"{context.step}, rows", len(jokes)) as progress:
        return student.measure(context.config, tokenizer, longest, literals, jokes, progress)


def _less(context: Context, rows: Sequence[Any], dropped: Sequence[tuple[str, str, str]]) -> Sequence[Any]:
    for literal, what, reason in dropped:
        context.drop(literal, what, reason)
    return rows
