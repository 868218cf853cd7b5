"""Leakage: counters read when the label is known, instead of when the request was served.

    feature of a card = clicks and cards of its item, user, … with stamp < the time of reading
    honest: read at the request      leaks: read after the wait for labels, or at the end of the day
A leaking counter has the card's own click in it. Offline the model looks better, by rows whose
features were read in the same way; on the next day, where nobody can read the future, it is worse.
Reference: Kaufman et al. 2012 (TKDD), leakage in data mining; chapter 2.3.1, the feature stream,
which logs features as they were served.

Simplified: counters and one tree model; industry's leaks hide in one table of hundreds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from reclab.core.chance import rng
from reclab.core.clock import DAY_MS
from reclab.core.errors import DataError
from reclab.core.metrics import auc
from reclab.core.tables import Logs, Table
from reclab.core.types import Array
from reclab.lab.kept import kept
from reclab.lab.lab import Lab, Progress, progress_bar
from reclab.offline_online.join.records import KINDS
from reclab.offline_online.join.window import MINUTE_MS
from reclab.stores.as_of import AsOfSums
from reclab.stores.row_lookup import RowLookup

READS = ("at the request", "at label time", "at the end of day")
COUNTERS = ("item", "user", "author", "user and author", "user and tag")
NAMES = tuple(f"{what} of {who}" for who in COUNTERS for what in ("click rate", "cards"))
PAST_DAYS = 7  # that counters look back
PRIOR = 5.0  # cards that a counter without any is taken to have had
CLICK = KINDS.index("click")


@dataclass(frozen=True)
class Leakage:
    """By way of reading (3,) and split (s,): ``offline`` AUC on rows of the training day kept
    aside, read as the training rows were; ``next_day`` AUC, ``top_clicks`` (share of requests
    whose best card was clicked) and ``predicted`` (mean of p_click) on the day after, read at the
    request; ``clicked`` (s,): its click rate."""

    days: tuple[int, ...]
    offline: Array
    next_day: Array
    top_clicks: Array
    predicted: Array
    clicked: Array

    def table(self) -> str:
        """As text: means over the splits, and the range of what the next day lost."""
        lines = [
            f"{'counters read':<20}{'offline':>9}{'next day':>10}{'best card':>11}{'p_click':>9}"
        ]
        for i, read in enumerate(READS):
            means = (float(x[i].mean()) for x in
                     (self.offline, self.next_day, self.top_clicks, self.predicted))  # fmt: skip
            a, b, top, p = means
            lines.append(f"{read:<20}{a:>9.4f}{b:>10.4f}{top:>11.2%}{p:>9.2%}")
        loss = self.next_day[0] - self.next_day[1:]
        lines.append(f"{len(self.days)} splits; clicked on the next day: {self.clicked.mean():.2%}")
        for read, lost in zip(READS[1:], loss, strict=True):
            lines.append(f"{read} the next day's AUC lost {lost.min():+.4f} to {lost.max():+.4f}")
        return "\n".join(lines)


class Counters:
    """Clicks and cards of each thing, as of any time. A card counts from its request, a click
    from the arrival of its report."""

    def __init__(self, logs: Logs, since_ms: int, until_ms: int) -> None:
        shown = logs.interactions
        if "report_ms" not in logs.feedback or "is_click" not in shown:
            raise DataError("the study of leakage needs clicks with the time of their report")
        self._items = RowLookup(logs.items["video_id"], "video_id")
        self._tag = logs.items["tags"][:, 0].astype(np.int64)
        cards = shown.take((shown["time_ms"] >= since_ms) & (shown["time_ms"] < until_ms))
        self.rate = float(cards["is_click"].mean())
        told = logs.feedback
        at = (told["report_ms"] >= since_ms) & (told["report_ms"] < until_ms)
        clicks = told.take(at & (told["kind"] == CLICK))
        author = logs.items["author_id"][self._items.rows(clicks["video_id"])]
        clicks = clicks.with_columns(author_id=author)
        times = np.concatenate([cards["time_ms"], clicks["report_ms"]])
        value = np.repeat(np.eye(2), (len(cards), len(clicks)), axis=0)
        pairs = zip(self._keys(cards), self._keys(clicks), strict=True)
        self._sums = [AsOfSums(np.concatenate(pair), times, value) for pair in pairs]

    def _keys(self, rows: Table) -> list[Array]:
        """Of rows (n,): a key of each thing (n,)."""
        item, user, author = (rows[f"{k}_id"].astype(np.int64) for k in ("video", "user", "author"))
        tag = self._tag[self._items.rows(item)]
        return [item, user, author, user << 32 | author, user << 32 | (tag + 1)]

    def read(self, rows: Table, time_ms: Array) -> Array:
        """(n, 10) float32: click rate and number of cards of each thing before ``time_ms`` (n,)."""
        columns = []
        for keys, sums in zip(self._keys(rows), self._sums, strict=True):
            cards, clicks = sums.read(keys, time_ms)[1].T
            columns += [(clicks + PRIOR * self.rate) / (cards + PRIOR), np.log1p(cards)]
        return np.stack(columns, 1).astype(np.float32)


def reading_times(time_ms: Array, wait_ms: int) -> tuple[Array, Array, Array]:
    """When the features of requests (n,) are read, in the three ways.

    >>> [int(t[0]) for t in reading_times(np.array([5]), 1000)]
    [5, 1006, 86400000]
    """
    return time_ms, time_ms + wait_ms + 1, (time_ms // DAY_MS + 1) * DAY_MS


def leakage(
    logs: Logs,
    days: Sequence[int] = (),
    seed: int = 0,
    wait_min: int = 20,
    max_rows: int = 50_000,
    late: Sequence[str] = COUNTERS,
    progress: bool | Progress = True,
) -> Leakage:
    """Train on each of ``days`` in the three ways, and serve on the day after; default: three of
    the last days. ``max_rows`` of a day are learned from; only the counters in ``late`` are read
    late, the others at the request. Raises ``DataError`` for unknown counters and days."""
    if not set(late) <= set(COUNTERS):
        raise DataError(f"late must name counters of {COUNTERS}, got {tuple(late)}")
    last = int(logs.interactions["time_ms"].max()) // DAY_MS
    days = tuple(days) or (last - 5, last - 3, last - 1)
    if min(days) < 1 or max(days) >= last:
        raise DataError(f"days must have one before and one after, in 1..{last - 1}, got {days}")
    parts = []
    with progress_bar("leakage", progress) as say:
        say(0.0, "counters")
        since = max(0, min(days) - PAST_DAYS) * DAY_MS
        counters = Counters(logs, since, (max(days) + 2) * DAY_MS)
        for i, day in enumerate(days):
            say((i + 1) / (len(days) + 1), f"day {day}")
            today, tomorrow = (_day(logs, d, rng(seed, "leakage", d), max_rows)
                               for d in (day, day + 1))  # fmt: skip
            x = _read_late(counters, today, wait_min * MINUTE_MS, late)
            parts.append(_split(counters, today, tomorrow, x, seed))
    offline, following, top, p, clicked = (np.array(x) for x in zip(*parts, strict=True))
    return Leakage(days, offline.T, following.T, top.T, p.T, clicked)


def _read_late(counters: Counters, today: Table, wait_ms: int, late: Sequence[str]) -> list[Array]:
    """Features (n, 10) of the day's cards, in the three ways."""
    honest, *leaking = (
        counters.read(today, when) for when in reading_times(today["time_ms"], wait_ms)
    )
    which = np.repeat([name in late for name in COUNTERS], 2)
    return [honest, *(np.where(which, x, honest) for x in leaking)]


