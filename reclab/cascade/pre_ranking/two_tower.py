"""Pre-ranking by two towers: a dot product a candidate, so that thousands can be scored.

    score(u, i) = U(u) · V(i) + b(i),   learned as the logit of P(long view | shown to u)

V is computed for the whole catalogue ahead of time, from the item's fields and its counters as of
then, and kept in 4, 2 or 1 bytes a number (precision.py). Trained like a ranker, on exposed rows,
it judges quality as well as taste; the retrieval tower only asks which item a positive came from.
Unlike the ranker it sees nothing of the pair: two stages with one score would make the size of the
first irrelevant.
Reference: chapter 2, section 2.2 (2); Covington, Adams, Sargin, RecSys 2016.

Simplified: industry refreshes the vectors every few minutes.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch

from reclab.cascade.batch import Batch
from reclab.cascade.pre_ranking.precision import PRECISIONS, StoredVectors
from reclab.cascade.ranking.features import FeatureBuilder
from reclab.cascade.ranking.ranker import NetShape, Ranker, main_target
from reclab.cascade.ranking.statistics import ITEM
from reclab.cascade.ranking.towers import TwoTowerModel, TwoTowerNet
from reclab.cascade.ranking.training import (
    OneThread,
    Progress,
    Samples,
    TrainConfig,
    training_samples,
)
from reclab.core.errors import NotBuilt, check, check_int
from reclab.core.tables import Logs
from reclab.core.types import Array, Candidates
from reclab.stores.arrays import Arrays, save_arrays

PART = 65_536  # items whose vectors are computed at a time: bounds the memory


@dataclass(frozen=True)
class PreRankerConfig:
    """Sizes of the towers, and how they are trained."""

    dim: int = 32
    """length of the vectors (8 … 128)"""
    hidden: int = 64
    """hidden units of each tower (16 … 256)"""
    precision: str = "float32"
    """of the item vectors: float32, float16, int8"""
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            epochs=1, learning_rate=4e-3, weight_decay=1e-5, negatives="exposed"
        )
    )

    def __post_init__(self) -> None:
        check_int("PreRankerConfig.dim", self.dim, 1, 1024, "32")
        check_int("PreRankerConfig.hidden", self.hidden, 1, 4096, "64")
        among = f"be one of {', '.join(PRECISIONS)}"
        known = self.precision in PRECISIONS
        check(known, "PreRankerConfig.precision", self.precision, among, "float32")


class PreRanker(TwoTowerModel):
    """Dot product of a request's vector and precomputed item vectors."""

    name = "pre_ranker"
    Config = PreRankerConfig
    config: PreRankerConfig

    def build(self, shape: NetShape) -> TwoTowerNet:
        width = len(ITEM) if shape.pair_width else 0
        return TwoTowerNet(shape, self.config.dim, self.config.hidden, width)

    def choose(self, known: Iterable[str]) -> tuple[str, ...]:
        return (main_target(known),)

    def fit(
        self,
        logs: Logs,
        features: FeatureBuilder,
        until_ms: int | None = None,
        progress: Progress | None = None,
        teacher: Ranker | None = None,
    ) -> Self:
        """Learn from the interactions before ``until_ms``; then all item vectors as of it.

        With a ``teacher`` the labels are a ranker's predictions for the same rows (distillation):
        finer than what happened once, and known for items that were never shown."""
        samples = training_samples(logs, features, self.config.train, until_ms)
        self.fit_samples(distilled(samples, teacher) if teacher else samples, features, progress)
        now_ms = int(logs.interactions["time_ms"][-1]) + 1 if until_ms is None else until_ms
        return self.refresh(now_ms)

    def refresh(self, now_ms: int) -> Self:
        """Compute the vectors of all items in the index, with their counters as of ``now_ms``."""
        features = self.features
        if features.version != features.index.version:
            features.refresh()
        self.net.set_items(features.item_codes)
        every = np.arange(len(features.index))
        parts = np.split(every, range(PART, len(every), PART))
        vectors = np.concatenate([self._vectors_of(rows, now_ms) for rows in parts])
        self.now_ms = now_ms
        self.stored = StoredVectors.of(vectors, self.config.precision)
        return self

    def _vectors_of(self, rows: Array, now_ms: int) -> Array:
        """(n, dim + 1) vectors of some items, with their counters as of ``now_ms``."""
        numbers = np.zeros((len(rows), 0), np.float32)
        if self.features.config.with_statistics:
            numbers = self.features.statistics.of_items(rows, np.full(len(rows), now_ms))
        with OneThread(), torch.inference_mode():
            vectors = self.net.item_vectors(torch.from_numpy(rows), torch.from_numpy(numbers))
        return np.asarray(vectors.numpy())

    @property
    def vectors(self) -> Array:
        """(N, d) the item vectors as they are stored."""
        return self.stored.values

    def with_precision(self, precision: str) -> Self:
        """A copy whose item vectors take fewer bytes; towers and weights are shared."""
        other = copy.copy(self)
        other.config = replace(self.config, precision=precision)
        every = self.stored.rows(np.arange(len(self.stored)))
        other.stored = StoredVectors.of(every, precision)
        return other

    def score(self, batch: Batch, candidates: Candidates) -> Array:
        """(n,) float32 logits of P(long view); only their order matters."""
        if not self.targets:
            raise NotBuilt("PreRanker.score before fit or load")
        if len(self.stored) < len(self.features.index):
            self.refresh(self.now_ms)
        return self.meet(self.users(batch), candidates.request_row, candidates.item_row)

    def meet(self, users: Array, request_row: Array, item_row: Array) -> Array:
        """Vectors of the requests (B, d) and their candidates (n,) -> (n,) scores."""
        return self.stored.dots(users, request_row, item_row)

    @property
    def macs_per_candidate(self) -> int:
        """Multiply-adds spent on one candidate: what happens where the towers meet."""
        return self.net.macs

    def save(self, folder: Path) -> None:
        """Write the weights, the item vectors, and the time as of which these are."""
        super().save(folder)
        held = {"now_ms": np.array(self.now_ms), "vectors": self.vectors}
        held["scale"] = self.stored.scale
        save_arrays(folder / self.name, held)

    def restore(self, folder: Path, features: FeatureBuilder) -> Self:
        super().restore(folder, features)
        held = Arrays(folder / self.name)
        self.now_ms = int(held["now_ms"])
        self.stored = StoredVectors(held["vectors"], held["scale"])
        wanted = self.config.precision
        return self if self.stored.precision == wanted else self.with_precision(wanted)


def distilled(samples: Samples, teacher: Ranker, chunk: int = 2000) -> Samples:
    """The same rows, labelled with what the teacher predicts for them, ``chunk`` requests at a
    time, which bounds the memory of the teacher."""
    f, requests = samples.features, np.arange(len(samples.features.user))
    parts = np.split(requests, range(chunk, len(requests), chunk))
    said = [teacher.score_features(f.take(part)) for part in parts]
    known = [name for name in samples.targets if name in said[0]]
    targets = {name: np.concatenate([one[name] for one in said]) for name in known}
    return replace(samples, targets=targets)
