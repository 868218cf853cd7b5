"""Duplicate content (内容去重): the same video uploaded twice, under two ids, counts once.

    keep = first mention of the content fingerprint in its request
    fingerprint h(item) = fold over the words w of its columns:  h <- mix(h xor w),  64 bits

Columns are author, duration, tags and text, those that the items have. Two of n different items
meet with probability below n^2 / 2^65. Equal metadata is a hint and no proof: of the tiny world's
2,512 items 19 are taken for another one, all of them cut at the shortest duration.
Reference: mix is splitmix64 (Steele, Lea, Flood 2014).
Simplified: industry fingerprints frames and sound, so that a cut or mirrored copy is found too.
"""

from dataclasses import dataclass

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.filters.duplicates import first_mention
from reclab.cascade.filters.hashing import splitmix64
from reclab.cascade.filters.reasons import drop, keep_all
from reclab.core.errors import check, check_int
from reclab.core.stage import StageResult
from reclab.core.types import Array, Candidates
from reclab.stores.forward_index import ForwardIndex


@dataclass(frozen=True)
class ContentConfig:
    """What makes two items the same content."""

    columns: tuple[str, ...] = ("author_id", "duration_sec", "tags", "text")
    """columns that must be equal, those that the items have"""
    at_least: int = 3
    """columns that the items must have, else nothing is called equal (2 … len(columns))"""

    def __post_init__(self) -> None:
        check(bool(self.columns), "ContentConfig.columns", self.columns, "name some", "the default")
        check_int("ContentConfig.at_least", self.at_least, 1, len(self.columns), "3")


def content_key(index: ForwardIndex, config: ContentConfig | None = None) -> Array | None:
    """(n_items,) row of the first item with the same content: its own row where it is the first.

    None when the items have too few of the columns. An item with an unknown value (-1, NaN, no
    tag, no text) in one of them equals nothing: what is not known is not the same.
    """
    config = config or ContentConfig()
    held = [index[name] for name in config.columns if name in index]
    if len(held) < config.at_least:
        return None
    print_of, known = np.zeros(len(index), np.uint64), np.ones(len(index), bool)
    for values in held:
        known &= _known(values)
        for word in _words(values):
            print_of = splitmix64(print_of ^ word)
    _, first, same = np.unique(print_of, return_index=True, return_inverse=True)
    return np.asarray(np.where(known, first[same], np.arange(len(index))))


def _known(values: Array) -> Array:
    """(n,) bool: does the item say anything in this column?"""
    if values.dtype.kind in "OU":
        return np.asarray(values.astype(np.str_) != "")
    said = np.isfinite(values) if values.dtype.kind == "f" else values >= 0
    return np.asarray(said if said.ndim == 1 else said.any(1))


def _words(values: Array) -> Array:
    """(w, n) uint64: each item's bytes of the column, in words of eight, zeros at the end."""
    if values.dtype.kind == "O":
        values = values.astype(np.str_)
    raw = np.ascontiguousarray(values).reshape(len(values), -1).view(np.uint8)
    padded = np.zeros((len(raw), -(-raw.shape[1] // 8) * 8), np.uint8)
    padded[:, : raw.shape[1]] = raw
    return padded.view(np.uint64).T


class DuplicateContentFilter:
    """Keep the first candidate of each content in a request. Keys are computed once and again
    after the index was put to; a no-op where the items have too few of the columns."""

    name = "duplicate_content"

    def __init__(self, index: ForwardIndex, config: ContentConfig | None = None) -> None:
        self.index, self.config = index, config or ContentConfig()
        self._version, self._key = index.version, content_key(index, self.config)

    def __call__(self, batch: Batch, candidates: Candidates) -> StageResult:
        if self._version != self.index.version:
            self._version, self._key = self.index.version, content_key(self.index, self.config)
        if self._key is None or not len(candidates):
            return keep_all(candidates, "same content")
        content = self._key[candidates.item_row]
        first = first_mention(Candidates(candidates.n_requests, candidates.request_row, content))
        return drop(candidates, first, "same content")
