"""What lesson 02 measures about targets: duration bias, and rare targets that learn with others.

Each is a function of a lab that returns numbers. The two that train models of their own
(``watch_study``, ``multi_task``) keep their numbers in the cache as JSON. How honest predictions
are stands in ``calibration_study``.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from reclab.cascade.ranking.din import DIN, DINConfig
from reclab.cascade.ranking.mmoe import MMoE
from reclab.cascade.ranking.ple import PLE
from reclab.cascade.ranking.ranker import Ranker
from reclab.cascade.ranking.targets import RARE, TARGETS, WATCH
from reclab.cascade.ranking.training import Samples, training_samples
from reclab.cascade.ranking.watch_time import KINDS
from reclab.cascade.ranking.wide_deep import WideDeep
from reclab.core import metrics
from reclab.core.errors import DataError
from reclab.core.types import Array
from reclab.lab.cache import built
from reclab.lab.kept import cache_name
from reclab.lab.lab import Lab
from reclab.lab.targets import (
    Rows,
    TargetPanel,
    all_targets,
    judged_rows,
    list_values,
    panel_told,
    rows_of,
    target_lab,
    top_places,
)

MAIN = "p_long_view"
ROWS = 300_000
"""exposures that the studies' models learn from, latest first: half of the usual, for time"""
LONG_SEC = 60.0
"""a video of more than this is called long here (seconds): the longest third of the exposures"""


def remembered(lab: Lab, kind: str, measure: Callable[[], Any]) -> Any:
    """The numbers of a measurement, made once for a lab's models."""

    def build(folder: Path) -> None:
        (folder / "numbers.json").write_text(json.dumps(measure()), encoding="utf-8")

    folder = built(*cache_name(lab, kind), build)
    return json.loads((folder / "numbers.json").read_text(encoding="utf-8"))


# ---- duration bias -------------------------------------------------------------------------


@dataclass(frozen=True)
class DurationBias:
    """By ten groups of logged views from the shortest videos to the longest: ``duration_sec``
    median, ``watch_sec`` and ``told_sec`` mean seconds watched and predicted, ``liked`` share of
    long views (of clicks where these are not logged), (10,) each."""

    duration_sec: Array
    watch_sec: Array
    told_sec: Array
    liked: Array

    @property
    def seconds_times(self) -> float:
        """How many times as long the longest tenth is watched as the shortest."""
        return float(self.watch_sec[-1] / self.watch_sec[0])

    @property
    def liked_times(self) -> float:
        """How many times as often the longest tenth is liked as the shortest."""
        return float(self.liked[-1] / self.liked[0])


def duration_bias(rows: Rows, groups: int = 10) -> DurationBias:
    """Seconds watched grow with the length of a video; whether it was liked hardly does."""
    if WATCH not in rows.told or np.isnan(rows.duration_sec).all():
        raise DataError("duration bias: these logs do not say how long videos are or were watched")
    liked = rows.label[MAIN if MAIN in rows.label else "p_click"]
    parts = np.array_split(np.argsort(rows.duration_sec, kind="stable"), groups)

    def means(values: Array) -> Array:
        return np.array([np.nanmean(values[part]) for part in parts])

    median = np.array([np.median(rows.duration_sec[part]) for part in parts])
    return DurationBias(median, means(rows.label[WATCH]), means(rows.told[WATCH]), means(liked))


@dataclass(frozen=True)
class WatchScore:
    """How well one way of learning seconds did on logged rows it had not seen: ``mae`` and
    ``rmse`` (s), ``total`` predicted / watched seconds, ``ece`` (s), ``worst_group`` the total of
    the duration tenth that is farthest from 1; and on the panel, ranked by predicted seconds:
    ``seconds`` a list of ten is truly watched and ``long_share`` of its videos above LONG_SEC;
    ``relative_long_share`` of the lists ranked by seconds over the usual for the length ("ratio"
    only, else NaN)."""

    mae: float
    rmse: float
    total: float
    ece: float
    worst_group: float
    seconds: float
    long_share: float
    relative_long_share: float


@dataclass(frozen=True)
class TrueLists:
    """The panel's best lists of ten by a true target: ``seconds`` watched, ``long_views``, and
    ``long_share`` of videos above LONG_SEC."""

    seconds: float
    long_views: float
    long_share: float


def long_share(panel: TargetPanel, places: Array) -> float:
    """Share of long videos in lists (E, k) of places."""
    return float((np.take_along_axis(panel.duration_sec, places, 1) > LONG_SEC).mean())


