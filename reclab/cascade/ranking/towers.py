"""Two towers: a vector of the request, a vector of the item, and their dot product.

    score(u, i) = U(u) · V(i) + b(i)
    U = A x + MLP(x),  x = [profile, mean of last 5, mean of last L positives, interest, numbers]
    V = B y + MLP(y),  y = [id + author + tags + content, numbers of the item]

The towers meet only in the dot product, so all item vectors can be computed before the request
comes; nothing that belongs to the pair can enter. Retrieval and pre-ranking share this network;
they differ in what it is asked to learn.
Reference: Yi, Yang, Hong et al., Sampling-Bias-Corrected Neural Modeling, RecSys 2019.

Simplified: industry recomputes item vectors as a stream and keeps several versions at once.
"""

import torch
from torch import Tensor, nn

from reclab.cascade.batch import Batch
from reclab.cascade.ranking.features import Features
from reclab.cascade.ranking.layers import Standardise, mlp, mlp_macs
from reclab.cascade.ranking.ranker import Inputs, NetShape, Ranker, RankerNet
from reclab.cascade.ranking.training import OneThread
from reclab.core.types import Array, Candidates

RECENT = 5
"""latest positives that stand for the mood of the moment (items)"""


class Tower(nn.Module):
    """A linear map plus a small MLP: the line is learned fast, the rest bends it."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        super().__init__()
        self.line = nn.Linear(width, out)
        self.bend = mlp([width, hidden, out])
        self.macs = width * out + mlp_macs([width, hidden, out])

    def forward(self, x: Tensor) -> Tensor:
        both: Tensor = self.line(x) + self.bend(x)
        return both


class TwoTowerNet(RankerNet):
    """``item_numbers``: how many leading columns of ``pair`` describe the item alone."""

    def __init__(
        self, shape: NetShape, dim: int, hidden: int, item_numbers: int, unit: bool = False
    ) -> None:
        super().__init__(shape, dim)
        self.item_numbers, self.unit = item_numbers, unit
        self.item_scale = Standardise(item_numbers)
        self.user_tower = Tower(3 * dim + shape.request_width, hidden, dim)
        self.item_tower = Tower(dim + item_numbers, hidden, dim + 1)
        self.macs = dim + 1

    def users(self, x: Inputs) -> Tensor:
        """(B, dim + 1) vectors of the requests; the last entry, 1, meets the item's bias."""
        past, there = self.items(x.history), x.history >= 0  # "no item" is the zero vector
        lately = past[:, -RECENT:].sum(1) / there[:, -RECENT:].sum(1, keepdim=True).clamp(min=1)
        always = past.sum(1) / there.sum(1, keepdim=True).clamp(min=1)
        profile = self.embed.user_vector(x.user)
        vectors = self.user_tower(
            torch.cat([profile, lately, always, self.request_scale(x.request)], 1)
        )
        if self.unit:
            vectors = nn.functional.normalize(vectors, dim=1)
        return torch.cat([vectors, torch.ones_like(vectors[:, :1])], 1)

    def item_vectors(self, rows: Tensor, numbers: Tensor) -> Tensor:
        """(n, dim + 1) vectors of items with their numbers (n, item_numbers)."""
        vectors: Tensor = self.item_tower(
            torch.cat([self.items(rows), self.item_scale(numbers)], 1)
        )
        if self.unit:
            body = nn.functional.normalize(vectors[:, :-1], dim=1)
            vectors = torch.cat([body, vectors[:, -1:]], 1)
        return vectors

    def learn_scales(self, features: Features) -> None:
        super().learn_scales(features)
        self.item_scale.learn(features.pair[:, : self.item_numbers])

    def forward(self, x: Inputs) -> Tensor:
        """(n, 1) scores of every candidate."""
        vectors = self.item_vectors(x.item_row, x.pair[:, : self.item_numbers])
        return self.meet(self.users(x)[x.request_row], vectors)

    def meet(self, users: Tensor, vectors: Tensor) -> Tensor:
        """(n, d) and (n, d), row by row -> (n, 1)."""
        return (users * vectors).sum(1, keepdim=True)


class TwoTowerModel(Ranker):
    """What retrieval and pre-ranking by two towers share: the request's side."""

    net: TwoTowerNet

    def users(self, batch: Batch) -> Array:
        """(B, dim + 1) vectors of the requests."""
        asked = self.features.for_batch(batch, Candidates.empty(len(batch)))
        with OneThread(), torch.inference_mode():
            vectors: Array = self.net.users(Inputs.of(asked)).numpy()
        return vectors
