"""What a reader can turn: sliders with a number box, switches and choices, declared in one line.

A declaration is frozen data; ``Knob`` makes the ipywidgets for it. A slider runs over a list of
sensible values (sizes on a log scale) or over low … high in steps; its number box beside it takes
the same values, a typed number goes to the nearest. Both are reached with the Tab key.

Controls of one ``group`` stand together under its name, in the order of the declarations.

Simplified: a control room of a company also asks who may turn the knob, and writes it down.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import ipywidgets as w

from reclab.core.errors import ConfigError, check
from reclab.show.labels import label

Value = int | float | str | bool


@dataclass(frozen=True)
class Slider:
    """A number. ``values``: the places of the slider; or ``low``, ``high`` and ``step``.

    ``words`` is the label or a key of the label table (default: the name); ``unit`` follows the
    number in tables. Whole numbers stay whole when every number given is whole.
    """

    name: str
    value: float
    words: str = ""
    unit: str = ""
    values: Sequence[float] = ()
    low: float = 0
    high: float = 1
    step: float = 0.05
    group: str = ""

    def __post_init__(self) -> None:
        where = f"Slider({self.name!r})"
        if self.values:
            ascending = all(a < b for a, b in zip(self.values, self.values[1:], strict=False))
            check(ascending, f"{where}.values", self.values, "ascend", "(10, 20, 50)")
            check(self.value in self.values, f"{where}.value", self.value, "be a place", "a place")
            return
        check(self.low < self.high, f"{where}.high", self.high, f"be > low {self.low}", "1.0")
        check(self.step > 0, f"{where}.step", self.step, "be > 0", "0.05")
        inside = self.low <= self.value <= self.high
        check(inside, f"{where}.value", self.value, f"be in [{self.low}, {self.high}]", "inside")

    @property
    def whole(self) -> bool:
        """True when the slider yields ``int``."""
        given = self.values or (self.low, self.high, self.step)
        return all(isinstance(number, int) for number in (*given, self.value))


@dataclass(frozen=True)
class Check:
    """A switch: on or off."""

    name: str
    value: bool = True
    words: str = ""
    group: str = ""


@dataclass(frozen=True)
class Choice:
    """One of several ``options``: plain words, or ``{words: value}`` as pairs."""

    name: str
    options: Sequence[str] | Sequence[tuple[str, Value]]
    value: Value
    words: str = ""
    group: str = ""

    def __post_init__(self) -> None:
        known = [o[1] if isinstance(o, tuple) else o for o in self.options]
        check(self.value in known, f"Choice({self.name!r}).value", self.value, "be one", str(known))


Control = Slider | Check | Choice


def _style(control: Control) -> dict[str, str]:
    """Room for the words: less where many controls stand close together."""
    return {"description_width": "165px" if control.group else "250px"}


class Knob:
    """The widgets of one control: ``widget`` holds the value, ``box`` is what is shown."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.words = label(control.words or control.name)
        make = {Slider: _slider, Check: _check, Choice: _choice}[type(control)]
        self.widget, self.box = make(control, self.words)

    @property
    def value(self) -> Value:
        """The value as the computation gets it."""
        return self.widget.value

    @property
    def places(self) -> list[str]:
        """The texts of a slider's places; empty when its position is its value."""
        return [self.show(value) for value in getattr(self.control, "values", ())]

    def show(self, value: Value) -> str:
        """A value in words, with its unit."""
        if isinstance(self.control, Check):
            return label("yes" if value else "no")
        if isinstance(self.control, Choice):
            pairs = [o for o in self.control.options if isinstance(o, tuple)]
            return next((label(words) for words, v in pairs if v == value), str(value))
        unit = f" {label(self.control.unit)}" if self.control.unit else ""
        return f"{value:,}{unit}" if self.control.whole else f"{value:g}{unit}"


