"""Learning from a teacher whose logits can be read: the sections [llmr] and [gkd] of the configuration."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.section import Dtype, Positive, Section, Trainer


class Whitebox(Section):
    teacher: str
    """A local folder or a Hub id of a model that has the student's vocabulary."""
    revision: str | None = None
    """Branch, tag or commit on the Hub; a commit makes the recipe exact."""
    dtype: Dtype = "float32"
    """Of the teacher's weights in memory; auto is the checkpoint's own."""


class Llmr(Whitebox):
    """Policy gradient with a reward that the teacher's logits induce (LLMR, arXiv 2409.12500)."""

    prompts: Annotated[list[str], Field(min_length=1)] = ["student"]
    """Templates in prompts/ by which the teacher is given a sentence; its logits are averaged over them. The student
    is always given prompts/student.j2."""
    value: Literal["max", "softmax"] = "max"
    """V(s) in the reward f(s, a) - V(s'), where f is a logit minus the vocabulary's mean: the largest f, or its mean
    under softmax(f)."""
    k_step: Positive = 1
    """Steps between s and s'; above 1, K-step returns (KETCHUP, arXiv 2504.19024)."""
    denom: Annotated[float, Field(gt=0)] = 20.0
    """Returns are divided by it."""
    clip: Annotated[float, Field(gt=0)] | None = 1.0
    """Then cut to [-clip, clip]; none: not cut."""
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
    """Divergences between the teacher's and the student's distributions, token by token (GKD, arXiv 2306.13649)."""

    divergence: Literal["jsd", "tvd"] = "jsd"
    """jsd: the generalized Jensen-Shannon divergence, of which beta = 0 in [gkd.trainer] is KL(teacher, student) and 1
    the reverse; tvd: total variation distance (arXiv 2307.15190)."""
    trainer: Trainer = {}
    """Goes whole to TRL's GKDConfig: lmbda is the share of batches that the student writes, beta the divergence."""
