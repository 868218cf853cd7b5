"""A measurement that takes minutes, behind a button: what it will take is said before, a bar shows
how far it is, and its result is kept, so that the next opening shows it at once.

    RunOnce("Train nine rankers", "about 3 minutes", compute, plot, table, known=result_or_none)

Where ``RECLAB_MEASURE`` is set, as it is when lessons are saved, it runs without being asked.
``compute(progress) -> result``; ``plot(result)`` gives a figure of it and ``table(result)`` text.

Simplified: a company would hand this to a queue of jobs and send a message when it is done.
"""

import os
import traceback
from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets as w
import plotly.graph_objects as go

from reclab.show.explorer import WIDGET_VIEW
from reclab.show.labels import add_labels, label
from reclab.show.live import LiveFigure, fitted
from reclab.show.readout import message_html
from reclab.show.theme import LAB_CSS, static_bundle

add_labels(
    {
        "not_run": ("Not measured yet; the button takes {0}.", "尚未计算；点击按钮约需{0}。"),
        "kept_for_good": ("The result is kept.", "结果会保存。"),
    }
)
Progress = Callable[[float, str], None]


class RunOnce:
    """A button, then a plot and a table. ``result`` is None until something was computed."""

    def __init__(
        self,
        title: str,
        takes: str,
        compute: Callable[[Progress], Any],
        plot: Callable[[Any], go.Figure],
        table: Callable[[Any], str],
        known: Any = None,
    ) -> None:
        self.title, self.takes, self.compute = title, takes, compute
        self.plot, self.table, self.result = plot, table, known
        self._box: w.Widget | None = None
        if os.environ.get("RECLAB_MEASURE"):
            self.run()

    @property
    def done(self) -> bool:
        """Whether there is a result to show."""
        return self.result is not None

    def run(self, progress: Progress = lambda fraction, text="": None) -> Any:
        """Compute now, unless it is known already."""
        if not self.done:
            self.result = self.compute(progress)
        return self.result

    def __repr__(self) -> str:
        if self.done:
            return self.table(self.result)
        return f"{label(self.title)}: {label('not_run').format(self.takes)}"

    # ---- the widget ------------------------------------------------------------------------

    @property
    def box(self) -> w.Widget:
        """Button, bar and, after the run, plot and table."""
        if self._box is None:
            self._build()
        return self._box

    def _build(self) -> None:
        self.button = w.Button(description=label("run"), layout=w.Layout(width="auto"))
        self.button.add_class("reclab-run")
        self.button.on_click(lambda _: self._press())
        self._bar = w.IntProgress(min=0, max=100, layout=w.Layout(visibility="hidden", width="60%"))
        words = f"{label('not_run').format(self.takes)} {label('kept_for_good')}"
        self._message = w.HTML(escape(words))
        head = w.HTML(f"<style>{LAB_CSS}</style><b>{escape(label(self.title))}</b>")
        self._place = w.VBox([])
        self._box = fitted([head, w.HBox([self.button, self._bar]), self._message, self._place], {})

    def _press(self) -> None:
        self.button.disabled, self._bar.layout.visibility = True, "visible"
        try:
            self.run(self._progress)
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            self._message.value = message_html(label("failed"), told, traceback.format_exc())
            self.button.disabled = False
            raise
        finally:
            self._bar.layout.visibility = "hidden"
        self._message.value = ""
        table = w.HTML(f"<pre>{escape(self.table(self.result))}</pre>")
        self._place.children = [LiveFigure(self.plot(self.result)), table]

    def _progress(self, fraction: float, text: str = "") -> None:
        self._bar.value = round(100 * min(max(fraction, 0.0), 1.0))
        self._message.value = escape(text or label("running"))

    def _repr_mimebundle_(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What is known as a static plot with its table; the button where nothing is known."""
        if self.done:
            bundle = static_bundle(self.plot(self.result), self.table(self.result))
            return bundle
        view = {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id}
        return {WIDGET_VIEW: view, "text/plain": repr(self)}
