"""Campaigns (活动): items that operators want seen, by priority, each for a period.

    score = priority + p_click,   priority 1, 2, 3 ...; outside its period an item is not offered

Priority first, liking second: operators know of the event, the model does not. Without a plan the
usual one: an item runs three weeks from its publication, and its priority falls from 3 (the first
three days) to 2 (the first ten) to 1.

Simplified: industry keeps plans in a console, with audiences, caps and approvals.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reclab.cascade.batch import Batch
from reclab.core.clock import DAY_MS
from reclab.core.errors import DataError
from reclab.core.stage import StageResult, split
from reclab.core.types import Array, Candidates
from reclab.stores.forward_index import ForwardIndex

RUNS_DAYS, LAUNCH_DAYS, FRESH_DAYS = 21, 3, 10


@dataclass(frozen=True)
class CampaignPlan:
    """Of every item (n_items,): ``priority`` once it has begun (0 = none), ``start_ms``,
    ``end_ms``. ``launch``: the priority falls with the days, as above."""

    priority: Array
    start_ms: Array
    end_ms: Array
    launch: bool = False

    def __post_init__(self) -> None:
        sizes = {len(self.priority), len(self.start_ms), len(self.end_ms)}
        if len(sizes) > 1:
            raise DataError(f"CampaignPlan needs a priority and a period an item, got {sizes}")
        if len(self.priority) and self.priority.min() < 0:
            raise DataError(f"CampaignPlan.priority must be >= 0, got {self.priority.min()}")

    @classmethod
    def usual(cls, index: ForwardIndex, code: int = 5) -> "CampaignPlan":
        """Three weeks each, launched."""
        start = index["publish_ms"].astype(np.int64)
        mine = (index["business"] == code).astype(np.float64)
        return cls(mine, start, start + RUNS_DAYS * DAY_MS, launch=True)

    def of(self, item_row: Array, time_ms: Array) -> Array:
        """(n,) priority at the times (n,); 0 outside its period."""
        age = time_ms - self.start_ms[item_row]
        on = (age >= 0) & (time_ms < self.end_ms[item_row])
        first = 1.0 * (age < LAUNCH_DAYS * DAY_MS) + (age < FRESH_DAYS * DAY_MS)
        return np.where(on, self.priority[item_row] * (1 + self.launch * first), 0.0)


@dataclass(frozen=True)
class PeriodFilter:
    """Drop what is not running now."""

    plan: CampaignPlan
    name: str = "period"

    def __call__(self, batch: Batch, candidates: Candidates) -> StageResult:
        now = batch.time_ms[candidates.request_row]
        return split(candidates, self.plan.of(candidates.item_row, now) > 0, "not in its period")


@dataclass(frozen=True)
class CampaignObjective:
    """Priority first, then what the user would open."""

    plan: CampaignPlan
    unit: str = "priority"

    def __call__(self, batch: Batch, candidates: Candidates) -> Mapping[str, Array]:
        now = batch.time_ms[candidates.request_row]
        return {"score": self.plan.of(candidates.item_row, now) + candidates["p_click"]}
