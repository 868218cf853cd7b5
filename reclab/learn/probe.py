"""The probe: runs a reader's function on hidden and boundary cases and says what went wrong.

A wrong result is first compared with what each known misconception would have computed on the
same cases. If one of them gives the reader's numbers, its explanation is the message; otherwise
the message shows the failing case, the reader's number and the expected one.

Simplified: a misconception is recognised by its numbers alone, never by reading the code.
"""

import dis
import inspect
import re
import reprlib
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reclab.learn.card import Code
from reclab.learn.limit import Stopped

CORRECT, NOT_YET, NOT_ATTEMPTED = "correct", "not yet", "not attempted"
TOLERANCE = 1e-3  # relative; float32 sums in another order stay well inside


@dataclass(frozen=True)
class Verdict:
    """A state and the paragraphs that explain it."""

    state: str
    body: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """One call: ``name`` says in words what is special about it; ``args`` are passed by place."""

    name: str
    args: tuple[Any, ...]


@dataclass(frozen=True)
class Misconception:
    """A wrong idea: what it ``computes`` on the same arguments, and what to tell its owner."""

    name: str
    computes: Callable[..., Any]
    message: str


@dataclass(frozen=True)
class Attempt:
    """What one call did."""

    value: Any = None
    error: BaseException | None = None
    changed: str = ""


def read_array(value: Any) -> np.ndarray | str:
    """The value as an array of numbers, or a sentence saying why it is none."""
    if hasattr(value, "toarray"):
        value = value.toarray()
    if value is None:
        return "It returns nothing (None): is the `return` missing?"
    try:
        array = np.asarray(value)
    except Exception:
        return f"It returns {shown(value)}, expected an array of numbers."
    if array.dtype.kind not in "fiub":
        return f"It returns {shown(value)}, expected an array of numbers."
    return array.astype(np.float64)


def array_difference(value: Any, expected: Any, *args: Any) -> str:
    """'' when the arrays agree, else one sentence: the reader's number beside the expected one."""
    array, good = read_array(value), np.asarray(expected, np.float64)
    if isinstance(array, str):
        return array
    if array.shape != good.shape:
        return f"Shape: yours {array.shape}, expected {good.shape}."
    if not good.size:
        return ""
    off = np.abs(array - good) - TOLERANCE * np.abs(good) - 1e-6
    off = np.where(np.isfinite(off), off, np.inf)
    worst = np.unravel_index(int(np.argmax(off)), good.shape)
    if off[worst] <= 0:
        return ""
    at = "[" + ", ".join(str(int(i)) for i in worst) + "]"
    slack = f" ± {TOLERANCE * abs(good[worst]):.1g}" if good[worst] else ""
    mine = "not a number (NaN)" if np.isnan(array[worst]) else f"{array[worst]:.4g}"
    return f"Entry {at}: yours {mine}, expected {good[worst]:.4g}{slack}."


