"""Merge: quotas, round robin, the channels remembered, and one channel's fault stays its own."""

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reclab.cascade.retrieval.calibration import Calibration
from reclab.cascade.retrieval.merge import MergeStage, unite
from reclab.core.errors import ConfigError
from reclab.core.pipeline import run
from reclab.core.types import Array, Candidates


class Fixed:
    """A channel that answers the same rows to everybody."""

    def __init__(self, name: str, rows: list[list[int]]) -> None:
        self.name, self.rows = name, np.array(rows)

    def retrieve(self, batch: Any, k: int) -> tuple[Array, Array]:
        room = np.full((len(self.rows), k), -1)
        answer = self.rows[:, :k]
        room[:, : answer.shape[1]] = answer
        return room, np.zeros(room.shape, np.float32)


class Scored(Fixed):
    """The same, with scores."""

    def __init__(self, name: str, rows: list[list[int]], score: list[list[float]]) -> None:
        super().__init__(name, rows)
        self.score = np.array(score, np.float32)

    def retrieve(self, batch: Any, k: int) -> tuple[Array, Array]:
        rows, score = super().retrieve(batch, k)
        score[:, : self.score.shape[1]] = self.score[:, :k]
        return rows, score


# what channels a and b say in log-odds: a's score as it is; b's ten times too large, and doubted
LINE = np.array([-100.0, 100.0])
KNOWN = Calibration(
    ("a", "b"), ((LINE, LINE), (LINE, LINE / 10)), np.array([0.0, 0.0]), np.array([1.0, 0.5])
)


class Broken:
    name = "broken"

    def retrieve(self, batch: Any, k: int) -> tuple[Array, Array]:
        raise ConnectionError("store is down")


class Stuck:
    name = "stuck"

    def __init__(self) -> None:
        self.release = threading.Event()

    def retrieve(self, batch: Any, k: int) -> tuple[Array, Array]:
        self.release.wait(30)
        return np.zeros((1, k), np.int64), np.zeros((1, k), np.float32)


def merged(stage: MergeStage, n: int = 1) -> tuple[Candidates, Any]:
    return run([stage], None, n)


def test_channels_take_turns_and_are_remembered():
    a, b = Fixed("a", [[1, 2, 3]]), Fixed("b", [[9, 2, 8]])
    kept, _ = merged(MergeStage([a, b], keep=6))
    assert kept.item_row.tolist() == [1, 9, 2, 3, 8]
    assert kept["channels"].tolist() == [0b01, 0b10, 0b11, 0b01, 0b10]
    assert kept["best_channel"].tolist() == [0, 1, 0, 0, 1]
    assert kept["retrieval_rank"].tolist() == [0, 0, 1, 2, 2]


def test_what_is_beyond_the_quota_is_dropped_with_its_reason():
    a, b = Fixed("a", [[1, 2, 3, 4]]), Fixed("b", [[5, 6, 7, 8]])
    kept, trace = merged(MergeStage([a, b], keep=4))
    assert kept.item_row.tolist() == [1, 5, 2, 6]
    assert trace.stages[0].reason_counts() == {"over quota": 2}
    assert trace.why_dropped(3) == ("retrieval", "over quota")


def test_shares_set_the_quota():
    a, b = Fixed("a", [[*range(0, 40)]]), Fixed("b", [[*range(100, 140)]])
    kept, _ = merged(MergeStage([a, b], keep=20, shares={"a": 3.0, "b": 1.0}))
    assert np.bincount(kept["best_channel"]).tolist() == [15, 5]


def test_a_short_channel_leaves_its_room_to_the_others():
    a, b = Fixed("a", [[1]]), Fixed("b", [[*range(100, 140)]])
    kept, _ = merged(MergeStage([a, b], keep=20, overask=2.0))
    assert len(kept) == 20 and np.bincount(kept["best_channel"]).tolist() == [1, 19]


