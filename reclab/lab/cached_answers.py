"""What a degraded answer loses against a live one, by the age of the cache it is read from.

    t - age   a healthy answer: ranks 11 to 30 go into the degradation cache
    t         three degraded pages from it, each without what was shown before
    value     = sum of the ten cards' gains at t, as a share of the best ten there are

For scale: ranks 1-10, 11-20 and 21-30 of a fresh answer at t, and the hot pool alone. The channels
that answer at t - age are those built by the midnight before it (``with_old_indexes``).

Simplified: ranker, pre-ranker and towers are today's also for an answer of three days ago, which
flatters old caches a little; a platform would replay its own log of answers.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.pipeline import HOT_POOL, Cascade
from reclab.core.clock import day_of
from reclab.core.metrics import head_middle_tail
from reclab.core.types import Array, Request, Slate
from reclab.degradation_dcaf.cache import DegradationCache
from reclab.degradation_dcaf.pipeline import DegradedPath
from reclab.lab.breaking import with_old_indexes
from reclab.lab.judge import TruthJudge, best_lists, eligible
from reclab.lab.kept import kept
from reclab.lab.lab import Lab, Progress, progress_bar
from reclab.lab.panel import exposures
from reclab.stores.exposures import RecentExposures
from reclab.stores.kv import KV

AGES_S = {
    "1 min": 60,
    "10 min": 600,
    "1 h": 3600,
    "6 h": 21_600,
    "1 day": 86_400,
    "3 days": 259_200,
}
PAGES = (1, 2, 3)
CHUNK = 20
ASKED = 30  # the ranks that the cache needs
HELD = 4000  # requests of a split that a sample is spread over
NAMESPACE = "cached-answers"
TAIL = 2  # of head, middle and tail


@dataclass(frozen=True)
class Page:
    """Ten cards, mean over ``n`` requests: ``share`` of the best ten's value with its standard
    ``error``, share of cards from the hot pool and of long-tail items; ``alive``: share of what the
    cache held that may still be shown (NaN for answers without a cache)."""

    share: float
    error: float
    hot: float
    tail: float
    alive: float
    n: int


def cached_answers(
    lab: Lab, n: int = 300, split: str = "tuning", progress: bool | Progress = True
) -> dict[str, Page]:
    """Pages by name: ``live 1-10``, ``live 11-20``, ``live 21-30``, then ``hot pool, page 1`` and
    ``1 min, page 1`` and so on; computed once for a lab, in about a minute at scale laptop."""

    def compute() -> dict[str, Page]:
        with progress_bar(f"cached answers ({lab.scale}, seed {lab.seed})", progress) as say:
            return _measure(lab, n, split, say)

    return kept(lab, f"cached-answers-{split}-{n}", Page, compute)


def table(pages: dict[str, Page]) -> str:
    """The result as text, one page a line."""
    lines = [f"{'':18s}{'value':>8}{'of live':>9}{'hot pool':>10}{'tail':>7}{'alive':>7}"]
    live = pages["live 1-10"].share
    for name, page in pages.items():
        alive = "-" if np.isnan(page.alive) else f"{page.alive:.2f}"
        lines.append(
            f"{name:18s}{page.share:8.3f}{page.share / live:9.2f}{page.hot:10.2f}{page.tail:7.2f}"
            f"{alive:>7}"
        )
    return "\n".join(lines)


def _measure(lab: Lab, n: int, split: str, say: Progress) -> dict[str, Page]:
    sample = _Sample(lab, n, split)
    say(0.02, "live answers")
    live = _answers(lab.trained, [replace(r, n=ASKED) for r in sample.requests])
    found = {}
    for first in (1, 11, 21):
        found[f"live {first}-{first + 9}"] = sample.page(*_cards(live, first))
    with _path(lab) as path:
        found |= _pages(path, sample, "hot pool")
    cascades = _Builds(lab)
    for done, (age, seconds) in enumerate(AGES_S.items()):
        say(0.1 + 0.9 * done / len(AGES_S), f"a cache of {age}")
        asked = [replace(r, time_ms=r.time_ms - 1000 * seconds) for r in sample.requests]
        with _path(lab) as path:
            for slate in cascades.answers([replace(r, n=ASKED) for r in asked]):
                path.cache.remember(slate)
            found |= _pages(path, sample, age)
    return found


def _pages(path: DegradedPath, sample: "_Sample", name: str) -> dict[str, Page]:
    """The pages that each user is shown one after the other, all at the request's time."""
    found = {}
    for number in PAGES:
        slates, alive = [], np.zeros(2)
        for at in range(0, len(sample.requests), CHUNK):
            some, trace = path.recommend_batch(sample.requests[at : at + CHUNK])
            alive += trace.stages[-1].n_in, trace.stages[0].n_kept
            slates += some
        for slate in slates:
            path.exposures.put(slate.request.user_id, slate.item_id)
        held = alive[1] >= len(slates)  # a card a request at least
        left = float(alive[0] / alive[1]) if held else float("nan")
        found[f"{name}, page {number}"] = sample.page(*_cards(slates, 1), left)
    return found


