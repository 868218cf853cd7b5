"""The control room of a lesson: knobs, one live figure, and the same numbers as a text table.

A subclass declares ``controls`` and gives four functions: ``figure_of()`` (empty panels),
``traces()`` (named traces), ``compute(params) -> Result`` (pure; its results are cached), and
``series(result)`` (new data for each named trace). ``rows(result)`` gives the numbers of the
table. Everything drawn for the current settings is drawn once more, pale and dashed, for the
pinned baseline. One change of a knob is one ``compute`` and one ``batch_update``.

Simplified: industry's dashboards read precomputed cubes; here each move computes the real thing.
"""

import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import ipywidgets as w
import plotly.graph_objects as go

from reclab.core.errors import ReclabError
from reclab.show.controls import Control, Value, arrange, knobs_of
from reclab.show.labels import label, text_table
from reclab.show.live import LiveFigure, fitted
from reclab.show.readout import Row, message_html, rows_html, rows_text
from reclab.show.theme import LAB_CSS, Series, add_pairs, panels, static_bundle

Params = Mapping[str, Value]
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


@dataclass(frozen=True)
class State:
    """One computed point: the settings and what came of them."""

    params: Params
    result: Any


class Explorer:
    """Base of all explorers. ``.controls`` holds the widgets by name, ``.figure`` the live figure.

    ``slow = True`` computes on the Run button only, with a progress bar; ``compute`` may then
    take ``progress(fraction, text)`` as its second argument. Functions given to the constructor
    stand in for methods of the same name, so a small explorer needs no class.

    Settings that do not go together are said beside the controls, in the words of ``check`` or of
    a ``ReclabError`` from ``compute``, and the plots keep the last settings that worked. Any
    other exception is shown there too, and raised again.
    """

    title: str = ""
    declared: Sequence[Control] = ()
    funnel: Sequence[str] = ()
    slow: bool = False
    cache_size: int = 256

    def __init__(self, controls: Sequence[Control] = (), **functions: Any) -> None:
        unknown = [name for name in functions if not hasattr(Explorer, name)]
        if unknown:
            raise TypeError(f"Explorer takes no {', '.join(unknown)}")
        for name, function in functions.items():
            setattr(self, name, function)
        self.knobs = knobs_of(controls or self.declared)
        self.controls = {name: knob.widget for name, knob in self.knobs.items()}
        self.message = ""
        self._cache: dict[tuple[Value, ...], State] = {}
        self._held = False
        self._with_progress = "progress" in inspect.signature(self.compute).parameters
        self._build_parts()
        self._now = self._baseline = self._state(self.params)
        self._draw()
        for knob in self.knobs.values():
            knob.widget.observe(self._on_change, "value")

    # ---- what a subclass gives -------------------------------------------------------------

    def compute(self, params: Params) -> Any:
        """The result for these settings: a pure function; equal settings are computed once."""
        raise NotImplementedError("an explorer needs compute(params) -> Result")

    def figure_of(self) -> go.Figure:
        """The empty panels."""
        return panels([self.title], [""], [""], columns=1)

    def traces(self) -> Sequence[Series]:
        """The named traces; each gets a ghost for the baseline."""
        return ()

    def beside(self) -> w.Widget | None:
        """What stands beside the figure, where there is room, else below it (a phone)."""
        return None

    def series(self, result: Any) -> Mapping[str, Mapping[str, Any]]:
        """``{trace name: {"x": …, "y": …}}`` for a result."""
        return {}

    def draw(self, figure: go.FigureWidget, result: Any, baseline: Any) -> None:
        """Put both results into the figure; runs inside one ``batch_update``. Override it for
        what ``series`` cannot say (a threshold line: ``figure.layout.shapes[0].x0 = …``)."""
        for which, shown in enumerate((result, baseline)):
            for name, values in self.series(shown).items():
                trace = figure.data[self.index[name][which]]
                for key, value in values.items():
                    trace[key] = value

    def rows(self, result: Any) -> Sequence[Row]:
        """The numbers of the table."""
        return ()

    def check(self, params: Params) -> str | None:
        """Why these settings do not go together, in words; None when they do. As it stands: sizes
        of the controls in ``funnel`` must not grow from one to the next."""
        words = {name: knob.words for name, knob in self.knobs.items()}
        return shrinking(params, self.funnel, words)

    # ---- what a reader does ----------------------------------------------------------------

    @property
    def params(self) -> dict[str, Value]:
        """The settings as the controls stand."""
        return {name: knob.value for name, knob in self.knobs.items()}

    @property
    def result(self) -> Any:
        """The last result that was computed."""
        return self._now.result

    @property
    def baseline(self) -> Any:
        """The result that is pinned."""
        return self._baseline.result

    def set(self, **values: Value) -> "Explorer":
        """Set several controls at once and compute once (at once also when ``slow``)."""
        with self._hold():
            for name, value in values.items():
                if name not in self.controls:
                    known = ", ".join(self.controls)
                    raise KeyError(f"no control {name!r} (there are: {known})")
                self.controls[name].value = value
        self.run()
        return self

    def run(self) -> None:
        """Compute and draw the settings as they stand."""
        params = self.params
        problem = self.check(params)
        if problem:
            return self._say(label("invalid"), f"{problem} {label('kept_last')}")
        try:
            self._now = self._state(params)
            self._draw()
        except ReclabError as error:
            self._say(label("invalid"), f"{error} {label('kept_last')}")
        except Exception as error:
            self._say(label("failed"), f"{type(error).__name__}: {error}", traceback.format_exc())
            raise
        else:
            self._say()

    def pin(self) -> None:
        """Make the current result the baseline that later ones are compared with."""
        self._baseline = self._now
        self._draw()

    def reset(self) -> None:
        """All controls and the baseline as they were at first."""
        with self._hold():
            for knob in self.knobs.values():
                knob.widget.value = knob.control.value
        self.run()
        self.pin()

    def summary(self) -> str:
        """Settings and numbers, current beside baseline, as rounded text. Numbers that depend on
        the machine (``Row.measured``) are left out, so the text can be compared."""
        head = [(label("setting"), label("now"), label("pinned"))]
        now, then = self._now.params, self._baseline.params
        for name, knob in self.knobs.items():
            head.append((knob.words, knob.show(now[name]), knob.show(then[name])))
        parts = [self.message] if self.message else []
        parts += [text_table(head), rows_text(self.rows(self.result), self.rows(self.baseline))]
        return "\n\n".join(part for part in parts if part)

    # ---- the machinery ---------------------------------------------------------------------

    def _build_parts(self) -> None:
        empty = self.figure_of()
        self.index = add_pairs(empty, self.traces())
        self.figure = LiveFigure(empty)
        self._message = w.HTML()
        self._table = w.HTML()
        self._bar = w.IntProgress(min=0, max=100, layout=w.Layout(visibility="hidden"))
        self._buttons: dict[str, w.Button] = {}
        actions: dict[str, Callable[[], None]] = {"pin": self.pin, "reset": self.reset}
        if self.slow:
            actions = {"run": self._press_run, **actions}
        for name, action in actions.items():
            button = w.Button(description=label(name), layout=w.Layout(width="auto"))
            button.on_click(lambda _, action=action: action())
            button.add_class(f"reclab-{name}")
            self._buttons[name] = button
        line = w.HBox([*self._buttons.values(), *([self._bar] if self.slow else [])])
        head = w.HTML(
            f"<style>{LAB_CSS}</style>"
            + (f"<b>{escape(label(self.title))}</b>" if self.title else "")
        )
        plots: w.Widget = self.figure
        if side := self.beside():
            wide = w.VBox([self.figure], layout=w.Layout(flex="1 1 560px", min_width="0"))
            wide.add_class("reclab-beside")
            plots = w.HBox([wide, side], layout=w.Layout(flex_flow="row wrap"))
        parts = [head, arrange(list(self.knobs.values())), line, self._message, plots]
        places = {knob.widget.description: knob.places for knob in self.knobs.values()}
        self.box = fitted([*parts, self._table], places)

    def _state(self, params: Params) -> State:
        key = tuple(params.values())
        if key not in self._cache:
            if len(self._cache) >= self.cache_size:
                self._cache.pop(next(iter(self._cache)))
            extra = {"progress": self._progress} if self._with_progress else {}
            self._cache[key] = State(dict(params), self.compute(params, **extra))
        return self._cache[key]

    def _draw(self) -> None:
        with self.figure.batch_update():
            self.draw(self.figure, self.result, self.baseline)
        self._table.value = rows_html(self.rows(self.result), self.rows(self.baseline))

    def _on_change(self, change: Mapping[str, Any]) -> None:
        if self._held:
            return
        if self.slow:
            return self._say(label("stale"))
        self.run()

    def _press_run(self) -> None:
        button = self._buttons["run"]
        button.disabled = True
        self._progress(0.0)
        try:
            self.run()
        finally:
            button.disabled = False
            self._bar.layout.visibility = "hidden"

    def _progress(self, fraction: float, text: str = "") -> None:
        self._bar.layout.visibility = "visible"
        self._bar.value = round(100 * min(max(fraction, 0.0), 1.0))
        self._bar.description = text or label("running")

    def _say(self, what: str = "", why: str = "", details: str = "") -> None:
        self.message = f"{what}: {why}" if why else what
        self._message.value = message_html(what, why, details)

    @contextmanager
    def _hold(self) -> Any:
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def _repr_mimebundle_(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Live view for an open notebook, static plot for a saved one, text for the rest."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id}
        return {WIDGET_VIEW: view, **static_bundle(self.figure, self.summary())}


def shrinking(
    params: Params, names: Sequence[str], words: Mapping[str, str] | None = None
) -> str | None:
    """The sentence for sizes that grow along the funnel, None when they do not. ``words`` are the
    labels of the controls (default: the label of the name).

    >>> shrinking({"retrieve": 100, "keep": 300}, ["retrieve", "keep"])
    '“keep” (300) must not be larger than “retrieve” (100).'
    """
    words = words or {name: label(name) for name in names}
    for before, after in zip(names, names[1:], strict=False):
        big, small = params[after], params[before]
        if big > small:
            return label("grows").format(words[after], f"{big:,}", words[before], f"{small:,}")
    return None
