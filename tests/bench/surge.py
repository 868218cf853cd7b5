"""Degradation policies under load: tuned on some surges, shown on others; and the load model beside
a real queue.

Tuned on surges of 3, 5 and 12 times, with the requests of the tuning day: of a few settings each,
the one with the most value among those that keep failures under 0.5 % in all three; if none does,
the one that fails least. Shown on a surge of 8 times, a day, and real traces (needs the data), with
held-out requests, three seeds of arrivals and samples. Value is a share of what the usual action
would bring if there were no limits. What is told of a request is either a linear value model's word
(learned from what the ranker says of logged requests) or the truth's expectation (knowable).
"""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import reclab
from reclab.core.chance import rng
from reclab.core.types import Array, Request
from reclab.degradation_dcaf import (
    DCAF,
    DCAFConfig,
    LearnedPolicy,
    LearningConfig,
    LoadConfig,
    LoadModel,
    ManualCut,
    MaxPowerConfig,
    Never,
    Overflow,
    PowerMix,
    PriceConfig,
    Quality,
    QualityFactorConfig,
    ThresholdConfig,
    Thresholds,
)
from reclab.degradation_dcaf.actions import REFERENCE, Costs
from reclab.degradation_dcaf.decision import DecisionPolicy, Ladder, Measured
from reclab.degradation_dcaf.load_model import steady
from reclab.degradation_dcaf.policies import max_power_for
from reclab.degradation_dcaf.rl import train
from reclab.degradation_dcaf.value_model import ExplorationLog, LinearValue, ValueConfig
from reclab.lab import Lab
from reclab.lab.action_values import action_table, logged_table
from reclab.lab.evening import USUAL_PEAK, Told, machines
from reclab.lab.scenarios import Scenario, flapping, from_trace, surge, tidal_day
from reclab.lab.surge import Run, Sample, Values, run

TRACES = Path(os.environ.get("RECLAB_SHARED", "../shared")) / "data" / "traffic"
MOST_FAILING = 0.005
Make = Callable[[Ladder], DecisionPolicy]


@dataclass(frozen=True)
class Field:
    """What all policies play on."""

    values: Values
    load: LoadConfig
    ladder: Ladder

    def play(self, make: Make, scenario: Scenario, seed: int) -> Run:
        """One run, with the seed's arrivals and sample of requests."""
        return run(make(self.ladder), scenario, self.values, self.load, seed, self.sample(seed))

    def sample(self, seed: int) -> Sample:
        return Sample.of(self.values, seed)

    def unlimited(self, told: Run, seed: int) -> float:
        """Value of the usual action for all, with no limit."""
        each = self.values.value[self.sample(seed).rows, self.ladder.usual].mean()
        return float(each * told.qps.sum()) * told.scenario.tick_ms / 1000


