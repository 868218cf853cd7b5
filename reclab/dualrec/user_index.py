"""User index (用户向量索引): an item's vector asks for the users nearest to it, in the pool only.

    score(i, u) = V(i) · U(u),   u in the pool;   U, V the two towers of retrieval

The mirror of embedding retrieval: the users lie in the index and the item is the query. The item's
own bias is left out, for it says nothing of which user. Users who fill up are masked, and removed
in portions: until then they are found in vain, and whoever gives out matches refuses them.
References: chapter 2, section 2.5, definition 2.4; Chen et al., WWW 2025 Companion.

Simplified: industry streams user vectors into the index as their sessions go on.
"""

import numpy as np
import torch

from reclab.cascade.ranking.ranker import Inputs
from reclab.cascade.ranking.training import OneThread
from reclab.cascade.retrieval.two_tower import TwoTowerChannel
from reclab.core.errors import DataError
from reclab.core.types import Array
from reclab.stores.user_features import UserFeatures
from reclab.stores.vector_index import VectorIndex, VectorIndexConfig

PART = 16_384  # users whose vectors are computed at a time: bounds the memory
LEAVE = 0.02  # share of the index that must have left before it is told
KIND = {True: "flat", False: "ivf"}  # few users: all are compared; a graph cannot lose nodes


class UserIndex:
    """``vectors`` (n_users, d) float32 of all users; ``open`` puts those of the pool in.

    >>> index = UserIndex(np.eye(3, dtype=np.float32))
    >>> index.open(np.array([0, 2]))
    >>> index.find(np.array([[0.1, 0.9, 0.2]], np.float32), 2)[0].tolist()
    [[2, 0]]
    """

    def __init__(self, vectors: Array, config: VectorIndexConfig | None = None) -> None:
        if vectors.ndim != 2 or not np.isfinite(vectors).all():
            raise DataError(f"user vectors must be finite, (n_users, d), got {vectors.shape}")
        self.vectors = np.ascontiguousarray(vectors, np.float32)
        self.config = config or VectorIndexConfig(masked=0.75)
        self.open(np.zeros(0, np.int64))

    def open(self, user_rows: Array) -> None:
        """Build the index over these users anew."""
        kind = KIND[len(user_rows) < self.config.flat_below]
        self.index = VectorIndex(self.vectors.shape[1], kind, self.config)
        if len(user_rows):
            self.index.add(user_rows, self.vectors[user_rows])
        self._gone: list[Array] = []

    def leave(self, user_rows: Array) -> None:
        """These users are full; they are taken out as soon as enough have gathered."""
        self._gone.append(user_rows)
        if sum(map(len, self._gone)) > LEAVE * len(self.index):
            self.purge()

    def purge(self) -> int:
        """Take out all who have left. Returns how many that were."""
        gone, self._gone = self._gone, []
        return self.index.remove(np.concatenate(gone)) if gone else 0

    def find(self, queries: Array, k: int) -> tuple[Array, Array]:
        """(B, d) item vectors -> (B, k) user rows, best first, -1 padded; (B, k) float32 scores."""
        scores, rows = self.index.search(queries, k)
        return rows, scores


def tower_vectors(towers: TwoTowerChannel, users: UserFeatures, now_ms: int) -> tuple[Array, Array]:
    """(n_users, d) vectors of all users as of ``now_ms``, and (n_items, d) of all items."""
    features = towers.features
    if features.version != features.index.version or len(towers.vectors) < len(features.index):
        towers.refresh()
    every, none = np.arange(len(users)), np.zeros(0, np.int64)
    found = [np.zeros((0, towers.config.dim), np.float32)]
    for rows in np.split(every, range(PART, len(every), PART)):
        when, network = np.full(len(rows), now_ms), np.zeros(len(rows), np.int8)
        asked = features.build(rows, when, network, none, none)
        with OneThread(), torch.inference_mode():
            found.append(towers.net.users(Inputs.of(asked)).numpy()[:, :-1])
    ids, held = towers.vectors.held()
    items = np.zeros((len(features.index), towers.config.dim), np.float32)
    items[ids] = held[:, :-1]  # the last entry is the item's bias
    return np.concatenate(found), items
