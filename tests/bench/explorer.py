"""Compute time of every slider move of lesson 02's explorer, without its cache, no browser."""

import time

import numpy as np

import reclab
from reclab.show.cascade_explorer import SIZES, CascadeExplorer


def moves(base: dict) -> list[dict]:
    """One setting changed at a time, over all its places."""
    found = [{**base, name: not base[name]} for name in ("popular", "item_cf", "two_tower")]
    found += [{**base, "lam": lam / 20} for lam in range(21)]
    for size in SIZES:
        found.append({**base, "retrieve": max(size, base["pre_rank"])})
        found.append({**base, "pre_rank": min(max(size, base["rank"]), base["retrieve"])})
        found.append({**base, "rank": min(size, base["pre_rank"])})
    return found


def measure() -> dict[str, float]:
    """Median, 95th percentile and longest compute in ms."""
    explorer = CascadeExplorer(reclab.open("laptop"))
    spent = []
    for params in moves(explorer.params):
        began = time.perf_counter_ns()
        explorer.compute(params)
        spent.append((time.perf_counter_ns() - began) / 1e6)
    p50, p95, most = np.percentile(spent, [50, 95, 100])
    return {"moves": len(spent), "p50 ms": p50, "p95 ms": p95, "longest ms": most}


def main() -> None:
    """Print the times."""
    for name, value in measure().items():
        print(f"{name:<28}{value:>9.1f}")


if __name__ == "__main__":
    main()
