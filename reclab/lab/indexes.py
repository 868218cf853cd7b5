"""Vector indexes measured: what a search that does not look everywhere finds, and what it saves.

    recall@k = |found ∩ true| / k,   true = the k best of all, by the flat index

on the item vectors of the embedding channel and the vectors of real requests: trained vectors lie
in clusters, which is what the indexes live on; random ones would make each of them look bad.
Reference: Aumüller, Bernhardsson, Faithfull, ANN-Benchmarks, Information Systems 87, 2020.

Simplified: a team would measure under load, and while the index takes in new items.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reclab.cascade.batch import read_batch
from reclab.core.types import Array
from reclab.lab.cache import built
from reclab.lab.lab import Lab
from reclab.stores.vector_index import VectorIndex, VectorIndexConfig

N_PROBE = (1, 2, 4, 8, 16, 32, 64, 128)
EF = (100, 150, 200, 300, 400, 800)


@dataclass(frozen=True)
class Searched:
    """One setting (clusters or nodes looked into; for flat all vectors): recall@k, and median
    microseconds of a query asked alone."""

    setting: int
    recall: float
    us: float


@dataclass(frozen=True)
class IndexCurve:
    """An index of n vectors: seconds to build, megabytes, and its settings, cheapest first."""

    n: int
    build_s: float
    mbytes: float
    points: tuple[Searched, ...]


def index_curves(lab: Lab, k: int = 100, n_queries: int = 200) -> dict[str, IndexCurve]:
    """flat, ivf and hnsw over the item vectors of ``lab``, asked with its tuning requests. Measured
    once on this machine (seconds), then read from the cache."""
    version = lab.models_folder.name.removeprefix(f"models-{lab.scale}-{lab.seed}-")

    def build(folder: Path) -> None:
        found = curves(*item_vectors(lab, n_queries), k)
        told = {kind: asdict(curve) for kind, curve in found.items()}
        (folder / "curves.json").write_text(json.dumps(told), encoding="utf-8")

    where = built(f"indexes-{lab.scale}-{lab.seed}-{k}-{n_queries}", version, build)
    told = json.loads((where / "curves.json").read_text(encoding="utf-8"))
    return {kind: _read(curve) for kind, curve in told.items()}


def _read(told: dict[str, Any]) -> IndexCurve:
    points = tuple(Searched(**point) for point in told.pop("points"))
    return IndexCurve(**told, points=points)


def item_vectors(lab: Lab, n_queries: int) -> tuple[Array, Array]:
    """(N, d) vectors of the embedding channel and (n_queries, d) of tuning requests."""
    p = lab.trained.parts
    batch = read_batch(lab.requests(n_queries), p.users, p.index)
    return p.two_tower.vectors.held()[1], p.two_tower.users(batch)


def curves(
    vectors: Array,
    queries: Array,
    k: int,
    n_probe: Sequence[int] = N_PROBE,
    ef: Sequence[int] = EF,
    config: VectorIndexConfig | None = None,
) -> dict[str, IndexCurve]:
    """The three kinds over vectors (N, d), for queries (B, d)."""
    flat, build_s = _built("flat", vectors, config)
    true = flat.search(queries, k)[1]
    of_all = (_searched(flat, queries, k, true, len(vectors)),)
    found = {"flat": IndexCurve(len(vectors), build_s, flat.nbytes / 1e6, of_all)}
    for kind, settings in (("ivf", n_probe), ("hnsw", ef)):
        index, build_s = _built(kind, vectors, config)
        name = "n_probe" if kind == "ivf" else "ef_search"
        points = [_searched(index.searching(**{name: s}), queries, k, true, s) for s in settings]
        found[kind] = IndexCurve(len(vectors), build_s, index.nbytes / 1e6, tuple(points))
    return found


def _built(
    kind: str, vectors: Array, config: VectorIndexConfig | None
) -> tuple[VectorIndex, float]:
    began, index = time.perf_counter(), VectorIndex(vectors.shape[1], kind, config)
    index.add(np.arange(len(vectors)), vectors)
    return index, time.perf_counter() - began


def _searched(index: VectorIndex, queries: Array, k: int, true: Array, setting: int) -> Searched:
    """Ask every query alone, as a request does."""
    found, spent = np.empty_like(true), np.empty(len(queries))
    for b in range(len(queries)):
        began = time.perf_counter_ns()
        found[b] = index.search(queries[b : b + 1], k)[1][0]
        spent[b] = time.perf_counter_ns() - began
    return Searched(setting, recall(found, true), float(np.median(spent)) / 1e3)


def recall(found: Array, true: Array) -> float:
    """Share of the true items (B, k) that are among the found (B, k); -1 counts for nothing.

    >>> recall(np.array([[4, -1]]), np.array([[4, 7]]))
    0.5
    """
    hit = (found[:, :, None] == true[:, None, :]) & (true >= 0)[:, None, :]
    return float(hit.sum() / max(1, np.count_nonzero(true >= 0)))
