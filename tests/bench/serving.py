"""Serving: each dependency down in turn, more load than there is capacity, and the waits of real
threads beside the capacity model; then what a day costs by how machines are had.

Times are wall times of this machine, which other programs may share; ``busy`` says how much of a
core the process had. The model is given the service times as measured in the same run.

Run: ``python -m tests.bench.serving [SCALE]``.
"""

import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

import reclab
from reclab.core.chance import rng
from reclab.core.types import Request, Slate
from reclab.lab import Lab
from reclab.lab.rung_values import rung_offers, table
from reclab.lab.served import Online, served
from reclab.lab.serving_day import MACHINES, SURGE, TIDE, DayKnobs, ServingDay
from reclab.lab.serving_drill import DOWN, drill
from reclab.lab.serving_load import DEVICES, Heartbeat, one_a_user, overload
from reclab.offline_online.serving.capacity import Service, response_ms
from reclab.offline_online.serving.fallback import EDITORS, FRESH, Ask, Asked, Rung
from reclab.offline_online.serving.latency_budget import BudgetConfig, monotonic_ms
from reclab.offline_online.serving.serving import ServingConfig

LOADS, SECONDS, PATIENT_MS = (0.3, 0.6, 0.8), 6.0, 20_000.0


def drills(lab: Lab) -> None:
    """Who answers while something is down."""
    print(f"{'down':<22}{'whole':>6}{'late':>6}  answered by   (deadline 200 ms)")
    for down in DOWN:
        told = drill(lab, down)
        print(f"{told.line()}; p50 {told.p50_ms:.0f}, worst {told.worst_ms:.0f}, "
              f"stall {told.stall_ms:.0f} ms", flush=True)  # fmt: skip


def loads(lab: Lab) -> None:
    """Who answers when more come than can be served."""
    for workers in (1, 2):
        config = ServingConfig(BudgetConfig(200.0), workers=workers)
        print(f"\n{workers} workers, deadline 200 ms\n{'load':>6}{'came':>9}{'p50':>10}{'p99':>8}"
              f"{'worst':>8}{'late':>6}{'stall':>7}  answered by")  # fmt: skip
        for load in overload(lab, (0.5, 1.0, 2.0, 3.0), config=config):
            print(load.line(), flush=True)


def waits(lab: Lab) -> None:
    """Response times of threads that only have one rung, beside the model's: services that wait for
    another machine (they sleep), and the fresh cascade, whose threads share the interpreter."""
    print(f"\n{'services':<9}{'workers':>8}{'load':>6}{'q/s':>7}{'service ms':>12}{'spread':>8}"
          f"{'busy':>6}{'stall':>7}{'p50':>7}{'model':>7}{'p99':>8}{'model':>7}")  # fmt: skip
    requests = one_a_user(lab, 200)
    for sleeping in (True, False):
        for workers in (1, 2, 4) if sleeping else (1, 2):
            config = ServingConfig(BudgetConfig(PATIENT_MS), workers=workers, queue=10_000)
            with served(lab, config) as online:
                for rung in online.ladder.rungs:
                    rung.on = rung.name in (FRESH, EDITORS)
                rung = online.ladder[FRESH]
                if sleeping:
                    rung.ask = _sleeper(rung.ask(requests[0], PATIENT_MS))
                took: list[float] = []
                _time(rung, took)
                for factor in LOADS:
                    _wait(online, requests, took, factor, "sleep" if sleeping else "compute")


def _sleeper(page: Asked) -> Ask:
    chance, sigma = rng(0, "sleeps"), 0.3

    def ask(request: Request, left_ms: float) -> Asked:
        time.sleep(0.02 * float(np.exp(sigma * chance.standard_normal() - sigma**2 / 2)))
        slate = page[0]
        return Slate(request, slate.item_id, slate.item_row, slate.columns), {}

    return ask


