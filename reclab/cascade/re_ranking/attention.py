"""Attention over a list: each card is scored in the light of the cards before it.

    whole:    softmax_j( q_i k_j / sqrt d ) v_j                       over the card itself and those
                                                                      before it
    related:  sum_j  R_ij sigma( q_i k_j / sqrt d ) v_j               over those before it, for each
                                                                      of the three relations R
    out_i  =  MLP(x_i + whole + related) + w [g_i, place_i, sum_j R_ij]

A softmax says what the list before a card is like on average; the related heads add up, so that
the fourth card of a topic can be told from the second.
References: Vaswani et al. 2017; relations in attention, Shaw et al. 2018; sums instead of
averages, Zhou et al. (DIN), KDD 2018; over the candidates, Pei et al. (PRM), RecSys 2019.
Simplified: industry stacks blocks and feeds the ranker's vectors of user and item.
"""

import numpy as np
import torch
from torch import Tensor, nn

from reclab.cascade.re_ranking.cards import RELATIONS, Cards, ScoreScale, relations
from reclab.core.types import Array

FAR = 10
"""places beyond this one count alike (cards)"""


class ListAttention(nn.Module):
    """One block: (B, n, d) -> (B, n, d)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        n_heads = 1 + len(RELATIONS)
        self.dim, self.n_heads = dim, n_heads
        self.q, self.k, self.v = (nn.Linear(dim, n_heads * dim) for _ in range(3))
        self.join = nn.Linear(n_heads * dim, dim)
        self.feed = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim)
        )

    def forward(self, x: Tensor, alike: Tensor, before: Tensor) -> Tensor:
        """``alike`` (B, 3, n, n) relations of card i (first n) to the cards j before it, else 0;
        ``before`` (B, n, n): j is before i or is i."""
        b, n, _ = x.shape
        q, k, v = (m(x).view(b, n, self.n_heads, self.dim).transpose(1, 2) for m in self._maps())
        q, k = q / self.dim**0.5, k.transpose(2, 3)
        whole = (q[:, 0] @ k[:, 0]).masked_fill(~before, -1e9).softmax(-1)
        related = (q[:, 1:] @ k[:, 1:]).sigmoid() * alike
        heads = torch.cat([(whole @ v[:, 0])[:, None], related @ v[:, 1:]], 1)
        x = x + self.join(heads.transpose(1, 2).reshape(b, n, -1))
        fed: Tensor = x + self.feed(x)
        return fed

    def _maps(self) -> tuple[nn.Module, nn.Module, nn.Module]:
        return self.q, self.k, self.v


class ListNet(nn.Module):
    """Cards in an order -> ``n_outputs`` numbers a card, each seeing itself and what is before.
    Without ``level`` there is neither a constant nor the place, for losses and lists in which only
    the cards of one list are compared."""

    def __init__(self, dim: int, n_outputs: int, blocks: int = 1, level: bool = True) -> None:
        super().__init__()
        self.level, width = level, 1 + level + len(RELATIONS)
        self.scale = ScoreScale()
        self.enter = nn.Linear(width, dim)
        self.blocks = nn.ModuleList(ListAttention(dim) for _ in range(blocks))
        self.out = nn.Sequential(
            nn.LayerNorm(dim, bias=level), nn.Linear(dim, n_outputs, bias=level)
        )
        # what is known to matter acts at once and in line; attention learns the rest
        self.direct = nn.Linear(width, n_outputs, bias=False)
        with torch.no_grad():
            self.out[1].weight.mul_(0.1)
            self.direct.weight.zero_()
            self.direct.weight[:, 0] = 1.0

    def forward(self, cards: Cards, place: Array) -> Tensor:
        """(B, n, n_outputs) for cards that stand at ``place`` (B, n), each place once."""
        at = torch.from_numpy(place)
        real = torch.from_numpy(cards.real)
        earlier = (at[:, None, :] < at[:, :, None]) & real[:, None, :]
        alike = relations(cards) * (earlier / FAR)[:, None]
        g = self.scale(cards.score)[..., None]
        near = [at.clamp(max=FAR).float()[..., None] / FAR] * self.level
        x = torch.cat([g, *near, alike.sum(3).transpose(1, 2)], 2)
        before = earlier | torch.eye(x.shape[1], dtype=torch.bool)
        hidden = self.enter(x)
        for block in self.blocks:
            hidden = block(hidden, alike, before)
        out: Tensor = self.out(hidden) + self.direct(x)
        return out

    def macs(self, n: int) -> int:
        """Multiply-adds for one list of ``n`` cards."""
        dim = self.enter.out_features
        heads = 1 + len(RELATIONS)
        return len(self.blocks) * (n * dim * dim * (4 * heads + 4) + 2 * heads * n * n * dim)


def in_order(cards: Cards) -> Array:
    """(B, n) places of cards that already stand in order."""
    return np.broadcast_to(np.arange(cards.score.shape[1]), cards.score.shape).copy()
