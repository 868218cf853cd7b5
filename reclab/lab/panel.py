"""The panel: a few hundred requests with every score computed once, so that a slider needs only
cuts and sorts.

For each request lie all items that any channel can bring (U of them, in pre-ranking order), with
the place each channel gives them, whether a filter drops them, their place in the ranker's order,
and their gain. ``replay`` runs the funnel of any sizes on these arrays and ends in the live
re-ranking stage; a test holds its lists equal to the live cascade's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from reclab.cascade.batch import Batch, read_batch
from reclab.cascade.pipeline import CHANNELS, Cascade, CascadeConfig
from reclab.cascade.re_ranking.mmr import MMRStage
from reclab.core import metrics
from reclab.core.types import Array, Candidates, Request
from reclab.lab.judge import Judge, best_lists, eligible
from reclab.stores.forward_index import ForwardIndex

ABSENT = 32_000  # place of an item that a channel does not bring (fits an int16)
DEPTH = 1500  # items asked of each channel: the largest retrieval size of the explorer
CHUNK = 8  # requests scored at a time, which bounds the memory of the ranker
N_BEST = 100  # the oracle's best items whose survival is followed


@dataclass(frozen=True)
class Panel:
    """E requests × U places, padded with ``item_row`` -1; places run in pre-ranking order.

    ``channel_place`` (C, E, U) int16 place within each channel, ABSENT = not brought;
    ``dropped`` (E, U) a filter removes it; ``by_rank`` (E, U) positions in the ranker's order;
    ``rank_score``, ``gain`` (E, U) float32; ``is_best`` (E, U) among the oracle's N_BEST;
    ``best_gain`` (E, 10) gains of the oracle's list; ``group`` (n_items,) 0 head, 1 middle,
    2 tail by past exposure; ``n_best`` (E,) how many of the N_BEST can be worth anything."""

    item_row: Array
    channel_place: Array
    dropped: Array
    by_rank: Array
    rank_score: Array
    gain: Array
    is_best: Array
    best_gain: Array
    group: Array
    n_best: Array

    def __len__(self) -> int:
        return len(self.item_row)

    @cached_property
    def flat_by_rank(self) -> Array:
        """(E, U) ``by_rank`` as positions in the flat (E, U)."""
        n, width = self.by_rank.shape
        return self.by_rank + width * np.arange(n)[:, None]

    def save(self, file: Path) -> None:
        """Write all arrays to one ``.npz``."""
        np.savez(file, **{name: getattr(self, name) for name in self.__dataclass_fields__})

    @staticmethod
    def load(file: Path) -> "Panel":
        """Read what ``save`` wrote."""
        with np.load(file) as arrays:
            return Panel(**{name: arrays[name] for name in arrays.files})


# ---- build ---------------------------------------------------------------------------------


def make_panel(
    cascade: Cascade,
    judge: Judge,
    split: str,
    n: int,
    progress: Callable[[float, str], None] | None = None,
) -> Panel:
    """Retrieve deeply, score everything, and judge it."""
    p, requests = cascade.parts, judge.requests(split, n)
    batch = read_batch(requests, p.users, p.index)
    answers = [getattr(p, name).retrieve(batch, DEPTH)[0] for name in CHANNELS]
    item_row, place = _union(answers, len(p.index))
    pre, rank = np.full(item_row.shape, -np.inf), np.full(item_row.shape, -np.inf)
    for start in range(0, len(requests), CHUNK):
        part = slice(start, start + CHUNK)
        pre[part], rank[part] = _scores(cascade, requests[part], item_row[part])
        if progress:
            progress(start / len(requests), "panel of requests")
    allowed = eligible(requests, p.users, p.index)
    gain = judge.gains(split, n) * allowed
    best = best_lists(gain, N_BEST)
    order = np.argsort(-pre, axis=1, kind="stable")

    def laid(values: Array) -> Array:
        return np.take_along_axis(values, order, 1)

    at = np.maximum(item_row, 0)
    is_best = np.zeros(allowed.shape, bool)
    np.put_along_axis(is_best, best, np.take_along_axis(gain, best, 1) > 0, 1)
    there = item_row >= 0
    return Panel(
        item_row=laid(item_row).astype(np.int32),
        channel_place=np.stack([laid(channel) for channel in place]),
        dropped=laid(~np.take_along_axis(allowed, at, 1) & there),
        by_rank=np.argsort(-laid(rank), axis=1, kind="stable").astype(np.int32),
        rank_score=laid(rank).astype(np.float32),
        gain=laid(np.where(there, np.take_along_axis(gain, at, 1), 0)).astype(np.float32),
        is_best=laid(np.take_along_axis(is_best, at, 1) & there),
        best_gain=np.take_along_axis(gain, best[:, :10], 1).astype(np.float32),
        group=exposure_groups(cascade),
        n_best=is_best.sum(1),
    )


def exposure_groups(cascade: Cascade) -> Array:
    """(n_items,) 0 head, 1 middle, 2 tail by the exposures that the log holds."""
    users = cascade.parts.users
    rows = users.seen(np.arange(len(users)), np.full(len(users), 2**39))[1]
    return metrics.head_middle_tail(np.bincount(rows, minlength=len(cascade.parts.index)))


def _union(answers: list[Array], n_items: int) -> tuple[Array, list[Array]]:
    """(E, U) different items of each request, and their place in each channel's answer."""
    n = len(answers[0])
    place = np.full((len(answers), n, n_items + 1), ABSENT, np.int16)
    for c, rows in enumerate(answers):
        # written back to front, so that -1 (the spare column) does no harm
        np.put_along_axis(place[c], rows, np.arange(rows.shape[1], dtype=np.int16)[None], 1)
    place[:, :, n_items] = ABSENT
    found = [np.flatnonzero((place[:, e] < ABSENT).any(0)) for e in range(n)]
    width = max(1, max((len(f) for f in found), default=1))
    item_row = np.full((n, width), -1)
    for e, rows in enumerate(found):
        item_row[e, : len(rows)] = rows
    return item_row, [np.take_along_axis(place[c], item_row, 1) for c in range(len(answers))]


