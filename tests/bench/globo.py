"""Globo's day: next clicks after 18:00, retrieval frozen at 18:00 and refreshed every five minutes.

Protocol: ``reclab.datasets.splits.next_clicks``: learn from the clicks before 18:00 as stamped,
test every later click that has an earlier one in its session, given the session so far; what the
session has read is never recommended. The settings below were chosen on the clicks of 17:00-18:00
(learning from those before 17:00: ``measure(tuning=True)``); the tests had no say in them.

Run: ``python -m tests.bench.globo [--tuning]``.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.filters import SeenFilter
from reclab.cascade.ranking.training import TrainConfig
from reclab.cascade.retrieval import (
    Calibration,
    ItemCFChannel,
    ItemCFConfig,
    MergeStage,
    PopularChannel,
    PopularConfig,
    SequentialChannel,
    SequentialConfig,
)
from reclab.cascade.retrieval.calibration import Pages
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.tables import Logs
from reclab.core.types import Array, Candidates
from reclab.datasets import load
from reclab.datasets.splits import CUT_MS, NextClicks, next_clicks
from reclab.stores.forward_index import ForwardIndex

HALF_HOUR, FOREVER = 0.5, float("inf")
LATEST = PopularConfig(half_life_hours=HALF_HOUR)
EVER = PopularConfig(half_life_hours=FOREVER)
COSINE = ItemCFConfig(
    gap_hours=FOREVER,
    fresh_hours=FOREVER,
    backward=1.0,
    window=20,
    neighbours=400,
    position_decay=0.85,
    length=20,
)
RECENT = ItemCFConfig(
    gap_hours=HALF_HOUR,
    fresh_hours=HALF_HOUR,
    backward=0.5,
    norm_to=0.0,
    position_decay=0.6,
    length=10,
    neighbours=400,
)
# Merged by score, channels need not do each other's work: two co-visitations that lean away from
# what everybody reads, one of half an hour and one of hours, and what is read in these minutes.
BESIDE = replace(RECENT, norm_from=1.0, norm_to=0.2, backward=0.3)
SLOW = replace(RECENT, norm_from=1.0, norm_to=0.2, fresh_hours=4.0, gap_hours=2.0)
MINUTES = PopularConfig(half_life_hours=0.1)
SEQUENTIAL = SequentialConfig(
    dim=48,
    length=10,
    n_drawn=512,
    group="session_id",
    train=TrainConfig(epochs=5, batch_rows=64, learning_rate=5e-3, patience=2, max_rows=200_000),
)
REFRESH_MS = 5 * 60_000
SPARE = 60  # answers beyond k that stand in for what the session has read


def folder() -> Path:
    """Where the shared data lie; see datasets/README.md."""
    root = os.environ.get("RECLAB_SHARED", str(Path(__file__).parents[3] / "shared"))
    return Path(root) / "data" / "globo"


def batch_of(tests: NextClicks, rows: Array) -> Batch:
    """The tests at ``rows`` as requests; what the session has read counts as exposed."""
    history = tests.history[rows]
    read = history >= 0
    starts = np.concatenate([[0], np.cumsum(read.sum(1))])
    network = np.zeros(len(rows), np.int8)
    return Batch(
        requests=(),
        user_row=tests.user_row[rows],
        time_ms=tests.time_ms[rows],
        network=network,
        history=history,
        seen_starts=starts,
        seen_rows=history[read],
    )


def blocks(rows: Array, size: int = 2048) -> Iterator[Array]:
    """Pieces of ``rows`` that fit in memory."""
    yield from (rows[start : start + size] for start in range(0, len(rows), size))


def frozen(channel: Any, tests: NextClicks, k: int = 100 + SPARE) -> Array:
    """(n, k) answers of a channel that stays as fitted."""
    every = np.arange(len(tests))
    return np.concatenate([channel.retrieve(batch_of(tests, r), k)[0] for r in blocks(every)])


def unread(merge: MergeStage, tests: NextClicks, rows: Array, k: int) -> Array:
    """(n, k) the merge's answers to the tests at ``rows``, without what the session has read."""
    batch, answer = batch_of(tests, rows), np.full((len(rows), k), -1)
    found = SeenFilter()(batch, merge(batch, Candidates.empty(len(rows))).kept).kept
    place = np.arange(len(found)) - found.starts()[:-1][found.request_row]
    inside = place < k
    answer[found.request_row[inside], place[inside]] = found.item_row[inside]
    return answer


def merged(channels: list[Any], tests: NextClicks, k: int = 100) -> Array:
    """(n, k) answers of the merge of all channels, what was read filtered out."""
    merge = MergeStage(channels, keep=k + SPARE)
    return np.concatenate([unread(merge, tests, r, k) for r in blocks(np.arange(len(tests)))])


def every_five_minutes(
    channels: list[Any], tests: NextClicks, from_ms: int, answer: Callable[[Array], None]
) -> None:
    """Before ``answer(rows)`` the channels learn what was clicked before the five minutes of these
    tests began."""
    clicks, learned = tests.logs.interactions, from_ms
    when, period = clicks["time_ms"], tests.time_ms // REFRESH_MS
    for now in np.unique(period):
        new = np.arange(*np.searchsorted(when, [learned, now * REFRESH_MS]))
        learned = int(now) * REFRESH_MS
        for channel in channels:
            channel.update(clicks.take(new))
        answer(np.flatnonzero(period == now))


