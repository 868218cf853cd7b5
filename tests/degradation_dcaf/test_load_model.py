"""The load model against closed forms, and against a queue that is played request by request."""

import heapq
from math import exp, factorial, inf, log

import numpy as np
import pytest

from reclab.core.errors import ConfigError, DataError
from reclab.degradation_dcaf.actions import Costs
from reclab.degradation_dcaf.load_model import (
    LoadConfig,
    LoadModel,
    Pool,
    _free_states,
    free_states,
    steady,
)

COSTS = Costs(np.array([1.0, 1.0, 1.0]), np.array([0.2, 1.5, 3.0]), np.full(3, 0.6), 0.2)


def played(
    load: float, servers: int, service_ms: float, spread: float, most_ms: float, n: int = 100_000
) -> tuple[float, float, float, float, float]:
    """The load that came by chance, share lost, p50 and p99 wait, utilisation of a queue whose
    every request is played."""
    chance = np.random.default_rng(1)
    at = np.cumsum(chance.exponential(service_ms / load, n))
    takes = chance.gamma(1 / spread**2, service_ms * spread**2, n)
    free, waits, done = [0.0] * servers, [], 0.0
    for now, work in zip(at.tolist(), takes.tolist(), strict=True):
        wait = max(free[0] - now, 0.0)
        if wait <= most_ms:
            heapq.heapreplace(free, now + wait + work)
            waits.append(wait)
            done += work
    p50, p99 = np.percentile(waits, [50, 99])
    came = float(takes.sum() / at[-1])
    return came, 1 - len(waits) / n, float(p50), float(p99), done / (servers * at[-1])


def erlang_c(load: float, servers: int) -> float:
    """Probability of waiting in M/M/c, from the textbook's sum."""
    last = load**servers / factorial(servers) * servers / (servers - load)
    return last / (sum(load**k / factorial(k) for k in range(servers)) + last)


@pytest.mark.parametrize(
    ("load", "servers"), [(0.5, 1), (0.95, 1), (2.0, 4), (14.0, 16), (95.0, 100)]
)
def test_exponential_services_wait_as_the_textbook_says(load: float, servers: int):
    state, waits = steady(load, servers, 5.0, 1.0, most_ms=1e5), erlang_c(load, servers)
    rate = (servers - load) / 5.0
    assert 1 - state.idle == pytest.approx(waits, rel=1e-3)
    assert state.wait_ms(0.999) == pytest.approx(max(log(waits / 0.001) / rate, 0.0), rel=1e-3)
    assert state.backlog_ms == pytest.approx(waits / rate, rel=1e-3)  # Little, Erlang
    assert state.lost < 1e-9


@pytest.mark.parametrize("servers", [9, 40, 250])
def test_the_table_for_many_servers_says_what_the_sum_says(servers: int):
    for share in (0.05, 0.5, 0.8, 0.95, 1.0, 1.1, 3.0, 50.0):
        exact = free_states(share * servers, servers)
        if exact < 1e30:  # beyond it nothing waits
            assert _free_states(share * servers, servers) == pytest.approx(exact, rel=3e-3)
    assert steady(0.001, servers, 5.0, 0.5, 100.0).lost == 0


def test_impatient_customers_of_one_server_are_lost_as_barrer_says():
    for load in (0.7, 0.999999, 1.6):
        spare, most = 1 - load, 40.0 / 5.0
        waits = load * (1 - exp(-spare * most)) / spare
        gone = load * exp(-spare * most)
        lost = gone / (1 + waits + gone)
        assert steady(load, 1, 5.0, 1.0, 40.0).lost == pytest.approx(lost, 1e-5)


@pytest.mark.parametrize("spread", [0.6, 1.3])
@pytest.mark.parametrize("servers", [1, 6])
@pytest.mark.parametrize("share", [0.5, 0.8, 0.95, 1.2, 4.0])
def test_waits_and_losses_are_those_of_a_queue_that_is_played(servers, spread, share):
    came, lost, p50, p99, used = played(share * servers, servers, 4.0, spread, 100.0)
    state = steady(came, servers, 4.0, spread, 100.0)
    assert state.lost == pytest.approx(lost, abs=0.006)
    assert state.wait_ms(0.5) == pytest.approx(p50, rel=0.15, abs=1.5)
    assert state.wait_ms(0.99) == pytest.approx(p99, rel=0.15, abs=2.5)
    assert came / servers * (1 - state.lost) == pytest.approx(min(used, 1), abs=0.006)


def test_a_backlog_grows_and_drains_at_the_speed_of_the_surplus():
    """A deadline far away: half as much again as can be done, then half of it."""
    pool = Pool(4, LoadConfig(deadline_ms=5000, queue=10**6))
    waits = [(pool.step(1500, 4.0, 0.5), pool.backlog_ms)[1] for _ in range(3)]
    assert waits == pytest.approx([500, 1000, 1500], rel=0.02)
    assert pool.wait_ms(0.5) == pytest.approx(1250, rel=0.02)
    waits = [(pool.step(500, 4.0, 0.5), pool.backlog_ms)[1] for _ in range(3)]
    assert waits[:2] == pytest.approx([1000, 500], rel=0.02)
    pool.step(500, 4.0, 0.5)
    assert pool.backlog_ms < 5


