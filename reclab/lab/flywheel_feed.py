"""The serving side of the flywheel: the pages of the living platform come from one version.

    candidates = channels (popular, item CF, content), unseen  +  some items drawn at random
    page       = the best by the ranker's p_long_view; a share of the slots goes to the drawn ones

A version is one immutable whole (``offline_online.versions``): index, features, channels, ranker;
a request takes the pointer once. What the ranker read of the cards is kept for the feature log.

Simplified: no pre-ranking and no diversity; a page is ranked by one target.
"""

from dataclasses import dataclass

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.ranking.features import FeatureBuilder, Features
from reclab.cascade.ranking.ranker import Ranker
from reclab.cascade.retrieval.merge import Channel, MergeStage
from reclab.core.types import Array, Candidates, Request
from reclab.offline_online.serving.versions import Versions
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.user_features import UserFeatures
from reclab.world.logging_policy import PERSONAL, RANDOM, LoggingPolicy

HISTORY = 50  # latest positives that channels and ranker look at
TARGET = "p_long_view"


@dataclass
class Serving:
    """The state of a version. ``ranker`` None = cold: everything is drawn at random.
    ``model_version`` and ``index_version``: whose they are."""

    index: ForwardIndex
    users: UserFeatures
    features: FeatureBuilder
    channels: tuple[Channel, ...] = ()
    ranker: Ranker | None = None
    model_version: int = 0
    index_version: int = 0


@dataclass(frozen=True)
class Page:
    """One round of pages as they were ranked: ``req``, ``session``, ``user_row``, ``time_ms``,
    ``network`` (B,), ``features`` of these requests and their cards, and the two versions."""

    req: Array
    session: Array
    user_row: Array
    time_ms: Array
    network: Array
    features: Features
    versions: tuple[int, int]

    def first(self, n_cards: Array) -> Features:
        """Features of the first ``n_cards`` (B,) cards of each page: those that were looked at."""
        f = self.features
        place = np.arange(len(f)) - f.starts[:-1][f.request_row]
        kept = place < n_cards[f.request_row]
        ranked = f.user, f.request, f.history
        return Features(*ranked, f.request_row[kept], f.item_row[kept], f.pair[kept])


