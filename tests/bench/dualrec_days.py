"""28 days with and without a creator side, three seeds: the front, its controls, the loop by day;
and the experiments that are to find the effect, beside the truth.

Run: ``python -m tests.bench.dualrec_days [--scale SCALE] [--seeds 0 1 2] [--skip-experiments]``.
"""

import argparse
import time

import numpy as np

import reclab
from reclab.core.metrics import mean_and_spread
from reclab.lab.co_diverted import kept_experiments
from reclab.lab.dualrec_days import ALONE, ITEM_REACH, SETTINGS, TwoSidedDays, kept_days
from reclab.lab.dualrec_front import Front, front, levels, seeds_of

OWN_BASE = tuple(name for name in SETTINGS if name.startswith("bare"))
SHOWN = (ALONE, "boost 0.3", "bare")  # settings told by day
DAYS = (1, 2, 4, 7, 14, 21, 28)


def print_loop(days: dict[str, TwoSidedDays]) -> None:
    """Mean over seeds and half range, on some days."""
    last = len(next(iter(days.values())).value)
    at = [day for day in DAYS if day <= last]
    print("\n-- the loop by day (mean ± half range over seeds)")
    print(f"{'':<28}" + "".join(f"{f'day {day}':>16}" for day in at))
    for name in SHOWN:
        mine = [days[f"{seed}/{name}"] for seed in seeds_of(days)]
        for field in ("gini_items", "gini_creators", "active", "gone", "posts", "value", "came"):
            rows = np.stack([getattr(d, field) for d in mine]).astype(float)
            told = (mean_and_spread(rows[:, day - 1]) for day in at)
            print(f"{name:<12}{field:<16}" + "".join(f"{m:>9.3f} ±{s:5.3f}" for m, s in told))
        for place in (0, 2, 3):
            rows = np.stack([d.reach[:, place] for d in mine])
            told = (mean_and_spread(rows[:, day - 1]) for day in at)
            title = f"new >= {ITEM_REACH[place]}"
            print(f"{name:<12}{title:<16}" + "".join(f"{m:>9.3f} ±{s:5.3f}" for m, s in told))


def print_statement(found: Front) -> None:
    """What at most 1 % of the users' value buys."""
    print(
        "\n-- at <= 1 % loss of the users' true value a session (mean of seeds), best reach first"
    )
    for row in found.within(0.01):
        print(
            f"{row.name:<20} value {100 * row.value[0]:+.1f} ± {100 * row.value[1]:.1f} %, "
            f"new items >= 50: {100 * row.reach[0]:+.1f} ± {100 * row.reach[1]:.1f} points, "
            f"Gini of items {row.gini_items[0]:+.3f} ± {row.gini_items[1]:.3f}, "
            f"active creators {100 * row.active[0]:+.1f} ± {100 * row.active[1]:.1f} points"
        )
    print("dominated in (value, reach):", ", ".join(sorted(set(found.dominated()))))


def main() -> None:
    """All tables."""
    parser = argparse.ArgumentParser("dualrec_days")
    parser.add_argument("--scale", default="laptop")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--skip-experiments", action="store_true")
    given, _ = parser.parse_known_args()
    lab, began = reclab.open(given.scale, progress=False), time.process_time()
    days = kept_days(lab, given.seeds)
    print(f"seeds {given.seeds}: {time.process_time() - began:.0f} CPU seconds\n\n-- levels")
    print(levels(days, tuple(SETTINGS)))
    strong = front(days, tuple(name for name in SETTINGS if name not in (*OWN_BASE, ALONE)))
    print("\n-- against the user side alone, per cent (Gini times 100)\n" + strong.table())
    print("\n-- a weaker user side, against itself\n" + front(days, OWN_BASE, "bare").table())
    print_statement(strong)
    print_loop(days)
    if not given.skip_experiments:
        began = time.process_time()
        print("\n-- the experiment: per cent of control; w: width of the 95 % interval")
        print(kept_experiments(lab, given.seeds).table())
        print(f"{time.process_time() - began:.0f} CPU seconds")


if __name__ == "__main__":
    main()
