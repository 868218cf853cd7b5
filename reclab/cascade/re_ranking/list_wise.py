"""List-wise model (列表级学习排序): re-scores every candidate in the context of the others.

    x_i    = [g_i, how much of i's category, creator and tags those before it have]
    s      = attention over the list (``attention.py``), one number a candidate
    loss   = - sum over the cards of a logged page of  y_i / sum y · ln softmax(s)_i

The page is learned as a whole: its softmax asks which of its cards were liked, given the cards
before each. In serving the candidates stand in the order of their scores, so that the fourth best
of a topic knows that three are before it, and the list is the order of s. One pass, no search.
References: Pei et al., Personalized Re-ranking for Recommendation (PRM), RecSys 2019; the loss, Cao
et al. (ListNet), ICML 2007; Pang et al. (SetRank), SIGIR 2020.
Simplified: PRM stacks blocks over the ranker's hidden vectors; here it has scores and relations,
and learns from pages of six what it says of a hundred: deep repetition is extrapolated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reclab.cascade.ranking.training import OneThread, shorten_steps
from reclab.cascade.re_ranking.attention import ListNet, in_order
from reclab.cascade.re_ranking.cards import Cards, places
from reclab.cascade.re_ranking.learned import Saved
from reclab.cascade.re_ranking.mmr import Lists, mmr_batch
from reclab.cascade.re_ranking.windows import Rule
from reclab.core.chance import rng
from reclab.core.errors import DataError, check_float, check_int
from reclab.core.types import Array

LAST = -1000.0  # of a candidate without a finite score


@dataclass(frozen=True)
class Pages:
    """Logged pages: ``cards`` (B, K) in the order shown, ``gain`` (B, K) what each won (a click, a
    long view; 0 … 1), ``left`` (B, K) whether the user left after it; NaN = not known."""

    cards: Cards
    gain: Array
    left: Array

    def __len__(self) -> int:
        return len(self.cards)

    def take(self, rows: Array) -> "Pages":
        """Some of the pages."""
        return Pages(self.cards.take(rows), self.gain[rows], self.left[rows])


@dataclass(frozen=True)
class ListWiseConfig:
    """Sizes of the network, and how it is trained."""

    dim: int = 16
    """length of a card's vector (8 … 64)"""
    blocks: int = 1
    """attention blocks (1 … 4)"""
    epochs: int = 4
    """passes over the pages (1 … 20)"""
    batch_pages: int = 256
    """pages in a step (32 … 4096)"""
    learning_rate: float = 5e-3
    """Adam's first step size, falling to a tenth (1e-4 … 1e-2)"""
    seed: int = 0
    """of initial weights and order"""

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_int(f"{name}.dim", self.dim, 1, 1024, "16")
        check_int(f"{name}.blocks", self.blocks, 1, 32, "1-2")
        check_int(f"{name}.epochs", self.epochs, 1, 1000, "4")
        check_int(f"{name}.batch_pages", self.batch_pages, 1, 1_000_000, "256")
        check_float(f"{name}.learning_rate", self.learning_rate, 1e-7, 1.0, "5e-3")


class ListWise(Saved):
    """The model: ``fit`` on logged pages, ``lists`` for any candidates."""

    config: ListWiseConfig
    name, Config = "list_wise", ListWiseConfig

    def build(self) -> ListNet:
        """The untrained network."""
        return ListNet(self.config.dim, 1, self.config.blocks, level=False)

    def fit(self, pages: Pages) -> Self:
        """Learn from pages of which some cards won and others did not. Raises ``DataError`` when
        there is none."""
        gain = np.nan_to_num(pages.gain) * pages.cards.real
        n_real = pages.cards.real.sum(1)
        tells = (gain.max(1, initial=0) > 0) & (n_real > 1) & (gain.sum(1) < n_real)
        if not tells.any():
            raise DataError("ListWise.fit: no page has both a card that won and one that did not")
        pages = pages.take(np.flatnonzero(tells))
        self.start()
        self.net.scale.learn(pages.cards.score)
        self.learned = descend(
            self.net, pages, lambda part: page_loss(self.net, part), self.config, "list-wise"
        )
        return self

    def score(self, cards: Cards) -> Array:
        """(B, n) float32 scores in the context of the list; -inf where there is no candidate."""
        with OneThread(), torch.inference_mode():
            parts = [cards.take(rows) for rows in cards.blocks()]
            out = torch.cat([self.net(part, places(part.score))[..., 0] for part in parts]).numpy()
        out = np.where(np.isfinite(cards.score), out, np.float32(LAST))
        return np.where(cards.real, out, -np.inf).astype(np.float32)

    def lists(self, cards: Cards, wanted: Array, rules: Sequence[Rule] = ()) -> Lists:
        """The candidates in the order of the new scores, under the windows."""
        none = np.zeros((*cards.score.shape, 0), np.float32)
        return mmr_batch(self.score(cards), none, wanted, 1.0, rules)

    def macs(self, n: int, k: int) -> int:
        """Multiply-adds of one list."""
        return int(self.net.macs(n))


def page_loss(net: ListNet, pages: Pages) -> Tensor:
    """Cross entropy of the page's scores against the share of its gain that each card won."""
    out = net(pages.cards, in_order(pages.cards))[..., 0]
    gain = torch.from_numpy(np.nan_to_num(pages.gain).astype(np.float32))
    out = out.masked_fill(~torch.from_numpy(pages.cards.real), -1e9)
    share = gain / gain.sum(1, keepdim=True).clamp(min=1e-6)
    return F.cross_entropy(out, share)


def descend(
    net: ListNet, pages: Pages, loss_of: Callable[[Pages], Tensor], config: Any, purpose: str
) -> list[float]:
    """Adam over shuffled pages; the mean loss of each epoch. ``config`` has ``epochs``,
    ``batch_pages``, ``learning_rate``, ``seed``."""
    n, size = len(pages), config.batch_pages
    n_steps = -(-n // size)
    adam = torch.optim.Adam(net.parameters(), config.learning_rate)
    losses = []
    net.train()
    with OneThread():
        for epoch in range(config.epochs):
            order, total = rng(config.seed, purpose, epoch).permutation(n), 0.0
            for step in range(n_steps):
                done = (epoch * n_steps + step) / (config.epochs * n_steps)
                shorten_steps(adam, config.learning_rate, done)
                loss = loss_of(pages.take(order[step * size : (step + 1) * size]))
                adam.zero_grad()
                loss.backward()
                adam.step()
                total += loss.item()
            losses.append(total / n_steps)
    net.eval()
    return losses
