"""Block list (用户黑名单): what a user does not want to see is not shown to that user.

    keep = creator(item) not in blocked creators(user)  and  tags(item) ∩ blocked tags(user) = {}

A block holds from the next request on, and until it is undone.
Simplified: industry keeps block lists in a key-value store, lets them fade after months, and
shows less, too, of what resembles the blocked.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.filters.reasons import drop_because, keep_all
from reclab.core.errors import DataError
from reclab.core.stage import StageResult
from reclab.core.types import Array, Candidates
from reclab.stores.forward_index import ForwardIndex

REASONS = ("blocked creator", "blocked tag")


class BlockList:
    """The creators and tags that each user has blocked.

    >>> blocks = BlockList()
    >>> blocks.block(7, creator=12)
    >>> blocks.block(7, tag=3)
    >>> blocks.unblock(7, creator=12)
    >>> sorted(blocks.creators.get(7, ())), sorted(blocks.tags[7])
    ([], [3])
    """

    def __init__(self) -> None:
        self.creators: dict[int, set[int]] = {}
        self.tags: dict[int, set[int]] = {}

    def block(self, user_id: int, creator: int | None = None, tag: int | None = None) -> None:
        """Show the user nothing of this creator (id), or nothing with this tag (number), or both
        kinds of things. Raises ``DataError`` when neither is named or one is negative."""
        for held, what in self._named(creator, tag):
            held.setdefault(int(user_id), set()).add(what)

    def unblock(self, user_id: int, creator: int | None = None, tag: int | None = None) -> None:
        """Undo; what was not blocked stays as it is."""
        for held, what in self._named(creator, tag):
            mine = held.get(int(user_id), set())
            mine.discard(what)
            if not mine:
                held.pop(int(user_id), None)

    def _named(self, creator: int | None, tag: int | None) -> list[tuple[dict[int, set[int]], int]]:
        pairs = [(self.creators, creator), (self.tags, tag)]
        named = [(held, int(what)) for held, what in pairs if what is not None]
        if not named or any(what < 0 for _, what in named):
            raise DataError(
                f"name a creator or a tag that is >= 0, got creator={creator!r}, tag={tag!r}"
            )
        return named


def is_blocked(
    request_row: Array, values: Array, user_id: list[int], blocked: Mapping[int, set[int]]
) -> Array:
    """(n,) bool: has the user of ``request_row`` (n,) blocked one of ``values`` (n,) or (n, w)?
    ``user_id`` of each request."""
    pairs = [(b, what) for b, user in enumerate(user_id) for what in blocked.get(user, ())]
    if not pairs:
        return np.zeros(len(values), bool)
    owner, what = np.array(pairs, np.int64).T
    distinct, code = np.unique(what, return_inverse=True)
    width = len(distinct) + 1
    mark = np.zeros(len(user_id) * width, bool)  # (requests, width); last: blocked by nobody
    mark[owner * width + code] = True
    values = values.T  # a tag's place first: short rows are slow to reduce
    place = np.minimum(np.searchsorted(distinct, values), width - 2)
    place[distinct.take(place) != values] = width - 1
    place += request_row * width
    hit = mark.take(place)
    return np.asarray(hit if hit.ndim == 1 else hit.any(0))


@dataclass(frozen=True)
class BlockListFilter:
    """Drop what the request's user has blocked; a no-op for what the items do not tell."""

    blocks: BlockList
    index: ForwardIndex
    name: str = "block_list"

    def __call__(self, batch: Batch, candidates: Candidates) -> StageResult:
        user_id = [request.user_id for request in batch.requests]
        held = [("author_id", self.blocks.creators), ("tags", self.blocks.tags)]
        why = np.full(len(candidates), -1, np.int8)
        for reason, (column, blocked) in reversed(list(enumerate(held))):
            if column not in self.index or blocked.keys().isdisjoint(user_id):
                continue
            values = self.index.get(candidates.item_row, [column])[column]
            why[is_blocked(candidates.request_row, values, user_id, blocked)] = reason
        if (why < 0).all():
            return keep_all(candidates, *REASONS)
        return drop_because(candidates, why, REASONS)
