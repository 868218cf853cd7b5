"""Two towers: a vector of the request, a vector of the item, and their dot product.

    score(u, i) = U(u) · V(i) + b(i) + c_0 s_u · v_i + (sum_k c_k g_uk) · w_i
    U = A x + MLP(x),  x = [profile, mean of last 5, mean of last L positives, interest, numbers]
    V = B y + MLP(y),  y = [id + author + tags + content, numbers of the item]

s_u, v_i are the style vectors of factors.py, g_uk the user's interests by tag (lift, …, taste) and
w_i the item's tag weights; the c are learned (pre-ranking only). The towers meet only in the dot
product, so all item vectors can be computed before the request comes. Retrieval and pre-ranking
share this network; they differ in what it is asked to learn.
Reference: Yi, Yang, Hong et al., Sampling-Bias-Corrected Neural Modeling, RecSys 2019.

Simplified: industry recomputes item vectors as a stream and keeps several versions at once.
"""

import torch
from torch import Tensor, nn

from reclab.cascade.ranking.features import Features
from reclab.cascade.ranking.layers import Standardise, mlp, mlp_macs
from reclab.cascade.ranking.ranker import Inputs, NetShape, RankerNet
from reclab.cascade.ranking.statistics import STYLE

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
        # towers would have to find these matches by many steps; here they start with them
        n_matches = shape.pair_width - STYLE if item_numbers else 0
        self.match = nn.Parameter(torch.full((n_matches,), 0.3))
        self.user_tower = Tower(3 * dim + shape.request_width, hidden, dim)
        self.item_tower = Tower(dim + item_numbers, hidden, dim + 1)
        self.macs = dim + 1

    def users(self, x: Inputs) -> Tensor:
        """(B, dim + 1) vectors of the requests; the last entry, 1, meets the item's bias."""
        past, mask = self.items(x.history), (x.history >= 0).float()[..., None]
        lately = (past[:, -RECENT:] * mask[:, -RECENT:]).sum(1)
        lately = lately / mask[:, -RECENT:].sum(1).clamp(min=1.0)
        always = (past * mask).sum(1) / mask.sum(1).clamp(min=1.0)
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
        scores: Tensor = (self.users(x)[x.request_row] * vectors).sum(1, keepdim=True)
        if len(self.match):
            scores = scores + x.pair[:, STYLE:] @ self.matches()[:, None]
        return scores

    def matches(self) -> Tensor:
        """(5,) weights c of the style's match and of the four interests by tag."""
        weights: Tensor = self.match / self.pair_scale.std[STYLE:]
        return weights