def _wait(
    online: Online, requests: list[Request], took: list[float], factor: float, kind: str
) -> None:
    workers = online.serving.config.workers
    took.clear()
    with ThreadPoolExecutor(workers) as pool:  # the service time with all workers busy
        ask = online.ladder[FRESH].ask
        list(pool.map(lambda r: ask(r, PATIENT_MS), requests[:60]))
    qps = factor * workers * 1000 / float(np.mean(took))
    took.clear()
    began, cpu = time.perf_counter(), time.process_time()
    with Heartbeat() as heart:
        ms = _arrivals(online.serving.answer, requests, qps)
    busy = (time.process_time() - cpu) / (time.perf_counter() - began)
    own = Service.of(np.array(took))
    told = [float(response_ms(p, qps, workers, own.mean_ms, own.spread)) for p in (0.5, 0.99)]
    p50, p99 = np.percentile(ms, [50, 99])
    load = qps * own.mean_ms / 1000 / workers
    print(f"{kind:<9}{workers:>8}{load:>6.2f}{qps:>7.0f}{own.mean_ms:>12.1f}{own.spread:>8.2f}"
          f"{busy:>6.2f}{heart.stall_ms:>7.0f}{p50:>7.1f}{told[0]:>7.1f}{p99:>8.1f}{told[1]:>7.1f}",
          flush=True)  # fmt: skip


def _time(rung: Rung, took: list[float]) -> None:
    ask = rung.ask

    def timed(request: Request, left_ms: float) -> Asked:
        began = monotonic_ms()
        try:
            return ask(request, left_ms)
        finally:
            took.append(monotonic_ms() - began)

    rung.ask = timed


def _arrivals(answer: object, requests: list[Request], qps: float) -> np.ndarray:
    gaps = rng(0, "bench arrivals").exponential(1000 / qps, int(qps * SECONDS))
    due = monotonic_ms() + 20 + np.cumsum(gaps)

    def one(i: int) -> float:
        answer(requests[i % len(requests)])  # type: ignore[operator]
        return float(monotonic_ms() - due[i])

    with ThreadPoolExecutor(DEVICES) as devices:
        sent = []
        for i, at in enumerate(due.tolist()):
            time.sleep(max(at - monotonic_ms(), 0.0) / 1000)
            sent.append(devices.submit(one, i))
        return np.array([job.result() for job in sent])


def days(rungs: Mapping[str, object]) -> None:
    """A tide and a surge by how machines are had."""
    service = ServingDay(rungs)  # type: ignore[arg-type]
    print(f"\n{'20,000 q/s at the peak':<60}{'hours':>7}{'saved':>7}{'kept':>7}{'lower rungs':>13}"
          f"{'if fresh only: missed':>23}{'CPU ms':>8}")  # fmt: skip
    for curve in (TIDE, SURGE):
        most = 0.0
        for mixed in (False, True):
            for way in MACHINES:
                knobs = DayKnobs(curve=curve, machines=way, by_value=mixed)
                service.run(knobs)
                began = time.process_time()
                day = service.run(knobs)
                ms = 1000 * (time.process_time() - began)
                most = most or day.machine_hours
                alone = dict.fromkeys(service.rungs, False) | {FRESH: True}
                short = service.run(replace(knobs, on=alone))
                missed = float(short.of_requests(short.missed))
                lower = float(day.of_requests(day.shares[:, 3:].sum(1)))
                name = f"{curve}, {way}{', by value per cost' if mixed else ''}"
                print(f"{name:<60}{day.machine_hours:>7.0f}{1 - day.machine_hours / most:>7.0%}"
                      f"{service.kept(day):>7.1%}{lower:>13.1%}{missed:>23.2%}"
                      f"{ms:>8.1f}")  # fmt: skip


def main() -> None:
    """Print the tables."""
    scale = next((arg for arg in sys.argv[1:] if arg in ("tiny", "laptop")), "tiny")
    lab = reclab.open(scale)
    rungs = rung_offers(lab)
    print(table(rungs))
    days(rungs)
    drills(lab)
    loads(lab)
    waits(lab)


if __name__ == "__main__":
    main()
