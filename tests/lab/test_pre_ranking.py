"""Pre-ranking and indexes measured: the replays are the live cascade's, the baselines are exact."""

import numpy as np
import pytest

from reclab.cascade.pre_ranking.duties import DutiesConfig
from reclab.lab import duties, experiments, indexes, pre_ranking
from reclab.lab.panel import replay
from reclab.show import pre_ranking_plots as show


def test_the_best_by_the_flat_index_are_the_best_by_brute_force(lab):
    vectors, queries = indexes.item_vectors(lab, 30)
    found = indexes.curves(vectors, queries, 20, n_probe=(1, 8, 4096), ef=(40, 400))
    true = np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :20]
    index = lab.trained.parts.two_tower.vectors
    assert index.built_kind == "flat"
    assert indexes.recall(index.search(queries, 20)[1], true) > 0.999  # ties aside
    assert [point.recall for point in found["flat"].points] == [1.0]
    probed = [point.recall for point in found["ivf"].points]
    assert probed[0] < probed[1] < probed[2] == 1.0
    assert found["hnsw"].points[1].recall > 0.95
    assert found["flat"].mbytes < found["ivf"].mbytes < found["hnsw"].mbytes
    assert "flat" in show.index_table(found) and len(show.index_plot(found).data) == 3


def test_curves_are_measured_once(lab, monkeypatch):
    first = indexes.index_curves(lab, n_queries=10)
    monkeypatch.setattr(indexes, "curves", None)
    assert indexes.index_curves(lab, n_queries=10) == first


class ByRow:
    """A pre-ranker of another mind: it goes by the item's number, without ties."""

    macs_per_candidate = 1

    def score(self, batch, candidates):
        return (candidates.item_row * 7919 % 100_003).astype(float)


def test_a_pre_ranker_in_the_panel_is_that_pre_ranker_live(lab):
    """The cascade's own gives the panel's own order; another gives what the live cascade gives."""
    panel, config = lab.panel, lab.trained.config
    clean = pre_ranking.clean_candidates(panel, config)
    score = pre_ranking.pre_scores(lab, lab.trained.parts.pre_ranker, clean)
    own = pre_ranking.reordered(panel, score)
    before = replay(panel, config, lab.trained.parts.index)
    after = replay(own, config, lab.trained.parts.index)
    assert (before.lists == after.lists).mean() > 0.99  # float ties may fall differently
    other = ByRow()
    score = pre_ranking.pre_scores(lab, other, clean)
    narrow = lab.trained.with_parts(pre_ranker=other).with_config(pre_rank=40, rank=20)
    ours = replay(pre_ranking.reordered(panel, score), narrow.config, narrow.parts.index).lists
    theirs = experiments.lists_of(narrow, lab.requests(len(panel)))
    assert (ours == theirs).mean() > 0.97
    assert (ours == before.lists).mean() < 0.9


@pytest.mark.parametrize(
    "config",
    [DutiesConfig(long_tail=0.3, cold_start=0.2, creators=0.3), DutiesConfig(category=0.2)],
)
def test_duties_in_the_panel_are_those_of_the_live_cascade(lab, config):
    mine = duties.duties_of(lab, config)
    live = lab.trained.with_parts(duties=mine).with_config(pre_rank=60, rank=30)
    panel = duties.with_duties(lab.panel, duties.panel_batch(lab), live.config, mine)
    ours = replay(panel, live.config, live.parts.index).lists
    theirs = experiments.lists_of(live, lab.requests(len(panel)))
    assert (ours == theirs).mean() > 0.97
    plain = replay(lab.panel, live.config, live.parts.index).lists
    assert (ours == plain).mean() < 0.97


def test_no_duty_costs_nothing_and_more_places_let_more_in(lab):
    found = duties.duty_costs(lab)
    plain = replay(lab.panel, lab.trained.config, lab.trained.parts.index).share
    for duty, row in found.items():
        costs = list(row.values())
        assert costs[0].share == pytest.approx(plain), duty
        sign = -1 if duty == "category" else 1  # a quota takes places from the largest
        for reach in ([cost.seen[1] for cost in costs], [cost.reached for cost in costs]):
            assert (sign * np.diff(reach) >= -1e-9).all(), duty
    for share in (0.3, 0.5):
        assert found["creators"][share].seen[1] >= share - 0.02
    assert found["category"][0.2].seen[1] <= 0.35
    assert "long-tail support" in show.duties_table(found)


def test_fewer_bytes_keep_nearly_the_same(lab):
    found = pre_ranking.precisions(lab, sizes=(100,))
    assert found["float32"].agreement == 1.0
    assert found["float16"].agreement > 0.99 and found["int8"].agreement > 0.95
    assert found["int8"].mbytes < 0.3 * found["float32"].mbytes
    assert "int8" in show.precision_table(found)


@pytest.mark.slow
def test_three_models_by_two_teachers_are_trained_once_and_compared(lab, monkeypatch):
    models = pre_ranking.pre_rankers(lab, max_rows=20_000)
    monkeypatch.setattr(pre_ranking, "training_samples", None)
    again = pre_ranking.pre_rankers(lab, max_rows=20_000)
    assert list(models) == list(again) and len(models) == 6
    found = pre_ranking.compare_pre_rankers(lab, models)
    for name, one in found.items():
        assert 0.3 < one.recall <= 1.0 and 0.2 < one.narrow < 1.0, name
    assert found["three_tower_pre_ranker, log"].macs > found["pre_ranker, log"].macs
    assert "three towers" in show.pre_rankers_table(found)
