"""lab: opening, cache, panel and judges at the smoke scale."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import reclab
from reclab.cascade.pipeline import CHANNELS
from reclab.cascade.pre_ranking.duties import Duties, DutiesConfig
from reclab.cascade.re_ranking.dpp import DPPConfig, DPPStage
from reclab.core.errors import ConfigError, DataError
from reclab.lab import cache, experiments
from reclab.lab.judge import best_lists, eligible, score_lists
from reclab.lab.latency import STAGES, fit_line, measure_latency
from reclab.lab.model_scores import known_scores, score_model, with_models
from reclab.lab.panel import exposures
from reclab.lab.replay import replay


def test_a_second_opening_gives_the_same_lab_without_building(lab, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("built again")

    monkeypatch.setattr("reclab.world.generate", refuse)
    again = reclab.open("tiny", progress=False)
    assert again.models_folder == lab.models_folder
    assert repr(again) == repr(lab)


@pytest.mark.parametrize("scale", ["huge", "Laptop", ""])
def test_a_wrong_scale_is_named_with_the_good_ones(scale, monkeypatch):
    monkeypatch.delenv("RECLAB_SCALE", raising=False)
    with pytest.raises(ConfigError, match="tiny, laptop, full"):
        reclab.open(scale or "none", progress=False)


def test_a_folder_without_data_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(DataError, match="no known data set"):
        reclab.open(data=tmp_path, progress=False)


FUNNELS = {
    "default": {"retrieve": 1000, "pre_rank": 300, "rank": 100},
    "narrow": {"retrieve": 200, "pre_rank": 100, "rank": 20},
    "two channels": {"retrieve": 400, "pre_rank": 50, "rank": 50, "channels": CHANNELS[1:3]},
    "points": {"retrieve": 300, "pre_rank": 100, "merge": "score"},
    "quotas": {"retrieve": 300, "pre_rank": 100, "shares": {"item_cf": 4.0, "popular": 0.25}},
}


def same_lists(lab, live, panel=None, **parts):
    """Share of cards that the replay and the live cascade have in common, place by place."""
    ours = replay(panel or lab.panel, live.config, live.parts.index, **parts).lists
    return (ours == experiments.lists_of(live, lab.requests(len(lab.panel)))).mean()


@pytest.mark.parametrize("sizes", FUNNELS.values(), ids=FUNNELS)
def test_the_panel_replays_the_live_cascade(lab, sizes):
    """The same lists, card by card; float ties may fall differently in batches."""
    assert same_lists(lab, lab.trained.with_config(**sizes)) > 0.97


def test_the_panel_replays_duties_and_another_re_ranker(lab):
    p = lab.trained.parts
    wanted = DutiesConfig(long_tail=0.2, cold_start=0.1, creators=0.1, category=0.3)
    duties = Duties(wanted, p.index, exposures(lab.trained))
    for sizes in FUNNELS.values():
        for parts in (
            {"duties": duties},
            {"re_ranker": partial(DPPStage, dpp=DPPConfig(theta=0.8))},
        ):
            live = lab.trained.with_config(**sizes).with_parts(**parts)
            assert same_lists(lab, live, **parts) > 0.97
            usual = experiments.lists_of(lab.trained.with_config(**sizes), lab.requests(60))
            assert (experiments.lists_of(live, lab.requests(60)) != usual).any()


def test_the_panel_replays_other_models(lab):
    """Whatever has scored the panel stands where the cascade's own model stood."""
    ranker = lab.static_rankers["exposed only"]
    scores = score_model(lab, "ranking", "exposed only", ranker)
    live = lab.trained.with_parts(ranker=ranker)
    assert same_lists(lab, live, with_models(lab.panel, ranker=scores)) > 0.97
    assert same_lists(lab, live) < 0.9
    again = known_scores(lab, "ranking", ("exposed only", "never trained"))
    assert list(again) == ["exposed only"] and again["exposed only"].macs == scores.macs > 0

    class Backwards:
        macs_per_candidate = 1

        def score(self, batch, candidates):
            return -lab.trained.parts.pre_ranker.score(batch, candidates)

    scores = score_model(lab, "pre_ranking", "backwards", Backwards())
    live = lab.trained.with_parts(pre_ranker=Backwards())
    assert same_lists(lab, live, with_models(lab.panel, pre_ranker=scores)) > 0.97


def test_the_panel_survives_saving(lab, tmp_path):
    lab.panel.save(tmp_path / "panel.npz")
    again = type(lab.panel).load(tmp_path / "panel.npz")
    assert (again.item_row == lab.panel.item_row).all()


