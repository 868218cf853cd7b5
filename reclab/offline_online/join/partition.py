"""Join of one partition: feature stream and label stream in, samples out, each exactly once.

    epoch, snapshot, claim, what the claim finds already put out  ->  read, join, append, … , save
    watermark = min(clock of features, clock of reports) - disorder;  a stream's clock is its newest
    stamp, or, where it is read to its end, now - settle if that is later

What is put out depends on stamps alone, so after a kill the same samples come again from the last
snapshot on; those that are in the topic already are left out by request and item. The order of
``take`` makes it safe: after the new epoch no older snapshot is written, after the claim no older
entry counts, and all that was put out before the claim is seen.
Reference: chapter 2.3.1; Carbone et al. 2015 (Flink); Chandy and Lamport 1985.

Simplified: exactly once among topics of this log; beyond it effects must be idempotent.
"""

import json
import struct
from dataclasses import dataclass

import numpy as np

from reclab.core.errors import DataError
from reclab.core.tables import Table
from reclab.core.types import Array
from reclab.offline_online.features.feature_log import read_ids
from reclab.offline_online.join import sample_record
from reclab.offline_online.join.payloads import CARD_BITS, Payloads, pointer
from reclab.offline_online.join.records import LAST_MS, Joined
from reclab.offline_online.join.report_entries import read_reports
from reclab.offline_online.join.sample_join import SampleJoin
from reclab.offline_online.join.sample_topic import CLAIM_EVERY, EpochFilter, claim
from reclab.offline_online.join.snapshots import Snapshots
from reclab.offline_online.pipeline import DEAD_LETTERS, EVENTS, FEATURES, SAMPLES
from reclab.stores.event_log import Entries, EventLog, partition_of

READ = 5_000  # entries in one read
_SIZES = struct.Struct("<II")
MOST_CARD = (1 << CARD_BITS) - 1
SHOWN = ("req_id", "user_id", "session_id", "video_id", "position", "time_ms")


@dataclass(frozen=True)
class JoinTopics:
    """Names: two streams in, samples out; ``corrections``: where late labels go (None = they are
    only counted); ``dead_letters``: where it is told which entries are broken (None likewise).
    Streams and samples have equally many partitions, keyed by request."""

    features: str = FEATURES
    events: str = EVENTS
    samples: str = SAMPLES
    corrections: str | None = None
    dead_letters: str | None = DEAD_LETTERS


