"""Risk (风控过滤): items that are likely to do harm are not shown, whatever they would earn.

    keep = risk(item) < threshold

``risk`` is any array by item row: a moderation model's, or counted reports. The chapter's logs
have neither, so ``left_at_once`` reads what they honestly hold: of those who opened the item, how
many left within 3 seconds, as the lower end of a 95 % interval, so that few data accuse nobody:

    risk = (c + z^2/2 - z sqrt(c (n - c) / n + z^2/4)) / (n + z^2),   c of n left,  z = 1.96

It stands for a title that does not keep its promise (clickbait); not for danger, which no log of
plays can tell. Reference: Wilson 1927.
Simplified: industry runs moderation models and people on every upload, before the first exposure.
"""

from dataclasses import dataclass

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.filters.reasons import drop
from reclab.core.errors import check, check_float
from reclab.core.stage import StageResult
from reclab.core.tables import Table
from reclab.core.types import Array, Candidates
from reclab.stores.forward_index import ForwardIndex

Z = 1.96  # 97.5 % point of the normal law


@dataclass(frozen=True)
class RiskConfig:
    """From where on an item is held back, and what is done with items nobody judged."""

    threshold: float = 0.8
    """risk from which an item is dropped, in the unit of the scores (a probability: 0.5 … 0.95;
    ``left_at_once``: near its 99th percentile, 0.31 in the tiny world, where none reaches 0.6)"""
    drop_unknown: bool = False
    """what of an item without a score (NaN, or newer than the scores): shown (fail open) or not
    (fail closed)"""

    def __post_init__(self) -> None:
        check_float("RiskConfig.threshold", self.threshold, 0.0, 1e9, "0.5-0.95")
        is_bool = isinstance(self.drop_unknown, bool)
        check(is_bool, "RiskConfig.drop_unknown", self.drop_unknown, "be True or False", "False")


def lower_bound(hits: Array, n: Array, z: float = Z) -> Array:
    """Lower end of the Wilson interval of ``hits`` out of ``n`` (same shapes); NaN where n = 0.

    >>> lower_bound(np.array([1, 90]), np.array([1, 100])).round(2).tolist()
    [0.21, 0.83]
    """
    n = np.where(n > 0, n, np.nan)
    spread = z * np.sqrt(hits * (n - hits) / n + z * z / 4)
    return np.asarray((hits + z * z / 2 - spread) / (n + z * z))


def left_at_once(shown: Table, index: ForwardIndex, until_ms: int | None = None) -> Array:
    """(n_items,) risk of the items by the interactions before ``until_ms``; NaN without any.

    Of the opened ones where the log has ``is_click``, else of all that were shown; all NaN where
    it lacks ``is_short_watch``.
    """
    n = len(index)
    if "is_short_watch" not in shown:
        return np.full(n, np.nan)
    row = index.rows(shown["video_id"])
    counts = row >= 0
    if "is_click" in shown:
        counts &= shown["is_click"].astype(bool)
    if until_ms is not None:
        counts &= shown["time_ms"] < until_ms
    opened = np.bincount(row[counts], minlength=n)
    left = np.bincount(row[counts & shown["is_short_watch"].astype(bool)], minlength=n)
    return lower_bound(left, opened)


class RiskFilter:
    """Drop items whose ``risk`` (n_items,), by row of the index, reaches the threshold."""

    name = "risk"

    def __init__(self, risk: Array, config: RiskConfig | None = None) -> None:
        self.config = config or RiskConfig()
        known = np.where(np.isnan(risk), self.config.drop_unknown, risk >= self.config.threshold)
        self._risky = np.append(known.astype(bool), self.config.drop_unknown)  # last: newer items

    def __call__(self, batch: Batch, candidates: Candidates) -> StageResult:
        risky = self._risky[np.minimum(candidates.item_row, len(self._risky) - 1)]
        return drop(candidates, ~risky, "risk")
