"""The monotone value network: steps that cannot be negative, so that more never predicts less.

    base    = w_0 x + v_0 relu(H x)
    step_k  = s_k softplus(w_k x + v_k relu(H x))          s_k the spread of the step in the log
    Q_j     = base + sum over k <= j of step_k + offset_j

Trained by torch in seconds, served by NumPy in microseconds. It begins at the mean of each step.
Reference: Sill, Monotonic networks, NeurIPS 1997, for monotony by construction.

Simplified: industry shares the lower layers with the pre-ranker, which has read the request
"""

import numpy as np
import torch
from torch import nn

from reclab.cascade.ranking.training import OneThread
from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.degradation_dcaf.value_model import Estimator, ExplorationLog, offsets


class ValueNet(nn.Module):
    """Linear part and a small network: (n, f) -> (n, m), the base, and m - 1 steps."""

    def __init__(self, f: int, m: int, hidden: int) -> None:
        super().__init__()
        self.line, self.hidden = nn.Linear(f, m), nn.Linear(f, hidden)
        self.out = nn.Linear(hidden, m, bias=False)
        nn.init.zeros_(self.line.weight)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.line(x) + self.out(torch.relu(self.hidden(x)))
        return out


class MonotoneValue(Estimator):
    """A small network whose steps cannot be negative; trained by torch, served by NumPy."""

    SERVED = ("w", "b", "out", "unit")

    def _fit_told(self, x: Array, told: Array) -> None:
        levels = np.concatenate([told[:, :1], np.diff(told, axis=1)], 1)
        self._train(x, levels.mean(0), levels.std(0), levels, None)

    def _fit_outcomes(self, x: Array, log: ExplorationLog) -> None:
        rows, m = log.explored, log.told.shape[1]
        y, action = log.outcome[rows], log.action[rows]
        mean = np.maximum.accumulate(offsets(y - y.mean(), action, m) + y.mean())
        first = np.append(mean[0], np.maximum(np.diff(mean), 1e-3 * abs(mean).max()))
        self._train(x[rows], first, np.append(y.std(), first[1:]), y, action)

    def _train(self, x: Array, mean: Array, spread: Array, y: Array, action: Array | None) -> None:
        """Least squares: of the base and each step in its own unit, or of the outcomes ``y`` (e,)
        of the ``action`` taken. Starts at the means."""
        c, n = self.config, len(x)
        chance = rng(c.seed, "value network")
        with OneThread():
            torch.manual_seed(int(chance.integers(1 << 31)))
            self.net = ValueNet(x.shape[1], len(mean), c.hidden)
            unit = np.maximum(spread, 1e-6)
            self._set_units(mean, unit)
            x_t, y_t = torch.from_numpy(x), torch.from_numpy(np.asarray(y, np.float32))
            a_t = None if action is None else torch.from_numpy(action.astype(np.int64))
            step = torch.optim.AdamW(self.net.parameters(), 3e-3, weight_decay=c.weight_decay)
            batches = max(1, n // 256)
            plan = torch.optim.lr_scheduler.OneCycleLR(step, 5e-3, c.epochs * batches)
            for _ in range(c.epochs):
                for rows in np.array_split(chance.permutation(n), batches):
                    parts = self._parts(self.net(x_t[rows]))
                    if a_t is None:
                        loss = (((parts - y_t[rows]) / self._unit_t) ** 2).mean()
                    else:
                        q = parts.cumsum(1).gather(1, a_t[rows, None])[:, 0]
                        loss = ((q - y_t[rows]) ** 2).mean()
                    step.zero_grad()
                    loss.backward()
                    step.step()
                    plan.step()

    def _set_units(self, mean: Array, unit: Array) -> None:
        """Outputs are in units of the spread, and start at the mean."""
        self._unit_t = torch.from_numpy(unit.astype(np.float32))
        at = mean / unit
        if self.config.monotone:
            at[1:] = np.log(np.expm1(np.maximum(at[1:], 1e-2)))
        with torch.no_grad():
            self.net.line.bias.copy_(torch.from_numpy(at))

    def _parts(self, out: torch.Tensor) -> torch.Tensor:
        """Base and steps, in the unit of the value."""
        if self.config.monotone:
            out = torch.cat([out[:, :1], nn.functional.softplus(out[:, 1:])], 1)
        return out * self._unit_t

    def _raw(self, x: Array) -> Array:
        with OneThread(), torch.inference_mode():
            parts = self._parts(self.net(torch.from_numpy(np.asarray(x, np.float32))))
        return parts.numpy().cumsum(1)

    def _ready(self) -> None:
        """The weights as plain arrays, with the scales of the context in them."""
        assert self.scale is not None
        held = {k: v.detach().numpy().astype(np.float64) for k, v in self.net.state_dict().items()}
        mean, spread = self.scale.mean.astype(np.float64), self.scale.spread[:, None]
        line, hidden = held["line.weight"].T / spread, held["hidden.weight"].T / spread
        both = np.concatenate([line, hidden], 1)
        bias = np.concatenate([held["line.bias"], held["hidden.bias"]]) - mean @ both
        self._w, self._b = both.astype(np.float32), bias.astype(np.float32)
        self._out = held["out.weight"].T.astype(np.float32)
        self._unit = self._unit_t.numpy()

    def _serve(self, x: Array) -> Array:
        first = x @ self._w + self._b
        m = len(self._unit)
        out = first[:, :m] + np.maximum(first[:, m:], 0) @ self._out
        if self.config.monotone:
            out[:, 1:] = np.logaddexp(0, out[:, 1:])
        out *= self._unit
        return out.cumsum(1, out=out) + self.offset
