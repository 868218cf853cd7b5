"""The long tail of a log: counts by brute force, Gini by another formula, what must hold of any."""

import numpy as np
import pytest

from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import ConfigError, DataError
from reclab.core.tables import Logs, Table
from reclab.lab.long_tail import (
    Exposed,
    aligned,
    concentration,
    coverage_by_day,
    figure_2_9,
    first_exposures,
    reach_of_creators,
    reach_of_items,
)


@pytest.fixture(scope="module")
def exposed(lab) -> Exposed:
    return Exposed.of(lab.logs)


def small(item, day, publish_day, creator, days=4, click=None, chosen=None) -> Exposed:
    n = len(item)
    return Exposed(
        np.array(item),
        (np.array(day) * DAY_MS).astype(np.int64),
        np.ones(n, bool) if click is None else np.array(click),
        np.ones(n, bool) if chosen is None else np.array(chosen),
        (np.array(publish_day) * DAY_MS).astype(np.int64),
        np.array(creator),
        max(creator) + 1,
        days,
    )


def test_every_exposure_of_the_log_is_counted_once_with_its_item_and_creator(lab, exposed):
    rows, shown = lab.logs.interactions, exposed.by_day()
    assert shown.sum() == len(rows)
    ids, count = np.unique(rows["video_id"], return_counts=True)
    place = {v: i for i, v in enumerate(lab.logs.items["video_id"].tolist())}
    assert (shown.sum(0)[[place[v] for v in ids.tolist()]] == count).all()
    authors, made = np.unique(rows["author_id"], return_counts=True)
    by_creator = exposed.of_creators(shown).sum(0)
    every = np.unique(lab.logs.items["author_id"])
    assert (by_creator[np.searchsorted(every, authors)] == made).all()


def test_the_gini_of_each_day_is_half_the_relative_mean_absolute_difference(exposed):
    found, shown = concentration(exposed), exposed.by_day()
    for day in (0, exposed.days - 1):
        x = shown[day, exposed.publish_ms < (day + 1) * DAY_MS].astype(float)
        by_pairs = np.abs(x[:, None] - x[None]).mean() / (2 * x.mean())
        assert found.gini_items[day] == pytest.approx(by_pairs, abs=1e-9)
        assert found.unseen[day] == pytest.approx(np.mean(x == 0))
        assert found.bottom[day] == pytest.approx(
            np.sort(x)[: len(x) - round(0.2 * len(x))].sum() / x.sum()
        )


def test_the_area_over_the_lorenz_curve_is_the_gini(exposed):
    x, y = concentration(exposed).items
    whole = exposed.by_day().sum(0)
    by_pairs = np.abs(whole[:, None] - whole[None]).mean() / (2 * whole.mean())
    assert 1 - 2 * np.trapezoid(y, x) == pytest.approx(by_pairs, abs=0.01)


def test_figure_2_9_puts_each_item_of_each_day_into_the_class_of_its_clicks_the_day_before():
    e = small([0, 0, 0, 1, 0, 0, 2], [0, 0, 0, 0, 1, 1, 1], [-1, -1, -1], [0, 0, 1], days=2)
    found = figure_2_9(e)
    assert found.clicks.tolist() == [0, 1, 2]  # item 2; item 1; item 0 with 3 clicks
    assert found.n_items.tolist() == [1, 1, 1]
    assert found.before.tolist() == [0, 1, 3]
    assert found.after.tolist() == [1, 0, 2]
    assert found.share_exposure.tolist() == pytest.approx([1 / 3, 0, 2 / 3])


def test_in_our_log_the_popular_are_few_and_get_far_more_than_their_share(exposed):
    found = figure_2_9(exposed)
    assert found.share_items.sum() == pytest.approx(1)
    assert found.share_exposure.sum() == pytest.approx(1)
    assert found.share_items[:2].sum() > 0.7  # most items: none, or a single click
    few = found.share_items.cumsum() > 0.9
    assert found.share_exposure[few].sum() > 2 * found.share_items[few].sum()
    assert 0.7 < found.slope <= 1.1
    assert figure_2_9(exposed, 7).slope < found.slope  # fame of a week ago counts for less


def test_reach_of_new_items_by_brute_force(exposed):
    hours = 24.0
    new, count = first_exposures(exposed, hours)
    for i in range(0, len(new), 60):
        mine = exposed.time_ms[exposed.item == new[i]] - exposed.publish_ms[new[i]]
        assert count[i] == (mine < hours * HOUR_MS).sum()
    found = reach_of_items(exposed, hours)
    assert found.n == len(new)
    assert found.share.tolist() == [np.mean(count >= goal) for goal in found.goals]
    assert (np.diff(found.share) <= 0).all() and (found.chosen <= found.share).all()


def test_longer_is_never_less(exposed):
    day, three = reach_of_items(exposed, 24, (5,)), reach_of_items(exposed, 72, (5,))
    assert three.share[0] > day.share[0]


def test_items_whose_hours_are_not_over_are_not_judged():
    e = small([0, 1], [1.0, 3.9], [1, 3.5], [0, 1])
    assert first_exposures(e, 24)[0].tolist() == [0]
    coverage = coverage_by_day(e)
    assert coverage[1] == 1 and np.isnan(coverage[[0, 2, 3]]).all()


def test_creators_are_counted_from_the_window_in_which_they_have_an_item():
    e = small([0, 0, 1], [0.5, 2.5, 3.5], [-1, 3], [0, 1], chosen=[True, False, True])
    found = reach_of_creators(e, 24, (1, 2))
    assert found.n == 5  # four windows of the first, one of the second
    assert found.share.tolist() == [3 / 5, 0]
    assert found.chosen.tolist() == [2 / 5, 0]


def test_an_empty_log_and_an_unknown_item_are_named():
    none = np.zeros(0, np.int64)
    items = Table({"video_id": np.array([7]), "author_id": np.array([1])})
    rows = {"video_id": none, "time_ms": none, "is_click": none}

    def logs(table: Table) -> Logs:
        return Logs(items, items, table, items, items)

    with pytest.raises(DataError, match="no exposures"):
        Exposed.of(logs(Table(rows)))
    with pytest.raises(DataError, match="does not have"):
        Exposed.of(logs(Table({k: np.array([5]) for k in rows})))


def test_odd_windows_are_refused(exposed):
    with pytest.raises(ConfigError, match="hours"):
        reach_of_items(exposed, 0)
    with pytest.raises(ConfigError, match="within the log"):
        reach_of_creators(exposed, 24.0 * 100)
    with pytest.raises(ConfigError, match="memory"):
        figure_2_9(exposed, exposed.days)


def test_the_tables_have_a_line_for_each_value(exposed):
    assert len(figure_2_9(exposed).table().splitlines()) == len(figure_2_9(exposed).clicks) + 1
    assert len(reach_of_items(exposed).table().splitlines()) == 6
    assert str(exposed.days - 1) in concentration(exposed).table().splitlines()[-1]
    assert aligned([("a", "b"), ("ccc", "dd")]) == "a     b\nccc  dd"
