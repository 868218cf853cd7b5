"""The sample join beside a plain dictionary with a heap: same input, same samples, CPU time.

The peer is what one writes first: a record at a time, a dictionary from (request, item) to the
open sample, a heap of closes, event ids in a set. It gets Python lists made beforehand, so only
its own work is timed; it does less than the join (no checks, no counts by delay, no disorder).
Where bytewax is installed (extra ``bench``), the same peer runs inside it too (``join_bytewax``).

Run: ``python -m tests.bench.join``.
"""

import gc
import heapq
import importlib.util
import os
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.offline_online.join.records import KINDS
from reclab.offline_online.join.sample_join import SampleJoin, SampleJoinConfig
from reclab.offline_online.join.window import MINUTE_MS, FixedWindow, SessionEnd

Columns = dict[str, Array]
BYTEWAX = importlib.util.find_spec("bytewax") is not None
PASSES = 3  # the shortest counts
WATCH, PAY = KINDS.index("watch"), KINDS.index("pay")


def stream(n: int, hours: float = 4.0, seed: int = 0) -> tuple[Columns, Columns]:
    """``n`` impressions in pages of 10 and 20 % feedback: median delay 40 s, 3 % beyond 20 min."""
    chance = rng(seed, "join bench")
    page = np.arange(n) // 10
    time_ms = np.sort(chance.integers(0, int(hours * 3_600_000), n // 10 + 1))[page]
    item = chance.integers(0, 1 << 40, n)
    shown = {"req_id": page + 10**6, "video_id": item, "user_id": chance.integers(0, 10**6, n),
             "features": np.arange(n), "time_ms": time_ms, "session_id": page // 4}  # fmt: skip
    told = chance.choice(n, n // 5, replace=False)
    spread = np.log(20 * 60 / 40) / 1.8808  # the normal's 97 % point
    delay = (40_000 * np.exp(spread * chance.standard_normal(len(told)))).astype(np.int64)
    reports = {"event_id": np.arange(len(told)), "req_id": shown["req_id"][told],
               "video_id": item[told], "kind": chance.integers(0, len(KINDS), len(told)),
               "value": np.ones(len(told)), "event_ms": time_ms[told] + delay // 2,
               "report_ms": time_ms[told] + delay}  # fmt: skip
    order = np.argsort(reports["report_ms"], kind="stable")
    return shown, {name: column[order] for name, column in reports.items()}


def batches(shown: Columns, told: Columns, seconds: int) -> Iterator[tuple[Columns, Columns]]:
    """What arrived in each micro-batch of so many seconds."""
    end = max(int(shown["time_ms"].max()), int(told["report_ms"].max()))
    edges = np.arange(0, end + 2000 * seconds, 1000 * seconds)
    cuts = np.searchsorted(shown["time_ms"], edges), np.searchsorted(told["report_ms"], edges)
    for i in range(len(edges) - 1):
        pair = [slice(cut[i], cut[i + 1]) for cut in cuts]
        if pair[0].start < pair[0].stop or pair[1].start < pair[1].stop:
            yield tuple(  # type: ignore[misc]
                {name: column[part] for name, column in columns.items()}
                for columns, part in zip((shown, told), pair, strict=True)
            )


class DictionaryJoin:
    """The peer. ``update`` takes lists of tuples; samples are tuples in ``out``."""

    def __init__(self, window_ms: int, remember_ms: int = 0) -> None:
        self.window_ms, self.remember_ms = window_ms, remember_ms
        self.rows: dict[tuple[int, int], list[Any]] = {}
        self.heap: list[tuple[int, tuple[int, int]]] = []
        self.closed: deque[tuple[int, tuple[int, int]]] = deque()
        self.seen: set[int] = set()
        self.ids: deque[tuple[int, int]] = deque()
        self.out: list[tuple[Any, ...]] = []
        self.late = self.unmatched = self.doubled = 0

    def update(self, shown: list[tuple[int, ...]], told: list[tuple[Any, ...]], now: int) -> None:
        """Read a batch; ``now``: everything stamped before has been read."""
        rows, heap, seen, ids = self.rows, self.heap, self.seen, self.ids
        for req, item, user, features, time_ms in shown:
            key = (req, item)
            if key in rows:
                self.doubled += 1
                continue
            rows[key] = [time_ms, user, features, 0, 0, 0.0, 0.0, True]
            heapq.heappush(heap, (time_ms + self.window_ms, key))
        for event, req, item, kind, value, stamp in told:
            if event in seen:
                self.doubled += 1
                continue
            seen.add(event)
            ids.append((stamp, event))
            row = rows.get((req, item))
            if row is None:
                self.unmatched += 1
            elif not row[7] or stamp > row[0] + self.window_ms:
                self.late += 1
            else:
                row[3] |= 1 << kind
                row[4] += 1
                if kind == WATCH:
                    row[5] = max(row[5], value)
                elif kind == PAY:
                    row[6] += value
        while heap and heap[0][0] < now:
            close, key = heapq.heappop(heap)
            row = rows[key]
            self.out.append((*key, *row[:7], close))
            row[7] = False
            self.closed.append((close, key))
        horizon = now - self.remember_ms
        while self.closed and self.closed[0][0] < horizon:
            del rows[self.closed.popleft()[1]]
        while ids and ids[0][0] < horizon - self.window_ms:
            seen.discard(ids.popleft()[1])


def rows_of(samples: list[Any]) -> list[tuple[Any, ...]]:
    """Samples as sorted tuples like those of the peer."""
    names = ("req_id", "video_id", "time_ms", "user_id", "features",
             "labels", "n_labels", "watch_sec", "pay_amount", "close_ms")  # fmt: skip
    columns = [np.concatenate([part[name] for part in samples]).tolist() for name in names]
    return sorted(zip(*columns, strict=True))


def compare(shown: Columns, told: Columns, seconds: int, remember_ms: int) -> None:
    """All on the same micro-batches: events a CPU second, and our ratio if samples are equal."""
    parts = list(batches(shown, told, seconds))
    names = ("req_id", "video_id", "user_id", "features", "time_ms")
    kinds = ("event_id", "req_id", "video_id", "kind", "value", "report_ms")
    lists = []
    now = -1
    for a, b in parts:
        stamps = [int(c.max()) for c in (a["time_ms"], b["report_ms"]) if len(c)]
        now = max(now, *stamps)
        lists.append((list(zip(*(a[k].tolist() for k in names), strict=True)),
                      list(zip(*(b[k].tolist() for k in kinds), strict=True)), now))  # fmt: skip
    n = len(shown["time_ms"]) + len(told["kind"])
    peer_s, ours_s = [], []
    gc.collect()
    gc.disable()  # or the collector walks the peer's tuples over and over, at four times the cost
    for _ in range(PASSES):
        peer = DictionaryJoin(20 * MINUTE_MS, remember_ms)
        began = time.process_time()
        for batch in lists:
            peer.update(*batch)
        peer.update([], [], 1 << 61)
        peer_s.append(time.process_time() - began)
        join = SampleJoin(FixedWindow(), SampleJoinConfig(remember_ms=remember_ms))
        began = time.process_time()
        samples = [join.update(*part).samples for part in parts]
        samples.append(join.flush().samples)
        ours_s.append(time.process_time() - began)
    right = rows_of(samples)
    peers = {"dictionary": (min(peer_s), sorted(peer.out) == right)}
    del peer
    if BYTEWAX:
        from tests.bench.join_bytewax import records, run

        keyed = records(lists)
        took = [run(keyed, 20 * MINUTE_MS, remember_ms) for _ in range(PASSES)]
        peers["bytewax"] = min(s for s, _ in took), sorted(took[0][1]) == right
    gc.enable()
    rate = n / min(ours_s) / 1e6
    print(f"{seconds:>4} s{remember_ms // MINUTE_MS:>8} min{rate:>10.2f} M/s", end="")
    for peer_best, equal in peers.values():
        ratio = f"{peer_best / min(ours_s):.2f}x" if equal else "DIFFERENT"
        print(f"{n / peer_best / 1e6:>12.2f} M/s{ratio:>10}", end="")
    print(flush=True)


def state_size(shown: Columns, told: Columns) -> None:
    """Bytes for each open impression, and for a snapshot, in the middle of the stream."""
    for rule in (FixedWindow(), SessionEnd()):
        for remember_ms in (0, 60 * MINUTE_MS):
            join = SampleJoin(rule, SampleJoinConfig(remember_ms=remember_ms))
            for part in list(batches(shown, told, 30))[:300]:
                join.update(*part)
            report = join.report()
            kept = len(join.state()) / report.open
            name = f"{type(rule).__name__:<12}{remember_ms // MINUTE_MS:>4} min"
            print(f"{name}{report.open:>10,} open{report.bytes_per_open:>8.0f} B in memory", end="")
            print(f"{kept:>8.0f} B in a snapshot")


def main() -> None:
    """Print the tables."""
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    shown, told = stream(1_000_000)
    print(f"{len(shown['time_ms']):,} impressions over 4 h, {len(told['kind']):,} reports")
    peers = f"{'dictionary':>16}{'ratio':>10}" + f"{'bytewax':>16}{'ratio':>10}" * BYTEWAX
    print(f"{'batch':>6}{'remember':>12}{'join':>14}{peers}   (events a CPU second)")
    if not BYTEWAX:
        print("bytewax left out: it is not installed (pip install 'reclab-workbook[bench]')")
    for seconds, minutes in ((10, 0), (30, 0), (60, 0), (30, 60)):
        compare(shown, told, seconds, minutes * MINUTE_MS)
    state_size(shown, told)


if __name__ == "__main__":
    main()
