"""Pre-ranking: three models and two teachers over three seeds, precisions at both scales, and what
traffic duties cost."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

import reclab
from reclab.core.metrics import mean_and_spread
from reclab.lab.duties import duty_costs
from reclab.lab.pre_ranking import PreRanked, compare_pre_rankers, pre_rankers, precisions
from reclab.show.pre_ranking_plots import duties_table, precision_table

SEEDS = (0, 1, 2)


def measure(seeds: Sequence[int] = SEEDS) -> dict[str, list[PreRanked]]:
    """A result a seed for each model and teacher."""
    found: dict[str, list[PreRanked]] = {}
    for seed in seeds:
        lab = reclab.open("laptop", seed)
        for name, one in compare_pre_rankers(lab, pre_rankers(lab)).items():
            found.setdefault(name, []).append(one)
        lab.close()
    return found


def table(found: Mapping[str, Sequence[Any]]) -> str:
    """Means and half ranges."""
    names = [f.name for f in fields(PreRanked)]
    lines = [f"{'':<32}" + "".join(f"{name:>16}" for name in names)]
    for who, results in found.items():
        cells = []
        for name in names:
            mean, spread = mean_and_spread(np.array([getattr(one, name) for one in results]))
            cells.append(f"{mean:.3f} ± {spread:.3f}")
        lines.append(f"{who:<32}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines)


def main() -> None:
    """Print the tables."""
    print(table(measure()), flush=True)
    lab = reclab.open("laptop")
    print("\n" + duties_table(duty_costs(lab)), flush=True)
    lab.close()
    for scale in ("laptop", "full"):
        lab = reclab.open(scale)
        print(f"\n{scale}\n{precision_table(precisions(lab))}", flush=True)
        lab.close()


if __name__ == "__main__":
    main()