class FlywheelFeed(LoggingPolicy):
    """In place of the logging policy. ``versions`` is set by who runs it; ``req``,
    ``session`` and ``network`` (B,) of the pages asked for next by the platform; ``pages`` is what
    was answered since it was last taken."""

    versions: Versions[Serving]

    def __init__(self, base: LoggingPolicy, retrieve: int, explore: float) -> None:
        """``retrieve``: candidates of a page; ``explore``: share of random slots."""
        self.__dict__.update(base.__dict__)
        self.retrieve, self.explore = retrieve, explore
        self.pages: list[Page] = []
        self.req = self.session = self.network = np.zeros(0, np.int64)

    def refresh(self, day: int, chance: np.random.Generator) -> None:
        """Nothing: what is served is published elsewhere."""

    def learn(self, user: Array, item: Array, long_view: Array) -> None:
        """Nothing: what happened is read from the log."""

    def page(
        self, user: Array, time_ms: Array, size: int, chance: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        serving = self.versions.current.state
        batch = self._batch(user, time_ms, serving)
        found = self._found(batch, serving)
        candidates = united(found, self._drawn(batch, serving, 2 * size, chance))
        features = serving.features.for_batch(batch, candidates)
        score = np.zeros(len(candidates), np.float32)
        if serving.ranker is not None:
            score = serving.ranker.score_features(features)[TARGET]
        rows = fill(candidates, score, chance.random((len(user), size)) < self.explore)
        self._keep(batch, features, rows, serving)
        item = np.append(candidates.item_row, 0)[rows]
        random = np.append(candidates["drawn"] >= 0, False)[rows]
        return item, np.where(random, RANDOM, PERSONAL).astype(np.int8), rows >= 0

    def _batch(self, user: Array, time_ms: Array, serving: Serving) -> Batch:
        ids = serving.users.user_ids[user]
        requests = tuple(map(Request, ids.tolist(), time_ms.tolist()))
        history = serving.users.history(user, time_ms, n=HISTORY)
        none = np.zeros(len(user) + 1, np.int64), np.zeros(0, np.int64)
        return Batch(requests, user, time_ms, self.network.astype(np.int8), history, *none)

    def _found(self, batch: Batch, serving: Serving) -> Candidates:
        """What the channels find, of what is published and the user has not seen."""
        n = len(batch)
        if not serving.channels:
            return Candidates.empty(n)
        kept = MergeStage(serving.channels, 3 * self.retrieve)(batch, Candidates.empty(n)).kept
        good = self._open(batch, serving, kept.request_row, kept.item_row)
        kept = kept.take(good)
        place = np.arange(len(kept)) - kept.starts()[:-1][kept.request_row]
        return kept.take(place < self.retrieve)

    def _open(self, batch: Batch, serving: Serving, owner: Array, item: Array) -> Array:
        seen = self.seen.has(batch.user_row[owner], item[:, None])[:, 0]
        return np.asarray(~seen & (serving.index["publish_ms"][item] <= batch.time_ms[owner]))

    def _drawn(
        self, batch: Batch, serving: Serving, n: int, chance: np.random.Generator
    ) -> Candidates:
        """At most ``n`` items a request, uniformly drawn, unseen, in the order of the draw."""
        draw = np.floor(chance.random((len(batch), n)) * len(serving.index)).astype(np.int64)
        for j in range(1, n):
            draw[:, j] = np.where((draw[:, :j] == draw[:, j : j + 1]).any(1), -1, draw[:, j])
        owner, place = np.nonzero(draw >= 0)
        item = draw[owner, place]
        good = self._open(batch, serving, owner, item)
        return Candidates(len(batch), owner[good], item[good])

    def _keep(self, batch: Batch, features: Features, rows: Array, serving: Serving) -> None:
        owner, slot = np.nonzero(rows >= 0)
        at, f = rows[owner, slot], features
        cards = Features(f.user, f.request, f.history, owner, f.item_row[at], f.pair[at])
        who = self.req, self.session, batch.user_row, batch.time_ms, batch.network
        self.pages.append(Page(*who, cards, (serving.index_version, serving.model_version)))


def united(found: Candidates, drawn: Candidates) -> Candidates:
    """Both, each item of a request once. ``drawn`` (n,): place in the draw, -1 = it was found.

    >>> both = united(Candidates(1, np.array([0]), np.array([7])),
    ...               Candidates(1, np.array([0, 0]), np.array([9, 7])))
    >>> both.item_row.tolist(), both["drawn"].tolist()
    ([7, 9], [-1, 1])
    """
    owner = np.concatenate([found.request_row, drawn.request_row])
    item = np.concatenate([found.item_row, drawn.item_row])
    place = np.concatenate([np.full(len(found), -1), np.arange(len(drawn)) + len(found)])
    order = np.lexsort((place, item, owner))
    owner, item, place = owner[order], item[order], place[order]
    new = np.ones(len(owner), bool)
    new[1:] = (owner[1:] != owner[:-1]) | (item[1:] != item[:-1])
    return Candidates(found.n_requests, owner[new], item[new], {"drawn": place[new]})


def fill(candidates: Candidates, score: Array, explore: Array) -> Array:
    """(B, size) positions in the candidates, -1 = none left: a slot that ``explore`` (B, size)
    takes the next drawn one, any other the best found one; too few of these, and it explores."""
    drawn, owner = candidates["drawn"], candidates.request_row
    best = np.lexsort((np.where(drawn >= 0, drawn, -score.astype(np.float64)), drawn >= 0, owner))
    count = candidates.counts()[:, None]
    found = np.bincount(owner, drawn < 0, candidates.n_requests).astype(np.int64)[:, None]
    explore = explore | (np.cumsum(~explore, 1) > found)
    turn = np.where(explore, found + np.cumsum(explore, 1), np.cumsum(~explore, 1)) - 1
    at = np.minimum(candidates.starts()[:-1, None] + turn, max(len(candidates) - 1, 0))
    return np.where(turn < count, np.append(best, -1)[at], -1)
