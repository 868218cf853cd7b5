"""The long measurements of lesson 02, each behind a button: three pre-rankers with two teachers,
nine rankers, the learned re-rankers.

Simplified: a platform trains them every night, and nobody waits for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import plotly.graph_objects as go

from reclab.cascade.ranking.targets import WATCH, main_target
from reclab.cascade.re_ranking.learned import LearnedStage
from reclab.core.metrics import auc
from reclab.lab import Lab, list_ruler, re_rankers
from reclab.lab.calibration_study import Calibration, calibration
from reclab.lab.kept import is_kept, kept, known
from reclab.lab.model_scores import score_model
from reclab.lab.pre_ranking import NARROW, PreRanked, compare_pre_rankers, pre_rankers
from reclab.lab.replay import ReRanker
from reclab.lab.target_studies import DurationBias, duration_bias
from reclab.lab.targets import Rows, target_lab
from reclab.lab.zoo import Row, rankers, zoo
from reclab.show.labels import label, text_table
from reclab.show.pre_ranking_plots import pre_rankers_table
from reclab.show.run_once import Progress, RunOnce
from reclab.show.theme import DASHES, MARKERS, PALETTE, Plot, figure

PRE_RANKERS = "pre-ranker-results"
RE_RANKERS = (
    "score order",
    "windows",
    "MMR 0.9",
    "MMR 0.7",
    "MMR 0.5",
    "DPP 0.97",
    "DPP 0.93",
    *re_rankers.LEARNED,
    "greedy on the truth",
)


def _dots(points: Mapping[str, tuple[float, float]], x: str, y: str, log: bool = True) -> Plot:
    """A dot for each model, named in the legend."""
    dots = []
    for i, (name, (at, worth)) in enumerate(points.items()):
        symbol = (*MARKERS, "hexagon", "bowtie")[i % 10]  # colours come round after eight
        look = {"color": PALETTE[i % 8], "symbol": symbol, "size": 11}
        dots.append(go.Scatter(x=[at], y=[worth], name=label(name), mode="markers", marker=look))
    fig = figure(*dots, x=x, y=y)
    return fig.update_xaxes(type="log") if log else fig


# ---- pre-ranking ---------------------------------------------------------------------------


def pre_rankers_run(lab: Lab) -> RunOnce:
    """Three pre-rankers, each taught by the log and by the ranker; they join the explorer."""

    def compute(progress: Progress) -> dict[str, PreRanked]:
        models = pre_rankers(lab, progress=lambda f, text: progress(0.7 * f, text))
        for i, (name, model) in enumerate(models.items()):
            progress(0.7 + 0.05 * i / 2, f"panel: {label(name)}")
            score_model(lab, "pre_ranking", name, model)
        progress(0.85, "side by side")
        score_model(lab, "pre_ranking", "two_tower", lab.trained.parts.pre_ranker)
        return kept(lab, PRE_RANKERS, PreRanked, lambda: compare_pre_rankers(lab, models))

    def plot(found: Mapping[str, PreRanked]) -> Plot:
        points = {name: (one.us, one.narrow) for name, one in found.items()}
        return _dots(points, "µs a candidate", f"value if only {NARROW} are kept")

    return RunOnce(
        "Three pre-rankers, two teachers",
        "about a minute",
        compute,
        plot,
        pre_rankers_table,
        known(lab, PRE_RANKERS, PreRanked),
    )


# ---- ranking -------------------------------------------------------------------------------


def zoo_run(lab: Lab) -> RunOnce:
    """Nine rankers trained on the same rows; they join the explorer."""

    def compute(progress: Progress) -> dict[str, Row]:
        table = zoo(lab, lambda f, text: progress(0.7 * f, text))
        for i, (name, ranker) in enumerate(rankers(lab, progress=False).items()):
            progress(0.7 + 0.3 * i / len(table), f"panel: {label(name)}")
            own = lab.trained.parts.ranker if name == "din" else ranker
            score_model(lab, "ranking", name, own)
        return table

    done = zoo(lab, False) if is_kept(lab, "zoo") else None
    return RunOnce("Nine rankers", "about four minutes", compute, zoo_plot, zoo_table, done)


def zoo_plot(found: Mapping[str, Row]) -> Plot:
    """How well each tells good from bad for one user, against its price."""
    points = {name: (row.us_per_candidate, row.gauc) for name, row in found.items()}
    return _dots(points, "µs a candidate", "GAUC, unseen logged rows")


def zoo_table(found: Mapping[str, Row]) -> str:
    """A row a ranker."""
    head = ("ranker", "AUC", "GAUC", "log loss", "value", "weights", "µs each", "training s")
    rows = [head]
    for name, row in found.items():
        good = f"{row.auc:.4f}", f"{row.gauc:.4f}", f"{row.log_loss:.4f}", f"{row.share:.3f}"
        price = f"{row.n_weights:,}", f"{row.us_per_candidate:.1f}", f"{row.train_sec:.0f}"
        rows.append((label(name), *good, *price))
    return text_table(rows)


# ---- targets -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Targets:
    """What a ranker of all targets is worth on logged rows of the held-out day: by kind of row
    ("exposed", "random") and target; ``auc`` by target; and what watch time owes to length."""

    calibration: Mapping[str, Mapping[str, Calibration]]
    auc: Mapping[str, float]
    bias: DurationBias | None


def targets_run(lab: Lab) -> RunOnce:
    """One ranker for all targets, judged on rows that no model has seen."""

    def compute(progress: Progress) -> Targets:
        return _judged_targets(target_lab(lab, progress).rows)

    return RunOnce(
        "One ranker, all targets",
        "about a minute",
        compute,
        reliability_plot,
        targets_table,
        compute(lambda fraction, text: None) if is_kept(lab, "targets") else None,
    )


def _judged_targets(rows: Mapping[str, Rows]) -> Targets:
    held = rows["held_out"].where(~rows["held_out"].is_random)
    found = {}
    for name, told in held.told.items():
        label_of = held.label[name]
        ok = ~np.isnan(label_of)
        if name != WATCH:
            found[name] = auc(label_of[ok] > 0.5, told[ok])
    timed = WATCH in held.told and not np.isnan(held.duration_sec).all()
    bias = duration_bias(rows["tuning"]) if timed else None
    return Targets(calibration(rows), found, bias)


def targets_table(found: Targets) -> str:
    """A row a target: how often, how well ordered, how honest before and after calibration."""
    head = ("target", "mean", "AUC", "predicted", "ECE as it comes", "isotonic", "Platt", "noise")
    rows = [head]
    for name, one in found.calibration["exposed"].items():
        order = f"{found.auc[name]:.3f}" if name in found.auc else ""
        ece = (f"{one.ece[kind]:.4f}" for kind in ("raw", "isotonic", "platt"))
        cells = f"{one.rate:.4f}", order, f"{one.told['raw']:.4f}", *ece, f"{one.noise:.4f}"
        rows.append((label(name), *cells))
    if not found.bias:
        return text_table(rows)
    seconds, liked = found.bias.seconds_times, found.bias.liked_times
    return (
        f"{text_table(rows)}\n\nthe longest tenth of the videos against the shortest: watched "
        f"{seconds:.1f} times as long, a long view {liked:.2f} times as often"
    )


def reliability_plot(found: Targets) -> Plot:
    """Predicted against observed rate of the main target, for what the old policy chose to show and
    for random slots."""
    target = main_target(found.calibration["exposed"])
    lines = [go.Scatter(x=[0, 1], y=[0, 1], mode="lines", name="honest", line_color=PALETTE[7])]
    for i, (kind, by) in enumerate(found.calibration.items()):
        for j, how in enumerate(("raw", "isotonic")):
            x, y, _ = by[target].points[how]
            look = {"color": PALETTE[i], "dash": DASHES[j]}
            words = f"{kind} rows, {'as it comes' if how == 'raw' else how}"
            line = go.Scatter(x=x, y=y, name=words, mode="lines+markers", line=look)
            lines.append(line.update(marker={"symbol": MARKERS[i], "color": PALETTE[i]}))
    return figure(*lines, x=f"predicted {label(target)}", y="observed share")


# ---- re-ranking ----------------------------------------------------------------------------


def re_rankers_run(lab: Lab) -> RunOnce:
    """Score order, windows, MMR, DPP and the three that learn, judged by whole pages."""
    done = re_rankers.is_compared(lab) if lab.has_truth else False
    return RunOnce(
        "Re-rankers, judged by whole pages",
        "about two minutes",
        lambda progress: re_rankers.compare(lab, progress=progress),
        re_rankers_plot,
        re_rankers_table,
        re_rankers.compare(lab) if done else None,
    )


def re_rankers_plot(found: Mapping[str, Any]) -> Plot:
    """What a page is worth against how different its cards are; the learned ones as dots."""
    fig = figure(x="distance between the cards of a page", y="long views of a page")
    for i, (name, (x, y)) in enumerate(list_ruler.fronts(found).items()):
        line = go.Scatter(x=x, y=y, name=name, mode="lines+markers", line_color=PALETTE[i])
        fig.add_trace(line.update(marker={"symbol": MARKERS[i], "size": 8, "color": PALETTE[i]}))
    return fig


def re_rankers_table(found: Mapping[str, Any]) -> str:
    """The main ones, a row each; ``list_ruler.table`` has all settings and measures."""
    rows = [("re-ranker", "cards", "list", "apart", "creators", "than MMR, equally apart")]
    for name in RE_RANKERS:
        r = found[name]
        more, error = list_ruler.against_mmr(found, name)
        own = r.family in ("MMR", "score order")
        gap = "" if own else f"{more:+.1%} ± {error:.1%}"
        means = f"{r.value:.2f}", f"{r.list_value:.2f}", f"{r.distance:.2f}", f"{r.creators:.2f}"
        rows.append((name, *means, gap))
    return text_table(rows)


def learned_re_rankers(lab: Lab) -> dict[str, ReRanker]:
    """The learned re-rankers as the explorer takes them; none while nobody has trained them."""
    if not lab.has_truth or not re_rankers.is_compared(lab):
        return {}
    trained = re_rankers.trained_re_rankers(lab)
    return {name: partial(LearnedStage, model=trained[name][0]) for name in re_rankers.LEARNED}
