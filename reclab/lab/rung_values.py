"""What each rung of the ladder costs and what its page is worth, on this lab and this machine.

    cost     processor ms of a request that comes alone, all rungs in turn
    value    sum of the ten cards' gains, by the judge, mean over requests of a split

Beside the ladder's rungs stand a deeper and a shallower funnel of the same cascade: what dynamic
allocation gives in quiet hours, and at the peak. A cached page is what the answer to the user's
page before left, if that is not too old, else the hot pool.

Simplified: Redis works for the cached answer in a process of its own, which is not counted.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reclab.cascade.batch import Batch, read_batch
from reclab.cascade.pipeline import Cascade
from reclab.core.pipeline import run
from reclab.core.stage import Stage, StageResult
from reclab.core.types import Array, Candidates, Request
from reclab.degradation_dcaf.cache import DegradationCache
from reclab.degradation_dcaf.pipeline import DegradedPath
from reclab.lab.action_pages import K, fallback_pages
from reclab.lab.judge import best_lists, eligible
from reclab.lab.kept import kept
from reclab.lab.lab import Lab, Progress, progress_bar
from reclab.lab.served import earliest_ms, editors_picks, hot_list, hot_rows
from reclab.offline_online.serving.fallback import (
    CACHED,
    EDITORS,
    FRESH,
    HOT,
    NOT_RANKED,
    Ask,
    ask_cascade,
    ask_pool,
    ask_recommender,
    without_ranking,
)
from reclab.offline_online.serving.pools import EditorsPool, Pool
from reclab.offline_online.serving.resource_allocation import Offers
from reclab.stores.kv import KV

DEEP, SHALLOW = "deep funnel", "shallow funnel"
LADDER = (DEEP, FRESH, SHALLOW, NOT_RANKED, CACHED, HOT, EDITORS)
FUNNELS: Mapping[str, Mapping[str, int]] = {
    DEEP: {"retrieve": 2000, "pre_rank": 600, "rank": 100},
    FRESH: {},
    SHALLOW: {"retrieve": 300, "pre_rank": 60, "rank": 30},
}
STAGES = ("retrieval", "pre_ranking", "ranking", "re_ranking")
CHUNK, ROUNDS, TIMED = 20, 3, 40


@dataclass(frozen=True)
class Offer:
    """One rung: ``cost_ms`` and its ``spread`` over requests, ``value`` of a page with its standard
    ``error`` and as a ``share`` of the best page's, over ``n`` requests; ``stage_ms`` (4,) mean of
    ``STAGES``, 0 for who has none."""

    cost_ms: float
    spread: float
    value: float
    error: float
    share: float
    n: int
    stage_ms: tuple[float, ...] = ()


def rung_offers(
    lab: Lab, n: int = 300, split: str = "held_out", progress: bool | Progress = True
) -> dict[str, Offer]:
    """Offers by rung in the order of ``LADDER``, measured once for a lab (half a minute at scale
    laptop)."""

    def compute() -> dict[str, Offer]:
        with progress_bar(f"rungs ({lab.scale}, seed {lab.seed})", progress) as say:
            return _measure(lab, n, split, say)

    return kept(lab, f"rungs-{split}-{n}", Offer, compute)


def offers_of(rungs: Mapping[str, Offer]) -> Offers:
    """The same as columns, for ``resource_allocation``."""
    columns = ([getattr(rung, name) for rung in rungs.values()] for name in
               ("cost_ms", "spread", "value"))  # fmt: skip
    return Offers(tuple(rungs), *map(np.array, columns))


def table(rungs: Mapping[str, Offer]) -> str:
    """The result as text, one rung a line."""
    lines = [
        f"{'':18}{'value':>8}{'±':>7}{'of best':>9}{'of fresh':>10}{'cost ms':>9}{'spread':>8}"
    ]
    fresh = rungs[FRESH].value
    for name, one in rungs.items():
        lines.append(
            f"{name:<18}{one.value:>9.3f}{one.error:>9.3f}{one.share:>9.1%}"
            f"{one.value / fresh:>9.1%}{one.cost_ms:>9.3f}{one.spread:>9.2f}"
        )
    return "\n".join(lines)


def _measure(lab: Lab, n: int, split: str, say: Progress) -> dict[str, Offer]:
    requests, p = lab.requests(n, split), lab.trained.parts
    gain = lab.judge.gains(split, n) * eligible(requests, p.users, p.index)
    best = np.take_along_axis(gain, best_lists(gain, K), 1).sum(1)
    pages: dict[str, Array] = {}
    for i, name in enumerate(LADDER):
        say(0.1 + 0.5 * i / len(LADDER), name)
        pages[name] = _pages(lab, name, requests)
    say(0.65, "times")
    ms = _times(lab, requests[:TIMED])
    found = {}
    for name, rows in pages.items():
        won = np.where(rows >= 0, np.take_along_axis(gain, np.maximum(rows, 0), 1), 0.0).sum(1)
        cost, spread = float(ms[name].mean()), float(ms[name].std() / ms[name].mean())
        error = float(won.std() / np.sqrt(len(won)))
        share = float(won.sum() / max(best.sum(), 1e-9))
        value, stages = float(won.mean()), _stage_ms(lab, name, requests[:TIMED], cost)
        found[name] = Offer(cost, spread, value, error, share, len(won), stages)
    return found


@dataclass(frozen=True)
class _OnTheProcessor:
    """A stage whose processor time is written down: wall time counts what others took."""

    stage: Stage
    spent: dict[str, list[float]]

    @property
    def name(self) -> str:
        return self.stage.name

    def __call__(self, batch: Batch, candidates: Candidates) -> StageResult:
        began = time.process_time()
        result = self.stage(batch, candidates)
        self.spent.setdefault(self.name, []).append(1000 * (time.process_time() - began))
        return result


def _stage_ms(lab: Lab, name: str, requests: Sequence[Request], cost: float) -> tuple[float, ...]:
    """A rung's cost by stage, in the proportion of the stages' medians."""
    cascade, spent = cascades(lab).get(name), {}
    if cascade is None:
        return (0.0,) * len(STAGES)
    p = cascade.parts
    for request in requests:
        stages = [_OnTheProcessor(stage, spent) for stage in cascade.stages()]
        run(stages, read_batch([request], p.users, p.index), 1)
    middle = {stage: float(np.median(ms)) for stage, ms in spent.items()}
    whole = sum(middle.values())
    return tuple(cost * middle[stage] / whole for stage in STAGES)


def cascades(lab: Lab) -> dict[str, Cascade]:
    """The rungs that are a cascade."""
    fresh = {name: lab.trained.with_config(**sizes) for name, sizes in FUNNELS.items()}
    return fresh | {NOT_RANKED: without_ranking(lab.trained)}


def _pages(lab: Lab, name: str, requests: Sequence[Request]) -> Array:
    """(n, K) item rows, -1 = an empty place."""
    if name == CACHED:
        return fallback_pages(lab, requests)[1]
    rows = np.full((len(requests), K), -1)
    if name in (HOT, EDITORS):
        pool = _pool(lab, name)
        slates = [pool.page(request) for request in requests]
    else:
        cascade, slates = cascades(lab)[name], []
        for at in range(0, len(requests), CHUNK):
            slates += cascade.recommend_batch(requests[at : at + CHUNK])[0]
    for b, slate in enumerate(slates):
        rows[b, : len(slate)] = slate.item_row[:K]
    return rows


def _pool(lab: Lab, name: str) -> Pool | EditorsPool:
    return hot_list(lab) if name == HOT else EditorsPool(editors_picks(lab), earliest_ms(lab))


def _times(lab: Lab, requests: Sequence[Request]) -> dict[str, Array]:
    """Processor ms of each request (n,) by rung: the median of rounds that take all in turn."""
    kv, p = KV(namespace="rung-times"), lab.trained.parts
    try:
        cache = DegradationCache(kv)
        path = DegradedPath(cache, p.index, p.users, hot_rows(lab.trained))
        asks: dict[str, Ask] = {name: ask_cascade(one) for name, one in cascades(lab).items()}
        asks[CACHED] = ask_recommender(path, most_filled=1.0)
        asks |= {name: ask_pool(_pool(lab, name)) for name in (HOT, EDITORS)}
        asked = [replace(request, n=cache.config.last) for request in requests]
        healthy = lab.trained.recommend_batch(asked)[0]
        spent: dict[str, list[list[float]]] = {name: [] for name in LADDER}
        for turn in range(ROUNDS + 1):
            for request, slate in zip(requests, healthy, strict=True):
                cache.remember(slate)
                for name in LADDER:
                    ms = _cpu_ms(lambda name=name, r=request: asks[name](r, 1e6))
                    if turn:  # the first round allocates
                        spent[name].append([ms])
        return {
            name: np.median(np.array(ms).reshape(ROUNDS, len(requests)), axis=0)
            for name, ms in spent.items()
        }
    finally:
        kv.delete(*kv.names())
        kv.close()


def _cpu_ms(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return (time.process_time() - began) * 1000