def settings(field: Field) -> dict[str, dict[str, Make]]:
    """Each policy with a few settings to choose among."""
    ladder = field.ladder
    signals = {"cpu gpu": ("cpu", "gpu"), "all four": ("cpu", "gpu", "qps", "p99_ms")}
    mean, fallback = field.values.told.mean(0), float(field.values.fallback.mean())

    def rule(names: tuple[str, ...], hold: float, share: float) -> Make:
        base = ThresholdConfig()
        lines = {"on": {k: base.on[k] for k in names}, "off": {k: base.off[k] for k in names}}
        return lambda at: Thresholds(at, ThresholdConfig(**lines, hold_s=hold, share=share))

    def learned(penalty: float, gamma: float) -> Make:
        config = LearningConfig(steps=150_000, penalty=penalty, gamma=gamma)
        found = train(ladder, field.load, field.values.costs, mean, fallback, config)
        return lambda at: LearnedPolicy(at, found)

    def power(p: float, i: float, line: float) -> MaxPowerConfig:
        return MaxPowerConfig(top=2.0, least=0.01, utilisation=line, proportional=p, integral=i)

    lines = (0.75, 0.8, 0.85, 0.9)
    gains = [*itertools.product((0.1, 0.3), (0.3, 0.4, 0.6), lines)]
    quality = [*itertools.product((90.0, 95.0, 99.0), (30.0, 60.0, 100.0), (0.00125, 0.005, 0.02))]

    def factor(p: float, t: float, d: float) -> QualityFactorConfig:
        return QualityFactorConfig(percentile=p, latency_ms=t, step=d, least=0.02)

    def mixed(p: float, i: float, line: float) -> Make:
        some = {"proportional": p, "integral": i, "utilisation": line}
        return lambda at: PowerMix(at, max_power_for(at, float(at.cost[at.usual]), **some))

    def dcaf(p: float, i: float, line: float, cut: str) -> Make:
        config = DCAFConfig(power=power(p, i, line), cut=cut)
        return lambda at: DCAF(replace(at, safe=line), config)

    def priced(line: float, refresh: float) -> Make:
        config = DCAFConfig(PriceConfig(refresh_s=refresh), cut="none")
        return lambda at: DCAF(replace(at, safe=line), config)

    three = ("Kp", "Ki", "line")
    return {
        "never": {"": Never},
        "by hand": {f"{s:g}": (lambda at, s=s: ManualCut(at, s)) for s in (0.5, 0.7, 0.8, 0.9, 1)},
        "thresholds": {
            f"{name}, hold {hold:g} s, share {share:g}": rule(names, hold, share)
            for name, names in signals.items()
            for hold in (10.0, 30.0, 60.0)
            for share in (0.6, 0.8, 0.9, 0.95, 1.0)
        },
        "overflow": {_at(s): (lambda at, s=s: Overflow(replace(at, safe=s))) for s in lines},
        "quality factor": {
            _named(("p", "t", "d"), a): (lambda at, a=a: Quality(at, factor(*a))) for a in quality
        },
        "learned": {
            _named(("penalty", "gamma"), a): learned(*a)
            for a in itertools.product((3.0, 10.0, 30.0), (0.0, 0.5))
        },
        "MaxPower alone": {_named(three, a): mixed(*a) for a in gains},
        "DCAF, price alone": {_at(line): priced(line, 20.0) for line in lines},
        "DCAF, price every 2 s": {_at(line): priced(line, 2.0) for line in lines},
        "DCAF, actions capped": {_named(three, a): dcaf(*a, "action") for a in gains},
        "DCAF + MaxPower": {_named(three, a): dcaf(*a, "price") for a in gains},
    }


def _at(line: float) -> str:
    return f"planned for {line:g}"


def _named(names: tuple[str, ...], numbers: tuple[float, ...]) -> str:
    return " ".join(f"{name} {number:g}" for name, number in zip(names, numbers, strict=True))


def tuned(field: Field) -> Iterator[tuple[str, str, Make]]:
    """Each policy with the setting that did best on the tuning surges, and which that is."""
    safe = USUAL_PEAK * field.ladder.safe_qps
    each = [
        surge(safe, height, minutes=3, before=1, after=2, rise_s=rise, tick_ms=1000)
        for height, rise in ((3, 5), (5, 20), (12, 10))
    ]
    for name, choices in settings(field).items():
        told = {}
        for label, make in choices.items():
            runs = [field.play(make, scenario, seed=7) for scenario in each]
            value = np.mean([one.total_value / field.unlimited(one, 7) for one in runs])
            failing = max(one.failure_rate for one in runs)
            good = failing < MOST_FAILING
            told[label] = (good, value if good else -failing)
        best = max(told, key=lambda label: told[label])
        yield name, best, choices[best]


def compare(field: Field, scenario: Scenario, policies: dict[str, Make]) -> None:
    """The table of one scenario."""
    print(f"\n{scenario.name}, {len(scenario)} ticks of {scenario.tick_ms / 1000:g} s", end="")
    print(f", time-lapse x{scenario.lapse:.0f}" if scenario.lapse > 1 else "", end="")
    peak = scenario.qps.max() / field.ladder.safe_qps
    print(f", peak {peak:.1f} x what the safe line carries")
    print(
        f"{'policy':<24}{'value':>8}{'±':>7}{'failed':>9}{'worst min':>10}{'p99 ms':>8}"
        f"{'cost':>7}{'degraded':>10}{'recovery':>10}{'turns':>7}{'swing':>7}{'cpu ms':>8}"
    )
    for name, make in policies.items():
        rows = []
        for seed in range(3):
            began = time.process_time()
            one = field.play(make, scenario, seed)
            spent = 1000 * (time.process_time() - began)
            turns, swing = one.swings
            unlimited = field.unlimited(one, seed)
            degraded = (one.share[:, 0] * one.qps).sum() / one.qps.sum()
            cost = one.total_cost / (one.qps.sum() * scenario.tick_ms / 1e6)
            mine = (one.total_value / unlimited, one.failure_rate, one.worst_minute)
            rows.append(
                (*mine, one.p99_overall_ms, cost, degraded, one.recovery_s, turns, swing, spent)
            )
        all_ = np.array(rows)
        value, failed, worst, p99, cost, degraded, back, turns, swing, spent = all_.mean(0)
        print(
            f"{name:<24}{value:>8.4f}{all_[:, 0].std(ddof=1):>7.4f}{failed:>9.3%}{worst:>10.2%}"
            f"{p99:>8.1f}{cost:>7.2f}{degraded:>10.1%}{back:>8.0f} s{turns:>7.1f}{swing:>7.2f}"
            f"{spent:>8.1f}",
            flush=True,
        )


