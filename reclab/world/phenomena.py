"""What follows from the world alone, without any trained recommender: the rich get richer under a
closed loop, what knowing the session is worth, how hard new items are, what more ads cost.

The targets are what an earlier prototype of this model measured, where it did.
What needs trained models is measured where they are: the cascade and its trap in lesson 02, DCAF
in 04, DualRec in 05.

Reference: Chaney et al. 2018 (RecSys) on homogenisation in closed loops.
Simplified: loops are run with 1,500 users for two weeks.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from reclab.core.clock import DAY_MS
from reclab.core.metrics import gini
from reclab.core.types import Array
from reclab.world.card import Line
from reclab.world.config import WorldConfig
from reclab.world.generate import World
from reclab.world.logging_policy import PolicyConfig
from reclab.world.platform import Platform

NONE = float("nan")  # nothing was measured elsewhere
WARM_UP, DAYS = 4, 14  # days of uniformly random pages before a loop closes; days in all
SMALL = WorldConfig(
    "loop", n_users=1_500, n_items=5_000, n_creators=500, days=DAYS, posts_per_day=70.0
)
CLOSED = PolicyConfig(mix=(1.0, 0.0, 0.0, 0.0), warm_up_days=WARM_UP, pool=20_000, list_length=400)
LOOPS = {
    "uniform": replace(CLOSED, mix=(0.0, 0.0, 0.0, 1.0)),
    "popular": replace(CLOSED, mix=(0.0, 1.0, 0.0, 0.0), hot_items=1_000),
    "closed loop": CLOSED,
    "closed loop, 30 % random": replace(CLOSED, mix=(0.7, 0.0, 0.0, 0.3)),
}


@dataclass(frozen=True)
class Loop:
    """A policy left to itself: by day the Gini of exposures over all living items and the long
    views per impression, (days,); ``reached`` share of the items posted after the warm-up, and at
    least 4 days old at the end, with 20 exposures."""

    gini: Array
    long_view: Array
    reached: float


def run_loop(policy: PolicyConfig, seed: int = 0, base: WorldConfig = SMALL) -> Loop:
    """Let the platform live under ``policy`` for ``base.days`` days."""
    platform = Platform(replace(base, seed=seed, policy=policy))
    inequality, liked, total = [], [], np.zeros(0)
    for day in range(base.days):
        shown = platform.live(day)
        count = np.bincount(shown["item"], minlength=len(platform.catalogue))
        inequality.append(gini(count))
        liked.append(shown["long_view"].mean())
        total = count + np.pad(total, (0, len(count) - len(total)))
    posted = platform.catalogue.publish_ms
    judged = (posted >= WARM_UP * DAY_MS) & (posted < (base.days - 4) * DAY_MS)
    return Loop(np.array(inequality), np.array(liked), float((total[judged] >= 20).mean()))


def matthew(seed: int = 0) -> Iterator[Line]:
    """The rich get richer."""
    loops = {name: run_loop(policy, seed) for name, policy in LOOPS.items()}
    closed, mixed = loops["closed loop"], loops["closed loop, 30 % random"]
    before, after = closed.gini[WARM_UP - 1], closed.gini[WARM_UP]
    yield Line("daily Gini, uniformly random pages", 0.25, before, 0.15, 0.35)
    yield Line("daily Gini, first day of the closed loop", 0.88, after, 0.78, 0.95)
    yield Line("daily Gini, closed loop, its peak", 0.92, closed.gini.max(), 0.80, 0.96)
    yield Line("daily Gini, closed loop, last day", 0.80, closed.gini[-1], 0.65, 0.92)
    popular = loops["popular"].gini[WARM_UP + 1 :].mean()
    yield Line("daily Gini, popularity only", 0.90, popular, 0.80, 0.97)
    yield Line("daily Gini, closed loop with 30 % random", 0.62, mixed.gini[-1], 0.45, 0.75)
    lost = 1 - mixed.long_view[WARM_UP:].mean() / closed.long_view[WARM_UP:].mean()
    yield Line("long views that 30 % random cost (share)", 0.17, lost, 0.10, 0.28)
    gain = mixed.reached - closed.reached
    yield Line("new items with 20 exposures, gained by 30 % random", 0.0, gain, -0.15, 0.05)


def lists(world: World, n: int = 300) -> Iterator[Line]:
    """Value of lists of ten at requests of the last day, as shares of the oracle's."""
    held = world.truth.held_out
    held = held.take(np.linspace(0, len(held) - 1, min(n, len(held))).astype(np.int64))
    allowed = _eligible(world, held["user_row"], held["time_ms"])
    gain = np.where(allowed, world.truth.request_value(held), 0.0)
    day = int(held["day"][0])
    usual = np.where(allowed, world.truth.value(held["user_row"], None, day), -1.0)
    best = _top(gain, gain).mean()

    def share(score: Array) -> float:
        return float(_top(np.where(allowed, score, -1.0), gain).mean() / best)

    popular = np.broadcast_to(_recent_long_views(world, day), gain.shape)
    random = np.where(allowed, gain, np.nan)
    yield Line("random / oracle", 0.14, float(np.nanmean(random) / best), 0.09, 0.17)
    yield Line("most long views of three days / oracle", 0.25, share(popular), 0.13, 0.32)
    yield Line("oracle without session state / oracle", 0.935, share(usual), 0.90, 0.96)
    new = allowed & (world.truth.publish_ms >= (day - 1) * DAY_MS)
    only_new = np.where(new, gain, 0.0)
    newest = float(_top(only_new, gain).mean() / best)
    yield Line("oracle on items of two days only / oracle", 0.63, newest, 0.5, 0.85)
    yield Line("random new items / oracle", 0.11, gain[new].mean() / best, 0.08, 0.17)


