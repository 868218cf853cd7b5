"""Label store: all feedback on one card of one request as one value in Redis, merged as it comes.

key = ``req_id:item_id``     value = what came (bits of kinds, watch = max, pay = sum), first and
last stamp, and the id of each event that is in it
    merge(merge(v, e), e) = merge(v, e),  merge(merge(v, e), f) = merge(merge(v, f), e)
so any order, repetition or interleaving of consumers ends in one value. One script merges a batch
and notes how far the log has been merged: the offsets can neither run ahead of the labels nor be
kept without them, and a store that comes back empty asks for the log from its beginning.
Reference: chapter 2.3.1 (feedback to Redis by request and item); Helland 2012 (idempotence).

Simplified: one Redis; a cluster needs a batch cut by slot, and a note of offsets in each.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from reclab.core.errors import check_int
from reclab.core.types import Array
from reclab.offline_online.join.records import KINDS, Columns
from reclab.stores.kv import KV, KVConfig

WATCH, PAY = KINDS.index("watch"), KINDS.index("pay")
CHUNK = 2_000  # events that one script merges: some ms in which Redis hears nobody else
MOST = 200  # events on one card; more is no human, and each further one would cost more
_RECORD = np.dtype([("id", "S8"), ("kind", "<u2"), ("value", "<f8"), ("stamp", "<i8")])
_HEAD = np.dtype([("labels", "<u2"), ("watch_sec", "<f8"), ("pay_amount", "<f8"),
                  ("first_ms", "<i8"), ("last_ms", "<i8"), ("n", "<u4")])  # fmt: skip

# keys: offsets, cards; arguments: life in ms, partitions, then partition, first offset, next offset
# of each, then for each card how many events and these. -> 1, merged, doubled, too many; zeros when
# events before these are missing: then nothing is written.
_MERGE = f"""
local parts = tonumber(ARGV[2])
for i = 1, parts do
  if tonumber(redis.call('HGET', KEYS[1], ARGV[3 * i]) or '0') < tonumber(ARGV[3 * i + 1]) then
    return {{0, 0, 0, 0}}
  end
