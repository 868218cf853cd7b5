"""Features: what a ranker may know of a request and a candidate, strictly before its time.

    codes    whole numbers for ids, profile, author, tags, duration, hour, network (vocabulary.py)
    numbers  rates, counts, affinities, styles as of the time                      (statistics.py)
    history  item rows of the latest positives

One code path makes the features of training rows and of live requests, so both see the same
numbers. Fields that a log does not have are left out.
Reference: chapter 2, section 2.3.1 (user feature centre, forward index).

Simplified: industry logs the features of each request as served, and trains on those.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.ranking.factors import FactorsConfig
from reclab.cascade.ranking.statistics import (
    KINDS,
    PAIR,
    REQUEST,
    Catalogue,
    Known,
    Statistics,
    StatisticsConfig,
)
from reclab.cascade.ranking.vocabulary import Vocabulary, tag_scale
from reclab.core.errors import check_int
from reclab.core.tables import Logs, Table
from reclab.core.types import Array, Candidates
from reclab.stores.arrays import Arrays, save_arrays
from reclab.stores.as_of import ragged
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.row_lookup import RowLookup
from reclab.stores.user_features import UserFeatures


@dataclass(frozen=True)
class FeatureConfig:
    """What is read."""

    history: int = 20
    """latest positives in the behaviour sequence (items, 5 … 100)"""
    with_statistics: bool = True
    """as-of numbers on; off leaves ids, profile, tags and history (the static features)"""
    with_context: bool = True
    """hour of the day and network on; off where neither is known to mean anything"""
    statistics: StatisticsConfig = field(default_factory=StatisticsConfig)
    """how far back numbers look"""

    def __post_init__(self) -> None:
        check_int("FeatureConfig.history", self.history, 1, 1000, "20")


@dataclass(frozen=True)
class Features:
    """B requests and their n candidates, as a model takes them.

    user (B, Fu) codes; request (B, 4 G + Nr) lift, session lift, share and taste by tag, and the
    user's numbers; history (B, L) item rows, -1 padded at the left; request_row (n,) ascending;
    item_row (n,); pair (n, Np) numbers of the candidate and of user and candidate together."""

    user: Array
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
            self.request[requests],
            self.history[requests],
            request_row,
            self.item_row[rows],
            self.pair[rows],
        )

    def between(self, first: int, stop: int) -> "Features":
        """Rows ``first … stop - 1`` with the requests that they belong to, without a copy."""
        rows = slice(first, stop)
        owner = self.request_row[rows]
        mine = slice(int(owner[0]), int(owner[-1]) + 1) if len(owner) else slice(0, 0)
        return Features(
            self.user[mine],
            self.request[mine],
            self.history[mine],
            owner - mine.start,
            self.item_row[rows],
            self.pair[rows],
        )

    def blocks(self, n: int) -> Iterator["Features"]:
        """All rows, at most ``n`` at a time; a request may go on in the next block."""
        if len(self) <= n:
            yield self
            return
        for first in range(0, len(self), n):
            yield self.between(first, min(first + n, len(self)))

    @cached_property
    def starts(self) -> Array:
        """(B + 1,) where each request's candidates begin."""
        return np.searchsorted(self.request_row, np.arange(len(self.user) + 1))

    def rows_of(self, requests: Array) -> tuple[Array, Array]:
        """(m,) candidate positions of these requests, and (m,) whose each is."""
        counts = self.starts[requests + 1] - self.starts[requests]
        return ragged(self.starts[requests], counts), np.repeat(np.arange(len(requests)), counts)


class Asked(NamedTuple):
    """The part of ``Features`` that needs no candidates: codes, history, and what is known."""

    user: Array
    history: Array
    known: Known


