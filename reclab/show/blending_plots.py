"""The plots of lesson 01 that stand still: calibration curves, the conflicts, the front, 28 days.

Simplified: a team would keep them on a dashboard, with an interval at every point.
"""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from reclab.blending.allocation import BUSINESSES
from reclab.blending.businesses import Money, make_businesses
from reclab.core.metrics import reliability
from reclab.core.types import Array
from reclab.lab.blending import Fairness, Point, Slots
from reclab.lab.blending_candidates import Pool
from reclab.lab.blending_days import Days
from reclab.lab.blending_values import shown_cards
from reclab.lab.lab import Lab
from reclab.show.labels import add_labels, label
from reclab.show.theme import DASHES, MARKERS, PALETTE, TEXT, Plot, figure, line, panels, still

add_labels(
    {
        "watch_sec": ("watch time alone", "只看时长"),
        "revenue": ("money alone", "只看收入"),
        "satisfaction": ("satisfaction alone", "只看满意度"),
        "all three": ("all three", "三者兼顾"),
        "none": ("no protection", "无保护"),
        "as said": ("as said", "所言即所得"),
        "revenue greedy": ("money alone, three ads", "只看收入"),
    }
)
MEASURES = ("minutes a session", "money a session", "users who return tomorrow")
FAMILIES = ("fixed slots", "weave", "weighted sum", "priced")


def calibration(lab: Lab, pool: Pool, bins: int = 8) -> Plot:
    """Reliability of every business's probability on cards that the log shows of the held-out day,
    its curve having been learned the day before."""
    businesses = make_businesses(lab.trained, lab.logs)
    cards = shown_cards(lab, businesses, Money(), "held_out", pool.learned.leaving)
    told = pool.learned.calibration.apply(cards.business, cards.score)
    fig = figure(x="probability that was said", y="share that came true", height=380)
    even = go.Scatter(x=[0, 1], y=[0, 1], mode="lines", name=label("as said"))
    fig.add_trace(even.update(line={"color": TEXT, "dash": DASHES[2]}))
    for code, name in enumerate(BUSINESSES):
        mine = cards.business == code
        said, came, _ = reliability(cards.label[mine], told[mine], bins)
        fig.add_trace(line(said, came, name, code).update(mode="lines+markers"))
    return fig


def objectives(points: Mapping[str, Point]) -> Plot:
    """Pages for one objective alone and for all: minutes, money, return."""
    names = [label(name) for name in points]
    fig = panels(
        ["Minutes", "Money", "Return"],
        ["pages made for"] * 3,
        ["minutes a session", "money a session", "users who return tomorrow"],
        columns=3,
        height=300,
    )
    for place, name in enumerate(("minutes", "money", "back")):
        heights = [getattr(point, name) for point in points.values()]
        digits = "%{y:.1%}" if name == "back" else "%{y:.1f}"
        bars = go.Bar(x=names, y=heights, marker_color=PALETTE[place], texttemplate=digits)
        fig.add_trace(bars.update(textposition="outside", cliponaxis=False), row=1, col=place + 1)
    back = [point.back for point in points.values()]
    fig.update_yaxes(tickformat=".0%", range=[min(back) - 0.02, max(back) + 0.02], row=1, col=3)
    fig.update_layout(showlegend=False)
    return still(fig, "plot: minutes, money and return rate of pages made for one objective")


def front(points: Mapping[str, Point]) -> Plot:
    """Every setting: money against watch time, and return against money; by way of filling pages.
    Those that no other setting beats are filled."""
    titles, money = ["Watch time and money", "Return and money"], MEASURES[1]
    fig = panels(titles, [money] * 2, [MEASURES[0], MEASURES[2]], height=380)
    free = {n for n, p in points.items() if not any(q.dominates(p) for q in points.values())}
    for i, family in enumerate(FAMILIES):
        mine = {n: p for n, p in points.items() if p.family == family}
        marker = {
            "symbol": [MARKERS[i] + ("" if n in free else "-open") for n in mine],
            "color": PALETTE[i],
            "size": 8,
        }
        for column, field in enumerate(("minutes", "back")):
            dots = go.Scatter(
                x=np.float32([p.money for p in mine.values()]),
                y=np.float32([getattr(p, field) for p in mine.values()]),
                mode="markers", marker=marker, name=label(family),
                text=None if column else [*mine],
                legendgroup=family, showlegend=column == 0,
            )  # fmt: skip
            fig.add_trace(dots, row=1, col=column + 1)
    fig.update_yaxes(tickformat=".1%", row=1, col=2)
    return still(fig, "plot: fronts of watch time, money and return by way of filling pages")


