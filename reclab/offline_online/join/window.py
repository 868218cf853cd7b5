"""Join window (拼接窗口): when a sample stops waiting for its labels. One contract, four rules.

    FixedWindow   closes at t + W
    SessionEnd    closes at min(last request of the session + gap + slack, t + W)
    Hazard        closes when another label has become unlikely          } hazard.py
    PricedWait    closes when waiting costs more than the labels to come }

A report is on time iff its stamp <= close. Every rule is a function of stamps alone, so a stream
in any cuts and a batch over the whole log close at the same moments.
Reference: Chapelle 2014 (KDD) for delays; Akidau et al. 2015 (VLDB) for session windows.

Simplified: a session ends by silence; an app that says so itself would close it earlier.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from reclab.core.errors import check_int
from reclab.core.types import Array

MINUTE_MS = 60_000
LONGEST_MS = 30 * 24 * 60 * MINUTE_MS
NEVER = np.int64(1 << 62)


class CloseRule(Protocol):
    """When samples close. All stamps in ms, int64."""

    @property
    def max_wait_ms(self) -> int:
        """No sample waits longer."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """Impression columns that the rule reads."""
        ...

    @property
    def on_label(self) -> bool:
        """Whether labels move the close."""
        ...

    def opened(self, time_ms: Array, columns: Mapping[str, Array]) -> tuple[Array, Array]:
        """Of new rows in order of time: (n,) close so far, and (n,) a mark to renew it by."""
        ...

    def renewed(self, close_ms: Array, time_ms: Array, mark: Array) -> Array:
        """(n,) close as it stands now, of rows that seem to be due."""
        ...

    def told(self, stamp_ms: Array, time_ms: Array, labels: Array, count: Array) -> Array:
        """(n,) close after a label on time: bits of kinds so far and number of labels so far."""
        ...

    def passed(self, watermark_ms: int) -> None:
        """Rows due before the watermark have closed: forget what only they needed."""
        ...

    def closes(
        self, time_ms: Array, columns: Mapping[str, Array], row: Array, stamp_ms: Array, kind: Array
    ) -> Array:
        """The same over a whole log: (n,) closes of rows; reports (m,) in any order."""
        ...

    def state(self) -> dict[str, Array]:
        """What ``restore`` needs to go on with the rows that are open."""
        ...

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take a ``state``."""
        ...


