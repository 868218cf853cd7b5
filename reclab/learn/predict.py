"""Predictions: a guess that is locked in before the measurement, and compared with it after.

    guess = predict("2.a", "What share of the oracle's value does popularity reach?", (0, 1),
                    default=0.5)                # your own: …, guess=0.3)
    guess.reveal(measured)

A default lets a whole notebook run. A guess of one's own is locked at its first ``reveal``:
running the cell again with another number does not rewrite it until the kernel restarts.

Simplified: nothing is scored or stored; guessing first is what makes the result stick.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reclab.core.errors import ConfigError
from reclab.learn.card import Card
from reclab.learn.probe import shown

CLOSE = 0.05  # of the range: "about right"
NEAR = 0.15  # of the range: "not far"

_locked: dict[str, Any] = {}


@dataclass
class Prediction:
    """A question with either a numeric range ``(low, high)`` or a list of options in words."""

    key: str
    question: str
    options: tuple[Any, ...]
    default: Any
    guess: Any = None
    unit: str = ""
    complaint: str = ""

    @property
    def numeric(self) -> bool:
        """Whether a number in a range is asked for."""
        return len(self.options) == 2 and all(_number(bound) for bound in self.options)

    @property
    def value(self) -> Any:
        """The guess that counts: the reader's own, or the default."""
        return self.default if self.guess is None else self.guess

    def reveal(self, actual: Any, digits: int = 2) -> Card:
        """Compare guess and measurement in a sentence; ``digits`` significant ones are shown."""
        if self.guess is not None:
            _locked.setdefault(self.key, self.guess)
        whose = "You said" if self.guess is not None else "The default was"
        said = f"{whose} {self._text(self.value, digits)}"
        measured = self._text(actual, digits)
        if not self.numeric:
            right = str(actual) == str(self.value)
            told = f"{said}; so it is." if right else f"{said}; it is {measured}."
            return Card(f"Prediction {self.key}", (told,), "good" if right else "wait")
        if not _number(actual):
            return Card(f"Prediction {self.key}", (f"{said}; nothing was measured.",), "wait")
        near, tone = _distance(float(self.value), float(actual), self.options)
        return Card(f"Prediction {self.key}", (f"{said}; measured {measured}: {near}.",), tone)

    def widget(self) -> Any:
        """A slider or radio buttons that set the guess (needs a running kernel)."""
        import ipywidgets

        if self.numeric:
            low, high = self.options
            control = ipywidgets.FloatSlider(
                self.value, min=low, max=high, step=(high - low) / 100, description=self.key
            )
        else:
            control = ipywidgets.RadioButtons(
                options=self.options, value=self.value, description=self.key
            )
        control.observe(lambda change: self._choose(change["new"]), names="value")
        return control

    def _choose(self, guess: Any) -> None:
        self.guess = _locked.get(self.key, guess)

    def _text(self, value: Any, digits: int) -> str:
        if not _number(value):
            return str(value)
        return f"{value:.{digits}g}{' ' + self.unit if self.unit else ''}"

    def _card(self) -> Card:
        if self.numeric:
            low, high = (self._text(bound, 3) for bound in self.options)
            choice = f"Between {low} and {high}."
        else:
            choice = "One of: " + ", ".join(str(option) for option in self.options) + "."
        state = "default, change it with guess=…" if self.guess is None else "your guess"
        if self.key in _locked:
            state = "locked in"
        said = f"{self._text(self.value, 3)} ({state})"
        complaint = (self.complaint,) if self.complaint else ()
        return Card(f"Predict {self.key}", (self.question, choice, *complaint, said))

    def __repr__(self) -> str:
        return repr(self._card())

    def _repr_html_(self) -> str:
        return self._card()._repr_html_()


def predict(
    key: str,
    question: str,
    options: Sequence[Any],
    default: Any,
    guess: Any = None,
    unit: str = "",
) -> Prediction:
    """Lock in a guess. ``options`` is a numeric range ``(low, high)`` or several words.

    A guess outside of them is refused in words and the default stands; a wrong ``default`` is
    the lesson's own mistake and raises ``ConfigError``.
    """
    made = Prediction(key, question, tuple(options), default, unit=unit)
    if not _fits(default, made):
        raise ConfigError(f"predict({key!r}).default must be among {options}, got {default!r}")
    if guess is not None and not _fits(guess, made):
        made.complaint = f"{shown(guess)} is not possible here; the default stands."
    elif guess is not None:
        made.guess = guess
    if key in _locked:
        if made.guess is not None and made.guess != _locked[key]:
            made.complaint = "You have seen the result; your first guess stays."
        made.guess = _locked[key]
    return made


def _number(value: Any) -> bool:
    try:
        return not isinstance(value, (bool, str)) and math.isfinite(value)
    except (TypeError, ValueError, OverflowError):
        return False


def _fits(value: Any, made: Prediction) -> bool:
    if made.numeric:
        return _number(value) and made.options[0] <= value <= made.options[1]
    return any(value is option or value == option for option in made.options)


def _distance(said: float, actual: float, bounds: tuple[Any, ...]) -> tuple[str, str]:
    """How far off, as a share of the range, in words, and the tone of the card."""
    off = (said - actual) / (bounds[1] - bounds[0])
    if abs(off) <= CLOSE:
        return "about right", "good"
    way = "too high" if off > 0 else "too low"
    if abs(off) <= NEAR:
        return f"not far, a little {way}", "info"
    return f"{way}, by {abs(off):.0%} of the range", "wait"
