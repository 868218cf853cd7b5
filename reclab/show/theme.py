"""The look of every plot: one small template, one palette, and a figure that displays by itself.

Backgrounds are transparent and text and grid are mid-tones, so the same saved JSON reads on
Lab's light and dark themes, and nothing has to be drawn again when the theme changes. The palette
is that of Okabe and Ito (2008), slightly darkened where it would vanish on white; every series
also has its own dash and marker, so colour is never the only sign.

Simplified: a product has design tokens for each theme; a plot's JSON in a notebook has no theme.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
from plotly.subplots import make_subplots

from reclab.show.labels import label

PALETTE = ("#0079B8", "#D9820A", "#009E73", "#C65B97", "#4FA8DC", "#D0552B", "#8C7A00", "#7F7F7F")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "5px 2px", "2px 2px")
MARKERS = (
    "circle",
    "square",
    "diamond",
    "triangle-up",
    "cross",
    "x",
    "triangle-down",
    "star",
)
TEXT = "#7A7A7A"  # contrast 4.3 : 1 on white, 4.4 : 1 on the #111 of Lab's dark theme
GRID = "rgba(128,128,128,0.28)"
CLEAR = "rgba(0,0,0,0)"
CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "modeBarButtonsToRemove": ["sendChartToCloud", "lasso2d", "select2d", "autoScale2d"],
}
# Where Lab's own text colour is known (a live page), plots take it; elsewhere the mid-tone stays.
LAB_CSS = (
    ".js-plotly-plot .main-svg text:not(.bartext)"
    "{fill:var(--jp-content-font-color1,#7A7A7A)!important}"
    ".js-plotly-plot .main-svg .hovertext text{fill:inherit!important}"
)


def _axis() -> dict[str, Any]:
    return {
        "gridcolor": GRID,
        "linecolor": TEXT,
        "zerolinecolor": GRID,
        "zerolinewidth": 1,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": GRID,
        "automargin": True,
        "title": {"standoff": 6},
    }


def template() -> go.layout.Template:
    """Our template: under 1 KB as JSON, where plotly's default takes 7."""
    return go.layout.Template(
        layout={
            "font": {"color": TEXT, "size": 12},
            "title": {"font": {"size": 14}, "x": 0.01, "xanchor": "left"},
            "paper_bgcolor": CLEAR,
            "plot_bgcolor": CLEAR,
            "colorway": list(PALETTE),
            "xaxis": _axis(),
            "yaxis": _axis(),
            "legend": {"orientation": "h", "y": -0.18, "yanchor": "top", "x": 0, "bgcolor": CLEAR},
            "margin": {"l": 56, "r": 16, "t": 40, "b": 48},
            "modebar": {"bgcolor": CLEAR, "color": TEXT, "activecolor": PALETTE[1]},
            "hovermode": "closest",
        }
    )