def test_nothing_that_arrives_is_forgotten_and_no_server_does_more_than_it_can():
    chance, model = np.random.default_rng(0), LoadModel(LoadConfig(4, 6), COSTS)
    waiting, work = 0.0, 0.0
    for t in range(300):
        load = chance.gamma(0.7, 1500) if t % 40 < 30 else 0.0
        tick = model.tick(load * chance.dirichlet(np.ones(3)), load * chance.random())
        assert tick.arrived + waiting == pytest.approx(
            tick.answered + tick.failed + tick.waiting, abs=1e-6
        )
        assert min(tick.answered, tick.failed, tick.waiting, tick.lost) >= 0
        assert max(tick.cpu, tick.gpu, tick.lost, tick.degraded_lost) <= 1
        waiting, work = tick.waiting, work + tick.answered
    assert work > 10_000


def test_what_is_answered_in_overload_is_what_the_servers_can_do():
    model = LoadModel(LoadConfig(8, 4, deadline_ms=100), COSTS)
    ticks = [model.tick([0.0, 0.0, 9000.0], 0.0) for _ in range(5)]
    assert ticks[-1].answered * 3.0 / 4000 == pytest.approx(1.0, rel=0.01)
    assert ticks[-1].lost == pytest.approx(1 - 4000 / 3 / 9000, abs=0.01)
    assert 100 <= ticks[-1].p99_ms <= 250


def test_a_full_queue_fails_before_the_deadline_does():
    def lost(queue: int) -> tuple[float, float]:
        model = LoadModel(LoadConfig(4, 0, queue=queue), COSTS)
        ticks = [model.tick([1200.0, 0.0, 0.0], 0.0) for _ in range(20)]
        return sum(t.failed for t in ticks), ticks[-1].p99_ms

    assert lost(4)[0] > 3 * lost(1000)[0]
    assert lost(4)[1] < lost(1000)[1]
    full = LoadModel(LoadConfig(4, 0, queue=4), COSTS)
    assert full.tick([9000.0, 0.0, 0.0], 0.0).waiting <= 4


def test_the_degraded_path_is_served_first_and_takes_its_share_of_the_cores():
    alone, beside = (LoadModel(LoadConfig(4, 8), COSTS) for _ in range(2))
    quiet = alone.tick([0.0, 1000.0, 0.0], 0.0)
    busy = beside.tick([0.0, 1000.0, 0.0], 12_000.0)
    assert busy.cpu == pytest.approx(quiet.cpu + 12 * 0.2 / 4, rel=1e-3)
    assert busy.p50_ms > quiet.p50_ms and busy.degraded_lost == 0
    drowned = beside.tick([0.0, 1000.0, 0.0], 40_000.0)
    assert drowned.degraded_lost == pytest.approx(0.5) and drowned.lost > 0.5


def test_without_model_servers_the_cores_run_the_models():
    tick = LoadModel(LoadConfig(8, 0), COSTS).tick([0.0, 0.0, 1000.0], 0.0)
    assert tick.cpu == pytest.approx(0.5, rel=1e-3) and tick.gpu == 0
    config = LoadConfig(8, 0)
    assert config.capacity_qps(COSTS) == pytest.approx(2000)
    assert LoadConfig(8, 3).pool_ms(COSTS).tolist() == pytest.approx([0.125, 0.5, 1.0])


def test_an_empty_tick_has_no_response_time_and_keeps_no_backlog():
    model = LoadModel(LoadConfig(2, 2), COSTS)
    model.tick([0.0, 0.0, 5000.0], 0.0)
    empty = [model.tick(np.zeros(3), 0.0) for _ in range(2)][-1]
    assert np.isnan(empty.p99_ms) and empty.waiting == 0 and empty.lost == 0
    model.tick([0.0, 0.0, 5000.0], 0.0)
    model.reset()
    assert model.tick([0.0, 0.0, 100.0], 0.0).p50_ms < 10


@pytest.mark.parametrize(
    "costs",
    [
        Costs(np.ones(2), np.ones(3), np.ones(3), 0.1),
        Costs(np.ones(0), np.ones(0), np.ones(0), 0.1),
        Costs(np.array([1.0, np.nan]), np.ones(2), np.ones(2), 0.1),
        Costs(np.ones(2), np.ones(2), np.ones(2), -0.1),
    ],
)
def test_costs_that_are_none_are_refused(costs):
    with pytest.raises(DataError, match="Costs"):
        LoadModel(LoadConfig(), costs)


@pytest.mark.parametrize(
    "settings", [{"cores": 0}, {"model_servers": -1}, {"deadline_ms": inf}, {"queue": 0}]
)
def test_wrong_settings_are_named(settings):
    with pytest.raises(ConfigError, match=f"LoadConfig.{next(iter(settings))}"):
        LoadConfig(**settings)
