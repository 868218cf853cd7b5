"""The capacity model beside tables, a simulated queue, and a linear programme."""

import heapq

import numpy as np
import pytest
from scipy.optimize import linprog

from reclab.core.errors import ConfigError, DataError
from reclab.offline_online.serving.capacity import (
    MachineConfig,
    Service,
    erlang_b,
    erlang_c,
    machines_for,
    response_ms,
    safe_qps,
    wait_scale_ms,
)
from reclab.offline_online.serving.resource_allocation import (
    ClusterConfig,
    Offers,
    machines_by_value,
    mix,
    simulate_day,
    working,
)

OFFERS = Offers(
    ("fresh", "shallow", "cached", "hot"),
    np.array([6.0, 4.0, 1.0, 0.05]),
    np.array([0.1, 0.1, 0.2, 0.1]),
    np.array([6.0, 5.8, 5.0, 1.0]),
)


def queue(qps, cores, services, seed=0):
    """Response times (ms) of a real queue, event by event; the first tenth is left out."""
    chance = np.random.default_rng(seed)
    arrived = np.cumsum(chance.exponential(1000 / qps, len(services)))
    free, took = [0.0] * cores, np.empty(len(services))
    for i, (at, service) in enumerate(zip(arrived.tolist(), services.tolist(), strict=True)):
        end = max(heapq.heappop(free), at) + service
        heapq.heappush(free, end)
        took[i] = end - at
    return took[len(took) // 10 :]


def lognormal(mean, spread, n, seed=1):
    sigma = np.sqrt(np.log(1 + spread**2))
    return np.random.default_rng(seed).lognormal(np.log(mean) - sigma**2 / 2, sigma, n)


@pytest.mark.parametrize(
    ("cores", "load", "chance"),
    [(1, 0.8, 0.8), (2, 0.8, 0.7111), (3, 0.9, 0.8171), (5, 0.9, 0.7625), (10, 0.8, 0.4092)],
)
def test_erlang_c_gives_the_values_of_the_tables(cores, load, chance):
    """Tijms, A First Course in Stochastic Models: table of the delay probability of M/M/c."""
    assert erlang_c(cores, cores * load) == pytest.approx(chance, abs=1e-4)


def test_erlang_b_is_the_sum_it_stands_for_also_where_factorials_are_too_large():
    a = 7.3
    terms = np.cumprod([1.0, *(a / k for k in range(1, 13))])
    assert erlang_b(12, a) == pytest.approx(terms[-1] / terms.sum())
    many = 1.0
    for k in range(1, 2001):  # the usual recursion
        many = 1900 * many / (k + 1900 * many)
    assert erlang_b(2000, 1900.0) == pytest.approx(many, rel=1e-6)


@pytest.mark.parametrize("cores", [1, 2, 8])
@pytest.mark.parametrize("spread", [0.1, 0.3, 1.0])
def test_waits_and_p99_are_those_of_a_simulated_queue(cores, spread):
    n, mean = 60_000, 6.0
    for load in (0.5, 0.85):
        qps = 1000 * load * cores / mean
        took = queue(qps, cores, lognormal(mean, spread, n))
        wait = erlang_c(cores, load * cores) * wait_scale_ms(qps, cores, mean, spread)
        assert wait == pytest.approx(took.mean() - mean, abs=0.15 * wait + 0.15)
        told = float(response_ms(0.99, qps, cores, mean, spread))
        assert told == pytest.approx(np.quantile(took, 0.99), rel=0.15)


def test_safe_qps_is_the_edge_of_the_limit_and_grows_faster_than_cores():
    service, cores = Service(6.0, 0.2), np.array([1, 2, 4, 8])
    safe = safe_qps(service, cores, 50.0)
    for c, qps in zip(cores, safe, strict=True):
        assert (
            response_ms(0.99, qps, c, 6.0, 0.2) <= 50 < response_ms(0.99, 1.02 * qps, c, 6.0, 0.2)
        )
    assert (np.diff(safe / cores) > 0).all()  # one queue for all: economies of scale
    assert (safe_qps(Service(60.0), cores, 50.0) == 0).all()


def test_machines_are_the_fewest_that_keep_the_limit():
    service, machine = Service(6.0, 0.2), MachineConfig(2)
    qps = np.array([0.0, 10.0, 500.0, 5000.0])
    need = machines_for(qps, service, 50.0, machine)
    assert need[0] == 0
    for q, m in zip(qps[1:], need[1:], strict=True):
        assert response_ms(0.99, q, 2 * m, 6.0, 0.2) <= 50
        if m > 1:
            assert response_ms(0.99, q, 2 * (m - 1), 6.0, 0.2) > 50
    with pytest.raises(ConfigError, match="limit_ms"):
        machines_for(qps, service, 5.0)


def test_service_is_what_was_measured():
    told = Service.of(np.array([4.0, 6.0, 8.0]))
    assert told.mean_ms == 6.0 and told.spread == pytest.approx(np.sqrt(8 / 3) / 6)
    with pytest.raises(ConfigError, match="mean_ms"):
        Service(0.0)


# ---- dynamic allocation --------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_the_mix_by_value_is_the_optimum_of_the_linear_programme(seed):
    chance = np.random.default_rng(seed)
    k = 6
    offers = Offers(
        tuple("abcdef"), chance.uniform(0.1, 8, k), np.zeros(k), chance.uniform(0.1, 6, k)
    )
    usable = chance.random(k) < 0.8
    usable[0] = True
    budget = chance.uniform(0, 10, 20)
    shares = mix(offers, budget, usable)
    assert (
        (shares[:, ~usable] == 0).all() and (shares >= 0).all() and (shares.sum(1) < 1 + 1e-9).all()
    )
    assert (shares @ offers.cost_ms <= budget + 1e-9).all()
    for b, mine in zip(budget, shares @ offers.value, strict=True):
        best = linprog(
            -offers.value,
            A_ub=np.stack([offers.cost_ms, np.ones(k)]),
            b_ub=[b, 1.0],
            bounds=[(0, 1 if ok else 0) for ok in usable],
        )
        assert mine == pytest.approx(-best.fun, abs=1e-8)


def test_the_plain_ladder_gives_no_more_than_the_mix_by_value():
    budget = np.linspace(0, 7, 50)
    usable = np.ones(4, bool)
    plain, best = (mix(OFFERS, budget, usable, how) @ OFFERS.value for how in (False, True))
    assert (best >= plain - 1e-9).all() and best[-1] == plain[-1] == 6.0


def test_a_machine_works_after_its_start_and_leaves_at_once():
    wanted = np.array([3, 3, 9, 9, 9, 4, 6, 6])
    assert working(wanted, 2).tolist() == [3, 3, 3, 3, 9, 4, 4, 4]
    assert working(wanted, 0) is wanted


def test_a_day_counts_every_request_and_lower_rungs_take_what_machines_cannot():
    qps = np.array([100.0, 1000.0, 5000.0, 100.0])
    usable = np.ones((4, 4), bool)
    usable[3, :2] = False  # retrieval is down
    day = simulate_day(OFFERS, qps, np.full(4, 4), usable, ClusterConfig(start_min=0.0))
    assert day.shares.sum(1) + day.missed == pytest.approx(1)
    assert day.shares[0, 0] == 1 and day.shares[2, 0] == 0 and day.shares[3, :2].sum() == 0
    assert (day.busy <= 1).all() and (day.p99_ms <= 100.01).all() and not day.missed.any()
    only = usable.copy()
    only[:, 1:] = False
    short = simulate_day(OFFERS, qps, np.full(4, 4), only, ClusterConfig(start_min=0.0))
    assert short.missed[2] > 0.7 and short.missed[3] == 1 and short.missed[0] == 0
    assert short.total_value < day.total_value and day.machine_hours == 4 * 4 * 300 / 3600
    with pytest.raises(DataError, match="one length"):
        simulate_day(OFFERS, qps, np.full(3, 4), usable)


def test_machines_by_value_are_the_best_of_all_numbers():
    qps = np.array([50.0, 800.0, 3000.0])
    cluster, usable = ClusterConfig(start_min=0.0), np.ones((1, 4), bool)
    for price in (5.0, 60.0, 400.0):
        chosen = machines_by_value(OFFERS, qps, usable[0], cluster, price, most=40)
        for q, m in zip(qps, chosen, strict=True):
            net = [
                q * simulate_day(OFFERS, np.array([q]), np.array([n]), usable, cluster).value[0]
                - price * n
                for n in range(1, 41)
            ]
            assert net[m - 1] == pytest.approx(max(net), rel=1e-3)


def test_offers_must_be_numbers():
    with pytest.raises(DataError, match="finite"):
        Offers(("a",), np.array([np.nan]), np.zeros(1), np.ones(1))
