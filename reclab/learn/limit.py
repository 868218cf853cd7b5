"""The time limit: runs a reader's code in a thread of its own and stops it when it takes too long.

A loop in Python is stopped at its next instruction by an exception that ordinary ``except
Exception`` clauses do not catch. A single long call into compiled code cannot be stopped; it is
left behind, and the caller is told.

Simplified: a grader on a server runs each answer in a process with limits on memory as well.
"""

import contextlib
import ctypes
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class Stopped(BaseException):
    """Raised inside the reader's code when its time is over."""


@dataclass(frozen=True)
class Finished:
    """How it ended: a ``value``, an ``error``, or ``too_slow`` (and whether it still runs)."""

    value: Any = None
    error: BaseException | None = None
    too_slow: bool = False
    still_running: bool = False


def within(seconds: float, work: Callable[[], Any]) -> Finished:
    """Run ``work()`` for at most ``seconds``; whatever it raises is returned, never raised.

    Only the reader's own interrupt (the stop button) passes through.

    >>> within(5, lambda: 6 * 7).value
    42
    >>> within(5, lambda: 1 / 0).error
    ZeroDivisionError('division by zero')
    """
    ended: list[Finished] = []

    def attempt() -> None:
        try:
            ended.append(Finished(value=work()))
        except BaseException as error:  # a reader's code may raise anything, SystemExit included
            ended.append(Finished(error=error))

    def body() -> None:
        # A stop may land while the line above handles another one.
        with contextlib.suppress(Stopped):
            attempt()

    thread = threading.Thread(target=body, daemon=True, name="reclab-learn")
    thread.start()
    try:
        thread.join(seconds)
    except KeyboardInterrupt:
        _stop(thread)
        raise
    if not thread.is_alive():
        return ended[0] if ended else Finished(error=Stopped())
    _stop(thread)
    return Finished(too_slow=True, still_running=thread.is_alive())


def _stop(thread: threading.Thread, patience_s: float = 2.0) -> None:
    """Ask again and again: a bare ``except`` in the reader's loop may swallow the first."""
    give_up = time.monotonic() + patience_s
    while thread.is_alive() and time.monotonic() < give_up:
        ident = ctypes.c_ulong(thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(Stopped))
        thread.join(0.2)
