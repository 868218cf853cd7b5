"""Statistics: the numbers of users, items and pairs, strictly before the time of the request.

    rate(x, t)  = (pos + k r0) / (shown + k)        over events of x strictly before t
    lift(u, g)  = ln rate(u, g) / rate(u)           for tag g; the session's likewise, last hour
    share(u, g) = sqrt(pos_g / sum_g pos_g)
    pair value  = sum_g w_ig lift(u, g),            w_i ~ 1, 1/2, 1/3 for the item's tags in order

and from the collaborative factors (factors.py) tastes by tag, the item's effect, and the match of
styles. A user's numbers are exact to the millisecond; those of items are as of the last full hour,
so that a live request gathers them from one table. Counters that hold the end of the log
(``like_cnt`` and the like) are never read.
Reference: chapter 2, section 2.3.1 (user feature centre).

Simplified: industry computes these in streaming jobs and reads them from a feature store.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from reclab.cascade.ranking.factors import FactorsConfig, Observed, Snapshots, fit_factors
from reclab.cascade.ranking.past import Events, Past, Spans
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import check_float, check_int
from reclab.core.types import Array

CELLS = 4_000_000
"""cells of a table of requests by events, authors or tags that is filled at a time (memory)"""
TABLES = 16_000_000
"""numbers of items kept, as of different refreshes (64 MB)"""
LIVE = 64
"""requests at most that are answered from such tables; more of them are a training set"""
KINDS = ("lift", "session_lift", "share", "taste")
"""what is known of a user and a tag"""
REQUEST = ("log_shown", "log_session", "log_idle_hours", "rate", "long_rate", "session_rate")
ITEM = (
    "item_log_shown",
    "author_log_shown",
    "log_age_hours",
    "item_rate",
    "item_long_rate",
    "author_rate",
    "item_effect",
)
PAIR = (*ITEM, "user_author_log_shown", "user_author_rate", "style", *(f"tag_{k}" for k in KINDS))
STYLE = PAIR.index("style")


@dataclass(frozen=True)
class StatisticsConfig:
    """How far back numbers look, and how strongly small counts are pulled to the mean."""

    refresh_ms: int = HOUR_MS
    """time between two refreshes of the numbers of items (ms, 1 minute … 1 day)"""
    max_events: int = 1000
    """latest exposures of a user that are summed by author (events, 100 … 10 000)"""
    session_ms: int = HOUR_MS
    """how far back a session reaches (ms, 10 min … 6 h)"""
    prior: float = 10.0
    """strength of a prior rate in events (1 … 100)"""
    tag_prior: float = 3.0
    """the same for a user's rate in one tag (0.3 … 30)"""
    session_prior: float = 1.0
    """the same for the rate in one tag within the session (0.1 … 10)"""
    factors: FactorsConfig = field(default_factory=FactorsConfig)
    """collaborative factors"""
    n_snapshots: int = 4
    """fits of the factors, the last at the end of training; 0 = none (0 … 30)"""
    snapshot_ms: int = 2 * DAY_MS
    """time between two fits (ms, 1 hour … 7 days)"""

    def __post_init__(self) -> None:
        check_int("StatisticsConfig.refresh_ms", self.refresh_ms, 1, 30 * DAY_MS, "3600000")
        check_int("StatisticsConfig.max_events", self.max_events, 1, 1_000_000, "1000")
        check_int("StatisticsConfig.session_ms", self.session_ms, 1, 30 * DAY_MS, "3600000")
        for name in ("prior", "tag_prior", "session_prior"):
            check_float(f"StatisticsConfig.{name}", getattr(self, name), 0.01, 1e6, "1-10")
        check_int("StatisticsConfig.n_snapshots", self.n_snapshots, 0, 1000, "4")
        check_int("StatisticsConfig.snapshot_ms", self.snapshot_ms, 1, 3650 * DAY_MS, "172800000")


@dataclass(frozen=True)
class Catalogue:
    """What numbers need of the items. All have N + 1 rows, the last for no item: ``author_row``
    -1 = none; ``tags`` (N + 1, W) -1 = none, their ``weight``; ``publish_ms``."""

    author_row: Array
    n_authors: int
    tags: Array
    weight: Array
    n_tags: int
    publish_ms: Array


