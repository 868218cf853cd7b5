"""Compute time of every slider move of the sample join's explorer, without its cache, no browser.

From each close rule, undisturbed and with every disturbance at once. CPU ms of the process, the
shorter of two runs; in it the refit of the model alone.

Run: ``python -m tests.bench.join_explorer``.
"""

import time
from typing import Any

import numpy as np

import reclab
from reclab.lab.join_panel import RULES, JoinKnobs
from reclab.show.join_explorer import JoinExplorer
from tests.bench.explorer import moves, named

ROUGH = {"loss": 0.2, "copies": 0.3, "skew_s": -30, "skewed": 0.3, "median": 4.0, "tail": 1.3,
         "disorder_s": 120, "allowed_s": 30}  # fmt: skip


def cpu_ms(work: Any, *args: Any) -> float:
    """The shorter of two runs."""
    took = []
    for _ in range(2):
        began = time.process_time_ns()
        work(*args)
        took.append((time.process_time_ns() - began) / 1e6)
    return min(took)


def main() -> None:
    lab = reclab.open("laptop")
    explorer = JoinExplorer(lab)
    print(f"{len(explorer.panel.row):,} reports of {len(explorer.panel.model.x):,} impressions")
    for rule in RULES:
        for words, rough in (("undisturbed", {}), ("everything at once", ROUGH)):
            base = {**explorer.params, "rule": rule, **rough}
            spent = {named(p, base): cpu_ms(explorer.compute, p) for p in moves(explorer, base)}
            slowest = max(spent, key=spent.__getitem__)
            middle = np.median(list(spent.values()))
            print(f"{rule:<8}{words:<20}{len(spent):>4} moves: median {middle:.1f} ms, "
                  f"slowest {spent[slowest]:.1f} ms ({slowest})")  # fmt: skip
    model = explorer.panel.model
    for minutes in (20, 1):
        clicked = explorer.panel.serve(JoinKnobs(window_min=minutes)).clicked
        print(f"refit on the labels of {minutes} min: {cpu_ms(model.fit, clicked):.1f} ms")


if __name__ == "__main__":
    main()
