"""A blended feed on the living platform: an allocation policy in place of the logging policy.

    every two days    each user's best of every business, by what the log has taught so far
    every page        the first unseen of each list -> values -> the allocation policy -> ten cards
    every click       an ad's click is charged; an advertiser without money is not offered
    every night       orders beyond a user's want are not made: an order leaves f of it, and it
                      comes back by a quarter of what is missing a day

A short video or post is never shown twice; an ad, a product or a host may come again after a week.
What the platform believes: p = curve of the business over (the user's rate + the item's match),
learned on the last days before the policies part; money of a click from the bid, or from orders by
price.

Simplified: the match is the logging policy's, matrix factorisation and tags, not the cascade;
budgets are not paced by the hour, for the world serves all users' pages round by round.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from reclab.blending.allocation import (
    BUSINESSES,
    DualPrices,
    PageRules,
    PricedPage,
    Prices,
    PricingConfig,
    Quotas,
)
from reclab.blending.businesses import Money
from reclab.blending.businesses.make import AD, LIVE, PRODUCT
from reclab.blending.calibration import ScoreCalibration
from reclab.blending.currency import Currency, Outcomes
from reclab.core.clock import DAY_MS
from reclab.core.types import Array, Candidates
from reclab.lab.blending_values import still_to_come
from reclab.world.catalogue import Catalogue
from reclab.world.config import WorldConfig
from reclab.world.logging_policy import PERSONAL, LoggingPolicy
from reclab.world.records import Recorder
from reclab.world.users import Users

LENGTH = (250, 60, 60, 60, 60, 40)  # of each business's list, for two days of a heavy user
OFFERED = (14, 4, 4, 4, 4, 2)  # candidates of each business for a page
AGAIN_DAYS = (100, 7, 7, 7, 100, 100)  # days after which an item may be shown again
UNIT = 4096 * 256  # of the logging policy's whole-number scores
AFTER_ORDER, RECOVERS = 0.3, 0.25  # f; share of the missing want that a night brings back


class Till(Recorder):
    """Records what happens, charges ads by the click, and lets wants be stilled."""

    def __init__(self, catalogue: Catalogue, payer_of: Array, budget: Array, n_users: int) -> None:
        super().__init__()
        self.catalogue, self.payer_of, self.budget = catalogue, payer_of, budget
        self.spent, self.want = np.zeros(len(budget)), np.ones(n_users)

    def add(self, context: dict[str, Array], shown: Array, page: dict[str, Array]) -> None:
        super().add(context, shown, page)
        item = page["item"][shown & page["click"]]
        payer = self.payers(item)
        paid = payer >= 0
        bids = self.catalogue.bid[item[paid]]
        self.spent += np.bincount(payer[paid], bids, len(self.spent))

    def payers(self, item: Array) -> Array:
        """Advertiser's row of ads, -1 for everything else."""
        of = self.payer_of[self.catalogue.creator[item]]
        return np.where(self.catalogue.business[item] == AD, of, -1)

    def react(
        self,
        config: WorldConfig,
        shown: dict[str, Array],
        users: Users,
        items: Catalogue,
        chance: np.random.Generator,
    ) -> None:
        super().react(config, shown, users, items, chance)
        orders = np.flatnonzero((items.business[shown["item"]] == PRODUCT) & (shown["pay"] > 0))
        orders = orders[np.lexsort((shown["time_ms"][orders], shown["user"][orders]))]
        luck = chance.random(len(orders))
        for row, draw in zip(orders.tolist(), luck.tolist(), strict=True):  # hundreds a day
            user = shown["user"][row]
            if draw < self.want[user]:
                self.want[user] *= AFTER_ORDER
            else:
                shown["pay"][row] = 0.0
        self.want += RECOVERS * (1 - self.want)

    def close(self) -> float:
        """The day's money from ads, and an empty till: beyond a budget clicks are free."""
        money = float(np.minimum(self.spent, self.budget).sum())
        self.spent[:] = 0.0
        return money


class Shown:
    """Which day a user was last shown an item, in place of the logging policy's bits."""

    def __init__(self, n_users: int, n_items: int) -> None:
        self.day, self.last = 0, np.full((n_users, n_items), -128, np.int8)

    def add(self, user: Array, item: Array, shown: Array) -> None:
        rows, slots = np.nonzero(shown)
        self.last[user[rows], item[rows, slots]] = self.day


