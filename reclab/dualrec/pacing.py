"""Pacing of guaranteed exposures (保量匀速): what an item should have been shown by now.

    due_i(t) = target_i * F(t + lead),      F(t) the share of a day's pages shown until t
    behind_i = due_i - delivered_i          > 0: the item may take a reserved slot

F follows the tide: at night little is due, in the evening much. What a slow hour leaves undone
stays due, so that the plan catches up by itself when matched users come; exposures that the user
side gave are delivered like all others, and no slot is spent on them.

Simplified: one process counts; industry shares the counts, with a loss of precision by their delay.
"""

import threading
from dataclasses import dataclass

import numpy as np

from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import DataError, check, check_int
from reclab.core.types import Array
from reclab.stores.row_lookup import RowLookup


@dataclass(frozen=True)
class PacerConfig:
    """``lead_min``: how far ahead of the curve an item may be (minutes, 0-120), against pages that
    come in lumps; what is due at the day's end stays the target."""

    lead_min: int = 10

    def __post_init__(self) -> None:
        check_int("PacerConfig.lead_min", self.lead_min, 0, 1440, "10")


class Pacer:
    """The plans of one day: ``item_ids`` (n,), ``target`` (n,) exposures guaranteed to each,
    ``hourly`` (24,) pages expected by hour, of which only the proportions count."""

    def __init__(
        self, item_ids: Array, target: Array, hourly: Array, config: PacerConfig | None = None
    ) -> None:
        self.config = config or PacerConfig()
        self.target, hourly = np.asarray(target, np.float64), np.asarray(hourly, np.float64)
        if self.target.shape != np.shape(item_ids) or len(np.unique(item_ids)) < len(item_ids):
            raise DataError("Pacer: every item once, and a target for each")
        if not (np.isfinite(self.target).all() and (self.target >= 0).all()):
            raise DataError("Pacer: a target is negative or no number (typical: 20-1000 exposures)")
        fits = hourly.shape == (24,) and np.isfinite(hourly).all() and hourly.min() >= 0
        check(bool(fits) and hourly.sum() > 0, "Pacer.hourly", hourly, "be 24 counts", "pages")
        self.lookup = RowLookup(np.asarray(item_ids, np.int64), "item_id")
        self._until = np.concatenate([[0.0], np.cumsum(hourly / hourly.sum())])
        self.delivered = np.zeros(len(self.target), np.int64)
        self._counting = threading.Lock()

    def share(self, now_ms: int) -> float:
        """F: share of the day's pages that are shown by this time of its day, lead included."""
        hour = (now_ms % DAY_MS) / HOUR_MS + self.config.lead_min / 60
        return float(np.interp(hour, np.arange(25), self._until))

    def due(self, now_ms: int) -> Array:
        """(n,) exposures that each item should have had by now."""
        return np.asarray(self.target * self.share(now_ms))

    def behind(self, items: Array, now_ms: int) -> Array:
        """Exposures that items (any shape) are behind their plan; 0 for those without a plan."""
        rows = self.lookup.rows(items)
        late = np.maximum(self.due(now_ms) - self.delivered, 0.0)
        return np.where(rows >= 0, np.append(late, 0.0)[rows], 0.0)

    def shown(self, items: Array) -> None:
        """Count these exposures (any shape; -1 and items without a plan are not counted)."""
        rows = self.lookup.rows(np.asarray(items).ravel())
        with self._counting:
            self.delivered += np.bincount(rows[rows >= 0], minlength=len(self.target))

    def start_day(self) -> Array:
        """Begin the next day; returns what the last one delivered, (n,)."""
        with self._counting:
            done, self.delivered = self.delivered, np.zeros(len(self.target), np.int64)
        return done
