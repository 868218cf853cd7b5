"""Positive events as three arrays, the form in which retrieval channels count them.

Simplified: industry reads them from a stream, with duplicates and late arrivals.
"""

from typing import NamedTuple

import numpy as np

from reclab.core.tables import Logs, Table
from reclab.core.types import Array
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.row_lookup import RowLookup


class Events(NamedTuple):
    """``group`` (n,) whose event it is, ``item_row`` (n,), ``time_ms`` (n,)."""

    group: Array
    item_row: Array
    time_ms: Array

    def take(self, rows: Array) -> "Events":
        """Those at ``rows`` (positions or a mask)."""
        return Events(self.group[rows], self.item_row[rows], self.time_ms[rows])


Rows = ForwardIndex | RowLookup  # item ids -> rows; the index also knows items that join it later


def positives(interactions: Table, rows: Rows, group: str = "user_id") -> Events:
    """The positive interactions (click, else like, else all) with an item that is known."""
    if not len(interactions):
        return Events(*(np.zeros(0, np.int64) for _ in range(3)))
    liked = interactions.take(Logs(Table(), Table(), interactions).positive)
    item = rows.rows(liked["video_id"])
    return Events(liked[group], item, liked["time_ms"]).take(item >= 0)


def halvings(elapsed_ms: Array | float, half_life_hours: float) -> Array:
    """2^(-elapsed / half-life): 1 now, 1/2 after one half-life. An infinite half-life never
    decays.

    >>> float(halvings(3_600_000, 1.0)), float(halvings(3_600_000, float("inf")))
    (0.5, 1.0)
    """
    return np.exp2(np.asarray(elapsed_ms, np.float64) / (-3_600_000.0 * half_life_hours))
