"""DCAF on the simulated platform: the two tables of the paper, three seeds; what a decision takes.

Laptop scale; each seed is built when it is not in the cache (a few minutes a seed).
"""

import time

import numpy as np

import reclab
from reclab.core.metrics import mean_and_spread
from reclab.core.types import Array
from reclab.degradation_dcaf import act
from reclab.degradation_dcaf.actions import REFERENCE
from reclab.lab import Lab
from reclab.lab.action_values import action_table
from reclab.lab.dcaf_tables import (
    FIXED,
    KNOWABLE,
    TOLD,
    Row,
    frontiers,
    level_of,
    read,
    tables,
    text,
)
from reclab.lab.value_models import AIMS, BEST, KINDS, TRUTH, error_table, value_models

SEEDS = (0, 1, 2)
COLUMNS = ("gain", "saved", "beyond", "clicks", "value", "revenue", "tail", "spent")


def spread_table(found: list[dict[str, Row]]) -> str:
    """Mean and half range over the seeds, a policy a line."""
    lines = [f"{'':26s}" + "".join(f"{name:>16}" for name in COLUMNS)]
    for name in found[0]:
        cells = []
        for column in COLUMNS:
            numbers = np.array([getattr(rows[name], column) for rows in found])
            mean, half = mean_and_spread(numbers)
            cells.append("" if np.isnan(mean) else f"{mean:+.1%} ± {half:.1%}")
        lines.append(f"{name:26s}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines)


def fixed_curve(lab: Lab) -> str:
    """What each level costs and gives on the held-out day."""
    table = action_table(lab, "held_out")
    lines = [
        f"{'':30s}{'ms':>7}{'model':>7}{'CV':>6}{'views':>8}{'clicks':>8}{'money':>8}{'tail':>7}"
    ]
    for j, name in enumerate(table.names):
        c, means = table.costs, [w[:, j].mean() for w in _judged(table)]
        lines.append(
            f"{name:30s}{c.total_ms[j]:7.2f}{c.model_ms[j]:7.2f}{c.spread[j]:6.2f}"
            f"{means[0]:8.3f}{means[1]:8.3f}{means[2]:8.3f}{means[3]:7.3f}"
        )
    lines.append(
        f"{'degraded path':30s}{table.costs.degraded_ms:7.2f}{'':13}{table.fallback.mean():8.3f}"
        f"{table.fallback_clicks.mean():8.3f}{table.fallback_revenue.mean():8.3f}"
        f"{table.fallback_tail.mean():7.3f}   (cached: {table.cached.mean():.0%} of requests)"
    )
    lines.append(f"context of a decision {table.costs.context_ms:.3f} ms")
    return "\n".join(lines)


def by_reference(labs: list[Lab]) -> str:
    """Cost saved at equal value against each level in turn: mean and half range over the seeds. A
    level that a mix of others beats makes every policy look good, the quality factor too."""
    names = (KNOWABLE, TOLD, BEST, FIXED)
    saved = np.array([_saved(lab, names) for lab in labs])  # (seeds, levels, policies)
    lines = [f"{'':30s}" + "".join(f"{name:>20}" for name in names)]
    for j, level in enumerate(action_table(labs[0], "held_out").names):
        cells = (mean_and_spread(saved[:, j, p]) for p in range(len(names)))
        told = ("" if np.isnan(mean) else f"{mean:+.1%} ± {half:.1%}" for mean, half in cells)
        lines.append(f"{level:30s}" + "".join(f"{cell:>20}" for cell in told))
    return "\n".join(lines)


def _saved(lab: Lab, names: tuple[str, ...]) -> list[list[float]]:
    table, fronts = action_table(lab, "held_out"), frontiers(lab)
    levels = range(len(table.names))
    return [[read(fronts[name], table, j).saved for name in names] for j in levels]


def _judged(table: object) -> tuple[Array, ...]:
    return tuple(getattr(table, name) for name in ("value", "clicks", "revenue", "tail"))


def decision_us(lab: Lab, n: int) -> dict[str, float]:
    """Least µs a request of predicting and acting, with the context at hand, ``n`` at once."""
    table, found = action_table(lab, "held_out"), {}
    cost, x = table.costs.total_ms, table.x[:n]
    for kind in KINDS:
        model, spent = value_models(lab)[f"{kind}, both"], []
        for _ in range(300 if n == 1 else 30):
            began = time.perf_counter_ns()
            act(model.predict(x), cost, 0.05, 4.0)
            spent.append(time.perf_counter_ns() - began)
        found[kind] = min(spent) / 1000 / len(x)
    return found


def main() -> None:
    """Print everything."""
    labs = [reclab.open("laptop", seed) for seed in SEEDS]
    print(fixed_curve(labs[0]))
    for aim in AIMS:
        found = [tables(lab, aim) for lab in labs]
        table = action_table(labs[0], "tuning")
        print(f"\n{aim}, against everybody at {table.names[level_of(table, aim)]!r} (seed 0)")
        print(text(found[0]))
        print(f"\n{aim}, seeds {SEEDS}: mean and half range")
        print(spread_table(found))
        for name in (KNOWABLE, TOLD, TRUTH):
            share = [rows[BEST].saved / rows[name].saved for rows in found]
            print(f"{BEST} saves of what {name!r} saves: {mean_and_spread(np.array(share))[0]:.0%}")
    print("\nlong views: cost saved at equal value, by reference level")
    print(by_reference(labs))
    print("\nhow wrong the models are (seed 0): bias by action, r2 of the steps ± standard error")
    for name, e in error_table(labs[0]).items():
        bias = " ".join(f"{x:+.2f}" for x in e.bias)
        steps = " ".join(f"{x:+.2f}±{d:.2f}" for x, d in zip(e.r2, e.r2_error, strict=True))
        print(f"{name:20s} {bias} | {steps}")
    print(f"reference: {table.names[REFERENCE]}")
    for n in (1, 1000):
        told = ", ".join(f"{kind} {us:.2f}" for kind, us in decision_us(labs[0], n).items())
        print(f"decision, {n} at once: {told} µs a request")


if __name__ == "__main__":
    main()
