"""Popular retrieval (热门召回): what most people liked lately, the same for everybody or a group.

    popularity_i(now) = sum over positives of i of 2^(-(now - t) / half_life)
    score_gi = (popularity_gi + a p_i) / (sum_j popularity_gj + a),   p_i = the share of i in all

popularity_g counts the positives of a group g of users, by region, age or gender, as wanted; a
small group's list is drawn to everybody's by a, as if it had taken a positives from there.

The sums are kept as of their newest event: moving them on in time multiplies every item alike and
leaves the order alone, so one refresh costs one multiplication and one addition an event.

Reference: exponential smoothing, Brown 1959; the popularity baselines of Ji et al. 2020 ("A
Re-visit of the Popularity Baseline in Recommender Systems").
Simplified: industry cuts groups as fine as the traffic bears, and corrects for position.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import scipy.sparse as sp

from reclab.cascade.batch import Batch
from reclab.cascade.retrieval.events import Events, Rows, halvings, positives
from reclab.core.errors import NotBuilt, check, check_float
from reclab.core.tables import Logs, Table
from reclab.core.types import Array
from reclab.stores.arrays import Arrays, save_arrays
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.row_lookup import RowLookup

GROUPS = ("region", "age", "gender")
AGE_BANDS = (18, 25, 35, 50)  # years at which the next band begins


@dataclass(frozen=True)
class PopularConfig:
    """How fast popularity fades."""

    half_life_hours: float = 72.0
    """hours after which a positive counts half (news: 0.5, short video: 12-72, films: inf)"""

    by: tuple[str, ...] = ()
    """columns of the users' table whose values part the users: region, age (in bands), gender"""
    shrink: float = 200.0
    """a, positives that everybody's list weighs in a group's (20-2000)"""

    def __post_init__(self) -> None:
        check_float("PopularConfig.shrink", self.shrink, 1e-3, 1e9, "200")
        known = set(self.by) <= set(GROUPS)
        check(known, "PopularConfig.by", self.by, f"name some of {', '.join(GROUPS)}", "('age',)")
        check_float(
            "PopularConfig.half_life_hours", self.half_life_hours, 0.01, float("inf"), "0.5-72"
        )


