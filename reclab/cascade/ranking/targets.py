"""Targets (多目标): what may be learned of an exposure, as known when training; and the loss.

    minimise  sum_r w_r sum_k v_k L_k(f_k(x_r), y_rk),   v_k = (H(main) / H(rate_k))^a
    f_k(x) = b_k + net_k(x),      b_k = ln(rate_k / (1 - rate_k))

with L the log loss, and for the watch time that of ``watch_time``. A like in fifty exposures, a
share in five hundred: told nothing, a network spends its one pass over the rows on learning just
that, so each output starts at the log odds of its base rate. H(rate) is the log loss of who knows
the base rate only; a rare target's is small, and so is its pull on what targets share. v_k evens
that out: wholly at a = 1, not at all at a = 0. A report that reaches us after the training time is
not known at it: the like is a "no" for now, the seconds are unknown.
References: King and Zeng 2001 (rare events); He, Pan, Jin et al. 2014 (normalised entropy);
Chapelle 2014 (delayed feedback).

Simplified: industry waits for late reports or corrects for them, and learns v_k while training.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reclab.cascade.ranking.watch_time import WatchTime, tensor_nan_to
from reclab.core.errors import DataError
from reclab.core.tables import Logs, Table
from reclab.core.types import Array
from reclab.stores.forward_index import ForwardIndex

TARGETS = (
    "p_click", "p_long_view", "watch_sec", "p_like", "p_share", "p_follow", "p_purchase",
)  # fmt: skip
"""what may be learned, in the order of a model's outputs"""
FREQUENT = TARGETS[:3]
RARE = TARGETS[3:]
WATCH = "watch_sec"
AD = 3
"""the code of ads in ``items.business``: their revenue is not the user's purchase"""
REPORT = {"p_click": 0, "p_long_view": 0, WATCH: 1, "p_like": 2, "p_share": 4, "p_follow": 6}
"""the kind of report that brings a target (codes of the feedback table)"""
PAID = 7
ENDS = (1e-5, 1 - 1e-5)
"""base rates are held within these, so that their log odds are finite"""


def known_targets(
    logs: Logs, rows: Array, index: ForwardIndex, until_ms: int | None = None
) -> dict[str, Array]:
    """Targets that the logs have, (n,) float32 each, of the interactions at ``rows``, as known at
    ``until_ms`` (None = when all is known); NaN = unknown.

    A target whose column is absent is left out. Likes that stand in for clicks (logs without
    clicks) are not a target of their own.
    """
    log = logs.interactions.take(rows)
    told = {"p_click": Logs(Table(), Table(), log).positive}
    for name, column in (("p_long_view", "is_long_view"), (WATCH, "watch_sec")):
        if column in log:
            told[name] = log[column]
    if "is_click" in log:
        told |= {f"p_{k}": log[f"is_{k}"] for k in ("like", "share", "follow") if f"is_{k}" in log}
    if "pay_amount" in log:
        told["p_purchase"] = log["pay_amount"] > 0
        if "business" in index:
            business = index.get(index.rows(log["video_id"]), ["business"])["business"]
            told["p_purchase"] = told["p_purchase"] & (business != AD)
    found = {name: np.array(values, np.float32) for name, values in told.items()}
    for kind, late in _unreported(logs, log, until_ms).items():
        for name in found:
            if REPORT.get(name, PAID) == kind:
                found[name][late] = np.nan if name == WATCH else 0.0
    return found


def _unreported(logs: Logs, log: Table, until_ms: int | None) -> dict[int, Array]:
    """By kind of report: positions in ``log`` whose report came at ``until_ms`` or later."""
    reports = logs.feedback
    if until_ms is None or "report_ms" not in reports or "req_id" not in log:
        return {}
    late = np.flatnonzero(reports["report_ms"] >= until_ms)
    req, rows = reports["req_id"][late], np.arange(len(log))
    mine = np.isin(req, log["req_id"])
    late, req = late[mine], req[mine]
    rows = rows[np.isin(log["req_id"], req)]
    video, kind = reports["video_id"][late], reports["kind"][late]
    row_of = {(r, v): at for r, v, at in zip(
        log["req_id"][rows].tolist(), log["video_id"][rows].tolist(), rows.tolist(), strict=True
    )}  # fmt: skip
    at = [row_of.get(pair, -1) for pair in zip(req.tolist(), video.tolist(), strict=True)]
    place = np.array(at, np.int64)
    return {int(k): place[(kind == k) & (place >= 0)] for k in np.unique(kind)}


