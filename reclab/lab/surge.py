"""Surges: one policy of the decision service through a load that rises and falls, tick by tick.

    arrivals -> decide: action of each -> load model: waiting, failures -> observe -> next tick

A tick's requests are a sample of rows of a table of values, drawn across the range of what a
request gains, and scaled up to the traffic. A request that fails is worth 0, a degraded one what
its cached answer is worth. What does not feed back is computed after the loop, for all ticks.

Simplified: a request is worth what it is worth, however long it waited.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import nan
from typing import Protocol

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.degradation_dcaf.actions import Costs
from reclab.degradation_dcaf.decision import DecisionPolicy, Measured
from reclab.degradation_dcaf.load_model import LoadConfig, LoadModel
from reclab.lab.scenarios import Scenario

ROWS = 512  # requests that stand for all of a tick
ASK = 8  # ticks after which a policy is asked again, even if it has not moved
SMOOTH_S = 20.0  # seconds over which recovery is judged
SETTLE_S = 60.0  # seconds of a surge after which the control should have settled
WITHIN = 0.05  # back within this share of what it was before
SWING = 0.05  # a cap that turns by less than this is at rest


class Values(Protocol):
    """What answers are worth: ``value`` (n, m) of request and action, ``fallback`` (n,) of the
    degraded answer, ``told`` (n, m) the predicted gain above it, ``tail`` (n, m) the long tail's
    share of the answer, ``costs`` of the actions."""

    value: Array
    fallback: Array
    told: Array
    tail: Array
    costs: Costs


@dataclass(frozen=True)
class Run:
    """One policy through one scenario; arrays (T,) by tick unless said otherwise.

    ``value`` a second, ``cost`` in busy servers, ``cpu`` and ``gpu`` utilisation, ``p50_ms`` and
    ``p99_ms`` of live answers, ``failure`` share of all requests, ``share`` (T, m + 1) of the
    degraded path and of each action, ``cap`` and ``lam`` as the policy has them, ``tail`` = the
    long tail's share of what was shown."""

    scenario: Scenario
    qps: Array = field(repr=False)
    value: Array = field(repr=False)
    cost: Array = field(repr=False)
    cpu: Array = field(repr=False)
    gpu: Array = field(repr=False)
    p50_ms: Array = field(repr=False)
    p99_ms: Array = field(repr=False)
    failure: Array = field(repr=False)
    share: Array = field(repr=False)
    cap: Array = field(repr=False)
    lam: Array = field(repr=False)
    tail: Array = field(repr=False)

    @property
    def seconds(self) -> Array:
        """(T,) when each tick begins."""
        return np.arange(len(self.qps)) * self.scenario.tick_ms / 1000

    @property
    def total_value(self) -> float:
        """Value of all answers."""
        return float(self.value.sum()) * self.scenario.tick_ms / 1000

    @property
    def total_cost(self) -> float:
        """Server-seconds of all answers."""
        return float(self.cost.sum()) * self.scenario.tick_ms / 1000

    @property
    def failure_rate(self) -> float:
        """Share of all requests that failed."""
        return float((self.failure * self.qps).sum() / max(self.qps.sum(), 1e-12))

    @property
    def worst_minute(self) -> float:
        """Failure rate of the worst minute."""
        width = min(max(round(60_000 / self.scenario.tick_ms), 1), len(self.qps))
        ones = np.ones(width)
        failed = np.convolve(self.failure * self.qps, ones, "valid")
        return float((failed / np.maximum(np.convolve(self.qps, ones, "valid"), 1e-12)).max())

    @property
    def p99_overall_ms(self) -> float:
        """99th percentile over time of the ticks' p99, of ticks with live answers."""
        known = self.p99_ms[~np.isnan(self.p99_ms)]
        return float(np.percentile(known, 99)) if len(known) else nan

    @property
    def recovery_s(self) -> float:
        """Seconds from the end of a surge until value and cost a request, p99 and failures are
        back within 5 % of what they were before, and stay there; NaN = never, or no surge."""
        start, end = self.scenario.surge or (0, 0)
        if not start:
            return nan
        width = max(round(1000 * SMOOTH_S / self.scenario.tick_ms), 1)
        each = np.maximum(self.qps, 1e-12)
        p99 = np.nan_to_num(self.p99_ms, nan=1e6)
        good = np.ones(max(len(self.qps) - end - width + 1, 0), bool)
        for series, floor in ((self.value / each, 0), (self.cost / each, 0), (p99, 1.0)):
            before = float(np.median(series[max(start // 2, 1) : start]))
            after = np.convolve(series[end:], np.ones(width) / width, "valid")
            good &= np.abs(after - before) <= max(WITHIN * abs(before), floor)
        good &= np.convolve(self.failure[end:], np.ones(width) / width, "valid") <= 0.001
        bad = np.flatnonzero(~good)
        first = int(bad[-1]) + 1 if len(bad) else 0
        return first * self.scenario.tick_ms / 1000 if first < len(good) else nan

    @property
    def swings(self) -> tuple[int, float]:
        """How often the cap turned in the settled part of the surge (or of the run), counting
        swings beyond 5 % of its mean, and the amplitude (share of its mean, 5th to 95th
        percentile)."""
        skip = round(1000 * SETTLE_S / self.scenario.tick_ms)
        start, end = self.scenario.surge or (0, len(self.cap))
        if self.scenario.surge:  # while it lasts in full, not while it ends
            full = np.flatnonzero(self.scenario.qps > 0.9 * self.scenario.qps.max())
            end = int(full[-1]) + 1
        cap = self.cap[min(start + skip, end - 1) : end]
        mean = max(float(cap.mean()), 1e-12)
        low, high = np.percentile(cap, [5, 95])
        return turns(cap, SWING * mean), float(high - low) / mean


def turns(values: Array, least: float) -> int:
    """Turning points of a series, counting only swings larger than ``least``.

    >>> turns(np.array([0.0, 1.0, 0.9, 1.0, 0.0, 1.0]), 0.2)
    2
    """
    count, way, edge = 0, 0, float(values[0])
    for value in values.tolist():
        if way >= 0 and value < edge - least:
            count, way, edge = count + (way > 0), -1, value
        elif way <= 0 and value > edge + least:
            count, way, edge = count + (way < 0), 1, value
        elif way > 0:
            edge = max(edge, value)
        elif way < 0:
            edge = min(edge, value)
    return count


@dataclass(frozen=True)
class Sample:
    """Requests that stand for all: ``rows`` (B,) of the table, what is told of them (B, m)."""

    rows: Array
    told: Array

    @staticmethod
    def of(values: Values, seed: int = 0, n_rows: int = ROWS) -> "Sample":
        """Evenly through the requests in the order of what they gain, so that the sample is like
        the whole, then shuffled."""
        order = np.argsort(np.nan_to_num(values.told).mean(1), kind="stable")
        chance = rng(seed, "surge sample")
        place = (np.arange(n_rows) + chance.random(n_rows)) / n_rows
        rows = order[np.minimum((place * len(order)).astype(int), len(order) - 1)]
        rows = chance.permutation(rows)
        return Sample(rows, np.ascontiguousarray(values.told[rows], np.float32))


def run(
    policy: DecisionPolicy,
    scenario: Scenario,
    values: Values,
    load: LoadConfig,
    seed: int = 0,
    sample: Sample | None = None,
) -> Run:
    """Take ``policy`` through ``scenario``; ``load`` says what there is to work with. The policy is
    asked for the sample's actions when its ``cap`` or ``lam`` has moved, and now and then."""
    sample = sample or Sample.of(values, seed)
    told, width = sample.told, values.value.shape[1] + 1
    always = not np.isfinite(told).all()  # then cap and lam do not say everything
    model = LoadModel(replace(load, tick_ms=scenario.tick_ms), values.costs)
    seconds, no_gpu = scenario.tick_ms / 1000, not load.model_servers
    arrived = rng(seed, "surge").poisson(scenario.qps * seconds)
    answers, asked, ticks, control = [], [], [], []
    state = (nan, nan)
    for t, n in enumerate(arrived.tolist()):
        now_ms = int((t + 1) * scenario.tick_ms)
        if (policy.cap, policy.lam) != state or always or t % ASK == 0:
            state = (policy.cap, policy.lam)
            answers.append(policy.decide(now_ms, told))
            share = np.bincount(answers[-1] + 1, minlength=width) / len(told)
        counts = share * n
        degraded = float(counts[0])
        tick = model.tick(counts[1:], degraded)
        failure = min((tick.failed + degraded * tick.degraded_lost) / n, 1.0) if n else 0.0
        gpu = nan if no_gpu else tick.gpu
        measured = (tick.cpu, gpu, n / seconds, tick.p50_ms, tick.p99_ms, failure)
        control.append(state)
        policy.observe(Measured(now_ms, *measured))
        ticks.append((*measured, tick.lost, tick.degraded_lost))
        asked.append(len(answers) - 1)
    return _told(scenario, values, sample, np.array(answers), asked, np.array(ticks), control)


def _told(
    scenario: Scenario,
    values: Values,
    sample: Sample,
    action: Array,
    asked: Sequence[int],
    ticks: Array,
    control: Sequence[tuple[float, float]],
) -> Run:
    """Values, costs and shares of all ticks. ``action`` (A, B) are the answers, ``asked`` which of
    them each tick had; column 0 of every table is the degraded path's."""
    cpu, gpu, qps, p50, p99, failure, lost, degraded_lost = ticks.T
    n_rows, width = action.shape[1], values.value.shape[1] + 1
    place = np.arange(n_rows) * width + 1 + action
    spare = getattr(values, "fallback_tail", np.full(len(values.fallback), nan))
    kept = np.stack([1 - degraded_lost, 1 - lost])  # what was answered of each path

    def a_tick(degraded: Array, live: Array) -> Array:
        """(T,) mean over the requests of a table, failures counting 0."""
        table = np.append(degraded[sample.rows, None], live[sample.rows], 1).take(place)
        cut = np.where(action < 0, table, 0).sum(1), np.where(action < 0, 0, table).sum(1)
        return (np.stack(cut)[:, asked] * kept).sum(0) / n_rows

    ones = np.ones(values.value.shape)
    known = ~np.isnan(spare)
    tail = a_tick(np.nan_to_num(spare), values.tail)
    seen = a_tick(known.astype(float), ones)
    costs = values.costs
    spent = a_tick(np.full(len(spare), costs.degraded_ms), ones * costs.total_ms) / 1000
    flat = np.arange(len(action))[:, None] * width + action + 1
    share = np.bincount(flat.ravel(), minlength=len(action) * width).reshape(-1, width) / n_rows
    return Run(
        scenario,
        qps=qps,
        value=a_tick(values.fallback, values.value) * qps,
        cost=spent * qps,
        cpu=cpu,
        gpu=gpu,
        p50_ms=p50,
        p99_ms=p99,
        failure=failure,
        share=share[asked],
        cap=np.array([cap for cap, _ in control]),
        lam=np.array([lam for _, lam in control]),
        tail=tail / np.maximum(seen, 1e-12),
    )
