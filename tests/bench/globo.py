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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.filters import SeenFilter
from reclab.cascade.retrieval import (
    ItemCFChannel,
    ItemCFConfig,
    MergeStage,
    PopularChannel,
    PopularConfig,
)
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.stage import keep_top
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


def merged(channels: list[Any], tests: NextClicks, k: int = 100) -> Array:
    """(n, k) answers of the merge of all channels, what was read filtered out."""
    merge, unread, answers = MergeStage(channels, keep=k + SPARE), SeenFilter(), []
    for rows in blocks(np.arange(len(tests))):
        batch = batch_of(tests, rows)
        found = unread(batch, merge(batch, Candidates.empty(len(rows))).kept).kept
        place = np.arange(len(found)) - found.starts()[:-1][found.request_row]
        found = keep_top(found, -place, k, "beyond k").kept
        answer = np.full((len(rows), k), -1)
        place = np.arange(len(found)) - found.starts()[:-1][found.request_row]
        answer[found.request_row, place] = found.item_row
        answers.append(answer)
    return np.concatenate(answers)


def refreshed(channel: Any, tests: NextClicks, from_ms: int, k: int = 20 + SPARE) -> Array:
    """(n, k) answers of a channel that learns every five minutes what was clicked before."""
    answers = np.full((len(tests), k), -1)
    clicks, learned = tests.logs.interactions, from_ms
    when, period = clicks["time_ms"], tests.time_ms // REFRESH_MS
    for now in np.unique(period):
        new = slice(*np.searchsorted(when, [learned, now * REFRESH_MS]))
        learned = now * REFRESH_MS
        channel.update(clicks.take(np.arange(new.start, new.stop)))
        rows = np.flatnonzero(period == now)
        answers[rows] = channel.retrieve(batch_of(tests, rows), k)[0]
    return answers


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
        answers = frozen(channel, tests)
        rates = {f"HR@{k}": round(tests.hit_rate(answers, k), 4) for k in (20, 100)}
        result[f"frozen: {name}"] = {**rates, "fit_s": round(fit_s, 2)}
    both = [single["item-CF, recent"], single["popular, half-life 30 min"]]
    answers = merged(both, tests)
    result["frozen: merged"] = {f"HR@{k}": round(tests.hit_rate(answers, k), 4) for k in (20, 100)}
    for name, channel in (("popular, half-life 30 min", both[1]), ("item-CF, recent", both[0])):
        answers = refreshed(channel, tests, cut)
        result[f"refreshed: {name}"] = {"HR@20": round(tests.hit_rate(answers, 20), 4)}
    return result


def main() -> None:
    """Print the hit rates; with ``--tuning``, those of the hour that chose the settings."""
    parser = argparse.ArgumentParser(description="Next clicks on Globo's day")
    parser.add_argument("--tuning", action="store_true", help="17:00-18:00 instead of the tests")
    tuning = parser.parse_known_args()[0].tuning
    print(json.dumps(measure(tuning=tuning), indent=2))


if __name__ == "__main__":
    main()
