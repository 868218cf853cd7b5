"""Item-id dropout and the creator's score: without dropout nothing changes; bias by hand."""

from dataclasses import replace

import numpy as np
import pytest

from reclab.cascade.ranking.din import DIN, DINConfig
from reclab.cascade.ranking.training import training_samples
from reclab.core.errors import ConfigError
from reclab.dualrec.fair_ranker import (
    CreatorScore,
    CreatorScoreConfig,
    FairDIN,
    FairDINConfig,
    user_bias,
    visible,
)

TRAIN = replace(FairDINConfig().train, max_rows=8000)


@pytest.fixture(scope="module")
def fair(lab):
    p = lab.trained.parts
    config = FairDINConfig(hide_item=0.5, train=TRAIN)
    return FairDIN(config).fit(lab.logs, p.features, p.until_ms)


def pairs(lab, n=300):
    chance, p = np.random.default_rng(0), lab.trained.parts
    return chance.integers(0, len(p.index), n), chance.integers(0, len(p.users), n)


def test_without_dropout_it_is_the_user_sides_model(lab):
    p = lab.trained.parts
    samples = training_samples(visible(lab.logs), p.features, TRAIN, p.until_ms)
    plain = DIN(DINConfig(train=TRAIN)).fit_samples(samples, p.features)
    same = FairDIN(FairDINConfig(hide_item=0.0, train=TRAIN)).fit_samples(samples, p.features)
    few = samples.take(np.arange(50)).features
    for name, values in plain.score_features(few).items():
        np.testing.assert_allclose(same.score_features(few)[name], values, rtol=1e-5)


class Always:
    """Chance that hides every id (0.0) or none (0.999)."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self, n: int) -> np.ndarray:
        return np.full(n, self.value)


def test_a_hidden_id_learns_nothing_and_serving_knows_all_ids_again(lab):
    p = lab.trained.parts
    train = replace(TRAIN, max_rows=2000)
    samples = training_samples(visible(lab.logs), p.features, train, p.until_ms)
    model = FairDIN(FairDINConfig(hide_item=0.5, train=train)).fit_samples(samples, p.features)
    assert len(model.net.codes) == len(p.features.item_codes)
    step = model.encoded(samples.take(np.arange(100)))
    alone = replace(step.features, history=np.full_like(step.features.history, -1))
    ids = p.features.item_codes[alone.item_row, 0]
    authors = p.features.item_codes[alone.item_row, 1]
    for value, learns in ((0.0, False), (0.999, True)):
        model._chance = Always(value)
        model.net.train()
        model.net.zero_grad()
        model.loss(replace(step, features=alone)).backward()
        moved = model.net.embed.item.weight.grad.abs().sum(1).numpy() > 0
        assert moved[ids[ids > 0]].any() == learns and moved[authors].any()


def test_a_comment_counts_as_a_like(lab):
    shown = lab.logs.interactions
    both = visible(lab.logs).interactions["is_like"]
    assert both.sum() == (shown["is_like"] | shown["is_comment"]).sum() > shown["is_like"].sum()


def test_scores_do_not_depend_on_the_order_or_the_company_of_pairs(lab, fair):
    item, user = pairs(lab)
    now, score = lab.trained.parts.until_ms, CreatorScore(fair)
    g = score.score(item, user, now)
    back = np.arange(len(item))[::-1]
    np.testing.assert_allclose(score.score(item[back], user[back], now), g[back], atol=1e-4)
    alone = [score.score(item[n : n + 1], user[n : n + 1], now)[0] for n in range(5)]
    np.testing.assert_allclose(alone, g[:5], atol=1e-4)


def test_the_bias_is_what_a_user_gives_to_anything(lab, fair):
    p, now, config = lab.trained.parts, lab.trained.parts.until_ms, CreatorScoreConfig()
    shown = lab.logs.interactions
    past = shown.take((shown["time_ms"] < now) & (shown["time_ms"] >= now - 30 * 86_400_000))
    value = 20.0 * (past["is_like"].astype(float) + past["is_comment"])
    value += 50.0 * past["is_share"] + 100.0 * past["is_follow"] + 0.5 * past["watch_sec"] / 60
    mean = value.mean()
    found = user_bias(p.users, now, config, fair.targets)
    for row in range(0, len(p.users), 97):
        mine = past["user_id"] == p.users.user_ids[row]
        want = (value[mine].sum() + 100 * mean) / (mine.sum() + 100) - mean
        assert found[row] == pytest.approx(want, rel=1e-3, abs=1e-4)


def test_the_bias_is_taken_off_by_beta(lab, fair):
    item, user = pairs(lab, 50)
    now = lab.trained.parts.until_ms
    whole, half, none = (
        CreatorScore(fair, CreatorScoreConfig(user_bias=beta)).score(item, user, now)
        for beta in (1.0, 0.5, 0.0)
    )
    bias = user_bias(lab.trained.parts.users, now, CreatorScoreConfig(), fair.targets)[user]
    np.testing.assert_allclose(none - whole, bias, atol=1e-5)
    np.testing.assert_allclose(half, (whole + none) / 2, atol=1e-5)


def test_feedback_weighs_more_than_watch_time(lab):
    """What the average exposure earns by likes and comments exceeds what its watch time earns."""
    weights, shown = CreatorScoreConfig().fusion.weights, visible(lab.logs).interactions
    feedback = {
        name: weights[f"p_{name}"] * float(np.mean(shown[f"is_{name}"]))
        for name in ("like", "share", "follow")
    }
    watch = weights["watch_sec"] * float(np.mean(shown["watch_sec"])) / 60
    assert feedback["like"] > watch


def test_chances_beyond_their_range_are_named():
    with pytest.raises(ConfigError, match=r"FairDINConfig\.hide_item"):
        FairDINConfig(hide_item=1.0)
    with pytest.raises(ConfigError, match=r"CreatorScoreConfig\.user_bias"):
        CreatorScoreConfig(user_bias=2.0)
