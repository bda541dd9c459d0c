"""The encoder of a retriever (G2R, Kim et al., arXiv 2108.12582): trained, loaded, measured."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

from pipeline.config.retriever import Retriever
from pipeline.config.whole import Config
from pipeline.errors import ConfigError, StudentError
from pipeline.execution.context import Context
from pipeline.models import student
from pipeline.retrieval import index
from pipeline.rows.training import Retrieval
from pipeline.runs.hashes import local_folder
from pipeline.training.arguments import build
from pipeline.training.fit import fit, save_weights
from pipeline.training.losses import retrieval
from pipeline.training.losses.retrieval import NOT_THERE

logging.getLogger("sentence_transformers").setLevel(logging.ERROR)


ALIKE = 1e-6
"""Cosines in float32 that differ by less are equal."""
REFUSED = {
    "eval_strategy": (
        "nothing is evaluated in training; recall on the validation literals is in the manifest."
    ),
    "prompts": "negatives and searched sentences would go without them.",
}
"""Keys of sentence-transformers' that its trainer cannot have here."""


class Loss(torch.nn.Module):
    """(1 - alpha) L_CE + alpha L_KD, or L_CE alone where nothing scored the jokes.

    sentence-transformers calls it. Negatives are drawn anew at each step, by torch's own generator,
    whose state is in every checkpoint; a context's own jokes are none of its negatives.
    """

    def __init__(self, model: Any, settings: Retriever, rows: Sequence[Retrieval]) -> None:
        super().__init__()
        self.model = model
        self.settings = settings
        self.jokes: list[tuple[int, str]] = []
        """Each with the place of its context."""
        for place, row in enumerate(rows):
            self.jokes += [(place, text) for text in row.jokes]

    def forward(
        self, features: list[dict[str, torch.Tensor]], labels: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Features of the contexts and of each of K jokes.

        Labels are the contexts' places and their jokes' scores, (B, 1 + K).
        """
        settings = self.settings
        context_BD, *own = (self.embed(feature) for feature in features)
        order = torch.randperm(len(self.jokes))
        drawn = [self.jokes[number] for number in order[: settings.negatives].tolist()]
        inputs = self.model.preprocess([text for _, text in drawn])
        negative_ND = self.embed(_library().util.batch_to_device(inputs, context_BD.device))
        places_B1 = labels[:, :1]
        scores_BK = labels[:, 1:]
        mine_BN = places_B1 == torch.tensor([place for place, _ in drawn], device=labels.device)
        ce, kd = retrieval.both(
            context_BD,
            torch.stack(own, 1),
            negative_ND,
            mine_BN,
            scores_BK,
            settings.scale,
            settings.temperature,
        )
        if settings.scores == "none":
            return {"ce": ce}
        return {"ce": (1 - settings.alpha) * ce, "kd": settings.alpha * kd}

    def embed(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        return normalize(self.model(features)["sentence_embedding"], dim=-1)


def arguments(config: Config, folder: Path) -> Any:
    """[retriever.trainer] as SentenceTransformerTrainingArguments.

    ConfigError for what it does not take.
    """
    settings: Any = config.retriever
    kind = _library().SentenceTransformerTrainingArguments
    index.faiss()
    for key, why in REFUSED.items():
        if key in settings.trainer:
            raise ConfigError(f"[retriever.trainer] {key}: {why}")
    keys = {"gradient_checkpointing": False, **settings.trainer}
    return build(kind, config, keys, folder, "retriever")


def load(config: Config, folder: Path | None = None) -> Any:
    """The encoder: untrained, or as a stage trained it; StudentError where it cannot be found."""
    settings: Any = config.retriever
    library = _library()
    device = student.device(config.runtime)
    if folder is None and settings.model is None:
        from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding

        torch.manual_seed(config.seed)
        words = StaticEmbedding(student.load_tokenizer(config), embedding_dim=settings.dim)
        return library.SentenceTransformer(modules=[words, Normalize()], device=device)
    if folder is None:
        return pretrained(config, "retriever.model", settings.model, settings.revision)
    return pretrained(config, "retriever.model", str(folder), None)


def pretrained(config: Config, key: str, name: str, revision: str | None) -> Any:
    """An encoder from a folder or the Hub, which the configuration names at `key`.

    StudentError where it cannot be found.
    """
    library = _library()
    device = student.device(config.runtime)
    here = local_folder(name)
    try:
        return library.SentenceTransformer(
            str(here or name), revision=None if here else revision, device=device
        )
    except (OSError, ValueError) as error:
        raise StudentError(
            f"{key} = {name!r}: {str(error).splitlines()[0]}\n"
            "Give a folder with a modules.json or a config.json, or the id of a model on the Hub "
            "that this machine can reach."
        ) from None


def train(context: Context, rows: Sequence[Retrieval]) -> None:
    """Train the encoder on rows; weights, curve and facts go to the context."""
    from datasets import Dataset

    settings: Any = context.config.retriever
    model = load(context.config)
    trainer = _library().SentenceTransformerTrainer(
        model=model,
        args=arguments(context.config, context.folder),
        train_dataset=Dataset.from_list(examples(rows)),
        loss=Loss(model, settings, rows),
    )
    fit(trainer, context)

    def save(folder: Path) -> None:
        model.save_pretrained(str(folder), create_model_card=False)

    save_weights(context, save, adapter=False)


def examples(rows: Sequence[Retrieval]) -> list[dict[str, Any]]:
    """A context and its jokes, with its place and their scores as the label.

    Contexts with fewer jokes than others are filled up with their first.
    """
    most = max(len(row.jokes) for row in rows)
    examples = []
    for place, row in enumerate(rows):
        missing = most - len(row.jokes)
        scores = row.scores or [0.0] * len(row.jokes)
        example: dict[str, Any] = {"context": row.literal}
        for number, text in enumerate([*row.jokes, *row.jokes[:1] * missing]):
            example[f"joke_{number}"] = text
        example["label"] = [float(place), *scores, *[NOT_THERE] * missing]
        examples.append(example)
    return examples


def vectors(model: Any, texts: Sequence[str]) -> np.ndarray:
    """Embeddings of length 1, (N, D) in float32."""
    options = {"prompt": "", "normalize_embeddings": True, "show_progress_bar": False}
    embeddings = model.encode(list(texts), convert_to_numpy=True, **options)
    return np.ascontiguousarray(embeddings, dtype=np.float32)


def ranks(model: Any, held_out: Sequence[Retrieval], rows: Sequence[Retrieval]) -> list[int]:
    """For each held-out context the rank, from 1, of the nearest of its own jokes.

    Among all held-out jokes and those of `rows`. Jokes about others that are as near come before
    it: what is found first among equals is chance.
    """
    owners: list[str] = []
    jokes: list[str] = []
    for row in (*held_out, *rows):
        owners += [row.literal_id] * len(row.jokes)
        jokes += row.jokes
    owner_N = np.array(owners)
    joke_ND = vectors(model, jokes)
    context_CD = vectors(model, [row.literal for row in held_out])
    ranks = []
    for row, context_D in zip(held_out, context_CD, strict=True):
        cosine_N = joke_ND @ context_D
        own_N = owner_N == row.literal_id
        nearest = cosine_N[own_N].max() - ALIKE
        ranks.append(1 + int((cosine_N[~own_N] >= nearest).sum()))
    return ranks


def figures(ranks: Sequence[int]) -> dict[str, float]:
    """Recall@1 and mean reciprocal rank of ranks."""
    return {
        "contexts": len(ranks),
        "recall_at_1": sum(rank == 1 for rank in ranks) / len(ranks),
        "mrr": sum(1 / rank for rank in ranks) / len(ranks),
    }


def _library() -> Any:
    """sentence-transformers; ConfigError where it is not installed."""
    try:
        import sentence_transformers
    except ImportError as error:
        raise index.missing(error) from None
    return sentence_transformers