class Plot(go.Figure):
    """A ``go.Figure`` that displays as static plotly JSON, without the button that uploads the
    chart, and with a text alternative."""

    alt: str = "plot"
    # plotly's own would use its default renderer and buttons, and fetch a script from the net
    _ipython_display_ = None
    _repr_html_ = None

    def _repr_mimebundle_(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return static_bundle(self, self.alt)


def static_bundle(fig: go.Figure, text: str) -> dict[str, Any]:
    """Display bundle of a figure at rest: plotly JSON without uids, and ``text``."""
    shown = json.loads(pio.to_json(fig.to_dict(), validate=False, remove_uids=True))
    return {
        "application/vnd.plotly.v1+json": {
            "data": shown["data"],
            "layout": shown["layout"],
            "config": dict(CONFIG),
        },
        "text/plain": text,
    }


def figure(
    *traces: Any, title: str = "", x: str = "", y: str = "", height: int = 340, alt: str = ""
) -> Plot:
    """A plain figure in our look. ``x`` and ``y`` name the axes with their units; ``alt`` is what
    a screen reader or a terminal gets (default: title and axes)."""
    fig = Plot(data=list(traces), layout={"template": template(), "height": height})
    if title:
        fig.update_layout(title_text=title)
    else:
        fig.update_layout(margin_t=16)
    if x:
        fig.update_xaxes(title_text=x)
    if y:
        fig.update_yaxes(title_text=y)
    fig.alt = alt or f"plot: {title or y}" + (f", {y} against {x}" if title and x and y else "")
    return fig


def line(x: Any, y: Any, name: str, place: int) -> go.Scatter:
    """A labelled line in the ``place``-th colour, dash and marker; ``x`` (n,) numbers or words."""
    x = list(x) if isinstance(x, list) else np.float32(x)
    drawn = go.Scatter(x=x, y=np.float32(y), mode="lines", name=label(name))
    marker = {"symbol": MARKERS[place % 8], "size": 8, "color": PALETTE[place % 8]}
    dash = {"color": PALETTE[place % 8], "dash": DASHES[place % 8]}
    return drawn.update(line=dash, marker=marker)


def still(fig: go.Figure, alt: str) -> Plot:
    """A figure of several panels that displays like the others."""
    plot = Plot(fig)
    plot.alt = alt
    return plot


def panels(
    titles: Sequence[str],
    x: Sequence[str],
    y: Sequence[str],
    columns: int = 2,
    height: int = 300,
    **options: Any,
) -> go.Figure:
    """Empty subplots in our look, filled row by row: one title, x and y label (with unit) each.
    ``height`` is that of one row in pixels; ``options`` go to ``make_subplots``."""
    n_rows = -(-len(titles) // columns)
    spacing = {"horizontal_spacing": 0.09, "vertical_spacing": min(0.6 / n_rows, 0.2)}
    fig = make_subplots(n_rows, columns, subplot_titles=list(titles), **{**spacing, **options})
    fig.update_layout(template=template(), height=height * n_rows, margin={"t": 36, "b": 40})
    fig.update_annotations(font_size=13)
    for place, (x_words, y_words) in enumerate(zip(x, y, strict=True)):
        row, column = place // columns + 1, place % columns + 1
        fig.update_xaxes(title_text=x_words, row=row, col=column)
        fig.update_yaxes(title_text=y_words, row=row, col=column)
    return fig


@dataclass(frozen=True)
class Series:
    """A named trace of an explorer and the panel it is drawn in, counted from 1."""

    name: str
    trace: Any
    row: int = 1
    col: int = 1


def add_pairs(fig: go.Figure, series: Sequence[Series]) -> dict[str, tuple[int, int]]:
    """Add each trace and its ghost for the baseline; returns their positions in ``fig.data`` by
    name. The legend names the ghost once, and no series that has its panel for itself."""
    index: dict[str, tuple[int, int]] = {}
    panels_of = [(one.row, one.col) for one in series]
    for place, one in enumerate(series):
        trace = type(one.trace)(one.trace)
        _style(trace, one.name, PALETTE[place % len(PALETTE)])
        if trace.showlegend is None and panels_of.count(panels_of[place]) == 1:
            trace.showlegend = False
        ghost = _ghost(trace, in_legend=place == 0)
        fig.add_traces([trace, ghost], rows=[one.row] * 2, cols=[one.col] * 2)
        index[one.name] = (len(fig.data) - 2, len(fig.data) - 1)
    return index


def _style(trace: Any, name: str, colour: str) -> None:
    trace.name = label(trace.name or name)
    if trace.type == "scatter":
        trace.line.color = trace.line.color or colour
        trace.marker.color = trace.marker.color or trace.line.color
    elif trace.type == "bar":
        trace.marker.color = colour if trace.marker.color is None else trace.marker.color
        trace.offsetgroup = trace.offsetgroup or name  # the ghost stands on the bar, not beside it


def _ghost(trace: Any, in_legend: bool) -> Any:
    """A bar's ghost is an outline, a line's is pale and dotted with open markers."""
    ghost = type(trace)(trace)
    ghost.update(name=label("pinned"), showlegend=in_legend, hoverinfo="skip")
    if trace.type == "bar":
        ghost.update(text=None, texttemplate=None)
        ghost.marker = {"color": CLEAR, "line": {"color": TEXT, "width": 2}}
    elif trace.type == "scatter":
        ghost.update(text=None, texttemplate=None, fill="none", opacity=0.8)
        ghost.update(line_dash="dot", line_width=1.5)
        if "markers" in (trace.mode or ""):
            ghost.marker.symbol = f"{trace.marker.symbol or 'circle'}-open"
    return ghost
