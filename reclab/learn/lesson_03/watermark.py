"""Exercise 3.6: the watermark of several partitions (水位线).

w = min over partitions that are not idle of (newest stamp of it - disorder), and it never goes back

A sample may close when nothing older can come. One partition tells only of itself, so the slowest
decides. One that is silent would hold all samples open for ever: after a while without an entry,
by the clock of the reader, it no longer counts.
Reference: Akidau et al. 2015 (VLDB); Apache Flink's idle sources.

Simplified: an idle partition that comes back may bring late entries; industry counts those apart.
"""

from collections.abc import Callable

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe


def watermark(partition, stamp_ms, read_ms, n_partitions, disorder_ms, idle_ms):
    """Entries (n,) in the order of reading -> (n,) watermark after each, -1 = none yet."""
    newest = [-1] * n_partitions
    heard = [read_ms[0] if len(read_ms) else 0] * n_partitions
    found, mark = [], -1
    for p, stamp, now in zip(partition, stamp_ms, read_ms, strict=True):
        newest[p], heard[p] = max(newest[p], stamp), now
        busy = [newest[q] for q in range(n_partitions) if now - heard[q] < idle_ms]
        if min(busy) >= 0:
            mark = max(mark, min(busy) - disorder_ms)
        found.append(mark)
    return np.array(found, np.int64)


def _otherwise(
    partition: Array, stamp_ms: Array, read_ms: Array, n: int, disorder: int, idle: int, how: str
) -> Array:
    """The watermark with one thing done otherwise."""
    start = int(read_ms[0]) if len(read_ms) else 0
    newest, heard, mark, found = [-1] * n, [start] * n, -1, []
    for p, stamp, now in zip(partition.tolist(), stamp_ms.tolist(), read_ms.tolist(), strict=True):
        newest[p] = stamp if how == "latest" else max(newest[p], stamp)
        heard[p] = stamp if how == "by stamp" else now
        clock = max(newest) if how == "by stamp" else now
        busy = [q for q in range(n) if clock - heard[q] < idle or how in ("waits", "newest")]
        if how == "unheard":
            busy = [q for q in busy if newest[q] >= 0]
        if how == "unheard waits":
            busy = [q for q in range(n) if newest[q] < 0 or q in busy]
        values = [newest[q] for q in busy]
        low = (max if how in ("newest", "max") else min)(values, default=-1)
        if low >= 0:
            now_at = low - (0 if how == "exact" else disorder)
            mark = now_at if how == "back" else max(mark, now_at)
        found.append(mark)
    return np.array(found, np.int64)


def _by(how: str) -> Callable[..., Array]:
    def computes(
        partition: Array, stamp: Array, read: Array, n: int, disorder: int, idle: int
    ) -> Array:
        return _otherwise(partition, stamp, read, n, disorder, idle, how)

    return computes


MISCONCEPTIONS = (
    Misconception(
        "the newest of all partitions",
        _by("max"),
        "The fastest partition says nothing of the others: entries that old may still come from "
        "the slowest. Take the minimum over the partitions.",
    ),
    Misconception(
        "a silent partition is waited for",
        _by("waits"),
        "One partition without traffic stops the watermark, and with it every sample. Leave out "
        "those from which nothing has been read for idle_ms.",
    ),
    Misconception(
        "it goes back",
        _by("back"),
        "What has been closed stays closed: when an idle partition comes back with older stamps, "
        "the watermark stays where it is.",
    ),
    Misconception(
        "the latest stamp instead of the newest",
        _by("latest"),
        "Within a partition stamps may be out of order by disorder_ms: keep the largest so far, "
        "not the one read last.",
    ),
    Misconception(
        "disorder_ms is not taken off",
        _by("exact"),
        "An entry up to disorder_ms older than the newest may still come: the watermark is that "
        "much behind.",
    ),
    Misconception(
        "unheard partitions are left out at once",
        _by("unheard"),
        "At the start a partition that has not spoken yet may hold old entries: until idle_ms have "
        "passed since the first reading, there is no watermark.",
    ),
    Misconception(
        "unheard partitions are waited for",
        _by("unheard waits"),
        "A partition that never speaks is idle as well, idle_ms after the first reading.",
    ),
    Misconception(
        "idle by the stamps",
        _by("by stamp"),
        "Stamps of a replayed day run by in a second. Whether a partition is silent is seen by the "
        "reader's clock, read_ms.",
    ),
)


