"""Compute time of every slider move of lesson 02's explorer, without its cache, no browser."""

import time
from typing import Any

import numpy as np

import reclab
from reclab.show.cascade_explorer import CascadeExplorer
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


def moves(explorer: CascadeExplorer) -> list[dict]:
    """One setting changed at a time, over all its places that go together with the others."""
    base = explorer.params
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


def measure() -> dict[str, float]:
    """ms of each move; the shorter of two runs, so that a busy machine does not name a move."""
    explorer = CascadeExplorer(reclab.open("laptop"))
    spent: dict[str, float] = {}
    for params in 2 * moves(explorer):
        began = time.perf_counter_ns()
        explorer.compute(params)
        ms, move = (time.perf_counter_ns() - began) / 1e6, named(params, explorer.params)
        spent[move] = min(ms, spent.get(move, ms))
    return spent


def main() -> None:
    """Print median, 95th percentile and longest, and the moves that took longest."""
    spent = measure()
    p50, p95, most = np.percentile(list(spent.values()), [50, 95, 100])
    for name, value in {
        "moves": len(spent),
        "p50 ms": p50,
        "p95 ms": p95,
        "longest ms": most,
    }.items():
        print(f"{name:<28}{value:>9.1f}")
    print("slowest")
    for move in sorted(spent, key=spent.__getitem__, reverse=True)[:SLOWEST]:
        print(f"  {move:<26}{spent[move]:>9.1f}")


if __name__ == "__main__":
    main()
