"""Filters: exact, each with its reason, and a note when a request loses everything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reclab.cascade.filters import (
    DuplicateFilter,
    PublishedFilter,
    SeenFilter,
    duplicates,
    exposed,
    first_mention,
)
from reclab.core.pipeline import run
from reclab.core.stage import StageResult
from reclab.core.tables import Table
from reclab.core.types import Candidates
from reclab.stores.forward_index import ForwardIndex
from tests.cascade.filters.contract import batch_with, candidates_of


class Source:
    name = "source"

    def __init__(self, rows: list[list[int]]) -> None:
        self.found = candidates_of(rows)

    def __call__(self, batch: object, candidates: Candidates) -> StageResult:
        return StageResult(self.found, self.found.take(np.zeros(0, int)))


ROWS = st.lists(st.lists(st.integers(0, 12), max_size=15), min_size=3, max_size=3)


@settings(deadline=None)
@given(ROWS)
def test_of_equal_items_the_first_stays(rows):
    result = DuplicateFilter()(batch_with([[]] * 3), candidates_of(rows))
    kept = [result.kept.item_row[result.kept.request_row == b].tolist() for b in range(3)]
    assert kept == [list(dict.fromkeys(one)) for one in rows]
    assert len(result.kept) + len(result.dropped) == sum(map(len, rows))


def test_marks_and_sorting_agree_on_first_mentions(monkeypatch):
    chance = np.random.default_rng(0)
    many = candidates_of(chance.integers(0, 3000, (4, 1500)).tolist())
    by_mark = first_mention(many)
    monkeypatch.setattr(duplicates, "MARKS", 0)
    np.testing.assert_array_equal(by_mark, first_mention(many))
    assert 0 < by_mark.sum() < len(by_mark)


@pytest.mark.parametrize("marks", [64_000_000, 0], ids=["marks", "sorting"])
@settings(deadline=None)
@given(rows=ROWS, seen=ROWS)
def test_exactly_the_exposed_are_dropped(marks, rows, seen):
    before, exposed.MARKS = exposed.MARKS, marks
    try:
        result = SeenFilter()(batch_with(seen), candidates_of(rows))
    finally:
        exposed.MARKS = before
    for b in range(3):
        kept = result.kept.item_row[result.kept.request_row == b].tolist()
        assert kept == [item for item in rows[b] if item not in seen[b]]
    assert len(result.kept) + len(result.dropped) == sum(map(len, rows))


def test_the_last_exposure_counts_and_others_exposures_do_not():
    result = SeenFilter()(batch_with([[9, 4], [7]]), candidates_of([[4, 7], [4, 7]]))
    assert result.kept.item_row.tolist() == [7, 4]


def test_what_is_not_yet_published_is_dropped():
    items = Table({"video_id": np.arange(3), "publish_ms": np.array([-50, 100, 101])})
    stage = PublishedFilter(ForwardIndex(items))
    result = stage(batch_with([[]], time_ms=100), candidates_of([[2, 1, 0]]))
    assert result.kept.item_row.tolist() == [1, 0]
    assert result.reasons == ("not yet published",)


def test_where_items_have_no_publication_time_all_stay():
    stage = PublishedFilter(ForwardIndex(Table({"video_id": np.arange(3)})))
    result = stage(batch_with([[]]), candidates_of([[2, 1, 0]]))
    assert len(result.kept) == 3 and not len(result.dropped)


def test_each_drop_has_its_stage_and_reason_and_an_emptied_request_is_noted():
    stages = [Source([[5, 5, 6], [1, 2]]), DuplicateFilter(), SeenFilter()]
    kept, trace = run(stages, batch_with([[5, 6], [2]]), 2)
    assert kept.item_row.tolist() == [1]
    assert trace.why_dropped(6, 0) == ("already_exposed", "already exposed")
    assert trace.stages[1].reason_counts() == {"duplicate": 1}
    assert trace.notes == (
        "all candidates of 1 requests were filtered (already exposed): request 0",
    )


def test_a_request_that_came_with_nothing_was_not_emptied_here():
    result = SeenFilter()(batch_with([[5], []]), candidates_of([[5, 6], []]))
    assert len(result.dropped) == 1 and not result.notes


def test_nothing_in_nothing_out():
    none = candidates_of([[], []])
    for stage in (DuplicateFilter(), SeenFilter()):
        result = stage(batch_with([[1], []]), none)
        assert not len(result.kept) and not len(result.dropped) and not result.notes
