"""The plot of a living data path: rates by topic, lag by group, the join rate, second by second.

What was done to the path stands at a dotted line in all three panels. A gap is a time at which the
event log did not answer.

Simplified: an operator's board shows the last hour of every partition, and alarms.
"""

import numpy as np
import plotly.graph_objects as go

from reclab.lab.data_path_watch import Watched
from reclab.show.labels import add_labels, label
from reclab.show.theme import TEXT, Plot, line, panels, still

add_labels(
    {
        "topic features": ("features", "特征流"),
        "topic events": ("events", "标签流"),
        "topic samples": ("samples", "样本"),
        "topic dead_letters": ("dead letters", "死信"),
        "group joiner": ("joiners on features", "拼接消费特征流"),
        "group labels": ("labels on events", "标签消费者"),
        "join rate": ("join rate", "拼接率"),
        "entries a second": ("entries a second", "每秒条数"),
        "entries behind": ("entries behind", "落后条数"),
        "seconds": ("seconds", "秒"),
        "path rates": ("Appended to each topic", "各主题写入速率"),
        "path lag": ("Lag of each group", "各消费组滞后"),
        "path joined": ("Labels joined in time", "按时拼接的标签"),
    }
)
PARTS = {"joiner 1": "拼接 1", "joiner 2": "拼接 2", "labels": "标签消费者", "redis": "Redis"}
add_labels({f"killed {name}": (f"killed {name}", f"杀死{zh}") for name, zh in PARTS.items()})
add_labels({f"restarted {name}": (f"restarted {name}", f"重启{zh}") for name, zh in PARTS.items()})
add_labels({"sent twice": ("sent twice", "重复发送"), "garbage": ("garbage", "垃圾请求")})
SHORT = 26  # characters of a mark that are drawn


def data_path_plot(seen: Watched) -> Plot:
    """Three panels over one axis of seconds."""
    titles = ("path rates", "path lag", "path joined")
    fig = panels(
        [label(name) for name in titles],
        ["", "", label("seconds")],
        [label("entries a second"), label("entries behind"), label("join rate")],
        columns=1, height=220, shared_xaxes=True, vertical_spacing=0.08,
    )  # fmt: skip
    for n, topic in enumerate(seen.topics):
        fig.add_trace(line(seen.at_s, seen.rate[:, n], f"topic {topic}", n), row=1, col=1)
    for n, group in enumerate(seen.groups):
        drawn = line(seen.at_s, seen.lag[:, n], f"group {group}", len(seen.topics) + n)
        fig.add_trace(drawn, row=2, col=1)
    fig.add_trace(line(seen.at_s, np.minimum(seen.join_rate, 1.0), "join rate", 6), row=3, col=1)
    _marks(fig, seen)
    fig.update_yaxes(rangemode="tozero")
    fig.update_yaxes(range=[0, 1.05], tickformat=".0%", row=3, col=1)
    return still(fig, f"plot: rates, lag and join rate of the data path\n{_words(seen)}")


def _words(seen: Watched) -> str:
    done = [f"{at:.1f} s {what}" for at, what in seen.marks]
    return "\n".join([seen.table(), *done])


def _marks(fig: go.Figure, seen: Watched) -> None:
    """A line at each, named above the first panel; names that follow closely stand lower."""
    last, depth = -10.0, 0
    for at, what in seen.marks:
        fig.add_vline(at, line={"color": TEXT, "dash": "dot", "width": 1})
        depth = depth + 1 if at - last < 2.0 else 0
        last = at
        fig.add_annotation(
            x=at, y=1, yshift=-4 - 13 * (depth % 6), xref="x", yref="y domain", showarrow=False,
            xanchor="left", text=label(what[:SHORT]), font={"color": TEXT, "size": 10},
        )  # fmt: skip
