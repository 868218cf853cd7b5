"""Vocabulary: the codes by which fields of users and items enter an embedding table.

    code(f, v) = offset_f + place of v among the values of field f seen in training, 0 = unknown

A value unseen in training has code 0, whose vector is zero: an unknown user or a new item is then
described by its other fields alone. Fields that a log does not have are left out.
Simplified: industry hashes values instead, so that the table never has to be told of new ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from reclab.core.types import Array
from reclab.stores.forward_index import ForwardIndex

AGE_EDGES = np.array([17.5, 24.5, 34.5, 44.5, 49.5, 55.5])
"""years between which ages are one group"""
DURATION_EDGES = np.array([4, 6, 8, 11, 14, 18, 22, 26, 32, 40, 55, 75, 110, 180, 300, 600.0])
"""seconds; finer around the 18 s at which a view becomes long"""
USER_FIELDS = ("age", "gender", "region", "os", "phone_model", "occupation")
ITEM_FIELDS = ("author_id", "business", "duration_sec", "year")
BINNED = {"age": AGE_EDGES, "duration_sec": DURATION_EDGES}


def tag_scale(width: int) -> Array:
    """(width,) weight of an item's tags by place: 1, 1/2, 1/3 …"""
    return 1.0 / np.arange(1, width + 1, dtype=np.float32)


@dataclass(frozen=True)
class Vocabulary:
    """Sorted known values of every field, and how many tags an item or a user may carry."""

    users: dict[str, Array]
    items: dict[str, Array]
    n_tags: int
    user_tags: int
    item_tags: int

    @classmethod
    def learn(
        cls, users: ForwardIndex, index: ForwardIndex, user_rows: Array, item_rows: Array
    ) -> Self:
        """Known values: ids from the rows seen in training, the rest from the tables."""
        fields = {"user": _present(user_rows)}
        fields |= {n: _values(n, users[n]) for n in USER_FIELDS if n in users}
        item_fields = {"item": _present(item_rows)}
        for name in ITEM_FIELDS:
            if name in index:
                item_fields[name] = _values(name, index[name])
        tags = index["tags"] if "tags" in index else np.zeros((0, 0), np.int16)
        own = users["interest_tags"] if "interest_tags" in users else np.zeros((0, 0), np.int16)
        n_tags = int(max(tags.max(initial=-1), own.max(initial=-1))) + 1
        return cls(fields, item_fields, n_tags, own.shape[1], tags.shape[1])

    def arrays(self) -> dict[str, Array]:
        """What ``from_arrays`` needs."""
        held = {"tag_sizes": np.array([self.n_tags, self.user_tags, self.item_tags])}
        for side, known in (("users", self.users), ("items", self.items)):
            held[f"{side}.fields"] = np.array(list(known), np.str_)  # their order gives the codes
            held |= {f"{side}.{name}": values for name, values in known.items()}
        return held

    @classmethod
    def from_arrays(cls, held: Mapping[str, Array]) -> Self:
        """The vocabulary that ``arrays`` described."""
        users, items = (
            {str(name): held[f"{side}.{name}"] for name in held[f"{side}.fields"]}
            for side in ("users", "items")
        )
        return cls(users, items, *held["tag_sizes"].tolist())

    @property
    def n_user_codes(self) -> int:
        """Rows of the user table: code 0, users, profile values, tags, 24 hours, 4 networks."""
        return 1 + sum(map(len, self.users.values())) + self.n_tags + 24 + 4

    @property
    def n_item_codes(self) -> int:
        """Rows of the item table: code 0, items, authors and other values, tags."""
        return 1 + sum(map(len, self.items.values())) + self.n_tags

    @property
    def item_scale(self) -> Array:
        """(Fi,) starting weight of each item field: 1, and less for the later tags."""
        return np.concatenate([np.ones(len(self.items), np.float32), tag_scale(self.item_tags)])

    @property
    def n_user_fields(self) -> int:
        """Fields of a request's user: the user's own, the tags, hour and network."""
        return len(self.users) + self.user_tags + 2

    def user_codes(self, users: ForwardIndex) -> Array:
        """(n_users + 1, Fu - 2) codes; the last row, for an unknown user, is all 0."""
        columns = [_encode("user", self.users["user"], np.arange(len(users)), 1)]
        offset = 1 + len(self.users["user"])
        for name, values in list(self.users.items())[1:]:
            columns.append(_encode(name, values, users[name], offset))
            offset += len(values)
        if self.user_tags:
            tags = users["interest_tags"].astype(np.int64)
            columns.extend(np.where(tags >= 0, tags + offset, 0).T)
        return _stack(columns)

    def context_codes(self, time_ms: Array, network: Array) -> Array:
        """(B, 2) codes of hour and network; these are known for every request."""
        offset = self.n_user_codes - 28
        hour = offset + time_ms // 3_600_000 % 24
        return np.stack([hour, offset + 24 + np.clip(network.astype(np.int64), 0, 3)], 1).astype(
            np.int64
        )

    def item_codes(self, index: ForwardIndex, rows: Array) -> Array:
        """(len(rows) + 1, Fi) codes of items; the last row, for no item, is all 0."""
        columns = [_encode("item", self.items["item"], rows, 1)]
        offset = 1 + len(self.items["item"])
        for name, values in list(self.items.items())[1:]:
            columns.append(_encode(name, values, index[name][rows], offset))
            offset += len(values)
        if self.item_tags:
            tags = index["tags"][rows].astype(np.int64)
            columns.extend(np.where(tags >= 0, tags + offset, 0).T)
        return _stack(columns)


def _binned(name: str, column: Array) -> Array:
    return np.digitize(column, BINNED[name]) if name in BINNED else column.astype(np.int64)


def _values(name: str, column: Array) -> Array:
    return np.unique(_binned(name, column))


def _present(rows: Array) -> Array:
    return np.flatnonzero(np.bincount(rows)) if len(rows) else np.zeros(0, np.int64)


def _encode(name: str, values: Array, column: Array, offset: int) -> Array:
    """(n,) codes; 0 where the value was not seen."""
    column = _binned(name, column)
    if not len(values):
        return np.zeros(len(column), np.int64)
    place = np.minimum(np.searchsorted(values, column), len(values) - 1)
    return np.where(values[place] == column, place + offset, 0)


def _stack(columns: list[Array]) -> Array:
    codes = np.stack(columns, 1).astype(np.int64)
    return np.concatenate([codes, np.zeros((1, codes.shape[1]), np.int64)])