def _top(score: Array, gain: Array, k: int = 10) -> Array:
    """(B,) mean gain of the ``k`` best by score."""
    rows = np.argpartition(-score, k, axis=1)[:, :k]
    return np.asarray(np.take_along_axis(gain, rows, 1).mean(1))


def _eligible(world: World, user_row: Array, time_ms: Array) -> Array:
    """(B, n_items) published, and not yet shown to the user, at each request."""
    shown, users = world.logs.interactions, world.logs.users["user_id"]
    allowed = world.truth.publish_ms <= time_ms[:, None]
    item = np.searchsorted(world.logs.items["video_id"], shown["video_id"])
    user = np.searchsorted(users, shown["user_id"])
    for b, (row, now) in enumerate(zip(user_row, time_ms, strict=True)):
        allowed[b, item[(user == row) & (shown["time_ms"] < now)]] = False
    return np.asarray(allowed)


def _recent_long_views(world: World, day: int) -> Array:
    """(n_items,) long views of the three days before ``day``."""
    shown = world.logs.interactions
    when = shown["time_ms"] // DAY_MS
    rows = np.flatnonzero((when >= day - 3) & (when < day) & shown["is_long_view"])
    item = np.searchsorted(world.logs.items["video_id"], shown["video_id"][rows])
    return np.bincount(item, minlength=len(world.logs.items)).astype(np.float32)


def load(seed: int = 0) -> Iterator[Line]:
    """More ads and products in the catalogue: money now against watching and coming back."""
    few, many = (_economy(share, seed) for share in (0.10, 0.60))
    yield Line("watch time, 60 % commercial / 10 %", NONE, many[0] / few[0], 0.3, 0.95)
    yield Line("revenue, 60 % commercial / 10 %", NONE, many[1] / few[1], 1.3, 8.0)
    yield Line("daily users, 60 % commercial / 10 %", NONE, many[2] / few[2], 0.9, 0.996)


def _economy(commercial: float, seed: int) -> tuple[float, float, float]:
    """(seconds watched, money, users) a day in the last week, with half ads and half products."""
    rest = (1.0 - commercial) / 0.90
    shares = np.array([0.80, 0.04, 0.0, 0.0, 0.04, 0.02]) * rest
    shares[[2, 3]] = commercial / 2
    items = replace(SMALL.items, business_share=tuple(shares.tolist()))
    platform = Platform(replace(SMALL, seed=seed, items=items))
    days = [platform.live(day) for day in range(SMALL.days)][-7:]
    seconds, money = (float(np.mean([d[k].sum() for d in days])) for k in ("seconds", "pay"))
    return seconds, money, float(np.mean([len(np.unique(d["user"])) for d in days]))


LATER = (
    "cascade: item-CF, two-tower, DIN, value by stage size, cost       lesson 02",
    "the trap of models trained on exposed items only                  lesson 02",
    "DCAF: hindsight, knowable and learned value per level of compute  lesson 04",
    "DualRec: new items reached, long views, posting                   lesson 05",
)
SECTIONS: dict[str, Callable[[int], Iterator[Line]]] = {
    "The rich get richer (1,500 users, pages at random until day 4)": matthew,
    "More commercial load (1,500 users, two weeks)": load,
}