def _slider(control: Slider, words: str) -> tuple[w.Widget, w.Widget]:
    wide = w.Layout(flex="1 1 auto", min_width="0", width="auto")
    shown = f"{words} ({label(control.unit)})" if control.unit else words
    common = {"description": shown, "style": _style(control), "layout": wide, "readout": False}
    common |= {"continuous_update": True, "tooltip": shown}
    if control.values:
        places = list(control.values)
        knob: Any = w.SelectionSlider(options=places, value=control.value, **common)
        low, high, step = places[0], places[-1], 1 if control.whole else 0.01
    else:
        low, high, step = control.low, control.high, control.step
        kind = w.IntSlider if control.whole else w.FloatSlider
        knob = kind(value=control.value, min=low, max=high, step=step, **common)
    box_kind = w.BoundedIntText if control.whole else w.BoundedFloatText
    size = w.Layout(width="88px", flex="0 0 auto")
    box = box_kind(value=control.value, min=low, max=high, step=step, layout=size)
    box.tooltip = shown
    _follow(knob, box, _nearest(control))
    return knob, w.HBox([knob, box], layout=w.Layout(width="100%"))


def _nearest(control: Slider) -> Callable[[float], float]:
    if control.values:
        return lambda typed: min(control.values, key=lambda place: abs(place - typed))
    return lambda typed: typed


def _follow(knob: w.Widget, box: w.Widget, nearest: Callable[[float], float]) -> None:
    """Keep slider and number box equal; the slider is the one that is listened to."""

    def from_box(change: dict[str, Any]) -> None:
        place = nearest(change["new"])
        if place != knob.value:
            knob.value = place
        if box.value != knob.value:
            box.value = knob.value

    def from_knob(change: dict[str, Any]) -> None:
        if box.value != change["new"]:
            box.value = change["new"]

    box.observe(from_box, "value")
    knob.observe(from_knob, "value")


def _check(control: Check, words: str) -> tuple[w.Widget, w.Widget]:
    tick = w.Checkbox(value=control.value, description=words, indent=False)
    tick.layout = w.Layout(width="auto", margin="2px 18px 2px 2px")
    return tick, tick


def _choice(control: Choice, words: str) -> tuple[w.Widget, w.Widget]:
    options = [
        (label(o[0]), o[1]) if isinstance(o, tuple) else (label(o), o) for o in control.options
    ]
    wide = w.Layout(width="auto", min_width="0")
    menu = w.Dropdown(
        options=options, value=control.value, description=words, style=_style(control)
    )
    menu.layout = wide
    return menu, menu


def arrange(knobs: Sequence[Knob]) -> w.Widget:
    """All controls by group: sliders and choices in as many columns as fit, switches in one line
    below."""
    groups: dict[str, list[Knob]] = {}
    for knob in knobs:
        groups.setdefault(knob.control.group, []).append(knob)
    parts = [part for name, mine in groups.items() for part in _group(name, mine)]
    return w.VBox(parts)


def _group(name: str, knobs: Sequence[Knob]) -> list[w.Widget]:
    rows = [k.box for k in knobs if not isinstance(k.control, Check)]
    ticks = [k.box for k in knobs if isinstance(k.control, Check)]
    least = "360px" if name else "500px"  # many groups stand closer together
    columns = f"repeat(auto-fit, minmax(min({least}, 100%), 1fr))"
    grid = w.GridBox(rows, layout=w.Layout(grid_template_columns=columns, grid_gap="2px 28px"))
    line = w.HBox(ticks, layout=w.Layout(flex_flow="row wrap"))
    head = w.HTML(f"<b>{escape(label(name))}</b>", layout=w.Layout(margin="4px 0 0 2px"))
    return [*([head] if name else []), grid, *([line] if ticks else [])]


def knobs_of(controls: Sequence[Control]) -> dict[str, Knob]:
    """Knobs by name; two controls of one name are an error."""
    names = [control.name for control in controls]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"controls must have different names, got twice: {', '.join(twice)}")
    return {control.name: Knob(control) for control in controls}


__all__ = ["Check", "Choice", "Control", "Knob", "Slider", "arrange", "knobs_of"]
