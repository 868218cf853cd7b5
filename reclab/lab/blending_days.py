"""Long against short term (长短期平衡): 28 days of the platform under one allocation policy.

    ten common days under the logging policy -> the same platform, copied -> a policy each, 28 days

Users compare a day's long views with their habit and come back the next day or not; ads drive them
out of sessions; wants are stilled; budgets end. The policies start from the same users, catalogue
and beliefs, and meet the same chance, so that what differs is their own doing.

    priced            one currency of watch time, money and satisfaction; budgets as prices; two ads
    priced for money  the same, money counts four times
    revenue greedy    money alone, watch time between equals; three ads
    watch only        watch time alone; no ads

Simplified: a thousand users; what ``blending_feed`` says.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reclab.blending.businesses import Money
from reclab.blending.businesses.make import AD, LIVE, PRODUCT
from reclab.blending.currency import OBJECTIVES, Currency
from reclab.core.errors import check, check_int
from reclab.core.metrics import mean_and_spread
from reclab.core.types import Array
from reclab.lab.blending_feed import Beliefs, BlendedFeed, Till, believed, learn_beliefs
from reclab.lab.blending_pool import rules_of
from reclab.lab.kept import kept
from reclab.lab.lab import Lab
from reclab.world.config import WorldConfig
from reclab.world.platform import Platform

COMMON_DAYS, LEARN_DAYS = 10, 4  # under the logging policy; the last of them teach beliefs
HEADROOM = 8.0  # as AdBudgetsConfig.headroom
POLICIES: dict[str, tuple[dict[str, float], int, bool]] = {
    "priced": (OBJECTIVES, 2, True),
    "priced for money": ({**OBJECTIVES, "revenue": 4.0}, 2, True),
    "revenue greedy": ({"revenue": 1.0, "watch_sec": 1e-6}, 3, False),
    "watch only": ({"watch_sec": 1.0}, 0, False),
}
"""weights of the objectives, ad load, and whether budgets are priced"""
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class DaysConfig:
    """Sizes of the simulation."""

    users: int = 1000
    """people (300-5000)"""
    days: int = 28
    """days after the common ones (2-60)"""
    items: int = 8000
    """items at the start (2000-14 000)"""
    page: int = 10
    """cards of a page"""

    def __post_init__(self) -> None:
        check_int("DaysConfig.users", self.users, 50, 100_000, "1000")
        check_int("DaysConfig.days", self.days, 1, 100, "28")
        check_int("DaysConfig.items", self.items, 500, 1_000_000, "8000")
        check_int("DaysConfig.page", self.page, 3, 50, "10")

    def world(self, seed: int) -> WorldConfig:
        """The platform, at the laptop's proportions."""
        laptop = WorldConfig.at("laptop", seed)
        share = self.items / laptop.n_items
        return replace(
            laptop,
            scale="days",
            n_users=self.users,
            n_items=self.items,
            n_creators=int(laptop.n_creators * share),
            posts_per_day=laptop.posts_per_day * share,
            days=COMMON_DAYS + self.days,
            page_size=self.page,
        )


@dataclass(frozen=True)
class Days:
    """Every day of a policy, (days,) each: share of all users who came (``active``), watch
    ``minutes`` and money of all users by source, ``long_rate`` of exposures, ``ad_share`` and
    ``product_share`` of them, ``exposures``."""

    active: Array
    minutes: Array
    ads: Array
    commission: Array
    tips: Array
    long_rate: Array
    ad_share: Array
    product_share: Array
    exposures: Array

    @property
    def money(self) -> Array:
        """(days,) all of it."""
        return np.asarray(self.ads + self.commission + self.tips)


def live_days(
    config: DaysConfig,
    seed: int,
    policies: Sequence[str] = tuple(POLICIES),
    money: Money | None = None,
    say: Progress | None = None,
) -> dict[str, Days]:
    """The same platform under each policy."""
    for name in policies:
        check(name in POLICIES, "policy", name, f"be among {', '.join(POLICIES)}", "priced")
    say, money = say or (lambda fraction, text: None), money or Money()
    platform, beliefs, budget = common_days(config, seed, money)
    found = {}
    for n, name in enumerate(policies):
        mine = copy.deepcopy(platform)
        weights, load, with_prices = POLICIES[name]
        payer_of, money_of = budget
        till = Till(mine.catalogue, payer_of, money_of, config.users)
        room = len(mine.catalogue) + int(4 * mine.config.posts_per_day * config.days)
        rules = replace(rules_of(load), slots=config.page)
        mine.records = till
        mine.policy = BlendedFeed(
            mine.policy, beliefs, till, Currency(weights), rules, with_prices, room
        )
        rows = []
        for day in range(COMMON_DAYS, COMMON_DAYS + config.days):
            say((n + (day - COMMON_DAYS) / config.days) / len(policies), f"{name}, day {day}")
            rows.append(_sum_up(mine, mine.live(day), till, money, day))
        found[name] = Days(*np.array(rows).T)
    return found


