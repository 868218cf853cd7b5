"""Swing (Swing 物品相似度): two items are alike when pairs of users with little else in common
both like them.

    w_ij = sum over pairs u < v who both liked i and j of  g_u g_v / (a + |I_u ∩ I_v|)
    g_u = 1, or 1 / sqrt |I_u|

I_u are the items that u likes. Two users who share hundreds of items say little about any two of
them; two strangers who agree on just these two say much. So a crowd that takes the same things,
which co-visitation counts in full, weighs little. For one item with users U, S = their items as a
0/1 matrix, P = the fractions above without a diagonal: its row of w is the column sums of
S * (P S) / 2.

Reference: Yang et al. 2020, "Large Scale Product Graph Construction for Recommendation in
E-commerce" (Swing).
Simplified: industry counts on a cluster with sampled users, daily, and adds categories and time.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import scipy.sparse as sp

from reclab.cascade.batch import Batch
from reclab.cascade.retrieval.events import positives
from reclab.cascade.retrieval.neighbours import answer
from reclab.core.chance import rng
from reclab.core.errors import NotBuilt, check, check_float, check_int
from reclab.core.tables import Logs
from reclab.core.types import Array
from reclab.stores.forward_index import ForwardIndex


@dataclass(frozen=True)
class SwingConfig:
    """How strict the similarity is, and how much is counted."""

    neighbours: int = 50
    """N, neighbours kept for each item (20-500)"""
    length: int = 50
    """L, latest positives that speak for the user (1-50)"""
    position_decay: float = 0.95
    """d, weight of each older positive against the next newer one (0.5-1)"""
    alpha: float = 1.0
    """a: the smaller, the more a pair with little in common counts against others (0.1-50)"""
    weigh_users: bool = True
    """g_u = 1 / sqrt |I_u|: users who like everything say less; False, g_u = 1"""
    users_per_item: int = 100
    """users of an item whose pairs are counted, drawn at random beyond it (50-1000)"""
    items_per_user: int = 100
    """items of a user that are counted, drawn at random beyond it (50-500)"""
    seed: int = 0
    """of both draws"""

    def __post_init__(self) -> None:
        check_int("SwingConfig.neighbours", self.neighbours, 1, 5000, "100")
        check_int("SwingConfig.length", self.length, 1, 1000, "20")
        check_float("SwingConfig.position_decay", self.position_decay, 0.0, 1.0, "0.95")
        check_float("SwingConfig.alpha", self.alpha, 1e-3, 1e6, "1")
        check_int("SwingConfig.users_per_item", self.users_per_item, 2, 10_000, "100")
        check_int("SwingConfig.items_per_user", self.items_per_user, 2, 10_000, "100")
        yes_or_no = isinstance(self.weigh_users, bool)
        check(yes_or_no, "SwingConfig.weigh_users", self.weigh_users, "be True or False", "True")


class SwingChannel:
    """``fit`` once a day, ``retrieve`` for a batch. Pairs of users make no cheap update: what is
    new reaches the answers through the user's history."""

    name = "swing"

    def __init__(self, config: SwingConfig | None = None) -> None:
        self.config = config or SwingConfig()
        self._ids: Array | None = None

    def fit(self, logs: Logs, index: ForwardIndex, until_ms: int) -> Self:
        """Count the positives strictly before ``until_ms``, each user and item once."""
        c, n = self.config, len(index)
        past = logs.interactions
        liked = positives(past.take(past["time_ms"] < until_ms), index)
        user = np.unique(liked.group, return_inverse=True)[1]
        pairs = np.unique(user.astype(np.int64) * max(1, n) + liked.item_row)
        user, item = pairs // max(1, n), pairs % max(1, n)
        kept = at_most(user, c.items_per_user, rng(c.seed, "swing items"))
        user, item = user[kept], item[kept]
        shape = int(user.max(initial=-1)) + 1, n
        sets = sp.csr_matrix((np.ones(len(user), np.float32), (user, item)), shape)
        kept = at_most(item, c.users_per_item, rng(c.seed, "swing users"))
        users = sp.csr_matrix((np.ones(len(kept), bool), (item[kept], user[kept])), shape[::-1])
        self._ids = np.full((n, c.neighbours), -1, np.int32)
        self._weights = np.zeros((n, c.neighbours), np.float32)
        for row in np.flatnonzero(np.diff(users.indptr) > 1):
            self._keep_best(
                row, *self._row(sets, users.indices[slice(*users.indptr[row : row + 2])])
            )
        return self

    def _row(self, sets: sp.csr_matrix, users: Array) -> tuple[Array, Array]:
        """Items (m,) that at least two of ``users`` like, and their w (m,)."""
        mine = sets[users]
        pair = 1.0 / (self.config.alpha + (mine @ mine.T).toarray())
        if self.config.weigh_users:
            g = 1.0 / np.sqrt(np.diff(mine.indptr))
            pair *= g[:, None] * g
        np.fill_diagonal(pair, 0.0)
        by_item = mine.T.tocsr()
        shared = np.flatnonzero(np.diff(by_item.indptr) > 1)
        by_item = by_item[shared]
        reached = by_item @ pair.astype(np.float32)  # (m, users): sum over v who like j of P_uv
        place = np.repeat(np.arange(len(shared)), np.diff(by_item.indptr))
        total = np.bincount(place, reached[place, by_item.indices], len(shared))
        return shared, total / 2

    def _keep_best(self, row: int, items: Array, weight: Array) -> None:
        items, weight = items[items != row], weight[items != row]
        best = np.argsort(-weight, kind="stable")[: self.config.neighbours]
        self._ids[row, : len(best)], self._weights[row, : len(best)] = items[best], weight[best]

    def neighbours(self, item_row: Array) -> tuple[Array, Array]:
        """(n,) item rows -> (n, N) neighbours best first, -1 padded, and (n, N) weights."""
        return self._ids[item_row], self._weights[item_row]

    def retrieve(self, batch: Batch, k: int) -> tuple[Array, Array]:
        """The ``k`` best by summed weights, see ``neighbours.answer``."""
        if self._ids is None:
            raise NotBuilt("SwingChannel.retrieve: call fit(logs, index, until_ms) first")
        c = self.config
        return answer(batch.history, k, self._ids, self._weights, c.length, c.position_decay)

    def save(self, folder: Path) -> None:
        """Write ``swing.npz``."""
        if self._ids is None:
            raise NotBuilt("SwingChannel.save: call fit(logs, index, until_ms) first")
        folder.mkdir(parents=True, exist_ok=True)
        config = json.dumps(asdict(self.config))
        np.savez(folder / "swing.npz", config=config, ids=self._ids, weights=self._weights)

    @classmethod
    def load(cls, folder: Path, index: ForwardIndex | None = None) -> Self:
        """Read what ``save`` wrote; the table needs no index."""
        with np.load(folder / "swing.npz", allow_pickle=False) as held:
            channel = cls(SwingConfig(**json.loads(str(held["config"]))))
            channel._ids, channel._weights = held["ids"], held["weights"]
        return channel


def at_most(group: Array, n: int, chance: np.random.Generator) -> Array:
    """Positions, ascending, of at most ``n`` members of each group (any int64), drawn evenly.

    >>> at_most(np.array([4, 4, 4, 9]), 2, np.random.default_rng(0)).tolist()[-1]
    3
    """
    order = np.lexsort([chance.random(len(group)), group])
    ordered = group[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(group)])
    place = np.arange(len(group)) - np.repeat(first, np.diff(np.append(first, len(group))))
    return np.sort(order[place < n])
