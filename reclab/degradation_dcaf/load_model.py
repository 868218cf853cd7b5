"""Load model (负载模型): from admitted work to utilisation, waiting and failures, tick by tick.

    a = lambda s          work that arrives, in servers;  rho = a / c
    waits  ~  [0 with S] + [k e^(-k v) on (0, D) with M] + [gives up with T],   k = kappa (c - a)/s
    M = a (1 - e^(-k D)) / (c - a),   T = a e^(-k D) / c,   kappa = 2 / (1 + spread^2)

S, M, T are in proportion to the chance that c - 1 servers are busy, s is the mean service, D the
longest wait: the deadline, or the time a full queue takes. Exact for exponential service; for any
other the wait is stretched as Allen and Cunneen have it, which keeps the balance of work. Between
two loads the backlog moves there at the speed that the surplus or the lack of work gives it.
A live request waits for a core, then for a model server; without such servers the cores run the
models. The degraded path takes its time from the cores first: it is short, and it must stand.
Reference: Barrer 1957 (M/M/c whose customers give up), Allen 1990 (the two-moment stretch).

Simplified: one pool of each kind, first come first served; industry batches on its GPUs, and what
gave up has often been worked on before.
"""

from dataclasses import dataclass
from functools import cache
from math import exp, expm1, log1p, pi, sqrt
from typing import NamedTuple

import numpy as np

from reclab.core.errors import DataError, check_float, check_int
from reclab.core.types import Array
from reclab.degradation_dcaf.actions import Costs

FEW = 8  # servers for which the sum over states is made anew each time
GRID = 2048  # loads of the table for more of them
TAIL = 2.326  # standard deviations from the middle to the 99th percentile of a normal


@dataclass(frozen=True)
class LoadConfig:
    """What there is to work with, and how long a request waits for it."""

    cores: int = 8
    """processor cores (1-256)"""
    model_servers: int = 8
    """servers that run the models, as a GPU would (1-256); 0 = the cores run them"""
    deadline_ms: float = 200.0
    """a request that has waited longer gives up (ms, 50-1000)"""
    queue: int = 2000
    """requests that may wait for each kind of server; more are turned away (10-100 000)"""
    tick_ms: float = 1000.0
    """length of a tick (ms, 100-10 000)"""

    def __post_init__(self) -> None:
        check_int("LoadConfig.cores", self.cores, 1, 4096, "8")
        check_int("LoadConfig.model_servers", self.model_servers, 0, 4096, "8")
        check_float("LoadConfig.deadline_ms", self.deadline_ms, 0.1, 1e6, "200")
        check_int("LoadConfig.queue", self.queue, 1, 10**9, "2000")
        check_float("LoadConfig.tick_ms", self.tick_ms, 1.0, 1e6, "1000")

    def capacity_qps(self, costs: Costs, action: int = -1) -> float:
        """Requests a second that keep the busiest pool entirely busy, all with one action."""
        return 1000.0 / float(self.pool_ms(costs)[action])

    def pool_ms(self, costs: Costs) -> Array:
        """(m,) what a request takes of the pool that it takes most of: ms of that whole pool. The
        q_j of the knapsack where there are two kinds of server: within the budget for the larger
        of the two, both are."""
        if not self.model_servers:
            return costs.total_ms / self.cores
        return np.maximum(costs.cpu_ms / self.cores, costs.model_ms / self.model_servers)

    def degraded_pool_ms(self, costs: Costs) -> float:
        """The same of the degraded path, which only needs cores."""
        return costs.degraded_ms / self.cores


class Tick(NamedTuple):
    """What a tick was like. ``arrived``, ``answered``, ``failed`` and ``waiting`` (at its end)
    count live requests; ``lost`` is the share of them that failed, ``degraded_lost`` that of the
    degraded path; ``cpu`` and ``gpu`` are utilisations (share); ``p50_ms`` and ``p99_ms`` response
    times of live requests that were answered, NaN when there were none."""

    arrived: float
    answered: float
    failed: float
    waiting: float
    lost: float
    degraded_lost: float
    cpu: float
    gpu: float
    p50_ms: float
    p99_ms: float


