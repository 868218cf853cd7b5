"""Features: what a ranker may know about a request and a candidate, strictly as of the request's time.

    rate(x, t)  = (pos + k r0) / (shown + k)        over events of x strictly before t
    lift(u, g)  = ln rate(u, g) / rate(u)           for tag g; the session's lift likewise, from the last hour
    share(u, g) = sqrt(pos_g / sum_g pos_g)
    pair value  = sum_g w_ig lift(u, g),  w_i = 1, 1/2, 1/3 for the item's first, second, third tag

One code path makes the features of training rows and of live requests, so both see the same
numbers. Counters that hold the end of the log (``like_cnt`` and the like) are never read.
Reference: chapter 2, section 2.3.1 (user feature centre, forward index).
Simplified: industry computes these in streaming jobs and reads them from a feature store.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.ranking.past import Events, Past
from reclab.cascade.ranking.vocabulary import Vocabulary, tag_scale
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import check_float, check_int
from reclab.core.tables import Logs, Table
from reclab.core.types import Array, Candidates
from reclab.stores.as_of import ragged
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.row_lookup import RowLookup
from reclab.stores.user_features import UserFeatures

CELLS = 4_000_000
"""cells of a table of requests by events, authors or tags that is filled at a time (memory)"""


@dataclass(frozen=True)
class FeatureConfig:
    """What is read and how strongly small counts are pulled to the mean."""

    history: int = 20
    """latest positives in the behaviour sequence (items, 5 … 100)"""
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
    with_statistics: bool = True
    """as-of numbers on; off leaves ids, profile, tags and history (the static features)"""
    max_item_ids: int = 200_000
    """items with an embedding of their own, most exposed first (ids; memory)"""

    def __post_init__(self) -> None:
        check_int("FeatureConfig.history", self.history, 1, 1000, "20")
        check_int("FeatureConfig.max_events", self.max_events, 1, 1_000_000, "1000")
        check_int("FeatureConfig.session_ms", self.session_ms, 1, 30 * DAY_MS, "3600000")
        check_float("FeatureConfig.prior", self.prior, 0.01, 1e6, "10")
        check_float("FeatureConfig.tag_prior", self.tag_prior, 0.01, 1e6, "3")
        check_float("FeatureConfig.session_prior", self.session_prior, 0.01, 1e6, "1")
        check_int("FeatureConfig.max_item_ids", self.max_item_ids, 1, 100_000_000, "200000")


@dataclass(frozen=True)
class Features:
    """B requests and their n candidates, as a model takes them.

    user (B, Fu) codes; interest (B, 3 G) lift, session lift and share by tag; request (B, Nr)
    numbers; history (B, L) item rows, -1 padded at the left; request_row (n,) ascending;
    item_row (n,); pair (n, Np) numbers of the candidate and of user and candidate together."""

    user: Array
    interest: Array
    request: Array
    history: Array
    request_row: Array
    item_row: Array
    pair: Array

    def __len__(self) -> int:
        return len(self.item_row)

    def take(self, requests: Array) -> "Features":
        """The features of these requests (positions), in that order, with all their candidates."""
        rows, request_row = self.rows_of(requests)
        return Features(
            self.user[requests],
            self.interest[requests],
            self.request[requests],
            self.history[requests],
            request_row,
            self.item_row[rows],
            self.pair[rows],
        )

    @cached_property
    def starts(self) -> Array:
        """(B + 1,) where each request's candidates begin."""
        return np.searchsorted(self.request_row, np.arange(len(self.user) + 1))

    def rows_of(self, requests: Array) -> tuple[Array, Array]:
        """(m,) candidate positions of these requests, and (m,) whose each is."""
        counts = self.starts[requests + 1] - self.starts[requests]
        return ragged(self.starts[requests], counts), np.repeat(np.arange(len(requests)), counts)


