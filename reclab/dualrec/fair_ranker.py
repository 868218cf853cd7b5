"""Fair ranker (公平的用户侧模型): the user side's ranker, taught that an item may have no id yet.

    e_i = [id hidden with chance h] 0 + [else] E[id] + E[author] + sum over tags t of s_t E[t]
    g_ui = sum_k w_k p_k(u, i) + w_sec minutes(u, i) - beta (b_u - mean b)
    b_u = (feedback of u in 30 days + n_0 mean) / (impressions of u + n_0),    in the same weights

An id embedding knows an old item so well that little is left for author, tags and numbers to learn,
and a new item has nothing else. Hidden at random in training (item-id dropout, the mirror of
``TrainConfig.hide_user``), the id no longer dominates. Feedback that the creator sees weighs more
than watch time: a like counts with comments (they are learned as one), then shares and follows. b_u
is what u gives to anything: without it the generous users are every item's best.
References: Chen et al., WWW 2025 Companion; Volkovs, Yu and Poutanen, DropoutNet, NeurIPS 2017.
The paper does not print how its user bias enters; this is our reading.

Simplified: industry trains one model for both sides on a stream, and calibrates it per side.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import torch

from reclab.cascade.ranking.din import DIN, DINConfig
from reclab.cascade.ranking.features import FeatureBuilder
from reclab.cascade.ranking.fusion import Fusion, FusionConfig
from reclab.cascade.ranking.ranker import Ranker
from reclab.cascade.ranking.targets import TARGETS
from reclab.cascade.ranking.training import Progress, Samples, TrainConfig
from reclab.core.chance import rng
from reclab.core.errors import check_float, check_int
from reclab.core.tables import Logs, Table
from reclab.core.types import Array
from reclab.stores.user_features import UserFeatures

PAIRS = 50_000  # pairs scored at a time: bounds the memory of their features
SUMS = {"likes": "p_like", "comments": "p_like", "shares": "p_share", "follows": "p_follow"}
"""what the user store counts -> the target in whose weight it is"""


@dataclass(frozen=True)
class FairDINConfig(DINConfig):
    """``DINConfig``, and how often an item's id is hidden."""

    hide_item: float = 0.5
    """h, chance that an item's id is hidden in a training row (0 = the user side's model … 0.9)"""
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            epochs=1, learning_rate=4e-3, weight_decay=1e-5, negatives="exposed", targets=TARGETS
        )
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_float("FairDINConfig.hide_item", self.hide_item, 0.0, 0.99, "0.5")


