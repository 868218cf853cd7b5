"""The panel: a hundred requests with every score computed once, so that a slider needs only cuts.

For each request lie all items that any channel can bring (U of them), with the channels' answers,
whether a filter drops them, their places in the pre-ranker's and the ranker's order, and their
gain. ``replay`` runs the funnel of any sizes on these arrays and ends in the live re-ranking stage;
a test holds its lists equal to the live cascade's.

Simplified: industry logs what each stage saw and said, and replays days of it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from reclab.cascade.batch import Batch, read_batch
from reclab.cascade.pipeline import CHANNELS, Cascade
from reclab.cascade.pre_ranking.duties import Duties, DutiesConfig
from reclab.cascade.stages import Fuser, Predictor, Scorer
from reclab.core import metrics
from reclab.core.types import Array, Candidates, Request
from reclab.lab.judge import Judge, best_lists, eligible

DEPTH = 1500  # items asked of each channel: the largest retrieval size of the explorer
CHUNK = 8  # requests scored at a time, which bounds the memory of the ranker
N_BEST = 100  # the oracle's best items whose survival is followed
DERIVED = ("by_pre", "by_rank")  # what is sorted again at loading instead of being saved


@dataclass(frozen=True)
class Panel:
    """E requests × U places, padded with ``item_row`` -1.

    ``brought`` (C, E, DEPTH) int16: places in the order of each channel's answer, -1 = no more;
    ``dropped`` (E, U) a filter removes it; ``pre_score``, ``rank_score``, ``gain`` (E, U) float32;
    ``by_pre``, ``by_rank`` (E, U) places in the order of these scores, in the flat (E, U);
    ``is_best`` (E, U) among the oracle's N_BEST; ``best_gain`` (E, 10) gains of the oracle's list;
    ``group`` (n_items,) 0 head, 1 middle, 2 tail by past exposure; ``is_small`` (n_items,) of 80 %
    of the creators, the least shown; ``n_best`` (E,) how many of the N_BEST can be worth anything;
    ``time_ms`` (E,) when each request came."""

    item_row: Array
    brought: Array
    dropped: Array
    pre_score: Array
    rank_score: Array
    gain: Array
    is_best: Array
    best_gain: Array
    group: Array
    is_small: Array
    n_best: Array
    time_ms: Array
    by_pre: Array
    by_rank: Array

    def __len__(self) -> int:
        return len(self.item_row)

    def pre_ranked_by(self, score: Array) -> "Panel":
        """The panel as another pre-ranker has it, by its scores (E, U)."""
        return replace(self, pre_score=score, by_pre=best_first(score))

    def ranked_by(self, score: Array) -> "Panel":
        """The panel as another ranker has it, by its scores (E, U)."""
        return replace(self, rank_score=score, by_rank=best_first(score))

    def save(self, file: Path) -> None:
        """Write all arrays to one ``.npz``."""
        names = [name for name in self.__dataclass_fields__ if name not in DERIVED]
        np.savez(file, **{name: getattr(self, name) for name in names})

    @staticmethod
    def load(file: Path) -> "Panel":
        """Read what ``save`` wrote."""
        with np.load(file) as arrays:
            held = {name: arrays[name] for name in arrays.files}
        orders = {"by_pre": "pre_score", "by_rank": "rank_score"}
        return Panel(**held, **{name: best_first(held[of]) for name, of in orders.items()})


def best_first(score: Array) -> Array:
    """(E, U) scores -> places in the flat (E, U), row by row, best first; ties keep their order."""
    n, width = score.shape
    return np.argsort(-score, axis=1, kind="stable") + width * np.arange(n)[:, None]


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
    item_row, brought = _union(answers, len(p.index))
    half = (lambda f: progress(f, "panel of requests")) if progress else None
    pre = panel_scores(cascade, requests, item_row, pre_score(p.pre_ranker))
    rank = panel_scores(cascade, requests, item_row, rank_score(p.ranker, p.fuse), half)
    allowed = eligible(requests, p.users, p.index)
    gain = judge.gains(split, n) * allowed
    best = best_lists(gain, N_BEST)
    at, there = np.maximum(item_row, 0), item_row >= 0
    is_best = np.zeros(allowed.shape, bool)
    np.put_along_axis(is_best, best, np.take_along_axis(gain, best, 1) > 0, 1)
    return Panel(
        item_row=item_row.astype(np.int32),
        brought=brought,
        dropped=~np.take_along_axis(allowed, at, 1) & there,
        pre_score=pre,
        rank_score=rank,
        by_pre=best_first(pre),
        by_rank=best_first(rank),
        gain=np.where(there, np.take_along_axis(gain, at, 1), 0).astype(np.float32),
        is_best=np.take_along_axis(is_best, at, 1) & there,
        best_gain=np.take_along_axis(gain, best[:, :10], 1).astype(np.float32),
        group=exposure_groups(cascade),
        is_small=Duties(DutiesConfig(), p.index, exposures(cascade)).is_small,
        n_best=is_best.sum(1),
        time_ms=np.array([request.time_ms for request in requests]),
    )


def exposures(cascade: Cascade) -> Array:
    """(n_items,) how often the log has shown each item."""
    users = cascade.parts.users
    rows = users.seen(np.arange(len(users)), np.full(len(users), 2**39))[1]
    return np.bincount(rows, minlength=len(cascade.parts.index))


def exposure_groups(cascade: Cascade) -> Array:
    """(n_items,) 0 head, 1 middle, 2 tail by the exposures that the log holds."""
    return metrics.head_middle_tail(exposures(cascade))


def _union(answers: list[Array], n_items: int) -> tuple[Array, Array]:
    """(E, U) different items of each request, -1 padded, and (C, E, DEPTH) int16: where each
    channel's answer lies among them, -1 = no more."""
    n = len(answers[0])
    found = [np.unique(np.concatenate([rows[e] for rows in answers])) for e in range(n)]
    found = [rows[rows >= 0] for rows in found]
    item_row = np.full((n, max(1, max((len(f) for f in found), default=1))), -1)
    brought = np.full((len(answers), n, DEPTH), -1, np.int16)
    for e, rows in enumerate(found):
        item_row[e, : len(rows)] = rows
        for c, answer in enumerate(answers):
            mine = answer[e][answer[e] >= 0]
            brought[c, e, : len(mine)] = np.searchsorted(rows, mine)
    return item_row, brought


