"""Content-based retrieval (内容召回): new and good items about what the user likes.

    taste_t  = e v_t + sum over the last L positives h_0, h_1, ... (newest first) of  d^l w_{h_l, t}
    score(i) = cos(taste, w_i) * 2^(-(now - published_i) / fresh) * quality_i
    quality_i = (positives_i + a m) / (shown_i + a),   m = the mean rate

w_i are the tags of item i, weighed 1, 1/2, 1/3 ... by place, at length 1; with texts, the TF-IDF
weights of its words stand beside them. v are the interests in the user's profile, weighed alike:
all that is known of a new user, and soon outweighed. From each tag an inverted index leads to its
items in order of publication. A request walks the user's strongest tags back from its own time, so
an item is found from the moment it is out, though nobody has clicked it: its quality is the mean
until it is shown.

Reference: Pazzani and Billsus 2007, "Content-Based Recommendation Systems"; Salton and Buckley 1988
(TF-IDF).
Simplified: industry reads topics from frames, sound and text, and learns how long each kind lasts.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import scipy.sparse as sp

from reclab.cascade.batch import Batch
from reclab.cascade.ranking.vocabulary import tag_scale
from reclab.cascade.retrieval.events import halvings
from reclab.cascade.retrieval.packed import write_best
from reclab.core.clock import DAY_MS
from reclab.core.errors import DataError, NotBuilt, check_float, check_int
from reclab.core.tables import Logs, Table
from reclab.core.types import Array
from reclab.stores.arrays import Arrays, save_arrays
from reclab.stores.as_of import ragged
from reclab.stores.forward_index import ForwardIndex

SLOTS = 200_000  # postings read at a time: bounds the memory of one block of requests


@dataclass(frozen=True)
class ContentConfig:
    """What the user's taste is read from, and what an item has besides its topic."""

    length: int = 50
    """L, latest positives that speak for the user (1-50)"""
    position_decay: float = 0.95
    """d, weight of each older positive against the next newer one (0.5-1)"""
    profile: float = 1.0
    """e, positives that the interests in the profile weigh (0-5)"""
    tags: int = 5
    """strongest tags (and words) of the user that are looked up (3-20)"""
    scan: int = 1000
    """latest items of each tag that are looked at (100-10 000)"""
    fresh_hours: float = 72.0
    """half-life of an item's freshness (news: 4, short video: 24-200, films: inf)"""
    prior: float = 20.0
    """a, impressions that the mean rate weighs in an item's quality (5-100)"""
    words: int = 5000
    """most frequent words that are kept, where texts are given (1000-50 000)"""

    def __post_init__(self) -> None:
        check_int("ContentConfig.length", self.length, 1, 1000, "20")
        check_float("ContentConfig.position_decay", self.position_decay, 0.0, 1.0, "0.95")
        check_float("ContentConfig.profile", self.profile, 0.0, 1000.0, "1")
        check_int("ContentConfig.tags", self.tags, 1, 10_000, "5")
        check_int("ContentConfig.scan", self.scan, 1, 10**6, "1000")
        check_float("ContentConfig.fresh_hours", self.fresh_hours, 0.01, float("inf"), "24-200")
        check_float("ContentConfig.prior", self.prior, 1e-3, 1e6, "20")
        check_int("ContentConfig.words", self.words, 1, 10**6, "5000")