def _scores(cascade: Cascade, requests: list[Request], item_row: Array) -> tuple[Array, Array]:
    """(e, U) pre-ranking and ranking scores of a chunk, -inf where there is no item."""
    p = cascade.parts
    batch = read_batch(requests, p.users, p.index)
    candidates = _candidates(item_row, item_row >= 0)
    pre, rank = (np.full(item_row.shape, -np.inf) for _ in range(2))
    pre[item_row >= 0] = p.pre_ranker.score(batch, candidates)
    rank[item_row >= 0] = p.fuse(p.ranker.predict(batch, candidates))
    return pre, rank


def _candidates(item_row: Array, there: Array) -> Candidates:
    """(E, K) item rows as candidates, where the mask is true."""
    request_row = np.nonzero(there)[0]
    return Candidates(len(item_row), request_row, item_row[there].astype(np.int64))


# ---- replay --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Replay:
    """One run of the funnel over the panel: lists and what they are worth.

    ``given``, ``kept`` (5,) mean candidates before and after each of STAGES; ``recall`` (4,) share
    of the oracle's 100 best that is left after the first four; ``value``, ``ndcg``, ``best`` (E,)
    per request; ``lists`` (E, 10) item rows, -1 = empty; ``exposure`` (3,) shares of head, middle
    and tail; ``gini`` over all items; ``topics`` mean different main topics on a page."""

    given: Array
    kept: Array
    recall: Array
    value: Array
    ndcg: Array
    best: Array
    lists: Array
    exposure: Array
    gini: float
    topics: float

    @property
    def share(self) -> float:
        """Value as a share of the oracle's."""
        return float(self.value.sum() / self.best.sum())


def _first_true(mask: Array, n: int) -> Array:
    """(E, U) bool -> the same with only each row's first ``n`` true places left."""
    return mask & (np.cumsum(mask, axis=1, dtype=np.int16) <= n)


