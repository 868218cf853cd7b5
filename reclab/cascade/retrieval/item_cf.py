"""Item-to-item collaborative filtering (协同过滤召回): what is liked together with what you liked.

    w_ij = c_ij / (n_i^a n_j^b)             a = b = 1/2: cosine;  a = 1, b = 0: P(j after i)
    score(u, j) = sum over the last L positives h_0, h_1, ... (newest first) of  d^l w_{h_l, j}

c_ij are recency-weighted co-visitation counts (``co_visitation``), n_i decayed popularity. The N
heaviest neighbours of each item lie in two (n_items, N) arrays, so an answer is one gather, one
sort, one sum. An update adds the new pairs and rewrites the neighbours of the items in them.

Reference: Linden, Smith and York 2003; Deshpande and Karypis 2004; Sarwar et al. 2001.
Simplified: after an update, n_j moves on for the items in it only (the rest follow at the next
fit); industry shards the table by item and learns the weights.
"""

import copy
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import scipy.sparse as sp

from reclab.cascade.batch import Batch
from reclab.cascade.retrieval.co_visitation import pair_counts, top_neighbours, trim
from reclab.cascade.retrieval.events import Events, Rows, halvings, positives
from reclab.cascade.retrieval.neighbours import answer
from reclab.core.errors import NotBuilt, check, check_float, check_int
from reclab.core.tables import Logs, Table
from reclab.core.types import Array
from reclab.stores.arrays import Arrays, owned, save_arrays
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.row_lookup import RowLookup


@dataclass(frozen=True)
class ItemCFConfig:
    """What counts as "together", and how much an old click still says."""

    neighbours: int = 50
    """N, neighbours kept for each item (20-500)"""
    length: int = 50
    """L, latest positives that speak for the user (1-50)"""
    position_decay: float = 0.95
    """d, weight of each older positive against the next newer one (0.5-1)"""
    group: str = "user_id"
    """column whose rows belong together: user_id or session_id"""
    window: int = 10
    """how many positives apart a pair may be (3-40)"""
    gap_hours: float = 24.0 * 7
    """half-life of a pair in the time between its two positives (news: 0.5, short video: 24-200)"""
    fresh_hours: float = 24.0 * 14
    """half-life of a pair in its age (news: 0.5, short video: 48-400, films: inf)"""
    backward: float = 1.0
    """weight of "j before i" against "j after i" (0-1)"""
    norm_from: float = 0.5
    """a, exponent of the popularity of the item clicked"""
    norm_to: float = 0.5
    """b, exponent of the popularity of the neighbour: 0 trusts popularity, 1 distrusts it"""
    max_pairs: int = 20_000_000
    """counts held in memory, 8 bytes each; the smallest are forgotten beyond it"""

    def __post_init__(self) -> None:
        check_int("ItemCFConfig.neighbours", self.neighbours, 1, 5000, "100")
        check_int("ItemCFConfig.length", self.length, 1, 1000, "20")
        check_int("ItemCFConfig.window", self.window, 1, 1000, "10")
        check_int("ItemCFConfig.max_pairs", self.max_pairs, 1, 10**9, "20000000")
        known = self.group in ("user_id", "session_id")
        check(known, "ItemCFConfig.group", self.group, "be user_id or session_id", "user_id")
        for name, typical in (("gap_hours", "0.5-24"), ("fresh_hours", "0.5-200")):
            check_float(f"ItemCFConfig.{name}", getattr(self, name), 0.01, float("inf"), typical)
        for name in ("position_decay", "backward", "norm_from", "norm_to"):
            check_float(f"ItemCFConfig.{name}", getattr(self, name), 0.0, 1.0, "0.5")