class ContentChannel:
    """``fit`` once, ``update`` every few minutes, ``retrieve`` for a batch. Items that join the
    forward index are found without either."""

    name = "content"

    def __init__(self, config: ContentConfig | None = None) -> None:
        self.config = config or ContentConfig()
        self._index: ForwardIndex | None = None

    def fit(
        self, logs: Logs, index: ForwardIndex, until_ms: int, texts: Sequence[str] | None = None
    ) -> Self:
        """Read the items' tags and, from impressions strictly before ``until_ms``, their quality.

        ``texts``: one a row of the index, for instance titles. Items without tags and texts are
        about nothing and never found. Raises ``DataError`` if the texts have another length.
        """
        if texts is not None and len(texts) != len(index):
            raise DataError(f"{len(texts)} texts for {len(index)} items: one each is needed")
        self._words = sp.csr_matrix((len(index), 0), dtype=np.float32)
        if texts is not None and any(text.strip() for text in texts):
            from sklearn.feature_extraction.text import TfidfVectorizer  # serving needs none

            learned = TfidfVectorizer(max_features=self.config.words, dtype=np.float32)
            self._words = learned.fit_transform(texts).tocsr()
        self._interests = interests(logs.users, until_ms)
        self._index, self._shown, self._liked = index, np.zeros(0), np.zeros(0)
        past = logs.interactions
        return self.update(past.take(past["time_ms"] < until_ms))

    def update(self, events: Table) -> Self:
        """Count new impressions and positives of the items."""
        if self._index is None:
            raise NotBuilt("ContentChannel.update: call fit(logs, index, until_ms) first")
        n = len(self._index)
        shown, liked = np.zeros(n), np.zeros(n)
        shown[: len(self._shown)], liked[: len(self._liked)] = self._shown, self._liked
        if len(events):
            row, positive = self._index.rows(events["video_id"]), Logs(Table(), Table(), events)
            known = row >= 0
            shown += np.bincount(row[known], minlength=n)
            liked += np.bincount(row[known], positive.positive[known], n)
        self._shown, self._liked = shown, liked
        return self._invert()

    def _invert(self) -> Self:
        """Lay the items of each tag out in order of publication, with the quality of each."""
        index, c = self._index, self.config
        assert index is not None
        n = len(index)
        counted = np.pad(np.stack([self._shown, self._liked]), ((0, 0), (0, n - len(self._shown))))
        mean = counted[1].sum() / max(1.0, counted[0].sum()) or 1.0
        self._quality = ((counted[1] + c.prior * mean) / (counted[0] + c.prior)).astype(np.float32)
        none = np.zeros(n, np.int64)
        self._publish = index["publish_ms"].astype(np.int64) if "publish_ms" in index else none
        words = sp.csr_matrix(self._words)
        words.resize(n, words.shape[1])  # items that joined later have no words
        self._terms = unit_rows(sp.hstack([tag_weights(_tags(index)), words]).tocsr())
        term = np.repeat(np.arange(self._terms.shape[1]), np.diff(self._terms.tocsc().indptr))
        row, weight = self._terms.tocsc().indices, self._terms.tocsc().data
        order = np.lexsort((self._quality[row], self._publish[row], term))
        self._posted = row[order]
        self._weight = weight[order] * self._quality[self._posted]
        # ranks of times are small, so that (term, time) fits one number and one binary search
        self._times, rank = np.unique(self._publish, return_inverse=True)
        self._key = term * np.int64(n + 1) + rank[self._posted]
        self._version = index.version
        return self

    def tastes(self, history: Array, user_row: Array) -> Array:
        """(B, n_terms) float32 weights of tags (and words), of length 1, of the items in
        ``history`` and the profiles of ``user_row``; interests that no item has lead nowhere."""
        newest_first = history[:, : -self.config.length - 1 : -1]
        (n_items, n_terms), first = self._terms.shape, self._terms.indptr
        owner, age = np.nonzero((newest_first >= 0) & (newest_first < n_items))
        liked = newest_first[owner, age]
        counts = first[liked + 1] - first[liked]
        slot = ragged(first[liked], counts)
        weight = (self.config.position_decay**age).repeat(counts) * self._terms.data[slot]
        said = self._interests[np.where(user_row < len(self._interests), user_row, -1)]
        reader, place = np.nonzero((said >= 0) & (said < n_terms))
        shape, size = (len(history), n_terms), len(history) * n_terms
        cell = owner.repeat(counts) * n_terms + self._terms.indices[slot]
        read = np.bincount(cell, weight, size).reshape(shape)
        told_of = reader * n_terms + said[reader, place].astype(np.int64)
        told = np.bincount(told_of, tag_scale(said.shape[1])[place], size).reshape(shape)
        return _of_length_1(read + self.config.profile * _of_length_1(told)).astype(np.float32)

    def retrieve(self, batch: Batch, k: int) -> tuple[Array, Array]:
        """The ``k`` best by the formula among those out at each request's time, without the items
        of the history.

        Returns (B, k) item rows, best first, padded with -1 (a whole row of -1 for a user without
        history and interests), and (B, k) float32 scores.
        """
        if self._index is None:
            raise NotBuilt("ContentChannel.retrieve: call fit(logs, index, until_ms) first")
        if self._index.version != self._version:
            self._invert()
        item_row = np.full((len(batch.time_ms), k), -1, np.int64)
        score = np.zeros((len(batch.time_ms), k), np.float32)
        block = max(1, min(256, SLOTS // (self.config.tags * self.config.scan)))
        for start in range(0, len(batch.time_ms), block):
            part = slice(start, start + block)
            taste = self.tastes(batch.history[part], batch.user_row[part])
            history, now = batch.history[part], batch.time_ms[part]
            self._answer(taste, history, now, item_row[part], score[part])
        return item_row, score

    def _answer(
        self, taste: Array, history: Array, time_ms: Array, item_row: Array, score: Array
    ) -> None:
        """Fill the answers of one block of requests, in place."""
        strongest = np.argsort(-taste, axis=1, kind="stable")[:, : self.config.tags]
        owner, place = np.nonzero(np.take_along_axis(taste, strongest, 1) > 0)
        term = strongest[owner, place]
        posted, counts = self._postings(term, time_ms[owner])
        weight = taste[owner, term].repeat(counts) * self._weight[posted]
        owner, item = owner.repeat(counts), self._posted[posted]
        age_ms = time_ms[owner] - self._publish[item]
        value = weight * halvings(age_ms, self.config.fresh_hours)
        reader, at = np.nonzero(history >= 0)
        if len(owner):
            write_best(
                np.concatenate([owner, reader]),
                np.concatenate([item, history[reader, at]]),
                np.append(value, np.full(len(at), -np.inf)).astype(np.float32),
                item_row,
                score,
            )  # what the user liked is no answer

    def _postings(self, term: Array, time_ms: Array) -> tuple[Array, Array]:
        """Positions of the latest ``scan`` items of each term (m,) out by its time, and counts."""
        first = term * np.int64(self._terms.shape[0] + 1)
        stop = self._key.searchsorted(first + self._times.searchsorted(time_ms, "right"))
        start = np.maximum(self._key.searchsorted(first), stop - self.config.scan)
        return ragged(start, stop - start), stop - start

    def save(self, folder: Path) -> None:
        """Write ``content`` into the folder."""
        if self._index is None:
            raise NotBuilt("ContentChannel.save: call fit(logs, index, until_ms) first")
        words = self._words
        held = {
            "config": np.array(json.dumps(asdict(self.config))),
            "ids": self._index.ids,
            "tags": _tags(self._index),
            "publish": self._publish,
            "interests": self._interests,
            "shown": self._shown,
            "liked": self._liked,
            "data": words.data,
            "indices": words.indices,
            "indptr": words.indptr,
            "n_words": np.array(words.shape[1]),
        }
        save_arrays(folder / "content", held)

    @classmethod
    def load(cls, folder: Path, index: ForwardIndex | None = None) -> Self:
        """Read what ``save`` wrote. With ``index``, items that join it later are found too."""
        held = Arrays(folder / "content")
        channel = cls(ContentConfig(**json.loads(str(held["config"]))))
        if index is None:
            columns = {"video_id": "ids", "tags": "tags", "publish_ms": "publish"}
            index = ForwardIndex(Table({name: held[kept] for name, kept in columns.items()}))
        channel._index, channel._shown, channel._liked = index, held["shown"], held["liked"]
        channel._interests = held["interests"]
        parts = held["data"], held["indices"], held["indptr"]
        channel._words = sp.csr_matrix(parts, (len(parts[2]) - 1, int(held["n_words"])))
        return channel._invert()


def interests(users: Table, until_ms: int) -> Array:
    """(n_users + 1, width) tag numbers of each user's last snapshot begun before ``until_ms``, by
    user id, -1 padded; all -1 where there is none, and in the last row, for unknown users."""
    ids = np.unique(users["user_id"])
    if "interest_tags" not in users:
        return np.full((len(ids) + 1, 0), -1, np.int16)
    day = users["day"] if "day" in users else np.zeros(len(users), np.int64)
    order = np.argsort(day, kind="stable")
    order = order[day[order] * np.int64(DAY_MS) < until_ms]
    found = np.full((len(ids) + 1, users["interest_tags"].shape[1]), -1, np.int16)
    found[np.searchsorted(ids, users["user_id"][order])] = users["interest_tags"][order]
    return found


def _tags(index: ForwardIndex) -> Array:
    """(n_items, width) tag numbers; width 0 where the items have none."""
    return index["tags"] if "tags" in index else np.zeros((len(index), 0), np.int16)


def tag_weights(tags: Array) -> sp.csr_matrix:
    """(n, width) tag numbers, -1 = none -> (n, n_tags) weights 1, 1/2, 1/3 … by place.

    >>> tag_weights(np.array([[1, 0], [1, -1]])).toarray().tolist()
    [[0.5, 1.0], [0.0, 1.0]]
    """
    item, place = np.nonzero(tags >= 0)
    shape = len(tags), int(tags.max(initial=-1)) + 1
    tag = tags[item, place].astype(np.int64)
    return sp.csr_matrix((tag_scale(tags.shape[1])[place], (item, tag)), shape)


def _of_length_1(rows: Array) -> Array:
    length = np.sqrt((rows * rows).sum(1, keepdims=True))
    return np.asarray(rows / np.where(length > 0, length, 1.0))


def unit_rows(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """The same with rows of length 1; rows of zeros stay."""
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(1)).ravel())
    scale = 1.0 / np.where(length > 0, length, 1.0)
    return sp.csr_matrix(sp.diags_array(scale.astype(np.float32)) @ matrix)
