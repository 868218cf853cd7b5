"""The replay: the funnel of any sizes, channels, duties and models on the panel's arrays.

    retrieved   the merge: the first n different items in the turns of the channels
    pre_ranked  the cut by the panel's pre-ranking order, duties first
    replay      both, the ranker's order, and the live re-ranking stage: lists and their worth

Simplified: industry replays logged requests through a whole second system; that takes hours.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.pipeline import CHANNELS, CascadeConfig
from reclab.cascade.pre_ranking.duties import OVER_QUOTA, RESERVED, RESERVING, USUAL, Duties
from reclab.cascade.re_ranking.mmr import MMRConfig, MMRStage
from reclab.core import metrics
from reclab.core.clock import DAY_MS
from reclab.core.stage import Stage
from reclab.core.types import Array, Candidates, Request
from reclab.lab.panel import DEPTH, Panel
from reclab.stores.forward_index import ForwardIndex

GROUPS = ("head", "middle", "tail", "new", "small_creators", "largest_topic")
ReRanker = Callable[[MMRConfig, ForwardIndex], Stage]


@dataclass(frozen=True)
class Replay:
    """One run of the funnel over the panel: lists and what they are worth.

    ``given``, ``kept`` (5,) mean candidates before and after each of STAGES; ``recall`` (4,) share
    of the oracle's 100 best that is left after the first four; ``value``, ``ndcg``, ``best`` (E,)
    per request; ``lists`` (E, 10) item rows, -1 = empty; ``shown``, ``handed`` (6,): GROUPS
    on the page and among what pre-ranking hands on; ``gini`` over all items; ``topics`` mean
    different main topics on a page."""

    given: Array
    kept: Array
    recall: Array
    value: Array
    ndcg: Array
    best: Array
    lists: Array
    shown: Array
    handed: Array
    gini: float
    topics: float

    @property
    def exposure(self) -> Array:
        """(3,) shares of head, middle and tail on the page."""
        return self.shown[:3]

    @property
    def new(self) -> float:
        """Share of the cards younger than a day."""
        return float(self.shown[3])

    @property
    def share(self) -> float:
        """Value as a share of the oracle's; NaN where nothing can be won."""
        best = float(self.best.sum())
        return float(self.value.sum()) / best if best else float("nan")


def _first_true(mask: Array, n: int | Array) -> Array:
    """(E, U) bool -> the same with only each row's first ``n`` true places left."""
    return mask & (np.cumsum(mask, axis=1, dtype=np.int16) <= n)


def clean_candidates(panel: Panel, config: CascadeConfig) -> Array:
    """(E, U) bool: retrieved and not dropped by a filter, what pre-ranking is given."""
    return not_dropped(panel, config, retrieved(panel, config))


def not_dropped(panel: Panel, config: CascadeConfig, found: Array) -> Array:
    """(E, U) bool: those of the found that the filters leave."""
    return found & ~panel.dropped if config.hide_seen else found


def retrieved(panel: Panel, config: CascadeConfig, overask: float = 1.5) -> Array:
    """(E, U) bool: the first ``config.retrieve`` different items in the turns of the merge, or
    those with most points."""
    channels, n = [CHANNELS.index(name) for name in config.channels], config.retrieve
    if config.merge == "score":
        return _by_points(panel, channels, n)
    shares = config.shares if config.merge == "quota" else {}
    share = np.array([shares.get(name, 1.0) for name in config.channels])
    share = share / share.sum()
    asked = np.minimum(np.ceil(overask * n * share), min(n, DEPTH)).astype(int)
    rank = np.concatenate([np.arange(k) for k in asked])
    which = np.repeat(np.arange(len(channels)), asked)
    turns = np.argsort((rank + 0.5) / share[which], kind="stable")
    answers = [panel.brought[c, :, :k] for c, k in zip(channels, asked, strict=True)]
    place = np.concatenate(answers, axis=1)[:, turns]
    width = panel.item_row.shape[1] + 1  # the last column takes the -1
    flat = np.where(place >= 0, place, width - 1) + width * np.arange(len(panel))[:, None]
    turn = np.broadcast_to(np.arange(len(turns), dtype=np.int32), place.shape)
    first = np.empty(len(panel) * width, np.int32)
    # written back to front, so that the earliest turn of an item is what stays
    first[flat.ravel()[::-1].copy()] = turn.ravel()[::-1].copy()
    new = (first.take(flat) == turn) & (place >= 0)
    found = np.zeros(len(first), bool)
    found[flat[_first_true(new, n)]] = True
    return found.reshape(-1, width)[:, :-1]


