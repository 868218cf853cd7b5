"""Drifting days: two days of samples as the sample join gives them, with a drift and a bad hour.

    noon of the first day   tastes change (relived.py), and the change stays
    a bad hour              the app version of most users loses its reports of clicks

What is learned are the labels as they stand when the window of 20 minutes closes; what is judged is
P(click), which the world knows. The bad hour is kept beside the good one, row by row, so its damage
is a difference of two runs and not of two days.
Reference: chapter 2.3.1; Widmer and Kubat 1996 (concept drift).

Simplified: the counters that features read miss no report, late or lost; codes and factors of the
features stay those of the cut.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from reclab.cascade.ranking.features import FeatureBuilder
from reclab.cascade.ranking.training import Samples, TrainConfig, samples_of
from reclab.core.chance import rng
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import check_float, check_int
from reclab.core.tables import Logs, Table
from reclab.core.types import Array
from reclab.lab.lab import Lab
from reclab.lab.relived import DriftConfig, Relived, relive
from reclab.offline_online.join.batch_join import batch_join
from reclab.offline_online.join.records import KINDS
from reclab.offline_online.join.sample_join import SampleJoinConfig
from reclab.offline_online.join.window import FixedWindow
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.user_features import UserFeatures
from reclab.world.behaviour import LONG_VIEW_SEC
from reclab.world.records import feedback

DAYS = 2
CLICK, WATCH = 1 << KINDS.index("click"), 1 << KINDS.index("watch")
EXPOSED = TrainConfig(negatives="exposed", max_rows=10**8)
RULE = FixedWindow()


@dataclass(frozen=True)
class DaysConfig:
    """What the study looks at, and when something happens, in hours after the cut."""

    users: float = 0.4
    """share of the platform's users (0.05 … 1)"""
    history_days: int = 10
    """days before the cut that are learned from (2 … 20)"""
    drift: DriftConfig = field(default_factory=DriftConfig)
    """how tastes change"""
    drift_hour: int = 12
    """when they do (1 … 47)"""
    bad_hour: int = 20
    """when clicks begin to be lost (1 … 47)"""
    bad_hours: int = 1
    """for how long (0 … 12)"""
    seed: int = 0
    """of users, moods, clicks and delays"""

    def __post_init__(self) -> None:
        check_float("DaysConfig.users", self.users, 0.001, 1.0, "0.4")
        check_int("DaysConfig.history_days", self.history_days, 1, 365, "10")
        check_int("DaysConfig.drift_hour", self.drift_hour, 0, 24 * DAYS, "12")
        check_int("DaysConfig.bad_hour", self.bad_hour, 0, 24 * DAYS, "20")
        check_int("DaysConfig.bad_hours", self.bad_hours, 0, 24 * DAYS, "1")


@dataclass(frozen=True)
class DriftingDays:
    """``past`` samples before the cut and ``past_ms`` their requests' times; ``now`` (n rows) those
    of the two days in order of requests (m), and ``bad`` the same rows with the bad hour's labels;
    ``time_ms`` (m,) of requests; ``p_click`` (n,) the truth; ``changed`` (n,) bool: rows of users
    whose tastes change; ``lost`` (n,) bool: rows whose click was lost; ``join_rate``: share of
    clicks that came in time."""

    features: FeatureBuilder
    cut_ms: int
    past: Samples
    past_ms: Array
    now: Samples
    bad: Samples
    time_ms: Array
    p_click: Array
    changed: Array
    lost: Array
    join_rate: float


def drifting_days(lab: Lab, config: DaysConfig | None = None) -> DriftingDays:
    """Live the lab's last two days again. Raises ``DataError`` on real logs."""
    config = config or DaysConfig()
    truth, logs = lab.world.truth, lab.logs
    cut_ms = (lab.world.config.days - DAYS) * DAY_MS
    early, late = _rows(logs, cut_ms, config)
    drift_ms = cut_ms + config.drift_hour * HOUR_MS
    lived = relive(truth, logs, late, drift_ms, config.drift, config.seed)
    both = {name: np.concatenate([early[name], lived.shown[name]]) for name in early}
    seen = replace(logs, interactions=Table(both))
    features = FeatureBuilder().fit(
        seen, ForwardIndex(logs.items), UserFeatures.build(seen), cut_ms
    )
    past = samples_of(seen, features, EXPOSED, np.arange(len(early)))
    joined, rate = _joined(lived, truth.duration_sec, logs, config.seed)
    told = replace(logs, interactions=joined)
    now = samples_of(told, features, EXPOSED, np.arange(len(joined)))
    affected = _affected(logs, joined, cut_ms, config)
    bad = {name: v.copy() for name, v in now.targets.items()}
    for name in ("p_click", "p_long_view"):
        bad[name][affected] = 0.0
    return DriftingDays(
        features, cut_ms, past, _request_ms(early), now, replace(now, targets=bad),
        _request_ms(joined), lived.p_click.astype(np.float32), lived.changed,
        affected & joined["is_click"], rate,
    )  # fmt: skip


