"""Policy gradient (策略梯度, 强化学习): a policy writes lists, tries them, and keeps what paid.

    pi(i | list so far) = softmax_i( w [g_i, gap_i] + a [R of i to the list] + MLP )
    gradient = sum_t  (G_t - b_t) · grad ln pi(card_t | cards before it)
    G_t = reward from place t on,   b_t = mean G_t of the other lists drawn for the same request

The policy is MMR with learned prices: of a repeated category, of a repeated creator, of likeness.
It learns in an ``Environment``: lists in, rewards out. Where that is a simulator, it may try lists
that no log has; where it is the live system, every trial is a page of a real user.
References: Williams 1992 (REINFORCE); the baseline, Kool et al. 2019; in a recommender, Chen et
al., WSDM 2019.
Simplified: industry bounds how far the policy may move from the one that is live.
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from reclab.cascade.ranking.training import OneThread, shorten_steps
from reclab.cascade.re_ranking.cards import RELATIONS, Cards
from reclab.cascade.re_ranking.writing import Draft, ListPolicy, Writer
from reclab.core.chance import rng
from reclab.core.errors import DataError, check_float, check_int
from reclab.core.types import Array


class Environment(Protocol):
    """Where lists are tried: a simulator, an evaluator, or the live system."""

    def reward(self, rows: Array, lists: Array) -> Array:
        """(S, K) what each card won, of ``lists`` (S, K), positions among the candidates of the
        requests ``rows`` (S,), -1 = no card. A card's reward may depend on the cards before it, not
        on those after."""
        ...


@dataclass(frozen=True)
class PolicyGradientConfig:
    """Size of the policy, and how it is trained."""

    hidden: int = 8
    """units of the small MLP beside the prices (4 … 64)"""
    length: int = 10
    """cards of the lists tried (2 … 30)"""
    steps: int = 100
    """steps of learning (50 … 2000)"""
    requests: int = 32
    """requests in a step (8 … 256)"""
    tries: int = 8
    """lists drawn for each of them (2 … 64)"""
    learning_rate: float = 0.03
    """Adam's first step size, falling to a tenth (1e-3 … 0.1)"""
    price_factor: float = 1.0
    """the learned prices of repetition times this, in serving; above 1 buys more variety than pays
    (0 … 4)"""
    seed: int = 0
    """of initial weights, requests and lists drawn"""

    def __post_init__(self) -> None:
        check_int("PolicyGradientConfig.hidden", self.hidden, 1, 1024, "8")
        check_int("PolicyGradientConfig.length", self.length, 1, 100, "10")
        check_int("PolicyGradientConfig.steps", self.steps, 1, 1_000_000, "100")
        check_int("PolicyGradientConfig.requests", self.requests, 1, 100_000, "32")
        check_int("PolicyGradientConfig.tries", self.tries, 2, 10_000, "8")
        check_float("PolicyGradientConfig.learning_rate", self.learning_rate, 1e-7, 1.0, "0.03")
        factor = self.price_factor
        check_float("PolicyGradientConfig.price_factor", factor, 0.0, 100.0, "1")


