"""What rungs cost and give in the tiny lab, and the day that is made of it."""

import os
from pathlib import Path

import numpy as np
import pytest

from reclab.core.errors import ConfigError
from reclab.lab.rung_values import DEEP, LADDER, SHALLOW, STAGES, rung_offers, table
from reclab.lab.serving_day import (
    BY_VALUE,
    FOLLOW,
    FORECAST,
    STATIC,
    SURGE,
    TICKS,
    DayKnobs,
    ServingDay,
    real_days,
)
from reclab.offline_online.serving.capacity import response_ms
from reclab.offline_online.serving.fallback import CACHED, EDITORS, FRESH, HOT, NOT_RANKED

TRACES = Path(os.environ.get("RECLAB_SHARED", "../shared")) / "data" / "traffic"


@pytest.fixture(scope="module")
def service(lab):
    return ServingDay(rung_offers(lab, n=60, progress=False))


def test_a_lower_rung_costs_less_and_the_pools_are_worth_least(service):
    rungs = service.rungs
    cost = [rungs[name].cost_ms for name in (DEEP, FRESH, NOT_RANKED, CACHED, HOT)]
    assert all(a > b for a, b in zip(cost, cost[1:], strict=False))
    worst = max(rungs[HOT].value, rungs[EDITORS].value)
    for name in (DEEP, FRESH, SHALLOW, NOT_RANKED, CACHED):
        assert rungs[name].value > 1.3 * worst and 0 < rungs[name].share < 1
    assert sum(rungs[FRESH].stage_ms) == pytest.approx(rungs[FRESH].cost_ms, rel=0.35)
    assert len(rungs[FRESH].stage_ms) == len(STAGES) and all(n in table(rungs) for n in LADDER)


def test_the_calibrated_tide_has_its_peak_in_the_evening(service):
    day = service.run(DayKnobs())
    hours = service.hours
    assert 20 <= hours[day.qps.argmax()] <= 22 and 3 <= hours[day.qps.argmin()] <= 5
    assert day.qps.max() == pytest.approx(20_000, rel=0.01)
    assert 8 < day.qps.max() / day.qps.min() < 9  # KuaiRand's 8.5


def test_machines_for_nine_in_the_evening_keep_the_limit_and_fewer_do_not(service):
    knobs = DayKnobs(machines=STATIC, sized=1.0)
    day, rung = service.run(knobs), service.rungs[FRESH]
    cores, limit = 2 * int(day.machines[0]), service.cluster(knobs).deadline_ms
    usual = (rung.cost_ms, rung.spread)
    assert response_ms(0.99, day.qps.max(), cores, *usual) <= limit
    assert response_ms(0.99, day.qps.max(), cores - 2, *usual) > limit


def test_machines_of_the_forecast_are_there_before_the_load(service):
    slow = {"start_min": 60.0, "on": dict.fromkeys(LADDER, False) | {FRESH: True, EDITORS: True}}
    follow, forecast = (service.run(DayKnobs(machines=way, **slow)) for way in (FOLLOW, FORECAST))
    fresh = LADDER.index(FRESH)
    assert forecast.of_requests(forecast.shares)[fresh] > 0.999
    assert follow.of_requests(follow.shares)[fresh] < 0.99
    assert follow.machine_hours < forecast.machine_hours


def test_a_surge_lowers_rungs_and_leaves_nobody_out(service):
    knobs = DayKnobs(curve=SURGE, height=5.0, machines=STATIC)
    day, inside = service.run(knobs), (service.hours >= 20.5) & (service.hours < 21.5)
    assert day.qps[inside].min() > 4 * day.qps[~inside].max() and not day.missed.any()
    cheap = [LADDER.index(name) for name in (CACHED, HOT, EDITORS)]
    assert day.shares[inside][:, cheap].sum(1).mean() > 0.5 > day.shares[~inside][:, cheap].max()


def test_a_dear_machine_is_had_less_often(service):
    hours = [
        service.run(DayKnobs(machines=BY_VALUE, price=price)).machine_hours
        for price in (100.0, 700.0, 3000.0)
    ]
    assert hours[0] > hours[1] > hours[2]


def test_a_short_deadline_or_a_small_share_takes_funnels_away(service):
    names = list(service.rungs)
    assert service.fits(DayKnobs()).all()
    tight = service.rungs[FRESH].stage_ms[0] * 1.2
    little = service.fits(DayKnobs(deadline_ms=3 * tight, reserve=0.0, retrieval=0.05))
    assert not little[names.index(FRESH)] and little[names.index(CACHED)]
    with pytest.raises(ConfigError, match="no rung"):
        service.run(DayKnobs(on=dict.fromkeys(LADDER, False)))
    with pytest.raises(ConfigError, match="no traffic"):
        service.run(DayKnobs(curve="the moon"))


def test_real_traces_become_days(service):
    if not TRACES.is_dir():
        pytest.skip(f"no {TRACES}")
    days = real_days(TRACES)
    assert len(days) >= 3 and all(len(day) == TICKS for day in days.values())
    told = ServingDay(service.rungs, days)
    for name in days:
        day = told.run(DayKnobs(curve=name))
        assert day.qps.max() == pytest.approx(20_000) and np.isfinite(day.p99_ms).all()
    assert real_days(TRACES / "none") == {}
