"""Trainer state: samples, objectives and versions as tensors, lists and numbers, and back.

What is written so is read by ``torch.load(weights_only=True)``: a file can be damaged, but it
cannot run code.

Simplified: industry checkpoints embeddings by difference, for a full copy takes too long.
"""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from reclab.cascade.ranking.features import Features
from reclab.cascade.ranking.targets import Objective
from reclab.cascade.ranking.training import Samples
from reclab.cascade.ranking.watch_time import WatchTime
from reclab.core.types import Array
from reclab.offline_online.training.model_version import ModelVersion, Scores

PARTS = ("user", "request", "history", "request_row", "item_row", "pair")


def join_samples(parts: list[Samples]) -> Samples:
    """Samples one after the other; a target that one of them lacks is unknown there."""
    owners, shift = [], 0
    for part in parts:
        owners.append(part.features.request_row + shift)
        shift += len(part.features.user)
    columns = {
        name: np.concatenate([getattr(part.features, name) for part in parts]) for name in PARTS
    }
    columns["request_row"] = np.concatenate(owners)
    names = dict.fromkeys(name for part in parts for name in part.targets)
    targets = {name: np.concatenate([_target(part, name) for part in parts]) for name in names}
    weight = np.concatenate([part.weight for part in parts])
    return Samples(Features(**columns), targets, weight)


def _target(part: Samples, name: str) -> Array:
    return part.targets.get(name, np.full(len(part), np.nan, np.float32))


def plain_objective(objective: Objective) -> dict[str, Any]:
    """An objective as lists and numbers."""
    watch = objective.watch
    found = asdict(replace(objective, watch=None))
    return found | {"watch": watch.as_lists() if watch else None}


def objective_of(held: dict[str, Any]) -> Objective:
    """Back from ``plain_objective``."""
    watch = WatchTime.from_lists(held["watch"]) if held["watch"] else None
    return Objective(tuple(held["names"]), held["weight"], held["start"], watch)


def plain_version(version: ModelVersion) -> dict[str, Any]:
    """A version as numbers and tensors."""
    told = {n: [s.rows, s.log_loss, s.auc, s.calibration] for n, s in version.validation.items()}
    numbers = {"number": version.number, "until_ms": version.trained_until_ms}
    weights = {"objective": plain_objective(version.objective), "weights": dict(version.weights)}
    return {**numbers, "rows": version.rows, "validation": told, **weights}


def version_of(held: dict[str, Any]) -> ModelVersion:
    """Back from ``plain_version``."""
    scores = {name: Scores(*values) for name, values in held["validation"].items()}
    numbers = held["number"], held["until_ms"], held["rows"]
    return ModelVersion(*numbers, scores, objective_of(held["objective"]), held["weights"])


def plain_samples(samples: Samples | None) -> dict[str, Any] | None:
    """Samples as tensors; None stays None."""
    if samples is None:
        return None
    columns = {name: torch.from_numpy(getattr(samples.features, name).copy()) for name in PARTS}
    targets = {name: torch.from_numpy(v.copy()) for name, v in samples.targets.items()}
    return {"features": columns, "targets": targets,
            "weight": torch.from_numpy(samples.weight.copy())}  # fmt: skip


def samples_of(held: dict[str, Any] | None) -> Samples | None:
    """Back from ``plain_samples``."""
    if held is None:
        return None
    features = Features(**{name: value.numpy() for name, value in held["features"].items()})
    targets = {name: value.numpy() for name, value in held["targets"].items()}
    return Samples(features, targets, held["weight"].numpy())
