"""Exercises: a task, a starter to fill in, a check that explains, a ladder of hints, a solution.

    ex = exercise("2.1")        # what is asked; ex.starter is the cell to fill in
    ex.check(answer)            # correct | not yet, with the likely reason | not attempted
    ex.hint()                   # one more hint at each call
    ex.solution()               # code and why

The first number is the lesson: "2.1" lives in ``reclab.learn.lesson_02``. ``check`` never raises.
An exercise remembers its state while the kernel lives; ``progress()`` shows all of them.

Simplified: no accounts and no marks; a course platform would keep the answers on a server.
"""

import functools
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

from reclab.core.errors import ConfigError
from reclab.learn.card import Card, Code
from reclab.learn.limit import within
from reclab.learn.probe import CORRECT, NOT_ATTEMPTED, NOT_YET, Probe, Verdict, shorten

TITLE = {CORRECT: "Correct", NOT_YET: "Not yet", NOT_ATTEMPTED: "Not attempted"}
TONE = {CORRECT: "good", NOT_YET: "wait", NOT_ATTEMPTED: "idle"}
NEXT = {
    CORRECT: "",
    NOT_YET: "ex.hint() gives a hint.",
    NOT_ATTEMPTED: "The starter is unchanged. Fill it in and run this cell again; "
    "ex.hint() gives a hint.",
}


@dataclass(frozen=True)
class Task:
    """An exercise as its lesson states it. ``judge(answer, *context)`` returns a ``Verdict``;
    ``solution`` is a function, shown by its source, or text; ``limit_s`` bounds one check."""

    id: str
    title: str
    asked: str
    starter: str
    judge: Callable[..., Verdict]
    hints: tuple[str, ...]
    solution: Callable[..., Any] | str
    why: str
    when_slow: str = "Look for a loop that a whole-array operation could replace."
    limit_s: float = 20.0


