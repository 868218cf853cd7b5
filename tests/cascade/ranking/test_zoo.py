"""Rules that hold for every ranker of the zoo, and the crossing layers against naive loops."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from reclab.cascade.batch import read_batch
from reclab.cascade.ranking.dcn import Cross
from reclab.cascade.ranking.deep_fm import pair_products
from reclab.cascade.ranking.dien import AUGRU, auxiliary_loss
from reclab.cascade.ranking.experts import Experts, Gate
from reclab.cascade.ranking.features import FeatureBuilder
from reclab.cascade.ranking.ple import Level, PLEConfig
from reclab.cascade.ranking.ranker import Inputs, main_target
from reclab.cascade.ranking.training import TrainConfig, training_samples
from reclab.cascade.ranking.x_deep_fm import CIN
from reclab.cascade.ranking.zoo import RANKERS
from reclab.core.errors import ConfigError
from reclab.core.metrics import auc
from reclab.core.types import Candidates
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.user_features import UserFeatures
from reclab.world import checkerboard

every_ranker = pytest.mark.parametrize("model", RANKERS, ids=lambda model: model.name)
EXPOSED = TrainConfig(
    epochs=120,
    patience=120,
    batch_rows=128,
    learning_rate=1e-2,
    negatives="exposed",
    valid_share=0.0,
)


def configured(model, **train):
    config = model.Config()
    return model(replace(config, train=replace(config.train, **train)))


@pytest.fixture(scope="module")
def board():
    return checkerboard(60, 20, 0)


@pytest.fixture(scope="module")
def features(board):
    return FeatureBuilder().fit(board, ForwardIndex(board.items), UserFeatures.build(board))


def first_rows(board, features, n):
    """The first ``n`` logged rows, ready to learn from."""
    logs = replace(board, interactions=board.interactions.take(np.arange(n)))
    return training_samples(logs, features, EXPOSED)


def fitted(model, samples, features, **train):
    """A ranker after a few steps, validated on what it learned from."""
    ranker = model(replace(model.Config(), train=replace(EXPOSED, **{"epochs": 3, **train})))
    return ranker.fit_samples(samples, features, valid=samples)


def auc_on(ranker, samples):
    """Of the main target, by which the epoch that is kept was chosen."""
    main = main_target(ranker.targets)
    return auc(samples.targets[main] > 0.5, ranker.score_features(samples.features)[main])


@every_ranker
def test_a_ranker_overfits_64_rows_and_only_by_learning(board, features, model):
    samples = first_rows(board, features, 64)
    assert auc_on(fitted(model, samples, features, epochs=120), samples) == 1.0
    assert auc_on(fitted(model, samples, features, epochs=1, learning_rate=1e-7), samples) < 1.0


@every_ranker
def test_ids_of_which_nothing_is_known_are_scored_alike(board, features, model):
    """An unseen item, like an unseen user, has code 0 in every field."""
    ranker = fitted(model, first_rows(board, features, 64), features)
    rows = features.build(
        np.array([0, -1]), np.zeros(2, np.int64), np.zeros(2, np.int8), np.repeat([0, 1], 3),
        np.tile([1, 2, 3], 2),
    )  # fmt: skip
    assert not rows.user[1, :-2].any()  # all but hour and network, which are known
    ranker.net.set_items(np.zeros_like(features.item_codes))
    rows.pair[:] = 0.0
    score = ranker.score_features(rows)["p_click"].reshape(2, 3)
    assert np.isfinite(score).all()
    np.testing.assert_allclose(score, np.repeat(score[:, :1], 3, 1), rtol=1e-5)


@every_ranker
def test_a_number_that_is_missing_at_serving_counts_as_its_training_mean(board, features, model):
    samples = first_rows(board, features, 64)
    ranker = fitted(model, samples, features)
    asked = samples.features
    missing, mean = (replace(asked, pair=asked.pair.copy()) for _ in range(2))
    missing.pair[:, 3] = np.nan
    mean.pair[:, 3] = ranker.net.pair_scale.mean[3]
    told = ranker.score_features(missing)["p_click"]
    np.testing.assert_allclose(told, ranker.score_features(mean)["p_click"], atol=1e-5)
    assert np.isfinite(told).all()


@every_ranker
def test_labels_that_are_all_zero_teach_a_low_probability(board, features, model):
    samples = first_rows(board, features, 64)
    none = replace(samples, targets={n: np.zeros_like(v) for n, v in samples.targets.items()})
    ranker = fitted(model, none, features, epochs=20)
    told = ranker.score_features(none.features)
    assert all(np.isfinite(values).all() for values in told.values())
    assert list(told) == ["p_long_view"]  # of targets without a positive only the main one stays
    assert told["p_long_view"].mean() < 0.2
    assert np.isnan(ranker.history.valid_auc).all()  # one class has no AUC


@every_ranker
def test_one_user_and_one_request_are_enough_to_learn_from(board, features, model):
    """The few requests of one user train; a single request is also validated on."""
    log = board.interactions
    mine = log.take(log["user_id"] == log["user_id"][0])
    samples = training_samples(replace(board, interactions=mine), features, EXPOSED)
    ranker = fitted(model, samples, features, epochs=10)
    assert ranker.history.loss[-1] < ranker.history.loss[0]
    alone = samples.take(np.array([0]))
    ranker = configured(model, negatives="exposed").fit_samples(alone, features)
    assert np.isfinite(ranker.score_features(alone.features)["p_click"]).all()


@every_ranker
def test_identical_items_get_one_score(board, features, model):
    """Twins in every field, id apart, where the id was not seen in training; and an item that
    stands twice among the candidates."""
    ranker = fitted(model, first_rows(board, features, 64), features)
    rows = features.build(
        np.array([0]), np.zeros(1, np.int64), np.zeros(1, np.int8), np.zeros(4, np.int64),
        np.array([1, 2, 2, 3]),
    )  # fmt: skip
    codes = features.item_codes.copy()
    codes[2], codes[2, 0], codes[1, 0] = codes[1], 0, 0
    rows.pair[1:3] = rows.pair[0]
    ranker.net.set_items(codes)
    score = ranker.score_features(rows)["p_click"]
    np.testing.assert_allclose(score[:3], score[0], rtol=1e-5)
    assert abs(score[3] / score[0] - 1) > 1e-5


def idle(ranker, samples):
    """Names of the parameters that one pass over the rows gives no gradient."""
    encoded, net = ranker._set_objective(samples).targets, ranker.net
    loss = ranker.objective(net(Inputs.of(samples.features)), encoded, samples.weight)
    (loss if net.extra is None else loss + net.extra).backward()
    return [n for n, w in net.named_parameters() if w.grad is None or not w.grad.any()]


@every_ranker
def test_every_parameter_has_a_gradient(lab, model):
    features, ranker = lab.trained.parts.features, configured(model, max_rows=3000)
    samples = training_samples(lab.logs, features, ranker.config.train)
    ranker.targets = tuple(samples.targets)
    ranker._start(features, 0)
    ranker.net.learn_scales(samples.features)
    ranker.net.train()
    for table in (ranker.net.user_line, ranker.net.item_line) if model.name != "din" else ():
        torch.nn.init.normal_(table.weight)
    ranker.net.unused = torch.nn.Linear(2, 1)  # the test sees what has none
    assert idle(ranker, samples) == ["unused.weight", "unused.bias"]


@every_ranker
def test_it_predicts_saves_and_serves_a_batch_as_each_request_alone(lab, model, tmp_path):
    p = lab.trained.parts
    ranker = configured(model, max_rows=4000).fit(lab.logs, p.features, p.until_ms)
    requests = lab.requests(3)
    rows = np.arange(0, 60, 3)
    owner = np.repeat(np.arange(3), len(rows))
    together = ranker.predict(
        read_batch(requests, p.users, p.index), Candidates(3, owner, np.tile(rows, 3))
    )
    ranker.save(tmp_path)
    again = model.load(tmp_path, p.features, ranker.config)
    for b, request in enumerate(requests):
        batch = read_batch([request], p.users, p.index)
        alone = again.predict(batch, Candidates(1, np.zeros(len(rows), np.int64), rows))
        for name, values in together.items():
            assert np.isfinite(values).all()
            np.testing.assert_allclose(values[owner == b], alone[name], rtol=2e-3, atol=1e-4)
    assert ranker.macs_per_candidate > 0


def test_pair_products_equal_the_sum_over_pairs():
    fields = torch.randn(4, 5, 3, generator=torch.manual_seed(0))
    slow = sum(fields[:, f] * fields[:, g] for f in range(5) for g in range(f + 1, 5))
    assert torch.allclose(pair_products(fields), slow, atol=1e-5)


def test_cin_equals_naive_loops():
    torch.manual_seed(0)
    cin, fields = CIN(4, (3, 2)), torch.randn(2, 4, 5)
    with torch.no_grad():
        fast, sums, below = cin(fields), [], fields
        for weight in cin.weights:
            layer = torch.zeros(2, weight.shape[0], 5)
            for h in range(weight.shape[0]):
                for i in range(weight.shape[1]):
                    for j in range(4):
                        layer[:, h] += weight[h, i, j] * below[:, i] * fields[:, j]
            sums.append(layer.sum(2))
            below = layer
    assert torch.allclose(fast, torch.cat(sums, 1), atol=1e-5)


def test_a_cross_layer_equals_naive_loops():
    torch.manual_seed(0)
    layer, first, x = Cross(6, 2), torch.randn(3, 6), torch.randn(3, 6)
    with torch.no_grad():
        matrix = layer.up.weight @ layer.down.weight
        slow = torch.zeros(3, 6)
        for n in range(3):
            for i in range(6):
                total = sum(matrix[i, j] * x[n, j] for j in range(6)) + layer.up.bias[i]
                slow[n, i] = first[n, i] * total + x[n, i]
        assert torch.allclose(layer(first, x), slow, atol=1e-5)


def test_augru_with_full_attention_is_a_gru_and_without_stands_still():
    torch.manual_seed(0)
    layer, states, owner = AUGRU(4), torch.randn(2, 5, 4), torch.tensor([0, 1, 1])
    with torch.no_grad():
        now = torch.zeros(3, 4)
        for step in range(5):
            pushed = layer.past(states[owner, step])
            gates = layer.gates(now)
            update = torch.sigmoid(pushed[:, :4] + gates[:, :4])
            reset = torch.sigmoid(pushed[:, 4:8] + gates[:, 4:])
            new = torch.tanh(pushed[:, 8:] + reset * layer.new(now))
            now = (1 - update) * now + update * new
        assert torch.allclose(layer(states, torch.ones(3, 5), owner), now, atol=1e-5)
        assert not layer(states, torch.zeros(3, 5), owner).any()


def test_the_auxiliary_loss_is_small_when_states_point_at_the_next_item():
    past = 5 * torch.eye(6).reshape(2, 3, 6)
    states = past.roll(-1, 1)
    there = torch.ones(2, 3, dtype=torch.bool)
    assert auxiliary_loss(states, past, there) < 1.0 < auxiliary_loss(-states, past, there)
    assert auxiliary_loss(states, past, torch.zeros(2, 3, dtype=torch.bool)) == 0


def test_a_gate_mixes_experts_by_weights_that_sum_to_one():
    torch.manual_seed(0)
    x, experts, gate = torch.randn(3, 5), Experts(5, 4, 2), Gate(5, 4)
    with torch.no_grad():
        made, weights = experts(x), torch.softmax(gate.layer(x), 1)
        slow = sum(weights[:, e, None] * made[:, e] for e in range(4))
        assert torch.allclose(gate(x, made), slow, atol=1e-6)
        assert made.shape == (3, 4, 2)


def test_two_levels_of_experts_hand_on_what_they_are_given():
    """At the start outputs are as large as the inputs within a factor of four."""
    torch.manual_seed(0)
    paths = [torch.randn(256, 64)] * 3
    with torch.no_grad():
        for _ in range(2):
            paths = Level(64, 2, PLEConfig(units=64), is_last=False)(paths)
    assert all(0.25 < path.square().mean().sqrt() < 4 for path in paths)


@every_ranker
def test_wrong_sizes_are_named(model):
    with pytest.raises(ConfigError, match="dim must be >= 1|dim must be in"):
        model.Config(dim=0)
