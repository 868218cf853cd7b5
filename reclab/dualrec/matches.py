"""Matches (匹配结果): which users the creator side found for an item, how well, and by what way.

    (item, user, g_ui, reason),   all users of an item together, best first

What the creator side gives and ``regroup`` turns round: by item here, by user there (equation 2.4).
Columns of identities, not of rows, because they outlive the process that made them: an item may be
withdrawn, an index rebuilt, before a match is read.
Reference: chapter 2, section 2.5, definition 2.4.

Simplified: industry sends them through a log, with the request's features for later training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from reclab.core.errors import DataError
from reclab.core.types import Array

REASONS = ("vector", "i2i2u", "i2u2u", "fans")
"""the ways by which a user is found: near the item's vector, viewer of a similar item, neighbour of
a viewer, follower of the creator"""


@dataclass(frozen=True)
class Matches:
    """``item_id`` (m,) int64, ``user_id`` (m,) int64, ``score`` (m,) float32, ``reason`` (m,) int8,
    a position in ``REASONS``.

    >>> two = Matches.of([7, 7], [1, 2], [0.5, 0.25], [0, 3])
    >>> len(two), two.take(two.reason == 3).user_id.tolist(), two.by_reason()["fans"]
    (2, [2], 1)
    """

    item_id: Array
    user_id: Array
    score: Array
    reason: Array

    def __post_init__(self) -> None:
        sizes = {len(self.item_id), len(self.user_id), len(self.score), len(self.reason)}
        if len(sizes) > 1:
            raise DataError(f"Matches: all four columns must be of one length, got {sorted(sizes)}")

    @classmethod
    def of(
        cls,
        item_id: Sequence[int] | Array,
        user_id: Sequence[int] | Array,
        score: Sequence[float] | Array,
        reason: Sequence[int] | Array,
    ) -> Self:
        """From plain numbers. Raises ``DataError`` for an unknown reason or a score of NaN."""
        made = cls(
            np.asarray(item_id, np.int64),
            np.asarray(user_id, np.int64),
            np.asarray(score, np.float32),
            np.asarray(reason, np.int8),
        )
        known = (made.reason >= 0) & (made.reason < len(REASONS))
        if not known.all():
            bad = int(made.reason[~known][0])
            raise DataError(f"Matches.reason must be in 0..{len(REASONS) - 1}, got {bad}")
        if not np.isfinite(made.score).all():
            raise DataError("Matches.score must be finite numbers, got NaN or infinity")
        return made

    @classmethod
    def empty(cls) -> Self:
        """No matches."""
        return cls.of([], [], [], [])

    @classmethod
    def joined(cls, parts: Sequence["Matches"]) -> Self:
        """One after the other."""
        if not parts:
            return cls.empty()
        names = ("item_id", "user_id", "score", "reason")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def __len__(self) -> int:
        return len(self.item_id)

    def take(self, rows: Array) -> "Matches":
        """Those at ``rows`` (positions, or a mask)."""
        return Matches(self.item_id[rows], self.user_id[rows], self.score[rows], self.reason[rows])

    def by_reason(self) -> dict[str, int]:
        """How many came by each way."""
        counts = np.bincount(self.reason, minlength=len(REASONS))
        return dict(zip(REASONS, counts.tolist(), strict=True))


@dataclass
class MatchReport:
    """What became of the items asked for: matched + without + unknown + twice + withdrawn = all."""

    items: int = 0
    """asked for"""
    unknown: int = 0
    """not in the forward index"""
    twice: int = 0
    """given more than once; answered once"""
    withdrawn: int = 0
    """not to be shown (any more, or yet)"""
    matched: int = 0
    """that got users"""
    without: int = 0
    """that got none"""
    short: int = 0
    """that got some, but fewer than wanted"""
    want: int = 0
    """users wanted for each item"""
    matches: int = 0
    found: int = 0
    """pairs retrieved, those shown before left out"""
    shown: int = 0
    """pairs left out because the user was shown the item before"""
    lost: int = 0
    """pairs among an item's best that went to other items because the user was full"""
    open_before: int = 0
    open_after: int = 0
    """users in the pool"""
