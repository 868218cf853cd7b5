"""Embedding retrieval (双塔召回): items whose vector has the largest inner product with the user's.

    loss = -sum_r ln softmax_j( (U(u_r) · V(i_j) + b_j) / T - ln q_j )[r]
    q_j  = n_batch p_j + n_drawn / N,   p_j = share of j among the positives

A positive must be told apart from the other positives of its minibatch and from items drawn
uniformly from the catalogue, without which nothing would push down what nobody was ever shown.
Popular items are in many minibatches and would be pushed down as everybody's negative; taking
ln q_j off corrects for it. An item published after training has no id vector, but its author, tags
and content give it a vector all the same. Search is FAISS, exact or approximate by size.
References: Yi, Yang, Hong et al., Sampling-Bias-Corrected Neural Modeling, RecSys 2019; Yang, Yi,
Cheng et al., Mixed Negative Sampling, WWW 2020.

Simplified: industry estimates q_j on the stream and refreshes the vectors every few minutes.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reclab.cascade.batch import Batch
from reclab.cascade.ranking.features import FeatureBuilder
from reclab.cascade.ranking.ranker import Inputs, NetShape
from reclab.cascade.ranking.towers import TwoTowerModel, TwoTowerNet
from reclab.cascade.ranking.training import (
    OneThread,
    Progress,
    Samples,
    TrainConfig,
    train,
    training_samples,
)
from reclab.core.chance import rng
from reclab.core.errors import NotBuilt, check_float, check_int
from reclab.core.tables import Logs
from reclab.core.types import Array
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
    n_drawn: int = 512
    """items drawn uniformly as negatives of a step (0 … 8192)"""
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            epochs=1, batch_rows=512, max_rows=150_000, learning_rate=6e-3, negatives="exposed"
        )
    )

    def __post_init__(self) -> None:
        check_int("TwoTowerConfig.dim", self.dim, 1, 1024, "32")
        check_int("TwoTowerConfig.hidden", self.hidden, 1, 4096, "64")
        check_int("TwoTowerConfig.n_drawn", self.n_drawn, 0, 1_000_000, "1024")
        check_float("TwoTowerConfig.temperature", self.temperature, 1e-3, 100.0, "0.1")


class TwoTowerChannel(TwoTowerModel):
    """The channel: ``fit`` once, ``retrieve`` for any batch."""

    name = "two_tower"
    Config = TwoTowerConfig
    config: TwoTowerConfig

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
        config = self.config.train
        samples = training_samples(positives(logs), features, config, until_ms)
        samples.check(features.names)
        learn, valid = samples.split(config.valid_share)
        self.targets = ("p_click",)
        self._start(features, config.seed)
        self.net.learn_scales(learn.features)
        n_items, rows_a_step = len(features.index), min(config.batch_rows, len(learn))
        share = np.bincount(learn.features.item_row, minlength=n_items) / len(learn)
        in_batch = rows_a_step * share + self.config.n_drawn / n_items
        log_q = torch.from_numpy(np.log(np.maximum(in_batch, 1e-9)).astype(np.float32))
        chance = rng(config.seed, "drawn")

        def loss_of(requests: Array) -> Tensor:
            return self._softmax_loss(learn.take(requests), log_q, chance)

        def validate() -> float:
            step = np.arange(min(rows_a_step, len(valid.features.user)))
            with torch.inference_mode():
                return -float(self._softmax_loss(valid.take(step), log_q, rng(0, "valid")))

        n = len(learn.features.user)
        self.history = train(self.net, n, len(learn), loss_of, validate, config, progress)
        self.refresh()
        return self

    def _softmax_loss(self, samples: Samples, log_q: Tensor, chance: np.random.Generator) -> Tensor:
        """Cross entropy of each positive against the others and the drawn items."""
        x = Inputs.of(samples.features)
        n, n_items = len(x.item_row), len(log_q)
        drawn = torch.from_numpy(chance.integers(0, n_items, self.config.n_drawn))
        items = torch.cat([x.item_row, drawn])
        vectors = self.net.item_vectors(items, x.pair.new_zeros((len(items), 0)))
        logits = self.net.users(x)[x.request_row] @ vectors.T / self.config.temperature
        same = x.item_row[:, None] == items
        mine = x.request_row[:, None] == torch.cat([x.request_row, drawn.new_full(drawn.shape, -1)])
        other = torch.ones((n, len(items)), dtype=torch.bool).fill_diagonal_(False)
        logits = (logits - log_q[items]).masked_fill((same | mine) & other, -1e9)
        return F.cross_entropy(logits, torch.arange(n))

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

    def save(self, folder: Path) -> None:
        """Write the weights and the index of the item vectors."""
        super().save(folder)
        self.vectors.save(folder / "two_tower")

    def restore(self, folder: Path, features: FeatureBuilder) -> Self:
        super().restore(folder, features)
        self.vectors = VectorIndex.load(folder / "two_tower")
        return self


def positives(logs: Logs) -> Logs:
    """The same logs with the interactions to be retrieved: long views, or else positives."""
    shown = logs.interactions
    liked = shown["is_long_view"] if "is_long_view" in shown else logs.positive
    return replace(logs, interactions=shown.take(np.flatnonzero(liked)))
