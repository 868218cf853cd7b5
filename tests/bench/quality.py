"""What policies and stage sizes are worth on the platform: three seeds, unseen requests."""

import numpy as np

import reclab
from reclab.core.metrics import mean_and_spread
from reclab.lab import experiments

SEEDS = (0, 1, 2)


def measure(seeds: tuple[int, ...] = SEEDS, n: int = 300) -> dict[str, list[float]]:
    """Share of the oracle's value on the held-out day by policy, and on the tuning day by stage
    size, a number a seed."""
    found: dict[str, list[float]] = {}
    for seed in seeds:
        lab = reclab.open("laptop", seed)
        for name, score in experiments.compare(lab, n).items():
            found.setdefault(name, []).append(score.share)
        cost = experiments.cost_of_everything(lab)
        found.setdefault("ranking everything", []).append(cost.everything_share)
        found.setdefault("cost of the cascade / everything", []).append(1 / cost.times)
        for stage, curve in experiments.size_curves(lab).items():
            for size, done in curve.items():
                found.setdefault(f"{stage} {size}", []).append(done.share)
        trap = experiments.trap(lab)
        for model, judged in trap.items():
            found.setdefault(f"{model}: AUC", []).append(judged.auc)
            for size, share in judged.share.items():
                found.setdefault(f"{model}: value of the best of {size}", []).append(share)
        lab.close()
    return found


def main() -> None:
    """Print means and half ranges over the seeds."""
    for name, values in measure().items():
        mean, spread = mean_and_spread(np.array(values))
        print(f"{name:<46}{mean:>7.3f} ± {spread:.3f}")


if __name__ == "__main__":
    main()
