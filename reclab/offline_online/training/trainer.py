"""Trainer (训练): one ranker that goes on learning, from the sample stream or from a batch.

    streaming:  w <- Adam(w, grad L(next batch in order of arrival))       learn(samples)
    batch:      w <- argmin over a window, shuffled, from w (warm) or anew (cold)   retrain(samples)
    publish:    an immutable version, unless the guard refuses it

Every ``holdout_every``-th request is never learned from in the stream: the newest of them tell
whether a version may serve. Batches are cut from the stream by count, so how samples were handed
over does not matter: the same samples in the same order give the same weights.
Reference: chapter 2.3.1 (streaming against batch training); Kingma and Ba 2015 (Adam).

Simplified: one process; ids that the first training did not know stay unknown until the next cold
one. Industry shards embeddings over parameter servers that take in new ids at once.
"""

import io
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from reclab.cascade.ranking.ranker import Ranker
from reclab.cascade.ranking.training import (
    History,
    OneThread,
    Progress,
    Samples,
    TrainConfig,
    adam_of,
    descend,
    train,
)
from reclab.core.errors import DataError, check, check_float, check_int
from reclab.offline_online.training.model_version import (
    Guard,
    ModelVersion,
    Refused,
    Scores,
    validate,
)
from reclab.offline_online.training.trainer_state import (
    join_samples,
    objective_of,
    plain_objective,
    plain_samples,
    plain_version,
    samples_of,
    version_of,
)


@dataclass(frozen=True)
class TrainerConfig:
    """How the stream is learned."""

    learning_rate: float = 5e-4
    """Adam's step size in the stream (1e-5 … 5e-3)"""
    weight_decay: float = 1e-6
    """pull of all weights to zero (0 … 1e-3)"""
    batch_requests: int = 64
    """requests in a step (8 … 1024)"""
    holdout_every: int = 10
    """of so many requests one is held out (2 … 1000; 0 = none, and no guard)"""
    holdout_requests: int = 200
    """newest held-out requests that a version is judged on (50 … 10 000)"""
    on_refusal: str = "roll_back"
    """"roll_back" to the serving version, or "keep" what was learned and try again later"""
    patience: int = 12
    """refusals one after another because of the labels, after which they are believed (1 … 1000)"""

    def __post_init__(self) -> None:
        check_float("TrainerConfig.learning_rate", self.learning_rate, 0.0, 1.0, "5e-4")
        check_float("TrainerConfig.weight_decay", self.weight_decay, 0.0, 1.0, "1e-6")
        check_int("TrainerConfig.batch_requests", self.batch_requests, 1, 1_000_000, "64")
        check_int("TrainerConfig.holdout_every", self.holdout_every, 0, 1_000_000, "10")
        check(self.holdout_every != 1, "TrainerConfig.holdout_every", 1, "leave some", "10")
        check_int("TrainerConfig.holdout_requests", self.holdout_requests, 1, 1_000_000, "200")
        known = self.on_refusal in ("roll_back", "keep")
        rule = "be roll_back or keep"
        check(known, "TrainerConfig.on_refusal", self.on_refusal, rule, "roll_back")
        check_int("TrainerConfig.patience", self.patience, 1, 1_000_000, "12")


