"""Seven targets at laptop scale: duration bias, ways of learning seconds, calibration, the fronts,
and whether sharing helps rare targets. One world, three seeds of training for the last.

Run: ``python -m tests.bench.targets [--scale SCALE] [--seed N]``.
"""

import argparse
import time
from collections.abc import Iterable

import numpy as np

import reclab
from reclab.core.metrics import mean_and_spread
from reclab.lab.calibration_study import (
    Calibration,
    calibration,
    exposure_shift,
    told_and_true,
)
from reclab.lab.lab import Lab
from reclab.lab.target_studies import duration_bias, multi_task, true_lists, watch_study
from reclab.lab.targets import front, target_lab

PAIRS = (("p_long_view", "watch_sec"), ("p_long_view", "p_like"), ("p_like", "p_follow"))


def line(name: str, values: Iterable[float], digits: int = 3) -> None:
    print(f"{name:<34}" + "".join(f"{value:>10.{digits}f}" for value in values), flush=True)


def _calibrations(found: dict[str, Calibration]) -> None:
    for name, c in found.items():
        ece = [c.ece[kind] for kind in ("raw", "isotonic", "platt")]
        line(f"  {name} ({c.rows:,} rows)", [c.rate, c.told["raw"], *ece, c.noise], 5)


def measure(lab: Lab) -> None:
    """Print every number that lesson 02 quotes about targets."""
    made = target_lab(lab)
    print("unseen rows by length: median length, seconds watched and told, share of long views")
    bias = duration_bias(made.rows["tuning"])
    for row in zip(bias.duration_sec, bias.watch_sec, bias.told_sec, bias.liked, strict=True):
        line("", row)
    times = bias.seconds_times, bias.liked_times
    print(f"longest / shortest tenth: seconds × {times[0]:.1f}, long views × {times[1]:.2f}")
    print("\nways of learning seconds")
    for name, score in watch_study(lab).items():
        for what, value in vars(score).items():
            line(f"  {name}: {what}", [value])
    for name, best in true_lists(made.panel).items():
        line(f"  {name}: seconds, long views, long", vars(best).values())
    print("\ncalibration: rate, told, ECE raw, isotonic, platt, noise of a perfect model")
    for kind, found in calibration(made.rows).items():
        print(kind)
        _calibrations(found)
    print("P(long view) by three rankers")
    for name, by in exposure_shift(lab).items():
        _calibrations({f"{name}, {kind}": c for kind, c in by.items()})
    print("\nmean told and true of all candidates, and of the ten best by what was told")
    for name, values in told_and_true(made.panel).items():
        line(f"  {name}", values, 4)
    print("\nfronts: sums over a list of ten, ends and middle; the true front below")
    for one, other in PAIRS:
        for kind in ("sum", "product"):
            began = time.perf_counter()
            found = [front(made.panel, one, other, kind, by=by) for by in (None, made.panel.true)]
            ms = 500 * (time.perf_counter() - began)
            print(f"{one} against {other}, {kind} ({ms:.0f} ms)")
            for f in found:
                for name in (one, other):
                    line(f"  {name}", f.value[name][[0, 1, 2, 5, 10, 20]])
    print("\nrare targets: AUC and gain over the base rate, mean ± half range of three seeds")
    for model, by in multi_task(lab).items():
        for name, scores in by.items():
            (auc, auc_spread), (gain, spread) = (
                mean_and_spread(np.array(scores[what])) for what in ("auc", "gain")
            )
            line(f"  {model}: {name}", [auc, auc_spread, gain, spread], 4)


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scale", default="laptop", help="tiny, laptop, full")
    parser.add_argument("--seed", type=int, default=0, help="of the platform")
    asked = parser.parse_known_args()[0]
    lab = reclab.open(asked.scale, asked.seed)
    measure(lab)
    lab.close()


if __name__ == "__main__":
    main()
