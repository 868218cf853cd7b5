"""Ads (广告): revenue for the platform, under the advertisers' budgets, and worth their money.

    eCPM  = 1000 p_click bid pace_k                       money for a thousand exposures
    pace  = clip(1 + g (planned_k(t) - spent_k) / budget_k, least, 1),    planned = budget * share
            of the day's traffic that is over by t                        (pacing, 匀速)
    roi   = (p_long_view / p_click) / the mean of that ratio: what a click brings the advertiser
            against what it costs. Ads below the floor are not offered.

An advertiser whose budget is spent is not offered again that day. The clicks that are charged are
reported by ``charge``: a business learns what it spent only afterwards.
References: Agarwal et al., KDD 2014 (pacing); Edelman, Ostrovsky, Schwarz 2007 (pay per click).

Simplified: real advertisers name their goals, and are billed by conversions that come days later.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reclab.cascade.batch import Batch
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import DataError, check_float
from reclab.core.stage import StageResult, split
from reclab.core.tables import Logs
from reclab.core.types import Array, Candidates
from reclab.stores.forward_index import ForwardIndex


@dataclass(frozen=True)
class AdBudgetsConfig:
    """Budgets, and how they are paced."""

    headroom: float = 8.0
    """a day's budget in mean daily spendings of the log (1-20): a log with untargeted ads in 3 % of
    its slots says little of what advertisers would pay for targeted ones in 10 %"""
    least_clicks: float = 3.0
    """smallest budget, in the advertiser's own bids (1-50)"""
    gain: float = 5.0
    """g, how hard a lead over the plan is braked (1-20)"""
    least_pace: float = 0.1
    """a bid is cut to this share at most (0-1)"""
    least_roi: float = 0.6
    """floor of what a click brings against what it costs (0-1)"""

    def __post_init__(self) -> None:
        check_float("AdBudgetsConfig.headroom", self.headroom, 0.0, 1e6, "8")
        check_float("AdBudgetsConfig.least_clicks", self.least_clicks, 0.0, 1e6, "3")
        check_float("AdBudgetsConfig.gain", self.gain, 0.0, 1e3, "5")
        check_float("AdBudgetsConfig.least_pace", self.least_pace, 0.0, 1.0, "0.1")
        check_float("AdBudgetsConfig.least_roi", self.least_roi, 0.0, 10.0, "0.6")


class AdBudgets:
    """The till: ``charge`` clicks, ``left`` and ``pace`` by advertiser. ``payer_of`` (n_items,)
    advertiser's row of each ad, -1 for everything else; ``budget`` (k,) money a day."""

    def __init__(
        self,
        payer_of: Array,
        budget: Array,
        hourly: Array,
        config: AdBudgetsConfig | None = None,
    ) -> None:
        self.config = config or AdBudgetsConfig()
        budget, hourly = np.asarray(budget, np.float64), np.asarray(hourly, np.float64)
        if not (np.isfinite(budget).all() and (budget >= 0).all()):
            raise DataError("budgets must be finite and >= 0 (typical: a day's spending)")
        if len(payer_of) and payer_of.max() >= len(budget):
            raise DataError(f"an ad's payer is {payer_of.max()}, of {len(budget)} budgets")
        if hourly.shape != (24,) or hourly.min() < 0 or hourly.sum() <= 0:
            raise DataError("hourly must be 24 counts of pages (typical: yesterday's by hour)")
        self.payer_of, self.budget = payer_of, budget
        self._share = np.append(0.0, np.cumsum(hourly) / hourly.sum())
        self.spent, self.day = np.zeros(len(budget)), -1

    @classmethod
    def from_logs(
        cls,
        logs: Logs,
        index: ForwardIndex,
        until_ms: int,
        code: int = 3,
        config: AdBudgetsConfig | None = None,
    ) -> "AdBudgets":
        """Creators of ads are advertisers; budgets from what each spent a day before ``until_ms``,
        and no less than a few clicks."""
        config = config or AdBudgetsConfig()
        is_ad = index["business"] == code
        names, payer = np.unique(index["author_id"][is_ad], return_inverse=True)
        payer_of = np.full(len(index), -1)
        payer_of[is_ad] = payer
        shown = logs.interactions
        early = np.flatnonzero((shown["time_ms"] < until_ms) & (shown["pay_amount"] > 0))
        row = index.rows(shown["video_id"][early])
        who = np.append(payer_of, -1)[row]
        money = np.bincount(who[who >= 0], shown["pay_amount"][early][who >= 0], len(names))
        days = max(until_ms / DAY_MS, 1.0)
        bids = np.bincount(payer, index["bid"][is_ad], len(names)) / np.bincount(payer)
        budget = np.maximum(config.headroom * money / days, config.least_clicks * bids)
        hour = shown["time_ms"][shown["time_ms"] < until_ms] // HOUR_MS % 24
        return cls(payer_of, budget, np.bincount(hour, minlength=24), config)

    def _turn(self, now_ms: int) -> None:
        """A new day, a new budget."""
        if now_ms // DAY_MS > self.day:
            self.day = int(now_ms // DAY_MS)
            self.spent[:] = 0.0

    def left(self, now_ms: int) -> Array:
        """(k,) money of today that is not spent."""
        self._turn(now_ms)
        return np.maximum(self.budget - self.spent, 0.0)

    def pace(self, now_ms: int) -> Array:
        """(k,) factor of each one's bids."""
        self._turn(now_ms)
        over = np.interp(now_ms % DAY_MS / HOUR_MS, np.arange(25), self._share)
        lead = (self.budget * over - self.spent) / np.maximum(self.budget, 1e-9)
        return np.clip(1 + self.config.gain * lead, self.config.least_pace, 1.0)

    def charge(self, item_row: Array, money: Array, now_ms: int) -> None:
        """Clicks (n,) and what each costs; items that are no ads cost nobody anything."""
        self._turn(now_ms)
        payer = self.payer_of[item_row]
        paid = payer >= 0
        self.spent += np.bincount(payer[paid], money[paid], len(self.spent))


@dataclass(frozen=True)
class BudgetFilter:
    """Drop the ads of those who cannot pay for one more click."""

    budgets: AdBudgets
    index: ForwardIndex
    name: str = "budget"

    def __call__(self, batch: Batch, candidates: Candidates) -> StageResult:
        now_ms = int(batch.time_ms.max(initial=0))
        left = np.append(self.budgets.left(now_ms), np.inf)
        bid = self.index.get(candidates.item_row, ["bid"])["bid"]
        can = left[self.budgets.payer_of[candidates.item_row]] >= bid
        return split(candidates, can, "its advertiser's budget is spent")


@dataclass(frozen=True)
class AdObjective:
    """eCPM, paced; below the advertisers' floor an ad ranks last and is worth nothing."""

    budgets: AdBudgets
    index: ForwardIndex
    usual: float
    """long views a click of ads in the log"""
    unit: str = "money of 1000 exposures"

    def __call__(self, batch: Batch, candidates: Candidates) -> Mapping[str, Array]:
        bid = self.index.get(candidates.item_row, ["bid"])["bid"]
        click, payer = candidates["p_click"], self.budgets.payer_of[candidates.item_row]
        roi = candidates["p_long_view"] / np.maximum(click, 1e-6) / self.usual
        pace = np.append(self.budgets.pace(int(batch.time_ms.max(initial=0))), 1.0)[payer]
        worth = roi >= self.budgets.config.least_roi
        money = click * bid
        score = np.where(worth, 1000 * money * pace, 0.0)
        return {"score": score, "revenue": money, "spend": money, "payer": payer, "roi": roi}
