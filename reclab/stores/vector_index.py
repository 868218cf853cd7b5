"""Vector index: the k vectors with the largest inner product to a query, exact or approximate.

score(q, i) = q · v_i. ``flat`` compares all; ``ivf`` looks into the n_probe nearest of n_list
clusters; ``hnsw`` walks a graph of neighbours. ``auto`` takes flat while it is cheap (n < 50,000),
the graph up to 200,000 (fast to search, slow to build), and clusters beyond.
References: Johnson, Douze, Jégou 2017 (FAISS); Malkov, Yashunin 2016 (HNSW); Sivic, Zisserman 2003.

A removed vector is masked: the search skips it and still returns k live ones. When more than
``masked`` of all are (a quarter), or at once for flat, the index is rebuilt from the live vectors,
because a graph cannot lose nodes and walks over dead ones for nothing.

Simplified: industry compresses vectors (product quantisation) and shards over machines.
"""

import copy
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import faiss as typed_faiss
import numpy as np

from reclab.core.errors import DataError, check, check_float, check_int
from reclab.core.types import Array
from reclab.stores.arrays import Arrays, save_arrays
from reclab.stores.row_lookup import RowLookup

faiss: Any = typed_faiss  # its type stubs know a part of what it has
KINDS = ("auto", "flat", "ivf", "hnsw")


@dataclass(frozen=True)
class VectorIndexConfig:
    """``m``: neighbours of a graph node (8-64); ``ef_build``, ``ef_search``: nodes kept in view
    when building and searching (32-512); ``n_probe``: clusters searched (1-128); ``threads`` of
    FAISS (1-2 on two cores). Up to ``flat_below`` vectors auto is flat, up to ``graph_below``
    HNSW, beyond IVF. ``masked``: share removed from which a graph or clusters are built anew
    (0.1-0.9; the more, the fewer of the n_probe clusters' vectors are live)."""

    m: int = 24
    ef_build: int = 80
    ef_search: int = 128
    n_probe: int = 32
    threads: int = 1
    flat_below: int = 50_000
    graph_below: int = 200_000
    masked: float = 0.25

    def __post_init__(self) -> None:
        check_int("VectorIndexConfig.m", self.m, 4, 128, "16-32")
        check_int("VectorIndexConfig.ef_build", self.ef_build, 8, 2000, "40-200")
        check_int("VectorIndexConfig.ef_search", self.ef_search, 8, 4000, "64-256")
        check_int("VectorIndexConfig.n_probe", self.n_probe, 1, 4096, "8-64")
        check_int("VectorIndexConfig.threads", self.threads, 1, 256, "1-2")
        check_int("VectorIndexConfig.flat_below", self.flat_below, 0, 10**9, "50000")
        check_int("VectorIndexConfig.graph_below", self.graph_below, 0, 10**9, "200000")
        check_float("VectorIndexConfig.masked", self.masked, 0.0, 1.0, "0.25")


