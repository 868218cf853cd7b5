"""The price of computing, turned by hand: budget, price, whose word is believed, and who gets what.

Simplified: a platform solves the price every few seconds and nobody turns it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import plotly.graph_objects as go

from reclab.core.types import Array
from reclab.degradation_dcaf.actions import REFERENCE
from reclab.degradation_dcaf.dcaf import act, solve_lambda
from reclab.lab.action_values import draws
from reclab.lab.dcaf_tables import frontier, judged_by
from reclab.lab.value_study import LEARNED, TRUTH, Study
from reclab.show.controls import Check, Choice, Slider
from reclab.show.explorer import Explorer, Params
from reclab.show.labels import add_labels, label
from reclab.show.readout import Row
from reclab.show.theme import DASHES, PALETTE, Series, panels

add_labels(
    {
        "budget": ("budget, share of the usual cost", "预算（占常规成本）"),
        "who": ("who says what a request gains", "价值估计器"),
        "by_hand": ("set the price by hand", "手动设定 λ"),
        "lam_ms": ("price λ", "价格 λ"),
        "long views a ms": ("long views a ms", "长播/毫秒"),
        "learned": ("learned from the log", "日志学习"),
        "knowable": ("the truth's expectation (knowable)", "真实期望（可知）"),
        "same for all": ("the same for all", "人人相同"),
        "lies": ("the opposite of what was learned", "与所学相反"),
        "usual": ("one action for all", "人人同一档位"),
        "hindsight": ("hindsight, on its own draw", "事后（自身样本）"),
        "here": ("you are here", "当前位置"),
        "slider": ("at the slider's price", "滑块价格处"),
        "degraded": ("degraded", "降级"),
    }
)
POINTS = 300  # requests of the cloud
PRICES = 40  # on a front
FRONTS = (LEARNED, TRUTH)


@dataclass(frozen=True)
class Spent:
    """What a price makes of the requests: ``action`` (n,), -1 = degraded; means a request of
    ``cost`` (ms), ``value`` and the others, ``solved``, the price that meets the budget, and
    ``by_hand``, (cost, value) at the price of the slider, whether it is in force or not."""

    lam: float
    solved: float
    action: Array
    cost: float
    value: float
    clicks: float
    revenue: float
    tail: float
    by_hand: tuple[float, float] = (0.0, 0.0)


class PriceExplorer(Explorer):
    """``PriceExplorer(study)``: every move prices all requests again."""

    title = ""

    def __init__(self, study: Study) -> None:
        self.study, t = study, study.table
        levels = np.append(t.costs.degraded_ms, t.costs.total_ms)
        self.worth = {
            "value": np.append(t.fallback[:, None], t.value, 1),
            "clicks": np.append(t.fallback_clicks[:, None], t.clicks, 1),
            "revenue": np.append(t.fallback_revenue[:, None], t.revenue, 1),
            "tail": np.append(t.fallback_tail[:, None], t.tail, 1),
            "cost": np.broadcast_to(levels, (len(t), len(levels))),
        }
        self.usual = {name: float(w[:, REFERENCE + 1].mean()) for name, w in self.worth.items()}
        super().__init__(
            [
                Slider("budget", 0.5, low=0.1, high=1.5),
                Choice("who", [(name, name) for name in study.gains], LEARNED),
                Slider("lam", 0.5, "lam_ms", "long views a ms", low=0.0, high=3.0),
                Check("by_hand", False),
            ]
        )

    def compute(self, params: Params) -> Spent:
        gain, cost = self.study.gains[str(params["who"])], self.study.net_cost
        ms = float(params["budget"]) * self.usual["cost"] - self.study.table.costs.degraded_ms
        solved = solve_lambda(gain, cost, max(ms, 0.0) * len(gain)).lam
        hand = self._at(gain, float(params["lam"]), solved)
        done = hand if params["by_hand"] else self._at(gain, solved, solved)
        return replace(done, by_hand=(hand.cost, hand.value))

    def _at(self, gain: Array, lam: float, solved: float = 0.0) -> Spent:
        action = act(gain, self.study.net_cost, lam)
        rows = np.arange(len(action))
        means = {name: float(w[rows, action + 1].mean()) for name, w in self.worth.items()}
        return Spent(lam, solved, action, **means)

    # ---- drawing ---------------------------------------------------------------------------

    def figure_of(self) -> go.Figure:
        fig = panels(
            [
                "Value against cost",
                "Requests by the action that they get",
                "Share of the requests by action",
                "Beside the usual action for all",
            ],
            [
                "processor ms a request",
                "the cheapest action adds to the degraded page",
                "action",
                "",
            ],
            ["long views of a page", "the dearest adds to that", "share", "share of the usual"],
            height=320,
        )
        for place, (name, (cost, value)) in enumerate(self._fronts().items(), 1):
            line = go.Scatter(
                x=np.float32(cost), y=np.float32(value), mode="lines", name=label(name)
            )
            line.update(line={"color": PALETTE[place], "dash": DASHES[place]}, legendgroup="fronts")
            fig.add_trace(line, row=1, col=1)
        for place in ((2, 1), (2, 2)):
            fig.update_yaxes(tickformat=".0%", rangemode="tozero", row=place[0], col=place[1])
            fig.update_xaxes(type="category", row=place[0], col=place[1])
        fig.update_xaxes(range=[0, 1.6 * self.usual["cost"]], row=1, col=1)
        return fig.update_layout(legend={"y": -0.1})

    def _fronts(self) -> dict[str, tuple[Array, Array]]:
        """(cost, value) at many prices of what is learned and of what is knowable, of one action
        for all, and of hindsight."""
        t, found = self.study.table, {}
        for name in FRONTS:
            gain = self.study.gains[name]
            dearest = float((gain / self.study.net_cost).max())
            lams = np.append(np.geomspace(dearest, dearest / 3000, PRICES), 0.0)
            points = [self._at(gain, lam) for lam in lams.tolist()]
            found[name] = np.array([[p.cost, p.value] for p in points]).T
        fixed = self.worth["cost"][0], self.worth["value"].mean(0)
        drawn = judged_by(t, draws(t, 0))
        after = frontier(drawn.value, drawn)
        some = slice(None, None, 4)
        return {
            "usual": fixed,
            **{name: (line[0], line[1]) for name, line in found.items()},
            "hindsight": (after.cost[some], after.value[some]),
        }

    def traces(self) -> Sequence[Series]:
        many = len(self.study.table.names) - 1
        ticks = {"tickvals": [-1, *range(0, many + 1, 3)], "title": {"text": "action"}}
        bar = {**ticks, "x": 1.0, "y": 0.8, "len": 0.4, "thickness": 10}
        look = {"size": 6, "cmin": -1, "cmax": many, "colorscale": "Cividis", "colorbar": bar}
        here = {"size": 13, "symbol": "star", "color": PALETTE[0]}
        hand = {"size": 10, "symbol": "diamond", "color": PALETTE[5]}
        cloud = go.Scatter(mode="markers", marker=look, showlegend=False)
        beside = go.Bar(marker_color=PALETTE[2], texttemplate="%{y:.0%}")
        return [
            Series("here", go.Scatter(mode="markers", marker=here, showlegend=True), 1, 1),
            Series("slider", go.Scatter(mode="markers", marker=hand, showlegend=True), 1, 1),
            Series("cloud", cloud, 1, 2),
            Series("share", go.Bar(marker_color=PALETTE[0]), 2, 1),
            Series("beside", beside, 2, 2),
        ]

    def series(self, result: Spent) -> Mapping[str, Mapping[str, Any]]:
        many = len(self.study.table.names)
        counts = np.bincount(result.action + 1, minlength=many + 1)
        levels = [label("degraded"), *(str(j) for j in range(many))]
        words = ["cost", "long views", "clicks", "money", "long tail"]
        names = ("cost", "value", "clicks", "revenue", "tail")
        beside = [getattr(result, name) / max(self.usual[name], 1e-12) for name in names]
        # where one trace of an update has a new x, the page forgets that of a trace without
        return {
            "here": {"x": [result.cost], "y": [result.value]},
            "slider": {"x": [result.by_hand[0]], "y": [result.by_hand[1]]},
            "share": {"x": levels, "y": counts / len(result.action)},
            "beside": {"x": words, "y": beside},
        }

    def draw(self, figure: go.FigureWidget, result: Spent, baseline: Spent) -> None:
        super().draw(figure, result, baseline)
        gain = self.study.gains[str(self.params["who"])][:POINTS]
        cloud = figure.data[self.index["cloud"][0]]
        cloud.x, cloud.y = gain[:, 0].round(2), (gain[:, -1] - gain[:, 0]).round(2)
        cloud.marker.color = result.action[:POINTS]
        figure.data[self.index["cloud"][1]].visible = False  # a cloud behind the cloud says nothing

    def rows(self, result: Spent) -> Sequence[Row]:
        usual = self.usual
        return [
            Row("cost of a request, share of the usual", result.cost / usual["cost"]),
            Row("long views of a page", result.value, 2),
            Row("long views, share of the usual", result.value / usual["value"]),
            Row("clicks, share of the usual", result.clicks / usual["clicks"]),
            Row("money, share of the usual", result.revenue / max(usual["revenue"], 1e-12)),
            Row("long tail, share of the cards", result.tail),
            Row("requests on the degraded path", float((result.action < 0).mean())),
            Row("price λ", result.lam, 3, "long views a ms"),
            Row("price that meets the budget", result.solved, 3, "long views a ms"),
        ]
