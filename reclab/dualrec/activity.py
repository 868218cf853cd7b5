"""Activity prediction (活跃度预测): who will come within the next hour or day, as of any time.

    p_h(u, t) = isotonic(sigma(trees(what the visit log knew of u before t, hour of t)))
    again(u, t) = the same for "a page of this session follows within the hour"

One set of trees a horizon, learned from several moments of each past day, and put right (校准) on
the day after the last of those. All answers that are learned from lie before ``until_ms``.
References: Chen et al. 2025 (DualRec: boosted trees on 30 days of activity, daily); Friedman 2001;
Zadrozny and Elkan 2002 (isotonic calibration).

Simplified: learned once a day here; industry refreshes the session's part with every page.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reclab.cascade.ranking.calibration import FEWEST, Curve, isotonic
from reclab.core.chance import rng
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import DataError, NotBuilt, check, check_float, check_int
from reclab.core.types import Array
from reclab.dualrec.trees import Trees
from reclab.dualrec.visit_log import VisitLog
from reclab.stores.arrays import Arrays, save_arrays

AGAIN = 0
"""the "horizon" of the model that says whether a session goes on"""
AGAIN_MS = HOUR_MS
"""a session that rests longer is not waited for"""


@dataclass(frozen=True)
class ActivityConfig:
    """What is predicted, from how much."""

    horizons_ms: tuple[int, ...] = (HOUR_MS, DAY_MS)
    """how far ahead, one model each (a minute - 7 days, in ms)"""
    days: int = 10
    """days that the trees learn from (1-30); the one after them calibrates"""
    moments: int = 2
    """moments of each day and user: midnight, the rest drawn (1-24)"""
    most_rows: int = 40_000
    """rows that one model learns from at most (1000-10 million)"""
    trees: int = 80
    """(10-1000)"""
    leaves: int = 6
    """of a tree (2-255)"""
    rate: float = 0.08
    """learning rate (.01-.5)"""
    least: int = 200
    """rows of a leaf (1-1000)"""
    weekday: bool = False
    """whether the day of the week is a feature: needs weeks of log, and a world that has weeks"""
    seed: int = 0

    def __post_init__(self) -> None:
        check(bool(self.horizons_ms), "ActivityConfig.horizons_ms", self.horizons_ms,
              "name a horizon", "(3600000, 86400000)")  # fmt: skip
        for horizon in self.horizons_ms:
            check_int("ActivityConfig.horizons_ms", horizon, 60_000, 7 * DAY_MS, "86400000")
        check_int("ActivityConfig.days", self.days, 1, 30, "10")
        check_int("ActivityConfig.moments", self.moments, 1, 24, "2")
        check_int("ActivityConfig.most_rows", self.most_rows, 1000, 10_000_000, "40000")
        check_int("ActivityConfig.trees", self.trees, 1, 1000, "80")
        check_int("ActivityConfig.leaves", self.leaves, 2, 255, "6")
        check_float("ActivityConfig.rate", self.rate, 0.001, 1.0, "0.08")
        check_int("ActivityConfig.least", self.least, 1, 100_000, "200")


@dataclass(frozen=True)
class Rows:
    """Questions (n,) whose answers are known: ``user_row``, ``time_ms``, ``came``."""

    user_row: Array
    time_ms: Array
    came: Array

    def __len__(self) -> int:
        return len(self.user_row)


@dataclass(frozen=True)
class Model:
    """Trees and the curve that makes probabilities of what they say."""

    trees: Trees
    curve: Curve


class Activity:
    """``fit(until_ms)`` on the log's past, then ``predict`` as of any later time: the log may grow
    meanwhile. 5,000 users: learned in seconds, answered in a tenth of one."""

    def __init__(self, log: VisitLog, config: ActivityConfig | None = None) -> None:
        self.log, self.config = log, config or ActivityConfig()
        self.models: dict[int, Model] = {}

    # -- learn ------------------------------------------------------------------------------

    def fit(self, until_ms: int) -> "Activity":
        """Learn every horizon and the session from what happened before ``until_ms``. Raises
        ``DataError`` for an empty log, and for one that is too short or has only one answer."""
        if not len(self.log.pages):
            raise DataError("activity cannot be learned from an empty visit log (append pages)")
        for horizon in (*self.config.horizons_ms, AGAIN):
            self.models[horizon] = self._model(*self.questions(until_ms, horizon), horizon)
        return self

    def questions(self, until_ms: int, horizon_ms: int) -> tuple[Rows, Rows]:
        """What trees learn from, and what the curve does: the day after, apart by the horizon, so
        that no answer of the first lies in the time of the second."""
        ahead = horizon_ms or AGAIN_MS
        first = self.log.start_ms + DAY_MS  # the first day has no past
        last = (until_ms - ahead - DAY_MS, until_ms - ahead)
        span = (max(first, last[0] - ahead - self.config.days * DAY_MS), last[0] - ahead)
        if span[0] >= span[1]:
            need = 2 + (DAY_MS + 2 * ahead) // DAY_MS
            raise DataError(f"activity needs at least {need} days of log before until_ms for a "
                            f"horizon of {ahead / HOUR_MS:g} h, got "
                            f"{(until_ms - self.log.start_ms) / DAY_MS:.1f}")  # fmt: skip
        return self._rows(*span, horizon_ms), self._rows(*last, horizon_ms)

    def _rows(self, start_ms: int, end_ms: int, horizon_ms: int) -> Rows:
        """Questions of ``start_ms <= t < end_ms``, thinned to the most that is learned from."""
        chance = rng(self.config.seed, "activity moments", horizon_ms, start_ms // 1000)
        if horizon_ms == AGAIN:
            row, when = self.log.moments(start_ms, end_ms - 1)  # they lie just behind the pages
        else:
            row, when = self._moments(start_ms, end_ms, chance)
        if len(row) > self.config.most_rows:
            some = np.sort(chance.choice(len(row), self.config.most_rows, replace=False))
            row, when = row[some], when[some]
        known = self.log.registered(row, when)
        row, when = row[known], when[known]
        if horizon_ms == AGAIN:
            return Rows(row, when, self.log.asks_again(row, when, AGAIN_MS))
        return Rows(row, when, self.log.came(row, when, when + horizon_ms))

    def _moments(
        self, start_ms: int, end_ms: int, chance: np.random.Generator
    ) -> tuple[Array, Array]:
        """For every user and day: its midnight, and moments drawn from it."""
        n, begins = len(self.log), np.arange(start_ms, end_ms, DAY_MS)
        shape = len(begins), n, self.config.moments
        after = chance.integers(0, DAY_MS, shape)
        after[:, :, 0] = -begins[:, None] % DAY_MS  # the first midnight from there on
        when = (begins[:, None, None] + after).reshape(-1)
        row = np.broadcast_to(np.arange(n)[:, None], shape).reshape(-1)
        return row[when < end_ms], when[when < end_ms]

    def _model(self, learned: Rows, later: Rows, horizon_ms: int) -> Model:
        c = self.config
        trees = Trees.fit(self._ask(learned, horizon_ms), learned.came, c.trees, c.leaves, c.rate,
                          c.least, c.seed)  # fmt: skip
        positives = int(later.came.sum())
        if min(positives, len(later) - positives) < FEWEST:
            raise DataError(f"the calibration day of activity has {positives} yes of {len(later)} "
                            f"(both answers must occur {FEWEST} times)")  # fmt: skip
        return Model(trees, isotonic(trees.predict(self._ask(later, horizon_ms)), later.came))

    def _ask(self, rows: Rows, horizon_ms: int) -> Array:
        return self.log.features(rows.user_row, rows.time_ms, horizon_ms, self.config.weekday)

    # -- ask --------------------------------------------------------------------------------

    def predict(self, user_row: Array, time_ms: Array | int, horizon_ms: int = DAY_MS) -> Array:
        """(n,) float32 P(the user asks for a page at ``time_ms <= t < time_ms + horizon_ms``), by
        what was known before ``time_ms``; 0 for who is not registered by then.

        Raises ``ConfigError`` for a horizon that was not learned, ``DataError`` for rows of nobody,
        ``NotBuilt`` before ``fit``.
        """
        good = self.config.horizons_ms
        check(horizon_ms in good, "horizon_ms", horizon_ms, f"be one of {good}", str(good[0]))
        return self._predict(user_row, time_ms, horizon_ms)

    def asks_again(self, user_row: Array, time_ms: Array | int) -> Array:
        """(n,) float32 P(a page of the last one's session follows within the hour)."""
        return self._predict(user_row, time_ms, AGAIN)

    def _predict(self, user_row: Array, time_ms: Array | int, horizon_ms: int) -> Array:
        if horizon_ms not in self.models:
            raise NotBuilt("Activity.predict before fit or load")
        row = self.log.check(user_row)
        model = self.models[horizon_ms]
        x = self.log.features(row, time_ms, horizon_ms, self.config.weekday)
        p = model.curve(model.trees.predict(x))
        return np.where(self.log.registered(row, time_ms), p, np.float32(0))

    def active(
        self,
        time_ms: int,
        horizon_ms: int = DAY_MS,
        threshold: float | None = 0.5,
        share: float | None = None,
    ) -> Array:
        """(n_users,) bool a_u: who has ``p >= threshold``; or with ``share`` the likeliest of the
        registered users, so many of them (ties go to the lower row)."""
        p = self.predict(np.arange(len(self.log)), time_ms, horizon_ms)
        if share is None:
            check(threshold is not None, "threshold", threshold, "be given without share", "0.5")
            check_float("threshold", threshold, 0.0, 1.0, "0.5")
            return np.asarray((p >= threshold) & (p > 0))
        check_float("share", share, 0.0, 1.0, "0.5")
        known = self.log.registered(np.arange(len(p)), time_ms)
        chosen = np.zeros(len(p), bool)
        order = np.argsort(-np.where(known, p, -1), kind="stable")
        chosen[order[: round(share * int(known.sum()))]] = True
        return chosen

    # -- keep -------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write a folder a horizon: trees and curve as plain arrays. The log is not saved."""
        if not self.models:
            raise NotBuilt("Activity.save before fit")
        for horizon, model in self.models.items():
            model.trees.save(folder / str(horizon))
            save_arrays(folder / str(horizon) / "curve", {"x": model.curve.x, "y": model.curve.y})
        kept = {"horizons_ms": self.config.horizons_ms, "weekday": self.config.weekday}
        (folder / "activity.json").write_text(json.dumps(kept), encoding="utf-8")

    @staticmethod
    def load(folder: Path, log: VisitLog, config: ActivityConfig | None = None) -> "Activity":
        """Read what ``save`` wrote, to answer from ``log``. Raises ``DataError`` naming the file
        that is damaged, or the setting that is another."""
        made = Activity(log, config)
        try:
            kept = json.loads((folder / "activity.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"cannot load the activity from {folder}: {error}") from error
        mine = {"horizons_ms": list(made.config.horizons_ms), "weekday": made.config.weekday}
        if kept != mine:
            raise DataError(f"the activity in {folder} was learned with {kept}, asked for {mine}")
        for horizon in (*made.config.horizons_ms, AGAIN):
            curve = Arrays(folder / str(horizon) / "curve")
            trees = Trees.load(folder / str(horizon))
            made.models[horizon] = Model(trees, Curve(curve["x"], curve["y"]))
        return made