class Trainer:
    """``learn(samples, until_ms)`` from the stream, ``retrain`` from a window, ``publish()`` for
    serving; ``state()`` and ``restore()`` carry it over a restart. ``serving`` is the version
    published last. ``count``: rows learned, rows held out, steps, versions, and refusals by
    reason."""

    def __init__(
        self, ranker: Ranker, config: TrainerConfig | None = None, guard: Guard | None = None
    ) -> None:
        """Go on from a fitted ranker, which itself stays as it is; version 0 is its weights.
        Without a ``guard`` every version is published."""
        self.config, self.guard = config or TrainerConfig(), guard
        self.until_ms = 0
        self.count = {"rows": 0, "held_out": 0, "steps": 0, "requests": 0, "passes": 0}
        self.refusals: dict[str, int] = {}
        self._label_refusals = 0
        self.serving = ModelVersion.of(ranker, 0, 0, 0, {})
        self._serve(ranker)
        self._go_on_from(self.serving, ranker)
        self._pending: Samples | None = None
        self._held_out: Samples | None = None

    def _serve(self, ranker: Ranker) -> None:
        self.ranker = self.serving.into(ranker)

    def _go_on_from(self, version: ModelVersion, like: Ranker) -> None:
        """Learn on from a version, with a fresh optimiser."""
        self._learner = version.into(like)
        self._adam = adam_of(self._learner.net, self.config.learning_rate, self.config.weight_decay)

    # -- streaming ---------------------------------------------------------------------------

    def learn(self, samples: Samples, until_ms: int) -> None:
        """The next samples of the stream, in order of arrival; ``until_ms``: when the newest of
        their requests was served. Raises ``DataError`` naming a feature that holds NaN."""
        samples.check(self._learner.features.names)
        self.until_ms = max(self.until_ms, until_ms)
        arrived = np.arange(len(samples.features.user)) + self.count["requests"]
        self.count["requests"] += len(arrived)
        every = self.config.holdout_every
        held = arrived % every == every - 1 if every else np.zeros(len(arrived), bool)
        if held.any():
            self._hold_out(samples.take(np.flatnonzero(held)))
            samples = samples.take(np.flatnonzero(~held))
        waiting = samples if self._pending is None else join_samples([self._pending, samples])
        n, step = len(waiting.features.user), self.config.batch_requests
        whole = n - n % step
        with OneThread():
            self._learner.net.train()
            for first in range(0, whole, step):
                self._step(waiting.take(np.arange(first, first + step)))
            self._learner.net.eval()
        self._pending = waiting.take(np.arange(whole, n)) if whole < n else None

    def _step(self, batch: Samples) -> None:
        descend(self._adam, self._learner.loss(self._learner.encoded(batch)))
        self.count["steps"] += 1
        self.count["rows"] += len(batch)
        self.count["passes"] += len(batch)

    def _hold_out(self, samples: Samples) -> None:
        self.count["held_out"] += len(samples)
        held = samples if self._held_out is None else join_samples([self._held_out, samples])
        n = len(held.features.user)
        self._held_out = held.take(np.arange(max(0, n - self.config.holdout_requests), n))

    # -- batch -------------------------------------------------------------------------------

    def retrain(
        self,
        samples: Samples,
        until_ms: int,
        how: TrainConfig | None = None,
        warm: bool = False,
        progress: Progress | None = None,
    ) -> History:
        """Learn a window (n rows, requests in order of time) shuffled, by ``how`` (default: the
        ranker's own): from the weights of now (``warm``) or anew, base rates and scales included.
        The latest ``how.valid_share`` of its requests are held out."""
        learner = self._learner
        how = how or learner.config.train
        learn, valid = samples.split(how.valid_share)
        if warm:
            history = self._warm(learn, valid, how, progress)
        else:
            config = replace(learner.config, train=how)
            fresh = type(learner)(config).fit_samples(learn, learner.features, progress, valid)
            self._learner, history = fresh, fresh.history
        self._adam = adam_of(self._learner.net, self.config.learning_rate, self.config.weight_decay)
        self.until_ms = max(self.until_ms, until_ms)
        self.count["rows"] += len(learn)
        self.count["passes"] += len(learn) * len(history.loss)
        self._held_out = None
        self._hold_out(valid)
        return history

    def _warm(
        self, learn: Samples, valid: Samples, how: TrainConfig, progress: Progress | None
    ) -> History:
        learner, learn = self._learner, self._learner.encoded(learn)

        def validity() -> float:
            return -sum(scores.log_loss for scores in validate(learner, valid).values())

        n = len(learn.features.user)
        return train(
            learner.net, n, len(learn), lambda some: learner.loss(learn.take(some)), validity, how,
            progress,
        )  # fmt: skip

    # -- publish -----------------------------------------------------------------------------

    def publish(self) -> ModelVersion | Refused:
        """What was learned as a new version that serves from now on, or why it must not."""
        told: dict[str, Scores] = {}
        if self._held_out is not None:
            told = validate(self._learner, self._held_out)
        refused = self._judge(told)
        if refused:
            self.refusals[refused.reason] = self.refusals.get(refused.reason, 0) + 1
            if self.config.on_refusal == "roll_back":
                self._go_on_from(self.serving, self._learner)
            return refused
        number = self.serving.number + 1
        self.serving = ModelVersion.of(
            self._learner, number, self.until_ms, self.count["rows"], told
        )
        self._serve(self._learner)
        return self.serving

    def adopt(self, version: ModelVersion) -> ModelVersion | Refused:
        """Go on from a version that was trained elsewhere (the daily base) and publish it, unless
        the guard refuses it: then all stays as it was, what the stream has learned included."""
        held = self._learner, self._adam, self.until_ms
        self._go_on_from(version, self._learner)
        self.until_ms = version.trained_until_ms
        told = self.publish()
        if isinstance(told, Refused):
            self._learner, self._adam, self.until_ms = held
        return told

    def _judge(self, told: dict[str, Scores]) -> Refused | None:
        if self.guard is None or self._held_out is None:
            return None
        refused = self.guard.judge(told, validate(self.ranker, self._held_out))
        by_labels = refused is not None and refused.reason == "labels"
        self._label_refusals = self._label_refusals + 1 if by_labels else 0
        if self._label_refusals > self.config.patience:  # so long is no fault: it is the world now
            self._label_refusals = 0
            return None
        return refused

    # -- restart -----------------------------------------------------------------------------

    def state(self) -> bytes:
        """Everything that the rest of the stream depends on."""
        held: dict[str, Any] = {
            "net": self._learner.net.state_dict(),
            "objective": plain_objective(self._learner.objective),
            "adam": self._adam.state_dict(),
            "count": self.count,
            "refusals": self.refusals,
            "at": [self.until_ms, self._label_refusals],
            "pending": plain_samples(self._pending),
            "held_out": plain_samples(self._held_out),
            "serving": plain_version(self.serving),
        }
        out = io.BytesIO()
        torch.save(held, out)
        return out.getvalue()

    def restore(self, state: bytes) -> None:
        """Go on from a ``state``. Raises ``DataError`` when it is damaged or of another ranker."""
        try:
            held = torch.load(io.BytesIO(state), weights_only=True)
            self.serving = version_of(held["serving"])
            self._serve(self._learner)
            now = ModelVersion(0, 0, 0, {}, objective_of(held["objective"]), held["net"])
            self._go_on_from(now, self._learner)
            self._adam.load_state_dict(held["adam"])
            self.count, self.refusals = dict(held["count"]), dict(held["refusals"])
            self.until_ms, self._label_refusals = held["at"]
            self._pending = samples_of(held["pending"])
            self._held_out = samples_of(held["held_out"])
        except (RuntimeError, KeyError, ValueError, TypeError, EOFError, OSError) as error:
            raise DataError(f"the trainer's state cannot be read: {error}") from error
