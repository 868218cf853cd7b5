"""Latency budget (延迟预算): the deadline's share of each stage, and what a late stage does.

    limit_s = left * share_s / (share_s + share_s+1 + ... )      left = deadline - what has passed

What a stage did not use goes to those after it, and what it used too much is missing there. A
stage that sees it will not be done within its limit has a policy, by the pace it had so far:

    leave out   retrieval: channels that were not asked by then, or that hang, are not asked
    cut         pre-ranking, ranking: fewer candidates, the best so far; under ``least`` of them the
                ranker is not asked, and the order of the stage before stands
    skip        re-ranking: the order of the ranker stands

``BudgetedCascade`` runs a cascade so: candidates that were cut leave with a reason, and a note says
it. A stage that hangs cannot look at the time: ``serving.py`` gives its request to others.
Chapter 2, section 2.3.2. Reference: Dean and Barroso, The Tail at Scale, 2013.

Simplified: one process; between services the time left travels in the header of each call.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from reclab.cascade.batch import read_batch
from reclab.cascade.pipeline import HOT_POOL, Cascade
from reclab.cascade.retrieval.merge import Channel, MergeStage
from reclab.cascade.stages import top_up
from reclab.core.clock import Stopwatch
from reclab.core.errors import ReclabError, check, check_float, check_int
from reclab.core.pipeline import run
from reclab.core.stage import Stage, StageResult
from reclab.core.types import Array, Candidates, Request, Slate, Trace, slates_of

LEAVE_OUT, CUT, SKIP = "leave out", "cut", "skip"
LATE = {"retrieval": LEAVE_OUT, "pre_ranking": CUT, "ranking": CUT, "re_ranking": SKIP}
STANDS_IN = {
    "pre_ranking": ("pre_rank_score", "retrieval_rank", -1.0),
    "ranking": ("rank_score", "pre_rank_score", 1.0),
}  # the score that a stage would have given, and the order that stands instead
NO_TIME = "no time left"
SMOOTH = 0.1  # weight of the newest pace in the mean


class TooLate(ReclabError, RuntimeError):
    """The time for something is over."""


def monotonic_ms() -> float:
    """Milliseconds of a clock that never goes back."""
    return time.monotonic() * 1000


@dataclass(frozen=True)
class BudgetConfig:
    """The deadline and its parts."""

    deadline_ms: float = 100.0
    """time from the request's arrival to its answer (ms, 20-500)"""
    reserve: float = 0.2
    """share of the deadline kept back for the rungs below the cascade (0.05-0.4)"""
    shares: Mapping[str, float] = field(
        default_factory=lambda: {
            "retrieval": 0.45, "pre_ranking": 0.15, "ranking": 0.3, "re_ranking": 0.1
        }
    )  # fmt: skip
    """of each stage, in proportion to the others'; stages that are not named just run"""
    least: int = 20
    """candidates below which ranking is not worth asking for (10-50)"""

    def __post_init__(self) -> None:
        check_float("BudgetConfig.deadline_ms", self.deadline_ms, 1.0, 1e6, "100")
        check_float("BudgetConfig.reserve", self.reserve, 0.0, 0.9, "0.2")
        check_int("BudgetConfig.least", self.least, 1, 1000, "20")
        known = bool(self.shares) and set(self.shares) <= set(LATE)
        check(known, "BudgetConfig.shares", [*self.shares], f"name some of {[*LATE]}", "all four")
        for name, share in self.shares.items():
            check_float(f"BudgetConfig.shares[{name!r}]", share, 1e-3, 1e3, "0.1-0.5")


class Budget:
    """What is left for one request. ``due_ms`` is on the clock of ``now_ms``.

    >>> now = [0.0]
    >>> budget = Budget(BudgetConfig(shares={"retrieval": 1.0, "ranking": 3.0}), 100.0,
    ...                 lambda: now[0])
    >>> budget.limit_ms("retrieval")
    25.0
    >>> now[0] = 10.0          # retrieval was quick: ranking has what it left
    >>> budget.limit_ms("ranking"), budget.left_ms
    (90.0, 90.0)
    """

    def __init__(
        self, config: BudgetConfig, due_ms: float, now_ms: Callable[[], float] = monotonic_ms
    ) -> None:
        self.config, self.due_ms, self.now_ms = config, due_ms, now_ms
        names = list(config.shares)
        shares = np.array([config.shares[name] for name in names])
        behind = shares[::-1].cumsum()[::-1]
        self._part = dict(zip(names, (shares / behind).tolist(), strict=True))

    @property
    def left_ms(self) -> float:
        """Time left, not below 0."""
        return max(self.due_ms - self.now_ms(), 0.0)

    def limit_ms(self, stage: str) -> float:
        """What this stage may take now; all that is left for a stage without a share."""
        return self.left_ms * self._part.get(stage, 1.0)


class Pace:
    """Measured milliseconds a candidate of each stage, a moving mean over requests."""

    def __init__(self) -> None:
        self._ms: dict[str, float] = {}

    def saw(self, stage: str, n: int, ms: float) -> None:
        """``n`` candidates took ``ms``."""
        new, old = ms / max(n, 1), self._ms.get(stage)
        self._ms[stage] = new if old is None else old + SMOOTH * (new - old)

    def fits(self, stage: str, limit_ms: float) -> float:
        """Candidates that are done within the limit; without end while nothing was measured."""
        ms = self._ms.get(stage, 0.0)
        return limit_ms / ms if ms > 0 else np.inf


