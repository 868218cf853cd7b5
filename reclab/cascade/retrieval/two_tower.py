"""Embedding retrieval (双塔召回): items whose vector has the largest inner product with the user's.

    loss = -sum_r ln softmax_j( (U(u_r) · V(i_j) + b_j) / T - ln q_j )[r],   j over the batch

A positive must be told apart from the other positives of its minibatch. Popular items are in many
minibatches, with chance q_j proportional to their positives, and would be pushed down as
everybody's negative; taking ln q_j off corrects for it. Later positives weigh as much as earlier
ones. An item published after training has no id vector, but its author, tags and content give it a
vector all the same. Search is FAISS, exact or approximate by size.
Reference: Yi, Yang, Hong et al., Sampling-Bias-Corrected Neural Modeling, RecSys 2019.

Simplified: industry estimates q_j on the stream and mixes in negatives from the whole catalogue.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reclab.cascade.batch import Batch
from reclab.cascade.ranking.features import FeatureBuilder
from reclab.cascade.ranking.ranker import Inputs, NetShape, Ranker
from reclab.cascade.ranking.towers import TwoTowerNet
from reclab.cascade.ranking.training import (
    OneThread,
    Progress,
    Samples,
    TrainConfig,
    train,
    training_samples,
)
from reclab.core.errors import NotBuilt, check_float, check_int
from reclab.core.tables import Logs
from reclab.core.types import Array, Candidates
from reclab.stores.vector_index import VectorIndex


@dataclass(frozen=True)
class TwoTowerConfig:
    """Sizes of the towers, and how they are trained."""

    dim: int = 32
    """length of the vectors (8 … 128)"""
    hidden: int = 64
    """hidden units of each tower (16 … 256)"""
    temperature: float = 0.1
    """T: the lower, the more the nearest negatives matter (0.02 … 1)"""
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(batch_rows=1024, negatives="exposed")
    )

    def __post_init__(self) -> None:
        check_int("TwoTowerConfig.dim", self.dim, 1, 1024, "32")
        check_int("TwoTowerConfig.hidden", self.hidden, 1, 4096, "64")
        check_float("TwoTowerConfig.temperature", self.temperature, 1e-3, 100.0, "0.1")


class TwoTowerChannel(Ranker):
    """The channel: ``fit`` once, ``retrieve`` for any batch."""

    name = "two_tower"
    config: TwoTowerConfig

    def __init__(self, config: TwoTowerConfig | None = None) -> None:
        super().__init__(config or TwoTowerConfig())

    def build(self, shape: NetShape) -> TwoTowerNet:
        return TwoTowerNet(shape, self.config.dim, self.config.hidden, 0, unit=True)

    def fit(
        self,
        logs: Logs,
        features: FeatureBuilder,
        until_ms: int | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Learn from the positives before ``until_ms`` and index the vectors of all items."""
        liked = positives(logs)
        samples = training_samples(liked, features, self.config.train, until_ms)
        samples.check(features.names)
        learn, valid = samples.split(self.config.train.valid_share)
        self.targets = ("p_click",)
        self._start(features, self.config.train.seed)
        self.net.learn_scales(learn.features)
        counts = np.bincount(learn.features.item_row, minlength=len(features.index))
        log_q = torch.from_numpy(np.log((counts + 1.0) / (counts.sum() + len(counts))))
        log_q = log_q.float()

        def loss_of(requests: Array) -> Tensor:
            return self._softmax_loss(learn.take(requests), log_q)

        def validate() -> float:
            rows = valid.take(np.arange(min(1000, len(valid.features.user))))
            with torch.inference_mode():
                return -float(self._softmax_loss(rows, log_q))

        n, config = len(learn.features.user), self.config.train
        self.history = train(self.net, n, len(learn), loss_of, validate, config, progress)
        self.refresh()
        return self

    def _softmax_loss(self, samples: Samples, log_q: Tensor) -> Tensor:
        x = Inputs.of(samples.features)
        users = self.net.users(x)[x.request_row]
        vectors = self.net.item_vectors(x.item_row, x.pair[:, :0])
        logits = users @ vectors.T / self.config.temperature - log_q[x.item_row]
        same = x.item_row[:, None] == x.item_row
        mine = x.request_row[:, None] == x.request_row
        other = ~torch.eye(len(same), dtype=torch.bool)
        logits = logits.masked_fill((same | mine) & other, -1e9)
        return F.cross_entropy(logits, torch.arange(len(same)))

    def refresh(self) -> None:
        """Compute and index the vectors of all items that are in the forward index now."""
        features = self.features
        if features.version != features.index.version:
            features.refresh()
        self.net.set_items(features.item_codes)
        rows = torch.arange(len(features.index))
        with OneThread(), torch.inference_mode():
            vectors = self.net.item_vectors(rows, torch.zeros((len(rows), 0))).numpy()
        self.vectors = VectorIndex(vectors.shape[1])
        self.vectors.add(np.arange(len(vectors)), vectors)

    def retrieve(self, batch: Batch, k: int) -> tuple[Array, Array]:
        """(B, k) item rows, best first, padded with -1, and their scores (B, k)."""
        if not self.targets:
            raise NotBuilt("TwoTowerChannel.retrieve before fit or load")
        if len(self.vectors) < len(self.features.index):
            self.refresh()
        scores, rows = self.vectors.search(self.users(batch), k)
        return rows, scores

    def users(self, batch: Batch) -> Array:
        """(B, dim + 1) vectors of the requests."""
        asked = self.features.for_batch(batch, Candidates.empty(len(batch)))
        with OneThread(), torch.inference_mode():
            vectors: Array = self.net.users(Inputs.of(asked)).numpy()
        return vectors

    def restore(self, folder: Path, features: FeatureBuilder) -> Self:
        super().restore(folder, features)
        self.refresh()
        return self


def positives(logs: Logs) -> Logs:
    """The same logs with positive interactions only."""
    liked = logs.interactions.take(logs.positive)
    return Logs(logs.users, logs.items, liked, logs.daily, logs.feedback, logs.tag_names)
