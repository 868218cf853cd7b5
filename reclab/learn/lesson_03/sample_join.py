"""Exercise 3.2: the sample join itself (样本拼接), on arrays.

a report is a label of a sample  <=>  same key, request <= stamp <= request + window
each event counts once: of equal event ids the earliest stamp

Simplified: all entries lie there at once; the stream has to know when it may stop looking.
"""

from collections.abc import Callable

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe


def sample_join(key, time_ms, event, told_key, told_ms, window_ms):
    """(n,) samples, (m,) reports in any order -> (n,) labels in time, each event once."""
    order = np.argsort(told_ms, kind="stable")
    first = order[np.unique(event[order], return_index=True)[1]]
    told_key, told_ms = told_key[first], told_ms[first]
    by_key = np.argsort(key, kind="stable")
    place = np.searchsorted(key[by_key], told_key)
    inside = place < len(key)
    row = by_key[place[inside]]
    told_key, told_ms = told_key[inside], told_ms[inside]
    good = (key[row] == told_key) & (told_ms >= time_ms[row])
    good &= told_ms <= time_ms[row] + window_ms
    return np.bincount(row[good], minlength=len(key))


def _otherwise(
    key: Array, time_ms: Array, event: Array, told_key: Array, told_ms: Array, window: int,
    how: str,
) -> Array:  # fmt: skip
    """The join with one thing done otherwise."""
    step = 100 if how == "item" else 1 << 62
    rows: dict[int, int] = {}
    for i, k in enumerate(key.tolist()):
        rows.setdefault(k % step, i)
    first: dict[int, tuple[int, int]] = {}
    for i, name in enumerate(event.tolist()):
        stamp = int(told_ms[i])
        if how == "twice":
            name = i
        elif how == "content":
            name = int(told_key[i])
        old = first.get(name)
        later = how == "last" and old is not None and stamp > old[0]
        earlier = how not in ("last", "read") and old is not None and stamp < old[0]
        if old is None or later or earlier:
            first[name] = (stamp, int(told_key[i]))
    found = np.zeros(len(key), np.int64)
    for stamp, k in first.values():
        row = rows.get(k % step)
        if row is None:
            continue
        after = stamp - int(time_ms[row])
        late = after >= window if how == "open" else after > window
        found[row] += (not late or how == "late") and (after >= 0 or how == "early")
    return found


def _by(how: str) -> Callable[..., Array]:
    def computes(
        key: Array, time_ms: Array, event: Array, told_key: Array, told_ms: Array, window_ms: int
    ) -> Array:
        return _otherwise(key, time_ms, event, told_key, told_ms, window_ms, how)

    return computes


def _yes_or_no(
    key: Array, time_ms: Array, event: Array, told_key: Array, told_ms: Array, window_ms: int
) -> Array:
    found = sample_join(key, time_ms, event, told_key, told_ms, window_ms)
    return np.asarray(np.minimum(found, 1))


def _in_order_of_keys(
    key: Array, time_ms: Array, event: Array, told_key: Array, told_ms: Array, window_ms: int
) -> Array:
    found = sample_join(key, time_ms, event, told_key, told_ms, window_ms)
    return np.asarray(found[np.argsort(key, kind="stable")])


MISCONCEPTIONS = (
    Misconception(
        "repeated events count again",
        _by("twice"),
        "The log delivers at least once, and phones send again: an event is known by its id. Keep "
        "one report of each.",
    ),
    Misconception(
        "the last copy counts",
        _by("last"),
        "A copy that comes after the window would throw away the one that was in time. Of equal "
        "ids the earliest stamp counts.",
    ),
    Misconception(
        "the copy that was read first counts",
        _by("read"),
        "Reports lie in the order in which they were read, which is not that of their stamps. Of "
        "equal ids take the one with the earliest stamp.",
    ),
    Misconception(
        "one report a sample",
        _by("content"),
        "A click and a like of one sample are two events with one key. It is the event id that "
        "makes a copy.",
    ),
    Misconception(
        "joined by the item alone",
        _by("item"),
        "The same item is shown on many pages. Only the whole key, request and item, says which "
        "showing the report is about.",
    ),
    Misconception(
        "late labels count",
        _by("late"),
        "What comes after time_ms + window_ms comes when the sample has been given out: a model "
        "has learned from it already.",
    ),
    Misconception(
        "reports from before the request count",
        _by("early"),
        "A stamp before the request cannot be about it: a wrong clock, or a key used twice.",
    ),
    Misconception(
        "the end of the window is outside",
        _by("open"),
        "A report at time_ms + window_ms is in time: stamp <= close. Batch and stream must agree "
        "on it, or their samples differ.",
    ),
    Misconception(
        "yes or no",
        _yes_or_no,
        "Return how many labels came, not whether: the count tells a sample with a click and a "
        "like from one with a click.",
    ),
    Misconception(
        "in the order of the keys",
        _in_order_of_keys,
        "The counts must come back in the order of the samples as they were given; undo the sort.",
    ),
)


