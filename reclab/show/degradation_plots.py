"""The plots and tables of lesson 04 that stand still: an evening, the queue's knee, the age of a
cache, and what more computing is worth.

Simplified: a team would keep them on a dashboard, with an interval at every point.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from reclab.core.types import Array
from reclab.degradation_dcaf.actions import REFERENCE
from reclab.lab.action_values import ActionTable
from reclab.lab.cached_answers import AGES_S, Page
from reclab.lab.evening import Busy, Evening, Knobs
from reclab.lab.surge import Run
from reclab.lab.value_models import Errors
from reclab.lab.value_study import Study
from reclab.show.labels import label, text_table
from reclab.show.theme import DASHES, PALETTE, Plot, figure, line, panels, still


def evening(run: Run) -> Plot:
    """Traffic, failures and response time of one policy's evening."""
    fig = panels(
        ["Traffic", "Requests that got no page", "Response time"],
        ["minutes"] * 3,
        ["thousand requests a second", "share", "ms"],
        columns=3,
        height=270,
    )
    minutes, some = np.float32(run.seconds / 60), slice(None, None, 2)
    lines = (run.qps / 1000, run.failure, run.p99_ms)
    for place, values in enumerate(lines):
        drawn = go.Scatter(x=minutes[some], y=np.float32(values[some]), mode="lines", name="p99")
        drawn.update(line_color=PALETTE[place], showlegend=place == 2)
        fig.add_trace(drawn, row=1, col=place + 1)
    middle = go.Scatter(
        x=minutes[some], y=np.float32(run.p50_ms[some]), mode="lines", name="median"
    )
    middle.update(line={"color": PALETTE[3], "dash": DASHES[1]})
    fig.add_trace(middle, row=1, col=3)
    fig.update_yaxes(tickformat=".0%", row=1, col=2)
    return still(fig, "plot: traffic, failures and response time over the evening")


def knee(found: Busy) -> Plot:
    """Response time and failures against utilisation."""
    fig = panels(
        ["Response time", "Requests that got no page"],
        ["utilisation that was asked for"] * 2,
        ["ms", "share"],
        height=280,
    )
    for i, (name, values) in enumerate({"median": found.p50_ms, "p99": found.p99_ms}.items()):
        fig.add_trace(line(found.asked, values, name, i), row=1, col=1)
    fig.add_trace(line(found.asked, found.failure, "failures", 2), row=1, col=2)
    fig.update_xaxes(tickformat=".0%")
    fig.update_yaxes(tickformat=".0%", row=1, col=2)
    return still(fig, "plot: response time and failures against utilisation")


def ages(pages: Mapping[str, Page]) -> Plot:
    """Value of degraded pages by the age of their cache, beside live answers."""
    fig = figure(x="age of the cache", y="value, share of the oracle's", height=330)
    names = list(AGES_S)
    for number in (1, 2, 3):
        found = [pages[f"{age}, page {number}"] for age in names]
        drawn = line(names, np.array([p.share for p in found]), f"page {number}", number - 1)
        drawn.error_y = {"array": [2 * p.error for p in found], "thickness": 1}
        fig.add_trace(drawn.update(mode="lines+markers"))
    for name in ("live 1-10", "hot pool, page 1"):
        height = [pages[name].share] * 2
        flat = go.Scatter(x=[names[0], names[-1]], y=height, mode="lines", name=label(name))
        fig.add_trace(flat.update(line={"color": PALETTE[7], "dash": DASHES[3]}))
    return fig.update_yaxes(rangemode="tozero")


def ladder(table: ActionTable, requests: Sequence[int]) -> Plot:
    """What the page is worth against what it costs: the mean of all requests, and some of them."""
    cost = np.append(table.costs.degraded_ms, table.costs.total_ms)
    worth = np.append(table.fallback[:, None], table.value, 1)
    fig = figure(x="processor ms a request", y="long views expected of the page", height=360)
    for i, row in enumerate(requests, 1):
        fig.add_trace(line(cost, worth[row], f"request {row}", i).update(mode="lines+markers"))
    mean = line(cost, worth.mean(0), "mean of all", 0).update(mode="lines+markers", line_width=4)
    mean.update(text=["degraded path", *table.names], hovertemplate="%{text}: %{y:.2f}")
    fig.add_trace(mean)
    return fig.update_xaxes(type="log")


def ladder_table(table: ActionTable) -> str:
    """A line an action: what it takes, what its page is worth."""
    rows = [("action", "cpu ms", "model ms", "long views", "clicks", "long tail")]
    cost, spare = table.costs, table.fallback.mean()
    first = (f"{cost.degraded_ms:.2f}", "0.00", f"{spare:.2f}")
    rows.append(
        ("-1: degraded path", *first, f"{table.fallback_clicks.mean():.2f}",
         f"{table.fallback_tail.mean():.2f}")
    )  # fmt: skip
    for j, name in enumerate(table.names):
        spent = f"{cost.cpu_ms[j]:.2f}", f"{cost.model_ms[j]:.2f}"
        means = (values[:, j].mean() for values in (table.value, table.clicks, table.tail))
        rows.append((f"{j}: {name}", *spent, *(f"{mean:.2f}" for mean in means)))
    return text_table(rows)


def own_front(cost: Array, gain: Array, study: Study) -> Plot:
    """Value against cost by somebody's executor, beside one action for all."""
    t = study.table
    fixed = t.value.mean(0) - t.fallback.mean()
    fig = figure(x="processor ms a request beyond the degraded path", y="long views gained")
    fig.add_trace(line(study.net_cost, fixed, "one action for all", 1))
    fig.add_trace(line(cost, gain, "by your executor", 0))
    return fig.update_traces(mode="lines+markers")


def caps(found: Mapping[str, Array]) -> Plot:
    """The cap on a request's cost through the surge of exercise 4.4, a line a controller."""
    fig = figure(x="seconds; the surge lasts from 30 to 90", y="cap on a request's cost")
    for i, (name, cap) in enumerate(found.items()):
        fig.add_trace(line(np.arange(len(cap)), cap, name, i))
    return fig.update_yaxes(rangemode="tozero")


def errors_table(found: Mapping[str, Errors]) -> str:
    """How wrong each estimator is: off on average, and what it knows of each step's worth."""
    rows = [("estimator", "off on average", "±", "R² of a step", "±")]
    for name, e in found.items():
        off, wide = e.bias[REFERENCE], e.bias_error[REFERENCE]
        mean, spread = e.r2.mean(), float(np.sqrt((e.r2_error**2).mean()))
        rows.append((name, f"{off:+.2f}", f"{wide:.2f}", f"{mean:+.3f}", f"{spread:.3f}"))
    return text_table(rows)


def policies_table(evening: Evening, names: Sequence[str], knobs: Knobs | None = None) -> str:
    """A line a policy: what became of the evening."""
    rows = [("policy", "value kept", "no page", "worst minute", "p99 ms", "long tail", "recovery")]
    for name in names:
        run = evening.run(name, knobs)
        kept = evening.kept(run)
        back = "never" if np.isnan(run.recovery_s) else f"{run.recovery_s:.0f} s"
        failed = f"{run.failure_rate:.2%}", f"{run.worst_minute:.1%}"
        rest = f"{run.p99_overall_ms:.0f}", f"{run.tail.mean():.2f}", back
        rows.append((label(name), f"{kept:.1%}", *failed, *rest))
    return text_table(rows)
