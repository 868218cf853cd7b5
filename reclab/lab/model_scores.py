"""What another model of a stage says of the panel's items, computed once and kept: with it the
explorer swaps a model as fast as it moves a size.

    scores = score_model(lab, "ranking", "deep_fm", ranker)     # seconds, the first time
    known_scores(lab, "ranking")                                 # {name: ModelScores} so far

Simplified: a platform would shadow live traffic with the new model for a day.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reclab.core.types import Array
from reclab.lab.cache import built, whole
from reclab.lab.lab import Lab
from reclab.lab.panel import Panel, panel_scores, pre_score, rank_score

STAGES = ("pre_ranking", "ranking")


@dataclass(frozen=True)
class ModelScores:
    """``score`` (E, U) float32 in the places of ``lab.panel``; ``us`` microseconds and ``macs``
    multiply-adds that one candidate took."""

    score: Array
    us: float
    macs: int


def score_model(
    lab: Lab, stage: str, name: str, model: Any, progress: Callable[[float], None] | None = None
) -> ModelScores:
    """Score the panel with a fitted pre-ranker or ranker, or read what it said before."""

    def build(folder: Path) -> None:
        panel, fuse = lab.panel, lab.trained.parts.fuse
        ask = pre_score(model) if stage == "pre_ranking" else rank_score(model, fuse)
        requests = lab.requests(len(panel))
        began = time.perf_counter()
        score = panel_scores(lab.trained, requests, panel.item_row, ask, progress)
        us = 1e6 * (time.perf_counter() - began) / max(1, int((panel.item_row >= 0).sum()))
        held = {"score": score, "us": np.array(us), "macs": np.array(model.macs_per_candidate)}
        np.savez(folder / "scores.npz", **held)

    kind = _kind(lab, stage, name)
    return _load(built(kind, _version(lab), build))


def known_scores(lab: Lab, stage: str, names: tuple[str, ...]) -> dict[str, ModelScores]:
    """Those of the named models that have scored this lab's panel."""
    folders = {name: whole(_kind(lab, stage, name), _version(lab)) for name in names}
    return {name: _load(folder) for name, folder in folders.items() if folder}


def with_models(
    panel: Panel, pre_ranker: ModelScores | None = None, ranker: ModelScores | None = None
) -> Panel:
    """The panel with other models in the stages; None = the one that it was built with."""
    if pre_ranker:
        panel = panel.pre_ranked_by(pre_ranker.score)
    return panel.ranked_by(ranker.score) if ranker else panel


def _kind(lab: Lab, stage: str, name: str) -> str:
    return f"scores-{stage}-{name}-{lab.scale}-{lab.seed}"


def _version(lab: Lab) -> str:
    return lab.models_folder.name.removeprefix(f"models-{lab.scale}-{lab.seed}-")


def _load(folder: Path) -> ModelScores:
    with np.load(folder / "scores.npz") as held:
        return ModelScores(held["score"], float(held["us"]), int(held["macs"]))
