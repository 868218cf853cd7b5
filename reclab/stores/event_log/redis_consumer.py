"""A consumer of a group on Redis: partitions by lease, positions here, commits there.

Each member renews its lease by reading; the living divide the n partitions among m members, floor
or ceil of n / m each, in the same way wherever it is computed. Not Redis's own groups: they hand
single entries to whoever asks, which breaks the order of a partition as soon as one member dies.
Reference: Gray, Cheriton: Leases (SOSP 1989); Kafka documentation, "cooperative rebalancing".

Simplified: Kafka has a coordinator that members follow; here all follow the clock of one Redis.
"""

import time
import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

from reclab.core.errors import DataError, check_int
from reclab.stores.event_log import scripts
from reclab.stores.event_log.contract import (
    ConsumerConfig,
    Entries,
    OnChange,
    PartitionLost,
    Partitions,
)
from reclab.stores.redis_server import StoreDown

if TYPE_CHECKING:
    from reclab.stores.event_log.redis_log import RedisEventLog

LOOK_AGAIN_MS = 20  # where nobody can wake the reader
LONGEST_WAIT_MS = 1_000  # in Redis at a time: shorter than any client's patience with a socket


class RedisConsumer:
    """One member of a group; made by ``RedisEventLog.consumer``. ``n_missed`` counts entries that
    were dropped from the log before this member got to read them."""

    def __init__(
        self,
        log: "RedisEventLog",
        topic: str,
        group: str,
        n_partitions: int,
        config: ConsumerConfig,
        changes: tuple[OnChange | None, OnChange | None, OnChange | None],
    ) -> None:
        self._log, self.topic, self.group, self.config = log, topic, group, config
        self._n_partitions = n_partitions
        self._on_assign, self._on_revoke, self._on_lost = changes
        self._position: dict[int, int] = {}
        self._next_beat, self._closed, self.n_missed = 0.0, False, 0
        self.member = uuid.uuid4().hex

    @property
    def assigned(self) -> Partitions:
        """Partitions that are this member's, as of the last read."""
        return tuple(sorted(self._position))

    def position(self) -> dict[int, int]:
        """The next offset to read of each of its partitions."""
        return dict(self._position)

    def committed(self) -> dict[int, int]:
        """The group's committed offset of each partition of the topic that has one."""
        return self._log.committed(self.topic, self.group)

    def _run(self, script: str, names: Iterable[str], *arguments: object) -> Any:
        keys = [self._log.group_key(self.topic, self.group, name) for name in names]
        return self._log.run(script, [(keys, (self.member, *arguments))])[0]

    # -- partitions come and go ---------------------------------------------------------------

    def _heartbeat(self) -> None:
        """Renew the lease, let go of what is beyond the share, take what is free."""
        self._next_beat = time.monotonic() + self.config.heartbeat_ms / 1000
        asked = (self.config.session_ms, self._n_partitions)
        mine, extra, good = self._run(scripts.HEARTBEAT, ("leases", "owners"), *asked)
        kept = {*mine, *extra} if good else set()
        self._drop([p for p in self._position if p not in kept], self._on_lost)
        given = [p for p in extra if p in self._position]
        if given and self._on_revoke:
            self._on_revoke(tuple(sorted(given)))
        self._drop(given, None)
        if extra:
            self._run(scripts.RELEASE, ("leases", "owners"), "stay", *extra)
        self._take([p for p in mine if p not in self._position])

    def _drop(self, partitions: list[int], tell: OnChange | None) -> None:
        for p in partitions:
            del self._position[p]
        if partitions and tell:
            tell(tuple(sorted(partitions)))

    def _take(self, partitions: list[int]) -> None:
        """Read on from what the group committed, else from where the config says."""
        if not partitions:
            return
        committed = self.committed()
        start, end = self._log.ends(self.topic)
        first = start if self.config.start == "earliest" else end
        for p in partitions:
            self._position[p] = committed.get(p, int(first[p]))
        if self._on_assign:
            self._on_assign(tuple(sorted(partitions)))

    # -- read and commit ----------------------------------------------------------------------

    def read(self, max_entries: int = 1000, wait_ms: int = 0) -> Entries:
        """The next entries of its partitions, equally many of each."""
        check_int("max_entries", max_entries, 1, 1_000_000, "1000")
        check_int("wait_ms", wait_ms, 0, 3_600_000, "100")
        until = time.monotonic() + wait_ms / 1000
        while True:
            if self._closed:
                raise DataError(f"this consumer of {self.topic!r} is closed: make another")
            if time.monotonic() >= self._next_beat:
                self._heartbeat()
            share = max(1, max_entries // max(1, len(self._position)))
            found = self._log.fetch(self.topic, self._position, share).first(max_entries)
            if len(found) or time.monotonic() >= until:
                return self._advance(found)
            self._wait(min(until, self._next_beat) - time.monotonic())

    def _advance(self, found: Entries) -> Entries:
        """Move the positions behind what was found; a first offset beyond one means a gap."""
        seen: dict[int, int] = {}
        pairs = zip(found.partition.tolist(), found.offset.tolist(), strict=True)
        for p, offset in pairs:
            self.n_missed += offset - seen.get(p, self._position[p])
            seen[p] = offset + 1
        for p in seen:  # whoever was read goes to the end of the line
            self._position.pop(p)
        self._position.update(seen)
        return found

    def _wait(self, seconds: float) -> None:
        """Until something is appended to one of its partitions, or the time is over."""
        ms = min(max(1, int(seconds * 1000)), LONGEST_WAIT_MS)
        after = {self._log.stream(self.topic, p): f"{at}-0" for p, at in self._position.items()}
        kv = self._log.kv
        if not after or kv.is_cluster:  # no node of a cluster can watch the streams of all
            time.sleep(min(ms, LOOK_AGAIN_MS if after else ms) / 1000)
            return
        with kv.answering():
            kv.redis.xread(after, count=1, block=ms)  # type: ignore[arg-type]

    def commit(self, offsets: Mapping[int, int] | None = None) -> None:
        """The group reads on from here."""
        pairs = self._position if offsets is None else offsets
        flat = [int(number) for pair in pairs.items() for number in pair]
        if not flat:
            return
        keys = ("leases", "owners", "committed")
        lost = self._run(scripts.COMMIT, keys, self.config.session_ms, *flat)
        if lost:
            raise PartitionLost(
                f"partitions {sorted(lost)} of {self.topic!r} are not this consumer's now: others "
                "read them again from the last commit (read at least once in session_ms)"
            )

    def seek(self, partition: int, offset: int) -> None:
        """Replay: the next read of this partition begins here."""
        if partition not in self._position:
            raise PartitionLost(f"partition {partition} is not this consumer's: {self.assigned}")
        end = int(self._log.ends(self.topic)[1][partition])
        if not 0 <= offset <= end:
            raise DataError(f"no offset {offset} in partition {partition}: it has 0..{end}")
        self._position[partition] = offset

    def close(self) -> None:
        """Leave the group at once; a Redis that is gone needs no good-bye."""
        if self._closed:
            return
        self._closed = True
        try:
            self._run(scripts.RELEASE, ("leases", "owners"), "leave", *self._position)
        except StoreDown:
            pass  # the lease ends by itself
        self._position = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
