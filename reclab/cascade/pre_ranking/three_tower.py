"""Three towers with late crossing: user, item, and a small third one for what the pair has.

    score(u, i) = U(u) · V(i) + b(i) + MLP(z_ui)

z_ui are the numbers of user and item together: exposures to the creator, the match of styles and of
the topics. They cannot be precomputed, so the third tower is kept small; it buys back most of what
a pre-ranker loses against the ranker, at several times the price of a dot product.
Reference: chapter 2, section 2.2 (2); the trade-off as in COLD, DLP-KDD 2020.

Simplified: industry reads the crossed numbers from a cache keyed by user and topic.
"""

import numpy as np
import torch
from torch import Tensor

from reclab.cascade.batch import Batch
from reclab.cascade.pre_ranking.two_tower import PreRanker
from reclab.cascade.ranking.features import Features
from reclab.cascade.ranking.layers import Standardise, mlp, mlp_macs
from reclab.cascade.ranking.ranker import Inputs, NetShape
from reclab.cascade.ranking.statistics import ITEM
from reclab.cascade.ranking.towers import TwoTowerNet
from reclab.cascade.ranking.training import OneThread
from reclab.core.types import Array, Candidates

CROSS = 8  # hidden units of the third tower


class ThreeTowerNet(TwoTowerNet):
    """Two towers, and a third for the columns of ``pair`` behind the item's own."""

    def __init__(self, shape: NetShape, dim: int, hidden: int, item_numbers: int) -> None:
        super().__init__(shape, dim, hidden, item_numbers)
        width = shape.pair_width - item_numbers
        self.cross_scale, self.cross = Standardise(width), mlp([width, CROSS, 1])
        self.macs += mlp_macs([width, CROSS, 1])

    def learn_scales(self, features: Features) -> None:
        super().learn_scales(features)
        self.cross_scale.learn(features.pair[:, self.item_numbers :])

    def crossed(self, pair: Tensor) -> Tensor:
        """(n, Np) numbers of the pair -> (n, 1)."""
        score: Tensor = self.cross(self.cross_scale(pair[:, self.item_numbers :]))
        return score

    def forward(self, x: Inputs) -> Tensor:
        return super().forward(x) + self.crossed(x.pair)


class ThreeTowerPreRanker(PreRanker):
    """The pre-ranker with a third tower; needs as-of numbers."""

    name = "three_tower_pre_ranker"
    net: ThreeTowerNet

    def build(self, shape: NetShape) -> TwoTowerNet:
        width = len(ITEM) if shape.pair_width else 0
        return ThreeTowerNet(shape, self.config.dim, self.config.hidden, width)

    def score(self, batch: Batch, candidates: Candidates) -> Array:
        """(n,) float32 logits of P(long view); only their order matters."""
        dots = super().score(batch, candidates)
        pair = self.features.for_batch(batch, candidates).pair
        with OneThread(), torch.inference_mode():
            return np.asarray(dots + self.net.crossed(torch.from_numpy(pair)).numpy()[:, 0])

    @property
    def macs_per_candidate(self) -> int:
        """Multiply-adds spent on one candidate: the dot product and the third tower."""
        return self.net.macs
