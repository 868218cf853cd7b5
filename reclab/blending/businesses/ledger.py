"""The ledger (计费账本): clicks on ads are charged to their advertisers, each of them once.

    click = (user, request, time, item)     known: nothing;  new: written down, then charged its bid

It is written before it is charged: a process that is killed between the two reads its journal when
it starts again, and a report that was heard but not answered may come again. A click of an earlier
day is no charge on today's budget.
Reference: Gray and Reuter, Transaction Processing (1993), ch. 9, write-ahead log.

Simplified: industry also filters clicks by machines, and bills from the event log.
"""

import os
from pathlib import Path
from threading import Lock

import numpy as np

from reclab.blending.businesses.ads import AdBudgets
from reclab.blending.contract import CLICK, Clicks
from reclab.core.clock import DAY_MS
from reclab.core.types import Array
from reclab.stores.forward_index import ForwardIndex

ROW = 8 * len(CLICK)  # bytes of a click in the journal


class ClickLedger:
    """``hear`` reports; ``budgets`` are charged each ad's column ``bid``. ``journal``: a file that
    outlives the process; None = what was heard is forgotten with it."""

    def __init__(
        self, budgets: AdBudgets, index: ForwardIndex, journal: Path | None = None
    ) -> None:
        self.budgets, self.index = budgets, index
        self._known: set[tuple[int, ...]] = set()  # today's
        self._day, self._lock, self._file = -1, Lock(), -1
        if journal is not None:
            self._file = os.open(journal, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            said = journal.read_bytes()
            os.ftruncate(self._file, len(said) - len(said) % ROW)  # a row cut short by the kill
            rows = np.frombuffer(said[: len(said) // ROW * ROW], "<i8").reshape(-1, len(CLICK))
            self._take(rows[np.argsort(rows[:, 2] // DAY_MS, kind="stable")])

    def hear(self, clicks: Clicks) -> int:
        """How many of the clicks are new; they have been charged."""
        with self._lock:
            rows = self._new(clicks.table())
            if len(rows) and self._file >= 0:
                os.write(self._file, rows.astype("<i8").tobytes())
            self._take(rows)
            return len(rows)

    def _new(self, rows: Array) -> Array:
        """(m, 4) those of (n, 4) that were not heard, each once, none of an earlier day."""
        found = {
            key: None
            for key in map(tuple, rows.tolist())
            if key not in self._known and key[2] // DAY_MS >= self._day
        }
        return np.array([*found], np.int64).reshape(-1, len(CLICK))

    def _take(self, rows: Array) -> None:
        """Remember and charge."""
        for day in np.unique(rows[:, 2] // DAY_MS).tolist():
            mine = rows[rows[:, 2] // DAY_MS == day]
            if day > self._day:
                self._day = day
                self._known.clear()
            self._known.update(map(tuple, mine.tolist()))
            item = self.index.rows(mine[:, 3])
            mine, item = mine[item >= 0], item[item >= 0]
            if day >= self.budgets.day and len(item):
                bid = self.index.get(item, ["bid"])["bid"]
                self.budgets.charge(item, bid, int(mine[:, 2].max()))
