"""Exercise 2.4: popularity with a half-life, the simplest retrieval channel that stays fresh.

w_i = sum over the events of item i before now of 0.5 ^ (age in hours / half-life in hours).

Simplified: industry keeps the decayed sum in the item's features and updates it at each event.
"""

import numpy as np

from reclab.core.chance import rng
from reclab.core.clock import HOUR_MS
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe


def decayed_counts(
    item_row: np.ndarray, time_ms: np.ndarray, now_ms: int, half_life_h: float, n_items: int
) -> np.ndarray:
    """(events,) item rows and times -> (n_items,) decayed counts as of ``now_ms``."""
    known = (time_ms < now_ms) & (item_row >= 0)
    age_h = (now_ms - time_ms[known]) / 3_600_000
    weight = 0.5 ** (age_h / half_life_h)
    return np.bincount(item_row[known], weights=weight, minlength=n_items)


def _weigh(
    item_row: Array, time_ms: Array, now_ms: int, n_items: int, weight_at_age_h: Array
) -> Array:
    known = (time_ms < now_ms) & (item_row >= 0)
    weight = np.where(known, weight_at_age_h, 0.0)
    return np.bincount(np.where(known, item_row, 0), weights=weight, minlength=n_items)


def _natural_base(
    item_row: Array, time_ms: Array, now_ms: int, half_life_h: float, n_items: int
) -> Array:
    age_h = np.maximum(now_ms - time_ms, 0) / HOUR_MS
    return _weigh(item_row, time_ms, now_ms, n_items, np.exp(-age_h / half_life_h))


def _milliseconds(
    item_row: Array, time_ms: Array, now_ms: int, half_life_h: float, n_items: int
) -> Array:
    age = np.maximum(now_ms - time_ms, 0)
    return _weigh(item_row, time_ms, now_ms, n_items, 0.5 ** (age / half_life_h))


def _no_decay(
    item_row: Array, time_ms: Array, now_ms: int, half_life_h: float, n_items: int
) -> Array:
    return _weigh(item_row, time_ms, now_ms, n_items, np.ones(len(item_row)))


def _future_too(
    item_row: Array, time_ms: Array, now_ms: int, half_life_h: float, n_items: int
) -> Array:
    known = item_row >= 0
    weight = 0.5 ** ((now_ms - time_ms[known]) / HOUR_MS / half_life_h)
    return np.bincount(item_row[known], weights=weight, minlength=n_items)


def _at_now_too(
    item_row: Array, time_ms: Array, now_ms: int, half_life_h: float, n_items: int
) -> Array:
    return decayed_counts(item_row, time_ms - (time_ms == now_ms), now_ms, half_life_h, n_items)


def _repeats_lost(
    item_row: Array, time_ms: Array, now_ms: int, half_life_h: float, n_items: int
) -> Array:
    known = (time_ms < now_ms) & (item_row >= 0)
    total = np.zeros(n_items)
    total[item_row[known]] += 0.5 ** ((now_ms - time_ms[known]) / HOUR_MS / half_life_h)
    return total


def _unknown_wraps(
    item_row: Array, time_ms: Array, now_ms: int, half_life_h: float, n_items: int
) -> Array:
    wrapped = np.where(item_row < 0, n_items - 1, item_row)
    return decayed_counts(wrapped, time_ms, now_ms, half_life_h, n_items)


def _too_short(
    item_row: Array, time_ms: Array, now_ms: int, half_life_h: float, n_items: int
) -> Array:
    known = (time_ms < now_ms) & (item_row >= 0)
    weight = 0.5 ** ((now_ms - time_ms[known]) / HOUR_MS / half_life_h)
    return np.bincount(item_row[known], weights=weight)