def true_lists(panel: TargetPanel) -> dict[str, TrueLists]:
    """The best lists there are by seconds and by long views, and all candidates for comparison
    (ten times their mean): what any ranking for watch time leads to, the right one included."""
    everything = panel.item_row >= 0
    known = [name for name in (WATCH, MAIN) if name in panel.true]
    nothing, found = dict.fromkeys((WATCH, MAIN), float("nan")), {}
    for name in known:
        lists = top_places(panel, panel.true[name])
        worth = nothing | list_values(panel, lists)
        found[f"best by {name}"] = TrueLists(worth[WATCH], worth[MAIN], long_share(panel, lists))
    mean = nothing | {name: 10 * float(panel.true[name][everything].mean()) for name in known}
    share = float((panel.duration_sec[everything] > LONG_SEC).mean())
    return {**found, "all candidates": TrueLists(mean[WATCH], mean[MAIN], share)}


def watch_study(lab: Lab) -> dict[str, WatchScore]:
    """Three ways of learning seconds beside each other, and the first without duration groups: the
    cascade's ranker, one target, all else alike. Cached; four trainings when it is not."""
    found = remembered(lab, "targets-watch", lambda: _measure_watch(lab))
    return {name: WatchScore(**numbers) for name, numbers in found.items()}


def _measure_watch(lab: Lab) -> dict[str, dict[str, float]]:
    panel, usual = target_lab(lab).panel, DINConfig()
    learn, judged = _learn(lab, ROWS), judged_rows(lab, "tuning")
    ways = {kind: (kind, usual.train.watch_groups) for kind in KINDS}
    found = {}
    for name, (kind, groups) in {**ways, "ratio, one group": ("ratio", 1)}.items():
        train = replace(usual.train, targets=(WATCH,), watch=kind, watch_groups=groups)
        ranker = DIN(replace(usual, train=train))
        ranker.fit_samples(learn, lab.trained.parts.features)
        told = panel_told(lab, ranker, panel.item_row)[WATCH]
        relative = (
            told / ranker.objective.watch.usual(panel.duration_sec) if kind == "ratio" else None
        )
        found[name] = asdict(_watch_score(rows_of(judged, ranker), panel, told, relative))
    return found


def _watch_score(rows: Rows, panel: TargetPanel, told: Array, relative: Array | None) -> WatchScore:
    said, was = rows.told[WATCH].astype(np.float64), rows.label[WATCH].astype(np.float64)
    by_length = duration_bias(rows)
    groups = by_length.told_sec / by_length.watch_sec
    mine = top_places(panel, told)
    by_ratio = None if relative is None else top_places(panel, relative)
    return WatchScore(
        mae=float(np.abs(said - was).mean()),
        rmse=float(np.sqrt(((said - was) ** 2).mean())),
        total=float(said.sum() / was.sum()),
        ece=metrics.ece(was, said),
        worst_group=float(groups[np.argmax(np.abs(np.log(groups)))]),
        seconds=list_values(panel, mine)[WATCH],
        long_share=long_share(panel, mine),
        relative_long_share=float("nan") if by_ratio is None else long_share(panel, by_ratio),
    )


# ---- rare targets --------------------------------------------------------------------------

MODELS: dict[str, type[Ranker]] = {"shared bottom": WideDeep, "MMoE": MMoE, "PLE": PLE}


def multi_task(
    lab: Lab, seeds: Sequence[int] = (0, 1, 2), rows: int = ROWS
) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Do shared networks help rare targets? One MMoE a target that learns nothing else ("single"),
    against networks that learn all seven, on the tuning day's logged rows.

    ``found[model][target]`` = {"auc": […], "gain": […]}, a value for each training seed; gain is
    the share of the base rate's log loss that the model explains. Cached: ``seeds`` × 7 trainings.
    """
    kind = "-".join(["targets-tasks", str(rows), *(str(seed) for seed in seeds)])
    return remembered(lab, kind, lambda: _measure_tasks(lab, seeds, rows))


def _measure_tasks(lab: Lab, seeds: Sequence[int], rows: int) -> dict[str, Any]:
    learn, judged = _learn(lab, rows), judged_rows(lab, "tuning")
    features = lab.trained.parts.features
    names = [name for name in RARE if name in learn.targets]
    found: dict[str, Any] = {}

    def run(model: type[Ranker], who: str, seed: int, targets: tuple[str, ...]) -> None:
        config = model.Config()
        train = replace(config.train, targets=targets, seed=seed)
        ranker = model(replace(config, train=train)).fit_samples(learn, features)
        told = ranker.score_features(judged.features)
        for name in (name for name in names if name in told):
            scores = found.setdefault(who, {}).setdefault(name, {"auc": [], "gain": []})
            label = judged.targets[name]
            rate = np.full(len(label), label.mean())
            base, mine = metrics.log_loss(label, rate), metrics.log_loss(label, told[name])
            scores["auc"].append(metrics.auc(label > 0.5, told[name]))
            scores["gain"].append(1.0 - mine / base)

    for seed in seeds:
        for name in names:
            run(MMoE, "single", seed, (name,))
        for who, model in MODELS.items():
            run(model, who, seed, TARGETS)
    return found


def _learn(lab: Lab, rows: int) -> Samples:
    p, train = lab.trained.parts, replace(all_targets().train, max_rows=rows)
    return training_samples(lab.logs, p.features, train, p.until_ms)
