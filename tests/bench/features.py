"""Feature stores: what versions, micro-batches, rebuilds and two versions in memory cost.

CPU time of this process, one thread; the platform at laptop scale, its last day streamed behind a
batch of all days before. The share of a bare copy of the stores' arrays is shown beside it.
"""

import time
from collections.abc import Callable

import numpy as np

from reclab.core.clock import DAY_MS
from reclab.core.tables import Table
from reclab.lab import open_lab
from reclab.lab.feature_drift import drift
from reclab.lab.skew_study import skew
from reclab.offline_online.features.live_features import IMPRESSION_COLUMNS, LiveFeatures
from reclab.offline_online.serving.versions import SHARED, Versions
from reclab.stores.fork import arrays_in, nbytes

ROUNDS, STEP_MS = 4, 60_000


def cpu(what: Callable[[], object], n: int = 1) -> float:
    """CPU seconds of one call."""
    began = time.process_time()
    for _ in range(n):
        what()
    return (time.process_time() - began) / n


def cut(table: Table, stamp: str, start_ms: int, end_ms: int) -> Table:
    """The rows stamped ``start_ms <= t < end_ms`` of a table sorted by that stamp."""
    a, b = np.searchsorted(table[stamp], (start_ms, end_ms))
    return Table({name: table[name][a:b] for name in table})


def main() -> None:
    """Print the numbers."""
    lab = open_lab("laptop")
    told = lab.logs.feedback
    told = Table({name: told[name] for name in told}).with_columns(event_id=np.arange(len(told)))
    told = told.take(np.argsort(told["report_ms"], kind="stable"))
    shown = Table({name: lab.logs.interactions[name] for name in IMPRESSION_COLUMNS})
    day = (int(shown["time_ms"].max()) // DAY_MS) * DAY_MS + DAY_MS // 2
    past = cut(shown, "time_ms", 0, day), cut(told, "report_ms", 0, day)
    live: list[LiveFeatures] = []
    seconds = cpu(lambda: live.append(LiveFeatures.build(lab.logs, *past)))
    rows = len(past[0]) + len(past[1])
    print(f"rebuild: {rows:,} rows in {seconds:.1f} s, {rows / seconds:,.0f} rows/CPU s")
    versions = Versions(live[0])
    print(f"pin (read the pointer): {1e9 * cpu(lambda: versions.current, 200_000):.0f} ns")
    print(f"draft (fork): {1e6 * cpu(versions.draft, 200):.0f} us")
    state = versions.draft()
    print(f"freeze and switch: {1e6 * cpu(lambda: versions.publish(state), 200):.0f} us")
    copied = list(arrays_in(state, SHARED))
    bare = cpu(lambda: [array.copy() for array in copied])
    one = nbytes(state, shared=SHARED)
    print(f"bare copy of all arrays: {1e3 * bare:.0f} ms, {one / 1e6:.0f} MB")
    for steps in (1, 60):
        took, n = 0.0, 0
        for _ in range(ROUNDS):
            batches = []
            for _ in range(steps):
                batches.append((cut(shown, "time_ms", day, day + STEP_MS),
                                cut(told, "report_ms", day, day + STEP_MS)))  # fmt: skip
                day += STEP_MS
            n += sum(len(a) + len(b) for a, b in batches)

            def update(live: LiveFeatures, some=batches, now_ms=day) -> None:
                for batch in some:
                    live.apply(*batch)
                live.refresh(now_ms)

            before = versions.current
            took += cpu(lambda change=update: versions.change(change))
        both = nbytes(before, versions.current, shared=SHARED)
        print(
            f"published every {steps} micro-batches of a minute: {1e3 * took / ROUNDS:.0f} ms each "
            f"({took / ROUNDS / bare:.2f} of a bare copy), {n / took:,.0f} updates/CPU s; "
            f"two versions in memory: {both / one:.2f} of one"
        )
    print(f"\n{skew(lab).table()}\n\n{drift(lab).table()}")


if __name__ == "__main__":
    main()