def _by_points(panel: Panel, channels: list[int], n: int) -> Array:
    """(E, U) bool: the ``n`` items with most points among the channels' first ``n``."""
    width, depth = panel.item_row.shape[1], min(n, DEPTH)
    place = panel.brought[channels, :, :depth]
    there = place >= 0
    flat = (place + width * np.arange(len(panel))[:, None])[there]
    total = np.bincount(flat, panel.points[channels, :, :depth][there], panel.item_row.size)
    total = np.where(marked(panel, flat), total.reshape(-1, width), -np.inf)
    if n >= width:
        return np.asarray(total > -np.inf)
    last = np.partition(total, width - n, axis=1)[:, width - n, None]  # points of the n-th
    better = total > last
    tied = _first_true(total == last, n - better.sum(1, keepdims=True))  # those first in line
    return (better | tied) & (total > -np.inf)


def pre_ranked(panel: Panel, clean: Array, keep: int, duties: Duties | None = None) -> Array:
    """(E, U) bool: the ``keep`` that pre-ranking hands on of the ``clean`` ones, in the panel's
    order; with duties, those first for whom they keep places."""
    there = clean.take(panel.by_pre)
    if duties is None:
        return marked(panel, panel.by_pre[_first_true(there, keep)])
    flat = panel.by_pre[there]
    owner = flat // clean.shape[1]
    candidates = Candidates(len(panel), owner, panel.item_row.take(flat).astype(np.int64))
    tier = _tiers(panel, candidates, duties, keep)
    kept, before = np.zeros(len(flat), bool), np.zeros(len(panel), np.int64)
    for level in (RESERVED, USUAL, OVER_QUOTA):
        mine = tier == level
        kept |= mine & (_place(candidates, mine) + before[owner] < keep)
        before += np.bincount(owner[mine], minlength=len(panel))
    return marked(panel, flat[kept])


def best_by_rank(panel: Panel, mask: Array, n: int) -> Array:
    """Places in the flat (E, U), by request: the ``n`` best of the mask in the ranker's order."""
    return np.asarray(panel.by_rank[_first_true(mask.take(panel.by_rank), n)])


def marked(panel: Panel, flat: Array) -> Array:
    """(E, U) bool, True at places of the flat (E, U)."""
    mask = np.zeros(panel.item_row.size, bool)
    mask[flat] = True
    return mask.reshape(panel.item_row.shape)


def _tiers(panel: Panel, there: Candidates, duties: Duties, keep: int) -> Array:
    """``duties.tiers`` for candidates that lie best first, without sorting them once more."""
    c, rows = duties.config, there.item_row
    tier = np.full(len(rows), USUAL, np.int8)
    if c.category < 1.0 and "tags" in duties.index:
        category = duties.category(rows)
        key = there.request_row * (category.max(initial=0) + 2) + category + 1
        small = np.min_scalar_type(int(key.max(initial=0)))  # two bytes sort many times faster
        order = np.argsort(key.astype(small), kind="stable")
        place = np.empty(len(rows), np.int64)
        new = np.diff(key[order], prepend=-1) > 0
        every = np.arange(len(rows))
        place[order] = every - np.maximum.accumulate(np.where(new, every, 0))
        tier[place >= max(1, round(c.category * keep))] = OVER_QUOTA
    for duty in RESERVING:
        share = getattr(c, duty)
        if share:
            mine = duties.of(duty, _anonymous(panel), there)
            tier[mine & (_place(there, mine) < round(share * keep))] = RESERVED
    return tier