class PopularChannel:
    """``fit`` once, ``update`` every few minutes, ``retrieve`` for a batch."""

    name = "popular"

    def __init__(self, config: PopularConfig | None = None) -> None:
        self.config = config or PopularConfig()
        self._rows: Rows | None = None

    def fit(self, logs: Logs, index: ForwardIndex, until_ms: int) -> Self:
        """Count the positives strictly before ``until_ms``."""
        self._rows = index
        self._as_of_ms, self._popularity = int(until_ms), np.zeros(len(index))
        self._users, self._group = groups_of(logs.users, self.config.by)
        n_groups = int(self._group.max(initial=-1)) + 1
        self._of_group = sp.csr_matrix((n_groups, len(index)))
        self._publish = np.zeros(0, np.int64)
        if "publish_ms" in logs.items:
            self._publish = logs.items["publish_ms"].astype(np.int64)
        past = logs.interactions
        return self.update(past.take(past["time_ms"] < until_ms))

    def update(self, events: Table) -> Self:
        """Fold in new interactions (those that are positive, of known items)."""
        if self._rows is None:
            raise NotBuilt("PopularChannel.update: call fit(logs, index, until_ms) first")
        new = positives(events, self._rows)
        if len(new.item_row):
            now = max(self._as_of_ms, int(new.time_ms.max()))
            weight = halvings(now - new.time_ms, self.config.half_life_hours)
            size = max(len(self._popularity), int(new.item_row.max()) + 1)
            grown = np.bincount(new.item_row, weight, minlength=size)
            faded = halvings(now - self._as_of_ms, self.config.half_life_hours)
            grown[: len(self._popularity)] += self._popularity * faded
            self._as_of_ms, self._popularity = now, grown
            self._count_groups(new, weight, float(faded))
        self._lists: dict[int, tuple[Array, Array]] = {}
        return self

    def _count_groups(self, new: Events, weight: Array, faded: float) -> None:
        """The same sums for each group."""
        n_groups, size = self._of_group.shape[0], len(self._popularity)
        group = self._group[self._user_rows(new.group)]
        known = group >= 0
        held = self._of_group * faded
        held.resize(n_groups, size)
        parts = weight[known], (group[known], new.item_row[known])
        self._of_group = sp.csr_matrix(held + sp.csr_matrix(parts, (n_groups, size)))

    def _user_rows(self, user_ids: Array) -> Array:
        """Positions of user ids, -1 = unknown."""
        if not len(self._users):
            return np.full(len(user_ids), -1)
        at = np.searchsorted(self._users, user_ids).clip(max=len(self._users) - 1)
        return np.where(self._users[at] == user_ids, at, -1)

    def _list(self, group: int) -> tuple[Array, Array]:
        """Item rows of a group (-1: everybody), best first, and all items' scores, made when first
        asked for."""
        found = self._lists.get(group)
        if found is None:
            share = self._popularity / max(1e-30, float(self._popularity.sum()))
            if group >= 0:
                a, mine = self.config.shrink, self._of_group[[group]].toarray()[0]
                share = (mine + a * share) / (mine.sum() + a)
            order = np.flatnonzero(share > 0)
            order = order[np.argsort(-share[order], kind="stable")]
            found = self._lists[group] = order, share.astype(np.float32)
        return found

    @property
    def popularity(self) -> Array:
        """(n_items,) decayed counts, as of the newest event."""
        return self._popularity

    def retrieve(self, batch: Batch, k: int) -> tuple[Array, Array]:
        """The ``k`` most popular items already published at each request's time.

        Returns (B, k) item rows, best first, padded with -1, and (B, k) float32 scores: their share
        of all popularity, which means the same at any hour.
        """
        if self._rows is None:
            raise NotBuilt("PopularChannel.retrieve: call fit(logs, index, until_ms) first")
        n = len(batch.time_ms)
        item_row, score = np.full((n, k), -1, np.int64), np.zeros((n, k), np.float32)
        known = (batch.user_row >= 0) & (batch.user_row < len(self._users))
        group = self._group[np.where(known, batch.user_row, -1)]
        for g in np.unique(group):
            mine = np.flatnonzero(group == g)
            order, share = self._list(int(g))
            item_row[mine] = found = self._first(order, batch.time_ms[mine], k)
            score[mine] = np.where(found >= 0, np.append(share, 0)[found], 0)
        return item_row, score

    def _first(self, order: Array, time_ms: Array, k: int) -> Array:
        """(B, k) the first of ``order`` that are published by each time, -1 padded."""
        top = order[: k + 64]  # 64 spare ones stand in for what is not yet published
        place = self._published(top, time_ms)
        if place is not None and (place.sum(1) < min(k, len(order))).any():
            top = order
            place = self._published(top, time_ms)
        item_row = np.full((len(time_ms), k), -1, np.int64)
        if place is None:
            item_row[:, : len(top[:k])] = top[:k]
        else:
            nth = place.cumsum(1)  # the how manieth published one
            request, at = np.nonzero(place & (nth <= k))
            item_row[request, nth[request, at] - 1] = top[at]
        return item_row

    def _published(self, rows: Array, time_ms: Array) -> Array | None:
        """(B, m) which of ``rows`` are out by then; None when all of them are."""
        known = rows < len(self._publish)
        if not known.any():
            return None
        publish = np.where(known, self._publish[np.where(known, rows, 0)], 0)
        if not len(time_ms) or publish.max() <= time_ms.min():
            return None
        return np.asarray(publish[None, :] <= time_ms[:, None])

    def save(self, folder: Path) -> None:
        """Write ``popular`` into the folder."""
        if self._rows is None:
            raise NotBuilt("PopularChannel.save: call fit(logs, index, until_ms) first")
        held = {
            "config": np.array(json.dumps(asdict(self.config))),
            "ids": self._rows.ids,
            "popularity": self._popularity,
            "publish": self._publish,
            "as_of_ms": np.array(self._as_of_ms),
            "users": self._users,
            "group": self._group,
        }
        held |= {n: getattr(self._of_group, n) for n in ("data", "indices", "indptr")}
        save_arrays(folder / "popular", held)

    @classmethod
    def load(cls, folder: Path, index: ForwardIndex | None = None) -> Self:
        """Read what ``save`` wrote. With ``index``, later updates know its later items too."""
        held = Arrays(folder / "popular")
        config = json.loads(str(held["config"]))
        channel = cls(PopularConfig(**config | {"by": tuple(config["by"])}))
        channel._rows = RowLookup(held["ids"]) if index is None else index
        channel._popularity, channel._publish = held["popularity"], held["publish"]
        channel._as_of_ms = int(held["as_of_ms"])
        channel._users, channel._group = held["users"], held["group"]
        parts = held["data"], held["indices"], held["indptr"]
        shape = len(parts[2]) - 1, len(channel._popularity)
        channel._of_group = sp.csr_matrix(parts, shape)
        return channel.update(Table())


def groups_of(users: Table, by: tuple[str, ...]) -> tuple[Array, Array]:
    """(n,) user ids, ascending, and (n + 1,) their groups by their last snapshot; -1 where no
    column parts them, and in the last place, for unknown users.

    >>> users = Table({"user_id": np.array([7, 5, 9]), "age": np.array([20, 60, 24])})
    >>> groups_of(users, ("age",))[1].tolist()
    [1, 0, 0, -1]
    """
    ids, last = np.unique(users["user_id"][::-1], return_index=True)
    at = len(users) - 1 - last
    columns = [
        np.digitize(users[name][at], AGE_BANDS) if name == "age" else users[name][at]
        for name in by
        if name in users
    ]
    if not columns or not len(ids):
        return ids, np.full(len(ids) + 1, -1)
    return ids, np.append(
        np.unique(np.stack(columns, 1), axis=0, return_inverse=True)[1].ravel(), -1
    )
