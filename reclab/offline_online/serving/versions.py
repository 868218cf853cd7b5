"""Versions: what serving uses at one moment (index, features, models) is one immutable whole,
switched by one pointer (版本原子切换).

    request:  v = current, once; all that it reads comes from v
    stream:   draft = fork(current); change it; publish(draft) if current is still what was forked
    batch:    build apart; publish; the stream goes on from the offsets that the batch covered
A version is frozen when it is published, so no request sees one half changed; it lives for as long
as a request holds it. Only batch versions are kept to go back to: those of a stream come by second.
Reference: chapter 2.3.1, Batch + Streaming; McKenney and Slingwine 1998 (read-copy-update).

Simplified: one process; industry ships versions to many servers and switches these in waves.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, TypeVar

from torch import nn

from reclab.core.errors import NotBuilt, ReclabError, check_int
from reclab.stores.fork import fork, freeze
from reclab.stores.kv import KV

T = TypeVar("T")
Offsets = Mapping[str, Mapping[int, int]]  # topic -> partition -> next offset to read
SHARED = (KV,)  # connections belong to the process, not to a version
SHALLOW = (nn.Module,)  # weights are shared; which items a network knows is the version's


class Superseded(ReclabError, RuntimeError):
    """Another version was published since the draft was made: make it again from that one."""


@dataclass(frozen=True)
class Version(Generic[T]):
    """``number`` rises with every publication; ``state``: whatever serves (a ``Cascade``,
    ``LiveFeatures``, both); ``offsets``: what of the log it contains; ``made_ms`` when;
    ``by``: "batch" or "stream"."""

    number: int
    state: T
    offsets: Offsets = field(default_factory=dict)
    made_ms: int = 0
    by: str = "batch"


@dataclass(frozen=True)
class VersionsConfig:
    """``keep``: earlier batch versions held ready to go back to (0-10; each costs memory)."""

    keep: int = 2

    def __post_init__(self) -> None:
        check_int("VersionsConfig.keep", self.keep, 0, 100, "2")


class Versions(Generic[T]):
    """The pointer. ``current`` needs no lock: it is one reference, read once a request.

    >>> versions = Versions({"price": 1.0})
    >>> request = versions.current
    >>> versions.change(lambda state: state.update(price=2.0)).number
    2
    >>> request.state, versions.current.state
    ({'price': 1.0}, {'price': 2.0})
    """

    def __init__(
        self,
        state: T,
        offsets: Offsets | None = None,
        now_ms: int = 0,
        config: VersionsConfig | None = None,
    ) -> None:
        self.config = config or VersionsConfig()
        self._lock = Lock()  # among those who publish; requests never take it
        self._kept: deque[Version[T]] = deque(maxlen=self.config.keep + 1)
        self._newest = 0
        self.current: Version[T]
        self.publish(state, offsets, now_ms)

    def draft(self, version: Version[T] | None = None) -> T:
        """A copy of a version (default: the current one) that may be changed; what is not changed
        stays shared with it."""
        return fork((version or self.current).state, SHARED, SHALLOW)

    def publish(
        self,
        state: T,
        offsets: Offsets | None = None,
        now_ms: int = 0,
        based_on: Version[T] | None = None,
    ) -> Version[T]:
        """Freeze the state and let the next requests have it. ``based_on``: the version whose
        draft it is; raises ``Superseded`` if that is not the current one any more. Without it the
        state is a batch's, which needs no predecessor and is kept."""
        freeze(state, SHARED + SHALLOW)
        with self._lock:
            if based_on is not None and based_on is not self.current:
                raise Superseded(
                    f"version {self.current.number} was published after {based_on.number}, which "
                    "this draft was made from"
                )
            self._newest += 1
            by = "batch" if based_on is None else "stream"
            version = Version(self._newest, state, offsets or {}, now_ms, by)
            if based_on is None:
                self._kept.append(version)
            self.current = version
        return version

    def change(
        self, how: Callable[[T], object], offsets: Offsets | None = None, now_ms: int = 0
    ) -> Version[T]:
        """``how(draft)``, published; made again from the newer version if one came in between."""
        while True:
            base = self.current
            draft = self.draft(base)
            how(draft)
            try:
                return self.publish(draft, offsets or base.offsets, now_ms, base)
            except Superseded:
                continue

    @property
    def kept(self) -> tuple[Version[T], ...]:
        """Batch versions that are held, oldest first."""
        return tuple(self._kept)

    def roll_back(self, now_ms: int = 0) -> Version[T]:
        """Serve the batch version before the latest again, under a new number, and forget the
        latest: whatever the stream had added goes with it, to be read again from the offsets of
        what is now served. Raises ``NotBuilt`` when there is none."""
        with self._lock:
            if len(self._kept) < 2:
                raise NotBuilt("no earlier batch version is kept: VersionsConfig(keep=2) keeps two")
            self._kept.pop()
            old, self._newest = self._kept[-1], self._newest + 1
            self.current = Version(self._newest, old.state, old.offsets, now_ms, "batch")
            self._kept[-1] = self.current
            return self.current
