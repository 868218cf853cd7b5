"""The plots and tables of lesson 03's sample join that stand still: windows against the law of
delays, labels against waiting, what is lost by delay, and what waits.

Simplified: a team would keep them on a dashboard, by business, app version and region.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from reclab.core.types import Array
from reclab.lab.join_panel import JoinedDay
from reclab.lab.join_study import Frontier, JoinRates
from reclab.offline_online.join.report import JoinReport
from reclab.show.join_explorer import delay_words
from reclab.show.labels import add_labels, label, text_table
from reclab.show.theme import DASHES, MARKERS, PALETTE, TEXT, Plot, figure, line, panels, still

add_labels(
    {
        "join.law": ("allowed by the law of these delays", "本日延迟律的上限"),
        "join.measured": ("joined by the stream", "流式拼接实测"),
        "join.foretold": ("foretold by the two days before", "由前两天预测"),
        "join.Hazard": ("hazard", "后续概率"),
        "join.PricedWait": ("priced wait", "等待定价"),
        "join.SessionEnd": ("session end", "会话结束"),
        "join.FixedWindow": ("shorter fixed window", "更短的固定窗口"),
    }
)
UNITS = {"Hazard": "chance {:g}", "PricedWait": "label = {:g} s"}
GOAL = (0.99, 0.6)  # of the fixed window's labels, and of its mean wait


def rates(found: JoinRates) -> Plot:
    """Join rate by window, measured beside what the delays allow, and how far apart they are."""
    fig = panels(
        ["Join rate of a fixed window", "Distance from the ceiling"],
        ["window, minutes"] * 2,
        ["join rate", "percentage points"],
        height=300,
    )
    window, ceiling = found.windows_min, found.ceiling
    told = {"measured": found.measured, "law": ceiling, "foretold": found.predicted}
    for i, (name, rate) in enumerate(told.items()):
        drawn = line(window, rate, f"join.{name}", i).update(mode="lines+markers")
        fig.add_trace(drawn, row=1, col=1)
        if name != "law":
            apart = line(window, 100 * (rate - ceiling), f"join.{name}", i)
            fig.add_trace(apart.update(mode="lines+markers", showlegend=False), row=1, col=2)
    ticks = {"tickvals": list(window), "ticktext": [f"{minutes:g}" for minutes in window]}
    fig.update_xaxes(type="log", **ticks)
    fig.update_yaxes(tickformat=".0%", row=1, col=1)
    fig.update_layout(legend_y=-0.28)
    worst = f"{found.worst_points:.2f} points apart at most"
    return still(fig, f"plot: join rate measured and allowed, {found.name}, {worst}")


def rates_table(found: JoinRates) -> str:
    """A line a window."""
    rows = [("window, min", "measured", "ceiling", "apart, points", "foretold", "labels lost")]
    columns = (found.windows_min, found.measured, found.ceiling, found.predicted, found.labels_lost)
    for window, measured, ceiling, predicted, lost in zip(*columns, strict=True):
        apart = f"{100 * (measured - ceiling):+.2f}"
        shares = f"{measured:.2%}", f"{ceiling:.2%}", apart, f"{predicted:.2%}"
        rows.append((f"{window:g}", *shares, f"{lost:,}"))
    return text_table(rows)


def frontier(
    found: Frontier,
    goal: tuple[float, float] = GOAL,
    own: Mapping[str, tuple[Array, Array]] | None = None,
) -> Plot:
    """Labels against waiting, a line a rule, both as shares of the fixed window's; beside them
    lines of one's own: name -> (wait, labels)."""
    fig = figure(
        x="mean wait, share of the fixed window's",
        y="labels, share of the fixed window's",
        height=380,
        alt=f"plot: labels against waiting by rule, {found.name}",
    )
    rule = np.array(found.rule)
    for i, name in enumerate(dict.fromkeys(found.rule)):
        mine = np.flatnonzero(rule == name)
        mine = mine[np.argsort(found.wait[mine])]
        drawn = line(found.wait[mine], found.labels[mine], f"join.{name}", i)
        drawn.update(mode="lines+markers", text=[f"{value:g}" for value in found.setting[mine]])
        fig.add_trace(drawn.update(hovertemplate="%{text}: %{y:.2%} at %{x:.0%}"))
    for i, (name, (wait, labels)) in enumerate((own or {}).items(), len(set(found.rule))):
        fig.add_trace(line(wait, labels, name, i).update(mode="lines+markers", line_width=3))
    star = {"symbol": "star", "size": 14, "color": TEXT}
    fixed = go.Scatter(x=[1.0], y=[1.0], mode="markers", marker=star, name=label("join.fixed"))
    fig.add_trace(fixed)
    box = {"type": "rect", "x0": 0, "x1": goal[1], "y0": goal[0], "y1": 1.0}
    fig.add_shape(**box, line={"color": TEXT, "dash": DASHES[2]})
    low = float(np.quantile(found.labels, 0.2))
    fig.update_xaxes(tickformat=".0%", range=[0, 1.05])
    return fig.update_yaxes(tickformat=".1%", range=[min(low, 0.97), 1.003])