def _stream(n: int, n_partitions: int, rest: bool = False) -> tuple[Array, Array, Array]:
    """A day read live: stamps behind the reading by up to 20 s; one partition may fall silent."""
    chance = rng(3, "exercise-3.6", n, n_partitions)
    read = np.sort(chance.integers(0, 600_000, n))
    partition = chance.integers(0, n_partitions, n)
    if rest:
        partition[(partition == 1) & (read > 200_000) & (read < 400_000)] = 0
    return partition, np.maximum(read - chance.integers(0, 20_000, n), 0), read


def _case(name: str, rows: list[tuple[int, int, int]], n: int, disorder: int, idle: int) -> Case:
    """``rows``: (partition, stamp, read)."""
    columns = (np.array([row[i] for row in rows], np.int64) for i in range(3))
    return Case(name, (*columns, n, disorder, idle))


CASES = (
    _case("one partition", [(0, 100, 100), (0, 200, 210), (0, 150, 220)], 1, 50, 1000),
    _case(
        "two partitions, one of them slow",
        [(0, 500, 500), (1, 100, 510), (0, 900, 910), (1, 300, 920)],
        2, 0, 5000,
    ),
    _case("not all have been heard", [(0, 500, 500), (0, 700, 710), (0, 900, 910)], 2, 0, 5000),
    _case(
        "the other has never spoken",
        [(0, 500, 500), (0, 700, 710), (0, 2000, 2600), (0, 2300, 2700)],
        2, 100, 2000,
    ),
    _case(
        "one falls silent, and comes back with old stamps",
        [(0, 500, 500), (1, 450, 510), (0, 900, 1600), (0, 1500, 1700), (1, 600, 1750),
         (0, 1700, 1800), (1, 1650, 1900)],
        2, 100, 1000,
    ),
    _case(
        "a day replayed in a second",
        [(0, 100_000, 500), (1, 100_500, 501), (0, 900_000, 502), (0, 999_000, 503)],
        2, 0, 1000,
    ),
    _case("exactly idle_ms of silence", [(0, 9, 0), (1, 5, 1), (0, 500, 1000), (0, 900, 1001)],
          2, 0, 1000),
    _case("no entries", [], 3, 100, 1000),
    Case("2,000 entries of four partitions", (*_stream(2000, 4), 4, 20_000, 60_000)),
    Case("one of three silent for minutes", (*_stream(2000, 3, True), 3, 20_000, 30_000)),
)  # fmt: skip

TASK = Task(
    id="3.6",
    title="The watermark of several partitions",
    asked="Write watermark(partition, stamp_ms, read_ms, n_partitions, disorder_ms, idle_ms). "
    "Entries (n,) in the order of reading: their partition (0 … n_partitions - 1), stamp, and when "
    "they were read by the reader's clock. Return (n,), the watermark after each entry: the "
    "minimum, over the partitions that are not idle, of the newest stamp read from it, minus "
    "disorder_ms. A partition is idle when nothing was read from it for idle_ms or more (before "
    "its first entry: since read_ms[0]). While a partition that is not idle has not spoken yet, "
    "the watermark stays, and also when all are idle; it is -1 before it is first known, and it "
    "never goes back.",
    starter="def watermark(partition, stamp_ms, read_ms, n_partitions, disorder_ms, idle_ms):\n"
    '    """Entries (n,) as read -> (n,) watermark after each, -1 = none yet."""\n    ...',
    judge=Probe(
        watermark,
        CASES,
        MISCONCEPTIONS,
        praise="Handed to the join, it decides when samples leave.",
    ),
    hints=(
        "What has to be remembered of each partition? Two things: its newest stamp, and when it "
        "was last heard.",
        "At each entry: renew both for its partition, list the newest stamps of those with now - "
        "heard < idle_ms, and take their minimum.",
        "Begin with newest = -1 and heard = read_ms[0] for all. If the minimum is -1, nothing is "
        "known yet; else mark = max(mark, minimum - disorder_ms).",
    ),
    solution=watermark,
    why="The watermark is a promise: nothing older will be waited for. Too fast, and late entries "
    "are lost; too slow, and every sample is stale and the state grows. The minimum is the only "
    "safe promise, and an idle partition has to be left out of it, or one quiet topic stops the "
    "whole join, a fault that is found at night, when traffic ebbs.",
    when_slow="One pass over the entries; n_partitions is small.",
    limit_s=10.0,
)
