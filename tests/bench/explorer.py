"""Compute time of every slider move of lesson 02's explorer, without its cache, no browser.

From the settings at first, and from the same with each other re-ranker; the learned ones where the
lesson's button has trained them. CPU ms of the process, the shorter of two runs.

Run: ``python -m tests.bench.explorer``.
"""

import time
from typing import Any

import numpy as np

import reclab
from reclab.show.cascade_explorer import CascadeExplorer
from reclab.show.cascade_runs import learned_re_rankers
from reclab.show.controls import Choice, Slider

SLOWEST = 5  # moves that are named


def places(control: Any) -> list[Any]:
    """All values that a control can take."""
    if isinstance(control, Choice):
        return [option[1] if isinstance(option, tuple) else option for option in control.options]
    if not isinstance(control, Slider):
        return [True, False]
    steps = np.arange(control.low, control.high + control.step / 2, control.step)
    return list(control.values) or [round(float(step), 6) for step in steps]


def moves(explorer: CascadeExplorer, base: dict) -> list[dict]:
    """One setting of ``base`` changed at a time, over all its places that go together with the
    others."""
    found = [
        {**base, name: value}
        for name, knob in explorer.knobs.items()
        for value in places(knob.control)
    ]
    return [params for params in found if not explorer.check(params)]


def named(params: dict, base: dict) -> str:
    """What a move changed."""
    changed = [f"{name} {value}" for name, value in params.items() if value != base[name]]
    return ", ".join(changed) or "nothing"


def measure(explorer: CascadeExplorer) -> dict[str, dict[str, float]]:
    """CPU ms of each move, by re-ranker."""
    spent: dict[str, dict[str, float]] = {}
    for re_ranker in places(explorer.knobs["re_ranker"].control):
        mine = spent.setdefault(re_ranker, {})
        base = {**explorer.params, "re_ranker": re_ranker}
        for params in 2 * moves(explorer, base):
            began = time.process_time_ns()
            explorer.compute(params)
            ms, move = (time.process_time_ns() - began) / 1e6, named(params, base)
            mine[move] = min(ms, mine.get(move, ms))
    return spent


def main() -> None:
    """Print median, 95th percentile and longest by re-ranker, and the moves that took longest."""
    lab = reclab.open("laptop")
    spent = measure(CascadeExplorer(lab, learned_re_rankers(lab)))
    print(f"{'CPU ms':<18}{'moves':>6}{'p50':>7}{'p95':>7}{'longest':>9}")
    for name, mine in spent.items():
        p50, p95, most = np.percentile(list(mine.values()), [50, 95, 100])
        print(f"{name:<18}{len(mine):>6}{p50:>7.1f}{p95:>7.1f}{most:>9.1f}")
    every = {(name, move): ms for name, mine in spent.items() for move, ms in mine.items()}
    print("slowest")
    for name, move in sorted(every, key=every.__getitem__, reverse=True)[:SLOWEST]:
        print(f"  {name + ', ' + move:<40}{every[name, move]:>9.1f}")


if __name__ == "__main__":
    main()
