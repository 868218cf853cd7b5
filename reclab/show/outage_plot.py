"""The plot of an outage: what the pages were worth, how long they took, and what each business's
circuit breaker thought of it, second by second.

Phases are parted by dotted lines and named on top. A breaker's strip is empty while it is closed,
full while it is open, hatched while it probes, so that colour is not the only sign.

Simplified: an operator's board shows the last hour of every business, and alarms.
"""

import numpy as np
import plotly.graph_objects as go

from reclab.blending.breaker import CLOSED, HALF_OPEN, OPEN
from reclab.lab.outage import PHASES, Outage
from reclab.show.labels import add_labels, label
from reclab.show.theme import CLEAR, PALETTE, TEXT, Plot, panels

add_labels(
    {
        "healthy": ("healthy", "正常"),
        "broken": ("broken", "故障"),
        "mending": ("mending", "恢复中"),
        "healthy again": ("healthy again", "恢复正常"),
        "true value": ("true value", "真实价值"),
        "a page's time": ("a page", "单页耗时"),
        "from the pool": ("cards from the pool", "兜底卡片"),
        "breaker open": ("breaker open", "熔断"),
        "breaker half-open": ("probing", "半开试探"),
        "breaker closed": ("closed", "闭合"),
        "killed": ("killed", "被杀死"),
        "slowed": ("slowed", "变慢"),
    }
)
LOOK = {CLOSED: (CLEAR, ""), OPEN: (PALETTE[5], ""), HALF_OPEN: (PALETTE[1], "/")}
TITLES = ["share of the healthy value", "ms a page", ""]
SEEN_S = 0.15  # a state that is shorter is drawn as long as this


def outage_plot(outage: Outage, width_s: float = 0.5) -> Plot:
    """Three panels over one axis of seconds."""
    fig = panels(
        [""] * 3, ["", "", "seconds"], TITLES, columns=1, height=220,
        shared_xaxes=True, row_heights=[0.36, 0.32, 0.32], vertical_spacing=0.09,
    )  # fmt: skip
    at, share = outage.by_second(width_s)
    line = go.Scatter(x=np.float32(at), y=np.float32(share), mode="lines+markers")
    line.update(line={"color": PALETTE[0], "shape": "hvh"}, name=label("true value"))
    pool = go.Scatter(x=np.float32(at), y=np.float32(_pooled(outage, width_s)), mode="lines")
    pool.update(line={"color": PALETTE[1], "dash": "dash"}, name=label("from the pool"))
    fig.add_traces([line, pool], rows=1, cols=1)
    fig.add_trace(_times(outage), row=2, col=1)
    for strip in _strips(outage):
        fig.add_trace(strip, row=3, col=1)
    _frame(fig, outage)
    plot = Plot(fig)
    plot.alt = f"plot: value, time and circuit breakers of an outage\n{outage.summary()}"
    return plot


def _pooled(outage: Outage, width_s: float) -> np.ndarray:
    """(k,) share of the cards of each interval that came from the last-resort pool."""
    slot = (outage.at_s / width_s).astype(int)
    cards = np.bincount(slot, outage.cards)
    return np.where(cards > 0, np.bincount(slot, outage.pool) / np.maximum(cards, 1), np.nan)


def _times(outage: Outage) -> go.Scatter:
    marker = {"color": PALETTE[2], "size": 4, "symbol": "circle"}
    return go.Scatter(
        x=np.float32(outage.at_s),
        y=np.float32(outage.ms),
        mode="markers",
        marker=marker,
        name=label("a page's time"),
    )


def _strips(outage: Outage) -> list[go.Bar]:
    """A bar a state, by state, so that each has one place in the legend."""
    end = float(outage.begin_s[-1])
    found: dict[str, list[tuple[str, float, float]]] = {OPEN: [], HALF_OPEN: [], CLOSED: []}
    for name in outage.businesses:
        steps = [(0.0, CLOSED), *outage.breakers[name], (end, CLOSED)]
        for (begin, state), (until, _) in zip(steps[:-1], steps[1:], strict=True):
            found[state].append((name, begin, max(until - begin, SEEN_S)))
    return [_bar(state, rows, outage) for state, rows in found.items() if rows]


def _bar(state: str, rows: list[tuple[str, float, float]], outage: Outage) -> go.Bar:
    colour, shape = LOOK[state]
    return go.Bar(
        y=[_named(name, outage) for name, _, _ in rows],
        base=[begin for _, begin, _ in rows],
        x=[length for _, _, length in rows],
        orientation="h",
        name=label(f"breaker {state}"),
        showlegend=state != CLOSED,
        hovertext=[f"{label(f'breaker {state}')}, {begin:.1f} s" for _, begin, _ in rows],
        hoverinfo="text",
        marker={
            "color": colour,
            "pattern": {"shape": shape, "fgcolor": TEXT, "fillmode": "overlay"},
        },
    )


def _named(name: str, outage: Outage) -> str:
    how = {outage.killed: "killed", outage.slowed: "slowed"}.get(name)
    return f"{label(name)} ({label(how)})" if how else label(name)


def _frame(fig: go.Figure, outage: Outage) -> None:
    """Axes, the deadline, and where the phases begin."""
    fig.update_layout(barmode="overlay", bargap=0.25, legend_y=-0.1, margin_t=56)
    fig.update_xaxes(range=[0, float(outage.begin_s[-1])])
    fig.update_yaxes(rangemode="tozero", tickformat=".0%", row=1, col=1)
    fig.update_yaxes(rangemode="tozero", row=2, col=1)
    names = [_named(name, outage) for name in outage.businesses]
    fig.update_yaxes(categoryorder="array", categoryarray=names[::-1], ticks="", row=3, col=1)
    fig.add_hline(
        outage.deadline_ms, line={"color": TEXT, "dash": "dash"}, row=2, col=1,
        annotation_text=label("deadline"), annotation_position="bottom right",
    )  # fmt: skip
    for n, begin in enumerate(outage.begin_s[:-1].tolist()):
        if n:
            fig.add_vline(begin, line={"color": TEXT, "dash": "dot", "width": 1})
        middle = (begin + float(outage.begin_s[n + 1])) / 2
        fig.add_annotation(
            x=middle, y=1, yshift=16, xref="x", yref="y domain", showarrow=False,
            text=label(PHASES[n]), font={"color": TEXT, "size": 12},
        )  # fmt: skip
