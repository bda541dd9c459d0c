"""Vectors of jokes and the search for the nearest, by Faiss.

An index knows its jokes by their ids.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ConfigError, DataError

NEIGHBOURS = 32
"""Links of a vector in the graph: G2R's (arXiv 2108.12582)."""
IDS = b"IxMp"
"""What a file of an index with ids begins with."""
KIND_AT = 37
"""Where in it the kind of the index inside is named."""
KINDS = (b"IxFI", b"IHNf")
"""Exact by inner product, and HNSW over that."""
BREADTH = 256
"""Candidates that a search keeps (efSearch): G2R's."""


def faiss() -> Any:
    """The library; ConfigError where it is not installed."""
    try:
        import faiss
    except ImportError as error:
        raise missing(error) from None
    return faiss


def missing(error: ImportError) -> ConfigError:
    return ConfigError(f"the retriever needs {error.name}: pip install 'humor-distill[retriever]'")


def build(vectors: np.ndarray, ids: Sequence[str], exact_below: int) -> Any:
    """An index by inner product of vectors (N, D) in float32.

    Exact for fewer than `exact_below`, else HNSW32.
    """
    library = faiss()
    count, dim = vectors.shape
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
    products, numbers = index.search(queries, k)
    return products, [_jokes(row) for row in numbers]


def _jokes(numbers: Sequence[int]) -> list[str]:
    """The ids of jokes as Faiss keeps them; it fills up with -1 where it has fewer than k."""
    return [f"j_{number:012x}" for number in numbers if number >= 0]


def number(identity: str) -> int:
    """A joke's id as Faiss keeps it."""
    return int(identity[2:], 16)


def save(index: Any, path: Path) -> None:
    """Whole or not there."""
    partial = path.with_name(path.name + ".partial")
    faiss().write_index(index, str(partial))
    partial.replace(path)


def load(path: Path) -> Any:
    """An index as `build` makes it; DataError where it is of another kind.

    Faiss has kinds that open further files, which they name.
    """
    with path.open("rb") as file:
        head = file.read(KIND_AT + 4)
    if head[:4] != IDS or head[KIND_AT:] not in KINDS:
        raise DataError(f"{path}: no index that the retriever stage makes. Make it again.")
    library = faiss()
    return library.read_index(str(path), library.IO_FLAG_ONDISK_SAME_DIR)