_FUTURE = (
    "An event after now is not known yet when the request arrives. In a test on old logs, counting "
    "it is a leak: the number looks better and cannot be reproduced live."
)
MISCONCEPTIONS = (
    Misconception(
        "e instead of 2",
        _natural_base,
        "exp(-age / half-life) leaves 0.37 after one half-life. A half-life leaves exactly one "
        "half: 0.5 ** (age / half_life).",
    ),
    Misconception(
        "milliseconds taken for hours",
        _milliseconds,
        "time_ms is in milliseconds and the half-life in hours; one hour is 3,600,000 ms. As it "
        "is, everything older than a few seconds counts as nothing.",
    ),
    Misconception(
        "nothing decays",
        _no_decay,
        "These are plain counts: last month's hit stays on top of this morning's.",
    ),
    Misconception("the future is counted", _future_too, _FUTURE),
    Misconception(
        "an event at this very moment is counted",
        _at_now_too,
        "Features are read strictly before the request: time_ms < now_ms. The event at the same "
        "millisecond may be the outcome that is to be predicted.",
    ),
    Misconception(
        "repeated items are counted once",
        _repeats_lost,
        "`total[rows] += w` writes each position once, so of several events of one item only the "
        "last survives. np.bincount(rows, weights=w) and np.add.at add them all.",
    ),
    Misconception(
        "-1 counted as the last item",
        _unknown_wraps,
        "-1 marks an item that is unknown; as a position it means the last one in NumPy. Leave "
        "those events out.",
    ),
    Misconception(
        "the result is as long as the largest item seen",
        _too_short,
        "Items without an event must have a 0 too: np.bincount(..., minlength=n_items).",
    ),
)


def _many() -> tuple[Array, Array]:
    chance = rng(2, "exercise-2.4")
    return chance.integers(0, 500, 200_000), chance.integers(0, 48 * HOUR_MS, 200_000)


def _hours(*hours: float) -> Array:
    return (np.array(hours) * HOUR_MS).astype(np.int64)


_NONE = np.zeros(0, np.int64)
CASES = (
    Case(
        "four events, half-life 6 h",
        (np.array([0, 1, 1, 2]), _hours(0, 6, 12, 18), int(24 * HOUR_MS), 6.0, 3),
    ),
    Case(
        "an item without events",
        (np.array([0, 0, 1]), _hours(1, 2, 3), int(5 * HOUR_MS), 2.0, 4),
    ),
    Case(
        "an event at now and one after it",
        (np.array([0, 1, 2]), _hours(1, 2, 3), int(2 * HOUR_MS), 1.0, 3),
    ),
    Case("an unknown item, -1", (np.array([0, -1, 1]), _hours(1, 2, 3), 4 * HOUR_MS, 2.0, 3)),
    Case("no events", (_NONE, _NONE, 4 * HOUR_MS, 2.0, 3)),
    Case("200,000 events", (*_many(), 40 * HOUR_MS, 4.0, 500)),
)

TASK = Task(
    id="2.4",
    title="What is popular now: counts with a half-life",
    asked="Write decayed_counts(item_row, time_ms, now_ms, half_life_h, n_items): event e is of "
    "item item_row[e] at time_ms[e]. Return (n_items,): for each item the sum over its events "
    "strictly before now_ms of 0.5 ** (age in hours / half_life_h). -1 in item_row is an unknown "
    "item: leave it out.",
    starter="def decayed_counts(item_row, time_ms, now_ms, half_life_h, n_items):\n"
    '    """(events,) rows and times -> (n_items,) counts, halved every half_life_h hours."""\n'
    "    ...",
    judge=Probe(
        decayed_counts,
        CASES,
        MISCONCEPTIONS,
        praise="Shorten the half-life and the channel follows the day's news; lengthen it and it "
        "shows evergreens.",
    ),
    hints=(
        "First a mask: which events count at all? Strictly before now, and of a known item.",
        "The age in hours is (now_ms - time_ms) / 3_600_000, and an event's weight is "
        "0.5 ** (age / half_life_h): 1 when fresh, ½ after one half-life, ¼ after two.",
        "np.bincount(rows, weights=weight, minlength=n_items) adds up the weights of each item.",
    ),
    solution=decayed_counts,
    why="With a half-life, old fame fades without a window's edge where everything drops out at "
    "once. Strictly-before keeps the test honest, and minlength keeps the positions in step with "
    "the catalogue.",
    when_slow="A Python loop over events takes longer the more popular the platform. np.bincount "
    "with weights adds up all events at once.",
    limit_s=10.0,
)
