"""Joiners as processes of their own, for tests that kill them."""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import IO

from reclab.stores.event_log import EventLog, StoreDown
from tests.offline_online.join_storm import DISORDER_MS, REMEMBER_MS, WINDOW_MS

SESSION_MS = 1_000


def start_joiner(
    address: str, *more: object, session_ms: int = SESSION_MS, says: IO[str] | None = None
) -> "subprocess.Popen[bytes]":
    """A joiner that takes a snapshot five times a second; ``says``: where it says what it has."""
    settings = {"address": address, "window-ms": WINDOW_MS, "disorder-ms": DISORDER_MS,
                "remember-ms": REMEMBER_MS, "session-ms": session_ms,
                "snapshot-s": 0.2}  # fmt: skip
    words = [sys.executable, "-m", "reclab.offline_online.join.joiner"]
    for name, value in settings.items():
        words += [f"--{name}", str(value)]
    return subprocess.Popen([*words, *map(str, more)], stderr=says or subprocess.DEVNULL)


def until(true: Callable[[], bool], within_s: float = 40.0) -> None:
    """Wait for it."""
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def insist(log: EventLog, what: Callable[[], object], within_s: float = 60.0) -> None:
    """Do it until the store answers: what a producer does, and why entries come twice."""
    end = time.monotonic() + within_s
    while True:
        try:
            what()
            return
        except StoreDown:
            assert time.monotonic() < end
            time.sleep(0.05)
            try:
                log.reconnect()
            except StoreDown:
                pass


def n_out(log: EventLog) -> int:
    """Entries in the topic of samples; -1 while nobody answers."""
    try:
        return int(log.stats("samples").end.sum())
    except StoreDown:
        return -1