class Steady(NamedTuple):
    """The steady state of a pool: share ``lost``, share ``idle`` of the answered that do not wait,
    ``x`` = by how many e-folds the others' wait decays until ``most_ms``, mean ``backlog_ms``."""

    lost: float
    idle: float
    x: float
    most_ms: float
    backlog_ms: float

    def wait_ms(self, share: float) -> float:
        """The wait that this share of the answered stays below."""
        if share <= self.idle:
            return 0.0
        u, x = (share - self.idle) / (1 - self.idle), self.x
        if x > 0:
            return -self.most_ms * log1p(u * expm1(-x)) / x if u < 1 else self.most_ms
        return self.most_ms * (1 - log1p((1 - u) * expm1(x)) / x)


def free_states(load: float, servers: int) -> float:
    """How much likelier it is that fewer than c servers are busy than that c - 1 are."""
    states = 1.0
    for busy in range(1, servers):
        states = 1.0 + states * busy / load
    return states


@cache
def _free_table(servers: int) -> list[float]:
    """ln of ``free_states`` at shares k / GRID of load / (load + servers)."""
    share = np.arange(1, GRID) / GRID
    load, states = servers * share / (1 - share), np.ones(GRID - 1)
    with np.errstate(over="ignore"):
        for busy in range(1, servers):
            states = 1.0 + states * busy / load
    return [700.0, *np.log(np.minimum(states, 1e300)).tolist(), 0.0]


def _free_states(load: float, servers: int) -> float:
    """``free_states``, read off a table where there are many servers."""
    if servers <= FEW:
        return free_states(load, servers)
    place = GRID * load / (load + servers)
    low = min(int(place), GRID - 1)
    table = _free_table(servers)
    return exp(table[low] + (place - low) * (table[low + 1] - table[low]))


def steady(load: float, servers: int, service_ms: float, spread: float, most_ms: float) -> Steady:
    """The steady state at ``load`` (arrivals a ms times service) of ``servers`` servers; ``spread``
    is the coefficient of variation of a service, ``most_ms`` the longest wait.

    >>> round(steady(0.9, 1, 10.0, 1.0, most_ms=1e6).wait_ms(0.99), 1)  # M/M/1, closed form
    450.0
    """
    if load <= 0:
        return Steady(0.0, 1.0, 1.0, most_ms, 0.0)
    states = _free_states(load, servers)
    spare = servers - load
    if abs(spare) < 1e-7 * servers:  # the formula is smooth there, its terms are not
        spare = 1e-7 * servers
    x = 2.0 * spare * most_ms / ((1.0 + spread * spread) * service_ms)
    if x > 0:
        waits, gives_up = -load * expm1(-x) / spare, load * exp(-x) / servers
    else:  # all three divided by e^-x, which may be beyond any float
        waits, gives_up = load * expm1(x) / spare, load / servers
        states *= exp(x)
    answered = states + waits
    mean = most_ms * (0.5 - x / 12 if abs(x) < 1e-3 else 1 / x - 1 / expm1(min(x, 700.0)))
    lost = gives_up / (answered + gives_up)
    backlog = (1 - lost) * waits / answered * mean + lost * most_ms
    return Steady(lost, states / answered, x, most_ms, backlog)


class Pool:
    """``servers`` alike that share one queue; remembers its backlog from tick to tick."""

    def __init__(self, servers: int, config: LoadConfig) -> None:
        self.servers, self.config = servers, config
        self.reset()

    def reset(self) -> None:
        """Nothing waits."""
        self.backlog_ms = self.waiting = 0.0

    def step(self, n: float, service_ms: float, spread: float) -> tuple[float, float, float]:
        """Let ``n`` requests arrive in a tick: how many were answered, how many failed, and the
        utilisation. Afterwards ``wait_ms`` answers for this tick."""
        tick, c = self.config.tick_ms, self.servers
        service_ms = max(service_ms, 1e-6)
        load, most = n * service_ms / tick, self.config.deadline_ms
        most = min(most, self.config.queue * service_ms / c)
        state = steady(load, c, service_ms, spread, most)
        before, after = min(self.backlog_ms, most), state.backlog_ms
        # work that is too much or too little moves the backlog; near balance chance does
        chance = load / c * service_ms * (1 + spread * spread) / c
        speed = abs(1 - load / c) + chance / (pi * max(before, after, 1e-9))
        moving = abs(after - before) / max(speed, 1e-12)
        if moving > tick:
            after, moving = before + (after - before) * tick / moving, tick
        failed = n * state.lost * (1 - moving / tick)
        left = max(n + self.waiting - failed, 0.0)
        waiting = min(after * c / service_ms, left)
        self._moves, self._state = (before, after, moving / tick), state
        self.backlog_ms, self.waiting = after, waiting
        answered = left - waiting
        return answered, failed, min(answered * service_ms / (c * tick), 1.0)

    def wait_ms(self, share: float) -> float:
        """The wait that this share of the tick's answered stays below."""
        before, after, moving = self._moves
        longer, low, high = 1 - share, min(before, after), max(before, after)
        steady_ms = moving_ms = 0.0
        if longer < 1 - moving:
            steady_ms = self._state.wait_ms(1 - longer / (1 - moving))
        if longer < moving:
            moving_ms = high - (high - low) * longer / moving
        return max(steady_ms, moving_ms)