@dataclass(frozen=True)
class Beliefs:
    """What the last common days have taught: curves over the score, amounts by outcome, ``pay_of``
    (6, 2) intercept and slope of ln odds of paying by ln price, ``gift``, c."""

    calibration: ScoreCalibration
    outcomes: Outcomes
    pay_of: Array
    gift: float
    leaving: float
    money: Money

    def pay_by_click(self, items: Catalogue, item: Array) -> Array:
        """(n,) money to the platform of a click."""
        business, price = items.business[item], np.maximum(items.price[item], 1e-3)
        level, slope = self.pay_of[business].T
        p = 1 / (1 + np.exp(-(level + slope * np.log(price))))
        pay = np.where(business == PRODUCT, p * price * self.money.commission, 0.0)
        pay = np.where(business == LIVE, p * self.gift * self.money.tip_share, pay)
        return np.where(business == AD, items.bid[item], pay)


def learn_beliefs(
    shown: Mapping[str, Array], score: Array, pay: Array, items: Catalogue, money: Money
) -> Beliefs:
    """From some days' impressions, the ``score`` (n,) they had that morning, and ``pay`` (n,)."""
    from sklearn.linear_model import LogisticRegression

    business = items.business[shown["item"]].astype(np.int64)
    long, click = shown["long_view"].astype(float), shown["click"].astype(float)
    session, when, place = shown["session"], shown["time_ms"], shown["position"]
    leaving = float(still_to_come(session, when, place, long).mean())
    left = still_to_come(session, when, place, np.ones(len(long))) == 0
    calibration = ScoreCalibration().fit(business, score, long)
    amounts = {
        "watch_sec": shown["seconds"].astype(float),
        "satisfaction": long - leaving * left,
        "click": click,
    }
    pay_of = np.tile([-30.0, 0.0], (len(BUSINESSES), 1))
    for code in (LIVE, PRODUCT):
        mine = np.flatnonzero((business == code) & (click > 0))
        paid = pay[mine] > 0
        rate = (paid.sum() + 1) / (len(mine) + 2)
        pay_of[code, 0] = np.log(rate / (1 - rate))
        if code == PRODUCT and min(paid.sum(), (~paid).sum()) >= 10:
            price = np.log(items.price[shown["item"][mine]])[:, None]
            fitted = LogisticRegression(C=10.0).fit(price, paid)
            pay_of[code] = fitted.intercept_[0], fitted.coef_[0, 0]
    tips = pay[(business == LIVE) & (pay > 0)]
    gift = float(tips.mean()) if len(tips) else 0.0
    outcomes = Outcomes().fit(business, long, amounts)
    return Beliefs(calibration, outcomes, pay_of, gift, leaving, money)


def rates(policy: LoggingPolicy) -> Array:
    """(n_users,) long views an exposure so far, drawn to a quarter."""
    return np.asarray((policy._user_sum + 2.0) / (policy._user_n + 8.0))


def believed(policy: LoggingPolicy, user: Array, item: Array) -> Array:
    """(n,) rate of the users and match of the items, in long views."""
    users, items = policy._vectors(np.arange(len(policy.catalogue)))
    match = np.einsum("nd,nd->n", users[user], items[item]) / UNIT
    return np.asarray(rates(policy)[user] + match)


