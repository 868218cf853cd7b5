"""Online user pool (在线用户池): the users that the creator side may still give an item to.

    "both":    pool = {u : a_u = 1  and  |D_u| < Q}          the paper's rule
    "either":  pool = {u : a_u = 1  or   |D_u| < Q}          the chapter's words, taken literally
    room(u) = max(Q - |D_u|, 0)                              whatever the rule (equation 2.5)

a_u says that u is predicted to come back soon, |D_u| how many items wait for u, Q how many may.
The rules differ in who is searched among: "either" lets in users who will not come, whose items
expire unseen, and active users who are full, for whom every search is wasted since their room is 0.
|D_u| lies in one array and moves with every match, so whoever fills up leaves while matches are
still being made. A match beyond Q is refused here, so nobody is ever over it.
References: chapter 2, section 2.5, equation 2.5; Chen et al., WWW 2025 Companion.

Simplified: industry shards the counts by user and tolerates a few matches too many between them.
"""

from dataclasses import dataclass

import numpy as np

from reclab.core.errors import DataError, check, check_float, check_int
from reclab.core.types import Array

ADMIT = ("both", "either")


@dataclass(frozen=True)
class UserPoolConfig:
    """Who is let in."""

    quota: int = 10
    """Q, items that may wait for a user (0 = the creator side is off; the paper: 10)"""
    admit: str = "both"
    """"both" rules must hold, or "either" is enough"""
    active_from: float = 0.5
    """predicted chance to come back from which a user counts as active (0 … 1)"""

    def __post_init__(self) -> None:
        check_int("UserPoolConfig.quota", self.quota, 0, 1_000_000, "10")
        known = self.admit in ADMIT
        check(known, "UserPoolConfig.admit", self.admit, f"be one of {', '.join(ADMIT)}", "both")
        check_float("UserPoolConfig.active_from", self.active_from, 0.0, 1.0, "0.5")


class UserPool:
    """Counts by user row; everybody is taken as active until ``set_active``.

    >>> pool = UserPool(3, UserPoolConfig(quota=1))
    >>> pool.set_active(np.array([0.9, 0.8, 0.1]))
    >>> pool.take(np.array([0, 0, 1])).tolist(), pool.open_rows().tolist()
    ([True, False, True], [])
    >>> pool.give_back(np.array([1])), pool.open_rows().tolist()
    (1, [1])
    """

    def __init__(self, n_users: int, config: UserPoolConfig | None = None) -> None:
        check_int("UserPool.n_users", n_users, 0, 1 << 31, "1000000")
        self.config = config or UserPoolConfig()
        self.counts: Array = np.zeros(n_users, np.int32)
        """(n_users,) |D_u|"""
        self.active: Array = np.ones(n_users, bool)
        """(n_users,) a_u"""
        self.n_refused = 0
        """matches refused since the start because the user was full"""
        self.n_unknown = 0
        """matches refused since the start because there is no such user"""

    def __len__(self) -> int:
        return len(self.counts)

    def set_active(self, active: Array) -> None:
        """(n_users,) bool, or the chance to come back. Raises ``DataError`` for another length, or
        a chance outside 0 … 1 (NaN is)."""
        active = np.asarray(active)
        if active.shape != self.counts.shape:
            raise DataError(f"active must have shape {self.counts.shape}, got {active.shape}")
        if active.dtype != bool:
            if not ((active >= 0) & (active <= 1)).all():
                raise DataError("active must be bool or a chance in 0..1, got others or NaN")
            active = active >= self.config.active_from
        self.active = active.copy()

    def refresh(self, sizes: Array) -> None:
        """Take |D_u| (n_users,) as the store has them now: what expired or was shown gives room
        again. A user whom the store holds more of than Q has no room. Raises ``DataError``."""
        sizes = np.asarray(sizes)
        if sizes.shape != self.counts.shape or (len(sizes) and int(sizes.min()) < 0):
            raise DataError(f"sizes must be {len(self)} numbers >= 0, got shape {sizes.shape}")
        self.counts = sizes.astype(np.int32)

    # -- who is in --------------------------------------------------------------------------

    @property
    def room(self) -> Array:
        """(n_users,) int32 matches that each user in the pool can still take; 0 for all others."""
        room = np.maximum(self.config.quota - self.counts, 0)
        return np.asarray(room * self.active if self.config.admit == "both" else room)

    @property
    def open(self) -> Array:
        """(n_users,) bool: who is in the pool."""
        has_room = self.counts < self.config.quota
        return has_room & self.active if self.config.admit == "both" else has_room | self.active

    def open_rows(self) -> Array:
        """(n,) rows of those in the pool, ascending."""
        return np.flatnonzero(self.open)

    # -- what happens to them ---------------------------------------------------------------

    def take(self, user_rows: Array) -> Array:
        """One match each for ``user_rows`` (m,), a user as often as wanted. Returns (m,) bool which
        were granted: the first ones while there is room. The rest are counted, not raised."""
        rows = np.asarray(user_rows, np.int64)
        known = (rows >= 0) & (rows < len(self))
        self.n_unknown += int(len(rows) - np.count_nonzero(known))
        granted = np.zeros(len(rows), bool)
        at, room = np.flatnonzero(known), self.room
        wanted = np.bincount(rows[at], minlength=len(self))
        if (wanted <= room).all():  # then nobody needs to wait for a turn
            granted[at] = True
            self.counts += wanted.astype(np.int32)
            return granted
        granted[at] = turns(rows[at]) < room[rows[at]]
        self.n_refused += int(np.count_nonzero(known & ~granted))
        self.counts += np.bincount(rows[granted], minlength=len(self)).astype(np.int32)
        return granted

    def give_back(self, user_rows: Array) -> int:
        """One match less for each of ``user_rows`` (m,): shown, expired or withdrawn. Returns how
        many were given back; never more than a user has, and none of unknown users."""
        rows = np.asarray(user_rows, np.int64)
        known = rows[(rows >= 0) & (rows < len(self))]
        back = np.minimum(np.bincount(known, minlength=len(self)), self.counts)
        self.counts -= back.astype(np.int32)
        return int(back.sum())


def turns(rows: Array) -> Array:
    """(n,) how often each value has occurred before its place.

    >>> turns(np.array([5, 7, 5, 5])).tolist()
    [0, 0, 1, 2]
    """
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    turn = np.empty(len(rows), np.int64)
    turn[order] = np.arange(len(rows)) - np.searchsorted(ordered, ordered)
    return turn
