"""Quotas of a day (流量配额): two days of real requests served under promises to the businesses.

    yesterday   the tuning day: prices are learned on it
    today       the held-out day: as it was; or with scores that drift at noon (``drifted``)

    learned     dual prices that follow what is shown, from nothing or from yesterday's
    stale       yesterday's prices, left alone
    bound       no allocation of the whole day that keeps all promises is worth more (HiGHS; its
                pages are the fast solver's, so that exact ones lift it by up to .1 %)

Candidates and what the platform believes of them are those of ``blending_pool``; prices are judged
by that belief, for it is all that a linear programme of the day could know as well.
Reference: chapter 2, section 2.1 (流量配额, 约束求解).
Simplified: a thousand pages a day instead of a thousand million; steps are larger to make up.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from reclab.blending.allocation import (
    Account,
    DualPrices,
    Optimum,
    PageRules,
    PricedPage,
    Prices,
    PricingConfig,
    Quotas,
    day_optimum,
    serve_day,
)
from reclab.core.clock import HOUR_MS
from reclab.core.errors import check_float, check_int
from reclab.core.types import Array, Candidates
from reclab.lab.blending_pool import make_pool, rules_of
from reclab.lab.cache import built
from reclab.lab.kept import cache_name
from reclab.lab.lab import Lab

PAGES = 1000
EVERY = 10  # pages at the same prices
PROMISED = Quotas(low=(0, 0, 0, 0, 0.05, 0.03), high=(1, 0.15, 1, 1, 1, 1))
"""a twentieth for image-text, 3 % for campaigns, at most 15 % for live"""
LEARNED = PricingConfig(step=0.05)
"""a thousand pages are few: with 0.02, right for twenty thousand, quotas are missed by 8 %"""
STALE = PricingConfig(step=0.0, budget_step=0.0)
FILE = "day.npz"


@dataclass(frozen=True)
class QuotaDay:
    """``candidates`` of B requests with ``business``, ``creator``, ``value``; their ``time_ms``
    (B,), rising; the page's ``rules``, the day's ``quotas``, pages expected ``hourly`` (24,)."""

    candidates: Candidates
    time_ms: Array
    rules: PageRules
    quotas: Quotas
    hourly: Array

    def __len__(self) -> int:
        return len(self.time_ms)

    def drifted(self, factor: float = 1.5, business: int = 1, hour: int = 12) -> "QuotaDay":
        """The same day, but from ``hour`` on a business says ``factor`` times its value."""
        check_float("QuotaDay.drifted.factor", factor, 0.01, 100.0, "1.5")
        check_int("QuotaDay.drifted.hour", hour, 0, 24, "12")
        c = self.candidates
        late = (self.time_ms // HOUR_MS % 24 >= hour)[c.request_row]
        value = np.where(late & (c["business"] == business), c["value"] * factor, c["value"])
        return replace(self, candidates=c.with_columns(value=value))

    def prices(
        self, config: PricingConfig | None = None, start: Prices | None = None
    ) -> DualPrices:
        """Prices for this day, from nothing or from yesterday's."""
        return DualPrices(self.quotas, self.rules, self.hourly, config or LEARNED, start)

    def serve(self, prices: DualPrices | None = None) -> Account:
        """The day served in order; without prices nobody cares for the quotas."""
        return serve_day(PricedPage(self.rules, prices), self.candidates, self.time_ms, EVERY)

    def optimum(self) -> Optimum:
        """The best of the whole day at once, by linear programme: seconds."""
        return day_optimum(self.candidates, self.rules, self.quotas)


@dataclass(frozen=True)
class Kept:
    """How a day went: worst ``miss`` of a quota (share of it), ``value`` as a share of the bound of
    any allocation that keeps the quotas, ``net`` the same less what was taken beyond a quota at the
    optimum's prices."""

    miss: float
    value: float
    net: float


def kept_promises(day: QuotaDay, account: Account, best: Optimum) -> Kept:
    """An account beside the day's optimum."""
    net = account.net_value(day.quotas, best.prices.business)
    miss = float(account.misses(day.quotas).max())
    return Kept(miss, account.shown.value / best.bound, net / best.bound)


def quota_days(
    lab: Lab, n: int = PAGES, quotas: Quotas = PROMISED, load: int = 2
) -> tuple[QuotaDay, QuotaDay]:
    """(yesterday, today). Yesterday's traffic by hour is today's forecast."""
    check_int("quota_days.n", n, 1, 1_000_000, "1000")
    found = []
    for split in ("tuning", "held_out"):
        name, version = cache_name(lab, f"quota_day_{split}_{n}")
        folder = built(name, version, lambda where, split=split: _save(lab, split, n, where))
        with np.load(folder / FILE) as file:
            columns = {key: file[key] for key in ("business", "creator", "value")}
            rows = len(file["time_ms"]), file["request_row"], file["item_row"]
            found.append((Candidates(*rows, columns), file["time_ms"]))
    hourly = np.bincount(found[0][1] // HOUR_MS % 24, minlength=24)
    yesterday, today = (QuotaDay(*day, rules_of(load), quotas, hourly) for day in found)
    return yesterday, today


def _save(lab: Lab, split: str, n: int, folder: Path) -> None:
    pool = make_pool(lab, split, n)
    c = pool.candidates
    np.savez(
        folder / FILE,
        time_ms=pool.time_ms,
        request_row=c.request_row,
        item_row=c.item_row,
        **{key: c[key] for key in ("business", "creator", "value")},
    )