class BlendedFeed(LoggingPolicy):
    """Takes over from a logging policy with all that it has learned."""

    def __init__(
        self,
        base: LoggingPolicy,
        beliefs: Beliefs,
        till: Till,
        currency: Currency,
        rules: PageRules,
        with_prices: bool,
        room: int,
    ) -> None:
        """``room``: items that the catalogue will ever have."""
        self.__dict__.update(base.__dict__)
        n = len(self._user_n)
        seen_bits, self.seen = base.seen, Shown(n, room)  # type: ignore[assignment]
        every = np.arange(len(self.catalogue))
        for start in range(0, n, 100):
            block = slice(start, start + 100)
            self.seen.last[block, : len(every)][seen_bits.table(block, every)] = -20
        self.beliefs, self.till, self.currency, self.rules = beliefs, till, currency, rules
        self.with_prices, self.prices = with_prices, None
        self.pages_today, self.pages_before = 0, 1
        self.lists: list[tuple[Array, Array]] = []

    def refresh(self, day: int, chance: np.random.Generator) -> None:
        self.seen.day = day
        self.pages_before = max(self.pages_today, len(self._user_n))
        self.pages_today, self._day = 0, day
        self._open_prices()
        self._grow()
        if not self.lists or day % self.config.refit_days == 0:
            self._fit(chance)

    def _open_prices(self) -> None:
        start: Prices | None = self.prices.average() if self.prices else None
        if self.with_prices:
            quotas = Quotas(budgets=tuple(self.till.budget))
            self.prices = DualPrices(
                quotas, self.rules, np.full(24, self.pages_before / 24), PricingConfig(), start
            )
        self.pages = PricedPage(self.rules, self.prices)

    def _fit(self, chance: np.random.Generator) -> None:
        """Each user's best of every business: (n, L) items and scores, a list a business."""
        alive = np.arange(len(self.catalogue))
        users, items = self._vectors(alive)
        rate, self.lists = rates(self)[:, None], []
        for code, length in enumerate(LENGTH):
            mine = alive[self.catalogue.business[: len(alive)] == code]
            best = np.full((len(users), min(length, len(mine))), -1)
            score = np.zeros(best.shape, np.float32)
            for start in range(0, len(users), 500):
                block = slice(start, start + 500)
                match = users[block] @ items[mine].T / UNIT
                wait = self._day - self.seen.last[block][:, mine].astype(np.int16)
                match = np.where(wait >= AGAIN_DAYS[code], match, -9.0)
                top = np.argpartition(-match, best.shape[1] - 1, axis=1)[:, : best.shape[1]]
                value = np.take_along_axis(match, top, 1)
                order = np.argsort(-value, axis=1, kind="stable")
                best[block] = mine[np.take_along_axis(top, order, 1)]
                score[block] = np.take_along_axis(value, order, 1) + rate[block]
            self.lists.append((best, score))

    def page(
        self, user: Array, time_ms: Array, size: int, chance: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        offered = self.offered(user)
        pages = self.pages.allocate(offered)
        if self.prices:
            when = self._day * DAY_MS + int(
                DAY_MS * min(self.pages_today / self.pages_before, 0.999)
            )
            self.pages.observe(offered, pages, when)
        self.pages_today += len(user)
        filled = pages >= 0
        item = np.where(filled, np.append(offered.item_row, 0)[pages], 0)
        return item, np.full(item.shape, PERSONAL, np.int8), filled

    def offered(self, user: Array) -> Candidates:
        """The candidates of all businesses for a page of each user (n,), with their values."""
        parts: list[tuple[Array, Array, Array, Array]] = []
        for code, (lists, scores) in enumerate(self.lists):
            item, score = lists[user], scores[user]
            wait = self._day - self.seen.last[user[:, None], item].astype(np.int16)
            open_ = wait >= AGAIN_DAYS[code]
            rows, places = np.nonzero(open_ & (np.cumsum(open_, 1) <= OFFERED[code]))
            parts.append((rows, item[rows, places], score[rows, places], np.full(len(rows), code)))
        rows, item, score, business = (np.concatenate(x) for x in zip(*parts, strict=True))
        order = np.argsort(rows, kind="stable")
        rows, item, score, business = rows[order], item[order], score[order], business[order]
        value, spend, payer = self._valued(item, score, business)
        columns: dict[str, Any] = {
            "business": business, "value": value, "score": score,
            "creator": self.catalogue.creator[item].astype(np.int64),
            "payer": payer, "spend": spend,
        }  # fmt: skip
        return Candidates(len(user), rows, item, columns)

    def _valued(self, item: Array, score: Array, business: Array) -> tuple[Array, Array, Array]:
        """(n,) value, money that a full exposure costs its advertiser, and the advertiser."""
        b = self.beliefs
        expected = b.outcomes.expected(business, b.calibration.apply(business, score))
        expected["revenue"] = expected["click"] * b.pay_by_click(self.catalogue, item)
        value, payer = self.currency.value(expected), self.till.payers(item)
        broke = (payer >= 0) & (np.append(self.till.budget - self.till.spent, 1.0)[payer] <= 0)
        spend = np.where(payer >= 0, expected["revenue"], 0.0)
        return np.where(broke, np.nan, value), spend, payer
