"""The plots of lesson 01 that stand still: conflicts, the front, the days, honest numbers, bids.

Simplified: a team would keep them on a dashboard, with an interval at every point.
"""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from reclab.blending.allocation import BUSINESSES
from reclab.blending.calibration import ScoreCalibration
from reclab.core.metrics import reliability as reliability_points
from reclab.core.types import Array
from reclab.lab.bidding_study import Bidding
from reclab.lab.blending import Fairness, Point, Slots
from reclab.lab.blending_days import Days
from reclab.lab.blending_values import ShownCards
from reclab.show.labels import add_labels, label
from reclab.show.theme import DASHES, MARKERS, PALETTE, TEXT, Plot, figure, panels

add_labels(
    {
        "vcg": ("Vickrey, Clarke, Groves", "VCG 计费"),
        "second_price": ("next bid (GSP)", "广义第二价格"),
        "first_price": ("own bid", "第一价格"),
        "as the business says": ("as the business says", "业务原始分"),
        "calibrated": ("calibrated", "校准后"),
        "all three": ("all three", "三者兼顾"),
        "watch_sec": ("watch time", "观看时长"),
        "revenue": ("money", "收入"),
        "satisfaction": ("satisfaction", "满意度"),
    }
)
FAMILIES = {"fixed slots": 7, "weave": 1, "weighted sum": 2, "priced": 0}


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
    return _still(fig, "plot: minutes, money and return rate of pages made for one objective")


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
    return _still(fig, "plot: share of exposure of each business by policy, price of a card more")


def fairness(found: Mapping[str, Fairness]) -> Plot:
    """What protection of the tail costs in minutes."""
    fig = figure(x="minutes a session", y="long tail of creators, share of exposure", height=350)
    for i, (name, one) in enumerate(found.items()):
        look = {"color": PALETTE[i % 8], "symbol": MARKERS[i % 8], "size": 12}
        dot = go.Scatter(x=[one.minutes], y=[one.tail], mode="markers", marker=look)
        fig.add_trace(dot.update(name=label(name)))
    return fig.update_yaxes(tickformat=".0%")


def front(points: Mapping[str, Point]) -> Plot:
    """Every setting of the four policies: money against minutes and against return."""
    fig = panels(
        ["Minutes and money", "Return and money"],
        ["minutes a session", "users who return tomorrow"],
        ["money a session"] * 2,
        height=360,
    )
    for i, (family, colour) in enumerate(FAMILIES.items()):
        mine = {name: p for name, p in points.items() if p.family == family}
        look = {"color": PALETTE[colour], "symbol": MARKERS[i], "size": 7}
        for col, axis in ((1, "minutes"), (2, "back")):
            x = np.float32([getattr(p, axis) for p in mine.values()])
            y = np.float32([p.money for p in mine.values()])
            dots = go.Scatter(x=x, y=y, mode="markers", marker=look, name=label(family))
            dots.update(text=list(mine), hovertemplate="%{text}<extra></extra>")
            fig.add_trace(dots.update(showlegend=col == 1), row=1, col=col)
    fig.update_xaxes(tickformat=".1%", row=1, col=2)
    return _still(fig, "plot: money against minutes and return rate of every setting")


def days(found: Mapping[str, Days]) -> Plot:
    """Money, minutes and active users of every day by policy: mean and range over seeds;
    ``found`` by "seed/policy", as ``kept_days`` gives them."""
    fig = panels(
        ["Money", "Minutes", "Active users"],
        ["day"] * 3,
        ["money a day", "minutes a day", "share of users who came"],
        columns=3,
        height=320,
    )
    for i, policy in enumerate(dict.fromkeys(name.split("/")[1] for name in found)):
        runs = [one for name, one in found.items() if name.split("/")[1] == policy]
        for col, name in enumerate(("money", "minutes", "active"), 1):
            values = np.array([getattr(run, name) for run in runs])
            for trace in _band(values, policy, i, col == 1):
                fig.add_trace(trace, row=1, col=col)
    fig.update_yaxes(tickformat=".0%", row=1, col=3)
    return _still(fig, "plot: money, minutes and active users of every day by policy")


def reliability(cards: ShownCards, calibration: ScoreCalibration, bins: int = 10) -> Plot:
    """What each business says of its shown cards against what came, before and after; a
    business whose scores are no probabilities (above 1) has no line before."""
    names = [label(name) for name in BUSINESSES]
    fig = panels(names, ["said"] * 6, ["came true"] * 6, columns=3, height=250)
    told = {
        "as the business says": cards.score,
        "calibrated": calibration.apply(cards.business, cards.score),
    }
    for b in range(len(BUSINESSES)):
        mine, place = cards.business == b, {"row": b // 3 + 1, "col": b % 3 + 1}
        drawn = [0.0]
        for i, (name, values) in enumerate(told.items()):
            good = mine & np.isfinite(values)
            if good.any() and 0 <= values[good].min() and values[good].max() <= 1:
                x, y, _ = reliability_points(cards.label[good], values[good], bins)
                line = _line(x, y, name, i).update(mode="lines+markers", showlegend=b == 0)
                fig.add_trace(line, **place)
                drawn += [*x.tolist(), *y.tolist()]
        equal = go.Scatter(x=[0, max(drawn)], y=[0, max(drawn)], mode="lines", showlegend=False)
        fig.add_trace(equal.update(line={"color": TEXT, "dash": DASHES[2]}), **place)
    return _still(fig, "plot: what each business says against what came, before and after")


def bidding(found: Mapping[str, Bidding]) -> Plot:
    """What an advertiser gains by bidding more or less than the truth, by way to pay."""
    fig = figure(x="bid, times the truth", y="gain an auction, money for an exposure", height=340)
    for i, (name, one) in enumerate(found.items()):
        fig.add_trace(_line(one.factors, one.gain, name, i).update(mode="lines+markers"))
    fig.add_vline(x=1.0, line={"color": TEXT, "dash": DASHES[2]})
    return fig


def _band(values: Array, policy: str, place: int, in_legend: bool) -> list[go.Scatter]:
    """Mean line over seeds (seeds, days) and the range around it."""
    day = np.arange(1, values.shape[1] + 1)
    colour, low, high = PALETTE[place], np.float32(values.min(0)), np.float32(values.max(0))
    ring = {"x": [*day, *day[::-1]], "y": [*high, *low[::-1]], "fill": "toself"}
    band = go.Scatter(**ring, mode="none", fillcolor=colour, opacity=0.2, hoverinfo="skip")
    line = _line(day, values.mean(0), policy, place)
    group = {"legendgroup": policy}
    return [band.update(showlegend=False, **group), line.update(showlegend=in_legend, **group)]


def _line(x: Array, y: Array, name: str, place: int) -> go.Scatter:
    line = go.Scatter(x=x, y=np.float32(y), mode="lines", name=label(name))
    look = {"color": PALETTE[place % 8], "dash": DASHES[place % 8], "width": 2}
    return line.update(line=look, marker_symbol=MARKERS[place % 8])


def _still(fig: go.Figure, alt: str) -> Plot:
    plot = Plot(fig)
    plot.alt = alt
    return plot
