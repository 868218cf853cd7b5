"""The control room of lesson 04: policies side by side through an evening with a surge.

Simplified: a platform rehearses such evenings with copied traffic, at night, on the real machines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from reclab.lab.evening import POLICIES, Evening, Knobs
from reclab.lab.surge import Run
from reclab.show.controls import Check, Choice, Slider
from reclab.show.explorer import Explorer, Params
from reclab.show.labels import add_labels, label
from reclab.show.readout import Row
from reclab.show.theme import DASHES, MARKERS, PALETTE, TEXT, Series, panels

add_labels(
    {
        "surge.traffic": ("traffic", "流量"),
        "surge.rules": ("thresholds", "规则阈值"),
        "surge.price": ("DCAF: budget and estimator", "DCAF：预算与价值估计器"),
        "surge.power": ("MaxPower", "MaxPower"),
        "surge.shown": ("policies shown", "显示的策略"),
        "height": ("surge, times the usual", "流量突增倍数"),
        "minutes": ("lasts", "持续"),
        "min": ("min", "分钟"),
        "on": ("degrade above (load)", "高于该利用率时降级"),
        "gap": ("back to normal, lower by", "恢复线低于触发线"),
        "hold_s": ("hold at least", "最短保持"),
        "s": ("s", "秒"),
        "safe": ("budget (load)", "预算：保持的利用率"),
        "told": ("estimator", "价值估计器"),
        "set_point": ("set point", "设定值"),
        "proportional": ("Kp, answers the error", "Kp 比例"),
        "integral": ("Ki, gathers the error", "Ki 积分"),
        "never": ("never", "不降级"),
        "thresholds": ("thresholds", "规则阈值"),
        "overflow": ("random overflow", "随机溢出"),
        "quality factor": ("quality factor", "质量系数"),
        "Q-learning": ("Q-learning", "强化学习"),
        "MaxPower": ("MaxPower alone", "仅 MaxPower"),
        "DCAF without MaxPower": ("DCAF without MaxPower", "DCAF（无 MaxPower）"),
        "DCAF + MaxPower": ("DCAF + MaxPower", "DCAF + MaxPower"),
    }
)
SHOWN = ("never", "thresholds", "quality factor", "DCAF + MaxPower")
THIN = 3  # every third tick is drawn
PANELS = 5  # over time
LEAST = 1e-4  # share of failures below which the plot draws them as this


@dataclass(frozen=True)
class Evenings:
    """What policies make of one setting of the knobs; ``shown`` are drawn."""

    evening: Evening
    knobs: Knobs
    shown: tuple[str, ...]

    def run(self, name: str) -> Run:
        """A policy's run, also of one that is not drawn."""
        return self.evening.run(name, self.knobs)

    def kept(self, name: str) -> float:
        """Value of the evening as a share of what live answers for all would have had."""
        return self.evening.kept(self.run(name))