class Known(NamedTuple):
    """B requests before any candidate: rows and times (B,), ``request`` (B, 4 G + Nr) interests by
    tag (KINDS, each of all tags) and the numbers of REQUEST, ``rate`` (B,) of positives."""

    user_row: Array
    time_ms: Array
    request: Array
    rate: Array


class Statistics:
    """``base`` (2,): mean rates of positives and long views, towards which small counts lean."""

    def __init__(self, config: StatisticsConfig, n_users: int, base: Array) -> None:
        self.config, self.n_users, self.base = config, n_users, base
        self.past, self.snapshots = Past(n_users), Snapshots()
        self.catalogue: Catalogue
        self._tables: dict[int, Array] = {}

    def describe(self, catalogue: Catalogue) -> None:
        """Take what is known of the items now."""
        self.catalogue = catalogue
        self._tables.clear()

    def arrays(self) -> dict[str, Array]:
        """What ``restore`` needs: the events and the fits, without the catalogue."""
        return {"base": self.base, **self.past.arrays(), **self.snapshots.arrays()}

    def restore(self, held: Mapping[str, Array]) -> None:
        """Take the events and fits that ``arrays`` described."""
        self.past, self.snapshots = Past.from_arrays(held), Snapshots.from_arrays(held)

    def append(
        self, user_row: Array, item_row: Array, time_ms: Array, positive: Array, long: Array
    ) -> None:
        """Add events (n,): they count in every read of a later time."""
        self._tables.clear()
        author_row = self.catalogue.author_row[item_row]
        self.past.append(user_row, item_row, author_row, time_ms, positive, long)

    def fit_factors(
        self, user_row: Array, item_row: Array, time_ms: Array, y: Array, last_ms: int
    ) -> None:
        """Factors from the events (n,) before each snapshot, the last one at ``last_ms``."""
        items = self.catalogue
        for back in range(self.config.n_snapshots - 1, -1, -1):
            now_ms = last_ms - back * self.config.snapshot_ms
            rows = np.flatnonzero(time_ms < now_ms)
            if len(rows):
                tables = items.author_row[:-1], items.tags[:-1], items.weight[:-1]
                events = user_row[rows], item_row[rows], y[rows]
                seen = Observed(*events, *tables, self.n_users, items.n_tags)
                self.snapshots.add(now_ms, fit_factors(seen, self.config.factors))
        self._tables.clear()

    def of_requests(self, user_row: Array, time_ms: Array) -> Known:
        """What is known of requests (B,) before any candidate."""
        n = len(user_row)
        step = max(1, CELLS // max(self.config.max_events, self.catalogue.n_tags))
        if n == 1:
            request, rate = self._of_users(user_row, time_ms)
            return Known(user_row, time_ms, request, rate)
        # by user and time, so that what is summed for one request is carried on to the next
        order = np.lexsort((time_ms, user_row))
        request = np.empty((n, len(KINDS) * self.catalogue.n_tags + len(REQUEST)), np.float32)
        rate = np.empty(n, np.float32)
        for at in range(0, n, step):
            mine = order[at : at + step]
            request[mine], rate[mine] = self._of_users(user_row[mine], time_ms[mine])
        return Known(user_row, time_ms, request, rate)

    def of_pairs(self, known: Known, request_row: Array, item_row: Array) -> Array:
        """(n, Np) numbers of candidates (n,), whose requests ``request_row`` (n,) ascend."""
        n, step = (
            len(known.rate),
            max(1, CELLS // max(self.config.max_events, self.catalogue.n_authors)),
        )
        if n <= step:
            return self._of_pairs(known, request_row, item_row)
        starts, parts = np.searchsorted(request_row, np.arange(0, n + step, step)), []
        for part, at in enumerate(range(0, n, step)):
            some = slice(starts[part], starts[part + 1])
            mine = Known(*(column[at : at + step] for column in known))
            parts.append(self._of_pairs(mine, request_row[some] - at, item_row[some]))
        return np.concatenate(parts)

    def _of_pairs(self, known: Known, owner: Array, item_row: Array) -> Array:
        time_ms, n_items = known.time_ms[owner], len(ITEM)
        pair = np.empty((len(item_row), len(PAIR)), np.float32)
        if not len(pair):
            return pair
        pair[:, :n_items] = self._items(known.time_ms, time_ms, item_row)
        pair[:, n_items : n_items + 2] = self._of_authors(known, owner, item_row)
        pair[:, STYLE] = self.snapshots.style(known.user_row[owner], item_row, time_ms)
        pair[:, STYLE + 1 :] = self._of_tags(known.request, owner, item_row)
        return pair

    def _of_users(self, user_row: Array, time_ms: Array) -> tuple[Array, Array]:
        """(B, 4 G + Nr) numbers and (B,) rates of positives, for requests by user and time."""
        c, past = self.config, self.past
        spans = past.spans(user_row, time_ms, time_ms - c.session_ms)
        ever, lately = past.user(spans)
        rate = _smooth(ever.positive, ever.shown, self.base[0], c.prior)
        long_rate = _smooth(ever.long, ever.shown, self.base[1], c.prior)
        now = _smooth(lately.positive, lately.shown, rate, c.prior)
        idle_h = past.idle_ms(spans, time_ms, 30 * DAY_MS) / HOUR_MS
        n_tags, numbers = self.catalogue.n_tags, np.empty((len(rate), len(REQUEST)), np.float32)
        numbers[:, 0], numbers[:, 1], numbers[:, 2] = ever.shown, lately.shown, idle_h
        numbers[:, 3], numbers[:, 4], numbers[:, 5] = rate, long_rate, now
        _on_log_scales(numbers)
        numbers[:, 5] -= numbers[:, 3]
        taste = self.snapshots.taste(user_row, time_ms, n_tags)
        return np.concatenate([*self._by_tag(spans, rate), taste, numbers], 1), rate

    def _by_tag(self, spans: Spans, rate: Array) -> list[Array]:
        """(B, G) each: lift, session lift and share of every tag."""
        c, n, rate = self.config, len(rate), rate[:, None]
        positive, shown = self._tag_sums(self.past.news_and_lately(spans), 2 * n)
        if n > 1:
            first = np.ones(n, bool)
            first[1:] = spans.user_row[1:] != spans.user_row[:-1]
            group = np.maximum.accumulate(np.where(first, np.arange(n), 0))
            positive[:n], shown[:n] = _running(positive[:n], group), _running(shown[:n], group)
        usual = _smooth(positive[:n], shown[:n], rate, c.tag_prior)
        now = _smooth(positive[n:], shown[n:], usual, c.session_prior)
        share = np.sqrt(positive[:n] / np.maximum(positive[:n].sum(1, keepdims=True), 1e-6))
        parts = np.log(usual / rate), np.log(now / usual), share
        return [part.astype(np.float32) for part in parts]

    def _tag_sums(self, events: Events, n: int) -> tuple[Array, Array]:
        """(n, G) float64 positives and exposures of each owner by tag, shared among an item's
        tags by their weights."""
        width = self.catalogue.n_tags + 1  # the last one is no tag, -1
        tags, weight = self.catalogue.tags[events.item_row], self.catalogue.weight[events.item_row]
        cell = (events.owner * 2 + events.positive)[:, None] * width + tags % width
        sums = np.bincount(cell.ravel(), weight.ravel(), 2 * n * width).reshape(n, 2, width)
        return sums[:, 1, :-1], sums[:, :, :-1].sum(1)

    def _items(self, asked_ms: Array, time_ms: Array, item_row: Array) -> Array:
        """(n, Ni) ``of_items``, for requests at ``asked_ms`` (B,): few requests gather from tables
        of their hours, which the next ones find ready; many (training) compute their own rows."""
        refresh = self.config.refresh_ms
        hours = {int(t) // refresh for t in asked_ms[:LIVE]}
        fits = len(hours) * len(self.catalogue.publish_ms) * len(ITEM) <= TABLES
        if len(hours) == 1 and len(asked_ms) <= LIVE:
            return self._table(hours.pop())[item_row]
        if len(asked_ms) > LIVE or not fits:
            return self.of_items(item_row, time_ms)
        found, hour = np.empty((len(item_row), len(ITEM)), np.float32), time_ms // refresh
        for now in hours:
            rows = np.flatnonzero(hour == now)
            found[rows] = self._table(now)[item_row[rows]]
        return found

    def _table(self, hour: int) -> Array:
        """(N, Ni) ``of_items`` of the whole catalogue as of a refresh; a few are kept."""
        n = len(self.catalogue.author_row) - 1
        found = self._tables.get(hour)
        if found is None:
            while len(self._tables) * n * len(ITEM) > TABLES:
                # a copy of the names, for other threads may drop or add one meanwhile
                self._tables.pop(list(self._tables)[0], None)
            now_ms = hour * self.config.refresh_ms
            found = self.of_items(np.arange(n), np.full(n, now_ms))
            self._tables[hour] = found
        return found

    def of_items(self, item_row: Array, time_ms: Array) -> Array:
        """(n, Ni) numbers of items and their authors as of the last refresh before their times
        (n,): what can be precomputed for every user alike."""
        c, items = self.config, self.catalogue
        time_ms = time_ms // c.refresh_ms * c.refresh_ms
        item = self.past.item(item_row, time_ms)
        author = self.past.author(items.author_row[item_row], time_ms)
        out = np.empty((len(item_row), len(ITEM)), np.float32)
        author_rate = _smooth(author.positive, author.shown, self.base[0], c.prior)
        author_long = _smooth(author.long, author.shown, self.base[1], c.prior)
        age_h = np.maximum(time_ms - items.publish_ms[item_row], 0) / HOUR_MS
        out[:, 0], out[:, 1], out[:, 2] = item.shown, author.shown, age_h
        out[:, 3] = _smooth(item.positive, item.shown, author_rate, c.prior)
        out[:, 4] = _smooth(item.long, item.shown, author_long, c.prior)
        out[:, 5] = author_rate
        _on_log_scales(out)
        out[:, 6] = self.snapshots.effect(item_row, time_ms)
        return out

    def _of_authors(self, known: Known, owner: Array, item_row: Array) -> Array:
        """(n, 2) exposures of the user to the item's author, and how they went."""
        items, rate = self.catalogue, known.rate
        latest = self.past.latest(known.user_row, known.time_ms, self.config.max_events)
        author_row, width = items.author_row[item_row], items.n_authors + 1
        cell = latest.owner * width + items.author_row[latest.item_row] % width
        at, size = owner * width + author_row % width, len(rate) * width
        shown = np.bincount(cell, minlength=size)[at]
        positive = np.bincount(cell[latest.positive], minlength=size)[at]
        mine, out = rate[owner], np.empty((len(owner), 2), np.float32)
        np.log1p(shown, out=out[:, 0], casting="same_kind")
        taste = _smooth(positive.astype(np.float32), shown.astype(np.float32), mine, 2.0)
        out[:, 1] = _logit(taste) - _logit(mine)
        out[author_row < 0] = 0.0
        return out

    def _of_tags(self, request: Array, owner: Array, item_row: Array) -> Array:
        """(n, kinds) what is known of the user and the item's tags, weighted."""
        items, n_tags, width = self.catalogue, self.catalogue.n_tags, request.shape[1]
        if not n_tags:
            return np.zeros((len(item_row), len(KINDS)), np.float32)
        tags, weight = np.maximum(items.tags[item_row], 0), items.weight[item_row]
        kind = np.arange(0, len(KINDS) * n_tags, n_tags)[:, None]
        place = (owner * width)[:, None, None] + kind + tags[:, None, :]
        return np.asarray((request.ravel()[place] * weight[:, None, :]).sum(2))


def _smooth(positive: Array, shown: Array, prior_rate: Array, strength: float) -> Array:
    rate: Array = (positive + strength * prior_rate) / (shown + strength)
    return rate


def _running(sums: Array, group: Array) -> Array:
    """(B, G) running sums that start anew with each group; ``group`` (B,) = its first row."""
    total = sums.cumsum(0)
    return np.asarray(total - (total - sums)[group])


def _logit(p: Array) -> Array:
    p = np.minimum(np.maximum(p, 1e-4), 1 - 1e-4)
    return np.asarray(np.log(p / (1 - p)), np.float32)


def _on_log_scales(numbers: Array) -> None:
    """In place: ln(1 + x) of the first three columns, ln(p / (1 - p)) of the next three."""
    np.log1p(numbers[:, :3], out=numbers[:, :3])
    numbers[:, 3:6] = _logit(numbers[:, 3:6])