class JoinPartition:
    """``step`` reads and joins, ``save`` makes it durable. Raises ``PartitionLost`` when another
    joiner has taken the partition, ``StoreDown`` when a store does not answer: in both cases drop
    this object, and make another where the partition is one's own.

    ``settle_ms``: how long after its stamp an entry may still come when a stream is silent.
    ``count``: entries read, samples put out, and those left out because they were there already
    (``again``), since it was taken; broken entries (``bad``) and samples whose features the log had
    dropped (``gone``) since the beginning."""

    def __init__(
        self,
        log: EventLog,
        snapshots: Snapshots,
        partition: int,
        join: SampleJoin,
        topics: JoinTopics | None = None,
        settle_ms: int = 5_000,
        payload_bytes: int = 64 << 20,
    ) -> None:
        self.log, self.partition, self.join = log, partition, join
        self.topics, self._settle_ms, self._snapshots = topics or JoinTopics(), settle_ms, snapshots
        self._payloads = Payloads(log, self.topics.features, partition, payload_bytes)
        self._at = {"features": 0, "events": 0, "samples": 0}  # next offsets
        self._clock = {"features": -1, "events": -1}  # newest stamps
        self._out: set[tuple[int, int]] = set()  # samples that are there and will come again
        self.count = dict.fromkeys(("entries", "samples", "again", "bad", "gone"), 0)
        self._since_claim = self.unsaved = self.snapshot_bytes = 0
        n = self.log.topics()[self.topics.samples]
        keys = (f"claim-{i}" for i in range(100 * n * n + 100))
        self._key = next(key for key in keys if partition_of(key.encode(), n) == partition)
        self._take()

    @property
    def position(self) -> int:
        """The next entry of the feature stream."""
        return self._at["features"]

    # -- take and save ------------------------------------------------------------------------

    def _take(self) -> None:
        """Shut the former joiner out, go on from its snapshot, and find what it put out since."""
        self.epoch = self._snapshots.take(self.partition)
        data = self._snapshots.get(self.partition)
        before = self._restore(data) if data else 0
        seen = self._claim(before)
        if seen > self.epoch:  # the store of snapshots was lost and began anew, the log was not
            self._snapshots.check(self.partition, self.epoch)
            self.epoch = self._snapshots.take(self.partition, seen)
            self._claim(seen)

    def _claim(self, before: int) -> int:
        """Claim the topic's partition and note the samples before the claim that count. Returns
        the highest epoch there."""
        claimed = self._append(self.topics.samples, [claim(self.epoch)], [self._key])
        filtered, at = EpochFilter(before), self._at["samples"]
        while at < claimed:
            entries = self.log.read(self.topics.samples, self.partition, at, READ)
            values = entries.value[: int((entries.offset < claimed).sum())]
            good = np.flatnonzero(filtered.keep(values)).tolist()
            pairs = sample_record.identities([values[i] for i in good])
            self._out.update((req_id, video_id) for req_id, video_id in pairs.tolist())
            at = int(entries.offset[-1]) + 1 if len(entries) else claimed
        self._at["samples"], self._since_claim = claimed + 1, 0
        return filtered.epoch

    def _restore(self, data: bytes) -> int:
        """Go on from a snapshot. Returns the epoch of who wrote it."""
        n_head, n_out = _SIZES.unpack_from(data)
        start = _SIZES.size + n_head
        head = json.loads(data[_SIZES.size : start])
        self._at, self._clock = head["at"], head["clock"]
        self.count |= {name: head["count"][name] for name in ("bad", "gone")}
        pairs = np.frombuffer(data, "<i8", 2 * n_out, start).reshape(-1, 2)
        self._out = {(req_id, video_id) for req_id, video_id in pairs.tolist()}
        self.join.restore(data[start + 16 * n_out :])
        return int(head["epoch"])

    def save(self) -> None:
        """Write all that the rest depends on, in one step."""
        about = {"at": self._at, "clock": self._clock, "epoch": self.epoch, "count": self.count}
        head, out = json.dumps(about).encode(), np.array(sorted(self._out), "<i8").tobytes()
        sizes = _SIZES.pack(len(head), len(self._out))
        data = b"".join([sizes, head, out, self.join.state()])
        self._snapshots.put(self.partition, self.epoch, data)
        self.unsaved, self.snapshot_bytes = 0, len(data)

    # -- read and join ------------------------------------------------------------------------

    def step(self, entries: Entries, now_ms: int | None = None) -> int:
        """Join the next entries of the feature stream, and the label stream as far as these go in
        time. ``now_ms``: the platform's time, by which silent streams are known to be silent.
        Returns how many entries were new."""
        shown, n_shown = self._shown(self._next(entries))
        silent = [] if now_ms is None or self._behind() else ["features"]
        total, more = n_shown, True
        while more:
            ahead = n_shown > 0 and self._clock["events"] > self._clock["features"]
            told, n_told = (None, 0) if ahead else self._told()
            if now_ms is not None and not ahead and n_told < READ:
                silent = [*silent, "events"]
            self._put_out(self.join.update(shown, told, self._watermark(silent, now_ms or 0)))
            more = n_told == READ and self._clock["events"] <= self._clock["features"]
            shown, total = None, total + n_told
        self.unsaved += total
        self.count["entries"] += total
        return total

    def drain(self) -> None:
        """The streams have ended: read what is left and close every sample."""
        topic, p = self.topics.features, self.partition
        while self.step(self.log.read(topic, p, self._at["features"], READ)):
            pass
        self._put_out(self.join.flush())

    def _next(self, entries: Entries) -> Entries:
        """Those from where we are: a group may begin before or behind that."""
        at, old = self._at["features"], int((entries.offset < self._at["features"]).sum())
        parts = []
        while len(entries) > old and at < int(entries.offset[old]):
            gap = int(entries.offset[old]) - at
            part = self.log.read(self.topics.features, self.partition, at, min(gap, READ))
            parts.append(part.first(int((part.offset < at + gap).sum())))
            if not len(parts[-1]):
                break  # the log has dropped them
            at = int(parts[-1].offset[-1]) + 1
        rest = (entries.partition[old:], entries.offset[old:], entries.time_ms[old:])
        return Entries.join([*parts, Entries(*rest, entries.key[old:], entries.value[old:])])

    def _behind(self) -> bool:
        end = self.log.stats(self.topics.features).end[self.partition]
        return bool(self._at["features"] < end)

    def _shown(self, entries: Entries) -> tuple[dict[str, Array] | None, int]:
        """Impressions of entries of the feature stream; ``features`` points back at them."""
        if not len(entries):
            return None, 0
        ids = read_ids(entries.value)
        self._reject(self.topics.features, entries, ids.bad)
        self._payloads.put(entries.offset.tolist(), entries.value)
        shown = {name: ids.columns[name] for name in SHOWN}
        shown["features"] = pointer(entries.offset[ids.entry], ids.card)
        self._read("features", entries, shown["time_ms"])
        return shown, len(entries)

    def _told(self) -> tuple[dict[str, Array] | None, int]:
        """The next reports of the label stream."""
        entries = self.log.read(self.topics.events, self.partition, self._at["events"], READ)
        if not len(entries):
            return None, 0
        told, bad = read_reports(entries.value)
        self._reject(self.topics.events, entries, bad)
        self._read("events", entries, told["report_ms"])
        return told, len(entries)

    def _read(self, stream: str, entries: Entries, stamps: Array) -> None:
        self._at[stream] = int(entries.offset[-1]) + 1
        good = stamps[stamps <= LAST_MS]
        self._clock[stream] = max(self._clock[stream], int(good.max(initial=-1)))

    def _watermark(self, silent: list[str], now_ms: int) -> int:
        """Every record stamped before it has been read."""
        clock = dict(self._clock)
        for stream in silent:
            clock[stream] = max(clock[stream], now_ms - self._settle_ms)
        return min(clock.values()) - self.join.config.disorder_ms

    # -- put out ------------------------------------------------------------------------------

    def _put_out(self, joined: Joined) -> None:
        """Append what closed; a record holds the samples of one request with one close."""
        if self.topics.corrections and len(joined.late):
            self._correct(self.topics.corrections, joined.late)
        samples = self._new(joined.samples)
        if not len(samples):
            return
        order = np.lexsort((samples["features"], samples["close_ms"]))
        samples = samples.take(order)
        offset, close = samples["features"] >> CARD_BITS, samples["close_ms"]
        entries = self._payloads.get(np.unique(offset))
        if gone := set(offset.tolist()) - entries.keys():
            kept = ~np.isin(offset, list(gone))
            self.count["gone"] += int((~kept).sum())
            samples, offset, close = samples.take(kept), offset[kept], close[kept]
        if not len(offset):
            return
        first = np.ones(len(offset), bool)
        first[1:] = (offset[1:] != offset[:-1]) | (close[1:] != close[:-1])
        starts = np.flatnonzero(first)
        n_cards, cards = np.diff(starts, append=len(offset)), samples["features"] & MOST_CARD
        payloads = [entries[at] for at in offset[starts].tolist()]
        values = sample_record.pack(payloads, n_cards, cards, samples, self.epoch)
        keys = [str(req_id) for req_id in samples["req_id"][starts].tolist()]
        self._since_claim += len(values)
        if self._since_claim >= CLAIM_EVERY:
            values, keys = [claim(self.epoch), *values], [self._key, *keys]
            self._since_claim = 0
        self._snapshots.check(self.partition, self.epoch)
        self._at["samples"] = self._append(self.topics.samples, values, keys) + 1
        self.count["samples"] += len(offset)

    def _new(self, samples: Table) -> Table:
        """Without those that are in the topic already."""
        if not self._out or not len(samples):
            return samples
        pairs = zip(samples["req_id"].tolist(), samples["video_id"].tolist(), strict=True)
        there = np.array([pair in self._out for pair in pairs])
        again = samples.take(there)
        self._out -= set(zip(again["req_id"].tolist(), again["video_id"].tolist(), strict=True))
        self.count["again"] += len(again)
        return samples.take(~there)

    def _append(self, topic: str, values: list[bytes], keys: list[str]) -> int:
        """The last offset. Raises ``DataError`` where topics are not partitioned alike."""
        where = self.log.append(topic, values, keys)
        if (where.partition != self.partition).any():
            raise DataError(
                f"topic {topic!r} must have as many partitions as {self.topics.features!r}, and "
                "both streams must be keyed by req_id"
            )
        return int(where.offset.max())

    def _correct(self, topic: str, late: Table) -> None:
        """Late labels as corrections, at least once each; ``event_id`` tells repetitions."""
        names = list(late)
        rows = zip(*(late[name].tolist() for name in names), strict=True)
        values = [json.dumps(dict(zip(names, row, strict=True))).encode() for row in rows]
        self.log.append(topic, values, [str(req_id) for req_id in late["req_id"].tolist()])

    def _reject(self, topic: str, entries: Entries, bad: dict[int, str]) -> None:
        """Count broken entries and tell where they are; at least once each."""
        self.count["bad"] += len(bad)
        if bad and self.topics.dead_letters:
            where = {"topic": topic, "partition": self.partition}
            letters = [
                {**where, "offset": int(entries.offset[at]), "reason": why}
                for at, why in bad.items()
            ]
            self.log.append(self.topics.dead_letters, [json.dumps(x).encode() for x in letters])
