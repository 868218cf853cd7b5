"""Several targets at once: one ranker that has learned all seven, what it says of rows and of the
panel's requests, and the front that two targets span.

    front:  lists by (1 - w) y_a / mean(y_a) + w y_b / mean(y_b), or y_a^(1 - w) y_b^w,  w = 0 … 1

The ranker, its predictions for the logged rows of both unseen days, and those for the panel's
candidates beside their truth are built once and cached; what a slider moves is arithmetic on these
arrays. On real logs, where nobody knows the truth, the model's own predictions stand in for it.

Simplified: industry traces this front with live users, one weight an experiment arm.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from reclab.cascade.batch import read_batch
from reclab.cascade.ranking.din import DIN, DINConfig
from reclab.cascade.ranking.features import FeatureBuilder
from reclab.cascade.ranking.ranker import Ranker
from reclab.cascade.ranking.targets import TARGETS
from reclab.cascade.ranking.training import Samples, TrainConfig, samples_of
from reclab.core.clock import DAY_MS
from reclab.core.types import Array, Candidates
from reclab.lab.cache import built
from reclab.lab.judge import SPLITS, TruthJudge
from reclab.lab.kept import cache_name
from reclab.lab.lab import Lab, Progress, progress_bar

KEEP = 300
"""candidates of a request that are kept, by pre-ranking score (as many as the ranker is given)"""
MOST = 100_000
"""logged rows of each unseen day that are judged"""
STEPS = 21
"""weights along a front"""


@dataclass(frozen=True)
class Rows:
    """Logged rows no model has seen: ``told`` (n,) by target that a ranker learned, ``label`` (n,)
    by target that the logs have (NaN = unknown), ``is_random`` (n,) from a flagged random slot,
    ``duration_sec`` (n,)."""

    told: dict[str, Array]
    label: dict[str, Array]
    is_random: Array
    duration_sec: Array

    def __len__(self) -> int:
        return len(self.is_random)

    def where(self, chosen: Array) -> "Rows":
        """The rows of a mask or of positions."""
        told, label = ({k: v[chosen] for k, v in d.items()} for d in (self.told, self.label))
        return Rows(told, label, self.is_random[chosen], self.duration_sec[chosen])


@dataclass(frozen=True)
class TargetPanel:
    """E requests × K candidates in pre-ranking order, -1 padded: what a ranker ``told`` of each
    target and what is ``true`` of it, (E, K) float32 each (0 at the padding)."""

    item_row: Array
    duration_sec: Array
    told: dict[str, Array]
    true: dict[str, Array]
    by_truth: bool


@dataclass(frozen=True)
class TargetLab:
    """A ranker of all targets, its rows (``tuning``, ``held_out``) and its panel."""

    ranker: DIN
    rows: dict[str, Rows]
    panel: TargetPanel


def all_targets() -> DINConfig:
    """The cascade's ranker, asked for everything that the logs have."""
    usual = DINConfig()
    return replace(usual, train=replace(usual.train, targets=TARGETS))


def target_lab(lab: Lab, progress: bool | Progress = False) -> TargetLab:
    """Built once for a lab, in the time its ranker takes to train; then read from the cache."""

    def build(folder: Path) -> None:
        p = lab.trained.parts
        with progress_bar(f"ranker of all targets ({lab.scale})", progress) as say:
            ranker = DIN(all_targets()).fit(lab.logs, p.features, p.until_ms, say)
        ranker.save(folder)
        for split in SPLITS:
            _save_rows(folder / f"{split}.npz", judged_rows(lab, split), ranker)
        panel = make_target_panel(lab, ranker)
        arrays = {f"told.{k}": v for k, v in panel.told.items()}
        arrays |= {f"true.{k}": v for k, v in panel.true.items()} if panel.by_truth else {}
        np.savez(folder / "panel.npz", item_row=panel.item_row, **arrays)

    folder = built(*cache_name(lab, "targets"), build)
    ranker = DIN.load(folder, lab.trained.parts.features, all_targets())
    rows = {split: _load_rows(folder / f"{split}.npz") for split in SPLITS}
    with np.load(folder / "panel.npz") as found:
        told = {k[5:]: found[k] for k in found.files if k.startswith("told.")}
        true = {k[5:]: found[k] for k in found.files if k.startswith("true.")}
        item_row = found["item_row"]
    duration = ranker.durations(item_row.ravel()).reshape(item_row.shape)
    return TargetLab(ranker, rows, TargetPanel(item_row, duration, told, true or told, bool(true)))


# ---- rows ----------------------------------------------------------------------------------


def judged_rows(
    lab: Lab, split: str, most: int = MOST, features: FeatureBuilder | None = None
) -> Samples:
    """The logged exposures of an unseen day (or tenth of real logs), for any ranker of these
    ``features`` (None = the cascade's); rows of flagged random slots have weight 2, others 1."""
    when = lab.logs.interactions["time_ms"]
    start = lab.trained.parts.until_ms or 0
    if lab.has_truth:
        cuts = [start, start + DAY_MS, start + 2 * DAY_MS]
    else:
        cuts = np.quantile(when, [0.8, 0.9, 1.0]).astype(np.int64).tolist()
    at = SPLITS.index(split)
    first, stop = np.searchsorted(when, cuts[at : at + 2])
    rows = np.arange(first, min(stop, first + most))
    plain = TrainConfig(negatives="exposed", random_weight=2.0)
    return samples_of(lab.logs, features or lab.trained.parts.features, plain, rows)


