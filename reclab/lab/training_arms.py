"""Training arms: one training mode taken through two days, step by step, with serving beside it.

At each step requests are answered by the version that serves, then the samples that closed in the
step reach the trainer, then a version may be published. Batch modes keep what closed and learn it
when their hour comes; what they publish serves once its training time has passed.

Simplified: requests of a step are scored together; nothing else competes for the machine.
"""

import time
from dataclasses import dataclass, field

import numpy as np

from reclab.cascade.ranking.ranker import Ranker
from reclab.cascade.ranking.training import Samples, TrainConfig
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.types import Array
from reclab.lab.drifting_days import RULE, DriftingDays
from reclab.offline_online.training.model_version import Guard, ModelVersion, Refused
from reclab.offline_online.training.trainer import Trainer, TrainerConfig
from reclab.offline_online.training.trainer_state import join_samples

MINUTE_MS = 60_000
Bases = dict[tuple[bool, int], tuple[ModelVersion, int, float]]


@dataclass(frozen=True)
class ArmConfig:
    """What an arm does and when. ``stream``: learn every step; ``hourly`` and ``daily``: how, None
    = not; ``window_h``: hours that the hourly batch learns; ``ready``: minutes until what the hour
    and the day learned serves; ``step_min``: minutes of a step; ``guard``: None = all serve."""

    stream: bool = False
    hourly: TrainConfig | None = None
    daily: TrainConfig | None = None
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    guard: Guard | None = None
    window_h: int = 3
    ready_min: tuple[int, int] = (10, 120)
    step_min: int = 20


class Arm:
    """``run(hours)`` goes on until then. ``p_click`` (n,): what served; ``panel`` (H, P): what the
    version at the end of each hour says of the panel's rows; ``cpu_s``; ``refused``."""

    def __init__(
        self, base: Ranker, days: DriftingDays, config: ArmConfig, panel: Samples, bases: Bases
    ) -> None:
        self.days, self.config, self.base, self._bases = days, config, base, bases
        self.samples, self.poisoned = days.now, False
        self.trainer = Trainer(base, config.trainer, config.guard)
        self._ranker = self.trainer.ranker  # what serves
        self._waiting: list[tuple[int, Ranker | ModelVersion]] = []  # from when on
        self._panel_rows = panel
        self.p_click = np.full(len(days.now), np.nan, np.float32)
        self.panel: list[Array] = []
        self.cpu_s, self.learned, self.refused, self.versions = 0.0, 0, 0, 0
        self._step = 0

    def fork(self) -> "Arm":
        """Another arm at the same point, whose samples will be those of the bad hour."""
        other = Arm(self.base, self.days, self.config, self._panel_rows, self._bases)
        other.samples, other.poisoned = self.days.bad, True
        other.trainer.restore(self.trainer.state())
        other._ranker, other._waiting = self._ranker, list(self._waiting)
        other.p_click, other.panel = self.p_click.copy(), list(self.panel)
        for name in ("cpu_s", "learned", "refused", "versions", "_step"):
            setattr(other, name, getattr(self, name))
        return other

    def run(self, hours: int) -> None:
        """Go on until so many hours after the cut."""
        per_hour = 60 // self.config.step_min
        while self._step < hours * per_hour:
            now = self.days.cut_ms + self._step * self.config.step_min * MINUTE_MS
            end = now + self.config.step_min * MINUTE_MS
            self._serve(now, end)
            began = time.process_time()
            self._train(now, end)
            self.cpu_s += time.process_time() - began
            self._step += 1
            if self._step % per_hour == 0:
                self.panel.append(self._ranker.score_features(self._panel_rows.features)["p_click"])

    def _requests(self, first_ms: int, stop_ms: int) -> slice:
        return slice(*np.searchsorted(self.days.time_ms, (first_ms, stop_ms)).tolist())

    def _serve(self, now: int, end: int) -> None:
        while self._waiting and self._waiting[0][0] <= now:
            self._take(self._waiting.pop(0)[1], now)
        some = self._requests(now, end)
        if some.start < some.stop:
            mine = self.samples.between(some.start, some.stop)
            rows = slice(*self.samples.features.starts[[some.start, some.stop]].tolist())
            self.p_click[rows] = self._ranker.score_features(mine.features)["p_click"]

    def _closed(self, first_ms: int, stop_ms: int) -> Samples | None:
        """Samples whose window closed between the two times."""
        some = self._requests(first_ms - RULE.max_wait_ms, stop_ms - RULE.max_wait_ms)
        return self.samples.between(some.start, some.stop) if some.start < some.stop else None

    # -- the modes ---------------------------------------------------------------------------

    def _train(self, now: int, end: int) -> None:
        c = self.config
        if c.stream:
            self._stream(now, end)
        if c.hourly and end % HOUR_MS == 0:
            self._hour(end, c.hourly)
        if c.daily and end % DAY_MS == 0 and end > self.days.cut_ms:
            self._day(end, c.daily)

    def _stream(self, now: int, end: int) -> None:
        if samples := self._closed(now, end):
            self._learn(samples, end)
            self._publish()

    def _learn(self, samples: Samples, end: int) -> None:
        before = self.trainer.count["passes"]
        self.trainer.learn(samples, end - RULE.max_wait_ms)
        self.learned += self.trainer.count["passes"] - before

    def _publish(self) -> None:
        told = self.trainer.publish()
        if isinstance(told, Refused):
            self.refused += 1
        else:
            self.versions += 1
            self._ranker = self.trainer.ranker

    def _hour(self, end: int, how: TrainConfig) -> None:
        if samples := self._closed(end - self.config.window_h * HOUR_MS, end):
            history = self.trainer.retrain(samples, end - RULE.max_wait_ms, how, warm=True)
            self.learned += history.rows * len(history.loss)
            self.trainer.publish()
            self.versions += 1
            self._waiting.append((end + self.config.ready_min[0] * MINUTE_MS, self.trainer.ranker))

    def _day(self, end: int, how: TrainConfig) -> None:
        """A cold training on the past and what has closed; shared by the arms that do the same,
        each of which is charged for it."""
        key = (self.poisoned, end)
        if key not in self._bases:
            began = time.process_time()
            trainer = Trainer(self.base, TrainerConfig(holdout_every=0))
            history = trainer.retrain(self._window(end), end - RULE.max_wait_ms, how)
            trainer.publish()
            spent = time.process_time() - began
            self._bases[key] = (trainer.serving, history.rows * len(history.loss), spent)
        else:
            self.cpu_s += self._bases[key][2]
        version, rows, _ = self._bases[key]
        self.learned += rows
        self._waiting.append((end + self.config.ready_min[1] * MINUTE_MS, version))

    def _window(self, end: int) -> Samples:
        """As many days as the base had, up to what has closed by now."""
        days = self.days
        closed = self._closed(days.cut_ms, end)
        first = int(np.searchsorted(days.past_ms, days.past_ms[0] + end - days.cut_ms))
        past = days.past.between(first, len(days.past_ms))
        return join_samples([past, closed]) if closed else past

    def _take(self, made: Ranker | ModelVersion, now: int) -> None:
        """What was trained in the background is ready."""
        if isinstance(made, Ranker):
            self._ranker = made
            return
        began = time.process_time()
        if isinstance(self.trainer.adopt(made), Refused):
            self.refused += 1
        else:
            self.versions += 1
            self._ranker = self.trainer.ranker
            missed = self._closed(made.trained_until_ms + RULE.max_wait_ms, now)
            if self.config.stream and missed:  # what has closed while it was trained
                self._learn(missed, now)
        self.cpu_s += time.process_time() - began
