"""The plots of lesson 02 that stand still: policies, curves of value against size, the trap, where
good items were lost, what a ranker attends to, and a slate with its reasons.

Simplified: a team would keep them on a dashboard, with an interval at every point.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from reclab.cascade.batch import read_batch
from reclab.cascade.pipeline import Cascade
from reclab.core.types import Array, Candidates, Request
from reclab.lab import Lab
from reclab.lab.breaking import Stale
from reclab.lab.costs import Spent
from reclab.lab.duties import DutyCost
from reclab.lab.experiments import Cost, Judged, Reach
from reclab.lab.judge import Score
from reclab.lab.latency import LatencyModel
from reclab.lab.replay import Replay
from reclab.show.labels import label, text_width
from reclab.show.slate import Feed, phone
from reclab.show.theme import DASHES, MARKERS, PALETTE, Plot, figure


def policies(scores: Mapping[str, Score]) -> Plot:
    """Value of each policy's list as a share of the oracle's."""
    names = [label(name) for name in scores]
    share = [score.share for score in scores.values()]
    bars = go.Bar(
        y=names, x=share, orientation="h", marker_color=PALETTE[0], texttemplate="%{x:.2f}"
    )
    fig = figure(bars, x="value of the ten cards, share of the oracle's", height=300)
    return fig.update_yaxes(autorange="reversed").update_xaxes(range=[0, 1.05])


def policies_table(scores: Mapping[str, Score]) -> str:
    """The same as text."""
    width = max(24, *(text_width(label(name)) + 1 for name in scores))
    lines = [f"{'policy':<{width}}{'value':>8}{'share':>8}{'NDCG@10':>9}"]
    for name, score in scores.items():
        words, row = label(name), f"{score.value:>8.2f}{score.share:>8.2f}{score.ndcg:>9.2f}"
        lines.append(words + " " * (width - text_width(words)) + row)
    return "\n".join(lines)


def size_plot(curves: Mapping[str, Mapping[int, Replay]]) -> Plot:
    """Value against the size of each stage, the other stages wide open."""
    lines = []
    for i, (name, curve) in enumerate(curves.items()):
        style = {"line": {"dash": DASHES[i]}, "marker": {"symbol": MARKERS[i], "size": 8}}
        y = [done.share for done in curve.values()]
        line = go.Scatter(x=list(curve), y=y, name=label(name), mode="lines+markers", **style)
        lines.append(line.update(line_color=PALETTE[i], marker_color=PALETTE[i]))
    fig = figure(*lines, x="candidates kept", y="value, share of the oracle's")
    return fig.update_xaxes(type="log")


def trap_plot(judged: Mapping[str, Judged]) -> Plot:
    """Value against the number of candidates, a line a ranker, its AUC in the legend."""
    lines = []
    for i, (name, result) in enumerate(judged.items()):
        style = {"line": {"dash": DASHES[i]}, "marker": {"symbol": MARKERS[i], "size": 8}}
        x, y = list(result.share), list(result.share.values())
        words = f"{name} (AUC {result.auc:.2f})"
        line = go.Scatter(x=x, y=y, name=words, mode="lines+markers", **style)
        lines.append(line.update(line_color=PALETTE[i], marker_color=PALETTE[i]))
    fig = figure(*lines, x="candidates given to the ranker", y="value, share of the oracle's")
    return fig.update_xaxes(type="log")


def cost_plot(curves: Mapping[str, Sequence[Spent]]) -> Plot:
    """Value against arithmetic: the cascade, and single models on growing parts of all items."""
    lines = []
    for i, (name, points) in enumerate(curves.items()):
        style = {"line": {"dash": DASHES[i]}, "marker": {"symbol": MARKERS[i], "size": 8}}
        x, y = [point.mmac for point in points], [point.share for point in points]
        line = go.Scatter(x=x, y=y, name=label(name), mode="lines+markers", **style)
        line.update(text=[point.what for point in points], hovertemplate="%{text}: %{y:.2f}")
        lines.append(line.update(line_color=PALETTE[i], marker_color=PALETTE[i]))
    x = "million multiply-adds a request"
    fig = figure(*lines, x=x, y="value, share of the oracle's")
    return fig.update_xaxes(type="log")


def latency_plot(model: LatencyModel) -> Plot:
    """Measured medians by stage and size, with the line of the cost model."""
    traces = []
    for i, stage in enumerate(model.stages):
        colour, mark = PALETTE[i % 8], MARKERS[i % 8]
        n = np.array([0.0, model.n[i].max()])
        line = go.Scatter(x=n, y=model.fixed[i] + model.slope[i] * n, mode="lines")
        line.update(line={"color": colour, "dash": DASHES[i % 8]}, showlegend=False)
        dots = go.Scatter(x=model.n[i], y=model.ms[i], mode="markers", name=label(stage))
        dots.update(marker={"color": colour, "symbol": mark, "size": 8})
        traces += [line, dots]
    return figure(*traces, x="candidates given to the stage", y="ms a request")


def attention(cascade: Cascade, request: Request, item_row: int) -> Plot:
    """The weight that the ranker gives to each liked item of the past, for one candidate."""
    p = cascade.parts
    batch = read_batch([request], p.users, p.index)
    rows, weight = p.ranker.attention(batch, Candidates(1, np.zeros(1, int), np.array([item_row])))
    rows, weight = rows[0][rows[0] >= 0], weight[0][rows[0] >= 0]
    topics = [_topic(cascade, row) for row in rows]
    same = np.array(topics) == _topic(cascade, item_row)
    colour = np.where(same, PALETTE[1], PALETTE[0])
    bars = go.Bar(x=np.arange(1 - len(rows), 1), y=weight, text=topics, marker_color=colour)
    title = f"What the ranker attends to for a card on {_topic(cascade, item_row)}"
    return figure(bars, title=title, x="liked before, 0 = latest", y="attention weight")


def _topic(cascade: Cascade, item_row: int) -> str:
    """The main topic of an item, by number."""
    index = cascade.parts.index
    return f"topic {int(index['tags'][item_row, 0])}" if "tags" in index else f"row {item_row}"


def feed(lab: Lab, request: Request, cascade: Cascade | None = None, heading: str = "") -> Feed:
    """The page that a request gets, as a phone shows it, each card with its reason."""
    cascade = cascade or lab.cascade
    slate, _ = cascade.recommend(request)
    items = cascade.parts.index.get(slate.item_row)
    reasons = [_reason(cascade, mask) for mask in slate.columns.get("channels", ())]
    return phone(slate, items, lab.logs.tag_names, reasons, heading)


def _reason(cascade: Cascade, mask: int) -> str:
    """Which channels found a card; a card without any came from the hot pool."""
    names = cascade.config.channels
    found = [label(name) for bit, name in enumerate(names) if int(mask) >> bit & 1]
    return "found by " + ", ".join(found) if found else "from the hot pool"


def lost(curve: Sequence[str], left: Array) -> str:
    """Text: what share of the oracle's best each stage lost."""
    before, lines = 1.0, []
    for name, share in zip(curve, left, strict=False):
        lines.append(f"{label(name):<14} left {share:5.0%}   lost here {before - share:5.0%}")
        before = float(share)
    return "\n".join(lines)