def _place(there: Candidates, mine: Array) -> Array:
    """(n,) how many of ``mine`` lie before each candidate in its request."""
    before = np.cumsum(mine) - mine
    starts = there.starts()[:-1]
    first = before[np.minimum(starts, len(before) - 1)] if len(before) else starts
    return np.asarray(before - first[there.request_row])


def replay(
    panel: Panel,
    config: CascadeConfig,
    index: ForwardIndex,
    re_ranker: ReRanker = MMRStage,
    duties: Duties | None = None,
) -> Replay:
    """Run the funnel of ``config`` over the panel, with the duties and the re-ranker that a
    cascade would have as parts."""
    found = retrieved(panel, config)
    clean = not_dropped(panel, config, found)
    pre = pre_ranked(panel, clean, config.pre_rank, duties)
    ranked = best_by_rank(panel, pre, config.rank)
    lists, gain = _re_ranked(panel, re_ranker(config.mmr, index), ranked)
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
        shown=shares(panel, index, np.nonzero(lists >= 0)[0], shown),
        handed=shares(panel, index, np.nonzero(pre)[0], panel.item_row[pre]),
        gini=metrics.gini(np.bincount(shown, minlength=len(panel.group))),
        topics=_topics(lists, index),
    )


def _re_ranked(panel: Panel, stage: Stage, ranked: Array) -> tuple[Array, Array]:
    """(E, 10) item rows and gains of the lists that the live re-ranking stage makes of the
    ``ranked`` ones, positions in the flat (E, U)."""
    owner = ranked // panel.item_row.shape[1]
    rows = panel.item_row.take(ranked).astype(np.int64)
    columns = {"rank_score": panel.rank_score.take(ranked), "gain": panel.gain.take(ranked)}
    candidates = Candidates(len(panel), owner, rows, columns)
    kept = stage(_anonymous(panel), candidates).kept
    slot = np.arange(len(kept)) - kept.starts()[:-1][kept.request_row]
    lists, gain = np.full((len(panel), 10), -1), np.zeros((len(panel), 10), np.float32)
    inside = slot < 10
    lists[kept.request_row[inside], slot[inside]] = kept.item_row[inside]
    gain[kept.request_row[inside], slot[inside]] = kept["gain"][inside]
    return lists, gain


def _anonymous(panel: Panel) -> Batch:
    """A batch that only says when each request came, and how many cards it wants."""
    n = len(panel)
    none, past = np.zeros(n, np.int64), np.full((n, 1), -1)
    requests = (Request(-1, 0),) * n
    starts = np.zeros(n + 1, np.int64)
    return Batch(requests, none - 1, panel.time_ms, none, past, starts, none[:0])


def shares(panel: Panel, index: ForwardIndex, owner: Array, rows: Array) -> Array:
    """(6,) shares of GROUPS among items ``rows`` (n,) of the requests ``owner`` (n,); of the
    largest topic, the mean over requests. NaN for what the index does not know."""
    found = np.full(len(GROUPS), np.nan)
    if not len(rows):
        return np.zeros(len(GROUPS))
    found[:3] = metrics.share_by_group(rows, panel.group, 3)
    if "publish_ms" in index:
        found[3] = (panel.time_ms[owner] - index["publish_ms"][rows] < DAY_MS).mean()
    found[4] = panel.is_small[rows].mean()
    if "tags" in index:
        topic = index["tags"][rows, 0].astype(np.int64) + 1
        width = int(topic.max()) + 1
        counts = np.bincount(owner * width + topic, minlength=len(panel) * width)
        counts = counts.reshape(len(panel), width)
        found[5] = (counts.max(1) / np.maximum(counts.sum(1), 1)).mean()
    return found


def _topics(lists: Array, index: ForwardIndex) -> float:
    """Mean number of different main topics on a page; NaN without tags. What has no topic, an
    empty place too, is none."""
    if "tags" not in index:
        return float("nan")
    main = np.sort(index.get(lists, ["tags"])["tags"][:, :, 0], axis=1)
    new = np.diff(main, axis=1, prepend=-1) > 0
    return float(new.sum(1).mean())
