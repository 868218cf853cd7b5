"""cascade.ranking and pre_ranking: attention, learning, one path for training and serving."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from reclab.cascade.batch import read_batch
from reclab.cascade.pre_ranking.two_tower import PreRanker, PreRankerConfig
from reclab.cascade.ranking.din import DIN, DINConfig, TargetAttention
from reclab.cascade.ranking.factors import FactorsConfig, Observed, fit_factors
from reclab.cascade.ranking.features import FeatureBuilder, FeatureConfig
from reclab.cascade.ranking.fusion import Fusion, FusionConfig
from reclab.cascade.ranking.layers import line
from reclab.cascade.ranking.ranker import Inputs
from reclab.cascade.ranking.training import TrainConfig, training_samples
from reclab.cascade.retrieval.two_tower import TwoTowerChannel, TwoTowerConfig
from reclab.core.chance import rng
from reclab.core.clock import DAY_MS
from reclab.core.errors import ConfigError, DataError, NotBuilt
from reclab.core.metrics import auc
from reclab.core.tables import Logs, Table
from reclab.core.types import Candidates, Request
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.user_features import UserFeatures
from reclab.world import checkerboard

EXPOSED = TrainConfig(
    epochs=40, patience=40, batch_rows=128, learning_rate=1e-2, negatives="exposed"
)


def built(logs: Logs, config: FeatureConfig | None = None, until_ms: int | None = None):
    index, users = ForwardIndex(logs.items), UserFeatures.build(logs)
    return FeatureBuilder(config).fit(logs, index, users, until_ms)


@pytest.fixture(scope="module")
def board() -> Logs:
    return checkerboard(60, 20, 0)


@pytest.fixture(scope="module")
def features(board):
    return built(board)


def some_inputs(lab, n: int = 12):
    """A batch of two known users and one stranger, with ``n`` candidates each."""
    p = lab.trained.parts
    requests = [*lab.requests(2), Request(-9, lab.requests(1)[0].time_ms)]
    batch = read_batch(requests, p.users, p.index)
    rows = np.tile(np.arange(n) * 7, len(requests))
    return batch, Candidates(len(requests), np.repeat(np.arange(len(requests)), n), rows)


def test_attention_equals_a_naive_loop():
    torch.manual_seed(0)
    layer = TargetAttention(6, 4)
    past, target = torch.randn(3, 5, 6), torch.randn(7, 6)
    mask, owner = torch.rand(3, 5) > 0.3, torch.tensor([0, 0, 1, 1, 1, 2, 2])
    with torch.no_grad():
        fast = layer(past, mask, target, owner)
        for n, b in enumerate(owner.tolist()):
            total = torch.zeros(6)
            for j in range(5):
                if mask[b, j]:
                    h, t = past[b, j], target[n]
                    hidden = layer.past(h) + layer.target(t) + layer.product(h * t)
                    total += layer.out(layer.act(hidden[None]))[0, 0] * h
            assert torch.allclose(fast[n], total / 5**0.5, atol=1e-5)


def test_a_ranker_overfits_64_rows(board, features):
    logs = replace(board, interactions=board.interactions.take(np.arange(64)))
    ranker = DIN(DINConfig(train=replace(EXPOSED, valid_share=0.0, epochs=60)))
    samples = training_samples(logs, features, ranker.config.train)
    ranker.fit_samples(samples, features, valid=samples)
    score = ranker.score_features(samples.features)["p_click"]
    assert auc(samples.targets["p_click"] > 0.5, score) == 1.0


@pytest.mark.parametrize("model", [DIN, PreRanker])
def test_every_parameter_has_a_gradient(lab, model):
    features = lab.trained.parts.features
    ranker = model()
    samples = training_samples(lab.logs, features, replace(ranker.config.train, max_rows=3000))
    ranker.targets = tuple(samples.targets)[: 3 if model is DIN else 1]
    ranker._start(features, 0)
    ranker.net.learn_scales(samples.features)
    ranker.net.train()
    encoded = ranker._set_objective(samples).targets
    loss = ranker.objective(ranker.net(Inputs.of(samples.features)), encoded, samples.weight)
    loss.backward()
    idle = [n for n, w in ranker.net.named_parameters() if w.grad is None or not w.grad.any()]
    assert not idle


@pytest.mark.parametrize("statistics", [True, False])
def test_the_checkerboard_is_learned(board, statistics):
    """Every liked item stands above every disliked one for nearly all users, and the withheld
    diagonal is liked too."""
    features = built(board, FeatureConfig(with_statistics=statistics))
    ranker = DIN(DINConfig(train=EXPOSED)).fit(board, features)
    users, items = np.divmod(np.arange(60 * 20), 20)
    requests = [Request(int(u), 3 * DAY_MS) for u in range(60)]
    batch = read_batch(requests, features.users, features.index)
    score = ranker.predict(batch, Candidates(60, users, items))["p_click"]
    liked = (users + items) % 2 == 0
    assert auc(liked, score) > 0.97
    diagonal = items == users % 20
    assert np.median(score[diagonal]) > 0.5


def test_two_towers_find_items_of_the_users_colour(board, features):
    config = TwoTowerConfig(
        n_drawn=32, train=replace(EXPOSED, epochs=20, learning_rate=5e-3, patience=20)
    )
    channel = TwoTowerChannel(config).fit(board, features)
    batch = read_batch([Request(u, 3 * DAY_MS) for u in range(60)], features.users, features.index)
    rows, score = channel.retrieve(batch, 5)
    assert ((rows + np.arange(60)[:, None]) % 2 == 0).mean() > 0.9
    assert (np.diff(score, axis=1) <= 1e-6).all()


@pytest.mark.parametrize("name", ["ranker", "pre_ranker"])
def test_a_batch_is_scored_as_each_request_alone(lab, name):
    model = getattr(lab.trained.parts, name)
    batch, candidates = some_inputs(lab)
    ask = model.score if name == "pre_ranker" else lambda b, c: model.predict(b, c)["p_long_view"]
    together = ask(batch, candidates)
    assert np.isfinite(together).all()
    p = lab.trained.parts
    for b, request in enumerate(batch.requests):
        mine = candidates.request_row == b
        one = Candidates(1, np.zeros(mine.sum(), np.int64), candidates.item_row[mine])
        alone = ask(read_batch([request], p.users, p.index), one)
        assert np.allclose(alone, together[mine], atol=1e-5)


def test_features_at_serving_equal_those_of_training(lab):
    """The logged pages of the last day, built again as live requests, bit for bit."""
    features, log = lab.trained.parts.features, lab.logs.interactions
    config = TrainConfig(max_rows=400, negatives="exposed")
    trained = training_samples(lab.logs, features, config).features
    rows = np.arange(len(log) - 400, len(log))
    order = rows[np.lexsort((log["user_id"][rows], log["time_ms"][rows]))]
    log = log.take(order)
    key = np.stack([log["time_ms"], log["user_id"]], 1)
    first = np.flatnonzero(np.r_[True, (np.diff(key, axis=0) != 0).any(1)])
    requests = [
        Request(int(log["user_id"][f]), int(log["time_ms"][f]), network=int(log["network"][f]))
        for f in first
    ]
    batch = read_batch(requests, features.users, features.index)
    owner = np.repeat(np.arange(len(first)), np.diff(np.r_[first, len(log)]))
    item_row = features.index.rows(log["video_id"])
    served = features.for_batch(batch, Candidates(len(first), owner, item_row))
    for part in ("user", "request", "history", "item_row", "pair"):
        assert (getattr(served, part) == getattr(trained, part)).all(), part


def test_features_never_see_their_own_outcome(lab):
    """Flipping what happened from a request on leaves the features of that request alone."""
    log = lab.logs.interactions
    at = len(log) // 2
    time_ms = int(log["time_ms"][at])
    later = log["time_ms"] >= time_ms
    flipped = {n: np.where(later, ~log[n], log[n]) for n in ("is_click", "is_long_view")}
    other = built(replace(lab.logs, interactions=log.with_columns(**flipped)), until_ms=time_ms)
    ours = built(lab.logs, until_ms=time_ms)
    user = ours.users.rows(log["user_id"][at : at + 1])
    ask = (user, np.array([time_ms]), np.zeros(1, np.int8), np.zeros(30, np.int64), np.arange(30))
    one, two = ours.build(*ask), other.build(*ask)
    for part in ("request", "history", "pair"):
        assert (getattr(one, part) == getattr(two, part)).all(), part


def test_nan_in_a_training_feature_is_named(lab):
    features = lab.trained.parts.features
    samples = training_samples(lab.logs, features, TrainConfig(max_rows=500, negatives="exposed"))
    samples.features.pair[3, 0] = np.nan
    with pytest.raises(
        DataError, match="NaN or infinity in training feature " + features.names["pair"][0]
    ):
        DIN().fit_samples(samples, features)


def test_nan_at_serving_counts_as_the_mean(lab):
    model = lab.trained.parts.ranker
    batch, candidates = some_inputs(lab)
    features = model.features.for_batch(batch, candidates)
    features.pair[:] = np.nan
    assert np.isfinite(model.score_features(features)["p_long_view"]).all()


def test_an_unfitted_model_says_so(lab):
    batch, candidates = some_inputs(lab)
    for ask in (DIN().predict, PreRanker().score):
        with pytest.raises(NotBuilt, match="before fit"):
            ask(batch, candidates)


def test_saved_models_predict_the_same(lab, tmp_path):
    p = lab.trained.parts
    batch, candidates = some_inputs(lab)
    p.ranker.save(tmp_path)
    p.pre_ranker.save(tmp_path)
    din, pre = DIN.load(tmp_path, p.features), PreRanker.load(tmp_path, p.features)
    before, after = p.ranker.predict(batch, candidates), din.predict(batch, candidates)
    assert all((before[name] == after[name]).all() for name in before)
    assert (p.pre_ranker.score(batch, candidates) == pre.score(batch, candidates)).all()
    (tmp_path / "din.pt").write_bytes(b"half")
    with pytest.raises(DataError, match="cannot load din"):
        DIN.load(tmp_path, p.features)


def test_targets_that_the_log_lacks_are_not_predicted(board):
    shown = {
        name: board.interactions[name] for name in ("time_ms", "user_id", "video_id", "is_click")
    }
    logs = replace(board, interactions=Table(shown))
    ranker = DIN(DINConfig(train=replace(EXPOSED, epochs=1))).fit(logs, built(logs))
    assert ranker.targets == ("p_click",)


def test_styles_agree_with_ridge_regression_in_the_open():
    """User vectors solve their own ridge problem on the item vectors, as written in the formula."""
    chance = rng(0, "styles")
    n_users, n_items, d = 30, 40, 2
    u, v = chance.normal(size=(n_users, d)), chance.normal(size=(n_items, d))
    shown = chance.random((n_users, n_items)) < 0.7
    user, item = np.nonzero(shown)
    y = (0.5 + 0.2 * (u @ v.T)[user, item]).astype(np.float32)
    seen = Observed(
        user, item, y, np.arange(n_items), np.full((n_items, 1), -1), np.zeros((n_items, 1)),
        n_users, 0,
    )  # fmt: skip
    fit = fit_factors(seen, FactorsConfig(dim=d, ridge=0.1, prior=1.0, sweeps=20))
    explained = (fit.style_u[user] * fit.style_i[item]).sum(1)
    assert np.corrcoef(explained, 0.2 * (u @ v.T)[user, item])[0, 1] > 0.9


def test_fusion_sums_and_multiplies():
    told = {"p_click": np.array([0.5, 0.2]), "p_long_view": np.array([0.1, 0.4])}
    both = Fusion(FusionConfig(p_click=1.0, p_long_view=2.0))(told)
    assert both.tolist() == pytest.approx([0.7, 1.0])
    powers = Fusion(FusionConfig(kind="product", p_click=1.0, p_long_view=2.0))(told)
    assert powers.tolist() == pytest.approx([0.501 * 0.101**2, 0.201 * 0.401**2], rel=1e-4)
    with pytest.raises(ConfigError, match="weight above 0"):
        FusionConfig(p_long_view=0.0)
    with pytest.raises(DataError, match="fusion needs"):
        Fusion()({})


@pytest.mark.parametrize("field", ["epochs", "batch_rows", "max_rows"])
def test_wrong_settings_are_named(field):
    with pytest.raises(ConfigError, match=f"TrainConfig.{field}"):
        TrainConfig(**{field: 0})
    with pytest.raises(ConfigError, match="PreRankerConfig.dim"):
        PreRankerConfig(dim=0)


def test_a_line_of_no_numbers_is_a_constant():
    """Static features have none; a warning of torch would be an error here."""
    assert line(0, 2)(torch.zeros(5, 0)).tolist() == [[0.0, 0.0]] * 5