def duty_plot(found: Mapping[str, Mapping[float, DutyCost]]) -> Plot:
    """What each duty costs if the list keeps its places too, against those whom it is for."""
    lines = []
    for i, (name, row) in enumerate(found.items()):
        style = {"line": {"dash": DASHES[i]}, "marker": {"symbol": MARKERS[i], "size": 8}}
        x, y = [cost.reached for cost in row.values()], [cost.through for cost in row.values()]
        line = go.Scatter(x=x, y=y, name=label(name), mode="lines+markers", **style)
        lines.append(line.update(line_color=PALETTE[i], marker_color=PALETTE[i]))
    x = "share of the list for those whom the duty is for (quota: for the largest category)"
    return figure(*lines, x=x, y="value, share of the oracle's")


# ---- text tables: what a terminal reads, and what is compared ------------------------------


def cost_table(cost: Cost) -> str:
    """The cascade beside ranking everything."""
    head = f"{'':<20}{'value':>8}{'multiply-adds':>18}"
    both = {
        "cascade": (cost.cascade_share, cost.cascade_mmac),
        "ranking everything": (cost.everything_share, cost.everything_mmac),
    }
    rows = [f"{who:<20}{worth:>8.2f}{mmac:>10,.0f} million" for who, (worth, mmac) in both.items()]
    return "\n".join([head, *rows, f"ranking everything costs {cost.times:.0f} times as much"])


