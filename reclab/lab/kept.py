"""Results that took minutes, kept beside the lab's models: dataclasses of numbers by name, as JSON.

    rows = kept(lab, "re-rankers", Result, compute)     # computed once, then read
    known(lab, "re-rankers", Result)                     # None while nobody has computed them

Simplified: a company would keep them in a registry of experiments, with who ran them and when.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from reclab.lab.cache import built, whole
from reclab.lab.lab import Lab

Row = TypeVar("Row")
FILE = "rows.json"


def cache_name(lab: Lab, kind: str) -> tuple[str, str]:
    """Kind and version of a cached folder that follows the lab's models."""
    models = f"models-{lab.scale}-{lab.seed}-"
    return f"{kind}-{lab.scale}-{lab.seed}", lab.models_folder.name.removeprefix(models)


def is_kept(lab: Lab, kind: str) -> bool:
    """Whether a folder of this kind lies whole in the cache."""
    return whole(*cache_name(lab, kind)) is not None


def kept(
    lab: Lab, kind: str, row: Callable[..., Row], compute: Callable[[], Mapping[str, Row]]
) -> dict[str, Row]:
    """What ``compute`` gives, computed once for this lab's models."""

    def build(folder: Path) -> None:
        told = {name: asdict(one) for name, one in compute().items()}  # type: ignore[call-overload]
        text = json.dumps(told, default=lambda array: array.tolist())
        (folder / FILE).write_text(text, encoding="utf-8")

    return _read(built(*cache_name(lab, kind), build), row)


def known(lab: Lab, kind: str, row: Callable[..., Row]) -> dict[str, Row] | None:
    """The same if it was computed before, else None."""
    folder = whole(*cache_name(lab, kind))
    return _read(folder, row) if folder else None


def _read(folder: Path, row: Callable[..., Row]) -> dict[str, Row]:
    told = json.loads((folder / FILE).read_text(encoding="utf-8"))
    return {name: row(**_typed(row, one)) for name, one in told.items()}


def _typed(row: Any, one: dict[str, Any]) -> dict[str, Any]:
    """JSON knows lists only: arrays and tuples become themselves again, by the field's type."""
    types = {field.name: str(field.type) for field in fields(row)}
    make = {"ndarray": np.array, "tuple": tuple}  # in this order: an array's shape is a tuple
    for name, value in one.items():
        if isinstance(value, list):
            kind = next(kind for kind in make if kind in types[name])
            one[name] = make[kind](value)
    return one
