"""Popular retrieval (热门召回): what most people liked lately, the same for everybody.

    popularity_i(now) = sum over positives of i of 2^(-(now - t) / half_life)

The sum is kept as of its newest event: moving it on in time multiplies every item alike and
leaves the order alone, so one refresh costs one multiplication and one addition an event.

Reference: exponential smoothing, Brown 1959; the popularity baselines of Ji et al. 2020 ("A
Re-visit of the Popularity Baseline in Recommender Systems").
Simplified: industry keeps one list a region, language and age group, and corrects for position.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.retrieval.events import Rows, halvings, positives
from reclab.core.errors import NotBuilt, check_float
from reclab.core.tables import Logs, Table
from reclab.core.types import Array
from reclab.stores.arrays import Arrays, save_arrays
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.row_lookup import RowLookup


@dataclass(frozen=True)
class PopularConfig:
    """How fast popularity fades."""

    half_life_hours: float = 72.0
    """hours after which a positive counts half (news: 0.5, short video: 12-72, films: inf)"""

    def __post_init__(self) -> None:
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
            moved = self._popularity * halvings(now - self._as_of_ms, self.config.half_life_hours)
            grown[: len(moved)] += moved
            self._as_of_ms, self._popularity = now, grown
        self._order = np.flatnonzero(self._popularity > 0)
        best_first = np.argsort(-self._popularity[self._order], kind="stable")
        self._order = self._order[best_first]
        return self

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
        top = self._order[: k + 64]  # 64 spare ones stand in for what is not yet published
        place = self._published(top, batch.time_ms)
        if place is not None and (place.sum(1) < min(k, len(self._order))).any():
            top = self._order
            place = self._published(top, batch.time_ms)
        item_row = np.full((n, k), -1, np.int64)
        if place is None:
            item_row[:, : len(top[:k])] = top[:k]
        else:
            nth = place.cumsum(1)  # the how manieth published one
            request, at = np.nonzero(place & (nth <= k))
            item_row[request, nth[request, at] - 1] = top[at]
        score = np.zeros((n, k), np.float32)
        found = item_row >= 0
        total = max(1e-30, float(self._popularity.sum()))
        score[found] = self._popularity[item_row[found]] / total
        return item_row, score

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
        }
        save_arrays(folder / "popular", held)

    @classmethod
    def load(cls, folder: Path, index: ForwardIndex | None = None) -> Self:
        """Read what ``save`` wrote. With ``index``, later updates know its later items too."""
        held = Arrays(folder / "popular")
        channel = cls(PopularConfig(**json.loads(str(held["config"]))))
        channel._rows = RowLookup(held["ids"]) if index is None else index
        channel._popularity, channel._publish = held["popularity"], held["publish"]
        channel._as_of_ms = int(held["as_of_ms"])
        return channel.update(Table())
