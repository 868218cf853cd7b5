"""Page pools: what re-rankers learn from and are compared on: candidates, and logged pages.

A pool is some requests of a day with the hundred candidates that the cascade brings to re-ranking,
and the platform's own answer to any list of them. Pages are what was really shown on a day, scored
by the ranker, with what users did.

Simplified: industry logs the candidates of a sample of its requests, and re-scores nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from reclab.cascade.batch import read_batch
from reclab.cascade.re_ranking.cards import Cards
from reclab.cascade.re_ranking.learned import cards_of
from reclab.cascade.re_ranking.list_wise import Pages
from reclab.core.clock import DAY_MS
from reclab.core.errors import DataError
from reclab.core.pipeline import run
from reclab.core.types import Array, Candidates, Request
from reclab.lab.judge import TruthJudge
from reclab.lab.lab import Lab
from reclab.lab.page_simulator import PageSimulator

LEARN, COMPARE = 1200, 600
"""requests of the tuning day to learn on, and requests of a day to compare on, at most"""
CHUNK = 50  # requests that go through the funnel together
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Pool:
    """B requests with the candidates that re-ranking is given: ``item_row`` (B, n), -1 = none, as
    ``cards``, and what the platform would do with any list of them."""

    item_row: Array
    cards: Cards
    simulator: PageSimulator

    def __len__(self) -> int:
        return len(self.item_row)


def pool_of(lab: Lab, split: str, rows: Array, say: Progress | None = None) -> Pool:
    """The cascade up to ranking, for the requests at ``rows`` of a split."""
    judge = lab.judge
    if not isinstance(judge, TruthJudge):
        raise DataError(f"re-rankers are compared by the platform's truth; {lab.origin} has none")
    everything = judge.requests(split, int(rows.max(initial=0)) + 1)
    requests, p = [everything[r] for r in rows], lab.trained.parts
    n = lab.trained.config.rank
    item_row = np.full((len(rows), n), -1)
    score = np.full((len(rows), n), -np.inf, np.float32)
    stages = lab.trained.stages()[:-1]
    for start in range(0, len(rows), CHUNK):
        some = requests[start : start + CHUNK]
        kept, _ = run(stages, read_batch(some, p.users, p.index), len(some))
        place = np.arange(len(kept)) - kept.starts()[:-1][kept.request_row]
        item_row[start + kept.request_row, place] = kept.item_row
        score[start + kept.request_row, place] = kept["rank_score"]
        if say:
            say(start / len(rows), f"candidates of {split} requests")
    truth = judge.truth
    held = getattr(truth, split).take(rows)
    return Pool(item_row, cards_at(lab, item_row, score), PageSimulator.of(truth, held, item_row))


def cards_at(lab: Lab, item_row: Array, score: Array) -> Cards:
    """Items (B, n), -1 = none, with their scores, as cards."""
    index, there = lab.trained.parts.index, item_row >= 0
    held = [name for name in ("tags", "author_id") if name in index]
    rows = item_row[there]
    item = index.get(rows, held)
    tags = item.get("tags", np.full((len(rows), 1), -1))
    table = np.where(there, np.cumsum(there).reshape(there.shape) - 1, -1)
    return cards_of(score[there], tags, item.get("author_id"), table)


def logged_pages(lab: Lab, day: int, without: Array) -> Pages:
    """The pages that were shown on a day, but for the requests ``without`` (ids), scored by the
    ranker, with who watched long and after which card the user left."""
    p, log = lab.trained.parts, lab.logs.interactions
    log = log.take(np.flatnonzero(log["time_ms"] // DAY_MS == day))
    log = log.take(np.flatnonzero(~np.isin(log["req_id"], without)))
    if not len(log):
        raise DataError(f"no pages are logged on day {day}")
    log = log.take(np.lexsort((log["position"], log["req_id"], log["time_ms"])))
    new = np.append(True, np.diff(log["req_id"]) != 0)
    owner, first = np.cumsum(new) - 1, np.flatnonzero(new)
    ends = np.append(first[1:], len(log))
    rows, score = p.index.rows(log["video_id"]), np.zeros(len(log), np.float32)
    for start in range(0, len(first), 1000):
        some = first[start : start + 1000]
        part = slice(some[0], ends[start + len(some) - 1])
        columns = zip(*(log[n][some] for n in ("user_id", "time_ms", "network")), strict=True)
        asked = [Request(int(u), int(t), network=int(w)) for u, t, w in columns]
        candidates = Candidates(len(some), owner[part] - start, rows[part])
        told = p.ranker.predict(read_batch(asked, p.users, p.index), candidates)
        score[part] = p.fuse(told)
    size, place = int(lab.world.config.page_size), np.arange(len(log)) - first[owner]
    item_row = np.full((len(first), size), -1)
    worth, gain, left = (np.full(item_row.shape, np.nan, np.float32) for _ in range(3))
    item_row[owner, place], worth[owner, place] = rows, score
    gain[owner, place], left[owner, place] = log["is_long_view"], 0.0
    shown = ends - first
    last = np.where(shown < size, 1.0, np.nan)  # a full page does not show who left behind it
    if "session_id" in log:  # who asked for another page had not left
        whole = lab.logs.interactions
        ends_at = np.zeros(int(whole["session_id"].max()) + 1, np.int64)
        np.maximum.at(ends_at, whole["session_id"], whole["time_ms"])
        last[ends_at[log["session_id"][first]] > log["time_ms"][first]] = 0.0
    left[np.arange(len(first)), shown - 1] = last
    return Pages(cards_at(lab, item_row, worth), gain, left)


def thirds(n: int, learn: int = LEARN, compare: int = COMPARE) -> tuple[Array, Array]:
    """At most so many rows to learn on and rows to compare on, of ``n`` requests in order of time:
    both spread over the day, none in both.

    >>> [part.tolist() for part in thirds(7)]
    [[0, 1, 3, 4, 6], [2, 5]]
    """
    rows = np.arange(n)
    return _spread(rows[rows % 3 != 2], learn), _spread(rows[rows % 3 == 2], compare)


def _spread(rows: Array, most: int) -> Array:
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]