class VectorIndex:
    """Vectors (n, dim) float32 under int64 ids; inner product.

    >>> index = VectorIndex(2)
    >>> index.add(np.array([5, 8]), np.array([[1, 0], [0, 1]]))
    >>> scores, ids = index.search(np.array([[0.2, 0.9]]), 3)
    >>> ids.tolist()
    [[8, 5, -1]]
    """

    def __init__(
        self, dim: int, kind: str = "auto", config: VectorIndexConfig | None = None
    ) -> None:
        check_int("VectorIndex.dim", dim, 1, 65536, "16-128")
        check(kind in KINDS, "VectorIndex.kind", kind, f"be one of {', '.join(KINDS)}", "auto")
        self.dim, self.kind, self.config = dim, kind, config or VectorIndexConfig()
        self._ids: Array = np.zeros(0, np.int64)
        self._live: Array = np.zeros(0, bool)
        self._rebuild(self._ids, np.zeros((0, dim), np.float32))

    def __len__(self) -> int:
        return self._n_live  # counting a million on each request would cost as much as the search

    @property
    def ids(self) -> Array:
        """(n,) ids that can be found."""
        return np.asarray(self._ids[self._live])

    @property
    def built_kind(self) -> str:
        """What is in use now: flat, ivf or hnsw."""
        return self._built

    @property
    def n_masked(self) -> int:
        """Removed vectors that the index still holds and skips."""
        return len(self._live) - len(self)

    @property
    def nbytes(self) -> int:
        """Bytes of vectors, clusters and graph together."""
        return int(faiss.serialize_index(self._index).nbytes)

    def searching(self, n_probe: int | None = None, ef_search: int | None = None) -> Self:
        """The same index, shared, that looks into more or fewer clusters or nodes. Costs nothing;
        for reading only: what is added to one is not known to the other."""
        other, c = copy.copy(self), self.config
        n_probe, ef_search = n_probe or c.n_probe, ef_search or c.ef_search
        other.config = replace(c, n_probe=n_probe, ef_search=ef_search)
        other._masked()
        return other

    def _kind_for(self, n: int) -> str:
        if self.kind != "auto":
            return self.kind
        if n < self.config.flat_below:
            return "flat"
        return "hnsw" if n < self.config.graph_below else "ivf"

    # -- change -----------------------------------------------------------------------------

    def add(self, ids: Array, vectors: Array) -> None:
        """Add vectors (m, dim) under ids (m,); an id that is held already gets its new vector.

        Raises ``DataError`` for a wrong shape, an id given twice, or NaN.
        """
        ids, vectors = np.asarray(ids, np.int64), self._as_vectors(vectors)
        if len(ids) != len(vectors):
            raise DataError(f"{len(ids)} ids for {len(vectors)} vectors")
        RowLookup(ids, "ids of one add")
        self._mask(ids)
        n = len(self) + len(ids)
        if self._must_rebuild(n):
            held_ids, held = self.held()
            self._rebuild(np.concatenate([held_ids, ids]), np.concatenate([held, vectors]))
            return
        faiss.omp_set_num_threads(self.config.threads)
        self._index.add(vectors)
        self._ids = np.concatenate([self._ids, ids])
        self._live = np.concatenate([self._live, np.ones(len(ids), bool)])
        self._masked()

    def remove(self, ids: Array) -> int:
        """Forget ids; unknown ones are ignored. Returns how many were removed."""
        removed = self._mask(np.asarray(ids, np.int64))
        if removed and self._must_rebuild(len(self)):
            self._rebuild(*self.held())
        return removed

    def _mask(self, ids: Array) -> int:
        hit = np.isin(self._ids, ids) & self._live
        self._live = self._live & ~hit
        self._masked()
        return int(np.count_nonzero(hit))

    def _masked(self) -> None:
        """What a search must skip, as FAISS wants it: one bit a slot."""
        self._n_live = int(np.count_nonzero(self._live))
        self._parameters: Any = None
        if self._built == "ivf":
            self._parameters = faiss.SearchParametersIVF(nprobe=self.config.n_probe)
        elif self._built == "hnsw":
            self._parameters = faiss.SearchParametersHNSW(efSearch=self.config.ef_search)
        if self._n_live == len(self._live):
            return
        bits = np.packbits(self._live, bitorder="little")
        self._selector = faiss.IDSelectorBitmap(bits)
        self._parameters = self._parameters or faiss.SearchParameters()
        self._parameters.sel = self._selector

    def _must_rebuild(self, n: int) -> bool:
        """Another kind suits ``n``, clusters were trained on half as many, or much is dead."""
        if self._kind_for(n) != self._built:
            return True
        if self._built == "ivf" and n > 2 * self._trained_on:
            return True
        limit = 0.0 if self._built == "flat" else self.config.masked
        return self.n_masked > limit * len(self._live)

    def held(self) -> tuple[Array, Array]:
        """Ids (n,) and vectors (n, dim) that can be found."""
        if not len(self._live):
            return self._ids, np.zeros((0, self.dim), np.float32)
        vectors = self._index.reconstruct_n(0, len(self._live))
        return self._ids[self._live], vectors[self._live]

    def _rebuild(self, ids: Array, vectors: Array) -> None:
        config, n = self.config, len(ids)
        faiss.omp_set_num_threads(config.threads)
        self._built = self._kind_for(n)
        metric = faiss.METRIC_INNER_PRODUCT
        if self._built == "flat" or (self._built == "ivf" and not n):
            self._index: Any = faiss.IndexFlatIP(self.dim)
        elif self._built == "hnsw":
            self._index = faiss.IndexHNSWFlat(self.dim, config.m, metric)
            self._index.hnsw.efConstruction = config.ef_build
        else:
            n_list = int(np.clip(2 * np.sqrt(n), 1, max(1, n // 8)))
            quantizer = faiss.IndexFlatIP(self.dim)
            self._index = faiss.IndexIVFFlat(quantizer, self.dim, n_list, metric)
            self._index.cp.min_points_per_centroid = 1
            self._index.cp.max_points_per_centroid, self._index.cp.niter = 64, 10
            self._index.train(vectors)
        self._trained_on = n
        if n:
            self._index.add(vectors)
        self._ids, self._live = ids, np.ones(n, bool)
        self._masked()

    def _as_vectors(self, vectors: Array) -> Array:
        vectors = np.ascontiguousarray(vectors, np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise DataError(f"vectors must have shape (n, {self.dim}), got {vectors.shape}")
        if not np.isfinite(vectors).all():
            raise DataError("vectors must be finite, got NaN or infinity")
        return vectors

    # -- search -----------------------------------------------------------------------------

    def search(self, queries: Array, k: int) -> tuple[Array, Array]:
        """The best ``k`` of each query (B, dim): scores (B, k) float32 and ids (B, k) int64, best
        first; where fewer are found, id -1 and score -inf."""
        check_int("k", k, 1, 10**6, "100")
        queries = self._as_vectors(queries)
        if not len(self):
            shape = (len(queries), k)
            return np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int64)
        faiss.omp_set_num_threads(self.config.threads)
        scores, slots = self._index.search(queries, k, params=self._parameters)
        empty = slots < 0
        if empty.any():
            scores[empty] = -np.inf
            return scores, np.where(empty, -1, self._ids[slots])
        return scores, self._ids[slots]

    # -- keep -------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write ``vectors.faiss``, ``vectors`` and ``vectors.json`` into the folder."""
        save_arrays(folder / "vectors", {"ids": self._ids, "live": self._live})
        faiss.write_index(self._index, str(folder / "vectors.faiss"))
        about = {"dim": self.dim, "kind": self.kind, "built": self._built}
        about |= {"trained_on": self._trained_on, "config": asdict(self.config)}
        (folder / "vectors.json").write_text(json.dumps(about), encoding="utf-8")

    @staticmethod
    def load(folder: Path) -> "VectorIndex":
        """Read what ``save`` wrote. Raises ``DataError`` naming a file that is damaged."""
        try:
            about = json.loads((folder / "vectors.json").read_text(encoding="utf-8"))
            config = VectorIndexConfig(**about["config"])
            index = VectorIndex(about["dim"], about["kind"], config)
            index._built, index._trained_on = about["built"], about["trained_on"]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DataError(f"cannot read {folder / 'vectors.json'}: {error}") from error
        try:
            index._index = faiss.read_index(str(folder / "vectors.faiss"))
        except RuntimeError as error:
            raise DataError(f"cannot read {folder / 'vectors.faiss'}: {error}") from error
        held = Arrays(folder / "vectors")
        index._ids, index._live = held["ids"], held["live"]
        index._masked()
        return index
