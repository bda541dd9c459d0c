"""Vectors of jokes and the search for the nearest, by Faiss; an index knows its jokes by their
ids."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ConfigError

NEIGHBOURS, BREADTH = 32, 256
"""Links of a vector in the graph, and how many candidates a search keeps (efSearch): G2R's (arXiv
2108.12582)."""


def faiss() -> Any:
    """The library; ConfigError where it is not installed."""
    try:
        import faiss as found
    except ImportError as error:
        raise missing(error) from None
    return found


def missing(error: ImportError) -> ConfigError:
    return ConfigError(f"the retriever needs {error.name}: pip install 'humor-distill[retriever]'")


def build(vectors: np.ndarray, ids: Sequence[str], exact_below: int) -> Any:
    """An index by inner product of vectors (N, D) in float32: exact for fewer than `exact_below`,
    else HNSW32."""
    library, (count, dim) = faiss(), vectors.shape
    if count < exact_below:
        inner = library.IndexFlatIP(dim)
    else:
        inner = library.IndexHNSWFlat(dim, NEIGHBOURS, library.METRIC_INNER_PRODUCT)
        inner.hnsw.efSearch = BREADTH
    index = library.IndexIDMap(inner)
    index.add_with_ids(vectors, np.array([number(identity) for identity in ids], dtype=np.int64))
    return index


def search(index: Any, queries: np.ndarray, k: int) -> tuple[np.ndarray, list[list[str]]]:
    """Inner products (Q, k) and ids of the k nearest of each query (Q, D), the nearest first."""
    scores, numbers = index.search(queries, k)
    return scores, [[f"j_{one:012x}" for one in row if one >= 0] for row in numbers]


def number(identity: str) -> int:
    """A joke's id as Faiss keeps it."""
    return int(identity[2:], 16)


def save(index: Any, path: Path) -> None:
    """Whole or not there."""
    partial = path.with_name(path.name + ".partial")
    faiss().write_index(index, str(partial))
    partial.replace(path)


def load(path: Path) -> Any:
    return faiss().read_index(str(path))