class Prices(ListPolicy):
    """The policy of the formula above."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        n_state = len(RELATIONS) + 1
        self.worth, self.price = nn.Linear(2, 1, bias=False), nn.Linear(n_state, 1, bias=False)
        # the MLP, its first layer in three parts: what does not change is computed once
        self.enter, self.state = nn.Linear(2, hidden), nn.Linear(n_state, hidden, bias=False)
        self.place = nn.Parameter(torch.randn(hidden) * 0.1)
        self.out = nn.Linear(hidden, 1, bias=False)
        with torch.no_grad():
            # begins as the order of the scores, with some chance for others
            self.worth.weight.copy_(torch.tensor([[4.0, 0.0]]))
            self.price.weight.zero_()
            self.out.weight.mul_(0.1)

    def begin(self, draft: Draft) -> Any:
        """What scores alone say, (S, n) and (S, n, hidden)."""
        return self.worth(draft.seen)[draft.owner, :, 0], self.enter(draft.seen)[draft.owner]

    def logits(self, draft: Draft, begun: Any) -> Tensor:
        worth, entered = begun
        state = torch.cat([draft.alike, draft.likest[:, None]], 1).transpose(1, 2)
        late = len(draft.chosen) / 10 * self.place
        more = self.out(torch.tanh(entered + self.state(state) + late))[..., 0]
        out: Tensor = worth + draft.factor * self.price(state)[..., 0] + more
        return out


# ---- the learner ---------------------------------------------------------------------------


def reinforce(net: ListPolicy, cards: Cards, environment: Environment, config: Any) -> list[float]:
    """Improve ``net`` in the environment over the requests of ``cards``; mean reward by step.

    ``config`` has ``length``, ``steps``, ``requests``, ``tries``, ``learning_rate``, ``seed``.
    """
    c, n = config, len(cards)
    if not n:
        raise DataError("reinforce: there are no requests to learn from")
    adam = torch.optim.Adam(net.parameters(), c.learning_rate)
    chance, rewards = rng(c.seed, "policy gradient"), []

    def drawn(logits: Tensor) -> Tensor:
        noise = chance.gumbel(size=tuple(logits.shape)).astype(np.float32)
        return (logits.detach() + torch.from_numpy(noise)).argmax(1)

    net.train()
    with OneThread():
        for step in range(c.steps):
            shorten_steps(adam, c.learning_rate, step / c.steps)
            rows = chance.integers(0, n, min(n, c.requests))
            owner = np.repeat(np.arange(len(rows)), c.tries)
            picks, log_p, _ = net.write(cards.take(rows), owner, c.length, drawn)
            won = environment.reward(rows[owner], picks.numpy())
            adam.zero_grad()
            surprise = torch.from_numpy(advantage(won, c.tries))
            (-(surprise * log_p).sum(1).mean()).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            adam.step()
            rewards.append(float(won.sum(1).mean()))
    net.eval()
    return rewards


def advantage(won: Array, tries: int) -> Array:
    """(S, K) float32: reward from each place on, less the mean of the other tries of the same
    request, in units of its spread. ``won`` (S, K), the ``tries`` of a request in a row.

    >>> advantage(np.array([[1.0, 0.0], [0.0, 0.0]]), 2).round(1).tolist()
    [[1.0, 0.0], [-1.0, 0.0]]
    """
    ahead = np.cumsum(won[:, ::-1], 1)[:, ::-1].reshape(-1, tries, won.shape[1])
    others = (ahead.sum(1, keepdims=True) - ahead) / (tries - 1)
    surprise = (ahead - others).reshape(won.shape)
    return (surprise / max(float(surprise[:, 0].std()), 1e-6)).astype(np.float32)


class PolicyGradient(Writer):
    """The model: ``fit`` in an environment, ``lists`` for any candidates."""

    config: PolicyGradientConfig
    name, Config = "policy_gradient", PolicyGradientConfig

    def build(self) -> Prices:
        """The untrained policy."""
        return Prices(self.config.hidden)

    def fit(self, cards: Cards, environment: Environment) -> Self:
        """Try lists of the candidates ``cards`` in the environment."""
        self.start()
        self.net.scale.learn(cards.score)
        self.learned = reinforce(self.net, cards, environment, self.config)
        return self

    @property
    def factor(self) -> float:  # type: ignore[override]
        """``price_factor`` of the config."""
        return float(self.config.price_factor)

    def with_factor(self, factor: float) -> Self:
        """The same policy, the learned prices of repetition times ``factor``. Costs nothing."""
        other = type(self)(replace(self.config, price_factor=factor))
        other._net, other.learned = self.net, self.learned
        return other

    def macs(self, n: int, k: int) -> int:
        """Multiply-adds of one list."""
        return n * k * (6 + 8 * self.config.hidden) + n * n * len(RELATIONS)