def test_the_oracle_is_the_best_and_the_score_counts_gains():
    gain = np.array([[0.1, 0.9, 0.5, 0.0]])
    best = best_lists(gain, 2)
    assert best.tolist() == [[1, 2]]
    score = score_lists(gain, np.array([[2, -1]]))
    assert score.value == pytest.approx(0.5)
    assert score.oracle_value == pytest.approx(1.4)
    assert score.share == pytest.approx(0.5 / 1.4)


def test_seen_and_unpublished_items_are_worth_nothing_to_anybody(lab):
    requests, parts = lab.requests(10), lab.trained.parts
    allowed = eligible(requests, parts.users, parts.index)
    for b, request in enumerate(requests):
        late = parts.index["publish_ms"] > request.time_ms
        assert not allowed[b, late].any()
    assert 0 < allowed.mean() < 1


def test_policies_are_ordered(lab):
    scores = experiments.compare(lab, 60)
    value = {name: score.value for name, score in scores.items()}
    assert value["random"] < value["cascade"] < value["oracle without session"] < value["oracle"]
    assert scores["oracle"].share == pytest.approx(1.0)
    assert scores["oracle"].ndcg == pytest.approx(1.0)


def test_wider_stages_are_worth_more(lab):
    curves = experiments.size_curves(lab, (20, 1500))
    assert curves["retrieve"][20].share < curves["retrieve"][1500].share
    for name in ("retrieve", "pre_rank"):
        assert curves[name][20].recall[2] < curves[name][1500].recall[2]
    wide = curves["rank"]  # a cut by the order that the list is made by changes nothing
    assert wide[20].share == wide[1500].share


def test_latency_lines_are_never_negative(lab):
    model = measure_latency(lab.trained, lab.requests(3), ((50, 20, 10), (200, 100, 50)))
    assert model.stages == STAGES
    assert (model.fixed >= 0).all() and (model.slope >= 0).all()
    a, b = fit_line(np.array([10.0, 20.0]), np.array([1.0, 3.0]))  # would cut the axis below 0
    assert a == 0 and b > 0


def test_the_cache_is_keyed_by_code(lab):
    assert cache.code_version(["stores", "cascade", "lab"]) in lab.models_folder.name


def test_measured_sizes_are_shares_of_the_default_funnel(lab):
    measure = experiments.measure_sizes(lab)
    config = lab.trained.config
    full = {name: getattr(config, name) for name in ("retrieve", "pre_rank", "rank")}
    assert measure(full) == pytest.approx((1.0, 1.0))
    value, cost = measure({"retrieve": 100, "pre_rank": 20, "rank": 10})
    assert value < 1 and cost < 0.3


def test_changing_only_the_order_of_channels_keeps_the_candidates(lab):
    config = lab.trained.config
    turned = replace(config, channels=config.channels[::-1])
    one = replay(lab.panel, config, lab.trained.parts.index)
    two = replay(lab.panel, turned, lab.trained.parts.index)
    assert one.recall[0] == pytest.approx(two.recall[0], abs=0.02)


def test_real_logs_become_a_lab_and_too_few_rows_are_said(tmp_path, monkeypatch):
    """MovieLens in the publisher's format, made up here: the clicks that followed are the judge."""
    monkeypatch.setenv("RECLAB_CACHE", str(tmp_path / "cache"))
    chance = np.random.default_rng(0)

    def write(n: int) -> None:
        rows = np.stack(
            [
                chance.integers(1, 60, n),
                chance.integers(1, 80, n),
                chance.integers(1, 6, n),
                880_000_000 + np.sort(chance.integers(0, 10**6, n)),
            ],
            axis=1,
        )
        np.savetxt(tmp_path / "u.data", rows, "%d", delimiter="\t")

    write(60)
    with pytest.raises(DataError, match="60 interactions, too few"):
        reclab.open(data=tmp_path / "u.data", progress=False)
    write(4000)
    lab = reclab.open(data=tmp_path / "u.data", progress=False)
    assert lab.origin == "movielens" and not lab.has_truth
    slate, _ = lab.cascade.recommend(lab.requests(1)[0])
    assert len(slate) == 10
    scores = experiments.compare(lab, 30)
    assert "oracle without session" not in scores and scores["oracle"].share == 1.0
    with pytest.raises(DataError, match="truth is hidden"):
        _ = lab.world
    lab.close()
