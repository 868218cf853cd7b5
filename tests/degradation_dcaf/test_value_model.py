"""The value estimator, on a made-up platform whose truth is known: Q rises in j, by a step that
depends on the context; the ranker's word is right but for an error of its own at each action."""

import functools

import numpy as np
import pytest

from reclab.core.errors import ConfigError, DataError, NotBuilt
from reclab.degradation_dcaf.dcaf import NONE, act
from reclab.degradation_dcaf.value_model import (
    ExplorationLog,
    LinearValue,
    ScalarValue,
    ValueConfig,
    offsets,
    smoothed_means,
)
from reclab.degradation_dcaf.value_network import MonotoneValue

N, F, M = 2000, 6, 5
KINDS = (LinearValue, MonotoneValue)
BIAS = np.array([0.5, 0.5, 0.2, 0.2, 0.2])


def platform(seed=0, n=N):
    """(x, true values): the base rises with the first feature, the steps with the second."""
    chance = np.random.default_rng(seed)
    x = chance.standard_normal((n, F)).astype(np.float32)
    step = 0.2 * np.exp(x[:, 1:2]) / np.arange(1, M)
    return x, np.concatenate([3 + x[:, :1], step], 1).cumsum(1)


def log(seed=0):
    chance = np.random.default_rng(seed + 100)
    x, true = platform(seed)
    action = chance.integers(0, M, N)
    told = true + BIAS + 0.3 * chance.standard_normal((N, M))
    outcome = true[np.arange(N), action] + 2 * chance.standard_normal(N)
    return ExplorationLog(x, action, outcome, told)


@functools.cache
def fit(kind, target="both", **changes):
    return kind(ValueConfig(target=target, **{"ridge": 10.0, **changes})).fit(log())


def step_error(model):
    x, true = platform(seed=7)
    return float(((np.diff(model.predict(x), axis=1) - np.diff(true, axis=1)) ** 2).mean())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", ["outcomes", "told", "both"])
