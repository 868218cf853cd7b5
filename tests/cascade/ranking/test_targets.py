"""Targets: what is known when, what can be learned, the loss by hand, how seconds are learned."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from reclab.cascade.ranking.din import DIN, DINConfig
from reclab.cascade.ranking.features import FeatureBuilder
from reclab.cascade.ranking.fusion import Fusion, FusionConfig
from reclab.cascade.ranking.targets import (
    RARE,
    TARGETS,
    Objective,
    known_targets,
    main_target,
    teachable,
)
from reclab.cascade.ranking.training import TrainConfig, samples_of
from reclab.cascade.ranking.watch_time import KINDS, WatchTime
from reclab.core.clock import DAY_MS
from reclab.core.errors import ConfigError, DataError
from reclab.core.tables import Logs, Table
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.user_features import UserFeatures
from reclab.world import checkerboard

ALL = TrainConfig(epochs=1, negatives="exposed", max_rows=20_000, targets=TARGETS)


# ---- what is known -------------------------------------------------------------------------


def test_only_what_was_reported_before_the_training_time_has_happened(lab):
    """Against a dictionary of all reports, for the rows of the last hours before that time."""
    logs, index = lab.logs, lab.trained.parts.index
    until = int(logs.interactions["time_ms"][-1]) - DAY_MS // 2
    stop = int(np.searchsorted(logs.interactions["time_ms"], until))
    rows = np.arange(stop - 20_000, stop)
    now, ever = known_targets(logs, rows, index, until), known_targets(logs, rows, index)
    log, reports = logs.interactions.take(rows), logs.feedback
    late = reports.take(reports["report_ms"] >= until)
    missing = set(zip(*(late[c].tolist() for c in ("kind", "req_id", "video_id")), strict=True))
    pairs = list(zip(log["req_id"].tolist(), log["video_id"].tolist(), strict=True))
    codes = {"p_click": 0, "p_long_view": 0, "p_like": 2, "p_share": 4, "p_follow": 6}
    changed = 0
    for name, code in (codes | {"p_purchase": 7}).items():
        unheard = np.array([(code, *pair) in missing for pair in pairs])
        assert np.array_equal(now[name], np.where(unheard, 0.0, ever[name])), name
        changed += int((now[name] != ever[name]).sum())
    unheard = np.array([(1, *pair) in missing for pair in pairs])
    assert np.array_equal(np.isnan(now["watch_sec"]), unheard) and unheard.any() and changed > 0
    assert not np.isnan(ever["watch_sec"]).any()


def test_ad_revenue_is_nobodys_purchase(lab):
    index = lab.trained.parts.index
    rows = np.flatnonzero(lab.logs.interactions["pay_amount"] > 0)
    bought = known_targets(lab.logs, rows, index)["p_purchase"]
    video = lab.logs.interactions["video_id"][rows]
    is_ad = index.get(index.rows(video), ["business"])["business"] == 3
    assert is_ad.any() and not is_ad.all()
    assert np.array_equal(bought, ~is_ad)


def test_likes_that_stand_in_for_clicks_are_not_a_target_of_their_own(lab):
    log = lab.logs.interactions.take(np.arange(500))
    bare = Table({name: log[name] for name in ("time_ms", "user_id", "video_id", "is_like")})
    logs = replace(lab.logs, interactions=bare)
    told = known_targets(logs, np.arange(500), lab.trained.parts.index, int(log["time_ms"][-1]))
    assert list(told) == ["p_click"]
    assert np.array_equal(told["p_click"], log["is_like"])


# ---- what can be learned -------------------------------------------------------------------


def test_a_target_without_two_kinds_of_labels_is_left_out_with_the_reason():
    labels = {
        "p_click": np.ones(4, np.float32),
        "p_like": np.array([0, 0, 0, np.nan], np.float32),
        "p_share": np.full(4, np.nan, np.float32),
        "p_follow": np.array([0, 1, np.nan, 0], np.float32),
    }
    chosen, left_out = teachable(TARGETS, labels, keep="p_click")
    assert chosen == ("p_click", "p_follow")
    assert left_out["p_like"] == "all labels are 0"
    assert left_out["p_share"] == "all labels are unknown"
    assert left_out["p_purchase"] == "not in the logs"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("p_like", 2.0, "p_like must be 0 … 1, got 0 … 2"),
        ("p_like", -1.0, "p_like must be 0 … 1"),
        ("watch_sec", np.inf, "watch_sec must be seconds >= 0"),
        ("watch_sec", -3.0, "watch_sec must be seconds >= 0"),
    ],
)
def test_labels_out_of_range_are_named(name, value, message):
    with pytest.raises(DataError, match=message):
        teachable((name,), {name: np.array([0.0, value], np.float32)}, keep=name)


def test_a_log_without_purchases_teaches_all_else_and_the_fusion_does_without(lab):
    p, log = lab.trained.parts, lab.logs.interactions
    none = log.with_columns(pay_amount=np.zeros(len(log), np.float32))
    logs = replace(lab.logs, interactions=none)
    ranker = DIN(DINConfig(train=ALL)).fit(logs, p.features, p.until_ms)
    assert ranker.history.left_out == {"p_purchase": "all labels are 0"}
    assert ranker.targets == TARGETS[:-1]
    samples = samples_of(lab.logs, p.features, ALL, np.arange(1000))
    told = ranker.score_features(samples.features)
    assert list(told) == list(TARGETS[:-1])
    asked = Fusion(FusionConfig(p_long_view=1.0, p_purchase=50.0))(told)
    assert np.array_equal(asked, told["p_long_view"])


def test_unknown_labels_teach_nothing_and_break_nothing(lab):
    p = lab.trained.parts
    samples = samples_of(lab.logs, p.features, ALL, np.arange(3000))
    half = {name: values.copy() for name, values in samples.targets.items()}
    for values in half.values():
        values[::2] = np.nan
    ranker = DIN(DINConfig(train=ALL)).fit_samples(replace(samples, targets=half), p.features)
    told = ranker.score_features(samples.features)
    assert ranker.targets[:3] == TARGETS[:3]
    assert all(np.isfinite(values).all() for values in told.values())


def test_logs_that_have_none_of_the_wanted_targets_are_refused():
    board = checkerboard(20, 20, 0)
    features = FeatureBuilder().fit(board, ForwardIndex(board.items), UserFeatures.build(board))
    wanted = replace(ALL, targets=("p_share", "p_purchase"))
    with pytest.raises(DataError, match=r"none of the targets p_share, p_purchase .* have p_click"):
        DIN(DINConfig(train=wanted)).fit(board, features)


@pytest.mark.parametrize("targets", [(), ("p_click", "p_joy")])
def test_unknown_names_of_targets_are_refused(targets):
    with pytest.raises(ConfigError, match=r"TrainConfig.targets must name at least one of p_click"):
        TrainConfig(targets=targets)


def test_a_model_is_validated_on_the_long_view_the_click_or_what_it_has():
    assert main_target(TARGETS) == "p_long_view"
    assert main_target(("watch_sec", "p_click")) == "p_click"
    assert main_target(("p_follow", "p_like")) == "p_follow"


@pytest.mark.parametrize("name", ["watch_sec", "p_like"])
def test_one_target_alone_can_be_learned(lab, name):
    p = lab.trained.parts
    alone = DIN(DINConfig(train=replace(ALL, targets=(name,), batch_rows=500, epochs=2)))
    alone.fit(lab.logs, p.features, p.until_ms)
    assert alone.targets == (name,)
    assert alone.history.valid_auc[0] > 0.6


# ---- the loss ------------------------------------------------------------------------------


def test_the_loss_equals_a_loop_over_rows_and_targets():
    chance = np.random.default_rng(0)
    n, names = 40, ("p_click", "watch_sec", "p_like")
    labels = {name: (chance.random(n) < 0.3).astype(np.float32) for name in names}
    labels["watch_sec"] = chance.exponential(20, n).astype(np.float32)
    labels["p_like"][::5] = np.nan
    weight = chance.random(n).astype(np.float32)
    length = chance.uniform(5, 100, n).astype(np.float32)
    made = Objective.learn(names, labels, weight, length, 0.5, "ratio", watch_groups=3)
    out = torch.tensor(chance.normal(size=(n, 3)).astype(np.float32))
    encoded, total = made.encode(labels, length), 0.0
    for r in range(n):
        for k, name in enumerate(names):
            y, f = float(encoded[name][r]), float(out[r, k])
            if np.isnan(y):
                continue
            if name == "watch_sec":
                loss = np.log1p(np.exp(f)) + y * np.log1p(np.exp(-f))
            else:
                loss = -y * np.log(1 / (1 + np.exp(-f))) - (1 - y) * np.log(1 / (1 + np.exp(f)))
            total += made.weight.get(name, 1.0) * float(weight[r]) * loss / n
    assert float(made(out, encoded, weight)) == pytest.approx(total, rel=1e-4)


def test_rare_targets_start_at_their_base_rate_and_pull_by_their_entropy():
    n = 10_000
    labels = {"p_click": np.zeros(n, np.float32), "p_share": np.zeros(n, np.float32)}
    labels["p_click"][: n // 2] = 1
    labels["p_share"][: n // 500] = 1
    names, ones = ("p_click", "p_share"), np.ones(n, np.float32)

    def learn(a: float) -> Objective:
        return Objective.learn(names, labels, ones, np.ones(n), a, "ratio")

    said = learn(1.0).decode(np.array([[learn(1.0).start[k] for k in names]]), np.ones(1))
    assert said["p_share"][0] == pytest.approx(0.002, rel=1e-3)
    assert learn(0.0).weight == {"p_click": 1.0, "p_share": 1.0}
    entropy = -0.002 * np.log(0.002) - 0.998 * np.log(0.998)
    assert learn(1.0).weight["p_share"] == pytest.approx(np.log(2) / entropy, rel=1e-3)


def test_a_network_that_has_learned_nothing_predicts_the_base_rates(lab):
    p = lab.trained.parts
    samples = samples_of(lab.logs, p.features, replace(ALL, random_weight=1.0), np.arange(20_000))
    ranker = DIN(DINConfig(train=ALL))
    ranker.targets = TARGETS
    ranker._start(p.features, 0)
    ranker._set_objective(samples)
    for weight in ranker.net.parameters():
        torch.nn.init.zeros_(weight)
    told = ranker.score_features(samples.features)
    for name in TARGETS:
        assert told[name].mean() == pytest.approx(samples.targets[name].mean(), rel=0.01), name


# ---- seconds -------------------------------------------------------------------------------


def views(n: int = 6000):
    """Seconds that grow with the length of the video."""
    chance = np.random.default_rng(1)
    length = np.exp(chance.normal(3.2, 1.2, n)).astype(np.float32)
    seconds = np.minimum(length, np.exp(chance.normal(2.0, 1.4, n)) * length**0.3)
    return seconds.astype(np.float32), length


def fitted_output(scale: WatchTime, learned: np.ndarray) -> float:
    """The one output with the least mean loss."""
    out = torch.zeros(1, requires_grad=True)
    search = torch.optim.LBFGS([out], lr=0.5, max_iter=100)
    target = torch.from_numpy(learned)

    def closure() -> torch.Tensor:
        search.zero_grad()
        loss = scale.loss(out.expand(len(target)), target).mean()
        loss.backward()
        return loss

    search.step(closure)
    return float(out.detach()[0])


def test_the_ratio_predicts_the_mean_seconds_of_each_length_and_the_others_less():
    seconds, length = views()
    total = {}
    for kind in KINDS:
        scale = WatchTime.learn(kind, seconds, length)
        learned = scale.encode(seconds, length)
        best = fitted_output(scale, learned)
        assert best == pytest.approx(scale.start(learned), abs=0.02), kind
        told = scale.decode(np.full(len(length), best), length)
        total[kind] = told.sum() / seconds.sum()
        if kind == "ratio":
            for part in np.array_split(np.argsort(length), 20):
                assert told[part].mean() == pytest.approx(seconds[part].mean(), rel=0.02)
    assert total["ratio"] == pytest.approx(1.0, abs=0.01)
    assert total["quantile"] < 0.9 and total["log"] < 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_seconds_survive_encoding_and_decoding(kind):
    seconds, length = views(500)
    scale = WatchTime.learn(kind, seconds, length, groups=4)
    learned = scale.encode(seconds, length).astype(np.float64)
    out = {
        "ratio": np.log(np.maximum(learned, 1e-9)),
        "quantile": np.log(
            np.clip(learned, 1e-9, 1 - 1e-9) / (1 - np.clip(learned, 1e-9, 1 - 1e-9))
        ),
        "log": learned,
    }[kind]
    back = WatchTime.from_lists(scale.as_lists()).decode(out, length)
    assert np.allclose(back, seconds, rtol=0.02, atol=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_seconds_stay_unknown_and_an_unknown_length_is_in_between(kind):
    seconds, length = views(500)
    seconds[:100], length[100:200] = np.nan, np.nan
    scale = WatchTime.learn(kind, seconds, length)
    learned = scale.encode(seconds, length)
    assert np.array_equal(np.isnan(learned), np.isnan(seconds))
    assert np.isfinite(scale.decode(np.zeros(500), length)).all()
    bare = WatchTime.learn(kind, seconds, np.full(500, np.nan))
    assert np.isfinite(bare.decode(np.zeros(3), np.full(3, np.nan))).all()
    with pytest.raises(DataError, match="no row has known seconds"):
        WatchTime.learn(kind, np.full(3, np.nan), np.ones(3))


def test_seconds_learned_one_way_are_read_back_that_way(lab, tmp_path):
    p = lab.trained.parts
    samples = samples_of(lab.logs, p.features, ALL, np.arange(2000))
    for kind in KINDS:
        config = DINConfig(train=replace(ALL, watch=kind, max_rows=3000))
        ranker = DIN(config).fit(lab.logs, p.features, p.until_ms)
        ranker.save(tmp_path)
        again = DIN.load(tmp_path, p.features, config)
        before, after = (r.score_features(samples.features) for r in (ranker, again))
        assert all(np.array_equal(before[name], after[name]) for name in before)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ConfigError, match="TrainConfig.watch must be ratio or quantile or log"):
        TrainConfig(watch="median")


# ---- fusion --------------------------------------------------------------------------------


def test_fusion_takes_any_target_and_seconds_count_in_minutes():
    told = {name: np.array([0.1, 0.2], np.float32) for name in TARGETS}
    told["watch_sec"] = np.array([30.0, 60.0], np.float32)
    weights = {name: 2.0 for name in TARGETS}
    score = Fusion(FusionConfig(**weights))(told)
    assert score == pytest.approx([2 * (6 * 0.1 + 0.5), 2 * (6 * 0.2 + 1.0)])
    powers = Fusion(FusionConfig(kind="product", p_long_view=0.0, p_share=2.0))(told)
    assert powers == pytest.approx([0.1**2, 0.2**2], rel=1e-3)
    for name in RARE:
        with pytest.raises(ConfigError, match=f"FusionConfig.{name}"):
            FusionConfig(**{name: -1.0})


def test_positive_stands_for_click_in_logs_of_nothing_but_pairs():
    pairs = Table({n: np.arange(3) for n in ("time_ms", "user_id", "video_id")})
    logs = Logs(Table(), Table(), pairs)
    index = ForwardIndex(Table({"video_id": np.arange(3)}))
    assert known_targets(logs, np.arange(3), index)["p_click"].tolist() == [1, 1, 1]
