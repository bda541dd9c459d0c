"""dpo: the round's student learns by the round's objective.

It learns from the critic's verdicts, or from a teacher's logits.

"Small But Funny" (arXiv 2402.18113), critique phase: dpo (Rafailov et al., arXiv 2305.18290, eq.
7), brio (Liu et al., arXiv 2203.16804) and sd, maximum likelihood on the preferred candidates; ft,
on the teacher's jokes, is its control. gkd (Agarwal et al., arXiv 2306.13649) and llmr (Li et al.,
arXiv 2409.12500) need no verdicts.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.config.whole import Config
from pipeline.execution.context import Context
from pipeline.execution.stage import Code, Expected
from pipeline.judging import deviation, methods, preferences, rules, watching
from pipeline.judging.held_out import rates as rates
from pipeline.judging.preferences import LeftOut
from pipeline.llm.database import cache_path
from pipeline.llm.ledger import spent_on
from pipeline.progress import Progress
from pipeline.rows.records import Joke, Verdict
from pipeline.rows.row import Row
from pipeline.rows.training import Measured
from pipeline.runs.hashes import may_be_encoder_decoder
from pipeline.runs.step import Step, student_step

VERSION = 5
ROUND_KEYS = ("objective", "rankings", "trainer")
REWARD = (
    "action_values state_values rewards returns advantages drawn_from policy_gradient entropy"
).split()
"""The functions that llmr's trainer learns by."""


def sections(config: Config, round: int | None) -> Sequence[str]:
    """The stage's own, and those beside them that decide what this round learns."""
    learned = config.round(round)
    names = ["literals", "student", "sft", "dpo"]
    if learned.learning.reads_logits:
        names.append(learned.objective)
    if config.stops_by_rate(learned):
        names += ["critic", "evaluate"]
    if config.guards.keep_out and learned.learning.reads != "prompts":
        names.append("guards")
    return names


def prompts(config: Config, round: int | None) -> Sequence[str]:
    learned = config.round(round)
    names = ["student"]
    if config.stops_by_rate(learned):
        names += methods.prompts("critic", config.critic)
    if learned.objective == "llmr" and config.llmr:
        names += config.llmr.prompts
    if learned.learning.reads != "prompts":
        names += watching.prompts(config)
    return list(dict.fromkeys(names))


def losses(config: Config, round: int | None) -> Code | None:
    """Our losses, where they may decide what is learned; an encoder-decoder always uses them."""
    learned = config.round(round)
    if learned.objective == "llmr":
        return Code("training/losses/reward.py", REWARD)
    if learned.objective == "gkd":
        return Code("training/losses/divergence.py", ("mean_total_variation",))
    if not learned.learning.has_reference:
        return None
    if config.own_losses(learned, may_be_encoder_decoder(config)):
        names = [name for name, _ in config.loss_terms(learned)]
        if config.dpo.deviation_weight:
            names.append("weighted")
        return Code("training/losses/preference.py", names)
    return None


def decides(config: Config, round: int | None) -> Sequence[Code]:
    return rules.of_round(config, config.round(round))


def writes(config: Config, round: int | None) -> type[Row]:
    return config.round(round).learning.row


def reads(config: Config, round: int | None) -> dict[str, Step]:
    learned = config.round(round)
    read = {}
    if learned.learning.judges:
        read["critic"] = Step("critic", round)
    if learned.learning.reads == "jokes":
        read["teacher"] = Step("teacher")
    read["student"] = student_step(config, round or 1)
    if config.stops_by_rate(learned):
        read["teacher"] = Step("teacher")
        read |= methods.reads(config.critic)
    return read


def expected(config: Config, round: int | None, literals: Mapping[Any, int]) -> list[Expected]:
    learned = config.round(round)
    asked = methods.expected_while_training(config, learned, literals)
    if learned.learning.reads == "prompts":
        return asked
    students = learned.learning.judges and learned.candidates != "teacher"
    about = literals["train"] + literals["validation"]
    each = config.sample.k if students else config.teacher.most
    return asked + watching.expected(config, about * each)


def needs(config: Config, round: int | None, literals: Mapping[Any, int]) -> Iterator[str]:
    from pipeline.training import needs

    yield from needs.of_training(config, config.round(round), literals)


def run(context: Context) -> Iterator[Row]:
    from pipeline.models import student
    from pipeline.training import arguments

    trainer_arguments = arguments.of_round(context.config, context.round, context.folder)
    tokenizer = student.load_tokenizer(context.config)
    split_of = {literal.id: literal.split for literal in context.literals("train", "validation")}
    rows = list(_rows(context, trainer_arguments, tokenizer, set(split_of)))
    learned = [row for row in rows if split_of[row.literal_id] == "train"]
    power = context.config.dpo.deviation_weight
    if power and context.round.learning.has_reference:
        judged = preferences.candidates(context.rows("critic", Verdict))
        learned = deviation.weighed(learned, judged, power)
    yield from learned
    context.hold_out([row for row in rows if split_of[row.literal_id] == "validation"])
    context.facts["objective"] = context.round.objective
    if "critic" in context.inputs and rows:
        context.facts["critic_cost"] = _critic_cost(context, len(rows))


