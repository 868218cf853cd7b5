"""lab.targets and its two studies: a front against a loop, calibration that conserves its rows."""

from dataclasses import replace

import numpy as np
import pytest

from reclab.core import metrics
from reclab.core.errors import DataError
from reclab.lab import target_studies
from reclab.lab.calibration_study import calibration, exposure_shift, told_and_true
from reclab.lab.target_studies import duration_bias, multi_task, true_lists, watch_study
from reclab.lab.targets import (
    TargetLab,
    front,
    judged_rows,
    list_values,
    make_target_panel,
    panel_rows,
    rows_of,
    target_lab,
    top_places,
    undominated,
)


@pytest.fixture(scope="module")
def built(lab) -> TargetLab:
    return target_lab(lab)


def test_it_is_built_once_and_read_back_the_same(lab, built):
    again = target_lab(lab)
    for name, values in built.panel.told.items():
        assert np.array_equal(values, again.panel.told[name]), name
    assert again.panel.by_truth and built.ranker.history == again.ranker.history
    assert built.ranker.history.left_out == {}


def test_rows_are_those_of_two_unseen_days(lab, built):
    log, until = lab.logs.interactions, lab.trained.parts.until_ms
    unseen = log.take(log["time_ms"] >= until)
    assert sum(len(part) for part in built.rows.values()) == len(unseen)
    for name, column in (("p_click", "is_click"), ("p_like", "is_like")):
        total = sum(part.label[name].sum() for part in built.rows.values())
        assert total == unseen[column].sum()
    flagged = sum(part.is_random.sum() for part in built.rows.values())
    assert flagged == unseen["is_random"].sum() > 0


def test_candidates_are_the_best_that_no_filter_drops(lab, built):
    rows, panel = panel_rows(lab, 50), lab.panel
    assert np.array_equal(rows, built.panel.item_row[:, :50])
    for e in range(0, len(panel), 7):
        item_row, dropped = (a.take(panel.by_pre[e]) for a in (panel.item_row, panel.dropped))
        free = item_row[~dropped & (item_row >= 0)]
        assert rows[e].tolist() == free[:50].tolist()


@pytest.mark.parametrize("kind", ["sum", "product"])
def test_the_front_is_what_sorting_by_each_weight_gives(built, kind):
    panel = built.panel
    found = front(panel, "p_long_view", "p_like", kind, steps=5)
    mean = {n: panel.told[n].mean() for n in ("p_long_view", "p_like")}
    for w, long_view, like in zip(
        found.weight, found.value["p_long_view"], found.value["p_like"], strict=True
    ):
        total = np.zeros(2)
        for e in range(len(panel.item_row)):
            a, b = (panel.told[n][e] / mean[n] for n in mean)
            score = (1 - w) * a + w * b
            if kind == "product":
                score = (1e-3 + a) ** (1 - w) * (1e-3 + b) ** w
            there = np.flatnonzero(panel.item_row[e] >= 0)
            top = there[np.argsort(-score[there], kind="stable")[:10]]
            total += [panel.true["p_long_view"][e, top].sum(), panel.true["p_like"][e, top].sum()]
        assert [long_view, like] == pytest.approx(total / len(panel.item_row), rel=1e-3)


def test_the_true_front_holds_the_best_of_both_ends_and_no_list_beats_it(built):
    panel = built.panel
    ideal = front(panel, "p_long_view", "watch_sec", by=panel.true)
    real = front(panel, "p_long_view", "watch_sec")
    for end, name in ((0, "p_long_view"), (-1, "watch_sec")):
        best = list_values(panel, top_places(panel, panel.true[name]))[name]
        assert ideal.value[name][end] == pytest.approx(best) == ideal.value[name].max()
        assert (real.value[name] <= best * (1 + 1e-6)).all()
        assert real.value[name][end] > 0.9 * real.value[name].max()
    assert ideal.best.sum() > 10


def test_where_nobody_knows_the_truth_predictions_stand_in_for_it(lab, built):
    """The platform's logs taken for real ones: judged by clicks, days by tenths of the time."""
    real = replace(lab, origin="somewhere")
    panel = make_target_panel(real, built.ranker)
    assert not panel.by_truth and panel.true is panel.told
    assert front(panel, "p_click", "watch_sec").best.any()
    when = lab.logs.interactions["time_ms"]
    rows = rows_of(judged_rows(real, "tuning"), built.ranker)
    first, stop = np.searchsorted(when, np.quantile(when, [0.8, 0.9]).astype(np.int64))
    assert len(rows) == stop - first
    real.close()


