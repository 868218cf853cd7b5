"""The six businesses on the simulated platform: the front of watch time, money and return under
four policies, chosen on one day and held against the next; how it depends on the money; the four
conflicts; and 28 days, three seeds.

Run: ``python -m tests.bench.blending_world [--scale SCALE] [--seed N] [--skip-days]``.
"""

import argparse
from collections.abc import Mapping

import numpy as np

import reclab
from reclab.blending.allocation import BUSINESSES
from reclab.lab.blending import (
    POOL,
    Point,
    dominance,
    fairness,
    kept_front,
    objectives,
    resources,
    sensitivity,
    transferred,
)
from reclab.lab.blending_days import POLICIES, against, kept_days
from reclab.lab.blending_pool import make_pool
from reclab.lab.lab import Lab

SHORT = ("video", "live", "product", "ad", "image", "campaign")


def row(name: str, *values: object) -> None:
    cells = (f"{v:>10.3f}" if isinstance(v, float) else f"{v!s:>10}" for v in values)
    print(f"{name:<42}" + "".join(cells), flush=True)


def point(name: str, p: Point) -> None:
    row(name, p.minutes, p.money, p.back, *(f"{s:.2f}" for s in p.share))


def print_front(split: str, points: Mapping[str, Point]) -> None:
    """Who dominates whom, and the settings that nobody dominates."""
    print(f"\n-- the front, {split}: {POOL} requests, {len(points)} settings")
    row("family", "settings", "dominated", "priced", "dominated")
    for d in dominance(points):
        row(d.family, d.settings, d.dominated, d.priced, d.priced_dominated)
    best = {n: p for n, p in points.items() if not any(q.dominates(p) for q in points.values())}
    families = [p.family for p in best.values()]
    print("not dominated:", {f: families.count(f) for f in dict.fromkeys(families)})
    row("", "minutes", "money", "return", *SHORT)
    for name, p in sorted(best.items(), key=lambda pair: -pair[1].minutes):
        if "satisfaction 3" not in name and "ads 3" not in name:
            point(name, p)


def print_conflicts(lab: Lab) -> None:
    """Three conflicts on the held-out day."""
    pool = make_pool(lab, "held_out", POOL)
    print("\n-- objectives: pages for one alone (held-out)")
    row("", "minutes", "money", "return", *SHORT)
    for name, p in objectives(pool).items():
        point(name, p)
    slots = resources(pool)
    print("\n-- resources: share of exposures, believed value of a page")
    row("", "value", *SHORT)
    for name, value, share in zip(slots.policies, slots.value, slots.share, strict=True):
        row(name, value, *(f"{s:.2f}" for s in share))
    row("price of one card more, value a page", "", *(f"{v:.3f}" for v in slots.slot_price))
    print("\n-- fairness: the tail of creators, small businesses, and their price")
    row("", "tail", "gini", "smallest", "minutes", "money", "return")
    for name, f in fairness(lab, pool).items():
        row(name, f.tail, f.gini, f.smallest, f.minutes, f.money, f.back)


def print_sensitivity(lab: Lab) -> None:
    """Commission and budgets, on the tuning day."""
    print("\n-- sensitivity (tuning, 200 requests): shares of settings that are dominated")
    row("commission, budgets times", "fixed dom.", "priced dom", "ads", "products")
    for s in sensitivity(make_pool(lab, "tuning", 200)):
        name = f"{s.commission:.2f}, {s.headroom:g}"
        row(name, s.fixed_dominated, s.priced_dominated, s.ads, s.products)


def print_days(lab: Lab) -> None:
    """Against the priced policy; mean and half range over seeds."""
    days = kept_days(lab)
    print("\n-- 28 days, against priced: first day, mean of the last week (3 seeds, half range)")
    names = ("money 1", "money 22-28", "min 1", "min 22-28", "came 1", "came 22-28", "money/h")
    print(f"{'':<20}" + "".join(f"{name:>17}" for name in names))
    for policy in POLICIES:
        a = against(days, policy)
        cells = (f"{100 * m:>+9.1f} ±{100 * s:4.1f} %" for m, s in vars(a).values())
        print(f"{policy:<20}" + "".join(cells), flush=True)
    print("\nmeans over seeds, day 1 -> mean of days 22-28")
    for policy in POLICIES:
        mine = [d for name, d in days.items() if name.endswith(f"/{policy}")]
        parts = []
        for field in ("active", "minutes", "money", "long_rate", "ad_share", "product_share"):
            first, last = (
                np.mean([getattr(d, field)[part].mean() for d in mine])
                for part in (slice(0, 1), slice(-7, None))
            )
            parts.append(f"{field} {first:.4g} -> {last:.4g}")
        print(f"{policy:<20}" + ", ".join(parts), flush=True)


def main() -> None:
    """All tables."""
    parser = argparse.ArgumentParser("blending_world")
    parser.add_argument("--scale", default="laptop")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skip-days", action="store_true")
    given, _ = parser.parse_known_args()
    lab = reclab.open(given.scale, given.seed, progress=False)
    print(f"businesses: {', '.join(BUSINESSES)}; {given.scale}, seed {given.seed}")
    fronts = {split: kept_front(lab, split) for split in ("tuning", "held_out")}
    for split, points in fronts.items():
        print_front(split, points)
    d = transferred(fronts["tuning"], fronts["held_out"])
    print("\npriced settings that nothing dominates on tuning, against fixed slots on held-out: "
          f"{d.priced_dominated} of {d.priced} dominated; they dominate {d.dominated} of "
          f"{d.settings}")  # fmt: skip
    print_conflicts(lab)
    print_sensitivity(lab)
    if not given.skip_days:
        print_days(lab)


if __name__ == "__main__":
    main()
