"""What students learn and how: [sft], [dpo], [llmr], [gkd] and the list [[rounds]]."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pipeline.config.objectives import OBJECTIVES, Learning
from pipeline.config.section import Dtype, Positive, PromptName, Section, Trainer
from pipeline.errors import ConfigError
from pipeline.vocabulary import Objective

TRL_LOSSES = frozenset(
    "sigmoid hinge ipo exo_pair nca_pair robust bco_pair sppo_hard aot aot_unpaired apo_zero "
    "apo_down discopop sft sigmoid_norm".split()
)
"""What TRL 1.16's DPOTrainer knows; it would say so only at the first step."""


class Sft(Section):
    most_alike: Annotated[float, Field(gt=0, le=1)] | None = None
    """The share of the jokes that are learned that one device, what a joke adds to its sentence,
    may have; others with it are left out. None: all are learned."""
    trainer: Trainer = {}
    """Goes whole to TRL's SFTConfig; for an encoder-decoder to transformers'
    Seq2SeqTrainingArguments."""


class EarlyStopping(Section):
    """Ends a round when a figure on held-out literals no longer grows.

    The best step is kept, or the starting student where no step was better.
    """

    metric: Literal["reward_accuracy", "wtr", "fresh_wtr"] = "reward_accuracy"
    """Reward accuracy on held-out pairs (of dpo and brio rounds; others have none, and take their
    last step), or of every round, how often greedy answers tie or beat the teacher's, says the
    critic; or that rate where an answer counts less the more of the answers add the same words."""
    patience: Positive = 3
    """Evaluations without a better figure before training ends."""
    literals: Positive = 100
    """wtr, fresh_wtr: the validation literals that are answered at each evaluation, the first so
    many."""


class Dpo(Section):
    length_ratio: tuple[float, float] = (0.8, 1.2)
    """Bounds of len(chosen) / len(rejected) in student tokens; pairs outside are dropped."""
    pairing: Literal["verdict", "divpo"] = "verdict"
    """What is learned of a literal's candidates: each verdict (the paper's), or, from the scores of
    all, the rarest of the best over the commonest of the worst (DivPO, arXiv 2501.18101)."""
    divpo_rho: Annotated[float, Field(gt=0, le=0.5)] = 0.3
    """divpo: how far from the best score, and from the worst, candidates count as best and as
    worst, as a share of what lies between both."""
    deviation_weight: Annotated[float, Field(ge=0)] = 0.0
    """A row weighs by how far what its chosen answer adds is from what other candidates add, to
    this power (DDPO, arXiv 2503.17126, has 1); 0: all weigh the same."""
    ties: Literal["drop", "rao-kupper"] = "drop"
    """Tied and inconsistent verdicts are dropped, or learned as ties (arXiv 2409.17431, DPO-RK)."""
    tie_nu: Annotated[float, Field(gt=1)] = 3.0
    """nu of Rao-Kupper: how much better an answer must be to win rather than tie; the paper's."""
    sft_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the chosen answers' negative log-likelihood beside the DPO loss (RPO, arXiv
    2404.19733)."""
    gamma: Annotated[float, Field(ge=0)] = 100.0
    """brio: weight of the ranking loss beside cross-entropy (arXiv 2203.16804; its code has
    100)."""
    dpop_lambda: Annotated[float, Field(ge=0)] = 50.0
    """Weight of the penalty in loss_type = "dpop" (arXiv 2402.13228, eq. 3)."""
    early_stopping: EarlyStopping | None = None
    """Absent: every step is taken."""
    trainer: Trainer = {}
    """Goes whole to TRL's DPOConfig, for the objectives dpo and brio."""

    @model_validator(mode="after")
    def bounds_in_order(self) -> "Dpo":
        if self.length_ratio[0] > self.length_ratio[1]:
            raise ValueError("length_ratio is [smallest, largest]")
        return self


class Round(Section):
    candidates: Literal["student", "base", "teacher"] = "student"
    """Whose jokes are judged: the round's starting student, the untrained student, or the
    teacher."""
    objective: Objective = "dpo"
    """What is learned: preferences (dpo), a ranking by likelihood (brio), the preferred jokes by
    heart (sd: self-distillation); or, without candidates and critic, the teacher's jokes again
    (ft), its distribution over tokens (gkd), or what its logits reward (llmr)."""
    rankings: bool = False
    """brio: rank all candidates of a literal, from verdicts on every pair, rather than one pair."""
    trainer: Trainer = {}
    """Keys on top of [dpo.trainer] ([sft.trainer] for ft and sd, [gkd.trainer], [llmr.trainer]) for
    this round."""
    repeat: Positive = 1
    """So many rounds like this one, each from the last one's student."""

    @model_validator(mode="after")
    def rankings_are_for_brio(self) -> "Round":
        if self.rankings and self.objective != "brio":
            raise ValueError(
                f'rankings = true goes with objective = "brio", not "{self.objective}"'
            )
        return self

    @property
    def learning(self) -> Learning:
        """What its objective stands for."""
        return OBJECTIVES[self.objective]


