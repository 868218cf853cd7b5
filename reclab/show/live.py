"""The one live figure of an explorer: a FigureWidget that fills its box and survives a reload.

Three habits of ``FigureWidget`` are mended here and nowhere else. Its button list offers to
upload the chart: taken out. Inside a box it stays 700 px wide: ``Fit`` tells it, on the page, when
it is drawn and when its box changes. (A message from the kernel when a view appears can overtake
the first drawing and leave the plot empty.) And a page that is loaded again while the kernel lives
would show the figure as it was first made: the state is brought up to date before it is sent.

Simplified: a dashboard product serves one page made for it; a notebook's cells come and go.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as w
import plotly.graph_objects as go
from traitlets import Dict

from reclab.show.theme import CONFIG


class LiveFigure(go.FigureWidget):
    """A ``FigureWidget`` with our buttons, for a box that ``fitted`` made."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._config = {**CONFIG, "responsive": True}
        self.layout.autosize = True

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:
        """The state for the page; a whole state is first brought up to what is drawn now."""
        if key is None and self.comm is not None:
            now = {"_widget_layout": self._layout_obj._props, "_widget_data": self._data}
            for name, value in now.items():
                self._trait_values[name] = deepcopy(value)  # quietly: it is about to be sent
        return super().get_state(key, drop_defaults)


class Fit(anywidget.AnyWidget):
    """Nothing to see: the script beside an explorer. ``places``: the texts of each slider's
    places by its label."""

    _esm = Path(__file__).with_name("fit.js")
    places = Dict().tag(sync=True)


def fitted(parts: Sequence[w.Widget], places: Mapping[str, Sequence[str]]) -> w.VBox:
    """A box in which plots take the full width, now and when it changes, in every view, and in
    which sliders have names and values for a screen reader."""
    box = w.VBox([*parts, Fit(places=dict(places))], layout=w.Layout(width="100%"))
    box.add_class("reclab-explorer")
    return box