Score = Callable[[Batch, Candidates], Array]


def pre_score(model: Scorer) -> Score:
    """How a pre-ranker scores candidates."""
    return lambda batch, candidates: model.score(batch, candidates)


def rank_score(model: Predictor, fuse: Fuser) -> Score:
    """How a ranker scores candidates: its targets, fused."""
    return lambda batch, candidates: fuse(model.predict(batch, candidates))


def panel_scores(
    cascade: Cascade,
    requests: list[Request],
    item_row: Array,
    score: Score,
    progress: Callable[[float], None] | None = None,
) -> Array:
    """(E, U) float32 what a model says of the items of each request, -inf where there is none."""
    p, told = cascade.parts, np.full(item_row.shape, -np.inf, np.float32)
    for start in range(0, len(requests), CHUNK):
        part = slice(start, start + CHUNK)
        batch, there = read_batch(requests[part], p.users, p.index), item_row[part] >= 0
        said = score(batch, _candidates(item_row[part], there))
        told[part][there] = np.where(np.isfinite(said), said, -np.inf)
        if progress:
            progress(start / len(requests))
    return told


def _candidates(item_row: Array, there: Array) -> Candidates:
    """(E, K) item rows as candidates, where the mask is true."""
    request_row = np.nonzero(there)[0]
    return Candidates(len(item_row), request_row, item_row[there].astype(np.int64))
