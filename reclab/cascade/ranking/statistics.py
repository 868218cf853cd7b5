"""Statistics: the numbers of users, items and pairs, strictly before the time of the request.

    rate(x, t)  = (pos + k r0) / (shown + k)        over events of x strictly before t
    lift(u, g)  = ln rate(u, g) / rate(u)           for tag g; the session's likewise, last hour
    share(u, g) = sqrt(pos_g / sum_g pos_g)
    pair value  = sum_g w_ig lift(u, g),            w_i ~ 1, 1/2, 1/3 for the item's tags in order

and from the collaborative factors (factors.py) tastes by tag, the item's effect, and the match of
styles. Counters that hold the end of the log (``like_cnt`` and the like) are never read.
Reference: chapter 2, section 2.3.1 (user feature centre).

Simplified: industry computes these in streaming jobs and reads them from a feature store.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from reclab.cascade.ranking.factors import FactorsConfig, Observed, Snapshots, fit_factors
from reclab.cascade.ranking.past import Events, Past
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import check_float, check_int
from reclab.core.types import Array
from reclab.stores.as_of import ragged

CELLS = 4_000_000
"""cells of a table of requests by events, authors or tags that is filled at a time (memory)"""
KINDS = ("lift", "session_lift", "share", "taste")
"""what is known of a user and a tag"""
REQUEST = ("log_shown", "rate", "long_rate", "log_session", "session_rate", "log_idle_hours")
ITEM = (
    "item_log_shown",
    "item_rate",
    "item_long_rate",
    "log_age_hours",
    "author_log_shown",
    "author_rate",
    "item_effect",
)
PAIR = (*ITEM, "user_author_log_shown", "user_author_rate", "style", *(f"tag_{k}" for k in KINDS))
STYLE = PAIR.index("style")


@dataclass(frozen=True)
class StatisticsConfig:
    """How far back numbers look, and how strongly small counts are pulled to the mean."""

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


class Statistics:
    """``base`` (2,): mean rates of positives and long views, towards which small counts lean."""

    def __init__(self, config: StatisticsConfig, n_users: int, base: Array) -> None:
        self.config, self.n_users, self.base = config, n_users, base
        self.past, self.snapshots = Past(n_users), Snapshots()
        self.catalogue: Catalogue

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

    def of(
        self, user_row: Array, time_ms: Array, request_row: Array, item_row: Array
    ) -> tuple[Array, Array, Array]:
        """interest (B, 4 G), request (B, Nr) and pair (n, Np) numbers of requests (B,) and their
        candidates (n,)."""
        # by user and time, so that what is summed for one request is carried on to the next
        order = np.lexsort((time_ms, user_row))
        starts = np.searchsorted(request_row, np.arange(len(user_row) + 1))
        counts = (starts[1:] - starts[:-1])[order]
        rows, owner = ragged(starts[order], counts), np.repeat(np.arange(len(order)), counts)
        who, when, what = user_row[order], time_ms[order], item_row[rows]
        ends, parts = np.append(0, np.cumsum(counts)), []
        widest = max(self.config.max_events, self.catalogue.n_authors, self.catalogue.n_tags)
        step = max(1, CELLS // widest)
        for at in range(0, max(1, len(order)), step):
            stop = min(at + step, len(order))
            mine, some = slice(at, stop), slice(ends[at], ends[stop])
            parts.append(self._numbers(who[mine], when[mine], owner[some] - at, what[some]))
        interest, request, pair = (np.concatenate(part) for part in zip(*parts, strict=True))
        back = np.argsort(order)
        pair[rows] = pair.copy()
        return interest[back], request[back], pair

    def _numbers(
        self, user_row: Array, time_ms: Array, owner: Array, item_row: Array
    ) -> tuple[Array, Array, Array]:
        """The same for requests that are sorted by user and time; ``owner`` (n,) says whose each
        candidate is."""
        request, rate = self._of_requests(user_row, time_ms)
        taste = self.snapshots.taste(user_row, time_ms, self.catalogue.n_tags)
        interest = np.concatenate([self._by_tag(user_row, time_ms, rate), taste], 1)
        items = self.of_items(item_row, time_ms[owner])
        style = self.snapshots.style(user_row[owner], item_row, time_ms[owner])
        latest = self.past.latest(user_row, time_ms, self.config.max_events)
        authors = self._of_authors(latest, rate, owner, item_row)
        tags = self._of_tags(interest, owner, item_row)
        return interest, request, np.concatenate([items, authors, style[:, None], tags], 1)

    def _of_requests(self, user_row: Array, time_ms: Array) -> tuple[Array, Array]:
        """(B, Nr) numbers of the user, and (B,) the rate of positives."""
        c, past = self.config, self.past
        all_time, before = past.user(user_row, time_ms), past.user(user_row, time_ms - c.session_ms)
        session, liked = all_time.shown - before.shown, all_time.positive - before.positive
        rate = _smooth(all_time.positive, all_time.shown, self.base[0], c.prior)
        long_rate = _smooth(all_time.long, all_time.shown, self.base[1], c.prior)
        now = _smooth(liked, session, rate, c.prior)
        idle_h = past.idle_ms(user_row, time_ms, 30 * DAY_MS) / HOUR_MS
        columns = [np.log1p(all_time.shown), _logit(rate), _logit(long_rate), np.log1p(session)]
        columns += [_logit(now) - _logit(rate), np.log1p(idle_h)]
        return np.stack(columns, 1).astype(np.float32), rate

    def _by_tag(self, user_row: Array, time_ms: Array, rate: Array) -> Array:
        """(B, 4 G) lift, session lift and share of every tag."""
        c = self.config
        first = np.ones(len(user_row), bool)
        first[1:] = user_row[1:] != user_row[:-1]
        group = np.maximum.accumulate(np.where(first, np.arange(len(first)), 0))
        shown, positive = (
            _running(sums, group)
            for sums in self._tag_sums(self.past.news(user_row, time_ms), len(rate))
        )
        lately = self.past.events(user_row, time_ms, time_ms - c.session_ms)
        shown_now, positive_now = self._tag_sums(lately, len(rate))
        usual = _smooth(positive, shown, rate[:, None], c.tag_prior)
        now = _smooth(positive_now, shown_now, usual, c.session_prior)
        share = np.sqrt(positive / np.maximum(positive.sum(1, keepdims=True), 1e-6))
        parts = [np.log(usual / rate[:, None]), np.log(now / usual), share]
        return np.concatenate(parts, 1).astype(np.float32)

    def _tag_sums(self, events: Events, n: int) -> tuple[Array, Array]:
        """(n, G) float64 exposures and positives of each owner by tag, shared among an item's
        tags by their weights."""
        n_tags = self.catalogue.n_tags
        tags, weight = self.catalogue.tags[events.item_row], self.catalogue.weight[events.item_row]
        cell = events.owner[:, None] * (n_tags + 1) + np.where(tags < 0, n_tags, tags)
        liked = events.positive
        sums = [
            np.bincount(cell[rows].ravel(), weight[rows].ravel(), n * (n_tags + 1))
            for rows in (slice(None), liked)
        ]
        shown, positive = (s.reshape(n, n_tags + 1)[:, :n_tags] for s in sums)
        return shown, positive

    def of_items(self, item_row: Array, time_ms: Array) -> Array:
        """(n, Ni) numbers of items and their authors before their times (n,): what can be
        precomputed for every user alike."""
        c, author_row = self.config, self.catalogue.author_row[item_row]
        item, author = self.past.item(item_row, time_ms), self.past.author(author_row, time_ms)
        author_rate = _smooth(author.positive, author.shown, self.base[0], c.prior)
        author_long = _smooth(author.long, author.shown, self.base[1], c.prior)
        item_rate = _smooth(item.positive, item.shown, author_rate, c.prior)
        item_long = _smooth(item.long, item.shown, author_long, c.prior)
        age_h = np.maximum(time_ms - self.catalogue.publish_ms[item_row], 0) / 3.6e6
        columns = [np.log1p(item.shown), _logit(item_rate), _logit(item_long), np.log1p(age_h)]
        columns += [np.log1p(author.shown), _logit(author_rate)]
        columns += [self.snapshots.effect(item_row, time_ms)]
        return np.stack(columns, 1).astype(np.float32)

    def item_matches(self, item_row: Array, now_ms: int) -> list[Array]:
        """What a user's side of a match is multiplied with: styles (n, d), tag weights (n, G)."""
        items = self.catalogue
        tags = np.zeros((len(item_row), items.n_tags + 1), np.float32)
        place, each = items.tags[item_row], np.arange(len(item_row))[:, None]
        np.add.at(tags, (each, place), items.weight[item_row])
        fit = self.snapshots.latest(now_ms)
        style = [fit.style_i[fit.items(item_row)]] if fit else []
        return [*style, tags[:, : items.n_tags]]

    def user_matches(
        self, user_row: Array, interest: Array, weights: Array, now_ms: int
    ) -> list[Array]:
        """The user's side: styles (B, d) and interests by tag (B, G), times ``weights`` (5,), so
        that user · item = weights · pair[STYLE:] for a request at ``now_ms``."""
        kinds = interest.reshape(len(user_row), len(KINDS), -1)
        wish = np.einsum("bkg,k->bg", kinds, weights[1:])
        fit = self.snapshots.latest(now_ms)
        style = [weights[0] * fit.style_u[fit.users(user_row)]] if fit else []
        return [*style, wish]

    def _of_authors(self, latest: Events, rate: Array, owner: Array, item_row: Array) -> Array:
        """(n, 2) exposures of the user to the item's author, and how they went."""
        items = self.catalogue
        author_row, width = items.author_row[item_row], items.n_authors + 1
        cell = latest.owner * width + items.author_row[latest.item_row] % width
        at, has = owner * width + author_row % width, author_row >= 0
        size = len(rate) * width
        shown = has * np.bincount(cell, minlength=size)[at].astype(np.float32)
        positive = has * np.bincount(cell[latest.positive], minlength=size)[at].astype(np.float32)
        mine = rate[owner]
        taste = _logit(_smooth(positive, shown, mine, 2.0)) - _logit(mine)
        return np.stack([np.log1p(shown), taste], 1).astype(np.float32)

    def _of_tags(self, interest: Array, owner: Array, item_row: Array) -> Array:
        """(n, kinds) what is known of the user and the item's tags, weighted."""
        items, n_tags = self.catalogue, self.catalogue.n_tags
        if not n_tags:
            return np.zeros((len(item_row), len(KINDS)), np.float32)
        tags, weight = np.maximum(items.tags[item_row], 0), items.weight[item_row]
        place = owner[:, None] * (len(KINDS) * n_tags) + tags
        flat = interest.ravel()
        kinds = [(flat[place + k * n_tags] * weight).sum(1) for k in range(len(KINDS))]
        return np.stack(kinds, 1)


def _smooth(positive: Array, shown: Array, prior_rate: Array, strength: float) -> Array:
    rate: Array = (positive + strength * prior_rate) / (shown + strength)
    return rate


def _running(sums: Array, group: Array) -> Array:
    """(B, G) running sums that start anew with each group; ``group`` (B,) = its first row."""
    total = sums.cumsum(0)
    return np.asarray(total - (total - sums)[group])


def _logit(p: Array) -> Array:
    p = np.clip(p, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(p / (1 - p)), np.float32)
