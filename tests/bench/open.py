"""From a fresh process to the first answer: seconds and resident memory by step.

Resident memory counts the pages of mapped files that were touched; ``own MB`` leaves them out: they
are the system's file cache, shared by all kernels, and given up when memory is short.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

import reclab
from reclab.lab import Lab

Step = dict[str, float | str]


def measure(scale: str = "laptop") -> list[Step]:
    """The steps of a fresh process, one after the other."""
    argv = [sys.executable, "-m", "tests.bench.open", scale]
    root = Path(__file__).parents[2]
    done = subprocess.run(argv, cwd=root, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def steps(scale: str) -> None:
    """Take the steps in this process and print each as a line of JSON."""
    process = psutil.Process()

    def step(name: str, take: Callable[[], object]) -> object:
        began = time.perf_counter()
        made = take()
        seconds = time.perf_counter() - began
        memory = process.memory_info()
        own = (memory.rss - getattr(memory, "shared", 0)) / 1e6
        print(json.dumps({"step": name, "s": seconds, "MB": memory.rss / 1e6, "own MB": own}))
        return made

    def imports() -> None:
        import reclab.lab.lab
        import reclab.show.cascade_explorer  # noqa: F401

    step("import", imports)
    lab = step("open", lambda: reclab.open(scale, progress=False))
    assert isinstance(lab, Lab)
    step("cascade", lambda: lab.cascade)
    step("first recommend", lambda: lab.cascade.recommend(lab.requests(1)[0]))
    step("second recommend", lambda: lab.cascade.recommend(lab.requests(2)[1]))
    step("panel", lambda: lab.panel)
    lab.close()


def main() -> None:
    """Print the table for the laptop scale, built before the measurement if need be."""
    reclab.open("laptop").close()
    print(f"{'step':<28}{'s':>9}{'MB':>9}{'own MB':>9}")
    for row in measure():
        print(f"{row['step']:<28}{row['s']:>9.2f}{row['MB']:>9.0f}{row['own MB']:>9.0f}")


if __name__ == "__main__":
    steps(sys.argv[1])