def common_days(
    config: DaysConfig, seed: int, money: Money
) -> tuple[Platform, Beliefs, tuple[Array, Array]]:
    """The platform after the common days, what the last of them taught, and (creator's payer row,
    budgets): what each advertiser spent a day, times the headroom, a bid at least."""
    platform = Platform(config.world(seed))
    spent, morning, lived = np.zeros(len(platform.creators)), platform.policy, []
    for day in range(COMMON_DAYS):
        if day == COMMON_DAYS - LEARN_DAYS:  # what was believed before it was seen how it came
            morning = copy.deepcopy(platform.policy)
        shown = platform.live(day)
        ads = platform.catalogue.business[shown["item"]] == AD
        creator = platform.catalogue.creator[shown["item"][ads]]
        spent += np.bincount(creator, shown["pay"][ads], len(spent))
        lived.append(shown)
    columns = {k: np.concatenate([d[k] for d in lived[-LEARN_DAYS:]]) for k in lived[0]}
    known = columns["item"] < len(morning.catalogue)
    rows = {name: values[known] for name, values in columns.items()}
    score = believed(morning, rows["user"], rows["item"])
    beliefs = learn_beliefs(rows, score, rows["pay"].astype(float), platform.catalogue, money)
    payer_of = np.arange(len(platform.creators))  # any creator may post an ad tomorrow
    budget = np.maximum(HEADROOM * spent / COMMON_DAYS, platform.catalogue.config.bid)
    return platform, beliefs, (payer_of, budget)


def _sum_up(
    platform: Platform, shown: dict[str, Array], till: Till, money: Money, day: int
) -> list[float]:
    """A row of ``Days``."""
    business, pay = platform.catalogue.business[shown["item"]], shown["pay"]
    here = (platform.users.join_day <= day).sum()
    return [
        len(np.unique(shown["user"])) / here,
        float(shown["seconds"].sum(dtype=float)) / 60,
        till.close(),
        float(pay[business == PRODUCT].sum(dtype=float)) * money.commission,
        float(pay[business == LIVE].sum(dtype=float)) * money.tip_share,
        float(shown["long_view"].mean()),
        float((business == AD).mean()),
        float((business == PRODUCT).mean()),
        float(len(business)),
    ]


# ---- seeds ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Against:
    """A policy against the priced one, as shares of it (0.1 = 10 % more), mean and half range over
    seeds: on the first day, and on the mean of the last week."""

    first_money: tuple[float, float]
    last_money: tuple[float, float]
    first_minutes: tuple[float, float]
    last_minutes: tuple[float, float]
    first_active: tuple[float, float]
    last_active: tuple[float, float]
    money_an_hour: tuple[float, float]


def against(days: Mapping[str, Days], policy: str, base: str = "priced") -> Against:
    """``days`` by "seed/policy", as ``kept_days`` gives them."""
    seeds = sorted({name.split("/")[0] for name in days})
    pairs = [(days[f"{seed}/{policy}"], days[f"{seed}/{base}"]) for seed in seeds]

    def more(name: str, part: slice) -> tuple[float, float]:
        ratios = [getattr(a, name)[part].mean() / getattr(b, name)[part].mean() for a, b in pairs]
        return mean_and_spread(np.array(ratios) - 1)

    first, last = slice(0, 1), slice(-7, None)
    hours = [
        (a.money.sum() / a.minutes.sum()) / (b.money.sum() / b.minutes.sum()) - 1 for a, b in pairs
    ]
    return Against(
        more("money", first), more("money", last), more("minutes", first), more("minutes", last),
        more("active", first), more("active", last), mean_and_spread(np.array(hours)),
    )  # fmt: skip


def kept_days(
    lab: Lab,
    seeds: Sequence[int] = (0, 1, 2),
    config: DaysConfig | None = None,
    say: Progress | None = None,
    policies: Sequence[str] = tuple(POLICIES),
) -> dict[str, Days]:
    """ "seed/policy" -> its days, computed once for a lab (minutes)."""
    config = config or DaysConfig()

    def compute() -> dict[str, Days]:
        found = {}
        for seed in seeds:
            for name, days in live_days(config, seed, policies, say=say).items():
                found[f"{seed}/{name}"] = days
        return found

    kind = f"blending_days_{config.users}_{config.days}_{'_'.join(map(str, seeds))}"
    if tuple(policies) != tuple(POLICIES):
        kind += "_" + "_".join(name.replace(" ", "-") for name in policies)
    return kept(lab, kind, Days, compute)