def refreshed(channel: Any, tests: NextClicks, from_ms: int, k: int = 100 + SPARE) -> Array:
    """(n, k) answers of a channel that learns every five minutes what was clicked before."""
    answers = np.full((len(tests), k), -1)

    def answer(rows: Array) -> None:
        answers[rows] = channel.retrieve(batch_of(tests, rows), k)[0]

    every_five_minutes([channel], tests, from_ms, answer)
    return answers


def calibrated(channels: list[Any], logs: Logs, cut: int, k: int = 200) -> Calibration:
    """What the channels' scores said of the next click in the hour before ``cut``, refreshed every
    five minutes."""
    hour, index = next_clicks(logs, cut - HOUR_MS, cut), ForwardIndex(logs.items)
    for channel in channels:
        channel.fit(hour.train, index, cut - HOUR_MS)
    n = len(hour)
    found = [(np.full((n, k), -1), np.zeros((n, k), np.float32)) for _ in channels]

    def answer(rows: Array) -> None:
        for (item_row, score), channel in zip(found, channels, strict=True):
            item_row[rows], score[rows] = channel.retrieve(batch_of(hour, rows), k)

    every_five_minutes(channels, hour, cut - HOUR_MS, answer)
    some = np.arange(0, n, 2)  # half of them say enough
    chosen = np.ones(len(some), bool)
    pages = Pages(batch_of(hour, some), np.arange(len(some)), hour.target[some], chosen, False)
    answers = [(item_row[some], score[some]) for item_row, score in found]
    return Calibration.learn([channel.name for channel in channels], answers, pages)


def refreshed_merge(tests: NextClicks, cut: int, k: int = 100) -> Array:
    """(n, k) answers of item-CF and popularity, merged by calibrated score, refreshed."""
    channels = [ItemCFChannel(BESIDE), ItemCFChannel(SLOW), PopularChannel(MINUTES)]
    channels[1].name = "item_cf_slow"
    known = calibrated(channels, tests.logs, cut)
    index, answers = ForwardIndex(tests.logs.items), np.full((len(tests), k), -1)
    for channel in channels:
        channel.fit(tests.train, index, cut)
    merge = MergeStage(channels, keep=k + SPARE, how="score", calibration=known)

    def answer(rows: Array) -> None:
        answers[rows] = unread(merge, tests, rows, k)

    every_five_minutes(channels, tests, cut, answer)
    return answers


def both_of(tests: NextClicks, answers: Array) -> dict[str, float]:
    """HR@20 and HR@100."""
    return {f"HR@{k}": round(tests.hit_rate(answers, k), 4) for k in (20, 100)}


def measure(data: Path | None = None, tuning: bool = False, whole: bool = False) -> dict[str, Any]:
    """All hit rates. ``tuning``: 17:00-18:00 instead of the tests; ``whole``: tests until the end
    of the log (the clicks thin out after 03:00), not until midnight."""
    logs = load(data or folder())
    cut, end = (CUT_MS - HOUR_MS, CUT_MS) if tuning else (CUT_MS, 30 * DAY_MS if whole else DAY_MS)
    tests = next_clicks(logs, cut, end)
    index = ForwardIndex(logs.items)
    single = {
        "popular, all clicks alike": PopularChannel(EVER),
        "popular, half-life 30 min": PopularChannel(LATEST),
        "item-CF, cosine": ItemCFChannel(COSINE),
        "item-CF, recent": ItemCFChannel(RECENT),
    }
    result: dict[str, Any] = {"tests": len(tests)}
    for name, channel in single.items():
        began = time.perf_counter()
        channel.fit(tests.train, index, cut)
        fit_s = time.perf_counter() - began
        rates = both_of(tests, frozen(channel, tests))
        result[f"frozen: {name}"] = {**rates, "fit_s": round(fit_s, 2)}
    began = time.perf_counter()
    sequential = SequentialChannel(SEQUENTIAL).fit(tests.train, index, cut)
    fit_s = time.perf_counter() - began
    result["frozen: sequential"] = {
        **both_of(tests, frozen(sequential, tests)),
        "fit_s": round(fit_s),
    }
    both = [single["item-CF, recent"], single["popular, half-life 30 min"]]
    result["frozen: merged"] = both_of(tests, merged(both, tests))
    for name, channel in (("popular, half-life 30 min", both[1]), ("item-CF, recent", both[0])):
        result[f"refreshed: {name}"] = both_of(tests, refreshed(channel, tests, cut))
    result["refreshed: merged by score"] = both_of(tests, refreshed_merge(tests, cut))
    return result


def main() -> None:
    """Print the hit rates; with ``--tuning``, those of the hour that chose the settings."""
    parser = argparse.ArgumentParser(description="Next clicks on Globo's day")
    parser.add_argument("--tuning", action="store_true", help="17:00-18:00 instead of the tests")
    tuning = parser.parse_known_args()[0].tuning
    print(json.dumps(measure(tuning=tuning), indent=2))


if __name__ == "__main__":
    main()
