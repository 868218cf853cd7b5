"""The control room of lesson 03 at the smoke scale: what it draws is what the day does."""

import time

import numpy as np
import pytest

from reclab.lab.rung_values import LADDER, rung_offers
from reclab.lab.serving_day import BY_VALUE, FOLLOW, MACHINES, STATIC, TICKS, TIDE, ServingDay
from reclab.offline_online.serving.fallback import CACHED, EDITORS, FRESH, NOT_RANKED
from reclab.show.controls import Choice, Slider
from reclab.show.labels import _LABELS
from reclab.show.serving_explorer import THIN, ServingExplorer

TRACE = 1 + np.sin(np.arange(TICKS) / 20) ** 2


@pytest.fixture(scope="module")
def explorer(lab):
    rungs = rung_offers(lab, n=60, progress=False)
    return ServingExplorer(ServingDay(rungs, {"our trace": TRACE}))


@pytest.fixture(autouse=True)
def as_it_opens(explorer):
    explorer.reset()


def drawn(explorer, name, which=0):
    return explorer.figure.data[explorer.index[name][which]]


def state(explorer):
    """All that the page would draw of the current settings."""
    figure = explorer.figure
    now = [figure.data[pair[0]] for pair in explorer.index.values()]
    areas = [figure.data[place] for place in explorer._areas.values()]
    return [np.asarray(line.y, float).tolist() for line in (*now, *areas)]


def places(control):
    if control.values:
        return list(control.values)
    return list(np.arange(control.low, control.high + control.step / 2, control.step))


def test_lines_are_those_of_the_day(explorer):
    explorer.set(curve="our trace", peak_qps=10_000)
    day = explorer.result.day
    came = 1e4 * TRACE / TRACE.max()
    assert drawn(explorer, "requests come").y == pytest.approx(came[::THIN], rel=1e-5)
    assert drawn(explorer, "99 % are under").y == pytest.approx(day.p99_ms[::THIN], rel=1e-5)
    areas = [explorer.figure.data[explorer._areas[name]].y for name in LADDER]
    assert np.sum(areas, 0) == pytest.approx(1 - day.missed[::THIN], abs=1e-5)
    assert len(drawn(explorer, "ways to size").x) == len(MACHINES)


def test_every_slider_draws_something_else(explorer):
    for name, knob in explorer.knobs.items():
        if not isinstance(knob.control, Slider):
            continue
        explorer.reset()
        if name == "price":
            explorer.set(machines=BY_VALUE)
        before = state(explorer)
        away = [place for place in places(knob.control) if place != knob.value]
        for place in (away[0], away[-1]):
            explorer.set(**{name: type(knob.value)(place)})
            assert state(explorer) != before, name
            assert not explorer.message, name


def test_what_is_down_answers_nothing_in_those_hours(explorer):
    explorer.set(**{"down.ranker": False, "down.retrieval": True, "from_h": 10.0, "hours": 2.0})
    explorer.set(curve=TIDE)
    day, hours = explorer.result.day, explorer.service.hours
    inside = (hours >= 10) & (hours < 12)
    column = {name: LADDER.index(name) for name in LADDER}
    assert day.shares[inside][:, : column[NOT_RANKED] + 1].sum() == 0
    assert day.shares[inside][:, column[CACHED]].min() == 1
    assert day.shares[~inside][:, : column[NOT_RANKED]].sum(1).min() > 0
    explorer.set(**{"down.cache": True})
    assert explorer.result.day.shares[inside][:, column[CACHED]].sum() == 0
    assert explorer.result.day.missed.max() < 1e-9


def test_without_lower_rungs_too_few_machines_leave_requests_without_an_answer(explorer):
    only = {name: name == FRESH for name in LADDER}
    explorer.set(machines=STATIC, sized=0.5, curve=TIDE, **{"down.ranker": False}, **only)
    day = explorer.result.day
    assert day.missed.max() > 0.3 and np.isfinite(day.p99_ms).all()
    explorer.set(**{EDITORS: True})
    assert explorer.result.day.missed.max() < 1e-9


def test_machines_that_follow_cost_less_and_lose_little(explorer):
    found = explorer.set(machines=FOLLOW, curve=TIDE).result
    follow, static = found.ways[FOLLOW], found.ways[STATIC]
    assert follow.machine_hours < 0.8 * static.machine_hours
    assert found.kept(follow) > 0.95 * found.kept(static)
    few = explorer.set(price=3000).result.ways[BY_VALUE].machine_hours
    assert explorer.set(price=50).result.ways[BY_VALUE].machine_hours > 2 * few


def test_the_table_says_what_is_drawn_and_what_cannot_be_is_said(explorer):
    text = explorer.summary()
    assert "value kept" in text and "machine-hours" not in text and "nan" not in text.split()
    before = explorer.result
    explorer.set(**dict.fromkeys(LADDER, False))
    assert "at least one rung" in explorer.message and explorer.result is before
    explorer.reset()
    explorer.set(deadline_ms=8, reserve=0.6, **{name: name == FRESH for name in LADDER})
    assert "no rung is on that keeps the budgets" in explorer.message


def test_series_have_names_of_their_own_and_a_ghost(explorer):
    for one in explorer.traces():
        assert one.name in _LABELS, one.name
    explorer.pin()
    explorer.set(peak_qps=50_000)
    ghost = drawn(explorer, "requests come", 1)
    assert max(ghost.y) * 2 < max(drawn(explorer, "requests come").y)
    dots = [drawn(explorer, "ways to size", which) for which in (0, 1)]
    assert dots[1].marker.symbol == "circle-open" and len(set(dots[0].marker.symbol)) == 4
    assert dots[0].x != dots[1].x and dots[0].marker.size[1] > dots[0].marker.size[0]


def test_a_move_is_computed_in_half_of_what_a_page_may_take(explorer):
    """CPU time of compute alone, without the cache; its limit is 50 ms, and this machine is busy:
    the middle of all moves is asked for, the longest may be a stranger's."""
    spent = []
    for name, knob in explorer.knobs.items():
        control, base = knob.control, explorer.params
        options = places(control)[::3] if isinstance(control, Slider) else [True, False]
        if isinstance(control, Choice):
            options = list(control.options)
        for value in options:
            params = {**base, name: value}
            if explorer.check(params):
                continue
            began = time.process_time()
            explorer.compute(params)
            spent.append(1000 * (time.process_time() - began))
    assert np.median(spent) < 50