class SurgeExplorer(Explorer):
    """``SurgeExplorer(evening)``: every move runs the policies that it concerns again."""

    title = ""

    def __init__(self, evening: Evening) -> None:
        self.evening = evening
        super().__init__(self.controls_of())

    def controls_of(self) -> list[Slider | Choice | Check]:
        """The declarations, by group."""
        k = Knobs()
        said = list(self.evening.say)
        return [
            Slider("height", k.height, low=1.0, high=16.0, step=0.5, group="surge.traffic"),
            Slider("minutes", k.minutes, "minutes", "min", low=1.0, high=6.0, step=0.5,
                   group="surge.traffic"),
            Slider("on", k.on, low=0.5, high=0.99, step=0.01, group="surge.rules"),
            Slider("gap", k.gap, low=0.01, high=0.4, step=0.01, group="surge.rules"),
            Slider("hold_s", k.hold_s, "hold_s", "s", low=0.0, high=120.0, step=5.0,
                   group="surge.rules"),
            Slider("safe", k.safe, low=0.4, high=1.0, group="surge.price"),
            Choice("told", said, said[0], group="surge.price"),
            Slider("set_point", k.set_point, low=0.4, high=0.99, step=0.01, group="surge.power"),
            Slider("proportional", k.proportional, high=2.0, group="surge.power"),
            Slider("integral", k.integral, high=2.0, group="surge.power"),
            *(Check(name, name in SHOWN, group="surge.shown") for name in POLICIES),
        ]  # fmt: skip

    def knobs_now(self, params: Params) -> Knobs:
        """The settings as the evening takes them."""
        names = Knobs.__dataclass_fields__
        return Knobs(**{name: params[name] for name in names})  # type: ignore[arg-type]

    def check(self, params: Params) -> str | None:
        if not any(params[name] for name in POLICIES):
            return "Show at least one policy."
        if params["gap"] >= params["on"]:
            return f"The way back must stay above 0: less than {params['on']:g} lower."
        return None

    def compute(self, params: Params) -> Evenings:
        shown = tuple(name for name in POLICIES if params[name])
        found = Evenings(self.evening, self.knobs_now(params), shown)
        for name in shown:
            found.run(name)
        return found

    # ---- drawing ---------------------------------------------------------------------------

    def figure_of(self) -> go.Figure:
        fig = panels(
            [
                "Requests that got no page",
                "99th percentile of the response time",
                "Value of a request",
                "The busiest servers",
                "Long tail among the cards shown",
                "The whole evening",
            ],
            [*["minutes"] * 5, "share of all requests that failed"],
            ["share", "ms", "share of the usual", "utilisation", "share of cards", "value kept"],
            height=270,
        )
        for place, axis in (((1, 1), "%"), ((1, 2), ""), ((3, 2), "%")):
            log = {"type": "log", "row": place[0], "col": place[1]}
            (fig.update_xaxes if place == (3, 2) else fig.update_yaxes)(
                **log, tickformat=".2~%" if axis else None, exponentformat="none"
            )
        for place in ((2, 1), (2, 2), (3, 1)):
            fig.update_yaxes(tickformat=".0%", rangemode="tozero", row=place[0], col=place[1])
        fig.update_yaxes(tickformat=".0%", row=3, col=2)
        self._lines = self._add_lines(fig)
        return fig.update_layout(legend={"y": -0.08})

    def _add_lines(self, fig: go.Figure) -> dict[tuple[str, int], int]:
        """A line for each policy in each panel over time; their places in ``fig.data``. They have
        no ghost of the baseline, which would be sixteen lines a panel."""
        places = {}
        for i, name in enumerate(POLICIES):
            for panel in range(PANELS):
                line = go.Scatter(mode="lines", name=label(name), legendgroup=name)
                line.update(line={"color": PALETTE[i], "dash": DASHES[i], "width": 2})
                line.update(showlegend=panel == 0, visible=name in SHOWN)
                fig.add_trace(line, row=panel // 2 + 1, col=panel % 2 + 1)
                places[name, panel] = len(fig.data) - 1
        return places

    def traces(self) -> Sequence[Series]:
        dots = go.Scatter(mode="markers", hovertemplate="%{text}<extra></extra>")
        dots.marker.size = 12
        return [Series("all", dots, 3, 2)]

    def series(self, result: Evenings) -> Mapping[str, Mapping[str, Any]]:
        shown = self.result.shown
        failed = [max(result.run(name).failure_rate, LEAST) for name in shown]
        kept = [result.kept(name) for name in shown]
        places = [POLICIES.index(name) for name in shown]
        colour, symbol = ([look[i] for i in places] for look in (PALETTE, MARKERS))
        words = [label(name) for name in shown]
        # one by one: a whole marker would reach the page as none at all
        dots = {"x": failed, "y": kept, "text": words}
        return {"all": {**dots, "marker.color": colour, "marker.symbol": symbol}}

    def draw(self, figure: go.FigureWidget, result: Evenings, baseline: Evenings) -> None:
        super().draw(figure, result, baseline)
        ghost = figure.data[self.index["all"][1]]
        ghost["marker.symbol"], ghost["marker.color"] = "circle-open", TEXT
        for name in POLICIES:
            told = _over_time(result, name) if name in result.shown else None
            for panel in range(PANELS):
                line = figure.data[self._lines[name, panel]]
                if told:
                    line.x, line.y = told[0], told[1][panel]
                line.visible = bool(told)

    def rows(self, result: Evenings) -> Sequence[Row]:
        return [row for name in self.result.shown for row in _numbers(name, result)]


def _over_time(result: Evenings, name: str) -> tuple[Any, list[Any]]:
    """Minutes, and what the panels over time draw of a run."""
    run, some = result.run(name), slice(None, None, THIN)
    busiest = np.maximum(run.cpu, np.nan_to_num(run.gpu))
    value = run.value / np.maximum(run.qps, 1e-9) / result.evening.usual
    lines = [np.maximum(run.failure, LEAST), run.p99_ms, value, busiest, run.tail]
    return np.float32(run.seconds[some] / 60), [np.float32(line[some]) for line in lines]


def _numbers(name: str, result: Evenings) -> list[Row]:
    """The evening of one policy."""
    run, words = result.run(name), label(name)
    return [
        Row(f"{words}: value kept", 100 * result.kept(name), 1, "%"),
        Row(f"{words}: requests without a page", 100 * run.failure_rate, 2, "%"),
        Row(f"{words}: long tail", 100 * float(run.tail.mean()), 1, "%"),
        Row(f"{words}: cost", float(run.cost.mean()), 1, "busy servers", measured=True),
        Row(f"{words}: p99", run.p99_overall_ms, 0, "ms", measured=True),
    ]
