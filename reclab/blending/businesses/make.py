"""``make_businesses``: six recommenders over one trained cascade.

What is learned here beside the cascade's models: who orders, who tips, what advertisers spend, how
long a click on an ad is watched. Everything from the log before ``until_ms``.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from reclab.blending.allocation.rules import BUSINESSES
from reclab.blending.businesses.ads import AdBudgets, AdBudgetsConfig, AdObjective, BudgetFilter
from reclab.blending.businesses.campaigns import CampaignObjective, CampaignPlan, PeriodFilter
from reclab.blending.businesses.ledger import ClickLedger
from reclab.blending.businesses.objectives import (
    LiveObjective,
    ProductObjective,
    ReadingObjective,
    WatchObjective,
)
from reclab.blending.businesses.own_items import Own, OwnItems, OwnVectors
from reclab.blending.businesses.payments import Payments, PaymentsConfig
from reclab.blending.businesses.recommender import Objective, Recommender, need
from reclab.cascade.pipeline import CHANNELS, Cascade, Parts
from reclab.cascade.retrieval.merge import Channel
from reclab.core.errors import DataError, check, check_float, check_int
from reclab.core.stage import Stage
from reclab.core.tables import Logs
from reclab.core.types import Array
from reclab.stores.forward_index import ForwardIndex

SHORT_VIDEO, LIVE, PRODUCT, AD, IMAGE_TEXT, CAMPAIGN = range(len(BUSINESSES))
FEW = ("two_tower", "popular", "content")
"""channels of the small businesses: the others seldom find their items"""


@dataclass(frozen=True)
class Money:
    """What the platform keeps of what users pay."""

    commission: float = 0.08
    """of the price of an order (share): market places publish 6 % (short-video shops) to 15 %"""
    tip_share: float = 0.5
    """of a tip (share): the usual half"""

    def __post_init__(self) -> None:
        check_float("Money.commission", self.commission, 0.0, 1.0, "0.06-0.15")
        check_float("Money.tip_share", self.tip_share, 0.0, 1.0, "0.5")


@dataclass(frozen=True)
class BusinessConfig:
    """Sizes and constants of all six."""

    retrieve: int = 300
    """candidates after retrieval (100-1000)"""
    pre_rank: int = 80
    """candidates that the ranker is given (30-300)"""
    money: Money = field(default_factory=Money)
    ads: AdBudgetsConfig = field(default_factory=AdBudgetsConfig)
    payments: PaymentsConfig = field(default_factory=PaymentsConfig)

    def __post_init__(self) -> None:
        check_int("BusinessConfig.retrieve", self.retrieve, 1, 100_000, "300")
        check_int("BusinessConfig.pre_rank", self.pre_rank, 1, self.retrieve, "80, <= retrieve")


def make_businesses(
    cascade: Cascade,
    logs: Logs,
    config: BusinessConfig | None = None,
    names: tuple[str, ...] = BUSINESSES,
    until_ms: int | None = None,
    plan: CampaignPlan | None = None,
    budgets: AdBudgets | None = None,
    journal: Path | None = None,
) -> dict[str, Recommender]:
    """The businesses of these ``names``, in the order of their codes; ``journal``: where the ads
    write down the clicks that they have charged. Raises ``DataError`` when the catalogue does not
    say which business an item belongs to, or has no item of one."""
    config, parts = config or BusinessConfig(), cascade.parts
    for name in names:
        among = f"be among {', '.join(BUSINESSES)}"
        check(name in BUSINESSES, "make_businesses.names", name, among, "live")
    need(parts.index, "business", "author_id", "publish_ms", "price", "bid")
    end = until_ms if until_ms is not None else parts.until_ms
    end = int(logs.interactions["time_ms"].max()) + 1 if end is None else end
    made = {}
    for code, name in enumerate(BUSINESSES):
        if name in names:
            if not (parts.index["business"] == code).any():
                raise DataError(f"the catalogue has no item of the business {name!r}")
            objective, filters = _wants(code, parts, logs, end, config, plan, budgets)
            till = getattr(objective, "budgets", None)
            made[name] = Recommender(
                name, parts, own_channels(parts, code), objective, filters,
                config.retrieve, config.pre_rank,
                ClickLedger(till, parts.index, journal) if till else None,
            )  # fmt: skip
    return made


def own_channels(parts: Parts, code: int) -> list[Channel]:
    """The retrieval channels over one business's items."""
    own = Own(parts.index, code)
    if code == SHORT_VIDEO:
        return [OwnItems(getattr(parts, name), own) for name in CHANNELS]
    vectors: Channel = OwnVectors(parts.two_tower, own)
    return [vectors, *(OwnItems(getattr(parts, name), own) for name in FEW[1:])]


def _wants(
    code: int,
    parts: Parts,
    logs: Logs,
    end: int,
    config: BusinessConfig,
    plan: CampaignPlan | None,
    budgets: AdBudgets | None,
) -> tuple[Objective, tuple[Stage, ...]]:
    """Objective and own filters of a business."""
    money, index = config.money, parts.index
    if code == LIVE:
        tips = Payments(config.payments).fit(logs, parts, code, end)
        return LiveObjective(tips, money.tip_share), ()
    if code == PRODUCT:
        orders = Payments(config.payments).fit(logs, parts, code, end)
        return ProductObjective(orders, index, money.commission), ()
    if code == AD:
        till = budgets or AdBudgets.from_logs(logs, index, end, code, config.ads)
        usual = long_views_a_click(logs, index, code, end)
        return AdObjective(till, index, usual), (BudgetFilter(till, index),)
    if code == CAMPAIGN:
        plan = plan or CampaignPlan.usual(index, code)
        return CampaignObjective(plan), (PeriodFilter(plan),)
    return (ReadingObjective() if code == IMAGE_TEXT else WatchObjective()), ()


def long_views_a_click(logs: Logs, index: ForwardIndex, code: int, end: int) -> float:
    """Of a business's clicks before ``end``, how many became long views."""
    shown = logs.interactions
    early: Array = np.flatnonzero((shown["time_ms"] < end) & shown["is_click"])
    row = index.rows(shown["video_id"][early])
    mine = np.append(index["business"], -1)[row] == code
    long = shown["is_long_view"][early][mine] if "is_long_view" in shown else np.ones(mine.sum())
    return float((long.sum() + 1) / (mine.sum() + 2))
