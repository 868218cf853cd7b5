"""Training modes: streaming, hourly and daily batch, and a guarded stream on a daily base, side by
side on the same two days, samples, features and network.

    excess loss = mean KL( P(click) || p ),  P known by the world: what a model loses beyond chance
    damage      = excess loss of the run with the bad hour - of the run without
    jitter      = mean |p_h - p_(h-1)| on one panel of rows: versions an hour apart
    recovery    = hours from the drift until the excess loss stays within half of its jump

Freshness is what streaming buys, stability what it may cost; features that follow the user's own
events stay fresh in all modes, ``frozen`` included, so what differs is the age of the weights.
Reference: chapter 2.3.1; Gama et al. 2014 on learning under drift.

Simplified: labels cost the same wait in all modes; the batch modes' training takes a set time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from reclab.cascade.ranking.din import DIN, DINConfig
from reclab.cascade.ranking.ranker import Ranker
from reclab.cascade.ranking.training import TrainConfig
from reclab.core.clock import HOUR_MS
from reclab.core.errors import check_int
from reclab.core.types import Array
from reclab.lab.drifting_days import DAYS, DaysConfig, DriftingDays, drifting_days
from reclab.lab.kept import kept
from reclab.lab.lab import Lab, Progress, progress_bar
from reclab.lab.training_arms import Arm, ArmConfig, Bases
from reclab.offline_online.training.model_version import Guard, GuardConfig
from reclab.offline_online.training.trainer import TrainerConfig

MODES = ("frozen", "daily", "hourly", "streaming", "hybrid")


@dataclass(frozen=True)
class ModesConfig:
    """The modes' own settings."""

    days: DaysConfig = field(default_factory=lambda: DaysConfig(users=0.3, history_days=6))
    """what is lived through"""
    step_min: int = 20
    """minutes between two versions of the stream (1 … 60, a divisor of 60)"""
    cold: TrainConfig = field(default_factory=lambda: DINConfig().train)
    """the daily batch, and the base that all begin with"""
    hourly: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            epochs=1, batch_rows=512, learning_rate=1e-3, negatives="exposed"
        )
    )
    """the hourly batch: warm, on the latest hours"""
    hourly_window: int = 3
    """hours that it learns (1 … 24)"""
    hourly_ready_min: int = 10
    """minutes that it takes until it serves (0 … 60)"""
    daily_ready_min: int = 120
    """minutes that the daily batch takes until it serves (0 … 720)"""
    stream: TrainerConfig = field(
        default_factory=lambda: TrainerConfig(learning_rate=1e-3, holdout_every=0)
    )
    """the stream without a guard"""
    hybrid: TrainerConfig = field(
        default_factory=lambda: TrainerConfig(
            learning_rate=1e-3, holdout_every=5, holdout_requests=80
        )
    )
    """the guarded stream"""
    guard: GuardConfig = field(default_factory=lambda: GuardConfig(log_loss=0.02, min_rows=200))
    """its guard"""
    panel: int = 200
    """requests on whose rows versions are compared (20 … 2 000)"""

    def __post_init__(self) -> None:
        check_int("ModesConfig.step_min", self.step_min, 1, 60, "20")
        check_int("ModesConfig.hourly_window", self.hourly_window, 1, 24, "3")
        check_int("ModesConfig.hourly_ready_min", self.hourly_ready_min, 0, 60, "10")
        check_int("ModesConfig.daily_ready_min", self.daily_ready_min, 0, 720, "120")
        check_int("ModesConfig.panel", self.panel, 1, 10**6, "200")

    def arm(self, name: str) -> ArmConfig:
        """What a mode does."""
        ready = self.hourly_ready_min, self.daily_ready_min
        same = ArmConfig(
            trainer=self.stream,
            window_h=self.hourly_window,
            ready_min=ready,
            step_min=self.step_min,
        )
        kinds = {
            "frozen": same,
            "daily": replace(same, daily=self.cold),
            "hourly": replace(same, hourly=self.hourly),
            "streaming": replace(same, stream=True),
            "hybrid": replace(
                same, stream=True, daily=self.cold, trainer=self.hybrid, guard=Guard(self.guard)
            ),
        }
        return kinds[name]