def resources(slots: Slots) -> Plot:
    """Who gets the exposure under each policy; what one card more on a page costs."""
    fig = panels(
        ["Exposure by policy", "One card more on every page"],
        ["", "business"],
        ["share of exposure", "value lost a page"],
        height=330,
    )
    policies = [label(name) for name in slots.policies]
    for b, name in enumerate(BUSINESSES):
        bars = go.Bar(x=policies, y=slots.share[:, b], name=label(name), marker_color=PALETTE[b])
        fig.add_trace(bars, row=1, col=1)
    names = [label(name) for name in BUSINESSES]
    price = go.Bar(x=names, y=slots.slot_price, marker_color=list(PALETTE[:6]), showlegend=False)
    price.update(texttemplate="%{y:.2f}", textposition="outside", cliponaxis=False)
    fig.add_trace(price, row=1, col=2)
    fig.update_yaxes(tickformat=".0%", range=[0, 1], row=1, col=1)
    fig.update_layout(barmode="stack", legend={"y": -0.22})
    return still(fig, "plot: share of exposure of each business by policy, price of a card more")


def fairness(found: Mapping[str, Fairness]) -> Plot:
    """What a protection brings the tail of creators and the smallest business, and what it costs
    in watch time and money, against no protection."""
    none = found["none"]
    fig = panels(
        ["Who is seen", "What it costs"], ["", ""],
        ["share of exposures; Gini", "against no protection"], height=350,
    )  # fmt: skip
    names = [label(name) for name in found]
    bars = {
        "long tail of creators": (1, [f.tail for f in found.values()]),
        "smallest business": (1, [f.smallest for f in found.values()]),
        "Gini of creators": (1, [f.gini for f in found.values()]),
        "minutes": (2, [f.minutes / none.minutes - 1 for f in found.values()]),
        "money": (2, [f.money / none.money - 1 for f in found.values()]),
        "return": (2, [f.back / none.back - 1 for f in found.values()]),
    }
    for i, (name, (column, height)) in enumerate(bars.items()):
        bar = go.Bar(x=names, y=np.float32(height), name=label(name), marker_color=PALETTE[i])
        fig.add_trace(bar, row=1, col=column)
    fig.update_yaxes(tickformat=".0%")
    fig.update_layout(legend_y=-0.4)
    return still(fig, "plot: exposure of the tail under protections, and their price")


def days(found: Mapping[str, Days]) -> Plot:
    """Watch time, money and users who came, by day; ``found`` by "seed/policy". Lines are means
    over seeds, bands their range; all against the first policy's first day."""
    fig = panels(
        ["Watch time", "Money", "Users who came"], ["day"] * 3,
        ["minutes, first day of priced = 1", "money, first day of priced = 1", "share"],
        columns=3, height=300,
    )  # fmt: skip
    policies = [*dict.fromkeys(name.split("/")[1] for name in found)]
    seeds = [*dict.fromkeys(name.split("/")[0] for name in found)]
    for column, field in enumerate(("minutes", "money", "active")):
        for i, policy in enumerate(policies):
            rows = []
            for seed in seeds:
                first = getattr(found[f"{seed}/{policies[0]}"], field)[0]
                own = getattr(found[f"{seed}/{policy}"], field)
                rows.append(own if field == "active" else own / first)
            _band(fig, np.array(rows), policy, i, column + 1)
    fig.update_yaxes(rangemode="tozero")
    fig.update_yaxes(tickformat=".0%", row=1, col=3)
    return still(fig, "plot: 28 days of watch time, money and active users by policy")


def _band(fig: go.Figure, rows: Array, name: str, i: int, column: int) -> None:
    day = np.arange(1, rows.shape[1] + 1)
    around = np.float32(np.concatenate([rows.max(0), rows.min(0)[::-1]]))
    band = go.Scatter(x=np.concatenate([day, day[::-1]]), y=around, fill="toself", opacity=0.25)
    band.update(line_width=0, fillcolor=PALETTE[i], hoverinfo="skip", showlegend=False)
    fig.add_trace(band.update(mode="lines"), row=1, col=column)
    drawn = line(day, rows.mean(0), name, i).update(mode="lines", showlegend=column == 1)
    fig.add_trace(drawn, row=1, col=column)