def rows_of(samples: Samples, ranker: Ranker) -> Rows:
    """What a ranker says of judged rows."""
    told = ranker.score_features(samples.features)
    duration = ranker.durations(samples.features.item_row)
    return Rows(told, samples.targets, samples.weight == 2.0, duration)


def _save_rows(file: Path, samples: Samples, ranker: Ranker) -> None:
    rows = rows_of(samples, ranker)
    held = {f"told.{k}": v for k, v in rows.told.items()}
    held |= {f"label.{k}": v for k, v in rows.label.items()}
    np.savez(file, is_random=rows.is_random, duration_sec=rows.duration_sec, **held)


def _load_rows(file: Path) -> Rows:
    with np.load(file) as found:
        told = {k[5:]: found[k] for k in found.files if k.startswith("told.")}
        label = {k[6:]: found[k] for k in found.files if k.startswith("label.")}
        return Rows(told, label, found["is_random"], found["duration_sec"])


# ---- the panel and its front ---------------------------------------------------------------


def panel_rows(lab: Lab, keep: int = KEEP) -> Array:
    """(E, keep) item rows of the panel's requests: the best by pre-ranking score that no filter
    drops, -1 padded."""
    panel = lab.panel
    ok = (panel.item_row >= 0) & ~panel.dropped
    best_first = np.where(ok, panel.item_row, -1).take(panel.by_pre)
    order = np.argsort(best_first < 0, axis=1, kind="stable")[:, :keep]
    return np.asarray(np.take_along_axis(best_first, order, 1), np.int64)


def make_target_panel(lab: Lab, ranker: Ranker) -> TargetPanel:
    """Let a ranker judge the panel's candidates, and the truth beside it."""
    rows = panel_rows(lab)
    told = panel_told(lab, ranker, rows)
    duration = ranker.durations(rows.ravel()).reshape(rows.shape)
    if not isinstance(lab.judge, TruthJudge):
        return TargetPanel(rows, duration, told, told, False)
    held = lab.judge.table("tuning", len(rows))
    found = lab.world.truth.request_targets(held, np.maximum(rows, 0))
    true = {name: values * (rows >= 0) for name, values in found.items()}
    return TargetPanel(rows, duration, told, true, True)


def panel_told(lab: Lab, ranker: Ranker, rows: Array) -> dict[str, Array]:
    """(E, K) what a ranker predicts for item rows (E, K) of the panel's requests, -1 padded."""
    p, requests = lab.trained.parts, lab.requests(len(rows))
    there = rows >= 0
    batch = read_batch(requests, p.users, p.index)
    told = ranker.predict(batch, Candidates(len(rows), np.nonzero(there)[0], rows[there]))
    found = {}
    for name, values in told.items():
        found[name] = np.zeros(rows.shape, np.float32)
        found[name][there] = values
    return found


@dataclass(frozen=True)
class Front:
    """Two targets traded against each other: ``weight`` (S,) of the second; ``value`` (S,) by
    target: mean sum over a list of ten; ``best`` (S,) true where no other weight is better in both
    and at least one is worse."""

    one: str
    other: str
    weight: Array
    value: dict[str, Array]
    best: Array


def top_places(panel: TargetPanel, score: Array, k: int = 10) -> Array:
    """(E, k) places of the highest scores (E, K); padding comes last."""
    score = np.where(panel.item_row >= 0, score, -np.inf)
    return np.argpartition(-score, min(k, score.shape[1]) - 1, axis=1)[:, :k]


def list_values(panel: TargetPanel, places: Array) -> dict[str, float]:
    """What lists (E, k) are truly worth, by target: the mean over requests of the lists' sums."""
    flat = places + panel.item_row.shape[1] * np.arange(len(places))[:, None]
    return {name: float(v.take(flat).sum() / len(flat)) for name, v in panel.true.items()}


def front(
    panel: TargetPanel,
    one: str = "p_long_view",
    other: str = "watch_sec",
    kind: str = "sum",
    steps: int = STEPS,
    by: Mapping[str, Array] | None = None,
) -> Front:
    """Lists of ten for each weight between two targets, and what they are truly worth in all.

    ``by`` are the (E, K) predictions to rank by (None = the ranker's; ``panel.true`` draws the
    best front there is). A pure function on arrays, some ten milliseconds.
    """
    told = panel.told if by is None else by
    a, b = (told[name] / max(float(told[name].mean()), 1e-12) for name in (one, other))
    if kind == "product":
        a, b = np.log(1e-3 + a), np.log(1e-3 + b)
    weight = np.linspace(0.0, 1.0, steps)
    lists = [top_places(panel, np.float32(1 - w) * a + np.float32(w) * b) for w in weight]
    worth = [list_values(panel, places) for places in lists]
    value = {name: np.array([w[name] for w in worth]) for name in panel.true}
    return Front(one, other, weight, value, undominated(value[one], value[other]))


def undominated(x: Array, y: Array) -> Array:
    """(S,) bool: no other point is at least as good in both and better in one."""
    as_good = (x[None] >= x[:, None]) & (y[None] >= y[:, None])
    better = (x[None] > x[:, None]) | (y[None] > y[:, None])
    return np.asarray(~(as_good & better).any(1))
