"""Streaming against hourly and daily batch on the laptop platform: three seeds, what each setting
does, and an outside peer.

A seed draws the users that are studied, the regions that change, moods, clicks and delays anew. The
peer is river's online logistic regression, learning the same samples at the same times from the
ranker's numbers of a candidate (no ids, no history): it says what a small online model can do.
"""

import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from reclab.core.clock import HOUR_MS
from reclab.core.types import Array
from reclab.lab import open_lab
from reclab.lab.drifting_days import DAYS, RULE, DriftingDays, drifting_days
from reclab.lab.training_modes import (
    MODES,
    ModesConfig,
    TrainingModes,
    excess_loss,
    expected_auc,
    first_base,
    study,
)
from reclab.show.labels import text_table

SEEDS = (0, 1, 2)
SHOWN = ("loss before", "8 h after", "day 2", "AUC day 2", "recovery h", "damage 6 h", "jitter",
         "path / net", "refused", "refused, bad", "rows learned", "CPU s")  # fmt: skip
PEER_PAST = 60_000  # rows before the cut that the peer learns first


def quiet(_: float, __: str) -> None:
    """Nobody watches."""


def main() -> None:
    """Three seeds, then the settings on the first."""
    lab = open_lab("laptop", progress=False)
    usual = ModesConfig()
    days, found = [], []
    for seed in SEEDS:
        began = time.process_time()
        days.append(drifting_days(lab, replace(usual.days, seed=seed)))
        found.append(study(days[-1], usual, quiet))
        print(f"seed {seed}: {len(days[-1].now):,} rows, {time.process_time() - began:.0f} CPU s")
    print("\nmean and half range of three seeds")
    print(text_table(spread(found)))
    print("\nthe settings, seed 0")
    print(text_table(settings(days[0], usual)))
    print("\nriver's online logistic regression on the same samples, seed 0")
    print(text_table(peer(days[0], found[0])))


def spread(found: list[TrainingModes]) -> list[tuple[str, ...]]:
    """A line a mode."""
    rows: list[tuple[str, ...]] = [("mode", *SHOWN)]
    for i, name in enumerate(MODES):
        values = {head: [float(f.numbers()[head][i]) for f in found] for head in SHOWN}
        rows.append((name, *(_spread(head, values[head]) for head in SHOWN)))
    return rows


def _spread(head: str, values: list[float]) -> str:
    if np.isnan(values).all():
        return "never"
    mean, half = float(np.nanmean(values)), (np.nanmax(values) - np.nanmin(values)) / 2
    missed = int(np.isnan(values).sum())
    if head in ("rows learned",):
        return f"{mean:,.0f}"
    digits = 1 if head in ("recovery h", "path / net", "refused", "refused, bad", "CPU s") else 4
    return f"{mean:.{digits}f}±{half:.{digits}f}" + (f" ({missed} never)" if missed else "")


def settings(days: DriftingDays, usual: ModesConfig) -> list[tuple[str, ...]]:
    """One setting turned at a time."""
    hybrid, guard = usual.hybrid, usual.guard
    cases: dict[str, tuple[str, ModesConfig]] = {}
    for rate in (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3):
        stream = replace(usual.stream, learning_rate=rate)
        cases[f"streaming, step size {rate:g}"] = "streaming", replace(usual, stream=stream)
    for minutes in (10, 60):
        cases[f"streaming, every {minutes} min"] = "streaming", replace(usual, step_min=minutes)
    for hours in (1, 6):
        cases[f"hourly, window {hours} h"] = "hourly", replace(usual, hourly_window=hours)
    blind = replace(guard, labels=1e6)
    cases["hybrid, labels not judged"] = "hybrid", replace(usual, guard=blind)
    keep = replace(hybrid, on_refusal="keep")
    cases["hybrid, keeps what is refused"] = "hybrid", replace(usual, hybrid=keep)
    for share in (0.2, 0.5):
        some = replace(guard, labels=share)
        cases[f"hybrid, labels off by {share:g}"] = "hybrid", replace(usual, guard=some)
    rows: list[tuple[str, ...]] = [("setting", *SHOWN)]
    base = first_base(days, usual)
    for name, (mode, config) in cases.items():
        numbers = study(days, config, quiet, (mode,), base).numbers()
        rows.append((name, *(_spread(head, [float(numbers[head][0])]) for head in SHOWN)))
    return [tuple(cell.split("±")[0] for cell in row) for row in rows]


def peer(days: DriftingDays, found: TrainingModes) -> list[tuple[str, ...]]:
    """The peer beside the modes."""
    try:
        from river import linear_model, optim, preprocessing
    except ImportError:
        return [("river is not installed: pip install 'reclab-workbook[bench]'",)]
    began = time.process_time()
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(0.01))
    names = days.features.names["pair"]
    past = days.past.features.pair[-PEER_PAST:]
    _learn(model, names, past, days.past.targets["p_click"][-PEER_PAST:])
    p = _through(model, names, days)
    hour = (days.time_ms[days.now.features.request_row] - days.cut_ms) // HOUR_MS
    spent = time.process_time() - began
    d, rows = found.drift_hour, [("model", "loss before", "8 h after", "day 2", "AUC day 2")]
    for i, name in enumerate(found.modes):
        numbers = found.numbers()
        rows.append((name, *(f"{numbers[head][i]:.4f}" for head in rows[0][1:])))
    parts = [(hour < d), (hour >= d) & (hour < d + 8), hour >= 24]
    told = [excess_loss(days.p_click[part], p[part]) for part in parts]
    told.append(expected_auc(days.p_click[parts[2]], p[parts[2]]))
    rows.append((f"river ({spent:.0f} CPU s)", *(f"{value:.4f}" for value in told)))
    return rows


def _learn(model: object, names: tuple[str, ...], pair: Array, label: Array) -> None:
    for row, y in zip(pair.tolist(), (label > 0.5).tolist(), strict=True):
        model.learn_one(dict(zip(names, row, strict=True)), y)  # type: ignore[attr-defined]


def _through(model: object, names: tuple[str, ...], days: DriftingDays) -> Array:
    """(n,) predictions: before a step's requests, what has closed by then is learned."""
    p, step = np.zeros(len(days.now)), 20 * 60_000
    starts, pair = days.now.features.starts, days.now.features.pair
    label = days.now.targets["p_click"]

    def rows(first: int, stop: int) -> slice:
        a, b = np.searchsorted(days.time_ms, (first, stop))
        return slice(int(starts[a]), int(starts[b]))

    for now in range(days.cut_ms, days.cut_ms + 24 * DAYS * HOUR_MS, step):
        new, wait = rows(now, now + step), RULE.max_wait_ms
        for at, row in enumerate(pair[new].tolist(), new.start):
            x: Mapping[str, float] = dict(zip(names, row, strict=True))
            p[at] = model.predict_proba_one(x).get(True, 0.5)  # type: ignore[attr-defined]
        closed = rows(now - wait, now + step - wait)
        _learn(model, names, pair[closed], label[closed])
    return p


if __name__ == "__main__":
    main()
