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
from reclab.cascade.ranking.past import Past
from reclab.cascade.ranking.vocabulary import Vocabulary, tag_scale
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import check_float, check_int
from reclab.core.tables import Logs, Table
from reclab.core.types import Array, Candidates
from reclab.stores.as_of import ragged
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.row_lookup import RowLookup
from reclab.stores.user_features import UserFeatures

CHUNK = 2_000_000
"""past events expanded at a time while histories are summed (elements, bounds the memory)"""


@dataclass(frozen=True)
class FeatureConfig:
    """What is read and how strongly small counts are pulled to the mean."""

    history: int = 20
    """latest positives in the behaviour sequence (items, 5 … 100)"""
    max_events: int = 1000
    """latest exposures of a user that are summed by tag (events, 100 … 10 000)"""
    session_ms: int = HOUR_MS
    """how far back a session reaches (ms, 10 min … 6 h)"""
    half_life_ms: int = 10 * DAY_MS
    """age at which a past event counts half in the long-term interest (ms, 1 … 90 days)"""
    prior: float = 10.0
    """strength of a prior rate in events (1 … 100)"""
    with_statistics: bool = True
    """as-of numbers on; off leaves ids, profile, tags and history (the static features)"""
    max_item_ids: int = 200_000
    """items with an embedding of their own, most exposed first (ids; memory)"""

    def __post_init__(self) -> None:
        check_int("FeatureConfig.history", self.history, 1, 1000, "20")
        check_int("FeatureConfig.max_events", self.max_events, 1, 1_000_000, "1000")
        check_int("FeatureConfig.session_ms", self.session_ms, 1, 30 * DAY_MS, "3600000")
        check_int("FeatureConfig.half_life_ms", self.half_life_ms, 1, 3650 * DAY_MS, "864000000")
        check_float("FeatureConfig.prior", self.prior, 0.01, 1e6, "10")
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
        self.tags = np.full((len(index) + 1, words.item_tags), -1)
        if words.item_tags:
            self.tags[:-1] = index["tags"]
        weight = tag_scale(words.item_tags) * (self.tags >= 0)
        total = np.maximum(weight.sum(1, keepdims=True), 1e-6)
        self.tag_weight = (weight / total).astype(np.float32)
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
        interest, request = self.of_requests(user_row, time_ms)
        rate = 1.0 / (1.0 + np.exp(-request[request_row, 1]))
        when, at = time_ms[request_row], request_row
        both = self.of_pairs(user_row[at], rate, interest, item_row, when, at)
        pair = np.concatenate([self.of_items(item_row, when), both], 1)
        return Features(user, interest, request, history, request_row, item_row, pair)

    def of_requests(self, user_row: Array, time_ms: Array) -> tuple[Array, Array]:
        """(B, 3 G) interest by tag and (B, Nr) numbers of the user, a chunk of requests a time."""
        step = max(1, CHUNK // self.config.max_events)
        parts = [
            self._interest(user_row[at : at + step], time_ms[at : at + step])
            for at in range(0, max(1, len(user_row)), step)
        ]
        interest, request = zip(*parts, strict=True)
        return np.concatenate(interest), np.concatenate(request)

    def _interest(self, user_row: Array, time_ms: Array) -> tuple[Array, Array]:
        c, n, n_tags = self.config, len(user_row), self.vocabulary.n_tags
        events = self.past.events(user_row, time_ms, c.max_events)
        recent = events.age_ms < c.session_ms

        def total(values: Array) -> Array:
            return np.bincount(events.owner, values, n).astype(np.float32)

        ones = np.ones(len(events.owner), np.float32)
        shown, positive, long = total(ones), total(events.positive), total(events.long)
        session, session_pos = total(recent * ones), total(recent * events.positive)
        rate = (positive + c.prior * self.base[0]) / (shown + c.prior)
        long_rate = (long + c.prior * self.base[1]) / (shown + c.prior)
        now = (session_pos + c.prior * rate) / (session + c.prior)
        idle_h = np.full(n, 24.0 * 30, np.float32)
        some = np.flatnonzero(shown)
        idle_h[some] = events.age_ms[np.cumsum(shown).astype(np.int64)[some] - 1] / 3.6e6
        request = [np.log1p(shown), _logit(rate), _logit(long_rate), np.log1p(session)]
        request += [_logit(now) - _logit(rate), np.log1p(idle_h)]

        cell = events.owner[:, None] * (n_tags + 1) + self.tags[events.item_row]
        cell = np.where(self.tags[events.item_row] < 0, cell + n_tags + 1, cell)
        weight = self.tag_weight[events.item_row]
        decayed = weight * (0.5 ** (events.age_ms / c.half_life_ms)).astype(np.float32)[:, None]

        def by_tag(cells: Array, values: Array) -> Array:
            sums = np.bincount(cells.ravel(), values.ravel(), n * (n_tags + 1))
            return sums.reshape(n, n_tags + 1)[:, :n_tags].astype(np.float32)

        liked = events.positive > 0
        shown_g = by_tag(cell, decayed)
        positive_g = by_tag(cell[liked], decayed[liked])
        shown_s = by_tag(cell[recent], weight[recent])
        positive_s = by_tag(cell[recent & liked], weight[recent & liked])
        k = 0.3 * c.prior
        usual = (positive_g + k * rate[:, None]) / (shown_g + k)
        lift = np.log(usual / rate[:, None])
        session_lift = np.log((positive_s + usual) / (shown_s + 1.0) / usual)
        share = np.sqrt(positive_g / np.maximum(positive_g.sum(1, keepdims=True), 1e-6))
        return np.concatenate([lift, session_lift, share], 1), np.stack(request, 1).astype(
            np.float32
        )

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

    def of_pairs(
        self,
        user_row: Array,
        rate: Array,
        interest: Array,
        item_row: Array,
        time_ms: Array,
        at: Array,
    ) -> Array:
        """(n, Nu) numbers of user and item together; ``at`` (n,) = whose row of ``interest``."""
        author_row = self.author_row[item_row]
        both = self.past.user_author(user_row, author_row, time_ms)
        taste = _logit(_smooth(both.positive, both.shown, rate, 2.0)) - _logit(rate)
        columns = [np.log1p(both.shown), taste]
        tags, weight = np.maximum(self.tags[item_row], 0), self.tag_weight[item_row]
        n_tags = self.vocabulary.n_tags
        for kind in range(3):
            cell = at[:, None] * (3 * n_tags) + kind * n_tags + tags
            columns.append((interest.ravel()[cell] * weight).sum(1) if n_tags else 0.0 * rate)
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


def _logit(p: Array) -> Array:
    p = np.clip(p, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(p / (1 - p)), np.float32)