def decision_times(field: Field, policies: dict[str, Make]) -> None:
    """Microseconds of a decision, alone and in a batch, and of a tick of the load model."""
    print(f"\n{'decision, µs a request':<24}{'alone':>9}{'of 1000':>9}{'observe':>9}")
    quiet = field.play(Never, tidal_day(field.ladder.safe_qps, 5), 0)
    gain = np.resize(field.sample(0).told, (1000, field.values.told.shape[1]))
    for name, make in policies.items():
        told = _policy_us(field, make(field.ladder), gain)
        print(f"{name:<24}{told[0]:>9.1f}{told[1]:>9.3f}{told[2]:>9.1f}")
    model = LoadModel(field.load, field.values.costs)
    live = np.zeros(len(field.values.costs.cpu_ms))
    live[field.ladder.usual] = quiet.qps.mean()
    print(f"a tick of the load model{_best_us(lambda: model.tick(live, 100.0), 500):>9.1f} µs")


def _policy_us(field: Field, policy: DecisionPolicy, gain: Array) -> list[float]:
    """Of a policy that has been through a surge: deciding alone and in a batch, observing."""
    one = run(policy, surge(field.ladder.safe_qps), field.values, field.load)
    at, seen = len(one.qps) * int(one.scenario.tick_ms), _measured(one)
    clock = itertools.count(at, 1000)
    return [
        _best_us(lambda: policy.decide(at, gain[:1]), 200),
        _best_us(lambda: policy.decide(at, gain), 200) / len(gain),
        _best_us(lambda: policy.observe(seen._replace(now_ms=next(clock))), 200),
    ]


def _measured(one: Run) -> Measured:
    last = (one.cpu[-1], one.gpu[-1], one.qps[-1], one.p50_ms[-1], one.p99_ms[-1], one.failure[-1])
    return Measured(0, *(float(value) for value in last))


def _best_us(call: Callable[[], Any], times: int) -> float:
    """CPU microseconds of a call: the least mean of five rounds."""
    spent = []
    for _ in range(5):
        began = time.process_time_ns()
        for _ in range(times):
            call()
        spent.append((time.process_time_ns() - began) / times / 1000)
    return min(spent)


def beside_reality(lab: Lab, n: int = 800) -> None:
    """Poisson arrivals at the real cascade in one worker: how long they wait, and what the model
    says for the load and the spread of services that there were."""
    torch.set_num_threads(1)
    requests = lab.requests(240)
    for request in requests[:40]:
        lab.cascade.recommend(request)
    mean = float(np.mean([_served(lab, request) for request in requests[40:140]]))
    took = [_served(lab, request, time.process_time) for request in requests[40:]]
    print(f"\none worker, {n} requests each; a service takes {mean:.1f} ms when nobody waits")
    print(
        f"{'load':>6}{'came':>7}{'spread':>8}{'p50 wait ms | model':>24}{'p99 wait ms | model':>24}"
    )
    for load in (0.3, 0.6, 0.9):
        _, services, _ = _queue(lab, requests[40:], load, mean, 80)
        waits, services, passed = _queue(lab, requests[40:], load, float(np.mean(services)), n)
        _beside(load, waits, services, float(services.sum() / passed))
    print("the same services by processor time, so that other processes do not count, in a queue")
    for load in (0.3, 0.6, 0.9):
        many = rng(1, "arrivals", int(100 * load)).choice(took, 40 * n)
        gaps = rng(2, "arrivals", int(100 * load)).exponential(many.mean() / load, len(many))
        waits = [0.0]
        for service, gap in zip(many.tolist(), gaps.tolist(), strict=True):
            waits.append(max(waits[-1] + service - gap, 0.0))
        _beside(load, np.array(waits), many, float(many.sum() / gaps.sum()))