class ItemCFChannel:
    """``fit`` once, ``update`` every few minutes, ``retrieve`` for a batch."""

    name = "item_cf"

    def __init__(self, config: ItemCFConfig | None = None) -> None:
        self.config = config or ItemCFConfig()
        self._rows: Rows | None = None

    def fit(self, logs: Logs, index: ForwardIndex, until_ms: int) -> Self:
        """Count pairs of positives strictly before ``until_ms`` and keep the best neighbours."""
        n = len(index)
        self._rows = index
        self._as_of_ms = int(until_ms)
        self._counts = sp.csr_matrix((n, n), dtype=np.float32)
        self._popularity = np.zeros(n)
        self._recent = Events(*(np.zeros(0, np.int64) for _ in range(3)))
        self._neighbours = np.full((n, self.config.neighbours), -1, np.int32)
        self._weights = np.zeros((n, self.config.neighbours), np.float32)
        past = logs.interactions
        self._fold(past.take(past["time_ms"] < until_ms), everything=True)
        return self

    def update(self, events: Table) -> Self:
        """Fold in new interactions: their pairs with each other and the group's latest ones."""
        if self._rows is None:
            raise NotBuilt("ItemCFChannel.update: call fit(logs, index, until_ms) first")
        self._fold(events, everything=False)
        return self

    def _fold(self, table: Table, everything: bool) -> None:
        c = self.config
        assert self._rows is not None
        new = positives(table, self._rows, c.group)
        if not len(new.item_row):
            return
        now = max(self._as_of_ms, int(new.time_ms.max()))
        self._grow(int(new.item_row.max()) + 1)
        self._age(now)
        n = len(self._popularity)
        weight = halvings(now - new.time_ms, c.fresh_hours)
        self._popularity = self._popularity + np.bincount(new.item_row, weight, minlength=n)
        joined, is_new = self._with_recent(new)
        added = pair_counts(
            joined, n, now, c.window, c.gap_hours, c.fresh_hours, c.backward, c.max_pairs, is_new
        )
        self._counts = trim(self._counts + added if self._counts.nnz else added, c.max_pairs)
        self._keep_recent(joined, now)
        touched = np.ones(n, bool) if everything else np.diff(added.indptr) > 0
        touched[new.item_row] = True
        self._rewrite(np.flatnonzero(touched))

    def _grow(self, n: int) -> None:
        """Make room for items that joined the forward index after ``fit``."""
        more = n - len(self._popularity)
        if more > 0:
            self._popularity = np.pad(self._popularity, (0, more))
            self._neighbours = np.pad(self._neighbours, ((0, more), (0, 0)), constant_values=-1)
            self._weights = np.pad(self._weights, ((0, more), (0, 0)))
            self._counts.resize((n, n))

    def _age(self, now_ms: int) -> None:
        """Move all counts on to ``now_ms``; weights move by what the norms leave of the factor."""
        c = self.config
        factor = float(halvings(now_ms - self._as_of_ms, c.fresh_hours))
        self._as_of_ms = now_ms
        if factor < 1.0:
            self._popularity = self._popularity * factor
            self._counts.data = self._counts.data * np.float32(factor)
            left = 1.0 - c.norm_from - c.norm_to  # cosine: nothing is left, weights stay
            if left:
                self._weights = self._weights * np.float32(factor**left)

    def _with_recent(self, new: Events) -> tuple[Events, Array]:
        """New events and the remembered ones of their groups, by group and time; which are new."""
        old = self._recent
        old = old.take(np.isin(old.group, new.group))
        both = Events(*(np.concatenate(pair) for pair in zip(old, new, strict=True)))
        order = np.lexsort((both.time_ms, both.group))
        return both.take(order), order >= len(old.group)

    def _keep_recent(self, joined: Events, now_ms: int) -> None:
        """Remember each group's last ``window`` positives while they can still make pairs."""
        c = self.config
        last = np.ones(len(joined.group), bool)  # the c.window last rows of each group
        last[: -c.window] = joined.group[c.window :] != joined.group[: -c.window]
        last &= joined.time_ms > now_ms - 10 * 3_600_000 * c.gap_hours
        old = self._recent
        old = old.take(~np.isin(old.group, joined.group))
        old = old.take(old.time_ms > now_ms - 10 * 3_600_000 * c.gap_hours)
        latest = joined.take(last)
        self._recent = Events(*(np.concatenate(pair) for pair in zip(old, latest, strict=True)))

    def _rewrite(self, rows: Array) -> None:
        """Choose the neighbours of ``rows`` anew."""
        c = self.config
        size = np.maximum(self._popularity, 1e-30)
        divide_by = size**c.norm_to
        ids, weights = top_neighbours(self._counts, rows, divide_by, c.neighbours)
        weights /= (size[rows] ** c.norm_from)[:, None].astype(np.float32)
        self._neighbours, self._weights = owned(self._neighbours), owned(self._weights)
        self._neighbours[rows], self._weights[rows] = ids, weights

    def neighbours(self, item_row: Array) -> tuple[Array, Array]:
        """(…) item rows -> (…, N) neighbours best first, -1 padded, and (…, N) weights. An item
        that has joined the index since has none yet."""
        late = item_row >= len(self._neighbours)
        ids, weights = (part[np.where(late, 0, item_row)] for part in self._table)
        if late.any():
            ids[late], weights[late] = -1, 0.0
        return ids, weights

    @property
    def _table(self) -> tuple[Array, Array]:
        return self._neighbours, self._weights

    def with_neighbours(self, item_row: Array, ids: Array, weights: Array) -> Self:
        """A copy that knows only these neighbours: of items (m,), rows (m, N') best first and -1
        padded, with their weights. Later updates work on the copy's own counts."""
        mine = copy.copy(self)
        shape = (len(self._neighbours), ids.shape[1])
        mine._neighbours = np.full(shape, -1, np.int32)
        mine._weights = np.zeros(shape, np.float32)
        mine._neighbours[item_row], mine._weights[item_row] = ids, np.where(ids >= 0, weights, 0)
        return mine

    def retrieve(self, batch: Batch, k: int) -> tuple[Array, Array]:
        """The ``k`` best by summed weights, without the items of the history itself.

        Returns (B, k) item rows, best first, padded with -1 (a whole row of -1 for a user without
        history), and (B, k) float32 scores.
        """
        if self._rows is None:
            raise NotBuilt("ItemCFChannel.retrieve: call fit(logs, index, until_ms) first")
        c = self.config
        return answer(batch.history, k, *self._table, c.length, c.position_decay)

    def save(self, folder: Path) -> None:
        """Write ``item_cf`` into the folder."""
        if self._rows is None:
            raise NotBuilt("ItemCFChannel.save: call fit(logs, index, until_ms) first")
        held = {
            "config": np.array(json.dumps(asdict(self.config))),
            "ids": self._rows.ids,
            "as_of_ms": np.array(self._as_of_ms),
            "popularity": self._popularity,
            "neighbours": self._neighbours,
            "weights": self._weights,
            "data": self._counts.data,
            "indices": self._counts.indices,
            "indptr": self._counts.indptr,
        }
        held |= {f"recent_{name}": values for name, values in self._recent._asdict().items()}
        save_arrays(folder / "item_cf", held)

    @classmethod
    def load(cls, folder: Path, index: ForwardIndex | None = None) -> Self:
        """Read what ``save`` wrote. With ``index``, later updates know its later items too."""
        held = Arrays(folder / "item_cf")
        channel = cls(ItemCFConfig(**json.loads(str(held["config"]))))
        channel._rows = RowLookup(held["ids"]) if index is None else index
        channel._as_of_ms = int(held["as_of_ms"])
        channel._popularity = held["popularity"]
        channel._neighbours, channel._weights = held["neighbours"], held["weights"]
        n = len(channel._popularity)
        channel._counts = sp.csr_matrix((held["data"], held["indices"], held["indptr"]), (n, n))
        channel._recent = Events(*(held[f"recent_{name}"] for name in Events._fields))
        return channel
