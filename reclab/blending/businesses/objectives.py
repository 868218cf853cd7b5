"""What each business wants (业务目标), each in its own unit.

    short video   watch_sec / 60 + r p_long_view                        minutes: people come back
                                                                        for what they watched
    live          p_click + watch_sec / 60 + g p_click p_tip gift       points
    product       1000 p_click p_order price                            GMV of 1000 exposures
    image-text    watch_sec                                             seconds of reading

Ads and campaigns have more to say: ``ads.py``, ``campaigns.py``. Chapter 2, section 2.1.

Simplified: industry fuses a dozen targets for each business, by weights found in experiments.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reclab.blending.businesses.payments import Payments
from reclab.cascade.batch import Batch
from reclab.core.types import Array, Candidates
from reclab.stores.forward_index import ForwardIndex


@dataclass(frozen=True)
class WatchObjective:
    """Short video: watch time and retention."""

    retention: float = 1.0
    """r, minutes that a long view is worth: long views bring users back (0-5)"""
    unit: str = "minutes"

    def __call__(self, batch: Batch, candidates: Candidates) -> Mapping[str, Array]:
        minutes = candidates["watch_sec"] / 60
        return {"score": minutes + self.retention * candidates["p_long_view"]}


@dataclass(frozen=True)
class LiveObjective:
    """Live: clicks, watch time, tips."""

    tips: Payments
    share: float
    """of a tip that the platform keeps"""
    per_money: float = 1.0
    """g, points that a unit of tips is worth (0.1-10)"""
    unit: str = "points"

    def __call__(self, batch: Batch, candidates: Candidates) -> Mapping[str, Array]:
        gifts = expected_pay(self.tips, batch, candidates) * self.tips.amount
        points = candidates["p_click"] + candidates["watch_sec"] / 60 + self.per_money * gifts
        return {"score": points, "revenue": self.share * gifts}


@dataclass(frozen=True)
class ProductObjective:
    """E-commerce: gross merchandise value, by click and conversion."""

    orders: Payments
    index: ForwardIndex
    commission: float
    """of the price that the platform keeps"""
    unit: str = "money of 1000 exposures"

    def __call__(self, batch: Batch, candidates: Candidates) -> Mapping[str, Array]:
        price = self.index.get(candidates.item_row, ["price"])["price"]
        gmv = expected_pay(self.orders, batch, candidates) * price
        return {"score": 1000 * gmv, "revenue": self.commission * gmv}


@dataclass(frozen=True)
class ReadingObjective:
    """Image-text posts: time spent reading."""

    unit: str = "seconds"

    def __call__(self, batch: Batch, candidates: Candidates) -> Mapping[str, Array]:
        return {"score": candidates["watch_sec"]}


def expected_pay(payments: Payments, batch: Batch, candidates: Candidates) -> Array:
    """(n,) P(click and pay) of an exposure."""
    user = batch.user_row[candidates.request_row]
    told = {name: candidates[name] for name in ("p_click", "p_long_view")}
    p_pay = payments.p_pay(user, candidates.item_row, told)
    return np.asarray(p_pay * candidates["p_click"])
