"""Payments (支付率): P(pay | click), learned from the logs: an order of a product, a tip of a live
show.

    ln odds = w . [1, ln(price / median), user, creator, ln odds of a long view given a click]
    user    = ln((paid_u + a r) / (clicks_u + a)) - ln r,    r = the mean rate; the creator alike

The counts come from the first part of the log and the weights from the rest, so that no row is in
its own counts; for serving, the counts of all of it.
Reference: Ma et al., ESMM, SIGIR 2018 (click, then conversion); McMahan et al., KDD 2013.

Simplified: industry learns click and conversion in one model, with orders that come days later.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from reclab.cascade.pipeline import Parts
from reclab.cascade.ranking.training import TrainConfig, samples_of
from reclab.core.errors import DataError, NotBuilt, check_float, check_int
from reclab.core.tables import Logs
from reclab.core.types import Array

FEWEST = 20  # payments that weights can be learned from


@dataclass(frozen=True)
class PaymentsConfig:
    """What it is learned from."""

    prior: float = 10.0
    """a, clicks that the mean rate weighs against somebody's own (5-50)"""
    counted: float = 0.6
    """share of the log's time that the counts come from, the weights from the rest (0.4-0.8)"""
    rows: int = 6000
    """clicks that the weights are learned from, at most (1000-1 000 000)"""

    def __post_init__(self) -> None:
        check_float("PaymentsConfig.prior", self.prior, 1e-3, 1e6, "10")
        check_float("PaymentsConfig.counted", self.counted, 0.05, 0.95, "0.6")
        check_int("PaymentsConfig.rows", self.rows, 100, 10**8, "6000")


class Payments:
    """``fit`` on the clicks of one business, ``p_pay`` for candidates that carry predictions."""

    def __init__(self, config: PaymentsConfig | None = None) -> None:
        self.config = config or PaymentsConfig()
        self.weights: Array | None = None
        self.left_out = ""

    def fit(self, logs: Logs, parts: Parts, code: int, until_ms: int) -> "Payments":
        """Learn from the business's clicks before ``until_ms``. With fewer than ``FEWEST``
        payments everybody has the mean rate, and ``left_out`` says so."""
        shown = logs.interactions
        if "pay_amount" not in shown:
            raise DataError("payments are learned from the column pay_amount, these logs have none")
        business = parts.index["business"]
        row_of = parts.index.rows(shown["video_id"])
        mine = (row_of >= 0) & (np.append(business, -1)[row_of] == code)
        rows = np.flatnonzero(mine & shown["is_click"] & (shown["time_ms"] < until_ms))
        paid = shown["pay_amount"][rows] > 0
        self._price = self._prices(parts)
        self.amount = float(shown["pay_amount"][rows][paid].mean()) if paid.any() else 0.0
        self.rate = float((paid.sum() + 1) / (len(rows) + 2))
        user = parts.users.rows(shown["user_id"][rows])
        creator = self._creators(parts)[row_of[rows]]
        first = rows < np.quantile(rows, self.config.counted) if len(rows) else rows < 0
        rest = np.flatnonzero(~first)[-self.config.rows :]
        if paid[rest].sum() < FEWEST or (~paid[rest]).sum() < FEWEST:
            self.left_out = f"{int(paid.sum())} of {len(rows)} clicks paid: the mean rate for all"
            self.weights = np.zeros(5)
            self.weights[0] = np.log(self.rate / (1 - self.rate))
        else:
            self._count(user[first], creator[first], paid[first], parts)
            self._learn(logs, parts, rows[rest])
        self._count(user, creator, paid, parts)
        return self

    def _count(self, user: Array, creator: Array, paid: Array, parts: Parts) -> None:
        self._user = self._lift(user, paid, len(parts.users))
        self._creator = self._lift(creator, paid, int(self._creator_of.max(initial=0)) + 1)

    def _lift(self, who: Array, paid: Array, n: int) -> Array:
        """(n + 1,) how far each one's rate is from the mean; the last is somebody unknown."""
        clicks, a = np.bincount(who, minlength=n), self.config.prior
        bought = np.bincount(who, paid, minlength=n)
        lift = np.log((bought + a * self.rate) / (clicks + a)) - np.log(self.rate)
        return np.append(lift, 0.0)

    def _learn(self, logs: Logs, parts: Parts, rows: Array) -> None:
        from sklearn.linear_model import LogisticRegression  # a second that serving need not wait

        plain = TrainConfig(negatives="exposed")
        samples = samples_of(logs, parts.features, plain, rows)
        told = parts.ranker.score_features(samples.features)
        f = samples.features
        user = parts.users.rows(logs.interactions["user_id"][rows])
        when = logs.interactions["time_ms"][rows]
        order = np.lexsort((user, when))  # as samples_of orders them
        x = self._features(user[order], f.item_row, told)
        paid = logs.interactions["pay_amount"][rows][order] > 0
        found = LogisticRegression(C=10.0, max_iter=200).fit(x[:, 1:], paid)
        self.weights = np.append(found.intercept_, found.coef_[0])

    def _features(self, user: Array, item: Array, told: dict[str, Array]) -> Array:
        long = told.get("p_long_view", told["p_click"]) / np.maximum(told["p_click"], 1e-4)
        long = np.clip(long, 1e-3, 1 - 1e-3)
        creator = self._creator[self._creator_of[item]]
        parts = (self._price[item], self._user[user], creator, np.log(long / (1 - long)))
        return np.stack([np.ones(len(item)), *parts], 1)

    def _creators(self, parts: Parts) -> Array:
        """(n_items,) row of each item's creator."""
        if "author_id" in parts.index:
            self._creator_of = np.unique(parts.index["author_id"], return_inverse=True)[1]
        else:
            self._creator_of = np.zeros(len(parts.index), np.int64)
        return self._creator_of

    @staticmethod
    def _prices(parts: Parts) -> Array:
        """(n_items,) ln of the price in medians; 0 for what has no price."""
        price = np.asarray(parts.index["price"], np.float64)
        has = price > 0
        median = np.median(price[has]) if has.any() else 1.0
        return np.where(has, np.log(np.maximum(price, 1e-3) / median), 0.0)

    def p_pay(self, user_row: Array, item_row: Array, told: dict[str, Array]) -> Array:
        """(n,) P(pay | click) of users (n,), -1 = unknown, and items (n,)."""
        if self.weights is None:
            raise NotBuilt("Payments.p_pay before fit")
        return np.asarray(expit(self._features(user_row, item_row, told) @ self.weights))