@dataclass(frozen=True)
class ChannelInTime:
    """A retrieval channel that is not asked once the stage's time is over, nor while an earlier
    call of it is under way for longer than that: it hangs, and the others answer. ``under_way``
    holds when calls began, by channel, for all requests."""

    channel: Channel
    until_ms: float
    patience_ms: float
    now_ms: Callable[[], float]
    under_way: dict[str, dict[int, float]]

    @property
    def name(self) -> str:
        """The channel's."""
        return self.channel.name

    def retrieve(self, batch: Any, k: int) -> tuple[Array, Array]:
        """As the channel. Raises ``TooLate``."""
        now, calls = self.now_ms(), self.under_way[self.name]
        if now >= self.until_ms:
            raise TooLate("the time for retrieval is over")
        if any(now - began > self.patience_ms for began in list(calls.values())):
            raise TooLate("an earlier call of it hangs")
        mine = id(self)
        calls[mine] = now
        try:
            return self.channel.retrieve(batch, k)
        finally:
            calls.pop(mine, None)


@dataclass(frozen=True)
class StageInTime:
    """A stage of one request under its limit."""

    stage: Stage
    budget: Budget
    pace: Pace
    under_way: dict[str, dict[int, float]]

    @property
    def name(self) -> str:
        """The stage's."""
        return self.stage.name

    def __call__(self, batch: Any, candidates: Candidates) -> StageResult:
        policy = LATE[self.name]
        if policy == LEAVE_OUT and isinstance(self.stage, MergeStage):
            return self._in_time(self.stage)(batch, candidates)
        fit = self.pace.fits(self.name, self.budget.limit_ms(self.name))
        n = len(candidates)
        if fit >= n:
            return self._timed(batch, candidates)
        wanted = batch.requests[0].n
        if policy == SKIP:
            return self._stands(candidates, min(n, wanted))
        if fit < self.budget.config.least:
            return self._stands(candidates, n)
        return self._cut(batch, candidates, int(fit))

    def _in_time(self, stage: MergeStage) -> MergeStage:
        limit, now_ms = self.budget.limit_ms(self.name), self.budget.now_ms
        until, patience = now_ms() + limit, self.budget.config.deadline_ms
        asked = [
            ChannelInTime(one, until, patience, now_ms, self.under_way) for one in stage.channels
        ]
        return replace(stage, channels=asked)

    def _timed(self, batch: Any, candidates: Candidates) -> StageResult:
        with Stopwatch() as watch:
            result = self.stage(batch, candidates)
        self.pace.saw(self.name, len(candidates), watch.ms)
        return result

    def _cut(self, batch: Any, candidates: Candidates, n: int) -> StageResult:
        place = np.arange(len(candidates))
        result = self._timed(batch, candidates.take(place[:n]))
        lost, cut = result.dropped, candidates.take(place[n:])
        rows = np.concatenate([lost.item_row, cut.item_row])
        reason = np.append(lost["reason"], np.full(len(cut), len(result.reasons)))
        dropped = Candidates(1, np.zeros(len(rows), np.int64), rows, {"reason": reason})
        note = f"{self.name}: {len(cut)} of {len(candidates)} candidates cut, {NO_TIME}"
        return replace(
            result,
            dropped=dropped,
            reasons=(*result.reasons, NO_TIME),
            notes=(*result.notes, note),
        )

    def _stands(self, candidates: Candidates, n: int) -> StageResult:
        """The order stands as it is; ``n`` are kept."""
        place = np.arange(len(candidates))
        kept, lost = candidates.take(place[:n]), candidates.take(place[n:])
        lost = lost.with_columns(reason=np.zeros(len(lost), np.int16))
        if self.name in STANDS_IN:
            name, of, sign = STANDS_IN[self.name]
            kept = kept.with_columns(**{name: sign * np.asarray(kept[of], np.float32)})
        return StageResult(kept, lost, (NO_TIME,), notes=(f"{self.name} skipped, {NO_TIME}",))


class BudgetedCascade:
    """A cascade that answers one request within the time it is given."""

    def __init__(
        self,
        cascade: Cascade,
        config: BudgetConfig | None = None,
        now_ms: Callable[[], float] = monotonic_ms,
    ) -> None:
        self.cascade, self.config = cascade, config or BudgetConfig()
        self.now_ms, self.pace = now_ms, Pace()
        self._under_way: dict[str, dict[int, float]] = defaultdict(dict)

    def recommend(self, request: Request, left_ms: float | None = None) -> tuple[Slate, Trace]:
        """The list, and how it came about; ``left_ms`` as the caller passes it on (default: the
        deadline)."""
        left = self.config.deadline_ms if left_ms is None else left_ms
        budget = Budget(self.config, self.now_ms() + left, self.now_ms)
        p = self.cascade.parts
        batch = read_batch([request], p.users, p.index, p.exposures)
        budgeted = self.config.shares
        stages: Sequence[Stage] = [
            StageInTime(one, budget, self.pace, self._under_way) if one.name in budgeted else one
            for one in self.cascade.stages()
        ]
        kept, trace = run(stages, batch, 1)
        kept, notes = top_up(batch, kept, lambda: p.popular.retrieve(batch, HOT_POOL)[0])
        trace = replace(trace, notes=batch.notes + trace.notes + notes)
        return slates_of([request], kept, p.index.ids)[0], trace
