"""The plot of a flywheel: what pages were worth day by day, and what waited for the stopped part.

The days on which parts read nothing are shaded; a version made at night is felt the day after.

Simplified: a team would see hours, and an interval around every line.
"""

import plotly.graph_objects as go

from reclab.lab.flywheel import Flywheel
from reclab.lab.flywheel_run import PARTS
from reclab.show.labels import add_labels, label
from reclab.show.theme import GRID, TEXT, Plot, line, panels, still

add_labels(
    {
        "all running": ("all parts running", "全部运行"),
        "joiner stopped": ("joiner stopped", "样本拼接停止"),
        "trainer stopped": ("trainer stopped", "训练停止"),
        "index stopped": ("index stopped", "索引更新停止"),
        "frozen": ("frozen for good", "此后冻结"),
        "flywheel quality": ("Quality of the pages", "页面质量"),
        "flywheel new": ("New items among the cards", "新内容占比"),
        "flywheel waiting": ("Entries that wait", "积压条数"),
        "share of the oracle's lead": ("share of the oracle's lead", "占最优领先幅度"),
        "share": ("share", "占比"),
        "entries": ("entries", "条"),
        "day": ("day", "天"),
        "stopped": ("stopped", "停止"),
    }
)


def flywheel_plot(found: Flywheel) -> Plot:
    """Three panels over the days: quality, share of new items, entries not read."""
    titles = ("flywheel quality", "flywheel new", "flywheel waiting")
    units = ("share of the oracle's lead", "share", "entries")
    fig = panels(
        [label(name) for name in titles], [label("day")] * 3, [label(name) for name in units],
        columns=3, height=300,
    )  # fmt: skip
    for place, (name, run) in enumerate(found.runs.items()):
        waiting = sum(getattr(run, part) for part in PARTS)
        for column, values in enumerate((run.quality, run.new, waiting), start=1):
            drawn = line(range(len(values)), values, name, place)
            drawn.update(mode="lines+markers", legendgroup=name, showlegend=column == 1)
            fig.add_trace(drawn, row=1, col=column)
    _shade(fig, found)
    fig.update_yaxes(rangemode="tozero", tickformat=".0%", row=1, col=2)
    return still(fig, f"plot: the flywheel day by day\n{found.table()}")


def _shade(fig: go.Figure, found: Flywheel) -> None:
    """The days of the stop, named once."""
    first, again = found.config.stop, found.config.again
    words = {"annotation_text": label("stopped"), "annotation_position": "top left",
             "annotation_font": {"color": TEXT, "size": 11}}  # fmt: skip
    for column in (1, 2, 3):
        look = {"fillcolor": GRID, "line_width": 0, "layer": "below", "row": 1, "col": column}
        fig.add_vrect(first, again, **look, **(words if column == 1 else {}))
