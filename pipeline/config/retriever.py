"""A student that looks jokes up (G2R, arXiv 2108.12582).

Its section of the configuration is [retriever].
"""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.section import Fraction, Positive, Section, Trainer


class Retriever(Section):
    model: str | None = None
    """A folder or Hub id that sentence-transformers loads; none: word vectors of the student's
    vocabulary, from scratch."""
    revision: str | None = None
    """Branch, tag or commit on the Hub; a commit makes the recipe exact."""
    dim: Positive = 256
    """Numbers in a word vector; a model has its own."""
    jokes: Annotated[list[Literal["teacher", "student"]], Field(min_length=1)] = ["teacher"]
    """Whose jokes about the train literals it learns from and searches: the teacher's, and the
    candidates of the last round that samples a student's."""
    scores: Literal["none", "ll", "mi", "critic"] = "none"
    """What tells a literal's jokes apart: nothing (data-level distillation); their log-likelihood
    per token, given the literal; how much that is above the one without it (mutual information); or
    the critic's verdicts on all pairs."""
    scorer: str | None = None
    """ll, mi: the model whose likelihood it is, the teacher if it can be loaded here; none: the
    run's sft student."""
    alpha: Fraction = 0.1
    """Weight of the model-level loss; the other loss has the rest."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Scores are divided by it before their softmax."""
    negatives: Positive = 512
    """Jokes about other literals, drawn anew at each step."""
    scale: Annotated[float, Field(gt=0)] = 20.0
    """Cosines are multiplied by it before their softmax."""
    exact_below: Annotated[int, Field(ge=0)] = 20_000
    """Smaller sets are searched exactly; larger ones by a graph (HNSW)."""
    trainer: Trainer = {}
    """Goes whole to sentence-transformers' SentenceTransformerTrainingArguments."""
