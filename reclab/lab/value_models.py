"""The value models of DCAF, learned from the tuning day as a platform would: without its truth.

    exploration log   each tuning request got one random action, and has its one outcome (a draw)
    shadow            the ranker's word for all ten pages, of these requests and of logged ones
    value_models      each estimator from each kind of target, for long views and for money

Simplified: industry refits them every few hours; a day here is one log.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.degradation_dcaf import value_model, value_network
from reclab.degradation_dcaf.value_model import (
    TARGETS,
    Estimator,
    ExplorationLog,
    LinearValue,
    ScalarValue,
    ValueConfig,
)
from reclab.degradation_dcaf.value_network import MonotoneValue
from reclab.lab.action_values import ActionTable, action_table, draws, logged_table, table_version
from reclab.lab.cache import built
from reclab.lab.lab import Lab, Progress, progress_bar

AIMS = ("value", "revenue")
KINDS: dict[str, type[Estimator]] = {"linear": LinearValue, "network": MonotoneValue}
SCALAR = "user × curve"
TRUTH = "network, truth"
"""taught by the tuning requests' true values, which no platform has: what the context can tell,
had its teacher known everything"""
BEST = "network, both"
"""the one that lesson and load model use"""


def exploration_log(lab: Lab, aim: str = "value", seed: int = 0) -> ExplorationLog:
    """The log of the tuning day: a random action and its outcome for each request of the table,
    then logged requests with nothing but the ranker's word. ``aim``: long views or money."""
    table, more = action_table(lab, "tuning"), logged_table(lab)
    return log_of(table, more, aim, lab.seed + 1000 * seed)


def log_of(table: ActionTable, more: ActionTable, aim: str, seed: int) -> ExplorationLog:
    """The same from tables."""
    n, m = table.value.shape
    action = rng(seed, "exploration").integers(0, m, n)
    outcome = getattr(draws(table, seed), aim)[np.arange(n), action]
    told = "told" if aim == "value" else "told_revenue"
    return ExplorationLog(
        np.concatenate([table.x, more.x]),
        np.append(action, np.full(len(more), -1)),
        np.append(outcome, np.full(len(more), np.nan)),
        np.concatenate([getattr(table, told), getattr(more, told)]),
    )


def fitted(
    table: ActionTable, more: ActionTable, aim: str = "value", seed: int = 0
) -> dict[str, Estimator]:
    """Every estimator from every kind of target, and a network that was told the truth. Money may
    fall with more computing, as ranking looks for long views; its models are not monotone."""
    config = ValueConfig(monotone=aim == "value", seed=seed)
    log, n = log_of(table, more, aim, seed), len(table)
    silent = np.full(n, np.nan)
    oracle = ExplorationLog(table.x, np.full(n, -1), silent, getattr(table, aim))
    found = {}
    for name, kind in _named().items():
        target = name.partition(", ")[2]
        told = target in ("", "truth")
        model = kind(replace(config, target="told" if told else target))
        found[name] = model.fit(oracle if target == "truth" else log)
    return found


def _named() -> dict[str, type[Estimator]]:
    """The models by name, in order."""
    named = {f"{name}, {target}": kind for name, kind in KINDS.items() for target in TARGETS}
    return {**named, TRUTH: MonotoneValue, SCALAR: ScalarValue}


def value_models(
    lab: Lab, aim: str = "value", progress: bool | Progress = True
) -> dict[str, Estimator]:
    """The fitted models by name, learned when first asked for (seconds, after the tables) and
    kept: "linear, told" and so on."""

    def build(folder: Path) -> None:
        table, more = action_table(lab, "tuning", progress), logged_table(lab, progress)
        with progress_bar("value models", progress) as say:
            for n, one in enumerate(AIMS):
                say(n / len(AIMS), one)
                models = fitted(table, more, one, lab.seed)
                for i, model in enumerate(models.values()):
                    model.save(folder / one / str(i))

    modules = (value_model, value_network)
    name, version = f"value_models-{lab.scale}-{lab.seed}", table_version(lab, *modules)
    folder = built(name, version, build) / aim
    return {n: kind.load(folder / str(i)) for i, (n, kind) in enumerate(_named().items())}


# ---- how wrong they are --------------------------------------------------------------------


@dataclass(frozen=True)
class Errors:
    """A model against the truth of a table: ``bias`` (m,) mean predicted less mean true value, with
    the standard error ``bias_error`` (m,) of the mean; ``r2`` (m - 1,) share of the requests'
    differences in the worth of each step that is predicted, 0 = no better than the mean step,
    with ``r2_error`` (m - 1,), by resampling requests."""

    bias: Array
    bias_error: Array
    r2: Array
    r2_error: Array


def errors(predicted: Array, table: ActionTable, aim: str = "value", times: int = 100) -> Errors:
    """How wrong ``predicted`` (n, m) is."""
    true, n = getattr(table, aim), len(table)
    off = predicted - true
    step, guess = np.diff(true, axis=1), np.diff(predicted, axis=1)
    usual = (step - step.mean(0)) ** 2
    wrong = (step - guess) ** 2
    chance = rng(0, "resampled requests")
    again = []
    for _ in range(times):
        weight = np.bincount(chance.integers(0, n, n), minlength=n)
        again.append(1 - weight @ wrong / np.maximum(weight @ usual, 1e-12))
    r2 = 1 - wrong.sum(0) / np.maximum(usual.sum(0), 1e-12)
    return Errors(off.mean(0), off.std(0) / np.sqrt(n), r2, np.std(again, axis=0))


def error_table(lab: Lab, split: str = "held_out", aim: str = "value") -> dict[str, Errors]:
    """The errors of all models, and of the ranker's own word."""
    table = action_table(lab, split)
    told = table.told if aim == "value" else table.told_revenue
    found = {
        name: errors(m.predict(table.x), table, aim) for name, m in value_models(lab, aim).items()
    }
    return {"told after all ran": errors(told, table, aim), **found}
