"""The flywheel with every part stopped in turn, on three platforms.

Run: ``python -m tests.bench.flywheel`` (some minutes); ``FLYWHEEL_SEEDS=1`` for the first only.
"""

import os
import time

import numpy as np

from reclab.core.metrics import mean_and_spread
from reclab.lab.flywheel import STOPS, Flywheel, FlywheelConfig, turns


def told(values: list[float]) -> str:
    mean, spread = mean_and_spread(np.array(values))
    return f"{mean:.3f} ± {spread:.3f}"


def main() -> None:
    config, found = FlywheelConfig(), list[Flywheel]()
    for seed in range(int(os.environ.get("FLYWHEEL_SEEDS", "3"))):
        began = time.process_time()
        found.append(Flywheel(config, turns(config, seed)))
        print(f"seed {seed}: {time.process_time() - began:.0f} CPU seconds\n{found[-1].table()}\n")
    first = [f.runs["all running"].quality[0] for f in found]
    print(
        f"quality: share of the oracle's lead over random, mean ± half range; day 0 {told(first)}"
    )
    print(f"{'run':<17}{'stopped':>16}{'after':>16}{'users after':>16}{'last day':>16}")
    for name in STOPS:
        rows = [
            [f.stopped(name) for f in found],
            [f.after(name) for f in found],
            [f.after(name, "came") for f in found],
            [float(f.runs[name].quality[-1]) for f in found],
        ]
        print(f"{name:<17}" + "".join(f"{told(row):>16}" for row in rows))
    base = [f.after("all running") - f.after("frozen") for f in found]
    for name in ("joiner stopped", "trainer stopped", "index stopped"):
        lost = [f.stopped("all running") - f.stopped(name) for f in found]
        back = [(f.after(name) - f.after("frozen")) / b for f, b in zip(found, base, strict=True)]
        print(f"{name}: lost while it is felt {told(lost)}; of the lead regained {told(back)}")


if __name__ == "__main__":
    main()