def frontier_table(found: Frontier, labels: Sequence[float] = (0.98, 0.99, 0.995)) -> str:
    """The cheapest rule for each share of the fixed window's labels."""
    rows = [("labels at least", "rule", "setting", "labels", "mean wait")]
    for least in labels:
        rule, setting, kept, wait = found.cheapest(least)
        unit = UNITS.get(rule, "{:g} min").format(setting)
        rows.append((f"{least:.1%}", label(f"join.{rule}"), unit, f"{kept:.2%}", f"{wait:.1%}"))
    fixed = f"fixed window: join rate {found.fixed_rate:.2%}, mean wait {found.fixed_wait_s:.0f} s"
    return f"{text_table(rows)}\n{fixed}"


def loss_by_delay(reports: Mapping[str, JoinReport]) -> Plot:
    """Labels in time and too late between the edges of delay, a panel a join."""
    words, names = delay_words(), list(reports)
    fig = panels(
        names, [label("join.delay")] * len(names), ["reports"] * len(names), columns=len(names),
        height=300, shared_yaxes=True,
    )  # fmt: skip
    for col, report in enumerate(reports.values(), 1):
        told = {"join.in time": report.on_time_by_delay, "join.late": report.late_by_delay}
        for i, (name, count) in enumerate(told.items()):
            bars = go.Bar(x=words, y=count, name=label(name), marker_color=PALETTE[(0, 5)[i]])
            bars.update(marker_pattern_shape=("", "/")[i], showlegend=col == 1, legendgroup=name)
            fig.add_trace(bars, row=1, col=col)
    fig.update_layout(barmode="stack")
    return still(fig, "plot: labels in time and too late, by delay")


def loss_table(report: JoinReport) -> str:
    """A line a group of delays: reports, and how many of them were too late. Later than a join
    remembers (``SampleJoinConfig.remember_ms``) they count as unmatched, and are not here."""
    rows = [("minutes", "reports", "in time", "late", "lost")]
    both = zip(report.on_time_by_delay.tolist(), report.late_by_delay.tolist(), strict=True)
    for name, (on_time, late) in zip(delay_words(), both, strict=True):
        every = on_time + late
        share = f"{late / every:.1%}" if every else "–"
        rows.append((name, f"{every:,}", f"{on_time:,}", f"{late:,}", share))
    return text_table(rows)


def leak_table(aucs: Mapping[str, tuple[float, float]]) -> str:
    """A line a column of a training table: AUC of it alone there, and as it was served."""
    rows = [("column", "in training", "as served", "difference")]
    for name, (training, served) in aucs.items():
        rows.append((name, f"{training:.3f}", f"{served:.3f}", f"{training - served:+.3f}"))
    return text_table(rows)


def state(hours: Array, found: Mapping[str, JoinedDay]) -> Plot:
    """Samples open over the day, a line a setting."""
    fig = figure(x="hour of the day", y="thousand samples open", height=320)
    for i, (name, day) in enumerate(found.items()):
        fig.add_trace(line(hours, day.open_samples / 1000, name, i))
    fig.update_xaxes(range=[0, 24], dtick=4)
    return fig.update_yaxes(rangemode="tozero")


def days_table(found: Mapping[str, JoinedDay]) -> str:
    """A line a setting: labels, freshness, state and what a model learned."""
    rows = [("setting", "watched", "joined", "mean wait", "p95", "open", "AUC", "clicks said")]
    for name, day in found.items():
        wait = day.wait_ms / 60_000
        waits = f"{wait.mean():.1f} min", f"{np.quantile(wait, 0.95):.1f} min"
        rates = f"{day.join_rate:.1%}", f"{day.shares[0]:.1%}"
        model = f"{day.quality.auc:.3f}", f"{day.quality.said:.0%}"
        rows.append((label(name), *rates, *waits, f"{day.open_samples.max():,.0f}", *model))
    return text_table(rows)


def quality(found: Mapping[str, JoinedDay]) -> Plot:
    """What each setting's model says, and what comes; and its AUC against the mean wait."""
    fig = panels(
        ["What the model says, and what comes", "What the model is worth"],
        ["predicted click rate", "mean wait, minutes"],
        ["click rate", "AUC on the next day"],
        height=320,
    )
    even = go.Scatter(x=[0, 1], y=[0, 1], mode="lines", name=label("join.even"))
    fig.add_trace(even.update(line={"color": TEXT, "dash": DASHES[2]}, showlegend=False), 1, 1)
    for i, (name, day) in enumerate(found.items()):
        told = line(*day.quality.bins, name, i).update(mode="lines+markers", legendgroup=name)
        fig.add_trace(told, row=1, col=1)
        look = {"symbol": MARKERS[i % 8], "size": 11, "color": PALETTE[i % 8]}
        dot = go.Scatter(x=[day.wait_ms.mean() / 60_000], y=[day.quality.auc], mode="markers")
        dot.update(marker=look, name=label(name), showlegend=False, legendgroup=name)
        fig.add_trace(dot, row=1, col=2)
    for update in (fig.update_xaxes, fig.update_yaxes):
        update(tickformat=".0%", range=[0, 1], row=1, col=1)
    return still(fig, "plot: reliability and AUC of models by how their labels were joined")
