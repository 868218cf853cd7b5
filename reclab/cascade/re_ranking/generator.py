"""Generator (列表生成): a Transformer writes the list card by card and points at the next one.

    h   = attention over the candidates (``attention.py``)             encoder, once a request
    y_t = causal attention over [h of the cards so far, place]         decoder
    pi(i | list so far) = softmax_i( 5 tanh(y_t K h_i / 5 sqrt d) + w g_i + a [R of i to the list] )

It learns with an evaluator (``evaluator.py``), which learned from logged pages what a list would
win: lists are drawn, the evaluator judges them, and the gradient of ``policy_gradient.py`` makes
the good ones likelier. Nothing of the platform but its logs is needed.
References: Bello et al., Seq2Slate, 2019; Vinyals et al., Pointer Networks, NeurIPS 2015; the
bound, Bello et al. 2017; Feng et al. (GRN), 2021.
Simplified: industry draws several lists in serving too and lets the evaluator choose.
"""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from reclab.cascade.re_ranking.attention import ListAttention
from reclab.cascade.re_ranking.cards import RELATIONS, WORST, Cards, block_size
from reclab.cascade.re_ranking.policy_gradient import Environment, reinforce
from reclab.cascade.re_ranking.writing import Draft, ListPolicy, Writer
from reclab.core.errors import check_float, check_int

BOUND = 5.0
"""what the pointer can add to a logit: bounded, so that no card is ruled out before it was tried"""
FAR = 10
"""places beyond this one are taken for this one (cards)"""


@dataclass(frozen=True)
class GeneratorConfig:
    """Sizes of the network, and how it is trained."""

    dim: int = 16
    """length of a card's vector (8 … 64)"""
    length: int = 10
    """cards of the lists tried (2 … 30)"""
    steps: int = 100
    """steps of learning (50 … 2000)"""
    requests: int = 32
    """requests in a step (8 … 256)"""
    tries: int = 8
    """lists drawn for each of them (2 … 64)"""
    learning_rate: float = 0.01
    """Adam's first step size, falling to a tenth (1e-3 … 0.1)"""
    seed: int = 0
    """of initial weights, requests and lists drawn"""

    def __post_init__(self) -> None:
        check_int("GeneratorConfig.dim", self.dim, 1, 1024, "16")
        check_int("GeneratorConfig.length", self.length, 1, 100, "10")
        check_int("GeneratorConfig.steps", self.steps, 1, 1_000_000, "100")
        check_int("GeneratorConfig.requests", self.requests, 1, 100_000, "32")
        check_int("GeneratorConfig.tries", self.tries, 2, 10_000, "8")
        check_float("GeneratorConfig.learning_rate", self.learning_rate, 1e-7, 1.0, "0.01")


class Pointer(ListPolicy):
    """The network of the formula above."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.enter, self.encode = nn.Linear(2, dim), ListAttention(dim)
        self.place = nn.Parameter(torch.randn(FAR + 1, dim) * 0.1)
        self.q, self.kv = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim, bias=False)
        self.feed = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim)
        )
        self.key = nn.Linear(dim, dim, bias=False)
        self.worth = nn.Linear(2, 1, bias=False)
        self.price = nn.Linear(len(RELATIONS), 1, bias=False)
        with torch.no_grad():
            # begins near the order of the scores, with some chance for others
            self.worth.weight.copy_(torch.tensor([[4.0, 0.0]]))
            self.price.weight.zero_()
            self.key.weight.mul_(0.1)

    def begin(self, draft: Draft) -> Any:
        """Candidates encoded, and the keys that the pointer looks for."""
        step = block_size(draft.g.shape[1])
        parts = (x.split(step) for x in (draft.g, draft.seen, draft.relations))
        h = torch.cat([self._encoded(*part) for part in zip(*parts, strict=True)])
        keys = self.key(h)[draft.owner] / self.dim**0.5
        return h, keys, self.worth(draft.seen)[draft.owner, :, 0], []

    def _encoded(self, g: Tensor, seen: Tensor, relations: Tensor) -> Tensor:
        """(B, n, d) candidates in the light of those with a higher score."""
        earlier = (g[:, None, :] > g[:, :, None]) & (g > WORST)[:, None, :]
        before = earlier | torch.eye(g.shape[1], dtype=torch.bool)
        h: Tensor = self.encode(self.enter(seen), relations * (earlier / FAR)[:, None], before)
        return h

    def logits(self, draft: Draft, begun: Any) -> Tensor:
        h, keys, worth, past = begun
        t = len(draft.chosen)
        token = self.place[min(t, FAR)].expand(len(draft.owner), -1)
        if t:
            token = token + h[draft.owner, draft.chosen[-1]]
        past.append(self.kv(token))
        key, value = torch.stack(past, 1).split(self.dim, 2)
        weight = ((key @ self.q(token)[..., None])[..., 0] / self.dim**0.5).softmax(1)
        y = token + (weight[:, None] @ value)[:, 0]
        y = y + self.feed(y)
        points = BOUND * torch.tanh((keys @ y[..., None])[..., 0] / BOUND)
        return points + worth + (self.price.weight @ draft.alike)[:, 0]


class Generator(Writer):
    """The model: ``fit`` with an evaluator, ``lists`` for any candidates."""

    config: GeneratorConfig
    name, Config = "generator", GeneratorConfig

    def build(self) -> Pointer:
        """The untrained network."""
        return Pointer(self.config.dim)

    def fit(self, cards: Cards, environment: Environment) -> Self:
        """Write lists of the candidates ``cards`` and learn from what the environment, usually
        ``Believed(evaluator, cards)``, says of them."""
        self.start()
        self.net.scale.learn(cards.score)
        self.learned = reinforce(self.net, cards, environment, self.config)
        return self

    def macs(self, n: int, k: int) -> int:
        """Multiply-adds of one list."""
        d = self.config.dim
        return n * d * d * 21 + 8 * n * n * d + k * (n * (d + 5) + 8 * d * d)