class LoadModel:
    """``tick`` with what was admitted; the backlog is carried over. ``costs`` are measured.

    >>> costs = Costs(np.array([1.0, 1.0]), np.array([0.5, 3.0]), np.array([0.5, 0.5]), 0.2)
    >>> model = LoadModel(LoadConfig(cores=2, model_servers=4), costs)
    >>> quiet, busy = model.tick([0.0, 500.0], 0.0), model.tick([0.0, 4000.0], 0.0)
    >>> quiet.lost < 1e-9, round(quiet.cpu, 2), busy.lost > 0.5
    (True, 0.25, True)
    """

    def __init__(self, config: LoadConfig, costs: Costs) -> None:
        self.config, self.costs = config, costs
        cpu, model = costs.cpu_ms, costs.model_ms
        if not len(cpu) == len(model) == len(costs.spread) or not len(cpu):
            raise DataError("Costs: cpu_ms, model_ms and spread must be of one length, above 0")
        values = np.concatenate([cpu, model, costs.spread, [costs.degraded_ms]])
        if not (np.isfinite(values) & (values >= 0)).all():
            raise DataError(f"Costs: all must be finite and >= 0, got {values.tolist()}")
        if not config.model_servers:
            cpu, model = costs.total_ms, 0.0 * model
        square = 1 + costs.spread**2
        self._moments = np.stack([cpu, cpu**2 * square, model, model**2 * square, cpu**0], 1)
        self.cpu = Pool(config.cores, config)
        self.gpu = Pool(config.model_servers, config) if config.model_servers else None

    def reset(self) -> None:
        """Nothing waits anywhere."""
        for pool in (self.cpu, self.gpu):
            if pool:
                pool.reset()

    def tick(self, live: Array | list[float], degraded: float) -> Tick:
        """Admit ``live`` (m,) requests by action, and ``degraded`` on the degraded path."""
        cpu, cpu2, model, model2, n = (live @ self._moments).tolist()
        first = degraded * self.costs.degraded_ms / (self.config.cores * self.config.tick_ms)
        degraded_lost = max(0.0, 1 - 1 / first) if first > 1 else 0.0
        first = min(first, 1.0)
        service, spread = _mean_spread(n, cpu, cpu2)
        slow = 1 / max(1 - first, 1e-6)  # what is left of the cores takes that much longer
        answered, failed, used = self.cpu.step(n, service * slow, spread)
        used = min(first + used / slow, 1.0)
        asked, busy, waiting = answered, 0.0, self.cpu.waiting
        mean, square = service * slow, (service * slow * spread) ** 2
        middle = self.cpu.wait_ms(0.5)
        late = (self.cpu.wait_ms(0.99) - middle) ** 2
        if self.gpu:
            service, spread = _mean_spread(n, model, model2)
            answered, failed_too, busy = self.gpu.step(asked, service, spread)
            failed, waiting = failed + failed_too, waiting + self.gpu.waiting
            mean, square = mean + service, square + (service * spread) ** 2
            wait = self.gpu.wait_ms(0.5)
            middle, late = middle + wait, late + (self.gpu.wait_ms(0.99) - wait) ** 2
        p50 = p99 = float("nan")
        if answered > 1e-6 and n > 0:
            p50 = mean + middle
            p99 = p50 + sqrt(late + TAIL * TAIL * square)
        lost = min(failed / n, 1.0) if n > 0 else 0.0
        return Tick(n, answered, failed, waiting, lost, degraded_lost, used, busy, p50, p99)


def _mean_spread(n: float, total: float, squares: float) -> tuple[float, float]:
    """Mean and coefficient of variation of ``n`` services from their sums."""
    if n <= 0 or total <= 0:
        return 0.0, 0.0
    return total / n, sqrt(max(squares * n / (total * total) - 1, 0.0))
