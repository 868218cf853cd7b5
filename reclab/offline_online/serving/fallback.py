"""The fallback ladder (兜底机制): fresh, without ranking, cached, hot pool, editors' pool.

    rung k answers if   it is on, its gate is open, cost_k <= time left,
                        and it gives n different, published items in that time;   else rung k + 1
    cost_k = mean + 4 deviations of its time lately

A gate closes when calls fail one after the other or hang, so that what is down costs nobody any
time; after a while one request tries again. What was tried, refused or failed above the rung that
answered is written down with the reason, for every answer.
Chapter 2, section 2.3.2. Reference: Jacobson 1988 (mean and deviation of a time), Nygard 2007
(circuit breaker, bulkhead).

Simplified: one ladder for all; industry has one for each surface, and asks two rungs at once.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.pipeline import Cascade
from reclab.core.errors import ReclabError, check, check_float, check_int
from reclab.core.protocols import Recommender
from reclab.core.types import Array, Candidates, Request, Slate, Trace
from reclab.offline_online.serving.latency_budget import BudgetedCascade
from reclab.stores.forward_index import ForwardIndex

FRESH, NOT_RANKED, CACHED, HOT, EDITORS = RUNGS = (
    "fresh cascade", "without ranking", "cached answer", "hot pool", "editors' pool"
)  # fmt: skip
OK, REFUSED, FAILED, ABANDONED = OUTCOMES = ("ok", "refused", "failed", "abandoned")
Asked = tuple[Slate, Mapping[str, float]]  # the page, ms by stage
Ask = Callable[[Request, float], Asked]  # (request, ms left) -> ...


class RungFailed(ReclabError, RuntimeError):
    """What a rung gave is not an answer."""


class NothingHere(ReclabError, LookupError):
    """A rung works, and has nothing for this request: its gate stays open."""


@dataclass(frozen=True)
class Attempt:
    """What became of a rung for one request: one of ``OUTCOMES``, why, and the ms spent on it."""

    rung: str
    outcome: str
    why: str = ""
    ms: float = 0.0


class Cost:
    """A rung's time as it was lately: moving mean and mean deviation (ms).

    >>> cost = Cost(10.0)
    >>> cost.saw(18.0)
    >>> cost.mean_ms, cost.estimate_ms
    (11.0, 26.5)
    """

    def __init__(self, mean_ms: float) -> None:
        self.first_ms = self.mean_ms = mean_ms
        self.deviation_ms = mean_ms / 4

    def saw(self, ms: float) -> None:
        """One more measured time."""
        error = ms - self.mean_ms
        self.mean_ms += error / 8
        self.deviation_ms += (abs(error) - self.deviation_ms) / 4

    def forget(self) -> None:
        """Nobody measures what is refused for its cost: each time, a little goes back to what was
        known at first, so that a slow minute does not shut a rung for ever."""
        self.mean_ms += (self.first_ms - self.mean_ms) / 16
        self.deviation_ms += (self.first_ms / 4 - self.deviation_ms) / 16

    @property
    def estimate_ms(self) -> float:
        """What it will hardly exceed."""
        return self.mean_ms + 4 * self.deviation_ms


@dataclass(frozen=True)
class GateConfig:
    """When a rung is left alone, and for how long."""

    failures: int = 5
    """failures one after the other that close it (3-20)"""
    hanging: int = 2
    """calls that hang in it at once, which close it: so many workers it can hold up (1-4)"""
    retry_ms: float = 1000.0
    """time after which one request tries again (ms, 500-30 000)"""

    def __post_init__(self) -> None:
        check_int("GateConfig.failures", self.failures, 1, 1000, "5")
        check_int("GateConfig.hanging", self.hanging, 1, 100, "2")
        check_float("GateConfig.retry_ms", self.retry_ms, 1.0, 1e7, "1000")


class Gate:
    """Open, or closed until a time; every method is safe from any thread."""

    def __init__(self, config: GateConfig | None = None) -> None:
        self.config = config or GateConfig()
        self.failures = self.hanging = self._forgiven = 0
        self._until_ms = 0.0
        self._last = ""
        self._lock = threading.Lock()

    @property
    def shut(self) -> str:
        """What keeps it from being open, "" when nothing does."""
        if self.hanging - self._forgiven >= self.config.hanging:
            return f"{self.hanging} calls hang in it"
        if self.failures >= self.config.failures:
            return f"failed {self.failures} times: {self._last}"
        return ""

    def closed(self, now_ms: float) -> str:
        """Why it is closed, "" when it is open; the first to ask after the time of retrying finds
        it open."""
        with self._lock:
            why = self.shut
            if not why or now_ms < self._until_ms:
                return why
            self._until_ms = now_ms + self.config.retry_ms
            return ""

    def worked(self) -> None:
        """A call came back with an answer: those that hang are of the past."""
        with self._lock:
            self.failures, self._forgiven = 0, self.hanging

    def failed(self, why: str, now_ms: float) -> None:
        """A call raised, or gave no page."""
        with self._lock:
            self.failures, self._last = self.failures + 1, why
            if self.failures == self.config.failures:
                self._until_ms = now_ms + self.config.retry_ms

    def hangs(self, now_ms: float) -> None:
        """A call was given up; it is still under way."""
        with self._lock:
            self.hanging += 1
            self._until_ms = now_ms + self.config.retry_ms

    def came_back(self) -> None:
        """A call that was given up has ended after all."""
        with self._lock:
            self.hanging -= 1
            self._forgiven = min(self._forgiven, self.hanging)


@dataclass
class Rung:
    """A named policy: how it is asked, what it costs, whether it is kept ``on``. ``quick`` ones
    overtake the others in the queue; ``in_memory`` ones cannot hang, the caller asks them itself.
    """

    name: str
    ask: Ask
    cost: Cost
    quick: bool = False
    in_memory: bool = False
    on: bool = True
    gate: Gate = field(default_factory=Gate)

    def refusal(self, left_ms: float, now_ms: float, tries_again: bool = False) -> str:
        """Why it is not tried with this time left; "" when it is. Who was let through a closed gate
        before (``tries_again``) is not asked to pass it twice."""
        if not self.on:
            return "switched off"
        if self.cost.estimate_ms > left_ms:
            self.cost.forget()
            return f"takes {self.cost.estimate_ms:.0f} ms, {max(left_ms, 0):.0f} are left"
        return "" if tries_again else self.gate.closed(now_ms)


class Ladder:
    """Rungs, best first; the last one must be in memory. ``index`` says what is a valid page."""

    def __init__(self, rungs: Sequence[Rung], index: ForwardIndex) -> None:
        sound = bool(rungs) and rungs[-1].in_memory
        check(
            sound, "Ladder.rungs", [r.name for r in rungs], "end in one that is in memory", EDITORS
        )
        self.rungs, self.index = list(rungs), index

    def __getitem__(self, name: str) -> Rung:
        return next(rung for rung in self.rungs if rung.name == name)

    def fault(self, slate: Slate) -> str:
        """What is wrong with a page; "" for n different, known, published items."""
        request, rows = slate.request, slate.item_row
        if len(rows) != request.n:
            return f"{len(rows)} of {request.n} cards"
        if len(set(rows.tolist())) < len(rows) or int(rows.min()) < 0:
            return "an item twice, or an unknown one"
        if "publish_ms" in self.index:
            publish = self.index.get(rows, ["publish_ms"])["publish_ms"]
            if (publish > request.time_ms).any():
                return "an item is not published yet"
        return ""

    def try_one(self, rung: Rung, request: Request, left_ms: float,
                now_ms: Callable[[], float]) -> tuple[Asked | None, Attempt]:  # fmt: skip
        """Ask a rung, whatever its gate says: the page or None, and what became of it."""
        began = now_ms()
        try:
            slate, stages = rung.ask(request, left_ms)
            fault = self.fault(slate)
        except NothingHere as nothing:
            return None, Attempt(rung.name, FAILED, str(nothing), now_ms() - began)
        except Exception as error:  # any fault of any dependency; the rung below is the policy
            fault, stages = f"{type(error).__name__}: {error}", {}
        ms = now_ms() - began
        if fault:
            rung.gate.failed(fault, now_ms())
            return None, Attempt(rung.name, FAILED, fault, ms)
        rung.gate.worked()
        rung.cost.saw(ms if rung.in_memory else min(ms, left_ms))  # later is too late anyway
        return (slate, stages), Attempt(rung.name, OK, "", ms)


# ---- rungs ---------------------------------------------------------------------------------


def ask_cascade(cascade: Cascade | BudgetedCascade, most_filled: float = 0.5) -> Ask:
    """A cascade as a rung. It fails when the ranker gave no numbers, or when more than this share
    of the cards came from its own last resort: then a cached answer is better."""

    def ask(request: Request, left_ms: float) -> Asked:
        if isinstance(cascade, BudgetedCascade):
            slate, trace = cascade.recommend(request, left_ms)
        else:
            slate, trace = cascade.recommend(request)
        if np.isneginf(np.asarray(slate.columns["rank_score"], float)).any():
            raise RungFailed("the ranker gave no finite score")
        _not_filled(slate, trace, most_filled)
        return slate, times_of(trace)

    return ask


def ask_recommender(recommender: Recommender, most_filled: float = 0.5) -> Ask:
    """Whoever answers batches, as a rung; it fails when more than this share of the cards has no
    score: a hot pool is a rung of its own. A user without a list is no fault, and leaves one note.
    """

    def ask(request: Request, left_ms: float) -> Asked:
        (slate,), trace = recommender.recommend_batch([request])
        if len(trace.notes) == 1 and not np.isfinite(slate.columns["rank_score"]).any():
            raise NothingHere("nothing is kept for this user")
        _not_filled(slate, trace, most_filled)
        return slate, times_of(trace)

    return ask


def _not_filled(slate: Slate, trace: Trace, most: float) -> None:
    score = np.asarray(slate.columns["rank_score"], float)
    if (filled := int(np.isnan(score).sum())) > most * len(score):
        note = trace.notes[-1] if trace.notes else "no note"
        raise RungFailed(f"{filled} of {len(score)} cards came from the last resort ({note})")


class Pages(Protocol):
    """A pool in memory."""

    def page(self, request: Request) -> Slate: ...


def ask_pool(pool: Pages) -> Ask:
    """A pool as a rung."""
    return lambda request, left_ms: (pool.page(request), {})


def times_of(trace: Trace) -> dict[str, float]:
    """Measured ms by stage."""
    return {stage.name: stage.ms for stage in trace.stages}


@dataclass(frozen=True)
class PreRankOrder:
    """Stands where the ranker stands and repeats what the pre-ranker said."""

    macs_per_candidate: int = 0

    def predict(self, batch: Batch, candidates: Candidates) -> dict[str, Array]:
        """The pre-ranker's scores (n,)."""
        return {"pre_rank": candidates["pre_rank_score"]}


def without_ranking(cascade: Cascade) -> Cascade:
    """The same cascade in the order of its pre-ranker: what is left when the ranker is down."""
    return cascade.with_parts(ranker=PreRankOrder(), fuse=lambda targets: targets["pre_rank"])
