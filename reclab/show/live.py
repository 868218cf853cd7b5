"""The one live figure of an explorer: a FigureWidget that fills its box and survives a reload.

Three habits of ``FigureWidget`` are mended here and nowhere else. It stays 700 px wide inside a
box: its config must say responsive, and autosize must be set again for each view that appears.
Its button list offers to upload the chart: taken out. And a page that is loaded again while the
kernel lives asks for the widget's state and would get the figure as it was first made: the state
is brought up to date before it is sent.

Simplified: a dashboard product serves one page made for it; a notebook's cells come and go.
"""

from copy import deepcopy
from typing import Any

import plotly.graph_objects as go

from reclab.show.theme import CONFIG


class LiveFigure(go.FigureWidget):
    """A ``FigureWidget`` with our buttons and a responsive width."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        make_responsive(self)

    def send_state(self, key: Any = None) -> None:
        """Send the state; a whole state is first brought up to what is drawn now."""
        if key is None:
            self.catch_up()
        super().send_state(key)

    def catch_up(self) -> None:
        """Make the state for new views equal to what is drawn now, without a redraw."""
        with self.hold_trait_notifications():
            self._widget_layout = deepcopy(self._layout_obj._props)
            self._widget_data = deepcopy(self._data)


def make_responsive(figure: go.FigureWidget) -> None:
    """Let a figure take the width of its box, now and when the window changes, in every view."""
    figure._config = {**CONFIG, "responsive": True}
    figure.layout.autosize = True

    def on_view(change: dict[str, Any]) -> None:
        if change["new"]:
            # set again although it is True: the message makes the new view measure its box
            figure.plotly_relayout({"autosize": True})

    figure.observe(on_view, "_view_count")
