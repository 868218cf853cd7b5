"""Trainer: only order matters, restarts change nothing, bad versions do not serve, none changes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from reclab.cascade.ranking.din import DIN, DINConfig
from reclab.cascade.ranking.training import TrainConfig, samples_of
from reclab.core.clock import DAY_MS
from reclab.core.errors import ConfigError, DataError
from reclab.core.metrics import auc
from reclab.offline_online.training.model_version import (
    Guard,
    GuardConfig,
    Refused,
    Scores,
    validate,
)
from reclab.offline_online.training.trainer import Trainer, TrainerConfig
from reclab.offline_online.training.trainer_state import join_samples

EXPOSED = TrainConfig(negatives="exposed")
SMALL = TrainerConfig(batch_requests=32, holdout_every=5, holdout_requests=150)


@pytest.fixture(scope="module")
def ranker(lab):
    return lab.trained.parts.ranker


def days(lab, first, stop):
    """The samples of some days of the tiny lab."""
    when = lab.logs.interactions["time_ms"]
    rows = np.flatnonzero((when >= first * DAY_MS) & (when < stop * DAY_MS))
    return samples_of(lab.logs, lab.trained.parts.features, EXPOSED, rows)


@pytest.fixture(scope="module")
def stream(lab):
    return days(lab, 12, 13)


def weights(trainer):
    return trainer._learner.net.state_dict()


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def feed(trainer, samples, sizes):
    """Hand the samples over in parts of the given numbers of requests, in turn."""
    at, n = 0, len(samples.features.user)
    while at < n:
        for size in sizes:
            trainer.learn(samples.between(at, min(n, at + size)) if at < n else samples, at)
            at += size
            if at >= n:
                return


def poisoned(samples):
    """The same rows, not one of them clicked."""
    none = {name: np.zeros_like(v) if name != "watch_sec" else v
            for name, v in samples.targets.items()}  # fmt: skip
    return replace(samples, targets=none)


def test_however_the_stream_is_cut_the_weights_are_the_same(ranker, stream):
    whole, cut = Trainer(ranker, SMALL), Trainer(ranker, SMALL)
    whole.learn(stream, 1)
    feed(cut, stream, (1, 7, 64, 200))
    assert same(weights(whole), weights(cut)) and whole.count == cut.count
    assert not same(weights(whole), ranker.net.state_dict())
    n = len(stream.features.user)
    assert whole.count["requests"] == n
    assert whole.count["steps"] == (n - n // 5) // 32


def test_a_restored_trainer_goes_on_as_if_nothing_had_happened(ranker, stream):
    one, n = Trainer(ranker, SMALL, Guard()), len(stream.features.user)
    one.learn(stream.between(0, n // 2), 5)
    one.publish()
    two = Trainer(ranker, SMALL, Guard())
    two.restore(one.state())
    for trainer in (one, two):
        trainer.learn(stream.between(n // 2, n), 9)
    told, again = one.publish(), two.publish()
    assert same(weights(one), weights(two)) and one.count == two.count
    assert type(told) is type(again) and one.until_ms == two.until_ms == 9
    assert one.serving.number == two.serving.number
    assert one.serving.validation == two.serving.validation
    features = stream.between(0, 50).features
    for name, values in one.ranker.score_features(features).items():
        np.testing.assert_array_equal(values, two.ranker.score_features(features)[name])


def test_a_damaged_state_is_refused_by_name(ranker):
    trainer = Trainer(ranker)
    with pytest.raises(DataError, match="trainer's state"):
        trainer.restore(trainer.state()[:1000])


def test_a_published_version_never_changes(ranker, stream):
    trainer = Trainer(ranker, SMALL)
    trainer.learn(stream, 1)
    version = trainer.publish()
    kept = {name: value.clone() for name, value in version.weights.items()}
    told = version.into(ranker).score_features(stream.features)
    trainer.learn(stream, 2)
    assert same(kept, version.weights) and not same(weights(trainer), version.weights)
    for name, values in trainer.ranker.score_features(stream.features).items():
        np.testing.assert_array_equal(values, told[name])
    assert (version.number, version.trained_until_ms) == (1, 1)


def test_a_model_that_learned_poison_does_not_serve_and_is_rolled_back(ranker, lab):
    config = replace(SMALL, learning_rate=3e-3, holdout_requests=100)
    trainer = Trainer(ranker, config, Guard(GuardConfig(labels=0.5)))
    trainer.learn(days(lab, 12, 13), 1)
    trainer.learn(poisoned(days(lab, 12, 13)), 2)
    trainer.learn(days(lab, 13, 14).between(0, 500), 3)  # what is held out is clean again
    told = trainer.publish()
    assert isinstance(told, Refused) and told.reason in ("log_loss", "auc", "calibration")
    assert trainer.serving.number == 0 and trainer.refusals == {told.reason: 1}
    assert same(weights(trainer), trainer.serving.weights)


def test_poison_in_the_held_out_labels_too_is_seen_by_the_labels_and_believed_in_the_end(
    ranker, lab
):
    day = days(lab, 12, 13)
    lost = poisoned(day)
    blind = Trainer(ranker, SMALL, Guard(GuardConfig(labels=1e6)))
    blind.learn(lost, 1)
    assert blind.publish().number == 1  # by the poisoned labels the poisoned model is the better
    trainer = Trainer(ranker, replace(SMALL, patience=2), Guard())
    told = []
    for until in range(3):
        trainer.learn(lost, until)
        told.append(trainer.publish())
    assert [getattr(t, "reason", "published") for t in told] == ["labels", "labels", "published"]


def test_the_guard_knows_each_reason_and_judges_nothing_on_few_rows():
    fine = Scores(1000, 0.50, 0.80, 1.0)
    guard = Guard(GuardConfig(log_loss=0.01, auc=0.01, calibration=0.05, labels=0.3))
    cases = {
        "log_loss": (replace(fine, log_loss=0.51), fine),
        "auc": (replace(fine, auc=0.78), fine),
        "calibration": (replace(fine, calibration=0.9), fine),
        "labels": (fine, replace(fine, calibration=1.5)),
        "not_finite": (replace(fine, log_loss=float("nan")), fine),
    }
    for reason, (new, old) in cases.items():
        assert guard.judge({"p_click": new}, {"p_click": old}).reason == reason
    assert guard.judge({"p_click": replace(fine, log_loss=0.504)}, {"p_click": fine}) is None
    few = replace(cases["log_loss"][0], rows=20)
    assert guard.judge({"p_click": few}, {"p_click": fine}) is None


def test_scores_are_those_of_scikit_learn(ranker, stream):
    from sklearn.metrics import log_loss, roc_auc_score

    told = validate(ranker, stream)
    p = ranker.score_features(stream.features)
    for name, scores in told.items():
        y = stream.targets[name] > 0.5
        assert scores.auc == pytest.approx(roc_auc_score(y, p[name]), abs=1e-6)
        assert scores.log_loss == pytest.approx(log_loss(y, p[name].astype(float)), abs=1e-6)


def test_the_stream_comes_close_to_a_batch_on_the_same_samples(lab):
    """Base on two days, then three more days: streamed once in order, or all five shuffled anew."""
    first, more, last = days(lab, 0, 2), days(lab, 2, 5), days(lab, 5, 7)
    how = TrainConfig(epochs=1, batch_rows=512, learning_rate=4e-3, negatives="exposed")
    base = DIN(DINConfig(train=how)).fit_samples(first, lab.trained.parts.features)
    streamed = Trainer(base, TrainerConfig(learning_rate=2e-3, holdout_every=0))
    streamed.learn(more, 1)
    batch = Trainer(base, TrainerConfig(holdout_every=0))
    batch.retrain(join_samples([first, more]), 1, how)
    for trainer in (streamed, batch):
        trainer.publish()
    y = last.targets["p_click"] > 0.5
    score = {
        name: auc(y, r.score_features(last.features)["p_click"])
        for name, r in (("base", base), ("stream", streamed.ranker), ("batch", batch.ranker))
    }
    print(score)
    assert score["stream"] > score["base"]
    assert score["stream"] > score["batch"] - 0.015


def test_a_warm_batch_goes_on_and_a_cold_one_begins_anew(ranker, stream):
    how = TrainConfig(epochs=1, learning_rate=1e-3, negatives="exposed", valid_share=0.1)
    warm, cold = Trainer(ranker), Trainer(ranker)
    assert warm.retrain(stream, 3, how, warm=True).rows == cold.retrain(stream, 3, how).rows
    start = ranker.net.state_dict()
    moved = [
        max(float((w[n] - start[n]).abs().max()) for n in w) for w in (weights(warm), weights(cold))
    ]
    assert 0 < moved[0] < moved[1]
    assert warm.publish().trained_until_ms == 3
    assert warm.count["held_out"] > 0


def test_a_version_from_elsewhere_is_adopted_unless_the_guard_minds(ranker, lab):
    day = days(lab, 12, 13)
    other = Trainer(ranker, SMALL)
    other.learn(day, 7)
    other.publish()
    mine = Trainer(ranker, SMALL, Guard())
    mine.learn(day.between(0, 400), 1)
    learned = {name: value.clone() for name, value in weights(mine).items()}
    bad = Trainer(ranker, replace(SMALL, learning_rate=1e-2))
    bad.learn(poisoned(day), 7)
    bad.publish()
    assert isinstance(mine.adopt(bad.serving), Refused)
    assert same(weights(mine), learned)  # what the stream has learned is kept
    mine.guard = None
    assert mine.adopt(other.serving).number == 1 and mine.until_ms == 7
    assert same(weights(mine), other.serving.weights)


def test_nan_is_named_before_anything_is_learned(ranker, stream):
    trainer, some = Trainer(ranker, SMALL), stream.between(0, 10)
    request = some.features.request.copy()
    request[0, 0] = np.nan
    with pytest.raises(DataError, match="lift_tag_0"):
        trainer.learn(replace(some, features=replace(some.features, request=request)), 1)
    assert trainer.count["requests"] == 0


def test_settings_out_of_range_are_refused():
    for wrong in ({"batch_requests": 0}, {"holdout_every": 1}, {"on_refusal": "hope"}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            TrainerConfig(**wrong)
    with pytest.raises(ConfigError, match="min_rows"):
        GuardConfig(min_rows=0)
