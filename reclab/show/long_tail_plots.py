"""The plots of lesson 05 that stand still: figure 2.9, who is seen, and who goes on posting.

A baseline is grey and dotted, and named. Several seeds of a run are drawn as their mean with a band
from the lowest to the highest.

Simplified: a team would see them by category and by the age of the creator's account as well.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from reclab.core.metrics import gini, lorenz
from reclab.core.types import Array
from reclab.lab.long_tail import Concentration, Popularity, Reach
from reclab.lab.matthew import Persistence
from reclab.show.labels import add_labels, label
from reclab.show.theme import DASHES, PALETTE, TEXT, Plot, figure, line, panels, still

add_labels(
    {
        "2.9 a": ("(a) exposure by popularity", "(a) 曝光随热度的变化"),
        "2.9 b": ("(b) items by popularity", "(b) 内容数量随热度的分布"),
        "clicks in the days before": ("clicks in the days before", "此前的点击数（热度）"),
        "exposures of an item a day": ("exposures of an item a day", "单个内容的日曝光"),
        "in proportion": ("in proportion", "正比"),
        "the day after": ("the day after", "次日"),
        "the days themselves": ("the days themselves", "当时"),
        "of all items": ("of all items", "占全部内容"),
        "of all exposure": ("of all exposure", "占全部曝光"),
        "share": ("share", "占比"),
        "day": ("day", "天"),
        "creators": ("creators", "作者"),
        "items": ("items", "内容"),
        "Gini coefficient": ("Gini coefficient", "基尼系数"),
        "at least so many exposures": ("at least so many exposures", "曝光不少于"),
        "share that reaches them": ("share that reaches them", "达到的占比"),
        "items that wait for a user, |D_u|": (
            "items that wait for a user, |D_u|",
            "用户的候选数 |D_u|",
        ),
        "users": ("users", "用户数"),
        "creators who post": ("creators who post", "活跃作者数"),
        "baseline": ("baseline", "基线"),
        "Q": ("Q", "上限 Q"),
        "days later (0: the other half of the users)": (
            "days later (0: the other half of the users)",
            "之后天数（0：另一半用户）",
        ),
        "in the top again": ("in the top again", "仍在头部"),
        "exposure kept": ("exposure kept", "曝光保留"),
        "new items": ("new items", "新内容"),
    }
)


def figure_2_9(found: Popularity) -> Plot:
    """Both panels: an item's exposures by its popularity, and how many items have how much."""
    fig = panels(
        [label("2.9 a"), label("2.9 b")],
        [label("clicks in the days before")] * 2,
        [label("exposures of an item a day"), label("share")],
        height=330,
    )
    some = found.clicks > 0
    x = found.clicks[some]
    exposures = {"the day after": found.after, "the days themselves": found.before}
    for place, (name, y) in enumerate(exposures.items()):
        fig.add_trace(line(x, y[some], name, place).update(mode="lines+markers"), row=1, col=1)
    if some.any():
        straight = line(x, x / x[0] * found.after[some][0], "in proportion", 7)
        fig.add_trace(straight.update(line_width=1), row=1, col=1)
    fig.update_xaxes(type="log", dtick=1, row=1, col=1)
    fig.update_yaxes(type="log", dtick=1, row=1, col=1)
    names = [f"{c:,.0f}+" if c else "0" for c in found.clicks]
    for place, (name, y) in enumerate(
        {"of all items": found.share_items, "of all exposure": found.share_exposure}.items(),
        start=2,
    ):
        bar = go.Bar(x=names, y=np.float32(y), name=label(name), marker_color=PALETTE[place])
        bar.marker.pattern.shape = "/" if place == 3 else ""
        fig.add_trace(bar, row=1, col=2)
    fig.update_xaxes(type="category", row=1, col=2)
    fig.update_yaxes(tickformat=".0%", row=1, col=2)
    return still(fig, f"plot: figure 2.9 from our log\n{found.table()}")


def lorenz_curves(exposures: Mapping[str, Array], baseline: Array | None = None) -> Plot:
    """A Lorenz curve for each name's exposures (n,), zeros included, with its Gini in the legend;
    ``baseline`` (n,) grey."""
    fig = figure(x=label("share_of_items"), y=label("share_of_exposure"), height=380)
    told = []
    for place, (name, x) in enumerate(exposures.items()):
        items, held = lorenz(x, 201)
        drawn = line(items, held, name, place)
        fig.add_trace(drawn.update(name=f"{label(name)} ({gini(x):.3f})"))
        told.append(f"{name}: Gini {gini(x):.3f}")
    if baseline is not None:
        items, held = lorenz(baseline, 201)
        fig.add_trace(_grey(items, held, f"{label('baseline')} ({gini(baseline):.3f})"))
        told.append(f"baseline: Gini {gini(baseline):.3f}")
    fig.add_trace(_grey([0, 1], [0, 1], label("equal")).update(line_dash="solid", line_width=1))
    fig.update_xaxes(tickformat=".0%")
    fig.update_yaxes(tickformat=".0%")
    fig.alt = "plot: Lorenz curves\n" + "\n".join(told)
    return fig