class FeatureBuilder:
    """Fitted once on a log; ``build`` answers for any requests and candidates at any time.

    ``names`` says which numbers the log's columns allow, by part: interest, request and pair."""

    def __init__(self, config: FeatureConfig | None = None) -> None:
        self.config = config or FeatureConfig()

    def fit(
        self, logs: Logs, index: ForwardIndex, users: UserFeatures, until_ms: int | None = None
    ) -> Self:
        """Take the whole log, for reads are as of a time; codes and mean rates come from the
        interactions before ``until_ms`` only."""
        self.index, self.users = index, users
        shown = logs.interactions
        user_row, item_row = users.rows(shown["user_id"]), index.rows(shown["video_id"])
        positive, long = _outcomes(logs)
        known = (user_row >= 0) & (item_row >= 0)
        early = known if until_ms is None else known & (shown["time_ms"] < until_ms)
        self.vocabulary = Vocabulary.learn(users.profiles, index, user_row[early], item_row[early])
        base = [
            np.clip(x[early].mean(), 1e-3, 0.999) if early.any() else 0.5 for x in (positive, long)
        ]
        self.base = np.array(base, np.float32)
        self.has_long = "is_long_view" in shown
        self.past = Past(len(users))
        self._authors = RowLookup(np.zeros(0, np.int64), "author_id")
        self.refresh()
        if self.config.with_statistics:
            self.append(shown)
        return self

    def append(self, events: Table) -> None:
        """Near-line update: new interactions count in every read of a later time."""
        user_row, item_row = self.users.rows(events["user_id"]), self.index.rows(events["video_id"])
        rows = np.flatnonzero((user_row >= 0) & (item_row >= 0))
        positive, long = _outcomes(Logs(Table(), Table(), events))
        user_row, item_row, time_ms = user_row[rows], item_row[rows], events["time_ms"][rows]
        author_row = self.author_row[item_row]
        self.past.append(user_row, item_row, author_row, time_ms, positive[rows], long[rows])

    def refresh(self) -> None:
        """Read the tables again: codes, authors, tags and publication times of all items that are
        in the index now. Done by itself when the index has changed."""
        index, words = self.index, self.vocabulary
        self.version = index.version
        self.item_codes = words.item_codes(index, np.arange(len(index)))
        self.user_codes = words.user_codes(self.users.profiles)
        self.author_row = np.full(len(index) + 1, -1)
        if "author_id" in index:
            names = np.unique(index["author_id"])
            self._authors.add(names[self._authors.rows(names) < 0])
            self.author_row[:-1] = self._authors.rows(index["author_id"])
        self.n_authors = len(self._authors)
        self.tags = np.full((len(index) + 1, words.item_tags), -1)
        if words.item_tags:
            self.tags[:-1] = index["tags"]
        weight = tag_scale(words.item_tags) * (self.tags >= 0)
        total = np.maximum(weight.sum(1, keepdims=True), 1e-6)
        # multiples of 1/1024: sums of them are exact in any order, so training = serving
        self.tag_weight = (np.round(1024 * weight / total) / 1024).astype(np.float32)
        self.publish_ms = np.zeros(len(index) + 1, np.int64)
        if "publish_ms" in index:
            self.publish_ms[:-1] = index["publish_ms"]
        self.by_age = np.argsort(self.publish_ms[:-1], kind="stable")

    def draw_published(self, time_ms: Array, chance: np.random.Generator) -> Array:
        """(n,) item rows, uniform among the items published by each time (n,)."""
        n = np.searchsorted(self.publish_ms[self.by_age], time_ms, side="right")
        n = np.where(n > 0, n, len(self.by_age))
        return self.by_age[(chance.random(len(n)) * n).astype(np.int64)]

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """Names of the numbers by part."""
        if not self.config.with_statistics:
            return {"interest": (), "request": (), "pair": ()}
        tags = range(self.vocabulary.n_tags)
        kinds = ("lift", "session_lift", "share")
        interest = tuple(f"{kind}_tag_{tag}" for kind in kinds for tag in tags)
        return {"interest": interest, "request": REQUEST, "pair": PAIR}

    # -- build ------------------------------------------------------------------------------

    def for_batch(self, batch: Batch, candidates: Candidates) -> Features:
        """Features of live requests; the history is the batch's own."""
        length = self.config.history
        history = batch.history[:, -length:]
        if history.shape[1] < length:
            pad = np.full((len(history), length - history.shape[1]), -1)
            history = np.concatenate([pad, history], 1)
        who = batch.user_row, batch.time_ms, batch.network
        return self.build(*who, candidates.request_row, candidates.item_row, history)

    def build(
        self,
        user_row: Array,
        time_ms: Array,
        network: Array,
        request_row: Array,
        item_row: Array,
        history: Array | None = None,
    ) -> Features:
        """Features of requests (B,) and candidates (n,), strictly as of the requests' times."""
        if self.version != self.index.version:
            self.refresh()
        if history is None:
            history = self.users.history(user_row, time_ms, n=self.config.history)
        context = self.vocabulary.context_codes(time_ms, network)
        user = np.concatenate([self.user_codes[user_row], context], 1)
        if not self.config.with_statistics:
            empty = np.zeros((len(user_row), 0), np.float32)
            pair = np.zeros((len(item_row), 0), np.float32)
            return Features(user, empty, empty, history, request_row, item_row, pair)
        # by user and time, so that what is summed for one request is carried on to the next
        order = np.lexsort((time_ms, user_row))
        starts = np.searchsorted(request_row, np.arange(len(user_row) + 1))
        counts = (starts[1:] - starts[:-1])[order]
        rows, owner = ragged(starts[order], counts), np.repeat(np.arange(len(order)), counts)
        who, when, what = user_row[order], time_ms[order], item_row[rows]
        ends, step, parts = np.append(0, np.cumsum(counts)), self._requests_at_once(), []
        for at in range(0, max(1, len(order)), step):
            stop = min(at + step, len(order))
            mine, some = slice(at, stop), slice(ends[at], ends[stop])
            parts.append(self._numbers(who[mine], when[mine], owner[some] - at, what[some]))
        interest, request, pair = (np.concatenate(part) for part in zip(*parts, strict=True))
        back = np.argsort(order)
        pair[rows] = pair.copy()
        interest, request = interest[back], request[back]
        return Features(user, interest, request, history, request_row, item_row, pair)

    def _requests_at_once(self) -> int:
        widest = max(self.config.max_events, self.n_authors, self.vocabulary.n_tags)
        return max(1, CELLS // widest)

    def _numbers(
        self, user_row: Array, time_ms: Array, owner: Array, item_row: Array
    ) -> tuple[Array, Array, Array]:
        """Interest (B, 3 G), request (B, Nr) and pair (n, Np) numbers of requests that are sorted
        by user and time; ``owner`` (n,) says whose each candidate is."""
        request, rate = self._of_requests(user_row, time_ms)
        interest = self._by_tag(user_row, time_ms, rate)
        items = self.of_items(item_row, time_ms[owner])
        latest = self.past.latest(user_row, time_ms, self.config.max_events)
        both = self._of_pairs(latest, rate, interest, owner, item_row)
        return interest, request, np.concatenate([items, both], 1)

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
        """(B, 3 G) lift, session lift and share of every tag."""
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
        n_tags = self.vocabulary.n_tags
        tags, weight = self.tags[events.item_row], self.tag_weight[events.item_row]
        cell = events.owner[:, None] * (n_tags + 1) + np.where(tags < 0, n_tags, tags)
        liked = events.positive
        sums = [
            np.bincount(cell[rows].ravel(), weight[rows].ravel(), n * (n_tags + 1))
            for rows in (slice(None), liked)
        ]
        shown, positive = (s.reshape(n, n_tags + 1)[:, :n_tags] for s in sums)
        return shown, positive

    def _of_pairs(
        self, latest: Events, rate: Array, interest: Array, owner: Array, item_row: Array
    ) -> Array:
        """(n, Np - Ni) numbers of user and item together."""
        width, n_tags = self.n_authors + 1, self.vocabulary.n_tags
        author_row = self.author_row[item_row]
        cell = latest.owner * width + self.author_row[latest.item_row] % width
        at, has = owner * width + author_row % width, author_row >= 0
        size = len(rate) * width
        shown = has * np.bincount(cell, minlength=size)[at].astype(np.float32)
        positive = has * np.bincount(cell[latest.positive], minlength=size)[at].astype(np.float32)
        mine = rate[owner]
        taste = _logit(_smooth(positive, shown, mine, 2.0)) - _logit(mine)
        columns = [np.log1p(shown), taste]
        tags, weight = np.maximum(self.tags[item_row], 0), self.tag_weight[item_row]
        for kind in range(3):
            place = owner[:, None] * (3 * n_tags) + kind * n_tags + tags
            columns.append((interest.ravel()[place] * weight).sum(1) if n_tags else 0.0 * mine)
        return np.stack(columns, 1).astype(np.float32)

    def of_items(self, item_row: Array, time_ms: Array) -> Array:
        """(n, Ni) numbers of items and their authors before their times (n,): what can be
        precomputed for every user alike."""
        c, author_row = self.config, self.author_row[item_row]
        item, author = self.past.item(item_row, time_ms), self.past.author(author_row, time_ms)
        author_rate = _smooth(author.positive, author.shown, self.base[0], c.prior)
        author_long = _smooth(author.long, author.shown, self.base[1], c.prior)
        item_rate = _smooth(item.positive, item.shown, author_rate, c.prior)
        item_long = _smooth(item.long, item.shown, author_long, c.prior)
        age_h = np.maximum(time_ms - self.publish_ms[item_row], 0) / 3.6e6
        columns = [np.log1p(item.shown), _logit(item_rate), _logit(item_long), np.log1p(age_h)]
        columns += [np.log1p(author.shown), _logit(author_rate)]
        return np.stack(columns, 1).astype(np.float32)


REQUEST = ("log_shown", "rate", "long_rate", "log_session", "session_rate", "log_idle_hours")
ITEM = (
    "item_log_shown",
    "item_rate",
    "item_long_rate",
    "log_age_hours",
    "author_log_shown",
    "author_rate",
)
PAIR = (
    *ITEM,
    "user_author_log_shown",
    "user_author_rate",
    "tag_lift",
    "tag_session_lift",
    "tag_share",
)


def _outcomes(logs: Logs) -> tuple[Array, Array]:
    """(n,) positive and long view, 0 or 1; without long views the positive stands in."""
    positive = logs.positive.astype(np.float32)
    if "is_long_view" not in logs.interactions:
        return positive, positive
    return positive, logs.interactions["is_long_view"].astype(np.float32)


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
