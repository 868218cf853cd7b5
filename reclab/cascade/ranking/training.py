"""Training: the one loop by which every model of the cascade learns from the logs.

    minimise  sum_r w_r sum_k v_k L_k(f_k(x_r), y_rk)   by Adam     (the targets k: targets.py)

A row is an exposed item with what happened, or - ``negatives="sampled"`` - an item drawn from the
catalogue that was not shown, taken as not clicked. Trained on exposed rows alone a model never sees
what the old policy held back, and is wrong exactly there: its AUC on exposed rows is high, and the
more candidates it ranks the worse its lists. Flagged random slots are the unbiased sample and count
``random_weight`` times. Of the epochs, the one with the best AUC on later requests is kept.
References: Kingma and Ba 2015 (Adam); Marlin and Zemel 2009 (data missing not at random).

Simplified: industry trains on streams, over many machines, and calibrates sampled negatives away.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from reclab.cascade.ranking.features import FeatureBuilder, Features
from reclab.cascade.ranking.targets import FREQUENT, TARGETS, WATCH, known_targets
from reclab.cascade.ranking.watch_time import KINDS
from reclab.core.chance import rng
from reclab.core.errors import DataError, check, check_float, check_int
from reclab.core.tables import Logs
from reclab.core.types import Array

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class TrainConfig:
    """How to learn."""

    epochs: int = 2
    """passes over the rows at most (1 … 20); ids overfit after few"""
    batch_rows: int = 2048
    """rows in a step, about (64 … 16 384)"""
    learning_rate: float = 2e-3
    """Adam's first step size, falling to a tenth over the epochs (1e-4 … 1e-2)"""
    weight_decay: float = 1e-6
    """pull of all weights to zero (0 … 1e-3)"""
    patience: int = 1
    """epochs without a better validation AUC before stopping (1 … 10)"""
    valid_share: float = 0.05
    """latest share of the requests kept for validation (0.01 … 0.3)"""
    max_rows: int = 600_000
    """exposed rows learned from, latest first (10 000 … 10 000 000)"""
    negatives: str = "sampled"
    """"sampled" adds items that were not shown, "exposed" does not (the trap)"""
    n_sampled: int = 4
    """sampled negatives a request (1 … 50)"""
    sampled_weight: float = 1.0
    """weight of a sampled negative (0.05 … 1)"""
    hide_user: float = 0.0
    """chance that a request's user id is hidden in a step: prepares for new users (0 … 0.9)"""
    random_weight: float = 2.0
    """weight of a row from a flagged random slot (1 … 20)"""
    targets: tuple[str, ...] = FREQUENT
    """what is learned, where the logs have it: FREQUENT, TARGETS, or any of them"""
    watch: str = "ratio"
    """what is learned of seconds: "ratio" to the usual, "quantile" or "log" (watch_time.py)"""
    watch_groups: int = 20
    """groups of videos by duration (1 = duration is not looked at … 100)"""
    rare_weight: float = 0.25
    """how far rare targets pull as hard as frequent ones: 0 not at all, 1 wholly (0 … 1)"""
    seed: int = 0
    """of initial weights, order and negatives"""

    def __post_init__(self) -> None:
        check_int("TrainConfig.epochs", self.epochs, 1, 1000, "2")
        check_int("TrainConfig.batch_rows", self.batch_rows, 1, 1_000_000, "2048")
        check_float("TrainConfig.learning_rate", self.learning_rate, 1e-7, 1.0, "2e-3")
        check_float("TrainConfig.weight_decay", self.weight_decay, 0.0, 1.0, "1e-6")
        check_int("TrainConfig.patience", self.patience, 1, 1000, "1")
        check_float("TrainConfig.valid_share", self.valid_share, 0.0, 0.5, "0.05")
        check_int("TrainConfig.max_rows", self.max_rows, 1, 10**9, "600000")
        known = self.negatives in ("sampled", "exposed")
        check(known, "TrainConfig.negatives", self.negatives, "be sampled or exposed", "sampled")
        check_int("TrainConfig.n_sampled", self.n_sampled, 1, 1000, "4")
        check_float("TrainConfig.sampled_weight", self.sampled_weight, 0.0, 1000.0, "1")
        check_float("TrainConfig.hide_user", self.hide_user, 0.0, 1.0, "0")
        check_float("TrainConfig.random_weight", self.random_weight, 0.0, 1000.0, "2")
        known = bool(self.targets) and set(self.targets) <= set(TARGETS)
        among = f"name at least one of {', '.join(TARGETS)} and nothing else"
        check(known, "TrainConfig.targets", self.targets, among, "FREQUENT")
        known = self.watch in KINDS
        check(known, "TrainConfig.watch", self.watch, f"be {' or '.join(KINDS)}", "ratio")
        check_int("TrainConfig.watch_groups", self.watch_groups, 1, 10_000, "20")
        check_float("TrainConfig.rare_weight", self.rare_weight, 0.0, 1.0, "0.25")