def test_more_never_predicts_less_and_nothing_is_nan(kind, target):
    model = fit(kind, target)
    x = 50 * np.random.default_rng(1).standard_normal((200, F)).astype(np.float32)
    x[::3, 2], x[::5] = np.inf, np.nan
    q = model.predict(x)
    assert q.shape == (200, M) and np.isfinite(q).all() and (np.diff(q, axis=1) >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_feature_that_is_not_known_counts_as_its_mean(kind):
    model = fit(kind)
    x = np.zeros((1, F), np.float32)
    x[0] = model.scale.mean
    gap = np.full((1, F), np.nan, np.float32)
    assert np.allclose(model.predict(gap), model.predict(x), atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_rankers_word_teaches_the_steps_better_than_what_came_of_one_action(kind):
    assert step_error(fit(kind, "told")) < 0.7 * step_error(fit(kind, "outcomes"))


@pytest.mark.parametrize("kind", KINDS)
def test_outcomes_correct_what_the_ranker_believes_wrongly(kind):
    x, true = platform(seed=7)
    off = {t: np.abs((fit(kind, t).predict(x) - true).mean(0)) for t in ("told", "both")}
    assert off["told"].min() > 0.1 and off["both"].mean() < 0.5 * off["told"].mean()


def test_the_network_sees_what_a_line_cannot():
    assert step_error(fit(MonotoneValue, "told", epochs=30)) < step_error(fit(LinearValue, "told"))


def test_one_curve_for_all_knows_no_difference_in_the_steps():
    model = fit(ScalarValue, "told")
    q = model.predict(platform(seed=7)[0])
    assert np.allclose(np.diff(q, axis=1).std(0) / q.std(0)[1:], 0, atol=0.15)
    assert step_error(model) > 2 * step_error(fit(LinearValue, "told"))


def test_money_may_fall_with_more_computing():
    x, true = platform()
    nothing = np.full(N, np.nan)
    falls = ExplorationLog(x, np.full(N, -1), nothing, -true)
    config = ValueConfig(target="told", monotone=False)
    for kind in KINDS:
        q = kind(config).fit(falls).predict(x)
        assert (np.diff(q.mean(0)) < 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_log_teaches_the_same_and_what_is_kept_predicts_the_same(kind, tmp_path):
    model, x = fit(kind), platform(seed=7)[0]
    again = kind(model.config).fit(log())
    assert np.array_equal(model.predict(x), again.predict(x))
    model.save(tmp_path)
    assert np.array_equal(kind.load(tmp_path).predict(x), model.predict(x))


@pytest.mark.parametrize("kind", KINDS)
def test_one_request_is_predicted_as_in_a_batch(kind):
    model, x = fit(kind), platform(seed=7)[0][:20]
    alone = np.concatenate([model.predict(row) for row in x])
    assert np.allclose(alone, model.predict(x), atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_learned_a_constant_buys_nobody_an_upgrade(kind):
    x, flat = platform()[0], np.full((N, M), 2.0)
    model = kind(ValueConfig(target="told")).fit(
        ExplorationLog(x, np.full(N, -1), np.full(N, np.nan), flat)
    )
    q = model.predict(x)
    assert np.allclose(q, 2.0, atol=0.02)
    gain, cost = np.round(q - q[:, :1], 1), np.arange(M) * 1.0
    assert (act(gain, cost, 0.01) == NONE).all()  # = the cheapest, which everybody has


def test_offsets_go_from_the_means_by_action_to_one_mean():
    residual, action = np.array([1.0, 3.0, 10.0, 20.0]), np.array([0, 0, 1, 2])
    assert np.allclose(smoothed_means(residual, action, 3, 0.0), [2, 10, 20], atol=1e-6)
    assert np.allclose(smoothed_means(residual, action, 3, 1e9), 8.5, atol=1e-3)
    assert offsets(np.zeros(0), np.zeros(0, int), 3).tolist() == [0, 0, 0]


def test_an_action_nobody_tried_takes_its_neighbours_offset():
    c = smoothed_means(np.full(10, 4.0), np.repeat([0, 2], 5), 3, 1.0)
    assert np.allclose(c, 4.0)


X, NOBODY = np.zeros((2, 1), np.float32), np.array([-1, -1])


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ((X, NOBODY, np.zeros(3), np.zeros((2, 2))), "2 contexts, but"),
        ((X, np.array([0, 7]), np.zeros(2), np.zeros((2, 2))), "action 7 of 2"),
        ((X, np.array([0, -2]), np.zeros(2), np.zeros((2, 2))), "action -2 of 2"),
        ((X, np.array([0, 1]), np.array([1, np.nan]), np.zeros((2, 2))), "its outcome is NaN"),
        ((X[:0], NOBODY[:0], np.zeros(0), np.zeros((0, 2))), "0 contexts"),
        ((X, NOBODY, np.zeros(2), np.zeros((2, 0))), "2 contexts"),
    ],
)
def test_a_log_that_does_not_fit_says_why(parts, words):
    with pytest.raises(DataError, match=words):
        ExplorationLog(*parts)


@pytest.mark.parametrize("kind", KINDS)
def test_a_target_that_the_log_lacks_is_named(kind):
    silent = ExplorationLog(X, NOBODY, np.full(2, np.nan), np.zeros((2, 2)))
    for target in ("outcomes", "both"):
        with pytest.raises(DataError, match=f"target '{target}', but 0 outcomes"):
            kind(ValueConfig(target=target)).fit(silent)


def test_settings_and_contexts_are_checked():
    with pytest.raises(ConfigError, match="ValueConfig.target must be one of"):
        ValueConfig(target="guesses")
    with pytest.raises(ConfigError, match=r"ValueConfig.hidden must be >= 1"):
        ValueConfig(hidden=0)
    with pytest.raises(NotBuilt):
        LinearValue().predict(X)
    with pytest.raises(DataError, match="context must have 6 columns"):
        fit(LinearValue).predict(X)