def test_a_failing_channel_is_noted_and_the_others_answer():
    kept, trace = merged(MergeStage([Broken(), Fixed("b", [[5, 6]])], keep=4))
    assert kept.item_row.tolist() == [5, 6] and kept["channels"].tolist() == [0b10, 0b10]
    assert trace.notes == (
        "channel 'broken' failed (ConnectionError: store is down): the others answer",
    )


def test_when_no_channel_answers_the_trace_says_so():
    kept, trace = merged(MergeStage([Broken()], keep=4), 3)
    assert len(kept) == 0 and kept.n_requests == 3
    assert trace.notes[-1] == "no channel answered: nothing was retrieved"


def test_fail_closed_raises():
    with pytest.raises(ConnectionError, match="store is down"):
        merged(MergeStage([Broken(), Fixed("b", [[5]])], keep=4, fail_open=False))


def test_a_late_channel_is_left_out_and_noted():
    stuck = Stuck()
    stage = MergeStage([stuck, Fixed("b", [[5, 6]])], keep=4, deadline_ms=50.0)
    try:
        kept, trace = merged(stage)
        assert kept.item_row.tolist() == [5, 6]
        assert trace.notes == ("channel 'stuck' is later than 50 ms: the others answer",)
    finally:
        stuck.release.set()


def test_a_deadline_that_is_met_changes_nothing():
    channels = [Fixed("a", [[1, 2, 3]]), Fixed("b", [[9, 2, 8]]), Broken()]
    patient, _ = merged(MergeStage(channels, keep=5))
    timed, trace = merged(MergeStage(channels, keep=5, deadline_ms=30_000.0))
    assert timed.item_row.tolist() == patient.item_row.tolist()
    assert len(trace.notes) == 1


def test_empty_rows_give_no_candidates():
    kept, _ = merged(MergeStage([Fixed("a", [[-1], [4]]), Fixed("b", [[-1], [-1]])], keep=9), 2)
    assert kept.request_row.tolist() == [1] and kept.item_row.tolist() == [4]


def in_turns(rows: list[list[list[int]]], share: list[float], b: int) -> list[tuple]:
    """One request's union, by loops: (item, channels, best channel, rank) in order of turns."""
    turns = sorted(
        ((r + 0.5) / share[c], c, r) for c in range(len(rows)) for r in range(len(rows[c][b]))
    )
    found: dict[int, list[int]] = {}
    for _, c, r in turns:
        item = rows[c][b][r]
        if item >= 0:
            found.setdefault(item, [0, c, r])[0] |= 1 << c
    return [(item, *rest) for item, rest in found.items()]


@settings(deadline=None)
@given(
    st.integers(1, 3).flatmap(
        lambda n: st.lists(
            st.lists(st.lists(st.integers(0, 9), unique=True, max_size=6), min_size=n, max_size=n),
            min_size=1,
            max_size=4,
        )
    ),
    st.lists(st.sampled_from([0.3, 1.0, 2.5]), min_size=4, max_size=4),
)
def test_uniting_equals_the_loops(rows, share):
    width = max(len(row) for channel in rows for row in channel)
    answers = [np.array([row + [-1] * (width - len(row)) for row in c], int) for c in rows]
    share = share[: len(rows)]
    got = unite(answers, np.array(share))
    for b in range(len(rows[0])):
        mine = got.take(got.request_row == b)
        columns = (mine[n].tolist() for n in ("channels", "best_channel", "retrieval_rank"))
        assert list(zip(mine.item_row.tolist(), *columns, strict=True)) == in_turns(rows, share, b)


