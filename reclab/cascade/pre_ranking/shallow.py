"""A shallow network as pre-ranker: a hidden layer beside the dot product, its halves precomputed.

    score(u, i) = U(u) · V(i) + b(i) + w · relu(U(u) + V(i))     (U once a request, V ahead of time)

A dot product can only say "alike"; a hidden layer can add "alike, unless". The layer alone, without
the dot product, is worse than the dot product alone: a sum of 32 bent lines makes a poor product.
Reference: Wang, Zhao, Jiang, Zhou, Zhu, Gai, COLD: Towards the Next Generation of Pre-Ranking
System, DLP-KDD 2020.

Simplified: industry also feeds a few crossed numbers, chosen by what they cost.
"""

import numpy as np
import torch
from torch import Tensor, nn

from reclab.cascade.pre_ranking.two_tower import PreRanker
from reclab.cascade.ranking.ranker import NetShape
from reclab.cascade.ranking.statistics import ITEM
from reclab.cascade.ranking.towers import TwoTowerNet
from reclab.cascade.ranking.training import OneThread
from reclab.core.types import Array


class ShallowNet(TwoTowerNet):
    """Two towers that meet in a dot product and in a hidden layer."""

    def __init__(self, shape: NetShape, dim: int, hidden: int, item_numbers: int) -> None:
        super().__init__(shape, dim, hidden, item_numbers)
        self.out = nn.Linear(dim + 1, 1)
        self.macs = 3 * (dim + 1)

    def meet(self, users: Tensor, vectors: Tensor) -> Tensor:
        """(n, d), (n, d) -> (n, 1)."""
        score: Tensor = super().meet(users, vectors) + self.out(torch.relu(users + vectors))
        return score


class ShallowPreRanker(PreRanker):
    """The pre-ranker with a hidden layer."""

    name = "shallow_pre_ranker"
    net: ShallowNet

    def build(self, shape: NetShape) -> TwoTowerNet:
        width = len(ITEM) if shape.pair_width else 0
        return ShallowNet(shape, self.config.dim, self.config.hidden, width)

    def meet(self, users: Array, request_row: Array, item_row: Array) -> Array:
        """Vectors of the requests (B, d) and their candidates (n,) -> (n,) scores."""
        found = torch.from_numpy(self.stored.rows(item_row))
        mine = torch.from_numpy(users.take(request_row, 0))
        with OneThread(), torch.inference_mode():
            return np.asarray(self.net.meet(mine, found).numpy()[:, 0])
