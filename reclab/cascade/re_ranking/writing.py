"""Writing a list (逐卡生成): a policy chooses card after card, in the light of those before.

    card_t = argmax_i logit(i | cards before it)          in serving, of those the windows allow
    card_t ~ softmax_i logit(i | cards before it)         in learning

One loop for both policies of this folder, ``policy_gradient.Prices`` and ``generator.Pointer``.
What a list so far means to a candidate is kept as sums: how much of its category, creator and tags
is there already.
Reference: Bello et al., Seq2Slate, 2019.
Simplified: industry writes several lists side by side (beam search) and keeps the best.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reclab.cascade.ranking.training import OneThread
from reclab.cascade.re_ranking.cards import RELATIONS, WORST, Cards, ScoreScale, relations
from reclab.cascade.re_ranking.learned import Saved, cut
from reclab.cascade.re_ranking.mmr import Lists, Windows, mended
from reclab.cascade.re_ranking.windows import Rule
from reclab.core.types import Array

LAST = -1000.0
"""added to the logit of a candidate without a finite score"""


class Draft:
    """Lists being written: S of them, ``owner`` (S,) whose. ``alike`` (S, 3, n) sums of the
    relations of each candidate to the cards of its list, ``likest`` (S, n) the largest cosine."""

    def __init__(self, net: "ListPolicy", cards: Cards, owner: Tensor, factor: float = 1.0) -> None:
        n = cards.score.shape[1]
        self.factor, self.owner, self.every = factor, owner, torch.arange(len(owner))
        self.n_real = torch.from_numpy(cards.real.sum(1))[owner]
        self.relations = relations(cards)
        self.g = net.scale(cards.score)
        real = torch.from_numpy(cards.real)
        lost = torch.from_numpy(~np.isfinite(cards.score)) & real
        best = self.g.amax(1, keepdim=True)  # no candidate and no score are WORST
        gap = (self.g - best).clamp(min=WORST)
        self.seen = torch.stack([self.g, gap], 2)
        # added to the logits: nothing, or what bars a candidate that has no score or is not there
        bar = torch.zeros(self.g.shape).masked_fill(lost, LAST)
        self.bar = bar.masked_fill(~real, -torch.inf)[owner]
        self.alike = torch.zeros(len(owner), len(RELATIONS), n)
        self.likest = torch.zeros(len(owner), n)
        self.chosen: list[Tensor] = []

    def add(self, pick: Tensor) -> None:
        """Put card ``pick`` (S,) at the end of each list."""
        new = self.relations[self.owner, :, pick]
        self.alike = self.alike + new
        self.likest = torch.maximum(self.likest, new[:, 2])
        self.bar[self.every, pick] = -torch.inf
        self.chosen.append(pick)


class ListPolicy(nn.Module):
    """A network that writes lists card by card; a subclass says what it thinks of each candidate
    for the next place."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = ScoreScale()

    def begin(self, draft: Draft) -> Any:
        """What is computed once a request; handed to every ``logits``."""
        return None

    def logits(self, draft: Draft, begun: Any) -> Tensor:
        """(S, n) for the next place."""
        raise NotImplementedError

    def write(
        self,
        cards: Cards,
        owner: Array,
        k: int,
        choose: Callable[[Tensor], Tensor],
        factor: float = 1.0,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Write lists of k cards for the requests ``owner`` (S,): the cards (S, k), -1 where no
        candidate was left, ln of their probability, and their logits; ``choose(logits)`` says
        which (S,) is taken."""
        draft = Draft(self, cards, torch.from_numpy(owner), factor)
        begun, said = self.begin(draft), []
        k = min(k, cards.score.shape[1])
        for _ in range(k):
            said.append(self.logits(draft, begun) + draft.bar)
            draft.add(choose(said[-1]))
        if not k:
            none = torch.zeros(len(owner), 0)
            return none.long(), none, none
        picks = torch.stack(draft.chosen, 1)
        there = torch.arange(k) < draft.n_real[:, None]
        logits = torch.stack(said, 1).clamp(min=-1e9)  # no NaN where nothing is left
        value = logits.gather(2, picks[..., None])[..., 0]
        log_p = torch.where(there, value - logits.logsumexp(2), 0.0)
        return torch.where(there, picks, -1), log_p, torch.where(there, value, 0.0)


def best_lists(
    net: ListPolicy, cards: Cards, wanted: Array, rules: Sequence[Rule] = (), factor: float = 1.0
) -> Lists:
    """The likeliest card at every place, under windows that hold wherever they can."""
    n_requests, n = cards.score.shape
    k, t = min(int(wanted.max(initial=0)), n), 0
    every, windows = np.arange(n_requests), Windows(rules, n_requests)
    pushed, broke = np.zeros(cards.score.shape, bool), np.zeros((n_requests, k), bool)

    def choose(logits: Tensor) -> Tensor:
        nonlocal t
        marginal = logits.numpy()
        pick = marginal.argmax(1)
        if rules:
            turned, best, breaks = windows.place(pick, marginal)
            broke[turned, t] = breaks
            pushed[turned, best] |= (best != pick[turned]) & (t < wanted[turned])
        t += 1
        return torch.from_numpy(pick)

    with OneThread(), torch.inference_mode():
        order, _, value = net.write(cards, every, k, choose, factor)
        lists = cut(order.numpy(), value.numpy(), pushed, broke, wanted)
        sure = np.where(np.isnan(cards.score), np.float32(LAST), cards.score)
        for b, found in mended(lists, sure, wanted, rules):
            again = iter(torch.from_numpy(found))
            alone, k = cards.take(slice(b, b + 1)), len(found)
            said = net.write(alone, every[:1], k, lambda _, a=again: next(a)[None], factor)[2]
            lists.value[b, : len(found)] = said[0].numpy()
    return lists


class Writer(Saved):
    """A model whose ``net`` is a ``ListPolicy``."""

    factor = 1.0
    """what the learned prices of repetition are multiplied by in serving"""

    def lists(self, cards: Cards, wanted: Array, rules: Sequence[Rule] = ()) -> Lists:
        """The likeliest card at every place, under the windows."""
        return best_lists(self.net, cards, wanted, rules, self.factor)