def degraded_path(lab: Lab) -> DegradedPath:
    """The degraded path of the lab, on its Redis; its cache is what answers have left there."""
    p, stores = lab.trained.parts, lab.stores
    cache = DegradationCache(stores.kv)
    return DegradedPath(cache, p.index, p.users, hot_pool(lab), stores.exposures)


def hot_pool(lab: Lab) -> Callable[[Batch], Array]:
    """What is popular, as the cascade's last resort has it."""
    return lambda batch: lab.trained.parts.popular.retrieve(batch, HOT_POOL)[0]


@contextmanager
def _path(lab: Lab) -> Iterator[DegradedPath]:
    """A degraded path with an empty cache and no memory of what it shows, on a real Redis."""
    p, kv = lab.trained.parts, KV(namespace=NAMESPACE)
    kv.delete(*kv.names())
    try:
        cache, exposures = DegradationCache(kv), RecentExposures(kv)
        yield DegradedPath(cache, p.index, p.users, hot_pool(lab), exposures)
    finally:
        kv.delete(*kv.names())
        kv.close()


class _Sample:
    """Requests of different users, spread over the split, with their gains at that time."""

    def __init__(self, lab: Lab, n: int, split: str) -> None:
        every, p = lab.requests(HELD, split), lab.trained.parts
        _, first = np.unique([r.user_id for r in every], return_index=True)
        first = np.sort(first)
        rows = first[np.linspace(0, len(first) - 1, min(n, len(first))).astype(int)]
        self.requests = [every[row] for row in rows]
        if isinstance(lab.judge, TruthJudge):  # the gains of all HELD requests are too many
            gain = lab.judge.truth.request_value(lab.judge.table(split, HELD).take(rows), None)
        else:
            gain = lab.judge.gains(split, HELD)[rows]
        self.gain = gain * eligible(self.requests, p.users, p.index)
        self.best = np.take_along_axis(self.gain, best_lists(self.gain), 1).sum(1)
        self.group = head_middle_tail(exposures(lab.trained))

    def page(self, rows: Array, hot: Array, alive: float = float("nan")) -> Page:
        """Judge (B, 10) item rows, -1 = an empty place, of which ``hot`` (B, 10) came from the hot
        pool. The share is a ratio of means, and its error that of a ratio."""
        at, real, n = np.maximum(rows, 0), rows >= 0, len(rows)
        won = np.where(real, np.take_along_axis(self.gain, at, 1), 0.0).sum(1)
        share = float(won.sum() / self.best.sum())
        error = float(np.std(won - share * self.best) / np.sqrt(n) / self.best.mean())
        tail = float((self.group[at] == TAIL)[real].mean())
        return Page(share, error, float(hot[real].mean()), tail, alive, n)


class _Builds:
    """Cascades by the midnight at which their channels were built."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.built = lab, {0: lab.trained}
        end = lab.trained.parts.until_ms
        self.end_day = None if end is None else day_of(end)

    def answers(self, requests: Sequence[Request]) -> list[Slate]:
        """Each request answered by the cascade of its own day; in the order of the requests."""
        old = np.zeros(len(requests), int)
        if self.end_day is not None:
            day = np.array([day_of(r.time_ms) for r in requests])
            old = np.maximum(self.end_day - day, 0)
        slates: dict[int, Slate] = {}
        for days in np.unique(old).tolist():
            if days not in self.built:
                self.built[days] = with_old_indexes(self.lab, days)
            rows = np.flatnonzero(old == days)
            found = _answers(self.built[days], [requests[row] for row in rows])
            slates |= dict(zip(rows.tolist(), found, strict=True))
        return [slates[row] for row in range(len(requests))]


def _answers(cascade: Cascade, requests: Sequence[Request]) -> list[Slate]:
    slates: list[Slate] = []
    for at in range(0, len(requests), CHUNK):
        slates += cascade.recommend_batch(requests[at : at + CHUNK])[0]
    return slates


def _cards(slates: Sequence[Slate], first: int) -> tuple[Array, Array]:
    """(B, 10) item rows from rank ``first`` on, -1 where a list is short, and (B, 10) bool: it has
    no rank score, so it came from the hot pool."""
    rows, hot = np.full((len(slates), 10), -1), np.zeros((len(slates), 10), bool)
    for b, slate in enumerate(slates):
        part = slice(first - 1, first + 9)
        n = len(slate.item_row[part])
        rows[b, :n] = slate.item_row[part]
        hot[b, :n] = np.isnan(slate.columns["rank_score"][part])
    return rows, hot
