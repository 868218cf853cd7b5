"""Entry layout: the bytes of a request and its cards, in the feature log and in the samples.

    entry = head | n cards | user, request, history of the request | n x pair

Everything is little-endian and found by its place, so that thousands of entries are read by a few
NumPy calls, ids without the numbers. Numbers stay float32 as the model saw them; codes and rows
are held in 32 bits and come back as int64.

Simplified: a layout has a number; industry has a schema registry, and compresses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from reclab.core.errors import DataError
from reclab.core.types import Array

if TYPE_CHECKING:
    from reclab.cascade.ranking.features import Features

WIDTHS = ("user", "request", "history", "pair")
SIZES = [("magic", "<u2"), ("n", "<u2"), *((name, "<u2") for name in WIDTHS)]
MOST_CARDS = 4_096


@dataclass(frozen=True)
class Layout:
    """``magic`` opens every entry of this kind, called ``what`` in messages; ``head`` begins with
    the fields of ``SIZES``, ``card`` has an ``item_row``."""

    what: str
    magic: int
    head: np.dtype[Any]
    card: np.dtype[Any]

    def heads(self, values: Sequence[bytes]) -> tuple[Array, dict[int, str]]:
        """(B,) ``head`` records, and number -> fault of those that are none (with n = 0)."""
        size = self.head.itemsize
        flat = b"".join([value[:size].ljust(size, b"\0") for value in values])
        found = np.frombuffer(flat, self.head).copy()
        length = np.fromiter(map(len, values), np.int64, len(values))
        start, cards, own, pairs = self.spans(found)
        ours = (found["magic"] == self.magic) & (length >= size)
        good = ours & (found["n"] > 0) & (length == start + cards + own + pairs)
        bad = np.flatnonzero(~good)
        found["n"][bad] = 0
        why = {True: f"a damaged {self.what}", False: f"no {self.what}"}
        return found, {at: why[bool(ours[at])] for at in bad.tolist()}

    def spans(self, head: Array) -> tuple[int, Array, Array, Array]:
        """Bytes of the head, and (B,) of the cards, of what is the request's, of the pairs."""
        n, user, request, history, pair = (head[name].astype(np.int64) for name in ("n", *WIDTHS))
        own = 4 * (user + request + history)
        return self.head.itemsize, n * self.card.itemsize, own, 4 * n * pair

    def cards(self, values: Sequence[bytes], head: Array) -> Array:
        """(m,) ``card`` records of all entries, in order."""
        start, cards, _, _ = self.spans(head)
        stops = (start + cards).tolist()
        flat = b"".join([value[start:stop] for value, stop in zip(values, stops, strict=True)])
        return np.frombuffer(flat, self.card)

    def features(self, values: Sequence[bytes], head: Array) -> "tuple[Features, Array]":
        """The entries as one batch of B requests, and the ``card`` records of its m candidates.
        Raises ``DataError`` for entries of different widths."""
        # here: a process that moves bytes only is back from a kill before torch would be loaded
        from reclab.cascade.ranking.features import Features

        widths = [head[name] for name in WIDTHS]
        if any((width != width[0]).any() for width in widths if len(width)):
            raise DataError(f"each {self.what} must have the same widths: one feature builder")
        fu, r, h, p = (int(width[0]) if len(width) else 0 for width in widths)
        start, cards, own, _ = self.spans(head)
        a, b = (start + cards).tolist(), (start + cards + own).tolist()
        mine = b"".join([v[i:j] for v, i, j in zip(values, a, b, strict=True)])
        pairs = b"".join([v[j:] for v, j in zip(values, b, strict=True)])
        block = np.frombuffer(mine, "<i4").reshape(len(head), fu + r + h)
        user, history = block[:, :fu].astype(np.int64), block[:, fu + r :].astype(np.int64)
        request = block[:, fu : fu + r].copy().view(np.float32)
        card, owner = self.cards(values, head), np.repeat(np.arange(len(head)), head["n"])
        pair = np.frombuffer(pairs, np.float32).reshape(len(card), p).copy()
        rows = card["item_row"].astype(np.int64)
        return Features(user, request, history, owner, rows, pair), card


def codes(values: Array, what: str) -> Array:
    """As 32 bits. Raises ``DataError`` where they do not fit."""
    found = values.astype("<i4")
    if values.dtype.kind not in "iu" or (found != values).any():
        raise DataError(f"{what}: codes and rows must be whole numbers of 32 bits")
    return found