@dataclass(frozen=True)
class Probe:
    """Judges a function against ``reference`` on ``cases``; ``difference(value, expected, *args)``
    returns '' or a sentence. Everything the reader's function is given is a fresh copy."""

    reference: Callable[..., Any]
    cases: tuple[Case, ...]
    misconceptions: tuple[Misconception, ...]
    difference: Callable[..., str] = array_difference
    praise: str = ""
    running: list[str] = field(default_factory=list, compare=False)

    def __call__(self, answer: Any) -> Verdict:
        """The verdict on a function; leaves the name of the case at work in ``running``."""
        self.running.clear()
        if unattempted(answer):
            return Verdict(NOT_ATTEMPTED)
        if not callable(answer):
            name = self.reference.__name__
            asked = f"Hand over the function itself, ex.check({name}), not a result of it."
            return Verdict(NOT_YET, (f"{asked} Got {shown(answer)}.",))
        tried = [self._attempt(answer, case) for case in self.cases]
        if isinstance(tried[0].error, NotImplementedError):
            return Verdict(NOT_ATTEMPTED)
        for case, attempt in zip(self.cases, tried, strict=True):
            fault = self._fault(case, attempt)
            if fault:
                return Verdict(NOT_YET, self._explain(case, attempt, fault, tried))
        return Verdict(CORRECT, (f"It agrees on all {len(self.cases)} cases. {self.praise}",))

    def _attempt(self, function: Callable[..., Any], case: Case) -> Attempt:
        self.running.append(case.name)
        args = tuple(_copy(arg) for arg in case.args)
        names = inspect.signature(self.reference).parameters
        try:
            with np.errstate(all="ignore"):
                value = function(*args)
        except Stopped:
            raise
        except BaseException as error:  # a reader's function may raise anything
            return Attempt(error=error)
        changed = [
            name for name, a, b in zip(names, args, case.args, strict=True) if not alike(a, b)
        ]
        return Attempt(value, changed=changed[0] if changed else "")

    def _fault(self, case: Case, attempt: Attempt) -> str:
        """'' or what is wrong with one attempt, as a sentence."""
        if attempt.error is not None:
            told = shorten(str(attempt.error))
            return f"It raised {type(attempt.error).__name__}{': ' + told if told else ''}."
        expected = self.reference(*(_copy(arg) for arg in case.args))
        wrong = self.difference(attempt.value, expected, *case.args)
        if not wrong and attempt.changed:
            return (
                f"The result is right, but it changes its input `{attempt.changed}` in place. "
                "The stage after yours reads the same array: work on a copy."
            )
        return wrong

    def _explain(
        self, case: Case, attempt: Attempt, fault: str, tried: list[Attempt]
    ) -> tuple[str, ...]:
        likely = self._likely(tried, self.cases.index(case))
        named = (f"Likely: {likely.name}. {likely.message}",) if likely else ()
        call = call_text(self.reference, case)
        return (*named, f"On the case “{case.name}”: {fault}", call)

    def _likely(self, tried: list[Attempt], failing: int) -> Misconception | None:
        """The misconception that gives the reader's outcome on most cases, the failing one among
        them: two mistakes at once still show the first."""
        best, most = None, 0
        for idea in self.misconceptions:
            theirs = [self._attempt(idea.computes, case) for case in self.cases]
            same = [_same_outcome(a, b) for a, b in zip(tried, theirs, strict=True)]
            if same[failing] and sum(same) > most:
                best, most = idea, sum(same)
        return best


def unattempted(answer: Any) -> bool:
    """Nothing was written: None, ``...``, or a function whose body is empty."""
    if answer is None or answer is ...:
        return True
    code = getattr(answer, "__code__", None)
    if not isinstance(code, types.CodeType):
        return False
    quiet = {"RESUME", "NOP", "CACHE", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"}
    steps = [s for s in dis.get_instructions(code) if s.opname not in {"RESUME", "NOP", "CACHE"}]
    return all(s.opname in quiet and s.argval is None for s in steps)


def shown(value: Any) -> str:
    """A short text for any value, free of memory addresses; never raises on odd objects."""
    try:
        if isinstance(value, np.ndarray):
            return f"an array of shape {value.shape}"
        if callable(value):
            return f"the function {getattr(value, '__name__', type(value).__name__)}"
        return f"{shorten(reprlib.repr(value))} ({type(value).__name__})"
    except Exception:
        return f"something of type {type(value).__name__}"


def call_text(function: Callable[..., Any], case: Case) -> Code:
    """The arguments of a case, small arrays in full and large ones by their shape."""
    lines = []
    for name, arg in zip(inspect.signature(function).parameters, case.args, strict=True):
        if isinstance(arg, np.ndarray) and arg.size <= 64:
            text = np.array2string(arg, precision=3, separator=", ", max_line_width=72)
            text = text.replace("\n", "\n" + " " * (len(name) + 3))
        else:
            text = shown(arg) if isinstance(arg, np.ndarray) else f"{arg!r}"
        lines.append(f"{name} = {text}")
    return Code("\n".join(lines))


def shorten(text: str, most: int = 160) -> str:
    """One line, without memory addresses."""
    line = " ".join(re.sub(r" at 0x[0-9a-fA-F]+", "", text).split()).rstrip(".")
    return line if len(line) <= most else line[: most - 1] + "…"


def alike(a: Any, b: Any) -> bool:
    """Equal up to the tolerance, NaN equal to NaN; False when they cannot be compared."""
    try:
        x, y = read_array(a), read_array(b)
        if isinstance(x, str) or isinstance(y, str):
            if isinstance(a, (tuple, list)) and type(a) is type(b):  # several arrays
                return len(a) == len(b) and all(alike(i, j) for i, j in zip(a, b, strict=True))
            return type(a) is type(b) and bool(a == b)
        return x.shape == y.shape and bool(np.allclose(x, y, TOLERANCE, 1e-6, equal_nan=True))
    except Exception:
        return False


def _same_outcome(a: Attempt, b: Attempt) -> bool:
    if a.error is not None or b.error is not None:
        return type(a.error) is type(b.error)
    return alike(a.value, b.value)


def _copy(arg: Any) -> Any:
    return arg.copy() if isinstance(arg, np.ndarray) else arg
