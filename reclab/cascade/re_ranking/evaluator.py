"""Evaluator (评估器): what a list would win, learned from logged pages.

    p_j, h_j   = sigma(attention over the cards up to j)      P(win), P(leaving) of card j
    list value = sum_j  p_j · prod over s < j of (1 - h_s)
    loss       = BCE(p, won) + BCE(h, left)                   of the cards that were shown

It is the ``Environment`` that the generator learns in where there is no simulator: cards that
repeat their neighbours are worth less because they were clicked less in the logs.
References: generator and evaluator, Wang et al. 2019, and Feng et al. (GRN) 2021.
Simplified: industry corrects for which lists the old policy has shown.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reclab.cascade.ranking.training import OneThread
from reclab.cascade.re_ranking.attention import ListNet, in_order
from reclab.cascade.re_ranking.cards import Cards
from reclab.cascade.re_ranking.learned import Saved
from reclab.cascade.re_ranking.list_wise import ListWiseConfig, Pages, descend
from reclab.core.errors import DataError
from reclab.core.types import Array

STAY = -4.0
"""logit of leaving where the log never shows it: nearly nobody leaves"""


@dataclass(frozen=True)
class EvaluatorConfig(ListWiseConfig):
    """As of the list-wise model, which learns from the same pages."""


class Evaluator(Saved):
    """The model: ``fit`` on logged pages, ``reward`` for any list."""

    config: EvaluatorConfig
    name, Config = "evaluator", EvaluatorConfig

    def build(self) -> ListNet:
        """The untrained network."""
        net = ListNet(self.config.dim, 2, self.config.blocks)
        with torch.no_grad():
            net.direct.weight[1] = 0.0
            net.out[1].bias[1] = STAY
        return net

    def fit(self, pages: Pages) -> Self:
        """Learn from pages. Raises ``DataError`` when no card has a known gain."""
        if not (np.isfinite(pages.gain) & pages.cards.real).any():
            raise DataError("Evaluator.fit: no card of the pages has a known gain")
        self.start()
        self.net.scale.learn(pages.cards.score)
        self.learned = descend(
            self.net, pages, lambda part: card_loss(self.net, part), self.config, "evaluator"
        )
        return self

    def chances(self, cards: Cards) -> tuple[Array, Array]:
        """(B, K) P(win) and (B, K) P(leaving) of cards in the order given."""
        with OneThread(), torch.inference_mode():
            p = self.net(cards, in_order(cards)).sigmoid().numpy()
        p = p * cards.real[..., None]
        return p[..., 0], p[..., 1]

    def value_by_card(self, cards: Cards) -> Array:
        """(B, K) what each card is expected to win, given that it may not be reached."""
        win, leave = self.chances(cards)
        stays = np.cumprod(1 - leave, 1)
        return np.asarray(win * np.concatenate([np.ones_like(stays[:, :1]), stays[:, :-1]], 1))


def card_loss(net: ListNet, pages: Pages) -> Tensor:
    """Mean log loss of what was won, plus that of who left, over the cards where it is known."""
    out, total = net(pages.cards, in_order(pages.cards)), torch.zeros(())
    for column, label in enumerate((pages.gain, pages.left)):
        known = torch.from_numpy(np.isfinite(label) & pages.cards.real)
        if known.any():
            target = torch.from_numpy(label.astype(np.float32))[known]
            total = total + F.binary_cross_entropy_with_logits(out[..., column][known], target)
    return total


@dataclass(frozen=True)
class Believed:
    """The evaluator as an ``Environment`` over the candidates ``cards``."""

    evaluator: Evaluator
    cards: Cards

    def reward(self, rows: Array, lists: Array) -> Array:
        """(S, K) what each card of ``lists`` (S, K) is believed to win."""
        return self.evaluator.value_by_card(self.cards.pick(rows, lists))