@dataclass(frozen=True)
class Samples:
    """Rows to learn from. ``targets[name]`` (n,) float32, NaN = not known for this row;
    ``weight`` (n,) float32."""

    features: Features
    targets: dict[str, Array]
    weight: Array

    def __len__(self) -> int:
        return len(self.weight)

    def take(self, requests: Array) -> "Samples":
        """The rows of these requests."""
        rows, _ = self.features.rows_of(requests)
        targets = {name: values[rows] for name, values in self.targets.items()}
        return Samples(self.features.take(requests), targets, self.weight[rows])

    def split(self, valid_share: float) -> tuple["Samples", "Samples"]:
        """Earlier requests to learn from, and the latest share of them to validate on. A single
        request serves both."""
        n = len(self.features.user)
        if n < 2:
            return self, self
        cut = n - max(1, round(n * valid_share))
        return self.between(0, cut), self.between(cut, n)

    def between(self, first: int, stop: int) -> "Samples":
        """The rows of the requests ``first … stop - 1``, without a copy of most of them."""
        starts = self.features.starts
        rows = slice(int(starts[first]), int(starts[stop]))
        targets = {name: values[rows] for name, values in self.targets.items()}
        return Samples(self.features.between(rows.start, rows.stop), targets, self.weight[rows])

    def check(self, names: dict[str, tuple[str, ...]]) -> None:
        """Raise ``DataError`` that names the feature which holds NaN or infinity."""
        for part, columns in names.items():
            bad = ~np.isfinite(getattr(self.features, part)).all(0)
            if bad.any():
                which = ", ".join(columns[i] for i in np.flatnonzero(bad))
                raise DataError(f"NaN or infinity in training feature {which}")


@dataclass
class History:
    """What a training run did: loss and validation AUC by epoch, the epoch kept, seconds; and why
    a target that was asked for was not learned (``left_out``)."""

    loss: list[float] = field(default_factory=list)
    valid_auc: list[float] = field(default_factory=list)
    best_epoch: int = 0
    seconds: float = 0.0
    rows: int = 0
    left_out: dict[str, str] = field(default_factory=dict)


def training_samples(
    logs: Logs, features: FeatureBuilder, config: TrainConfig, until_ms: int | None = None
) -> Samples:
    """Rows from the interactions before ``until_ms``: the latest ``max_rows``, by request.

    Raises ``DataError`` if nothing is left.
    """
    when = logs.interactions["time_ms"]
    stop = len(when) if until_ms is None else int(np.searchsorted(when, until_ms))
    rows = np.arange(max(0, stop - config.max_rows), stop)
    return samples_of(logs, features, config, rows, until_ms)


def samples_of(
    logs: Logs,
    features: FeatureBuilder,
    config: TrainConfig,
    rows: Array,
    until_ms: int | None = None,
) -> Samples:
    """Training rows from the interactions at ``rows`` (positions), by request, in order of time,
    and what was known of them at ``until_ms`` (None = all there is to know).

    A request is what one user was shown at one time; rows of unknown items are left out.
    """
    item_row = features.index.rows(logs.interactions["video_id"][rows])
    rows, item_row = rows[item_row >= 0], item_row[item_row >= 0]
    if not len(rows):
        raise DataError("no interactions of known items to train on before the given time")
    log = logs.interactions.take(rows)
    user_row, time_ms = features.users.rows(log["user_id"]), log["time_ms"]
    order = np.lexsort((user_row, time_ms))
    user_row, time_ms = user_row[order], time_ms[order]
    new = np.ones(len(order), bool)
    new[1:] = (user_row[1:] != user_row[:-1]) | (time_ms[1:] != time_ms[:-1])
    first = np.flatnonzero(new)
    weight = np.ones(len(order), np.float32)
    if "is_random" in log:
        weight[log["is_random"][order]] = config.random_weight
    known = known_targets(logs, rows, features.index, until_ms)
    targets = {name: values[order] for name, values in known.items()}
    part = _Rows(np.cumsum(new) - 1, item_row[order], targets, weight)
    if config.negatives == "sampled":
        part = _with_negatives(part, time_ms[first], features, config)
    network = log["network"][order][first] if "network" in log else np.zeros(len(first), np.int8)
    who, when = user_row[first], time_ms[first]
    built = features.build(who, when, network, part.request_row, part.item_row)
    return Samples(built, part.targets, part.weight)