def costs_table(curves: Mapping[str, Sequence[Spent]]) -> str:
    """A row a point of the same."""
    lines = [f"{'':<18}{'':<22}{'multiply-adds':>16}{'value':>8}"]
    for name, points in curves.items():
        for i, point in enumerate(points):
            who, mmac = label(name) if i == 0 else "", f"{point.mmac:,.2f} million"
            lines.append(f"{who:<18}{point.what:<22}{mmac:>16}{point.share:>8.2f}")
    return "\n".join(lines)


def stale_table(found: Mapping[float, Stale]) -> str:
    """Value and new items by age of the indexes."""
    lines = [f"{'indexes built':<22}{'value':>8}{'cards younger than a day':>27}"]
    for days, one in found.items():
        when = "at midnight" if days == 0 else f"{days:g} × 24 h earlier"
        lines.append(f"{when:<22}{one.share:>8.3f}{one.new:>27.1%}")
    return "\n".join(lines)


def channels_table(found: Mapping[str, float]) -> str:
    """Recall by set of channels."""
    lines = [f"{'channels asked':<28}{'of the 100 best':>16}"]
    return "\n".join(lines + [f"{name:<28}{recall:>16.0%}" for name, recall in found.items()])


def merges_table(found: Mapping[str, Replay]) -> str:
    """What each way to merge retrieves and leads to."""
    lines = [f"{'merged by':<20}{'of the 100 best':>16}{'value':>8}{'new on the page':>17}"]
    for how, done in found.items():
        lines.append(f"{label(how):<20}{done.recall[0]:>16.0%}{done.share:>8.3f}{done.new:>17.1%}")
    return "\n".join(lines)


def reach_table(found: Mapping[str, Reach]) -> str:
    """What each channel finds alone, for whom."""
    lines = [f"{'channel alone':<24}{'of the 100 best':>16}{'new ones':>10}{'new users':>11}"]
    for name, one in found.items():
        cells = f"{one.everybody:>16.0%}{one.new_items:>10.0%}{one.new_users:>11.0%}"
        lines.append(f"{label(name):<24}{cells}")
    return "\n".join(lines)


def curves_table(curves: Mapping[str, Mapping[int, Replay]]) -> str:
    """Value by stage and size."""
    sizes = sorted({size for curve in curves.values() for size in curve})
    lines = [f"{'kept after':<28}" + "".join(f"{size:>7}" for size in sizes)]
    for name, curve in curves.items():
        cells = (f"{curve[size].share:>7.2f}" if size in curve else f"{'':>7}" for size in sizes)
        lines.append(f"{label(name):<28}" + "".join(cells))
    return "\n".join(lines)


def front_table(front: Mapping[float, Replay]) -> str:
    """Value and diversity by λ."""
    lines = [f"{'λ':>5}{'value':>8}{'topics on a page':>18}"]
    rows = (f"{lam:>5.1f}{done.share:>8.2f}{done.topics:>18.1f}" for lam, done in front.items())
    return "\n".join([*lines, *rows])


def trap_rows(judged: Mapping[str, Judged]) -> list[tuple[str, float, Mapping[int, float]]]:
    """As exercise 2.5 takes them."""
    return [(name, result.auc, result.share) for name, result in judged.items()]
