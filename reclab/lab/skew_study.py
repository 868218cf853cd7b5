"""Train/serve skew (训练与服务偏差): features as they were served against those that a log gives.

    served_L(q) = what a store knew at t_q - L; an interaction enters it when its reports arrived
    from log(q) = every interaction before t_q, with feedback that had not been reported yet
    PSI = sum_b (p_b - q_b) ln(p_b / q_b) over tenths of the log's values
A ranker trained on features from the log and served with others, beside one trained on what was
served (features logged). Labels are the same for both. Factors and codes come from the same fit.
Reference: Sculley et al. 2015 (NIPS, data dependencies); Siddiqi 2005 (PSI).

Simplified: one lag for all stores; industry has a lag a feature, and time-outs that read blanks.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from reclab.cascade.ranking.din import DIN, DINConfig
from reclab.cascade.ranking.features import FeatureBuilder, Features
from reclab.cascade.ranking.past import Counts, Events, Past, Spans
from reclab.cascade.ranking.statistics import PAIR, REQUEST
from reclab.cascade.ranking.training import Samples, TrainConfig, samples_of
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import DataError, check_int
from reclab.core.metrics import auc, log_loss
from reclab.core.tables import Logs
from reclab.core.types import Array
from reclab.lab.kept import kept
from reclab.lab.lab import Lab, Progress, progress_bar, train_until
from reclab.offline_online.join.records import KINDS
from reclab.stores.as_of import Timeline

MINUTE_MS = 60_000
LAGS_MS = (0, MINUTE_MS, 10 * MINUTE_MS, HOUR_MS, DAY_MS)
NEEDED = tuple(KINDS.index(kind) for kind in ("click", "watch"))  # what completes an interaction
ROWS = {"tiny": (16_000, 8_000), "laptop": (40_000, 30_000)}
FEATURES = (*REQUEST, *PAIR, "history")
TARGET = "p_click"


@dataclass(frozen=True)
class Skew:
    """By lag (k,) and feature (f,): share of unequal values, shift of the mean in standard
    deviations, PSI (the history's is of its length). ``auc_offline``, ``loss_offline``: trained
    and judged on features from the log; (k,) ``auc_log``: trained on those but served with lagged
    ones; ``auc_logged``: trained on lagged ones, as logged when served."""

    lags_ms: tuple[int, ...]
    features: tuple[str, ...]
    unequal: Array
    shift: Array
    psi: Array
    auc_offline: float
    loss_offline: float
    auc_log: Array
    loss_log: Array
    auc_logged: Array
    loss_logged: Array
    rows: int

    def table(self) -> str:
        """A line a lag: how far features are off, and what it costs the ranker."""
        titles = f"{'worst shift':>28}{'worst PSI':>28}{'AUC from log':>14}{'logged':>8}"
        lines = [f"{'lag':>7}{'unequal':>9}{titles}{'loss from log':>15}{'logged':>8}"]
        for k, lag in enumerate(self.lags_ms):
            far, psi = int(np.abs(self.shift[k]).argmax()), int(self.psi[k].argmax())
            worst = f"{self.features[far]} {self.shift[k, far]:+.2f}"
            drift = f"{self.features[psi]} {self.psi[k, psi]:.2f}"
            lines.append(
                f"{lag_name(lag):>7}{self.unequal[k].mean():9.1%}{worst:>28}{drift:>28}"
                f"{self.auc_log[k]:14.4f}{self.auc_logged[k]:8.4f}"
                f"{self.loss_log[k]:15.4f}{self.loss_logged[k]:8.4f}"
            )
        lines.append(f"offline, features from the log on both sides: AUC {self.auc_offline:.4f}, "
                     f"loss {self.loss_offline:.4f}; {self.rows:,} rows judged")  # fmt: skip
        return "\n".join(lines)


def lag_name(lag_ms: int) -> str:
    """0, 10 min, 1 h, 1 d."""
    for unit, name in ((DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "min"), (1000, "s")):
        if lag_ms and lag_ms % unit == 0:
            return f"{lag_ms // unit} {name}"
    return f"{lag_ms} ms" if lag_ms else "0"


class LaggedPast(Past):
    """A past that is read as it was ``lag_ms`` before the time asked for."""

    @classmethod
    def behind(cls, past: Past, lag_ms: int) -> Self:
        """The same events, read later."""
        lagged = cls(0)
        lagged.__dict__.update(past.__dict__)
        lagged.lag_ms = lag_ms
        return lagged

    lag_ms = 0

    def item(self, item_row: Array, time_ms: Array) -> Counts:
        """As of ``lag_ms`` ago."""
        return super().item(item_row, time_ms - self.lag_ms)

    def author(self, author_row: Array, time_ms: Array) -> Counts:
        """As of ``lag_ms`` ago."""
        return super().author(author_row, time_ms - self.lag_ms)

    def spans(self, user_row: Array, time_ms: Array, since_ms: Array) -> Spans:
        """The session still begins at ``since_ms``: what of it had arrived ``lag_ms`` ago."""
        found = super().spans(user_row, time_ms - self.lag_ms, since_ms)
        return found._replace(since=np.minimum(found.since, found.stop))

    def latest(self, user_row: Array, time_ms: Array, n: int) -> Events:
        """As of ``lag_ms`` ago."""
        return super().latest(user_row, time_ms - self.lag_ms, n)


@dataclass(frozen=True)
class Served:
    """The stores of serving: interactions (``past``) and positives of users by the time when they
    became known; ``builder`` makes features of them as of any lag."""

    builder: FeatureBuilder
    past: Past
    positives: Timeline

    @staticmethod
    def of(logs: Logs, builder: FeatureBuilder, known_ms: Array) -> "Served":
        """From the log and the time when each interaction (n,) became known."""
        log = logs.interactions
        columns = {name: log[name] for name in ("user_id", "video_id")}
        user, item = builder.users.rows(columns["user_id"]), builder.index.rows(columns["video_id"])
        good = np.flatnonzero((user >= 0) & (item >= 0))
        user, item, when = user[good], item[good], known_ms[good]
        positive = logs.positive[good].astype(np.float32)
        long = log["is_long_view"][good].astype(np.float32) if "is_long_view" in log else positive
        author = builder.statistics.catalogue.author_row[item]
        past, line = Past(len(builder.users)), Timeline(len(builder.users))
        past.append(user, item, author, when, positive, long)
        liked = positive > 0
        line.append(user[liked], when[liked], item[liked])
        return Served(builder, past, line)

    def features(self, asked: Features, user: Array, time_ms: Array, network: Array,
                 lag_ms: int) -> Features:  # fmt: skip
        """Features of the requests and candidates of ``asked``, as served with this lag."""
        mine, statistics = copy.copy(self.builder), copy.copy(self.builder.statistics)
        statistics.past, statistics._tables = LaggedPast.behind(self.past, lag_ms), {}
        mine.statistics = statistics
        stop = self.positives.stops(user, time_ms - lag_ms)
        slot = stop[:, None] + np.arange(-mine.config.history, 0)
        inside = slot >= self.positives.starts[user][:, None]
        history = np.where(inside, self.positives.carried[slot * inside], -1).astype(np.int64)
        return mine.build(user, time_ms, network, asked.request_row, asked.item_row, history)


def known_times(logs: Logs, since_ms: int) -> Array:
    """(n,) when each interaction was complete: its last report of NEEDED. Those reported before
    ``since_ms`` keep the time of the request. Raises ``DataError`` without reports."""
    log, told = logs.interactions, logs.feedback
    if "report_ms" not in told or "req_id" not in log:
        raise DataError("the skew study needs late reports and the requests they belong to")
    known = log["time_ms"].astype(np.int64)
    late = np.flatnonzero((told["report_ms"] >= since_ms) & np.isin(told["kind"], NEEDED))
    req, video, when = (told[name][late] for name in ("req_id", "video_id", "report_ms"))
    width = int(logs.items["video_id"].max()) + 1
    rows = np.flatnonzero(np.isin(log["req_id"], np.unique(req)))
    pair = log["req_id"][rows] * width + log["video_id"][rows]
    order = np.argsort(pair, kind="stable")
    at = pair[order].searchsorted(req * width + video).clip(max=max(len(order) - 1, 0))
    same = pair[order][at] == req * width + video
    np.maximum.at(known, rows[order][at[same]], when[same])
    return known


def psi(expected: Array, actual: Array, bins: int = 10) -> float:
    """Population stability index of two samples; 0 for like ones, > 0.25 counts as a shift."""
    edges = np.unique(np.quantile(expected, np.linspace(0, 1, bins + 1)[1:-1]))
    p, q = (np.bincount(edges.searchsorted(x, "right"), minlength=len(edges) + 1) / len(x)
            for x in (expected, actual))  # fmt: skip
    p, q = np.maximum(p, 1e-4), np.maximum(q, 1e-4)
    return float(((p - q) * np.log(p / q)).sum())


def compare(log: Features, served: Features, names: Sequence[str]) -> tuple[Array, Array, Array]:
    """(f,) share of unequal values, shift in standard deviations and PSI of FEATURES; ``names``
    of the request's numbers."""
    columns = [names.index(name) for name in REQUEST]
    pairs = [(log.request[:, c], served.request[:, c]) for c in columns]
    pairs += [(log.pair[:, c], served.pair[:, c]) for c in range(len(PAIR))]
    rows = [((a != b).mean(), _shift(a, b), psi(a, b)) for a, b in pairs]
    length = [(f.history >= 0).sum(1) for f in (log, served)]
    unequal = (log.history != served.history).any(1).mean()
    rows.append((unequal, _shift(*length), psi(*length)))
    found = np.array(rows, np.float64).T
    return found[0], found[1], found[2]


def _shift(a: Array, b: Array) -> float:
    spread = float(np.std(a, dtype=np.float64))
    moved = float(np.mean(b, dtype=np.float64) - np.mean(a, dtype=np.float64))
    return moved / spread if spread > 1e-9 else 0.0


@dataclass(frozen=True)
class Part:
    """Rows of some requests from the log, and who asked when: what ``Served.features`` needs."""

    samples: Samples
    user: Array
    time_ms: Array
    network: Array


def _part(lab: Lab, rows: Array, config: TrainConfig) -> Part:
    """The requests of the interactions at ``rows``, in the order in which samples have them."""
    builder, log = lab.trained.parts.features, lab.logs.interactions
    columns = {name: log[name][rows] for name in ("video_id", "user_id", "time_ms", "network")}
    known = builder.index.rows(columns["video_id"]) >= 0
    user, time_ms = builder.users.rows(columns["user_id"][known]), columns["time_ms"][known]
    order = np.lexsort((user, time_ms))
    user, time_ms, network = user[order], time_ms[order], columns["network"][known][order]
    new = np.ones(len(order), bool)
    new[1:] = (user[1:] != user[:-1]) | (time_ms[1:] != time_ms[:-1])
    samples = samples_of(lab.logs, builder, config, rows)
    return Part(samples, user[new], time_ms[new], network[new])


def skew(lab: Lab, lags_ms: Sequence[int] = LAGS_MS, progress: bool | Progress = True) -> Skew:
    """The study on the lab's log, computed once for its models and kept: about 20 s on laptop."""
    for lag in lags_ms:
        check_int("skew.lags_ms", lag, 0, 30 * DAY_MS, "0-86400000")
    name = "skew" if tuple(lags_ms) == LAGS_MS else f"skew-{'-'.join(map(str, lags_ms))}"

    def compute() -> dict[str, Skew]:
        with progress_bar("train/serve skew", progress) as say:
            return {"skew": _study(lab, tuple(lags_ms), say)}

    return kept(lab, name, Skew, compute)["skew"]


def _study(lab: Lab, lags_ms: tuple[int, ...], say: Progress) -> Skew:
    n_learn, n_judged = ROWS.get(lab.scale, ROWS["laptop"])
    config = TrainConfig(epochs=1, batch_rows=512, max_rows=n_learn, negatives="exposed")
    when, cut = lab.logs.interactions["time_ms"], train_until(lab)
    first = int(np.searchsorted(when, cut))
    learn = _part(lab, np.arange(max(0, first - n_learn), first), config)
    judged = _part(lab, np.arange(first, min(len(when), first + n_judged)), config)
    builder = lab.trained.parts.features
    say(0.1, "when each interaction was known")
    known = known_times(lab.logs, int(learn.time_ms.min()) - DAY_MS)
    served = Served.of(lab.logs, builder, known)
    say(0.3, "a ranker on features from the log")
    ranker = DIN(DINConfig(train=config)).fit_samples(learn.samples, builder)
    label = judged.samples.targets[TARGET] > 0.5

    def judge(model: DIN, features: Features) -> tuple[float, float]:
        told = model.score_features(features)[TARGET]
        return auc(label, told), log_loss(label, told)

    columns: list[tuple[Array, Array, Array]] = []
    scores: list[tuple[float, float, float, float]] = []
    for k, lag in enumerate(lags_ms):
        say(0.4 + 0.6 * k / len(lags_ms), f"lag {lag_name(lag)}")
        lagged = [
            served.features(p.samples.features, p.user, p.time_ms, p.network, lag)
            for p in (learn, judged)
        ]
        columns.append(compare(judged.samples.features, lagged[1], builder.names["request"]))
        logged = replace(learn.samples, features=lagged[0])
        other = DIN(DINConfig(train=config)).fit_samples(logged, builder)
        scores.append((*judge(ranker, lagged[1]), *judge(other, lagged[1])))
    unequal, shift, drift = (np.array(part) for part in zip(*columns, strict=True))
    auc_log, loss_log, auc_logged, loss_logged = np.array(scores).T
    offline = judge(ranker, judged.samples.features)
    return Skew(lags_ms, FEATURES, unequal, shift, drift, *offline, auc_log, loss_log,
                auc_logged, loss_logged, len(label))  # fmt: skip
