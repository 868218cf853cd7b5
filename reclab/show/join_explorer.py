"""The control room of lesson 03's sample join: a day joined again at every move, and what a model
that learned from it is worth.

Simplified: a platform turns such knobs on copied traffic, and watches the real ones for a week.
"""

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

import numpy as np
import plotly.graph_objects as go

from reclab.lab.join_panel import (
    CHANCES,
    FATES,
    GAPS_MIN,
    RULES,
    WINDOWS_MIN,
    WORTHS_MIN,
    JoinedDay,
    JoinKnobs,
)
from reclab.lab.join_panel_build import IMPRESSIONS, join_panel
from reclab.lab.lab import Lab, Progress
from reclab.offline_online.join.report import DELAY_EDGES_MIN
from reclab.show.controls import Choice, Slider
from reclab.show.explorer import Explorer, Params
from reclab.show.labels import add_labels, label
from reclab.show.readout import Row
from reclab.show.theme import DASHES, MARKERS, PALETTE, TEXT, Series, panels

add_labels(
    {
        "join.closing": ("when a sample closes", "拼接窗口"),
        "join.way": ("the way of a report", "上报链路"),
        "join.clocks": ("clocks and order", "时钟与乱序"),
        "join.window": ("longest wait", "最长等待"),
        "join.rule": ("close rule", "关窗规则"),
        "join.gap": ("session: silence that ends it", "会话：静默多久算结束"),
        "join.chance": ("hazard: chance of one more", "动态：后续反馈概率阈值"),
        "join.worth": ("priced: a label is worth", "定价：一条标签值多少等待"),
        "join.median": ("median delay, times", "延迟中位数倍数"),
        "join.tail": ("tail of the delay, power", "延迟尾部指数"),
        "join.loss": ("reports lost on the way", "上报丢失率"),
        "join.copies": ("reports sent twice", "重复上报率"),
        "join.skew": ("wrong clocks are off by", "设备时钟偏差"),
        "join.skewed": ("devices with a wrong clock", "时钟有误的设备占比"),
        "join.forgive": ("the join forgives", "拼接容忍的时钟偏差"),
        "join.disorder": ("entries are read late by up to", "消息乱序上限"),
        "join.allowed": ("the watermark waits for", "水位线容忍的乱序"),
        "join.fixed": ("fixed window", "固定窗口"),
        "join.session": ("session end", "会话结束"),
        "join.hazard": ("hazard", "后续概率"),
        "join.priced": ("priced wait", "等待定价"),
        "join.fate": ("What became of the reports", "反馈上报的去向"),
        "join.bydelay": ("Labels by their delay", "标签损失与延迟"),
        "join.said": ("What the model says, and what comes", "模型预测与实际点击率"),
        "join.state": ("Samples that wait", "等待拼接的样本"),
        "join.front": ("Labels against waiting", "标签与等待"),
        "join.model": ("What the model is worth", "模型质量"),
        "join.reports": ("share of reports", "占全部上报"),
        "join.delay": ("minutes from request to report", "请求到上报的分钟数"),
        "join.share": ("share", "占比"),
        "join.predicted": ("predicted click rate", "预测点击率"),
        "join.came": ("click rate", "实际点击率"),
        "join.hour": ("hour of the day", "小时"),
        "join.open": ("thousand samples open", "等待中的样本（千）"),
        "join.wait": ("mean wait, minutes", "平均等待（分钟）"),
        "join.caught": ("share of reports joined", "拼接到的上报占比"),
        "join.auc": ("AUC on the next day", "次日 AUC"),
        "join.bin": ("share of all reports", "占全部上报"),
        "join.missed": ("of these, not joined", "其中未拼接"),
        "join.bins": ("ten groups of impressions", "十组曝光"),
        "join.waiting": ("open", "等待中"),
        "join.chosen": ("the rule that is chosen", "所选规则"),
        "join.here": ("trained on these labels", "用这些标签训练"),
        "join.path": ("fixed windows, undisturbed", "固定窗口（无干扰）"),
        "join.even": ("as said", "预测等于实际"),
        "join.r.rate": ("join rate as it is watched", "拼接率（监控口径）"),
        "join.r.caught": ("of all reports, joined", "全部反馈中拼接到的"),
        "join.r.mean": ("mean wait", "平均等待"),
        "join.r.p95": ("95th percentile of the wait", "等待 95 分位"),
        "join.r.peak": ("samples open at the peak", "峰值等待样本数"),
        "join.r.auc": ("AUC of the model", "模型 AUC"),
        "join.r.loss": ("log loss of the model", "模型对数损失"),
        "join.r.said": ("clicks predicted, of those that came", "预测点击数 / 实际点击数"),
        "join.r.twice": ("entries dropped as repeated", "去重丢弃的重复消息"),
        "join.as_pinned": ("as pinned", "与基线相同"),
        "join.thousand": ("thousand", "千"),
        "join.in time": ("in time", "及时"),
        "join.late": ("late", "迟到"),
        "join.out of order": ("read too late", "读取过晚"),
        "join.before its impression": ("before its impression", "早于曝光"),
        "join.clock refused": ("refused for its clock", "时钟被拒"),
        "join.lost": ("lost on the way", "途中丢失"),
        "min": ("min", "分钟"),
        "s": ("s", "秒"),
    }
)
SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
SKEWS_S = (-300, -120, -60, -30, -10, 0, 10, 60, 120, 150, 300)
SECONDS = (0, 5, 10, 30, 60, 120)
FORGIVES = (0, 5, 10, 30, 60, 120, 300)
MEDIANS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