class FeatureBuilder:
    """Fitted once on a log; ``build`` answers for any requests and candidates at any time."""

    def __init__(self, config: FeatureConfig | None = None) -> None:
        self.config = config or FeatureConfig()
        self._asked: tuple[Batch, Asked] | None = None

    def fit(
        self, logs: Logs, index: ForwardIndex, users: UserFeatures, until_ms: int | None = None
    ) -> Self:
        """Take the whole log, for reads are as of a time; codes, mean rates and factors come from
        the interactions before ``until_ms`` only."""
        self.index, self.users = index, users
        shown = logs.interactions
        user_row, item_row, positive, long = self._events(shown)
        time_ms = shown["time_ms"]
        last_ms = int(time_ms.max(initial=0)) + 1 if until_ms is None else until_ms
        early = (user_row >= 0) & (item_row >= 0) & (time_ms < last_ms)
        u, i, positive_e, long_e = (x[early] for x in (user_row, item_row, positive, long))
        self.vocabulary = Vocabulary.learn(users.profiles, index, u, i)
        means = [x.mean() if len(x) else 0.5 for x in (positive_e, long_e)]
        base = np.clip(np.array(means, np.float32), 1e-3, 0.999)
        self.statistics = Statistics(self.config.statistics, len(users), base)
        self._authors = RowLookup(np.zeros(0, np.int64), "author_id")
        self.refresh()
        if self.config.with_statistics:
            self.append(shown)
            y = 0.5 * (positive_e + long_e)
            self.statistics.fit_factors(u, i, time_ms[early], y, last_ms)
        return self

    def save(self, folder: Path) -> None:
        """Write ``features`` into the folder; index and users are saved by their owner."""
        held = {"config": np.array(json.dumps(asdict(self.config))), "authors": self._authors.ids}
        held |= {**self.vocabulary.arrays(), **self.statistics.arrays()}
        save_arrays(folder / "features", held)

    @classmethod
    def load(cls, folder: Path, index: ForwardIndex, users: UserFeatures) -> Self:
        """Read what ``save`` wrote, over the same index and users. Raises ``DataError`` naming a
        file that is damaged."""
        held = Arrays(folder / "features")
        config = json.loads(str(held["config"]))
        factors = FactorsConfig(**config["statistics"].pop("factors"))
        statistics = StatisticsConfig(**config.pop("statistics"), factors=factors)
        builder = cls(FeatureConfig(**config, statistics=statistics))
        builder.index, builder.users = index, users
        builder.vocabulary = Vocabulary.from_arrays(held)
        builder.statistics = Statistics(statistics, len(users), held["base"])
        builder.statistics.restore(held)
        builder._authors = RowLookup(held["authors"], "author_id")
        builder.refresh()
        return builder

    def append(self, events: Table) -> None:
        """Near-line update: new interactions count in every read of a later time."""
        self._asked = None
        if not self.config.with_statistics:
            return
        user_row, item_row, positive, long = self._events(events)
        known = np.flatnonzero((user_row >= 0) & (item_row >= 0))
        columns = (user_row, item_row, events["time_ms"], positive, long)
        self.statistics.append(*(column[known] for column in columns))

    def _events(self, events: Table) -> tuple[Array, Array, Array, Array]:
        """Rows of users and items, positive and long view, (n,) each; where long views are not
        logged the positive stands in."""
        positive = Logs(Table(), Table(), events).positive.astype(np.float32)
        long = events["is_long_view"].astype(np.float32) if "is_long_view" in events else positive
        user_row, item_row = self.users.rows(events["user_id"]), self.index.rows(events["video_id"])
        return user_row, item_row, positive, long

    def refresh(self) -> None:
        """Read the tables again: codes, authors, tags and publication times of all items that are
        in the index now. Done by itself when the index has changed."""
        index, words = self.index, self.vocabulary
        self.version, n, self._asked = index.version, len(index), None
        self.item_codes = words.item_codes(index, np.arange(n))
        self.user_codes = words.user_codes(self.users.profiles)
        author_row, tags = np.full(n + 1, -1), np.full((n + 1, words.item_tags), -1)
        publish_ms = np.zeros(n + 1, np.int64)
        if "author_id" in index:
            names = np.unique(index["author_id"])
            self._authors.add(names[self._authors.rows(names) < 0])
            author_row[:-1] = self._authors.rows(index["author_id"])
        if words.item_tags:
            tags[:-1] = index["tags"]
        if "publish_ms" in index:
            publish_ms[:-1] = index["publish_ms"]
        weight = tag_scale(words.item_tags) * (tags >= 0)
        weight = weight / np.maximum(weight.sum(1, keepdims=True), 1e-6)
        # multiples of 1/1024: sums of them are exact in any order, so training = serving
        weight = (np.round(1024 * weight) / 1024).astype(np.float32)
        sizes = len(self._authors), words.n_tags
        self.statistics.describe(
            Catalogue(author_row, sizes[0], tags, weight, sizes[1], publish_ms)
        )
        self._by_age = np.argsort(publish_ms[:-1], kind="stable")
        self._ages = publish_ms[self._by_age]

    def draw_published(self, time_ms: Array, chance: np.random.Generator) -> Array:
        """(n,) item rows, uniform among the items published by each time (n,)."""
        n = np.searchsorted(self._ages, time_ms, side="right")
        n = np.where(n > 0, n, len(self._ages))
        return self._by_age[(chance.random(len(n)) * n).astype(np.int64)]

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """Names of the numbers by part."""
        if not self.config.with_statistics:
            return {"request": (), "pair": ()}
        tags = range(self.vocabulary.n_tags)
        interest = tuple(f"{kind}_tag_{tag}" for kind in KINDS for tag in tags)
        return {"request": (*interest, *REQUEST), "pair": PAIR}

    # -- build ------------------------------------------------------------------------------

    def for_batch(self, batch: Batch, candidates: Candidates) -> Features:
        """Features of live requests; the history is the batch's own.

        Several stages ask for one batch; what does not depend on candidates is built once."""
        self._catch_up()
        held = self._asked  # read once: other threads answer other batches meanwhile
        if held is None or held[0] is not batch:
            length = self.config.history
            history = batch.history[:, -length:]
            if history.shape[1] < length:
                pad = np.full((len(history), length - history.shape[1]), -1)
                history = np.concatenate([pad, history], 1)
            asked = self._ask(batch.user_row, batch.time_ms, batch.network, history)
            self._asked = held = batch, asked
        return self._join(held[1], candidates.request_row, candidates.item_row)

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
        self._catch_up()
        if history is None:
            history = self.users.history(user_row, time_ms, n=self.config.history)
        return self._join(self._ask(user_row, time_ms, network, history), request_row, item_row)

    def _catch_up(self) -> None:
        if self.version != self.index.version:
            self.refresh()

    def _ask(self, user_row: Array, time_ms: Array, network: Array, history: Array) -> Asked:
        context = self.vocabulary.context_codes(time_ms, network) * self.config.with_context
        user = np.concatenate([self.user_codes[user_row], context], 1)
        if self.config.with_statistics:
            return Asked(user, history, self.statistics.of_requests(user_row, time_ms))
        none = np.zeros((len(user_row), 0), np.float32)
        return Asked(user, history, Known(user_row, time_ms, none, none))

    def _join(self, asked: Asked, request_row: Array, item_row: Array) -> Features:
        pair = np.zeros((len(item_row), 0), np.float32)
        if self.config.with_statistics:
            pair = self.statistics.of_pairs(asked.known, request_row, item_row)
        known = asked.known.request
        return Features(asked.user, known, asked.history, request_row, item_row, pair)