def _day(n: int, m: int) -> tuple[Array, ...]:
    """Samples and reports as a log has them: doubles, late ones, unknown keys, in any order."""
    chance = rng(3, "exercise-3.2", n)
    key = chance.permutation(10 * n)[:n]
    time_ms = np.sort(chance.integers(0, 3_600_000, n))
    row = chance.integers(0, n, m)
    told = time_ms[row] + (60_000 * chance.lognormal(0.0, 2.0, m)).astype(np.int64)
    told_key = np.where(chance.random(m) < 0.02, 10 * n + 5, key[row])
    again = chance.random(m) < 0.2
    event = np.concatenate([np.arange(m), np.flatnonzero(again)])
    told_key = np.concatenate([told_key, told_key[again]])
    told = np.concatenate([told, told[again] + chance.integers(1, 2_000_000, again.sum())])
    order = chance.permutation(len(event))
    return key, time_ms, event[order], told_key[order], told[order]


def _case(name: str, key: list[int], time: list[int], told: list[tuple[int, int, int]]) -> Case:
    """``told``: (event, key, stamp)."""
    event, told_key, stamp = (np.array([t[i] for t in told], np.int64) for i in range(3))
    return Case(name, (np.array(key), np.array(time), event, told_key, stamp, 1000))


CASES = (
    _case("two samples, one report", [107, 108], [0, 0], [(1, 108, 900)]),
    _case("a click and a like", [107, 108], [0, 50], [(1, 107, 300), (2, 107, 400), (3, 108, 90)]),
    _case("an event sent twice", [107], [0], [(1, 107, 300), (1, 107, 700)]),
    _case("its copy is late", [107], [0], [(1, 107, 300), (1, 107, 7000), (2, 107, 400)]),
    _case("the late copy was read first", [107], [0], [(1, 107, 7000), (1, 107, 300)]),
    _case("at the end of the window, and after it", [107], [5], [(1, 107, 1005), (2, 107, 1006)]),
    _case("from before the request", [107], [500], [(1, 107, 499), (2, 107, 500)]),
    _case("of an item that another page showed too", [107, 207], [0, 100], [(1, 207, 300)]),
    _case(
        "keys that nobody was shown",
        [305, 107],
        [0, 0],
        [(1, 106, 10), (2, 999, 20), (3, 0, 5), (4, 305, 6)],
    ),
    _case("no reports", [107, 108], [0, 0], []),
    Case("200 samples of an hour", (*_day(200, 300), 1_200_000)),
    Case("5,000 samples of an hour", (*_day(5_000, 6_000), 1_200_000)),
)

TASK = Task(
    id="3.2",
    title="The sample join on arrays",
    asked="Write sample_join(key, time_ms, event, told_key, told_ms, window_ms). Samples: key (n,) "
    "(request and item as one number, each once) and time_ms (n,). Reports in any order: event "
    "(m,) ids, told_key (m,) and stamps told_ms (m,). Return (n,): how many different events each "
    "sample got with time_ms <= stamp <= time_ms + window_ms, in the order of the samples. Of "
    "equal event ids the earliest stamp counts; keys of no sample are left out.",
    starter="def sample_join(key, time_ms, event, told_key, told_ms, window_ms):\n"
    '    """(n,) samples, (m,) reports -> (n,) labels in time, each event once."""\n    ...',
    judge=Probe(
        sample_join,
        CASES,
        MISCONCEPTIONS,
        praise="Our batch join does the same by sorting, and the stream by a table of open keys.",
    ),
    hints=(
        "Three steps: each event once, find the sample of each, count those in time. A dict from "
        "key to place will do at first.",
        "np.unique(event[order], return_index=True) with order = np.argsort(told_ms, "
        "kind='stable') finds the earliest report of each event.",
        "by_key = np.argsort(key); place = np.searchsorted(key[by_key], told_key) points to a "
        "place whose key may be another one: compare, and beware of place == n. np.bincount "
        "counts.",
    ),
    solution=sample_join,
    why="Delivery at least once makes the event id part of the join: without it a retry is a "
    "second click. Deciding by stamps alone, and never by the order of reading, is what lets a "
    "stream, its restart and a batch over the same logs give the same samples.",
    when_slow="A comparison of each report with each sample takes n times m steps. Sort once and "
    "use np.searchsorted and np.bincount.",
    limit_s=20.0,
)
