"""Tables and plots of pre-ranking and of vector indexes: models and teachers, precision, traffic
duties, recall against time.

Simplified: a team would keep them on a dashboard, with an interval at every point.
"""

from collections.abc import Mapping

import plotly.graph_objects as go

from reclab.lab.duties import STAGES, DutyCost
from reclab.lab.indexes import IndexCurve
from reclab.lab.pre_ranking import NARROW, Precise, PreRanked
from reclab.show.labels import add_labels, label, text_table
from reclab.show.theme import DASHES, MARKERS, PALETTE, Plot, figure

add_labels(
    {
        "pre_ranker, log": ("two towers, taught by the log", "双塔，日志训练"),
        "pre_ranker, ranker": ("two towers, taught by the ranker", "双塔，精排蒸馏"),
        "shallow_pre_ranker, log": ("shallow network, taught by the log", "浅层网络，日志训练"),
        "shallow_pre_ranker, ranker": ("shallow network, by the ranker", "浅层网络，精排蒸馏"),
        "three_tower_pre_ranker, log": ("three towers, taught by the log", "三塔，日志训练"),
        "three_tower_pre_ranker, ranker": ("three towers, by the ranker", "三塔，精排蒸馏"),
        "long_tail": ("long-tail support", "长尾扶持"),
        "cold_start": ("slots for new items", "新内容冷启动"),
        "creators": ("protection of small creators", "创作者保护"),
        "category": ("category quota", "类目配额"),
    }
)


def pre_rankers_table(found: Mapping[str, PreRanked]) -> str:
    """A row a pre-ranker."""
    rows = [
        ("pre-ranker", "ranker's best kept", "value", f"value if {NARROW} kept", "macs", "µs each")
    ]
    for name, one in found.items():
        cells = f"{one.recall:.3f}", f"{one.share:.3f}", f"{one.narrow:.3f}", f"{one.macs:,}"
        rows.append((label(name), *cells, f"{one.us:.2f}"))
    return text_table(rows)


def precision_table(found: Mapping[str, Precise]) -> str:
    """A row a precision."""
    sizes = list(next(iter(found.values())).us)
    rows = [("vectors", "same kept", "value", "MB", *(f"µs for {n:,}" for n in sizes))]
    for name, one in found.items():
        cells = f"{one.agreement:.4f}", f"{one.share:.4f}", f"{one.mbytes:.1f}"
        rows.append((name, *cells, *(f"{one.us[n]:.0f}" for n in sizes)))
    return text_table(rows)


def duties_table(found: Mapping[str, Mapping[float, DutyCost]]) -> str:
    """A block a duty: value, and the share of those whom it is for after each stage; then both when
    the list keeps those places too."""
    head = ("places", "value", *(label(stage) for stage in STAGES), "value *", "list *")
    blocks = []
    for duty, row in found.items():
        rows = [head]
        for share, cost in row.items():
            seen = [f"{part:.1%}" for part in cost.seen]
            through = f"{cost.through:.3f}", f"{cost.reached:.1%}"
            rows.append((f"{share:.0%}", f"{cost.share:.3f}", *seen, *through))
        blocks.append(f"{label(duty)}\n{text_table(rows)}")
    return "\n\n".join([*blocks, "* if the list of ten, by rank score, keeps these places too"])


def index_table(found: Mapping[str, IndexCurve]) -> str:
    """A row a setting of each index."""
    rows = [("index", "looks into", "recall", "µs a query", "build s", "MB")]
    for kind, curve in found.items():
        for i, point in enumerate(curve.points):
            once = (f"{curve.build_s:.1f}", f"{curve.mbytes:.0f}") if i == 0 else ("", "")
            cells = f"{point.setting:,}", f"{point.recall:.3f}", f"{point.us:.0f}"
            rows.append((kind if i == 0 else "", *cells, *once))
    return text_table(rows)


def index_plot(found: Mapping[str, IndexCurve]) -> Plot:
    """Recall against time of a query, a line an index, its setting at each point."""
    lines = []
    for i, (kind, curve) in enumerate(found.items()):
        colour, style = PALETTE[i], {"line": {"dash": DASHES[i]}, "mode": "lines+markers+text"}
        line = go.Scatter(
            x=[point.us for point in curve.points],
            y=[point.recall for point in curve.points],
            text=[str(point.setting) for point in curve.points],
            name=kind,
            textposition="bottom right",
            **style,
        )
        line.update(marker={"symbol": MARKERS[i], "size": 8, "color": colour}, line_color=colour)
        lines.append(line)
    fig = figure(*lines, x="µs a query", y="recall of the true 100 best")
    return fig.update_xaxes(type="log").update_yaxes(range=[0, 1.05])
