"""The same dictionary with a heap inside bytewax, a stream processor in Rust driven from Python.

All records go to one key, whose state is the whole join: bytewax then pays its way once a record
and not once a sample; with a key for each impression it is far slower. Records are tuples made
beforehand, in order of time, and enter in the micro-batches of the others.
"""

import time
from collections.abc import Iterable
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main

from tests.bench.join import DictionaryJoin

Record = tuple[int, ...]


class _Part(StatelessSourcePartition[tuple[str, Record]]):
    def __init__(self, batches: list[list[tuple[str, Record]]]) -> None:
        self._left = iter(batches)

    def next_batch(self) -> Iterable[tuple[str, Record]]:
        """The next micro-batch; ``StopIteration`` is the end."""
        return next(self._left)


class _Source(DynamicSource[tuple[str, Record]]):
    def __init__(self, batches: list[list[tuple[str, Record]]]) -> None:
        self._batches = batches

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Part:
        """For the one worker."""
        return _Part(self._batches)


class _Sink(DynamicSink[Any], StatelessSinkPartition[Any]):
    def __init__(self) -> None:
        self.out: list[Any] = []

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "_Sink":
        """For the one worker."""
        return self

    def write_batch(self, items: list[Any]) -> None:
        """Keep the samples."""
        self.out += items


class _Logic(op.StatefulBatchLogic[Record, Any, None]):
    def __init__(self, window_ms: int, remember_ms: int) -> None:
        self._join, self._now = DictionaryJoin(window_ms, remember_ms), -1

    def on_batch(self, values: list[Record]) -> tuple[list[Any], bool]:
        """Records begin with their stamp, and whether they are reports."""
        shown = [value[2:] for value in values if not value[1]]
        told = [value[2:] for value in values if value[1]]
        self._now = values[-1][0]
        return self._out(shown, told, self._now)

    def on_eof(self) -> tuple[list[Any], bool]:
        """All that is open closes."""
        return self._out([], [], 1 << 61)

    def _out(self, shown: list[Any], told: list[Any], now: int) -> tuple[list[Any], bool]:
        self._join.update(shown, told, now)
        out, self._join.out = self._join.out, []
        return out, False

    def snapshot(self) -> None:
        """Not asked for: recovery is off."""


def records(lists: list[tuple[list[Any], list[Any], int]]) -> list[list[tuple[str, Record]]]:
    """Micro-batches of (impressions, reports, watermark) as keyed records in order of time."""
    found = []
    for shown, told, _ in lists:
        both = [(row[-1], 0, *row) for row in shown] + [(row[-1], 1, *row) for row in told]
        found.append([("all", row) for row in sorted(both, key=lambda row: row[0])])
    return found


def run(
    batches: list[list[tuple[str, Record]]], window_ms: int, remember_ms: int
) -> tuple[float, list[Any]]:
    """CPU seconds of all threads, and the samples."""
    flow, sink = Dataflow("join"), _Sink()
    keyed: Any = op.input("in", flow, _Source(batches))
    joined = op.stateful_batch("join", keyed, lambda _: _Logic(window_ms, remember_ms))
    op.output("out", joined, sink)
    began = time.process_time()
    run_main(flow)
    return time.process_time() - began, [sample for _, sample in sink.out]
