"""Exercise 3.1: when a sample stops waiting (关窗规则).

close = min(request + first,  request + window)        nothing has come yet
close = min(last label + quiet,  request + window)     something has

A fixed window waits the same for everybody. Most labels come in the first minutes or after the one
before them, so a sample that has been quiet for long can be given out earlier, and few labels are
lost. The window stays as the bound: no sample waits longer, whatever comes.

Simplified: two quiet times for all; the platform's rule has one for each state and age.
"""

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe

MINUTE = 60_000


def close_at(time_ms, last_ms, n_labels, window_ms, first_ms, quiet_ms):
    """(n,) requests, their latest labels, labels so far -> (n,) when each sample closes."""
    quiet = np.where(n_labels > 0, last_ms + quiet_ms, time_ms + first_ms)
    return np.minimum(quiet, time_ms + window_ms)


def _fixed(t: Array, last: Array, n: Array, window: int, first: int, quiet: int) -> Array:
    return np.asarray(t + window)


def _sliding(t: Array, last: Array, n: Array, window: int, first: int, quiet: int) -> Array:
    return np.asarray(np.where(n > 0, last + quiet, t + first))


def _window_slides(t: Array, last: Array, n: Array, window: int, first: int, quiet: int) -> Array:
    return np.asarray(np.minimum(np.where(n > 0, last + quiet, t + first), last + window))


def _from_request(t: Array, last: Array, n: Array, window: int, first: int, quiet: int) -> Array:
    return np.asarray(np.minimum(t + np.where(n > 0, quiet, first), t + window))


def _one_quiet(t: Array, last: Array, n: Array, window: int, first: int, quiet: int) -> Array:
    return np.asarray(np.minimum(np.where(n > 0, last, t) + quiet, t + window))


def _first_for_all(t: Array, last: Array, n: Array, window: int, first: int, quiet: int) -> Array:
    return np.asarray(np.minimum(np.where(n > 0, last, t) + first, t + window))


def _latest(t: Array, last: Array, n: Array, window: int, first: int, quiet: int) -> Array:
    return np.asarray(np.maximum(np.where(n > 0, last + quiet, t + first), t + window))


def _at_first_label(t: Array, last: Array, n: Array, window: int, first: int, quiet: int) -> Array:
    return np.asarray(np.where(n > 0, last, np.minimum(t + first, t + window)))


def _length(t: Array, last: Array, n: Array, window: int, first: int, quiet: int) -> Array:
    return np.asarray(close_at(t, last, n, window, first, quiet) - t)


def _by_stamp(t: Array, last: Array, n: Array, window: int, first: int, quiet: int) -> Array:
    return np.asarray(np.minimum(np.where(last > t, last + quiet, t + first), t + window))


MISCONCEPTIONS = (
    Misconception(
        "the window for everybody",
        _fixed,
        "That is the fixed window: right, and slow. Close earlier where it has been quiet for "
        "first_ms, or for quiet_ms since the latest label.",
    ),
    Misconception(
        "no bound",
        _sliding,
        "Each label renews the wait, so a busy sample never closes, and its state is never freed. "
        "Take the minimum with time_ms + window_ms.",
    ),
    Misconception(
        "the window slides too",
        _window_slides,
        "The bound counts from the request, not from the latest label: time_ms + window_ms, "
        "whatever comes.",
    ),
    Misconception(
        "quiet counts from the request",
        _from_request,
        "Once something has come, it is the latest label that the quiet is counted from: last_ms + "
        "quiet_ms.",
    ),
    Misconception(
        "quiet_ms also before the first label",
        _one_quiet,
        "Before the first label a sample waits first_ms: until the play has ended nothing can "
        "come, and that takes longer than the pause between two labels.",
    ),
    Misconception(
        "first_ms also after a label",
        _first_for_all,
        "first_ms is for samples without a label. After one, quiet_ms is enough.",
    ),
    Misconception(
        "the later of the two",
        _latest,
        "Whichever comes first closes the sample: the minimum, not the maximum.",
    ),
    Misconception(
        "closed by its first label",
        _at_first_label,
        "A click is often followed by a like or a watch report. Closing at once loses them: wait "
        "quiet_ms after each label.",
    ),
    Misconception(
        "a length instead of a moment",
        _length,
        "Return when the sample closes, in the platform's clock, not how long it waits: the join "
        "compares it with stamps.",
    ),
    Misconception(
        "labels are told by their stamp",
        _by_stamp,
        "A label may come in the very millisecond of the request. n_labels says whether something "
        "has come.",
    ),
)


