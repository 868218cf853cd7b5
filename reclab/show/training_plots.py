"""The plots of training modes: how far behind the world each is by the hour, what a bad hour did to
it, how much its scores move, and all of it against what the training cost.

Simplified: a team would draw them for days, with the interval of many requests at every point.
"""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from reclab.core.types import Array
from reclab.lab.training_modes import TrainingModes
from reclab.show.labels import add_labels, label, text_table
from reclab.show.theme import PALETTE, TEXT, Plot, line, panels, still

add_labels(
    {
        "training: frozen": ("frozen", "不训练"),
        "training: daily": ("daily batch", "天级批训练"),
        "training: hourly": ("hourly batch", "小时级批训练"),
        "training: streaming": ("streaming", "流式训练"),
        "training: hybrid": ("guarded stream", "天级基座＋带护栏的流式"),
        "training: excess loss": ("loss beyond chance", "超额损失"),
        "training: damage of the bad hour": ("damage of the bad hour", "脏数据一小时的损害"),
        "training: movement of scores": ("movement of scores from hour to hour", "分数逐小时变动"),
        "training: predicted over true clicks": (
            "predicted over true clicks",
            "预测点击／真实点击",
        ),
        "training: hours after the cut": ("hours after the cut", "截断后小时数"),
        "training: tastes change": ("tastes change", "兴趣突变"),
        "training: bad hour": ("bad hour", "脏数据"),
        "training: mode": ("mode", "训练方式"),
        "training: loss before": ("loss before", "突变前损失"),
        "training: 8 h after": ("8 h after", "突变后8小时"),
        "training: day 2": ("day 2", "第二天"),
        "training: AUC day 2": ("AUC day 2", "第二天AUC"),
        "training: recovery h": ("recovery h", "恢复小时"),
        "training: damage 6 h": ("damage 6 h", "6小时损害"),
        "training: jitter": ("movement", "变动"),
        "training: path / net": ("path / net", "总变动／净变动"),
        "training: versions": ("versions", "版本数"),
        "training: refused": ("refused", "被拒"),
        "training: refused, bad": ("refused, bad", "被拒（脏）"),
        "training: rows learned": ("rows learned", "学习行数"),
        "training: CPU s": ("CPU s", "CPU秒"),
        "training: never": ("never", "未恢复"),
    }
)
KEY = "training: "
COLUMNS = ("loss before", "8 h after", "day 2", "AUC day 2", "damage 6 h", "jitter",
           "rows learned", "CPU s")  # fmt: skip
SPAN = 3  # hours of a moving mean: an hour of a small platform is noisy


def modes(found: TrainingModes) -> Plot:
    """Four panels by the hour: excess loss, damage, calibration, movement of scores."""
    words = ("excess loss", "damage of the bad hour", "predicted over true clicks",
             "movement of scores")  # fmt: skip
    units = ("nats", "nats", "", "|Δp|")
    fig = panels([_word(w) for w in words], [_word("hours after the cut")] * 4, units, height=270)
    drawn = (found.excess, found.damage, found.calibration, found.jitter)
    for place, values in enumerate(drawn):
        row, col = place // 2 + 1, place % 2 + 1
        for i, name in enumerate(found.modes):
            hours = np.arange(values.shape[1]) + 0.5
            one = line(hours, _smooth(values[i], found.rows), f"{KEY}{name}", i)
            fig.add_trace(one.update(showlegend=place == 0, legendgroup=name), row=row, col=col)
        _mark(fig, found, row, col)
    return still(fig, f"plot: training modes by the hour\n{modes_table(found)}")


def _smooth(values: Array, rows: Array) -> Array:
    """(H,) mean of the last SPAN hours, by impressions; NaN where nothing was shown."""
    known = np.where(np.isnan(values), 0.0, rows)
    window = np.ones(SPAN)
    total = np.convolve(np.nan_to_num(values) * known, window)[: len(values)]
    weight = np.convolve(known, window)[: len(values)]
    return np.where(weight > 0, total / np.maximum(weight, 1e-9), np.nan)


def _mark(fig: go.Figure, found: TrainingModes, row: int, col: int) -> None:
    """Dotted lines where tastes change and where the labels go bad, named in the first panel."""
    marks = {"tastes change": found.drift_hour, "bad hour": found.bad_hour}
    for place, (name, hour) in enumerate(marks.items()):
        fig.add_vline(x=hour, line={"dash": "dot", "color": TEXT, "width": 1}, row=row, col=col)
        if row == col == 1:
            fig.add_annotation(
                x=hour, y=0.04 + 0.1 * place, yref="y domain", text=_word(name), showarrow=False,
                xanchor="left", row=row, col=col,
            )  # fmt: skip


def frontier(found: TrainingModes) -> Plot:
    """Freshness against stability, a point a mode: loss in the eight hours after the drift, and
    what the bad hour cost in six."""
    numbers = found.numbers()
    title, axis = _word("damage of the bad hour"), _word("8 h after")
    fig = panels([""], [f"{_word('excess loss')}, {axis} (nats)"], [f"{title} (nats)"], columns=1)
    for i, name in enumerate(found.modes):
        at = [numbers["8 h after"][i]], [numbers["damage 6 h"][i]]
        point = go.Scatter(x=at[0], y=at[1], mode="markers+text", text=[_word(name)])
        point.update(textposition="top center", marker={"color": PALETTE[i], "size": 12})
        fig.add_trace(point.update(name=_word(name), showlegend=False))
    return still(fig, f"plot: damage against freshness\n{modes_table(found)}")


def modes_table(found: TrainingModes, columns: Sequence[str] = COLUMNS) -> str:
    """A line a mode; ``columns`` among those of ``TrainingModes.numbers``."""
    first, *rows = found.table()
    chosen = [first.index(head) for head in ("mode", *columns)]
    told = [tuple(_word(first[i]) for i in chosen)]
    for cells in rows:
        name, *rest = (cells[i] for i in chosen)
        told.append((_word(name), *(_word(c) if c == "never" else c for c in rest)))
    return text_table(told)


def _word(name: str) -> str:
    """A word of these plots; other plots may mean something else by it."""
    return label(f"{KEY}{name}")
