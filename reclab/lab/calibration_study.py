"""Calibration measured (校准): are predictions honest, on chosen rows and on random ones?

    ECE before and after each calibrator, beside the ECE that a perfect model would show

Pure functions of a ``TargetLab``'s rows and panel; ``exposure_shift`` compares three rankers.

Simplified: industry calibrates anew every hour, by traffic source.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reclab.cascade.ranking.calibration import CalibrationConfig, Calibrator
from reclab.cascade.ranking.targets import WATCH
from reclab.core import metrics
from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.lab.judge import SPLITS
from reclab.lab.lab import Lab
from reclab.lab.targets import Rows, TargetPanel, judged_rows, rows_of, top_places


@dataclass(frozen=True)
class Calibration:
    """One target on one kind of rows of the held-out day: mean label, mean prediction and ECE as
    they come (``raw``) and after each calibrator, ``noise``: the ECE that a perfect model would
    show on so many rows; ``points`` (mean prediction, rate, rows) of the reliability plot, raw and
    calibrated."""

    rate: float
    rows: int
    told: dict[str, float]
    ece: dict[str, float]
    noise: float
    points: dict[str, tuple[Array, Array, Array]]


def calibration(
    rows: Mapping[str, Rows], fit_on: str = "exposed", bins: int = 10
) -> dict[str, dict[str, Calibration]]:
    """For rows "exposed" (chosen by the old policy) and "random" (flagged slots), by target.

    The calibrators learn on the tuning day, on its "exposed" or its "random" rows, and are judged
    on the held-out day. A pure function of ``TargetLab.rows``: about a second.
    """
    learn, judged = rows["tuning"], rows["held_out"]
    learn = learn.where(learn.is_random if fit_on == "random" else ~learn.is_random)
    makers = {kind: Calibrator(CalibrationConfig(kind)) for kind in ("isotonic", "platt")}
    told = {"raw": judged.told}
    told |= {k: c.fit(learn.told, learn.label).apply(judged.told) for k, c in makers.items()}
    kinds = {"exposed": ~judged.is_random, "random": judged.is_random}
    return {
        kind: {
            name: _calibration({k: t[name][mask] for k, t in told.items()}, label[mask], bins, name)
            for name, label in judged.label.items()
            if name in judged.told
        }
        for kind, mask in kinds.items()
        if mask.any()
    }


def exposure_shift(lab: Lab, target: str = "p_long_view") -> dict[str, dict[str, Calibration]]:
    """``calibration`` of one target for three rankers: static features and exposed rows only, with
    sampled negatives, and the cascade's, whose counters know what was hardly shown. Seconds."""
    static, found = lab.static_rankers, {}
    for name, ranker in {**static, "as-of features": lab.trained.parts.ranker}.items():
        samples = {s: judged_rows(lab, s, features=ranker.features) for s in SPLITS}
        rows = {split: rows_of(part, ranker) for split, part in samples.items()}
        found[name] = {kind: by[target] for kind, by in calibration(rows).items()}
    return found


def told_and_true(panel: TargetPanel, k: int = 10) -> dict[str, tuple[float, float, float, float]]:
    """By target: mean prediction and truth over all candidates of the panel, and over the lists of
    the ``k`` best by that prediction. Who picks the highest predictions picks the luckiest errors
    too: even a calibrated model promises more for its own list than comes true."""
    there, found = panel.item_row >= 0, {}
    for name, told in panel.told.items():
        top = top_places(panel, told, k)
        pairs = [(x[there].mean(), np.take_along_axis(x, top, 1).mean())
                 for x in (told, panel.true[name])]  # fmt: skip
        found[name] = tuple(float(pairs[i][j]) for j in (0, 1) for i in (0, 1))
    return found


def _calibration(told: dict[str, Array], label: Array, bins: int, name: str) -> Calibration:
    chance, p = rng(0, f"calibration noise of {name}"), told["isotonic"]
    if name == WATCH:  # seconds: the spread of the rows stands in for their distribution
        noise = _seconds_noise(p, label, bins)
    else:
        draws = [metrics.ece(chance.random(len(p)) < p, p, bins) for _ in range(10)]
        noise = float(np.mean(draws))
    return Calibration(
        rate=float(np.nanmean(label)),
        rows=int((~np.isnan(label)).sum()),
        told={k: float(values.mean()) for k, values in told.items()},
        ece={k: metrics.ece(label, values, bins) for k, values in told.items()},
        noise=noise,
        points={k: metrics.reliability(label, values, bins) for k, values in told.items()},
    )


def _seconds_noise(p: Array, label: Array, bins: int) -> float:
    """E|N(0, s²/n)| = s sqrt(2 / (π n)) of each group of like predictions, weighted by rows."""
    groups = np.array_split(label[np.argsort(p, kind="stable")], bins)
    parts = [len(g) * np.nanstd(g) * np.sqrt(2 / (np.pi * max(1, len(g)))) for g in groups]
    return float(np.sum(parts) / len(label))