end
local data, at, merged, doubled, refused = ARGV[#ARGV], 1, 0, 0, 0
for k = 2, #KEYS do
  local n, held = 0, redis.call('GET', KEYS[k])
  n, at = struct.unpack('<I4', data, at)
  local labels, watch, pay, first, last = 0, 0, 0, 9e15, 0
  local ids, known = {{}}, {{}}
  if held then
    labels, watch, pay, first, last = struct.unpack('<I2ddi8i8', held, 2)
    for j = 36, #held, 8 do
      local id = string.sub(held, j, j + 7)
      known[id], ids[#ids + 1] = true, id
    end
  end
  local before = #ids
  for _ = 1, n do
    local id = string.sub(data, at, at + 7)
    local kind, value, stamp
    kind, value, stamp, at = struct.unpack('<I2di8', data, at + 8)
    if known[id] then doubled = doubled + 1
    elseif #ids >= {MOST} then refused = refused + 1
    else
      known[id], ids[#ids + 1] = true, id
      labels = bit.bor(labels, bit.lshift(1, kind))
      if kind == {WATCH} then watch = math.max(watch, value) end
      if kind == {PAY} then pay = pay + value end
      first, last = math.min(first, stamp), math.max(last, stamp)
    end
  end
  if #ids > before then
    merged = merged + #ids - before
    local head = 'b' .. struct.pack('<I2ddi8i8', labels, watch, pay, first, last)
    redis.call('SET', KEYS[k], head .. table.concat(ids), 'PX', ARGV[1])
  end
end
for i = 1, parts do
  local p, stop = ARGV[3 * i], tonumber(ARGV[3 * i + 2])
  if tonumber(redis.call('HGET', KEYS[1], p) or '0') < stop then
    redis.call('HSET', KEYS[1], p, string.format('%.0f', stop))
  end
end
return {{1, merged, doubled, refused}}
"""
# One string for all cards: as replies of their own each would cost the client far more to parse.
_READ = """
local found = {}
for i, key in ipairs(KEYS) do
  local held = redis.call('GET', key)
  if held then
    found[i] = string.sub(held, 2, 35) .. struct.pack('<I4', (#held - 35) / 8)
  else found[i] = string.rep('\\0', 38) end
end
return table.concat(found)
"""


@dataclass(frozen=True)
class LabelStoreConfig:
    """``expire_ms``: how long labels can be read after the first report on the card (twice the
    longest join window or more: 1-24 h); Redis forgets them as long after the latest one."""

    expire_ms: int = 24 * 3_600_000

    def __post_init__(self) -> None:
        check_int("LabelStoreConfig.expire_ms", self.expire_ms, 1, 10**12, "86400000")


class Merged(NamedTuple):
    """What became of a batch. ``whole`` False: earlier events are missing, nothing was merged."""

    whole: bool = True
    merged: int = 0
    doubled: int = 0
    refused: int = 0


@dataclass(frozen=True)
class Labels:
    """Feedback on n cards, each (n,): ``labels`` uint16, bit k = kind k came; ``n_labels`` events;
    ``watch_sec`` longest; ``pay_amount`` sum; ``first_ms``, ``last_ms`` stamps, 0 = none came."""

    labels: Array
    n_labels: Array
    watch_sec: Array
    pay_amount: Array
    first_ms: Array
    last_ms: Array


class LabelStore:
    """``merge`` feedback and ``read`` it by request and item. Raises ``StoreDown``."""

    def __init__(
        self,
        address: str | None = None,
        namespace: str = "labels",
        config: LabelStoreConfig | None = None,
        kv: KVConfig | None = None,
    ) -> None:
        self.config = config or LabelStoreConfig()
        self.kv = KV(address, namespace, kv)
        self._durable = self.kv.config.folder is not None
        self._set_up()

    def _set_up(self) -> None:
        if self._durable:  # what was acknowledged is on the disk, as in the event log
            with self.kv.answering():
                self.kv.redis.config_set("appendfsync", "always")

    def merge(self, told: Columns, spans: Mapping[int, tuple[int, int]] | None = None) -> Merged:
        """Merge reports (m,): ``name`` S8 of the event, ``req_id``, ``video_id``, ``kind``,
        ``value``, ``report_ms``. ``spans``: first and next offset of what was read of each
        partition; events before the first must have been merged, or ``whole`` is False."""
        spans, m = spans or {}, len(told["kind"])
        order = np.lexsort((told["video_id"], told["req_id"]))
        req, item = told["req_id"][order], told["video_id"][order]
        new = np.ones(m, bool)
        new[1:] = (req[1:] != req[:-1]) | (item[1:] != item[:-1])
        begins = np.flatnonzero(new)
        names = self._keys(req[begins], item[begins])
        rows = _records(told, order)
        calls = []
        for a, b in _chunks(begins, m) or [(0, 0)]:
            cut = np.append(begins[a:b], begins[b] if b < len(begins) else m)
            calls.append((names[a:b], _packed(rows, cut)))
        with self.kv.answering(), self.kv.redis.pipeline(transaction=False) as pipe:
            for i, (keys, packed) in enumerate(calls):
                last = i == len(calls) - 1  # offsets move when all of it has been merged
                flat = [x for p, (a, z) in spans.items() for x in (p, a, z if last else a)]
                words = (self.config.expire_ms, len(spans), *flat, packed)
                pipe.eval(_MERGE, 1 + len(keys), self._offsets, *keys, *words)
            answers = np.array(pipe.execute(), np.int64).reshape(-1, 4)
        return Merged(bool(answers[:, 0].all()), *answers[:, 1:].sum(0).tolist())

    def read(self, req_id: Array, item_id: Array, now_ms: int) -> Labels:
        """What is known at ``now_ms``, by the clock of the stamps, of cards (n,)."""
        names = self._keys(req_id, item_id)
        parts = []
        for start in range(0, len(names), CHUNK):
            keys = names[start : start + CHUNK]
            with self.kv.answering():
                parts.append(self.kv.redis.eval(_READ, len(keys), *keys))
        held = np.frombuffer(b"".join(parts), _HEAD).copy()
        held[(held["n"] > 0) & (now_ms - held["first_ms"] >= self.config.expire_ms)] = 0
        columns = ("labels", "n", "watch_sec", "pay_amount", "first_ms", "last_ms")
        return Labels(*(np.ascontiguousarray(held[name]) for name in columns))

    def offsets(self) -> dict[int, int]:
        """How far each partition of the log has been merged: the next offset."""
        with self.kv.answering():
            held = self.kv.redis.hgetall(self._offsets)
        return {int(p): int(offset) for p, offset in dict(held).items()}  # type: ignore[arg-type]

    @property
    def _offsets(self) -> str:
        return self.kv.key("offsets")

    def _keys(self, req_id: Array, item_id: Array) -> list[str]:
        start = self.kv.key("")
        pairs = zip(req_id.tolist(), item_id.tolist(), strict=True)
        return [f"{start}{req}:{item}" for req, item in pairs]

    def reconnect(self) -> None:
        """Connect again after ``StoreDown``."""
        self.kv.reconnect()
        self._set_up()

    def close(self) -> None:
        """Let go of the connection."""
        self.kv.close()


def event_names(apps: Sequence[str], devices: Sequence[int], ids: Sequence[object]) -> Array:
    """(m,) S8: events by app, device and the id that the device gave. 64 bits are plenty, as only
    events on one card are compared."""
    rows = zip(apps, devices, ids, strict=True)
    texts = [f"{app}\0{device}\0{event}".encode() for app, device, event in rows]
    digests = [hashlib.blake2b(text, digest_size=8).digest() for text in texts]
    return np.frombuffer(b"".join(digests), "S8")


def _records(told: Columns, order: Array) -> Array:
    rows = np.empty(len(order), _RECORD)
    columns = ("name", "kind", "value", "report_ms")
    for field, column in zip(("id", "kind", "value", "stamp"), columns, strict=True):
        rows[field] = told[column][order]
    return rows


def _chunks(begins: Array, m: int) -> list[tuple[int, int]]:
    """Ranges of cards with about ``CHUNK`` events each."""
    if not len(begins):
        return []
    cuts = np.unique(np.searchsorted(begins, np.arange(0, m, CHUNK)))
    edges = [*cuts.tolist(), len(begins)]
    return [(a, b) for a, b in zip(edges, edges[1:], strict=False) if a < b]


def _packed(rows: Array, cut: Array) -> bytes:
    """For each card the number of its events, then these."""
    sizes, at = np.diff(cut), cut[:-1]
    data, size = rows.tobytes(), _RECORD.itemsize
    heads = sizes.astype("<u4").tobytes()
    spans = zip(at.tolist(), (at + sizes).tolist(), range(0, 4 * len(sizes), 4), strict=True)
    return b"".join([heads[h : h + 4] + data[a * size : b * size] for a, b, h in spans])