class Exercise:
    """A ``Task`` with its state: tried or not, how many hints were asked for."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.state = NOT_ATTEMPTED
        self.hints_shown = 0

    @property
    def starter(self) -> str:
        """The code of the cell to fill in."""
        return self.task.starter

    def check(self, answer: Any, *context: Any, **named: Any) -> Card:
        """Say whether ``answer`` is right, and if not, why most likely. Never raises.

        ``context`` is what some exercises measure with (their task says so). Once correct, an
        exercise stays correct in ``progress()``.
        """
        verdict = self._judge(answer, *context, **named)
        if self.state != CORRECT:
            self.state = verdict.state
        label = f"{TITLE[verdict.state]} · {self.task.id} {self.task.title}"
        closing = (NEXT[verdict.state],) if NEXT[verdict.state] else ()
        return Card(label, (*verdict.body, *closing), TONE[verdict.state])

    def passes(self, answer: Any, *context: Any, **named: Any) -> bool:
        """Whether ``answer`` is correct; leaves the state alone."""
        return self._judge(answer, *context, **named).state == CORRECT

    def or_ours(self, answer: Any, *context: Any, **named: Any) -> Callable[..., Any]:
        """The reader's function when it passes, else our solution: what goes into the live
        pipeline, so that a lesson runs from top to bottom before anything is solved. ``context`` as
        for ``check``."""
        if not callable(self.task.solution):
            raise ConfigError(f"exercise {self.task.id} asks for a value, not for a function")
        return answer if self.passes(answer, *context, **named) else self.task.solution

    def hint(self) -> Card:
        """One more hint at each call."""
        total = len(self.task.hints)
        if self.hints_shown >= total:
            text = f"Those were all {total} hints. ex.solution() shows our code, and why."
            return Card(f"No more hints · {self.task.id}", (text,))
        text = self.task.hints[self.hints_shown]
        self.hints_shown += 1
        return Card(f"Hint {self.hints_shown} of {total} · {self.task.id}", (text,))

    def solution(self) -> Card:
        """Our answer and why it is so."""
        ours = self.task.solution
        code = textwrap.dedent(inspect.getsource(ours)) if callable(ours) else ours
        return Card(f"Solution · {self.task.id} {self.task.title}", (Code(code), self.task.why))

    def _judge(self, answer: Any, *context: Any, **named: Any) -> Verdict:
        judge = self.task.judge
        ended = within(self.task.limit_s, lambda: judge(answer, *context, **named))
        if isinstance(ended.value, Verdict):
            return ended.value
        if ended.too_slow:
            return Verdict(NOT_YET, self._slow(ended.still_running))
        error = ended.error
        told = shorten(_words(error))
        return Verdict(NOT_YET, (f"The answer could not be examined: {told}.",))

    def _slow(self, still_running: bool) -> tuple[str, ...]:
        judge = self.task.judge
        where = judge.running[-1] if isinstance(judge, Probe) and judge.running else ""
        case = f" on the case “{where}”" if where else ""
        told = [f"Too slow: stopped after {self.task.limit_s:g} s{case}."]
        if isinstance(judge, Probe) and len(judge.running) == 1:
            told.append("A case this small points to a loop that never ends.")
        else:
            told.append(self.task.when_slow)
        if still_running:
            told.append("It could not be stopped and still runs; restarting the kernel ends it.")
        return tuple(told)

    def __repr__(self) -> str:
        return repr(self._card())

    def _repr_html_(self) -> str:
        return self._card()._repr_html_()

    def _card(self) -> Card:
        return Card(
            f"Exercise {self.task.id} · {self.task.title}", tuple(self.task.asked.split("\n"))
        )


@dataclass(frozen=True)
class Progress:
    """Exercises and their states, as text and as an accessible table."""

    rows: tuple[tuple[str, str, str], ...]

    def __repr__(self) -> str:
        width = max((len(title) for _, title, _ in self.rows), default=0) + 2
        lines = [f"{'exercise':<10}{'title':<{width}}state"]
        lines += [f"{key:<10}{title:<{width}}{state}" for key, title, state in self.rows]
        return "\n".join([*lines, self.summary()])

    def summary(self) -> str:
        """How many are correct, in words."""
        done = sum(state == CORRECT for _, _, state in self.rows)
        return f"{done} of {len(self.rows)} correct"

    def _repr_html_(self) -> str:
        cell = 'style="text-align:left;padding:.2em 1em .2em 0"'
        rows = "".join(
            f'<tr><th scope="row" {cell}>{escape(key)}</th><td {cell}>{escape(title)}</td>'
            f"<td {cell}>{escape(state)}</td></tr>"
            for key, title, state in self.rows
        )
        heads = "".join(f'<th scope="col" {cell}>{h}</th>' for h in ("exercise", "title", "state"))
        return (
            '<table style="background:transparent;color:var(--jp-ui-font-color1,inherit)">'
            f'<caption style="text-align:left">{self.summary()}</caption>'
            f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        )


def exercise(key: str) -> Exercise:
    """The exercise ``"lesson.number"``; the same object at every call.

    Raises ``ConfigError`` naming the exercises there are.
    """
    known = {each.task.id: each for n in lessons() for each in _lesson(n)}
    if str(key) not in known:
        names = ", ".join(known)
        raise ConfigError(f"there is no exercise {key!r}; there are {names}")
    return known[str(key)]


def progress(lesson: int | None = None) -> Progress:
    """The states of one lesson's exercises, or of all lessons there are."""
    if lesson is not None and lesson not in lessons():
        raise ConfigError(f"lesson {lesson!r} has no exercises yet; there are {lessons()}")
    wanted = lessons() if lesson is None else [lesson]
    every = [each for number in wanted for each in _lesson(number)]
    return Progress(tuple((each.task.id, each.task.title, each.state) for each in every))


def lessons() -> list[int]:
    """Numbers of the lessons that have exercises."""
    import reclab.learn as here

    names = [module.name for module in pkgutil.iter_modules(here.__path__)]
    return sorted(int(name[-2:]) for name in names if name.startswith("lesson_"))


@functools.cache
def _lesson(number: int) -> tuple[Exercise, ...]:
    module = importlib.import_module(f"reclab.learn.lesson_{number:02d}")
    return tuple(Exercise(task) for task in module.EXERCISES)


def _words(error: BaseException | None) -> str:
    """The error's kind and message; odd exceptions cannot even be printed."""
    try:
        return f"{type(error).__name__}: {error}"
    except BaseException:
        return type(error).__name__