class _Rows(NamedTuple):
    """Rows before their features are built: whose, which item, what happened, weight."""

    request_row: Array
    item_row: Array
    targets: dict[str, Array]
    weight: Array


def _with_negatives(
    part: _Rows, time_ms: Array, features: FeatureBuilder, config: TrainConfig
) -> _Rows:
    """Add uniformly drawn, already published items to every request: not clicked, seconds unknown.

    The few drawn items that the user would in fact have liked are label noise, the same for all.
    """
    each = config.n_sampled
    drawn = features.draw_published(np.repeat(time_ms, each), rng(config.seed, "negatives"))
    owner = np.concatenate([part.request_row, np.repeat(np.arange(len(time_ms)), each)])
    order = np.argsort(owner, kind="stable")

    def joined(values: Array, drawn: Array) -> Array:
        return np.concatenate([values, drawn])[order]

    def outcome(name: str) -> Array:
        return np.full(len(drawn), np.nan if name == WATCH else 0.0, np.float32)

    targets = {name: joined(values, outcome(name)) for name, values in part.targets.items()}
    weight = joined(part.weight, np.full(len(drawn), config.sampled_weight, np.float32))
    return _Rows(owner[order], joined(part.item_row, drawn), targets, weight)


def hide_users(samples: Samples, share: float, chance: np.random.Generator) -> Samples:
    """The same rows with the user ids (code 0 = unknown) of a random share of requests hidden."""
    if not share:
        return samples
    user = samples.features.user.copy()
    user[chance.random(len(user)) < share, 0] = 0
    return replace(samples, features=replace(samples.features, user=user))


class OneThread:
    """Small models on few cores train many times faster on one thread: no waiting for others."""

    def __enter__(self) -> None:
        self._before = torch.get_num_threads()
        if self._before != 1:
            torch.set_num_threads(1)

    def __exit__(self, *exc: object) -> None:
        if self._before != 1:
            torch.set_num_threads(self._before)


def train(
    net: nn.Module,
    n_requests: int,
    rows: int,
    loss_of: Callable[[Array], Tensor],
    validate: Callable[[], float],
    config: TrainConfig,
    progress: Progress | None = None,
) -> History:
    """Adam over shuffled requests; stop early; leave the best epoch's weights in ``net``.

    ``loss_of(requests)`` gives the loss of a minibatch, ``validate()`` a number to be maximised.
    """
    history, began = History(rows=rows), time.perf_counter()
    step_size = max(1, round(config.batch_rows * n_requests / max(1, rows)))
    n_steps = -(-n_requests // step_size)
    adam = adam_of(net, config.learning_rate, config.weight_decay)
    best = {name: value.clone() for name, value in net.state_dict().items()}
    with OneThread():
        for epoch in range(config.epochs):
            net.train()
            order = rng(config.seed, "order", epoch).permutation(n_requests)
            total = 0.0
            for step in range(n_steps):
                done = (epoch * n_steps + step) / (config.epochs * n_steps)
                shorten_steps(adam, config.learning_rate, done)
                loss = loss_of(np.sort(order[step * step_size : (step + 1) * step_size]))
                total += descend(adam, loss)
                if progress and step % 20 == 0:
                    progress(done, f"epoch {epoch + 1} of {config.epochs}")
            history.loss.append(total / n_steps)
            net.eval()
            history.valid_auc.append(validate())
            if _is_best(history.valid_auc):
                history.best_epoch = epoch
                best = {name: value.clone() for name, value in net.state_dict().items()}
            elif epoch - history.best_epoch >= config.patience:
                break
    net.load_state_dict(best)
    net.eval()
    history.seconds = time.perf_counter() - began
    return history


def adam_of(net: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """The optimiser of every model of the cascade."""
    return torch.optim.Adam(net.parameters(), learning_rate, weight_decay=weight_decay, fused=True)


def descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> float:
    """One step against the loss, which is returned."""
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


def shorten_steps(optimiser: torch.optim.Optimizer, first: float, done: float) -> None:
    """Set the step size: ``first`` at the beginning, a tenth of it when all is ``done`` (1)."""
    for group in optimiser.param_groups:
        group["lr"] = first * (1.0 - 0.9 * done)


def _is_best(values: list[float]) -> bool:
    """The last is better than all before; NaN (one class only) never stops the training."""
    return values[-1] != values[-1] or values[-1] > max(
        [v for v in values[:-1] if v == v], default=-np.inf
    )