def delay_words() -> list[str]:
    """Names of the groups of delays, in minutes."""
    edges = [f"{edge:g}" for edge in DELAY_EDGES_MIN]
    return [f"≤{edges[0]}", *(f"–{edge}" for edge in edges[1:]), f">{edges[-1]}"]


class JoinExplorer(Explorer):
    """``JoinExplorer(lab)``: every move joins about ``n`` impressions again and teaches a model."""

    title = ""

    def __init__(self, lab: Lab, n: int = IMPRESSIONS, progress: bool | Progress = True) -> None:
        self.panel = join_panel(lab, n, progress)
        found = [self.panel.serve(JoinKnobs(window_min=minutes)) for minutes in WINDOWS_MIN]
        self.path = np.array([[day.knobs.window_min, day.quality.auc] for day in found])
        super().__init__(self.controls_of())

    def controls_of(self) -> list[Slider | Choice]:
        """The declarations, by group."""
        k, closing, way, clocks = JoinKnobs(), "join.closing", "join.way", "join.clocks"
        rules = [(f"join.{name}", name) for name in RULES]
        return [
            Slider("window_min", k.window_min, "join.window", "min", WINDOWS_MIN, group=closing),
            Choice("rule", rules, k.rule, "join.rule", group=closing),
            Slider("gap_min", k.gap_min, "join.gap", "min", GAPS_MIN, group=closing),
            Slider("chance", k.chance, "join.chance", values=CHANCES[::-1], group=closing),
            Slider("worth_min", k.worth_min, "join.worth", "min", WORTHS_MIN, group=closing),
            Slider("median", k.median, "join.median", values=MEDIANS, group=way),
            Slider("tail", k.tail, "join.tail", low=1.0, high=1.6, step=0.1, group=way),
            Slider("loss", k.loss, "join.loss", values=SHARES, group=way),
            Slider("copies", k.copies, "join.copies", values=SHARES, group=way),
            Slider("skew_s", k.skew_s, "join.skew", "s", SKEWS_S, group=clocks),
            Slider("skewed", k.skewed, "join.skewed", values=SHARES, group=clocks),
            Slider("forgive_s", k.forgive_s, "join.forgive", "s", FORGIVES, group=clocks),
            Slider("disorder_s", k.disorder_s, "join.disorder", "s", SECONDS, group=clocks),
            Slider("allowed_s", k.allowed_s, "join.allowed", "s", SECONDS, group=clocks),
        ]

    def compute(self, params: Params) -> JoinedDay:
        names = JoinKnobs.__dataclass_fields__
        return self.panel.serve(JoinKnobs(**{name: params[name] for name in names}))  # type: ignore[arg-type]

    # ---- drawing -----------------------------------------------------------------------------

    def figure_of(self) -> go.Figure:
        names = ("fate", "bydelay", "said", "state", "front", "model")
        x = ("", "delay", "predicted", "hour", "wait", "wait")
        y = ("reports", "share", "came", "open", "caught", "auc")
        words = [[label(f"join.{name}") if name else "" for name in some] for some in (names, x, y)]
        fig = panels(*words, height=290, vertical_spacing=0.12)
        even = go.Scatter(x=[0, 1], y=[0, 1], mode="lines", name=label("join.even"))
        even.update(line={"color": TEXT, "dash": DASHES[2]}, showlegend=False, hoverinfo="skip")
        fig.add_trace(even, row=2, col=1)
        grey = go.Scatter(x=self.path[:, 0], y=self.path[:, 1], mode="lines+markers")
        grey.update(name=label("join.path"), line={"color": TEXT, "width": 1}, marker_size=5)
        fig.add_trace(grey, row=3, col=2)
        for col in (1, 2):
            fig.update_yaxes(tickformat=".0%", rangemode="tozero", row=1, col=col)
        fig.update_xaxes(tickangle=0, row=1, col=1)
        fig.update_yaxes(tickformat=".1%", row=3, col=1)
        for update in (fig.update_xaxes, fig.update_yaxes):
            update(tickformat=".0%", range=[0, 1], row=2, col=1)
        fig.update_xaxes(range=[0, 24], dtick=4, row=2, col=2)
        fig.update_yaxes(rangemode="tozero", row=2, col=2)
        ticks = {"tickvals": [0.5, 1, 2, 5, 10, 20, 60, 240], "exponentformat": "none"}
        for col in (1, 2):
            fig.update_xaxes(type="log", **ticks, row=3, col=col)
        title = {"font": {"size": 12}, "y": 0.995, "yanchor": "top"}
        return fig.update_layout(legend={"y": -0.07}, title=title, margin={"t": 60})

    def traces(self) -> Sequence[Series]:
        bars = go.Bar(marker_color=list(PALETTE[:6]), texttemplate="%{y:.1%}", showlegend=False)
        share = go.Bar(marker_color=PALETTE[4], showlegend=True)
        missed = go.Scatter(mode="lines+markers", line={"color": PALETTE[5], "width": 2})
        groups = go.Scatter(mode="lines+markers", line={"color": PALETTE[2], "width": 2})
        waiting = go.Scatter(mode="lines", line={"color": PALETTE[0], "width": 2})
        star = {"size": 18, "symbol": "star", "color": PALETTE[5]}
        chosen = go.Scatter(mode="markers", marker=star)
        here = go.Scatter(mode="markers", marker=star, showlegend=False)
        missed.showlegend = True
        groups.showlegend = waiting.showlegend = False
        return [
            Series("join.reports", bars.update(textposition="outside", cliponaxis=False), 1, 1),
            Series("join.bin", share, 1, 2),
            Series("join.missed", missed, 1, 2),
            Series("join.bins", groups, 2, 1),
            Series("join.waiting", waiting, 2, 2),
            Series("join.chosen", chosen, 3, 1),
            *(Series(f"join.{name}", self._dot(i), 3, 1) for i, name in enumerate(RULES)),
            Series("join.here", here, 3, 2),
        ]

    def _dot(self, place: int) -> go.Scatter:
        look = {"size": 10, "color": PALETTE[place], "symbol": MARKERS[place]}
        return go.Scatter(mode="markers", marker=look)

    def series(self, result: JoinedDay) -> Mapping[str, Mapping[str, Any]]:
        share, missed = result.lost_by_delay
        wait, words = result.points[:, 0].round(3), delay_words()
        mean = [round(float(result.wait_ms.mean()) / 60_000, 3)]
        at = RULES.index(result.knobs.rule)
        fates = ["<br>".join(wrap(label(f"join.{fate}"), 11)) for fate in FATES]
        return {
            "join.reports": {"x": fates, "y": result.shares},
            "join.bin": {"x": words, "y": share},
            "join.missed": {"x": words, "y": missed},
            "join.bins": {"x": result.quality.bins[0], "y": result.quality.bins[1]},
            "join.waiting": {"x": self.panel.hours, "y": result.open_samples / 1000},
            "join.chosen": {"x": wait[at : at + 1], "y": result.points[at : at + 1, 1]},
            **{f"join.{name}": {"x": wait[i : i + 1], "y": result.points[i : i + 1, 1]}
               for i, name in enumerate(RULES)},
            "join.here": {"x": mean, "y": [result.quality.auc]},
        }  # fmt: skip

    def draw(self, figure: go.FigureWidget, result: JoinedDay, baseline: JoinedDay) -> None:
        super().draw(figure, result, baseline)
        figure.layout.title.text = self.changed(result.knobs, baseline.knobs)

    def changed(self, now: JoinKnobs, then: JoinKnobs) -> str:
        """What differs from the baseline, in words: a knob may move and the day stay as it was."""
        names = [name for name in self.knobs if getattr(now, name) != getattr(then, name)]
        words = [f"{k.words} {k.show(getattr(now, k.control.name))}"
                 for k in (self.knobs[name] for name in names)]  # fmt: skip
        return "; ".join(words) or label("join.as_pinned")

    def rows(self, result: JoinedDay) -> Sequence[Row]:
        wait, q = result.wait_ms / 60_000, result.quality
        lost = zip(FATES[1:], result.shares[1:].tolist(), strict=True)
        return [
            Row("join.r.rate", 100 * result.join_rate, 1, "%"),
            Row("join.r.caught", 100 * float(result.shares[0]), 1, "%"),
            *(Row(f"join.{fate}", 100 * share, 1, "%") for fate, share in lost),
            Row("join.r.twice", result.doubled, 0),
            Row("join.r.mean", float(wait.mean()), 1, "min"),
            Row("join.r.p95", float(np.quantile(wait, 0.95)), 1, "min"),
            Row("join.r.peak", float(result.open_samples.max()) / 1000, 2, "join.thousand"),
            Row("join.r.auc", q.auc, 3),
            Row("join.r.loss", q.log_loss, 3),
            Row("join.r.said", 100 * q.said, 1, "%"),
        ]  # fmt: skip