@dataclass(frozen=True)
class TrainingModes:
    """M modes by hour (M, H): ``excess`` loss, ``auc`` and ``calibration`` (predicted over true
    clicks) without the bad hour, ``damage`` by it, ``jitter``. By mode (M,): ``recovery_h`` (NaN =
    not within the days), ``path`` and ``net``: how far scores moved in all, and from first to last;
    ``versions`` published, ``refused`` by the guard, ``refused_bad`` in the run with the bad hour;
    ``learned`` rows x epochs and ``cpu_s`` of learning and publishing. By hour (H,): ``rows`` and
    ``best_auc``, that of the world's own probabilities."""

    modes: tuple[str, ...]
    excess: Array
    auc: Array
    calibration: Array
    damage: Array
    jitter: Array
    recovery_h: Array
    path: Array
    net: Array
    versions: Array
    refused: Array
    refused_bad: Array
    learned: Array
    cpu_s: Array
    rows: Array
    best_auc: Array
    drift_hour: int
    bad_hour: int

    def mean(self, values: Array, first: int, stop: int) -> Array:
        """(M,) means by impression of hourly ``values`` (M, H) over hours ``first … stop - 1``."""
        weight = self.rows[first:stop] * ~np.isnan(values[:, first:stop])
        total = (np.nan_to_num(values[:, first:stop]) * weight).sum(1)
        return np.asarray(total / np.maximum(weight.sum(1), 1))

    def numbers(self) -> dict[str, Array]:
        """(M,) each: what the table shows."""
        d, b, last = self.drift_hour, self.bad_hour, len(self.rows)
        return {
            "loss before": self.mean(self.excess, 0, d),
            "8 h after": self.mean(self.excess, d, d + 8),
            "day 2": self.mean(self.excess, last // 2, last),
            "AUC day 2": self.mean(self.auc, last // 2, last),
            "recovery h": self.recovery_h,
            "damage 6 h": self.mean(self.damage, b, b + 6),
            "jitter": np.nan_to_num(np.nanmean(self.jitter, 1)),
            "path / net": self.path / np.maximum(self.net, 1e-9),
            "versions": self.versions,
            "refused": self.refused,
            "refused, bad": self.refused_bad,
            "rows learned": self.learned,
            "CPU s": self.cpu_s,
        }

    def table(self) -> list[tuple[str, ...]]:
        """A line a mode, under a line of headings."""
        numbers = self.numbers()
        rows: list[tuple[str, ...]] = [("mode", *numbers)]
        for i, name in enumerate(self.modes):
            rows.append((name, *(_text(head, float(v[i])) for head, v in numbers.items())))
        return rows


def _text(head: str, value: float) -> str:
    if np.isnan(value):
        return "never"
    if head in ("versions", "refused", "refused, bad", "rows learned", "recovery h"):
        return f"{value:,.0f}"
    return f"{value:.1f}" if head in ("CPU s", "path / net") else f"{value:.4f}"


def training_modes(
    lab: Lab, config: ModesConfig | None = None, progress: bool | Progress = True
) -> TrainingModes:
    """The study on a lab of the world; with the default settings computed once and kept beside the
    lab's models. Raises ``DataError`` on real logs."""

    def compute() -> dict[str, TrainingModes]:
        with progress_bar("training modes", progress) as say:
            say(0.0, "two days lived again")
            how = config or ModesConfig()
            return {"all": study(drifting_days(lab, how.days), how, say)}

    if config is not None:
        return compute()["all"]
    return kept(lab, "training-modes", TrainingModes, compute)["all"]


def study(
    days: DriftingDays,
    config: ModesConfig,
    say: Progress,
    modes: Sequence[str] = MODES,
    base: Ranker | None = None,
) -> TrainingModes:
    """The modes through the two days, with and without the bad hour; all begin with ``base``."""
    if base is None:
        say(0.1, "the base that all begin with")
        base = first_base(days, config)
    bases: Bases = {}
    panel = days.now.between(0, min(config.panel, len(days.time_ms)))
    good, bad = [], []
    for i, name in enumerate(modes):
        say(0.25 + 0.75 * i / len(modes), name)
        arm = Arm(base, days, config.arm(name), panel, bases)
        arm.run(config.days.bad_hour)
        other = arm.fork()
        for each in (arm, other):
            each.run(24 * DAYS)
        good.append(arm)
        bad.append(other)
    return _summary(days, config, tuple(modes), good, bad)


def first_base(days: DriftingDays, config: ModesConfig) -> Ranker:
    """The ranker, trained on the days before the cut."""
    return DIN(DINConfig(train=config.cold)).fit_samples(days.past, days.features)


def _summary(
    days: DriftingDays,
    config: ModesConfig,
    modes: tuple[str, ...],
    good: Sequence[Arm],
    bad: Sequence[Arm],
) -> TrainingModes:
    hour = (days.time_ms[days.now.features.request_row] - days.cut_ms) // HOUR_MS
    n = 24 * DAYS

    def hourly(of: Callable[[Array, Array], float], p: Array) -> Array:
        rows = [np.flatnonzero(hour == h) for h in range(n)]
        values = [of(days.p_click[r], p[r]) if len(r) else np.nan for r in rows]
        return np.array(values)

    excess, worse = (np.array([hourly(excess_loss, a.p_click) for a in arms])
                     for arms in (good, bad))  # fmt: skip
    panel = np.array([[a.panel[0], *a.panel] for a in good])
    moved = np.abs(np.diff(panel, axis=1)).mean(2)
    rows = np.bincount(hour, minlength=n)
    drift = config.days.drift_hour
    return TrainingModes(
        modes=modes,
        excess=excess,
        auc=np.array([hourly(expected_auc, a.p_click) for a in good]),
        calibration=np.array([hourly(lambda t, p: p.sum() / t.sum(), a.p_click) for a in good]),
        damage=worse - excess,
        jitter=moved,
        recovery_h=np.array([recovery_hours(x, rows, drift) for x in excess]),
        path=moved.sum(1),
        net=np.abs(panel[:, -1] - panel[:, 0]).mean(1),
        versions=np.array([a.versions for a in good]),
        refused=np.array([a.refused for a in good]),
        refused_bad=np.array([a.refused for a in bad]),
        learned=np.array([a.learned for a in good]),
        cpu_s=np.array([a.cpu_s for a in good]),
        rows=rows,
        best_auc=hourly(expected_auc, days.p_click),
        drift_hour=drift,
        bad_hour=config.days.bad_hour,
    )


def excess_loss(truth: Array, p: Array) -> float:
    """Mean KL divergence (nats) of predictions (n,) from the true probabilities (n,).

    >>> excess_loss(np.array([0.5]), np.array([0.5]))
    0.0
    """
    truth, p = (np.clip(np.asarray(x, np.float64), 1e-6, 1 - 1e-6) for x in (truth, p))
    return float((truth * np.log(truth / p) + (1 - truth) * np.log((1 - truth) / (1 - p))).mean())


def expected_auc(truth: Array, score: Array) -> float:
    """AUC of scores (n,) when labels are drawn with true probabilities (n,): each row counts as a
    positive by p and as a negative by 1 - p.

    >>> expected_auc(np.array([0.0, 1.0]), np.array([0.1, 0.9]))
    1.0
    """
    _, place = np.unique(score, return_inverse=True)
    truth = np.asarray(truth, np.float64)
    positive, negative = np.bincount(place, truth), np.bincount(place, 1 - truth)
    below = np.cumsum(negative) - negative
    pairs = positive.sum() * negative.sum()
    return float((positive * (below + 0.5 * negative)).sum() / pairs) if pairs else float("nan")


def recovery_hours(excess: Array, rows: Array, drift_hour: int, span: int = 3) -> float:
    """Hours from the drift until the excess loss (H,), as a mean over ``span`` hours, has come back
    half of the way from its first hours after the drift to its level before; NaN = not at all."""

    def level(first: int) -> float:
        some = slice(max(first, 0), first + span)
        return float(np.average(np.nan_to_num(excess[some]), weights=rows[some] + 1e-9))

    before = float(np.average(np.nan_to_num(excess[:drift_hour]), weights=rows[:drift_hour] + 1e-9))
    half = before + 0.5 * (level(drift_hour) - before)
    for first in range(drift_hour + 1, len(excess) - span + 1):
        if level(first) <= half:
            return float(first - drift_hour)
    return float("nan")