def loss_terms(dpo: Dpo, keys: dict[str, Any], objective: Objective) -> list[tuple[str, float]]:
    """The losses of a dpo or brio round and their weights; ConfigError for what cannot be mixed.

    `keys` are those of its trainer's table.
    """
    if objective == "brio":
        return [("sft", 1.0), ("brio", dpo.gamma)]
    names: Any = keys.get("loss_type") or "sigmoid"
    if not isinstance(names, list):
        names = [names]
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(
            f"dpo.trainer.loss_type = {keys['loss_type']!r}: give a name, or a list of names."
        )
    weights: Any = keys.get("loss_weights") or [1.0] * len(names)
    if not isinstance(weights, list) or len(weights) != len(names):
        raise ConfigError(
            f"dpo.trainer.loss_weights = {weights!r}: give a weight for each of {names}."
        )
    if dpo.sft_weight:
        if "sft" in names:
            raise ConfigError(
                'dpo.sft_weight adds the loss "sft", which loss_type has already: use one of the '
                "two."
            )
        names = [*names, "sft"]
        weights = [*weights, dpo.sft_weight]
    if dpo.ties == "rao-kupper":
        if not {"sigmoid"} <= set(names) <= {"sigmoid", "sft"}:
            raise ConfigError(
                f'dpo.ties = "rao-kupper" is a form of the sigmoid loss; loss_type is {names}.'
            )
        names = ["rao_kupper" if name == "sigmoid" else name for name in names]
    return list(zip(names, map(float, weights), strict=True))


class Whitebox(Section):
    teacher: str
    """A local folder or a Hub id of a model that has the student's vocabulary."""
    revision: str | None = None
    """Branch, tag or commit on the Hub; a commit makes the recipe exact."""
    dtype: Dtype = "float32"
    """Of the teacher's weights in memory; auto is the checkpoint's own."""


class Llmr(Whitebox):
    """Policy gradient with a reward that the teacher's logits induce (LLMR, arXiv 2409.12500)."""

    prompts: Annotated[list[PromptName], Field(min_length=1)] = ["student"]
    """Templates in prompts/ by which the teacher is given a sentence; its logits are averaged over
    them. The student is always given prompts/student.j2."""
    value: Literal["max", "softmax"] = "max"
    """V(s) in the reward f(s, a) - V(s'), where f is a logit minus the vocabulary's mean: the
    largest f, or its mean under softmax(f)."""
    k_step: Positive = 1
    """Steps between s and s'; above 1, K-step returns (KETCHUP, arXiv 2504.19024)."""
    denom: Annotated[float, Field(gt=0)] = 20.0
    """Returns are divided by it."""
    clip: Annotated[float, Field(gt=0)] | None = 1.0
    """Then multiplied by how much likelier the student makes the token than what drew it did, and
    cut to [-clip, clip]; none: not cut."""
    baseline: Literal["none", "softmax"] = "none"
    """softmax: the mean of f under softmax(f) is taken from the return in each state."""
    entropy: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the policy's entropy, in nats, beside its return."""
    sync_every: Positive = 1
    """Optimizer steps between two updates of the copy of the student that writes the samples."""
    top_k: Positive = 50
    """Samples are drawn from so many of the likeliest tokens."""
    max_new_tokens: Positive = 64
    """The longest sample; one that has not ended by then is dropped and counted."""
    trainer: Trainer = {}
    """Goes whole to transformers' TrainingArguments."""


class Gkd(Whitebox):
    """Divergences between the teacher's and the student's distributions, token by token.

    GKD, arXiv 2306.13649.
    """

    divergence: Literal["jsd", "tvd"] = "jsd"
    """jsd: the generalized Jensen-Shannon divergence, of which beta = 0 in [gkd.trainer] is
    KL(teacher, student) and 1 the reverse; tvd: total variation distance (arXiv 2307.15190)."""
    trainer: Trainer = {}
    """Goes whole to TRL's GKDConfig: lmbda is the share of batches that the student writes, beta
    the divergence."""