def test_by_score_the_items_with_most_points_stay_whoever_found_them():
    a = Scored("a", [[1, 2, 3]], [[3.0, 2.0, 1.0]])
    b = Scored("b", [[9, 2, 8]], [[100.0, 60.0, 2.0]])  # 5, 3 and 0.1 points
    stage = MergeStage([a, b], keep=4, how="score", calibration=KNOWN)
    kept, trace = merged(stage)
    assert kept.item_row.tolist() == [2, 9, 1, 3]  # 2 + 3 points, 5, 3, 1
    np.testing.assert_allclose(kept["points"], [5, 5, 3, 1], rtol=1e-6)
    assert kept["channels"].tolist() == [0b11, 0b10, 0b01, 0b01]
    assert kept["best_channel"].tolist() == [1, 1, 0, 0]
    assert kept["retrieval_rank"].tolist() == [1, 0, 0, 2]
    assert trace.why_dropped(8) == ("retrieval", "too few points")


def test_by_score_a_failing_channel_and_one_without_a_curve_are_noted():
    stage = MergeStage(
        [Scored("a", [[1], [5]], [[3.0], [-2.0]]), Broken(), Fixed("c", [[4, 5], [6, -1]])],
        keep=3,
        how="score",
        calibration=KNOWN,
    )
    kept, trace = merged(stage, 2)
    assert kept.request_row.tolist() == [0, 0, 0, 1, 1]
    assert kept.item_row.tolist() == [1, 4, 5, 6, 5]  # below 0 points is worse than none
    assert "broken" in trace.notes[0] and "channel 'c' is not calibrated" in trace.notes[-1]


@pytest.mark.parametrize("rows", [[[-1]], [[-1, -1]]])
def test_by_score_nothing_found_is_nothing_kept(rows):
    kept, _ = merged(MergeStage([Fixed("a", rows)], keep=3, how="score", calibration=KNOWN))
    assert len(kept) == 0 and kept["channels"].dtype == np.uint32


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 9), unique=True, max_size=6), min_size=2, max_size=2),
    st.integers(1, 12),
)
def test_by_score_nothing_is_lost_and_the_sums_are_those_of_the_loops(rows, keep):
    scores = [[float(-(r**2)) for r in range(len(row))] for row in rows]
    channels = [Scored(n, [row], [s]) for n, row, s in zip("ab", rows, scores, strict=True)]
    result = MergeStage(channels, keep=keep, how="score", calibration=KNOWN)(
        None, Candidates.empty(1)
    )
    total: dict[int, float] = {}
    for row, score, scale in zip(rows, scores, (1.0, 0.05), strict=True):
        for item, value in list(zip(row, score, strict=True))[:keep]:
            total[item] = total.get(item, 0.0) + scale * value
    found = np.concatenate([result.kept.item_row, result.dropped.item_row])
    points = np.concatenate([result.kept["points"], result.dropped["points"]])
    assert sorted(found) == sorted(total) and len(result.kept) == min(keep, len(total))
    np.testing.assert_allclose(points, [total[item] for item in found], rtol=1e-5)
    assert (np.diff(points) <= 1e-6).all()


def test_round_robin_gives_all_channels_the_same_whatever_their_shares():
    a, b = Fixed("a", [[*range(0, 40)]]), Fixed("b", [[*range(100, 140)]])
    stage = MergeStage([a, b], keep=20, shares={"a": 3.0}, how="round_robin")
    assert np.bincount(merged(stage)[0]["best_channel"]).tolist() == [10, 10]


def test_wrong_settings_are_named():
    with pytest.raises(ConfigError, match="MergeStage.how must be one of quota, .* got 'best'"):
        MergeStage([Broken()], how="best")
    with pytest.raises(ConfigError, match="MergeStage.calibration"):
        MergeStage([Broken()], how="score")
    with pytest.raises(ConfigError, match="MergeStage.keep must be >= 1, got 0"):
        MergeStage([Broken()], keep=0)
    with pytest.raises(ConfigError, match="MergeStage.channels"):
        MergeStage([])
    with pytest.raises(ConfigError, match="MergeStage.shares .* got 'x'"):
        MergeStage([Broken()], shares={"x": 1.0})
    with pytest.raises(ConfigError, match="MergeStage.deadline_ms"):
        MergeStage([Broken()], deadline_ms=0.0)
