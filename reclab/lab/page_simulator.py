"""The page simulator: what a whole page is worth on the simulated platform, and what happens on it.

    p_j = sigma(logit p_j(first place) - lost_j)      lost_j = .012 j + .18 same topic + .35 same
                                                      creator, of the cards before j
    h_j = (1 - p_j) h(no click) + p_j (1 - l_j) h(click) + p_j l_j h(long view)
    list value = sum_j  S_j p_j l_j,   S_j = prod over s < j of (1 - h_s)

l_j is P(long view | click). What a user does with a card depends on what was shown before it, not
on what was done with it, so the expectation is exact in closed form: a list is worth less than the
sum of its cards, by repetition and by leaving, and the order counts.

Reference: ``reclab.world.behaviour`` holds the constants; examination that ends, Craswell et al.,
WSDM 2008.
Simplified: what this page does to the next one (excitation, satiation) is left out.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from reclab.core.chance import rng
from reclab.core.errors import DataError
from reclab.core.tables import Table
from reclab.core.types import Array
from reclab.world import Truth, behaviour
from reclab.world.behaviour import BehaviourConfig
from reclab.world.catalogue import AD

TINY = 1e-6  # no probability is 0 or 1


@dataclass(frozen=True)
class PageSimulator:
    """B requests of the platform and the n candidates of each, an ``Environment`` of re-ranking.

    ``p_click``, ``p_long`` (B, n): P(click) in the first place, P(long view | click); ``topic``,
    ``creator`` (B, n); ``hazard`` (B, n, 3): P(leaving) after no click, a click, a long view."""

    constants: BehaviourConfig
    p_click: Array
    p_long: Array
    topic: Array
    creator: Array
    hazard: Array

    @staticmethod
    def of(truth: Truth, held: Table, item_row: Array) -> "PageSimulator":
        """For the requests ``held`` (rows of ``truth.tuning`` or ``truth.held_out``) and their
        candidates ``item_row`` (B, n), -1 = none."""
        if len(held) != len(item_row):
            raise DataError(f"{len(held)} requests, but candidates for {len(item_row)}")
        rows, c = np.maximum(item_row, 0), truth.behaviour
        click = np.clip(truth.request_p_click(held, rows).astype(np.float64), TINY, 1 - TINY)
        long = np.clip(truth.request_value(held, rows) / click, 0.0, 1.0)
        user = held["user_row"]
        dislike = (truth.business[rows] == AD) * (1.0 - truth.ad_tolerance[user][:, None])
        activity, mobile = truth.activity[user][:, None], held["network"][:, None]
        happened = ((False, False), (True, False), (True, True))
        hazard = [
            behaviour.p_exit(
                c, np.full(rows.shape, seen), np.full(rows.shape, opened), dislike, activity, mobile
            )
            for opened, seen in happened
        ]
        topic = truth.weights[rows].argmax(-1)
        return PageSimulator(c, click, long, topic, truth.creator[rows], np.stack(hazard, -1))

    def __len__(self) -> int:
        return len(self.p_click)

    # -- closed form ------------------------------------------------------------------------

    def chances(self, rows: Array, lists: Array) -> tuple[Array, Array, Array]:
        """P(click), P(long view) and P(leaving) of each card of ``lists`` (S, K), positions among
        the candidates of the requests ``rows`` (S,), given that it is reached; (S, K) each. An
        empty place (-1) is nothing and nobody leaves there."""
        at, there = np.maximum(lists, 0), lists >= 0

        def of(values: Array) -> Array:
            return np.asarray(values[rows[:, None], at])

        topic, creator = of(self.topic), of(self.creator)
        blank = -1 - np.arange(lists.shape[1])  # no two empty places are alike
        topic, creator = np.where(there, topic, blank), np.where(there, creator, blank)
        none = np.zeros(len(lists))
        lost = behaviour.page_fatigue(self.constants, topic, creator, none)
        click = expit(logit(of(self.p_click)) - lost) * there
        long = click * of(self.p_long)
        hazard = of(self.hazard)
        leave = (1 - click) * hazard[..., 0] + (click - long) * hazard[..., 1]
        return click, long, (leave + long * hazard[..., 2]) * there

    def reward(self, rows: Array, lists: Array) -> Array:
        """(S, K) expected long views of each card: that it is reached, opened and watched."""
        _, long, leave = self.chances(rows, lists)
        stays = np.cumprod(1 - leave, axis=1)
        reached = np.concatenate([np.ones((len(lists), 1)), stays[:, :-1]], 1)
        return np.asarray(reached * long)

    def value(self, lists: Array) -> Array:
        """(B,) list value: expected long views of one list (B, K) a request."""
        return np.asarray(self.reward(np.arange(len(self)), lists).sum(1))

    def greedy(self, k: int) -> Array:
        """(B, k) positions of lists that take the likeliest long view at every place, by the truth
        and with what is there already: near the best that these candidates allow."""
        c, every = self.constants, np.arange(len(self))
        wish, lists = logit(self.p_click), np.full((len(self), k), -1)
        free = self.p_long > 0
        for t in range(min(k, wish.shape[1])):
            pick = np.where(free, expit(wish) * self.p_long, -1.0).argmax(1)
            lists[:, t] = np.where(free[every, pick], pick, -1)
            free[every, pick] = False
            wish = wish - c.same_topic * (self.topic == self.topic[every, pick][:, None])
            wish -= c.same_creator * (self.creator == self.creator[every, pick][:, None])
        return lists

    # -- drawn ------------------------------------------------------------------------------

    def draw(self, rows: Array, lists: Array, chance: np.random.Generator) -> Array:
        """(S, K) 0 or 1: long views on one simulated page a list; cards behind an exit are 0."""
        click, long, _ = self.chances(rows, lists)
        u = chance.random(click.shape)
        watched, opened = u < long, u < click
        hazard = self.hazard[rows[:, None], np.maximum(lists, 0)]
        after = opened.astype(np.int64) + watched
        goes = chance.random(click.shape) < np.take_along_axis(hazard, after[..., None], 2)[..., 0]
        goes &= lists >= 0
        reached = np.cumsum(goes, 1) - goes == 0
        return np.asarray(watched & reached, np.float32)

    def take(self, rows: Array) -> "PageSimulator":
        """The same for some of the requests."""
        parts = (self.p_click, self.p_long, self.topic, self.creator, self.hazard)
        return PageSimulator(self.constants, *(part[rows] for part in parts))


@dataclass
class DrawnPages:
    """The simulator as a live system shows itself: one page is served, and what the user did with
    it is the reward. Noisy, and all that a platform without a truth would have."""

    simulator: PageSimulator
    seed: int = 0

    def __post_init__(self) -> None:
        self._chance = rng(self.seed, "pages drawn for learning")

    def reward(self, rows: Array, lists: Array) -> Array:
        """(S, K) long views, drawn."""
        return self.simulator.draw(rows, lists, self._chance)