class Stateless:
    """What rules share that remember nothing beside the rows."""

    needs: tuple[str, ...] = ()
    on_label = False
    max_wait_ms: int

    def opened(self, time_ms: Array, columns: Mapping[str, Array]) -> tuple[Array, Array]:
        """Closes at ``t + W``."""
        return time_ms + self.max_wait_ms, np.zeros(len(time_ms), np.int64)

    def renewed(self, close_ms: Array, time_ms: Array, mark: Array) -> Array:
        """Nothing moves."""
        return close_ms

    def told(self, stamp_ms: Array, time_ms: Array, labels: Array, count: Array) -> Array:
        """Nothing moves."""
        return time_ms + self.max_wait_ms

    def passed(self, watermark_ms: int) -> None:
        """Nothing to forget."""

    def closes(
        self, time_ms: Array, columns: Mapping[str, Array], row: Array, stamp_ms: Array, kind: Array
    ) -> Array:
        """Closes at ``t + W``."""
        return time_ms + self.max_wait_ms

    def state(self) -> dict[str, Array]:
        """Nothing."""
        return {}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Nothing."""


@dataclass(frozen=True)
class FixedWindow(Stateless):
    """``max_wait_ms``: W (1 min - 4 h; the chapter's example is 20 min).

    >>> FixedWindow().opened(np.array([5]), {})[0].tolist()
    [1200005]
    """

    max_wait_ms: int = 20 * MINUTE_MS

    def __post_init__(self) -> None:
        check_int("FixedWindow.max_wait_ms", self.max_wait_ms, 1, LONGEST_MS, "1200000")


@dataclass(frozen=True)
class SessionEndConfig:
    """``gap_ms``: silence that ends a session (1-30 min); ``slack_ms``: what reports then still
    get (0-5 min); ``max_wait_ms``: W; ``by``: the impression column that names the session."""

    gap_ms: int = 5 * MINUTE_MS
    slack_ms: int = 0
    max_wait_ms: int = 20 * MINUTE_MS
    by: str = "session_id"

    def __post_init__(self) -> None:
        check_int("SessionEndConfig.gap_ms", self.gap_ms, 1, LONGEST_MS, "300000")
        check_int("SessionEndConfig.slack_ms", self.slack_ms, 0, LONGEST_MS, "30000")
        check_int("SessionEndConfig.max_wait_ms", self.max_wait_ms, 1, LONGEST_MS, "1200000")


class SessionEnd(Stateless):
    """A run of requests of a session without a gap is a chain; a row's mark is its chain."""

    def __init__(self, config: SessionEndConfig | None = None) -> None:
        self.config = config or SessionEndConfig()
        self.max_wait_ms, self.needs = self.config.max_wait_ms, (self.config.by,)
        self._chain: dict[int, int] = {}  # session -> its latest chain
        self._last = np.full(64, NEVER, np.int64)  # chain -> stamp of its last request
        self._session = np.zeros(64, np.int64)
        self._free = list(range(64))[::-1]

    def opened(self, time_ms: Array, columns: Mapping[str, Array]) -> tuple[Array, Array]:
        """Join or begin chains. A page's rows share session and stamp, and are met once."""
        session = columns[self.config.by]
        step = np.ones(len(session), bool)
        step[1:] = (session[1:] != session[:-1]) | (time_ms[1:] != time_ms[:-1])
        first = np.flatnonzero(step)
        pages = zip(session[first].tolist(), time_ms[first].tolist(), strict=True)
        chains = np.array([self._request(*page) for page in pages], np.int64)
        mark = chains[np.cumsum(step) - 1] if len(first) else np.zeros(0, np.int64)
        return self.renewed(time_ms, time_ms, mark), mark

    def _request(self, session: int, time_ms: int) -> int:
        chain = self._chain.get(session, -1)
        if chain < 0 or time_ms > self._last[chain] + self.config.gap_ms:
            if not self._free:
                n = len(self._last)
                self._last = np.append(self._last, np.full(n, NEVER))
                self._session = np.append(self._session, np.zeros(n, np.int64))
                self._free = list(range(n, 2 * n))[::-1]
            chain = self._chain[session] = self._free.pop()
            self._last[chain], self._session[chain] = time_ms, session
        self._last[chain] = max(self._last[chain], time_ms)
        return chain

    def renewed(self, close_ms: Array, time_ms: Array, mark: Array) -> Array:
        """By the chain as it is known now."""
        end = self._last[mark] + (self.config.gap_ms + self.config.slack_ms)
        return np.asarray(np.minimum(end, time_ms + self.max_wait_ms))

    def passed(self, watermark_ms: int) -> None:
        """A chain whose last row has closed can neither be joined nor asked for."""
        quiet = self.config.gap_ms + self.config.slack_ms
        for chain in np.flatnonzero(self._last < watermark_ms - quiet).tolist():
            session = int(self._session[chain])
            if self._chain.get(session) == chain:
                del self._chain[session]
            self._last[chain] = NEVER
            self._free.append(chain)

    def closes(
        self, time_ms: Array, columns: Mapping[str, Array], row: Array, stamp_ms: Array, kind: Array
    ) -> Array:
        """Chains over the whole log: sort by session and time, cut where the gap is too long."""
        session = columns[self.config.by]
        order = np.lexsort((time_ms, session))
        when, who = time_ms[order], session[order]
        last = np.ones(len(order), bool)  # of its chain
        last[:-1] = (who[1:] != who[:-1]) | (when[1:] - when[:-1] > self.config.gap_ms)
        chain = np.cumsum(last) - last
        close = np.empty(len(order), np.int64)
        close[order] = when[last][chain] + (self.config.gap_ms + self.config.slack_ms)
        return np.asarray(np.minimum(close, time_ms + self.max_wait_ms))

    def state(self) -> dict[str, Array]:
        """Chains by place, which of them is the latest of its session, and the places to take."""
        latest = np.array([[s, c] for s, c in self._chain.items()], np.int64).reshape(-1, 2)
        free = np.array(self._free, np.int64)
        chains = {"last": self._last.copy(), "session": self._session.copy()}
        return {**chains, "latest": latest, "free": free}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take a ``state``."""
        self._last, self._session = state["last"].copy(), state["session"].copy()
        self._chain = {int(s): int(c) for s, c in state["latest"]}
        self._free = state["free"].tolist()