def retrieved(panel: Panel, channels: list[int], n: int, overask: float = 1.5) -> Array:
    """(E, U) bool: the first ``n`` different items in the turns of the merge (equal shares)."""
    many = len(channels)
    asked = min(n, int(np.ceil(overask * n / many)), DEPTH)
    turn = np.full(panel.item_row.shape, ABSENT, np.int32)  # np.partition likes 32 bits
    for c, channel in enumerate(channels):
        place = np.minimum(panel.channel_place[channel], DEPTH)
        place *= many  # in place: fresh memory costs more than the arithmetic
        place += c
        np.minimum(turn, place, out=turn)
    found = turn < asked * many
    if n < turn.shape[1]:
        found &= turn <= np.partition(turn, n - 1, axis=1)[:, n - 1 : n]
    return found


def replay(panel: Panel, config: CascadeConfig, index: ForwardIndex) -> Replay:
    """Run the funnel of ``config`` over the panel."""
    found = retrieved(panel, [CHANNELS.index(name) for name in config.channels], config.retrieve)
    clean = found & ~panel.dropped if config.hide_seen else found
    pre = _first_true(clean, config.pre_rank)
    in_order = _first_true(pre.take(panel.flat_by_rank), config.rank)
    # which of them is which: positions in the flat (E, U), by request and then by rank
    ranked = panel.flat_by_rank[in_order]
    lists, gain = _re_ranked(panel, config, index, ranked)
    left = [int(np.count_nonzero(mask)) for mask in (found, clean, pre)] + [len(ranked)]
    good = [int(np.count_nonzero(mask & panel.is_best)) for mask in (found, clean, pre)]
    good.append(int(np.count_nonzero(panel.is_best.take(ranked))))
    counts = [n / len(panel) for n in left]
    shown = lists[lists >= 0]
    return Replay(
        given=np.array([config.retrieve, *counts]),
        kept=np.array([*counts, (lists >= 0).sum(1).mean()]),
        recall=np.array(good) / max(1, int(panel.n_best.sum())),
        value=gain.sum(1),
        ndcg=metrics.ndcg(gain, panel.best_gain),
        best=panel.best_gain.sum(1),
        lists=lists,
        exposure=metrics.share_by_group(shown, panel.group, 3),
        gini=metrics.gini(np.bincount(shown, minlength=len(panel.group))),
        topics=_topics(lists, index),
    )


def _re_ranked(
    panel: Panel, config: CascadeConfig, index: ForwardIndex, ranked: Array
) -> tuple[Array, Array]:
    """(E, 10) item rows and gains of the lists that the live re-ranking stage makes of the
    ``ranked`` ones, positions in the flat (E, U)."""
    owner = ranked // panel.item_row.shape[1]
    rows = panel.item_row.take(ranked).astype(np.int64)
    columns = {"rank_score": panel.rank_score.take(ranked), "gain": panel.gain.take(ranked)}
    candidates = Candidates(len(panel), owner, rows, columns)
    kept = MMRStage(config.mmr, index)(_anonymous(len(panel)), candidates).kept
    slot = np.arange(len(kept)) - kept.starts()[:-1][kept.request_row]
    lists, gain = np.full((len(panel), 10), -1), np.zeros((len(panel), 10), np.float32)
    inside = slot < 10
    lists[kept.request_row[inside], slot[inside]] = kept.item_row[inside]
    gain[kept.request_row[inside], slot[inside]] = kept["gain"][inside]
    return lists, gain


def _anonymous(n: int) -> Batch:
    """A batch that only says how many cards each of ``n`` requests wants."""
    none = np.zeros(n, np.int64)
    past = np.full((n, 1), -1)
    requests = (Request(-1, 0),) * n
    return Batch(requests, none - 1, none, none, past, np.zeros(n + 1, np.int64), none[:0])


def _topics(lists: Array, index: ForwardIndex) -> float:
    """Mean number of different main topics on a page; NaN without tags."""
    if "tags" not in index:
        return float("nan")
    main = np.sort(index.get(lists, ["tags"])["tags"][:, :, 0], axis=1)
    return float(1 + (np.diff(main, axis=1) > 0).sum(1).mean())