def _beside(load: float, waits: Array, services: Array, came: float) -> None:
    """A line of the table; more than a worker can do has no steady state to compare with."""
    spread = float(services.std() / services.mean())
    state = steady(min(came, 0.999), 1, float(services.mean()), spread, 1e5)
    told = [state.wait_ms(0.5), state.wait_ms(0.99)] if came < 1 else [np.nan, np.nan]
    pairs = zip(np.percentile(waits, [50, 99]), told, strict=True)
    middle, late = (f"{measured:.1f} | {model:.1f}" for measured, model in pairs)
    print(f"{load:>6.0%}{came:>7.2f}{spread:>8.2f}{middle:>24}{late:>24}", flush=True)


def _queue(
    lab: Lab, requests: list[Request], load: float, mean: float, n: int
) -> tuple[Array, Array, float]:
    """(n,) waits and services in ms of Poisson arrivals, and how long they took to arrive."""
    gaps = rng(0, "arrivals", int(100 * load)).exponential(mean / load, n)
    due = time.perf_counter() + np.cumsum(gaps) / 1000
    waits, services, done = [], [], 0.0
    for k, at in enumerate(due.tolist()):
        while (now := time.perf_counter()) < at:
            time.sleep(max(at - now - 2e-4, 0.0))
        _served(lab, requests[k % len(requests)])
        began, done_before = max(at, done), done
        done = time.perf_counter()
        # a worker that wakes up late works longer: that is no queue
        waits.append(1000 * max(done_before - at, 0.0))
        services.append(1000 * (done - began))
    return np.array(waits), np.array(services), float(gaps.sum())


def _served(lab: Lab, request: Request, clock: Callable[[], float] = time.perf_counter) -> float:
    began = clock()
    lab.cascade.recommend(request)
    return 1000 * (clock() - began)


def told_by(lab: Lab, who: str, split: str) -> Told:
    """The table of a split with the word of the "truth" or of a "model" that has never seen it."""
    t = action_table(lab, split, progress=False)
    gain = t.value - t.fallback[:, None]
    if who == "model":
        logged = logged_table(lab, progress=False)
        none = np.full(len(logged), -1), np.full(len(logged), np.nan)
        log = ExplorationLog(logged.x, *none, logged.told)
        model = LinearValue(ValueConfig(target="told")).fit(log)
        before = action_table(lab, "tuning", progress=False)
        first = model.predict(before.x)[:, 0]
        slope, base = np.polyfit(first, before.fallback, 1)
        predicted = model.predict(t.x)
        gain = predicted - (base + slope * predicted[:, :1])
    return Told(t.value, t.fallback, gain, t.tail, t.fallback_tail, t.costs)


def cheaper(costs: Costs, by: float) -> Costs:
    """The same costs, all measured too low."""
    few = {"cpu_ms": costs.cpu_ms * by, "model_ms": costs.model_ms * by}
    return replace(costs, **few, degraded_ms=costs.degraded_ms * by)


def main() -> None:
    """Print the tables."""
    lab = reclab.open("laptop", progress=False)
    fields = {}
    for who in ("model", "truth"):
        for split in ("tuning", "held_out"):
            values = told_by(lab, who, split)
            load = machines(values.costs)
            fields[who, split] = Field(values, load, Ladder.of(load, values.costs, REFERENCE))
    field = fields["model", "held_out"]
    safe = field.ladder.safe_qps
    print(f"{field.load}\nthe safe line carries {safe:.0f} requests a second; settings tuned:")
    policies = {}
    for name, label, make in tuned(fields["model", "tuning"]):
        policies[name] = make
        print(f"  {name:<24}{label}", flush=True)
    eight = surge(USUAL_PEAK * safe, 8.0, minutes=10, before=4, after=6, tick_ms=1000)
    for who in ("model", "truth"):
        print(f"\n=== gains told by the {who}", end="")
        compare(fields[who, "held_out"], eight, policies)
    print("\n=== all costs were measured 30 % too low", end="")
    low = Ladder.of(field.load, cheaper(field.values.costs, 0.7), REFERENCE)
    blind = replace(field, ladder=low)
    few = ("overflow", "learned", "MaxPower alone", "DCAF, price alone")
    few = (*few, "DCAF, price every 2 s", "DCAF, actions capped", "DCAF + MaxPower")
    compare(blind, eight, {name: policies[name] for name in few})
    print("\n=== other traffic", end="")
    compare(field, tidal_day(safe / 0.75), policies)
    compare(field, flapping(1.15 * safe), policies)
    for path in sorted(TRACES.glob("*.csv.gz")):
        compare(field, from_trace(path, safe / 0.75), policies)
    decision_times(field, policies)
    beside_reality(lab)


if __name__ == "__main__":
    main()