def _rows(logs: Logs, cut_ms: int, config: DaysConfig) -> tuple[Table, Table]:
    """Impressions of the studied users before the cut and after it."""
    shown, users = logs.interactions, np.unique(logs.users["user_id"])
    some = users[rng(config.seed, "studied users").random(len(users)) < config.users]
    mine = np.isin(shown["user_id"], some)
    when = shown["time_ms"]
    mine &= when >= cut_ms - config.history_days * DAY_MS
    return shown.take(mine & (when < cut_ms)), shown.take(mine & (when >= cut_ms))


def _request_ms(shown: Table) -> Array:
    """(m,) times of requests, in the order of ``samples_of``."""
    order = np.lexsort((shown["user_id"], shown["time_ms"]))
    who, when = shown["user_id"][order], shown["time_ms"][order]
    new = np.append(True, (who[1:] != who[:-1]) | (when[1:] != when[:-1]))
    return np.asarray(when[new])


def _joined(lived: Relived, duration: Array, logs: Logs, seed: int) -> tuple[Table, float]:
    """The impressions with the labels of the sample join instead of what happened, and the share of
    clicks that it caught."""
    shown, n = lived.shown, len(lived.shown)
    start = np.lexsort((shown["position"], shown["req_id"]))
    none = np.zeros(n, bool)
    rows = dict.fromkeys(KINDS, none) | {"click": shown["is_click"], "seconds": shown["watch_sec"]}
    rows |= {"pay": np.zeros(n, np.float32), "before_sec": _before(shown, start)}
    told = feedback(rows, shown, rng(seed, "reports again"))
    told = told.with_columns(event_id=np.arange(len(told)))
    samples = batch_join(shown, told, RULE, SampleJoinConfig(carry=()))
    # the join answers by request and item; its rows are brought into the order of ours
    back = np.empty(n, np.int64)
    back[np.lexsort((shown["video_id"], shown["req_id"]))] = np.arange(n)
    labels, seconds = samples["labels"][back], samples["watch_sec"][back]
    item = np.searchsorted(logs.items["video_id"], shown["video_id"])
    known, click = labels & WATCH > 0, labels & CLICK > 0
    long = click & known & (seconds >= np.minimum(duration[item], LONG_VIEW_SEC))
    columns = {"is_click": click, "is_long_view": long}
    columns["watch_sec"] = np.where(known, seconds, np.nan).astype(np.float32)
    rate = float((click & shown["is_click"]).sum() / max(1, shown["is_click"].sum()))
    return shown.with_columns(**columns), rate


def _before(shown: Table, order: Array) -> Array:
    """(n,) seconds watched on the same page before each row; ``order`` by request and position."""
    req, seconds = shown["req_id"][order], shown["watch_sec"][order].astype(np.float64)
    total = np.cumsum(seconds) - seconds
    first = np.searchsorted(req, req)
    before = np.empty(len(order), np.float32)
    before[order] = total - total[first]
    return before


def _affected(logs: Logs, joined: Table, cut_ms: int, config: DaysConfig) -> Array:
    """(n,) bool: impressions whose click reports are lost: of one app version, for some hours."""
    ids = logs.users["user_id"]
    versions, which = np.unique(logs.users["app_version"], return_inverse=True)
    worst = np.bincount(which, minlength=len(versions)).argmax()
    hit = np.isin(joined["user_id"], ids[which == worst])
    begin = cut_ms + config.bad_hour * HOUR_MS
    when = joined["time_ms"]
    return np.asarray(hit & (when >= begin) & (when < begin + config.bad_hours * HOUR_MS))