class FairDIN(DIN):
    """DIN by item-id dropout; everything else as in the cascade."""

    name = "fair_din"
    Config = FairDINConfig
    config: FairDINConfig

    def fit(
        self,
        logs: Logs,
        features: FeatureBuilder,
        until_ms: int | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Learn from the interactions before ``until_ms`` (None = all); a comment is a like."""
        return super().fit(visible(logs), features, until_ms, progress)

    def fit_samples(
        self,
        samples: Samples,
        features: FeatureBuilder,
        progress: Progress | None = None,
        valid: Samples | None = None,
    ) -> Self:
        self._chance = rng(self.config.train.seed, "hidden items")
        super().fit_samples(samples, features, progress, valid)
        self.net.set_items(self.features.item_codes)
        return self

    def loss(self, encoded: Samples) -> torch.Tensor:
        """As every ranker's, with the ids of some rows' items hidden; histories keep theirs."""
        codes, rows = self.features.item_codes, encoded.features.item_row
        if len(self.net.codes) == len(codes):
            self.net.set_items(with_and_without_ids(codes))
        hidden = self._chance.random(len(rows)) < self.config.hide_item
        rows = np.where(hidden, rows + len(codes) - 1, rows)
        return super().loss(replace(encoded, features=replace(encoded.features, item_row=rows)))


def with_and_without_ids(codes: Array) -> Array:
    """Codes (n + 1, F) of a catalogue -> (2 n + 1, F): all items, all items without their ids (the
    first field), and the last row, for no item, as it was.

    >>> with_and_without_ids(np.array([[3, 7], [4, 8], [0, 0]])).tolist()
    [[3, 7], [4, 8], [0, 7], [0, 8], [0, 0]]
    """
    hidden = codes[:-1].copy()
    hidden[:, 0] = 0
    return np.concatenate([codes[:-1], hidden, codes[-1:]])


def visible(logs: Logs) -> Logs:
    """The same logs where a comment counts as a like: both are seen by the creator."""
    shown = logs.interactions
    if "is_like" not in shown or "is_comment" not in shown:
        return logs
    either = shown["is_like"].astype(bool) | shown["is_comment"].astype(bool)
    columns = {name: shown[name] for name in shown} | {"is_like": either}
    return replace(logs, interactions=Table(columns))


@dataclass(frozen=True)
class CreatorScoreConfig:
    """Weights of what an item gets from a user: a like is some hundred times rarer than a view."""

    fusion: FusionConfig = field(
        default_factory=lambda: FusionConfig(
            p_long_view=0.0, p_like=20.0, p_share=50.0, p_follow=100.0, watch_sec=0.5
        )
    )
    """w_k, of one like (or comment), share, follow, and of a minute watched"""
    user_bias: float = 1.0
    """beta, how much of what a user gives to anything is taken off (0 … 1)"""
    prior: int = 100
    """n_0, impressions that the mean weighs in a user's bias (10 … 1000)"""

    def __post_init__(self) -> None:
        check_float("CreatorScoreConfig.user_bias", self.user_bias, 0.0, 1.0, "0-1")
        check_int("CreatorScoreConfig.prior", self.prior, 1, 1_000_000, "100")


class CreatorScore:
    """``score(item_row, user_row, now_ms)`` -> (n,) float32 g of pairs in any order."""

    def __init__(self, ranker: Ranker, config: CreatorScoreConfig | None = None) -> None:
        self.config = config or CreatorScoreConfig()
        self.ranker, self.fuse = ranker, Fusion(self.config.fusion)
        self._bias_ms, self._bias = -1, np.zeros(0, np.float32)

    def score(self, item_row: Array, user_row: Array, now_ms: int) -> Array:
        """Predicted feedback of each pair as of ``now_ms``, less the user's own bias."""
        g = np.zeros(len(item_row), np.float32)
        order = np.argsort(user_row, kind="stable")  # a user's features are built once
        for part in np.split(order, range(PAIRS, len(order), PAIRS)):
            if len(part):
                g[part] = self._predict(item_row[part], user_row[part], now_ms)
        beta = self.config.user_bias
        return g - np.float32(beta) * self.bias(now_ms)[user_row] if beta else g

    def _predict(self, item_row: Array, user_row: Array, now_ms: int) -> Array:
        features = self.ranker.features
        users, request_row = np.unique(user_row, return_inverse=True)
        when, network = np.full(len(users), now_ms), np.zeros(len(users), np.int8)
        built = features.build(users, when, network, request_row, item_row)
        if len(self.ranker.net.codes) != len(features.item_codes):
            self.ranker.net.set_items(features.item_codes)
        return self.fuse(self.ranker.score_features(built))

    def bias(self, now_ms: int) -> Array:
        """(n_users,) float32 b_u less its mean, as of ``now_ms``."""
        if self._bias_ms != now_ms:
            users = self.ranker.features.users
            self._bias = user_bias(users, now_ms, self.config, self.ranker.targets)
            self._bias_ms = now_ms
        return self._bias


def user_bias(
    users: UserFeatures, now_ms: int, config: CreatorScoreConfig, targets: Iterable[str]
) -> Array:
    """(n_users,) float32 feedback an impression of each user in 30 days, by the weights of those
    ``targets`` that are predicted, drawn to the mean, less the mean."""
    every, weights, known = np.arange(len(users)), config.fusion.weights, set(targets)
    sums = users.statistics(every, np.full(len(users), now_ms))
    total = np.zeros(len(users))
    for name, target in SUMS.items():
        if name in sums and target in known:
            total += weights[target] * sums[name]
    if "watch_sec" in sums and "watch_sec" in known:
        total += weights["watch_sec"] * sums["watch_sec"] / 60
    shown = sums["impressions"].astype(np.float64)
    mean = total.sum() / max(1.0, shown.sum())
    return np.asarray((total - mean * shown) / (shown + config.prior), np.float32)
