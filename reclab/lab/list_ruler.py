"""Lists measured: what pages are worth as a whole, how different their cards are, and for whom.

    Ruler(lab, pool).measure(orders, family, knob) -> Result
    fronts, against_mmr, table: results beside each other

A re-ranker may buy value with sameness; so each is compared with MMR at the same distance.

Simplified: industry adds an interval to every number, from users drawn again and again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reclab.cascade.re_ranking import list_metrics
from reclab.core.types import Array
from reclab.lab.lab import Lab, train_until
from reclab.lab.page_pools import Pool

LEARNED = ("list-wise", "generator", "policy gradient")


@dataclass(frozen=True)
class Result:
    """Means over the requests of a day, and for what was learned over the seeds too.

    ``value`` sum of the cards' P(long view) in first place; ``list_value`` expected long views of
    the page; ``distance``, ``novelty`` (bits), ``balance``, ``creators`` (different ones a card)
    by ``list_metrics``; ``gini`` of what creators get; ``pages`` (B,) list values by request;
    ``by_seed`` list values by seed; ``family`` and ``knob`` say what was set."""

    value: float
    list_value: float
    distance: float
    novelty: float
    balance: float
    creators: float
    gini: float
    pages: Array
    by_seed: tuple[float, ...]
    family: str
    knob: float = float("nan")

    @property
    def spread(self) -> float:
        """Largest less smallest list value of the seeds."""
        return max(self.by_seed) - min(self.by_seed)


class Ruler:
    """Measures lists of a pool; what it needs of the catalogue is read once."""

    def __init__(self, lab: Lab, pool: Pool) -> None:
        index, log = lab.trained.parts.index, lab.logs.interactions
        early = log["video_id"][log["time_ms"] < train_until(lab)]
        self.pool, self.exposure = pool, np.bincount(index.rows(early), minlength=len(index))
        self.category, self.creator = index["tags"][:, 0], index["author_id"]
        self.vectors = unit_tags(index["tags"])
        self.gain = pool.simulator.p_click * pool.simulator.p_long

    def measure(self, orders: Sequence[Array], family: str, knob: float) -> Result:
        """Judge the lists (B, K) of every seed, positions among the pool's candidates."""
        pages = [self.pool.simulator.value(order) for order in orders]
        parts = [self._means(order) for order in orders]
        by_seed = tuple(float(page.mean()) for page in pages)
        value, *rest = (float(x) for x in np.mean(parts, axis=0))
        every = np.mean(pages, axis=0)
        return Result(value, float(every.mean()), *rest, every, by_seed, family, knob)

    def _means(self, order: Array) -> list[float]:
        there, at = order >= 0, np.maximum(order, 0)
        lists = np.where(there, np.take_along_axis(self.pool.item_row, at, 1), -1)
        return [
            (np.take_along_axis(self.gain, at, 1) * there).sum(1).mean(),
            np.nanmean(list_metrics.intra_list_distance(lists, self.vectors)),
            np.nanmean(list_metrics.novelty(lists, self.exposure)),
            np.nanmean(list_metrics.balance(lists, self.category)),
            np.nanmean(list_metrics.distinct_share(lists, self.creator)),
            list_metrics.exposure_gini(lists, self.creator),
        ]


def unit_tags(tags: Array) -> Array:
    """(n_items, n_tags) float32 unit vectors of tags (n_items, width), -1 = none."""
    wide = np.zeros((len(tags), int(tags.max(initial=0)) + 2), np.float32)
    np.put_along_axis(wide, tags.astype(np.int64) % wide.shape[1], 1.0, 1)  # -1 goes last
    wide = wide[:, :-1]
    return np.asarray(wide / np.maximum(np.sqrt(wide.sum(1, keepdims=True)), 1))


def fronts(results: Mapping[str, Result]) -> dict[str, tuple[Array, Array]]:
    """(distance, list value) of each family that has a knob, by distance, for a plot; all begin
    with score order where they contain it."""
    out = {}
    for family in ("MMR", "DPP", *LEARNED):
        mine = [r for r in results.values() if r.family == family]
        mine += [results["score order"]] * (family in ("MMR", "DPP"))
        mine.sort(key=lambda r: r.distance)
        out[family] = (
            np.array([r.distance for r in mine]),
            np.array([r.list_value for r in mine]),
        )
    return out


def against_mmr(results: Mapping[str, Result], name: str) -> tuple[float, float]:
    """How much more list value than MMR at the same diversity (share of MMR's), and its standard
    error over requests: MMR's list values are interpolated between the two λ whose distances
    enclose that of ``name``; beyond them the nearest stands in."""
    mmr = [r for r in results.values() if r.family in ("MMR", "score order")]
    mmr.sort(key=lambda r: r.distance)
    mine, at = results[name], np.array([r.distance for r in mmr])
    right = int(np.clip(np.searchsorted(at, mine.distance), 1, len(at) - 1))
    low, high = mmr[right - 1], mmr[right]
    part = (mine.distance - low.distance) / max(high.distance - low.distance, 1e-9)
    part = float(np.clip(part, 0.0, 1.0))
    theirs = (1 - part) * low.pages + part * high.pages
    more = mine.pages - theirs
    scale = float(theirs.mean())
    return float(more.mean()) / scale, float(more.std()) / np.sqrt(len(more)) / scale


def table(results: Mapping[str, Result]) -> str:
    """The results as text, one re-ranker a line."""
    head = f"{'':26s}{'cards':>7}{'list':>7}{'seeds':>7}{'apart':>7}{'novel':>7}"
    lines = [head + f"{'balance':>9}{'creators':>9}{'gini':>7}{'than MMR, equally apart':>26}"]
    for name, r in results.items():
        more, error = against_mmr(results, name)
        seeds = f"{r.spread:7.3f}" if len(r.by_seed) > 1 else " " * 7
        gap = "" if r.family in ("MMR", "score order") else f"{more:+.1%} ± {error:.1%}"
        lines.append(
            f"{name:26s}{r.value:7.3f}{r.list_value:7.3f}{seeds}{r.distance:7.3f}{r.novelty:7.2f}"
            f"{r.balance:9.3f}{r.creators:9.3f}{r.gini:7.3f}{gap:>26}"
        )
    return "\n".join(lines)
