"""Retrieval over a business's own items: the cascade's channels, restricted by a mask.

    OwnItems    asks a channel for k / share of the catalogue, and keeps its own
    OwnVectors  the two-tower vectors of its own items in an index of their own: exact

A mask is right for the large business, whose items are most of what any channel finds; a small one
would be left with a handful, so its vectors have an index of their own.

Simplified: industry trains the channels of each business on its own logs.
"""

from typing import Protocol

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.retrieval.merge import Channel
from reclab.cascade.retrieval.two_tower import TwoTowerChannel
from reclab.core.types import Array
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.vector_index import VectorIndex

WIDEST = 5000  # items that a channel is asked for at most, to find those of a small business


class Owned(Protocol):
    """Which rows of the index are the business's."""

    def __call__(self) -> Array: ...


class Own:
    """(n_items,) bool of a business's code, read again when the index has changed."""

    def __init__(self, index: ForwardIndex, code: int) -> None:
        self._index, self._code, self._version = index, code, -1
        self._mine = np.zeros(0, bool)

    def __call__(self) -> Array:
        if self._version != self._index.version:
            self._mine = self._index["business"] == self._code
            self._version = self._index.version
        return self._mine


class OwnItems:
    """A channel that answers with the business's items only."""

    def __init__(self, channel: Channel, own: Owned) -> None:
        self.name, self.channel, self.own = channel.name, channel, own

    def retrieve(self, batch: Batch, k: int) -> tuple[Array, Array]:
        """(B, k) item rows, best first, -1 padded, and scores."""
        mine = self.own()
        asked = min(int(np.ceil(k / max(mine.mean(), 1e-6))), max(WIDEST, k), len(mine))
        rows, score = self.channel.retrieve(batch, max(asked, 1))
        keep = (rows >= 0) & np.append(mine, False)[rows]
        order = np.argsort(~keep, axis=1, kind="stable")[:, :k]
        rows = np.where(np.take_along_axis(keep, order, 1), np.take_along_axis(rows, order, 1), -1)
        return rows, np.take_along_axis(score, order, 1)


class OwnVectors:
    """The two-tower channel over the business's items alone."""

    name = "two_tower"

    def __init__(self, channel: TwoTowerChannel, own: Owned) -> None:
        self.channel, self.own = channel, own
        self._items = -1

    def retrieve(self, batch: Batch, k: int) -> tuple[Array, Array]:
        """(B, k) item rows, best first, -1 padded, and scores."""
        mine = self.own()
        if self._items != len(mine):
            self._index(mine)
        scores, rows = self.vectors.search(self.channel.users(batch), k)
        return rows, scores

    def _index(self, mine: Array) -> None:
        if len(self.channel.vectors) < len(mine):
            self.channel.refresh()
        ids, vectors = self.channel.vectors.held()
        keep = mine[ids]
        self.vectors = VectorIndex(vectors.shape[1])
        self.vectors.add(ids[keep], vectors[keep])
        self._items = len(mine)