def main_target(names: Iterable[str]) -> str:
    """What a model is validated on: the long view where it is learned, else the click, else the
    first."""
    names = tuple(names)
    first = next(iter(names), "p_click")
    return next((name for name in ("p_long_view", "p_click") if name in names), first)


def teachable(
    wanted: Iterable[str], targets: Mapping[str, Array], keep: str
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The ``wanted`` targets that rows can teach, and why each other one cannot: its column is
    absent, or its labels are unknown or all alike. ``keep`` is held in any case.

    Raises ``DataError`` for a label that is infinite or no probability."""
    chosen, left_out = [], {}
    for name in wanted:
        if name not in targets:
            left_out[name] = "not in the logs"
            continue
        values = targets[name]
        known = values[~np.isnan(values)]
        low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
        if not np.isfinite(high) or low < 0 or (name != WATCH and high > 1):
            good = "seconds >= 0" if name == WATCH else "0 … 1"
            raise DataError(f"training target {name} must be {good}, got {low:g} … {high:g}")
        if low == high and name != keep:
            left_out[name] = f"all labels are {low:g}" if len(known) else "all labels are unknown"
        else:
            chosen.append(name)
    return tuple(chosen), left_out


@dataclass(frozen=True)
class Objective:
    """The loss of a model's outputs (n, T) for the targets ``names``.

    ``weight`` v_k (1 where absent), ``start`` b_k (0 where absent), ``watch`` how seconds are
    learned (None without them)."""

    names: tuple[str, ...]
    weight: dict[str, float] = field(default_factory=dict)
    start: dict[str, float] = field(default_factory=dict)
    watch: WatchTime | None = None

    @classmethod
    def learn(
        cls,
        names: tuple[str, ...],
        targets: Mapping[str, Array],
        row_weight: Array,
        duration_sec: Array,
        rare_weight: float,
        watch: str,
        watch_groups: int = 20,
    ) -> "Objective":
        """From training rows: base rates, entropies and the groups of the watch time."""
        rates = {name: _rate(targets[name], row_weight) for name in names if name != WATCH}
        start = {name: float(np.log(p / (1 - p))) for name, p in rates.items()}
        main = _entropy(rates[main_target(rates)]) if rates else 1.0
        weight = {name: (main / _entropy(p)) ** rare_weight for name, p in rates.items()}
        scale = None
        if WATCH in names:
            scale = WatchTime.learn(watch, targets[WATCH], duration_sec, watch_groups)
            start[WATCH] = scale.start(scale.encode(targets[WATCH], duration_sec))
        return cls(names, weight, start, scale)

    def encode(self, targets: Mapping[str, Array], duration_sec: Array) -> dict[str, Array]:
        """The learned targets only, seconds as the network learns them."""
        found = {name: targets[name] for name in self.names}
        if self.watch:
            found[WATCH] = self.watch.encode(found[WATCH], duration_sec)
        return found

    def __call__(self, out: Tensor, encoded: Mapping[str, Array], row_weight: Array) -> Tensor:
        """Mean weighted loss; an unknown target (NaN) adds nothing."""
        w = torch.from_numpy(row_weight)
        total = out.new_zeros(())
        for column, name in enumerate(self.names):
            target, known = tensor_nan_to(encoded[name], 0.0)
            logit = out[:, column]
            if name == WATCH and self.watch:
                loss = self.watch.loss(logit, target)
            else:
                loss = F.binary_cross_entropy_with_logits(logit, target, reduction="none")
            total = total + self.weight.get(name, 1.0) * (loss * known * w).sum() / len(w)
        return total

    def decode(self, out: Array, duration_sec: Array) -> dict[str, Array]:
        """Outputs (n, T) -> predictions (n,) float32 by target."""
        found = {}
        for column, name in enumerate(self.names):
            if name == WATCH and self.watch:
                found[name] = self.watch.decode(out[:, column], duration_sec)
            else:
                odds = np.exp(-np.clip(out[:, column], -30, 30))
                found[name] = (1.0 / (1.0 + odds)).astype(np.float32)
        return found


def _rate(label: Array, weight: Array) -> float:
    known = ~np.isnan(label)
    rate = np.average(label[known], weights=weight[known]) if weight[known].sum() > 0 else 0.5
    return float(np.clip(rate, *ENDS))


def _entropy(rate: float) -> float:
    return float(-rate * np.log(rate) - (1 - rate) * np.log(1 - rate))