def test_undominated_points_are_found_as_by_brute_force():
    chance = np.random.default_rng(0)
    x, y = chance.integers(0, 6, 40), chance.integers(0, 6, 40)
    for i, free in enumerate(undominated(x, y)):
        beaten = any(
            x[j] >= x[i] and y[j] >= y[i] and (x[j] > x[i] or y[j] > y[i]) for j in range(40)
        )
        assert free != beaten


def test_seconds_grow_with_length_and_liking_does_not(built):
    bias = duration_bias(built.rows["tuning"])
    assert (np.diff(bias.duration_sec) > 0).all()
    assert bias.seconds_times > 8 and 0.5 < bias.liked_times < 2
    assert np.average(bias.watch_sec) == pytest.approx(
        built.rows["tuning"].label["watch_sec"].mean(), rel=0.01
    )


def test_duration_bias_without_lengths_is_refused(built):
    rows = built.rows["tuning"]
    bare = replace(rows, duration_sec=np.full(len(rows), np.nan))
    with pytest.raises(DataError, match="do not say how long videos are"):
        duration_bias(bare)


def test_calibration_judges_all_held_out_rows_and_helps_where_it_learned(built):
    found, held = calibration(built.rows), built.rows["held_out"]
    for name in held.told:
        assert found["exposed"][name].rows + found["random"][name].rows == len(held)
        for kind, mask in (("exposed", ~held.is_random), ("random", held.is_random)):
            one = found[kind][name]
            assert one.rate == pytest.approx(held.label[name][mask].mean(), rel=1e-5)
            said, was, size = one.points["raw"]
            assert size.sum() == one.rows
            assert (said * size).sum() / size.sum() == pytest.approx(one.told["raw"], rel=1e-4)
            assert one.ece["raw"] == metrics.ece(held.label[name][mask], held.told[name][mask])
            assert 0 <= one.noise < 10 * max(one.rate, 1e-3)


def test_a_model_twice_too_sure_is_put_right(built):
    def doubled(rows):
        return replace(rows, told={k: np.minimum(2 * v, 0.99) for k, v in rows.told.items()})

    wrong = {split: doubled(rows) for split, rows in built.rows.items()}
    one = calibration(wrong)["exposed"]["p_long_view"]
    assert one.ece["isotonic"] < 0.3 * one.ece["raw"]


def test_told_and_true_are_means_of_the_panel_and_of_its_lists(built):
    panel = built.panel
    told, true, best_told, best_true = told_and_true(panel)["p_long_view"]
    there = panel.item_row >= 0
    assert told == pytest.approx(panel.told["p_long_view"][there].mean())
    assert true == pytest.approx(panel.true["p_long_view"][there].mean())
    places = top_places(panel, panel.told["p_long_view"])
    lists = list_values(panel, places)["p_long_view"]
    assert best_true == pytest.approx(lists / 10) and best_told > told


def test_who_learned_from_exposed_rows_is_wrong_on_random_ones(lab):
    found = exposure_shift(lab)
    assert list(found) == ["exposed only", "sampled negatives", "as-of features"]
    for by in found.values():
        assert by["random"].rate < by["exposed"].rate
    assert found["exposed only"]["random"].told["raw"] > found["exposed only"]["random"].rate


def test_the_best_lists_for_seconds_are_long_videos_and_cost_long_views(built):
    found = true_lists(built.panel)
    by_seconds, by_views, all_of_them = (
        found[name] for name in ("best by watch_sec", "best by p_long_view", "all candidates")
    )
    assert by_seconds.seconds > by_views.seconds > 0
    assert by_views.long_views > by_seconds.long_views > all_of_them.long_views
    assert by_seconds.long_share > all_of_them.long_share


@pytest.mark.slow
def test_the_studies_run_and_remember_what_they_found(lab, monkeypatch):
    watch = watch_study(lab)
    assert watch["ratio"].total == pytest.approx(1.0, abs=0.35)
    assert watch["log"].total < 0.8 * watch["ratio"].total
    assert watch["log"].mae < watch["ratio"].mae
    best = true_lists(target_lab(lab).panel)["best by watch_sec"]
    assert all(w.seconds <= best.seconds * (1 + 1e-6) for w in watch.values())
    assert watch["ratio"].relative_long_share < watch["ratio"].long_share
    tasks = multi_task(lab, seeds=(0,), rows=10_000)
    assert list(tasks) == ["single", "shared bottom", "MMoE", "PLE"]
    assert all(0.5 < s["auc"][0] < 1 for by in tasks.values() for s in by.values())
    monkeypatch.setattr(target_studies, "_measure_tasks", None)
    assert multi_task(lab, seeds=(0,), rows=10_000) == tasks