def _split(
    counters: Counters, today: Table, tomorrow: Table, features: list[Array], seed: int
) -> tuple[list[float], list[float], list[float], list[float], float]:
    """Three models, each judged on a fifth of its own day's requests and on the day after."""
    requests = np.unique(today["req_id"])
    aside = np.isin(today["req_id"], rng(seed, "aside").permutation(requests)[::5])
    y, y_next = today["is_click"], tomorrow["is_click"]
    served = counters.read(tomorrow, tomorrow["time_ms"])
    offline, following, top, mean = [], [], [], []
    for x in features:
        model = HistGradientBoostingClassifier(max_iter=60, random_state=seed, early_stopping=False)
        model.fit(x[~aside], y[~aside])
        offline.append(auc(y[aside], model.predict_proba(x[aside])[:, 1]))
        p = model.predict_proba(served)[:, 1]
        following.append(auc(y_next, p))
        top.append(_best_clicked(tomorrow["req_id"], p, y_next))
        mean.append(float(p.mean()))
    return offline, following, top, mean, float(y_next.mean())


def _day(logs: Logs, day: int, chance: np.random.Generator, max_rows: int) -> Table:
    """Whole requests of a day, about ``max_rows`` cards of them."""
    a, b = np.searchsorted(logs.interactions["time_ms"], (day * DAY_MS, (day + 1) * DAY_MS))
    shown = logs.interactions.take(np.arange(a, b))
    requests = np.unique(shown["req_id"])
    n = round(len(requests) * min(1.0, max_rows / max(len(shown), 1)))
    return shown.take(np.isin(shown["req_id"], chance.choice(requests, n, replace=False)))


def _best_clicked(req_id: Array, score: Array, clicked: Array) -> float:
    """Share of requests whose card of the highest score was clicked."""
    order = np.lexsort((-score, req_id))
    first = np.diff(req_id[order], prepend=-1) != 0
    return float(clicked[order][first].mean())


def kept_leakage(lab: Lab) -> Leakage:
    """The study on a lab's log, computed once for its models (ten seconds) and kept."""
    return kept(lab, "leakage", Leakage, lambda: {"leakage": leakage(lab.logs)})["leakage"]
