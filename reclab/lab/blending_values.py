"""What the blending service learns of the businesses' cards from the log, on the tuning day only.

    event        short video, image-text: long view; live, ad, campaign: click; product: order
    satisfaction = long view - c (left after this card),   c = long views that a session still has
                   to give after an exposure, on average
    unbias       what came of watch time and money / what the business expected of them

Every business scores the cards of its own that the log shows of that day; what came of them gives
its curve (score -> probability), its outcomes (probability -> expected amounts), and a factor for
each of the two amounts that it predicts itself.

Simplified: industry learns these from last hour's log, by slot and by user group.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reclab.blending.allocation import BUSINESSES
from reclab.blending.businesses import Money, Recommender, cards_of
from reclab.blending.calibration import ScoreCalibration
from reclab.blending.currency import Currency, Outcomes
from reclab.cascade.batch import read_batch
from reclab.core.clock import DAY_MS
from reclab.core.types import Array, Candidates, Request
from reclab.lab.lab import Lab, train_until

EVENTS = ("is_long_view", "is_click", "order", "is_click", "is_long_view", "is_click")
PER_BUSINESS = 3000  # cards of a business that are scored, at most
CHUNK = 256


@dataclass(frozen=True)
class ShownCards:
    """Cards of one day's log as their businesses score them, (n,) each: ``business``, ``score``,
    ``watch_sec`` and ``revenue`` as expected; ``label``; and what came: ``watched``, ``earned``,
    ``satisfaction``."""

    business: Array
    score: Array
    watch_sec: Array
    revenue: Array
    label: Array
    watched: Array
    earned: Array
    satisfaction: Array


@dataclass(frozen=True)
class Learned:
    """Curves, outcomes, factors (businesses,) of both predicted amounts, and c, in long views."""

    calibration: ScoreCalibration
    outcomes: Outcomes
    watch_factor: Array
    revenue_factor: Array
    leaving: float

    def valued(self, candidates: Candidates, currency: Currency) -> Candidates:
        """Candidates with ``p``, the three expected objectives, and ``value``."""
        business = candidates["business"]
        p = self.calibration.apply(business, candidates["score"])
        expected = self.outcomes.expected(business, p)
        expected["watch_sec"] = candidates["watch_sec"] * self.watch_factor[business]
        expected["revenue"] = candidates["revenue"] * self.revenue_factor[business]
        return candidates.with_columns(p=p, **expected, value=currency.value(expected))


def learn_values(lab: Lab, businesses: Mapping[str, Recommender], money: Money) -> Learned:
    """From the tuning day."""
    leaving = cost_of_leaving(lab, train_until(lab) // DAY_MS)
    cards = shown_cards(lab, businesses, money, "tuning", leaving)
    calibration = ScoreCalibration().fit(cards.business, cards.score, cards.label)
    amounts = {
        "watch_sec": cards.watched, "revenue": cards.earned, "satisfaction": cards.satisfaction
    }  # fmt: skip
    outcomes = Outcomes().fit(cards.business, cards.label, amounts)

    def factor(came: Array, told: Array) -> Array:
        sums = [np.bincount(cards.business, x, len(BUSINESSES)) for x in (came, told)]
        return np.where(sums[1] > 0, sums[0] / np.maximum(sums[1], 1e-9), 1.0)

    return Learned(
        calibration,
        outcomes,
        factor(cards.watched, cards.watch_sec),
        factor(cards.earned, cards.revenue),
        leaving,
    )


def shown_cards(
    lab: Lab, businesses: Mapping[str, Recommender], money: Money, split: str, leaving: float
) -> ShownCards:
    """The log of the tuning or held-out day, at most ``PER_BUSINESS`` cards of each business."""
    shown, index = lab.logs.interactions, lab.trained.parts.index
    start = train_until(lab) + DAY_MS * (split == "held_out")
    first, stop = np.searchsorted(shown["time_ms"], [start, start + DAY_MS])
    code_of = index["business"]
    item = index.rows(shown["video_id"][first:stop])
    rows = []
    for code in range(len(BUSINESSES)):
        mine = np.flatnonzero(code_of[item] == code)
        spread = np.linspace(0, len(mine) - 1, min(len(mine), PER_BUSINESS)).astype(int)
        rows.append(first + mine[spread])
    left = left_after(lab, first, stop)
    told = [_scored(lab, b, r) for b, r in zip(businesses.values(), rows, strict=True)]
    at = np.concatenate(rows)
    log = shown.take(at)
    business = code_of[index.rows(log["video_id"])].astype(np.int64)
    events = {
        "is_click": log["is_click"],
        "is_long_view": log["is_long_view"],
        "order": log["pay_amount"] > 0,
    }
    label = np.stack([events[name] for name in EVENTS])[business, np.arange(len(at))]
    keeps = np.array([0, money.tip_share, money.commission, 1.0, 0, 0])[business]
    satisfaction = log["is_long_view"] - leaving * left[at - first]
    join = {n: np.concatenate([t[n] for t in told]) for n in ("score", "watch_sec", "revenue")}
    watched = log["watch_sec"].astype(np.float64)
    return ShownCards(
        business, join["score"], join["watch_sec"], join["revenue"], label.astype(float),
        watched, keeps * log["pay_amount"], satisfaction.astype(np.float64),
    )  # fmt: skip


def _scored(lab: Lab, business: Recommender, rows: Array) -> Candidates:
    """What a business says of logged cards, each as a request of its own."""
    shown, p = lab.logs.interactions, lab.trained.parts
    parts = []
    for at in range(0, len(rows), CHUNK):
        some = shown.take(rows[at : at + CHUNK])
        who = zip(some["user_id"], some["time_ms"], some["network"], strict=True)
        requests = [Request(int(u), int(t), network=int(w)) for u, t, w in who]
        item = p.index.rows(some["video_id"])
        alone = Candidates(len(item), np.arange(len(item)), item)
        parts.append(business.score(read_batch(requests, p.users, p.index), alone))
    names = ("score", "watch_sec", "revenue")
    columns = {n: np.concatenate([part[n] for part in parts]) for n in names}
    return Candidates(
        len(rows), np.arange(len(rows)), p.index.rows(shown["video_id"][rows]), columns
    )


def left_after(lab: Lab, first: int, stop: int) -> Array:
    """(stop - first,) bool: the last exposure of its session in the log."""
    log = lab.logs.interactions.take(np.arange(first, stop))
    ones = np.ones(len(log))
    return still_to_come(log["session_id"], log["time_ms"], log["position"], ones) == 0


def cost_of_leaving(lab: Lab, day: int) -> float:
    """Long views that a session of this day still gives after an exposure, on average."""
    when = lab.logs.interactions["time_ms"]
    first, stop = np.searchsorted(when, [day * DAY_MS, (day + 1) * DAY_MS])
    log = lab.logs.interactions.take(np.arange(first, stop))
    long = log["is_long_view"].astype(np.float64)
    return float(still_to_come(log["session_id"], log["time_ms"], log["position"], long).mean())


def still_to_come(session: Array, time_ms: Array, position: Array, amount: Array) -> Array:
    """(n,) sum of ``amount`` (n,) over the later exposures of the same session.

    >>> still_to_come(np.array([1, 2, 1]), np.array([5, 6, 5]), np.array([0, 0, 1]), np.ones(3))
    array([1., 0., 0.])
    """
    order = np.lexsort((position, time_ms, session))
    last = np.append(session[order][1:] != session[order][:-1], True)
    sums = np.cumsum(amount[order])
    ends = sums[last]
    found = np.empty(len(order))
    found[order] = np.round(ends[np.cumsum(last) - last] - sums, 6)
    return found


def united(
    lab: Lab, businesses: Mapping[str, Recommender], requests: list[Request], k: int
) -> Candidates:
    """The candidates of all businesses for these requests, as the Router would unite them."""
    from reclab.blending.contract import Deadline

    index, parts = lab.trained.parts.index, []
    for code, business in enumerate(businesses.values()):
        offers = business.offer(requests, k, Deadline(float("inf")))
        owner = np.repeat(np.arange(len(requests)), offers.counts)
        columns = {"score": offers.score, **offers.columns}
        columns["business"] = np.full(len(owner), code)
        parts.append((owner, index.rows(offers.item_id), columns))
    owner = np.concatenate([part[0] for part in parts])
    order = np.argsort(owner, kind="stable")
    rows = np.concatenate([part[1] for part in parts])[order]
    columns = {n: np.concatenate([part[2][n] for part in parts])[order] for n in parts[0][2]}
    return cards_of(Candidates(len(requests), owner[order], rows, columns), index)