def _many(n: int) -> tuple[Array, Array, Array]:
    chance = rng(3, "exercise-3.1", n)
    time_ms = np.sort(chance.integers(0, 86_400_000, n))
    labels = chance.poisson(0.8, n)
    last = time_ms + np.where(labels > 0, chance.exponential(4 * MINUTE, n), 0).astype(np.int64)
    return time_ms, last, labels


_T = np.array([0, 0, 1000, 1000])
CASES = (
    Case(
        "nothing has come",
        (np.array([0, 5000]), np.array([0, 5000]), np.zeros(2, int), 1_200_000, 300_000, 120_000),
    ),
    Case(
        "a label after 40 s, another after 4 min",
        (_T, np.array([40_000, 240_000, 1000, 31_000]), np.array([1, 2, 0, 1]),
         1_200_000, 300_000, 120_000),
    ),
    Case(
        "a label shortly before the window is over",
        (np.array([7000]), np.array([1_190_000]), np.array([1]), 1_200_000, 300_000, 120_000),
    ),
    Case(
        "a label in the millisecond of the request",
        (np.array([50, 50]), np.array([50, 50]), np.array([1, 0]), 1_200_000, 300_000, 120_000),
    ),
    Case(
        "a window shorter than first_ms",
        (np.array([0, 0]), np.array([0, 20_000]), np.array([0, 1]), 60_000, 300_000, 50_000),
    ),
    Case("no samples", (np.zeros(0, int),) * 3 + (1_200_000, 300_000, 120_000)),
    Case("20,000 samples", (*_many(20_000), 1_200_000, 300_000, 90_000)),
)  # fmt: skip

TASK = Task(
    id="3.1",
    title="When a sample stops waiting",
    asked="Write close_at(time_ms, last_ms, n_labels, window_ms, first_ms, quiet_ms). time_ms "
    "(n,): requests; n_labels (n,): labels so far; last_ms (n,): the latest of them (= time_ms "
    "where there is none). Return (n,), when each sample closes: first_ms after its request while "
    "nothing has come, else quiet_ms after its latest label, and never later than window_ms after "
    "its request.",
    starter="def close_at(time_ms, last_ms, n_labels, window_ms, first_ms, quiet_ms):\n"
    '    """(n,) requests, latest labels, labels so far -> (n,) closes, ms."""\n    ...',
    judge=Probe(
        close_at,
        CASES,
        MISCONCEPTIONS,
        praise="The sample join can close by it: own_point() says what it catches, and when.",
    ),
    hints=(
        "Three moments matter to a sample. Which of them counts depends on whether something has "
        "come; one holds always.",
        "np.where(n_labels > 0, …, …) chooses between two moments for each sample.",
        "np.minimum(np.where(n_labels > 0, last_ms + quiet_ms, time_ms + first_ms), time_ms + "
        "window_ms).",
    ),
    solution=close_at,
    why="Waiting costs freshness and state for every sample, and pays for few. What has been quiet "
    "for long rarely speaks again, and a label makes another soon likely, so the moment to stop "
    "moves with what has come. The window from the request bounds the worst case, which is what "
    "the memory of the join is planned by.",
    when_slow="One np.where and one np.minimum over whole arrays; no loop over samples.",
    limit_s=10.0,
)