def gini_by_day(found: Concentration) -> Plot:
    """Gini of items and of creators by day."""
    runs = {"items": found.gini_items, "creators": found.gini_creators}
    fig = by_day(runs, "Gini coefficient")
    fig.update_yaxes(range=[0, 1])
    fig.alt = f"plot: Gini by day\n{found.table()}"
    return fig


def by_day(runs: Mapping[str, Array], y: str, baseline: str = "") -> Plot:
    """A line a run against the day: (days,), or (seeds, days) as mean and band; NaN leaves a gap.
    ``y`` names the axis, ``baseline`` the run to draw in grey."""
    fig, told = figure(x=label("day"), y=label(y), height=340), []
    for place, (name, values) in enumerate(runs.items()):
        rows = np.atleast_2d(np.asarray(values, np.float64))
        mean, days = rows.mean(0), np.arange(rows.shape[1])
        if len(rows) > 1:
            colour = PALETTE[7 if name == baseline else place % 8]
            fig.add_trace(_band(days, rows.min(0), rows.max(0), colour))
        drawn = (
            _grey(days, mean, label(name)) if name == baseline else line(days, mean, name, place)
        )
        fig.add_trace(drawn)
        told.append(f"{name}: {mean[0]:.4g} on the first day, {mean[-1]:.4g} on the last")
    fig.alt = f"plot: {label(y)} by day\n" + "\n".join(told)
    return fig


def active_creators(runs: Mapping[str, Array], baseline: str = "") -> Plot:
    """Creators who post, by day, for each run (days,) or (seeds, days)."""
    return by_day(runs, "creators who post", baseline)


def reach(found: Mapping[str, Reach], baseline: str = "") -> Plot:
    """ExpoReach at every goal, a line a run; all must have the same goals."""
    fig = figure(
        x=label("at least so many exposures"), y=label("share that reaches them"), height=340
    )
    for place, (name, one) in enumerate(found.items()):
        x, y = [f"{goal:,}" for goal in one.goals], one.share
        drawn = _grey(x, y, label(name)) if name == baseline else line(x, y, name, place)
        fig.add_trace(drawn.update(mode="lines+markers"))
    fig.update_xaxes(type="category")
    fig.update_yaxes(tickformat=".0%", rangemode="tozero")
    fig.alt = "plot: ExpoReach\n" + "\n".join(f"{k}\n{r.table()}" for k, r in found.items())
    return fig


def waiting(sizes: Mapping[str, Array], capacity: int) -> Plot:
    """Histogram of |D_u| (n_users,) for each name, with Q as a line; beyond 3 Q in one last bar."""
    fig = figure(x=label("items that wait for a user, |D_u|"), y=label("users"), height=320)
    last = 3 * max(capacity, 1)
    names, told = [*(f"{n}" for n in range(last)), f"{last}+"], []
    for place, (name, size) in enumerate(sizes.items()):
        count = np.bincount(np.minimum(size, last).astype(np.int64), minlength=last + 1)
        bar = go.Bar(x=names, y=count, name=label(name), marker_color=PALETTE[place % 8])
        bar.marker.pattern.shape = ("", "/", "x", ".")[place % 4]
        fig.add_trace(bar)
        told.append(
            f"{name}: none {(size == 0).sum() / max(1, len(size)):.1%}, over Q "
            f"{(size > capacity).sum() / max(1, len(size)):.1%}, "
            f"most {int(np.max(size, initial=0)):,}"
        )
    fig.update_xaxes(type="category", nticks=12)
    fig.add_vline(
        capacity, line={"color": TEXT, "dash": DASHES[1]}, annotation_text=label("Q"),
        annotation_font_color=TEXT,
    )  # fmt: skip
    fig.alt = "plot: histogram of |D_u|\n" + "\n".join(told)
    return fig


def fame(found: Persistence) -> Plot:
    """What winners keep: share in the top again, and of their exposures, by lag in days."""
    fig = figure(
        x=label("days later (0: the other half of the users)"), y=label("share"), height=320
    )
    names = [f"{lag}" for lag in found.lag]
    for place, (name, y) in enumerate(
        {"exposure kept": found.kept, "in the top again": found.again}.items()
    ):
        fig.add_trace(line(names, y, name, place).update(mode="lines+markers"))
    fig.update_xaxes(type="category")
    fig.update_yaxes(tickformat=".0%", rangemode="tozero")
    fig.alt = f"plot: what the winners of a day keep\n{found.table()}"
    return fig


def _grey(x: Sequence[object] | Array, y: Sequence[float] | Array, name: str) -> go.Scatter:
    drawn = go.Scatter(x=list(x), y=np.float32(y), mode="lines", name=name)
    return drawn.update(line={"color": PALETTE[7], "dash": DASHES[2]}, marker_color=PALETTE[7])


def _band(days: Array, low: Array, high: Array, colour: str) -> go.Scatter:
    x, y = np.concatenate([days, days[::-1]]), np.concatenate([high, low[::-1]])
    drawn = go.Scatter(x=x, y=np.float32(y), fill="toself", mode="none", hoverinfo="skip")
    return drawn.update(fillcolor=colour, opacity=0.25, showlegend=False)