def learn(context: Context) -> None:
    from pipeline.models import student
    from pipeline.training import arguments

    trainer_arguments = arguments.of_round(context.config, context.round, context.folder)
    tokenizer = student.load_tokenizer(context.config)
    trainer = context.round.learning.trainer
    if trainer == "sft":
        from pipeline.training import imitation

        imitation.train(context, trainer_arguments, tokenizer, context.inputs["student"])
    elif trainer == "gkd":
        from pipeline.training.logits import gkd

        gkd.train(context, trainer_arguments, tokenizer)
    elif trainer == "llmr":
        from pipeline.training.logits import llmr

        llmr.train(context, trainer_arguments, tokenizer)
    else:
        from pipeline.training import feedback

        feedback.train(context, trainer_arguments, tokenizer)


def _critic_cost(context: Context, rows: int) -> dict[str, Any]:
    """What the critic's answers cost for each row that came of them, whoever paid.

    None where a price is unknown.
    """
    calls: dict[str, None] = {}
    for verdict in context.rows("critic", Verdict):
        for order in verdict.orders:
            if order.call:
                calls[order.call] = None
    paid = spent_on(cache_path(), list(calls))
    per_row = None
    if paid["cost"] is not None:
        per_row = paid["cost"] / rows
    return {**paid, "per_row": per_row}


def _rows(
    context: Context, trainer_arguments: Any, tokenizer: Any, literals: set[str]
) -> Sequence[Any]:
    """The rows about these literals that the objective trains on.

    What is left out goes to the context.
    """
    reads = context.round.learning.reads
    if reads == "prompts":
        from pipeline.training.logits import llmr

        return list(llmr.prompts(context, tokenizer, context.literals("train", "validation")))
    if reads == "jokes":
        jokes = [joke for joke in context.rows("teacher", Joke) if joke.literal_id in literals]
        out = watching.kept_out(context, jokes)
        _drop(
            context,
            [LeftOut(joke.literal_id, joke.id, out[joke.id]) for joke in jokes if joke.id in out],
        )
        jokes = [joke for joke in jokes if joke.id not in out]
        if context.round.objective == "gkd":
            jokes = _with_room(context, trainer_arguments, tokenizer, jokes)
        measured = _measured(context, trainer_arguments, tokenizer, jokes)
        rows, left_out = preferences.imitations(jokes, measured)
        _drop(context, left_out)
        return rows
    verdicts = [
        verdict for verdict in context.rows("critic", Verdict) if verdict.literal_id in literals
    ]
    verdicts = _without_kept_out(context, verdicts)
    return _from_verdicts(
        context, verdicts, _measured(context, trainer_arguments, tokenizer, verdicts)
    )


def _without_kept_out(context: Context, verdicts: list[Verdict]) -> list[Verdict]:
    """The verdicts on candidates that [guards] keeps none out of; the others go to the context."""
    if not context.config.guards.keep_out:
        return verdicts
    out = watching.kept_out(context, watching.as_jokes(verdicts))
    kept = []
    for verdict in verdicts:
        why = out.get(verdict.a) or out.get(verdict.b)
        if why:
            context.drop(verdict.literal_id, verdict.id, why)
        else:
            kept.append(verdict)
    return kept


def _with_room(
    context: Context, trainer_arguments: Any, tokenizer: Any, jokes: list[Joke]
) -> list[Joke]:
    """The jokes about literals that leave student and teacher room for an answer of gkd's student.

    The others go to the context.
    """
    from pipeline.training.logits import gkd

    literals = {joke.literal_id: joke.literal for joke in jokes}
    for literal in gkd.without_room(context.config, trainer_arguments, tokenizer, literals):
        context.drop(literal, literal, gkd.TOO_LONG)
        del literals[literal]
    return [joke for joke in jokes if joke.literal_id in literals]


def _from_verdicts(context: Context, verdicts: list[Verdict], measured: Measured) -> Sequence[Any]:
    """Preferences; for brio as rankings; for sd the preferred jokes alone."""
    learned = context.round
    settings = context.config.dpo
    if learned.rankings:
        ranked, left_out = preferences.rankings(verdicts, measured, settings.length_ratio)
        _drop(context, left_out)
        return ranked
    ties = settings.ties != "drop" and learned.objective == "dpo"
    if settings.pairing == "divpo":
        rows, left_out = deviation.pairs(
            verdicts, measured, settings.length_ratio, settings.divpo_rho
        )
    else:
        rows, left_out = preferences.preferences(verdicts, measured, settings.length_ratio, ties)
    _drop(context, left_out)
    if learned.objective == "dpo":
        return rows
    if learned.objective == "brio":
        return [preferences.as_ranking(row) for row in rows]
    # where all pairs are judged, a joke may win more than once
    best = {row.chosen_id: row for row in rows}
    return [
        preferences.imitation(row.literal_id, row.prompt, joke, row.chosen)
        for joke, row in best.items()
    ]


def _measured(
    context: Context, trainer_arguments: Any, tokenizer: Any, rows: Sequence[Joke | Verdict]
) -> Measured:
    """Prompts, lengths and room of the literals and jokes that rows are about."""
    from pipeline.models import student_prompt
    from pipeline.training import arguments

    literals: dict[str, str] = {}
    texts: dict[str, str] = {}
    for row in rows:
        literals[row.literal_id] = row.literal
        if isinstance(row, Joke):
            texts[row.id] = row.text
        else:
            texts[row.a] = row.a_text
            texts[row.b] = row.b_text
    longest = arguments.max_length(trainer_arguments)
    with Progress(f"{context.step}, rows", len(texts)) as progress:
        return student_prompt.measure(context.config, tokenizer, longest, literals, texts, progress)


def _drop(context: Context, left_out: Sequence[LeftOut]) -> None:
    for dropped in left_out:
        context.drop(*dropped)
