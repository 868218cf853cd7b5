"""Block lists: each user's own, undone by unblock, and for large ids as for small ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reclab.cascade.filters.block_list import BlockList, BlockListFilter, is_blocked
from reclab.core.errors import DataError
from tests.cascade.filters.contract import (
    BARE,
    INDEX,
    FilterContract,
    batch_with,
    candidates_of,
    kept_of,
)


class TestBlockListIsAFilter(FilterContract):
    def make(self):
        blocks = BlockList()
        blocks.block(11, creator=2)
        blocks.block(11, tag=3)
        blocks.block(99, creator=4)
        return BlockListFilter(blocks, INDEX)


def answer(blocks: BlockList, index=INDEX) -> list[list[int]]:
    batch = batch_with([[], []], user_id=[11, 12])
    return kept_of(BlockListFilter(blocks, index)(batch, candidates_of([list(range(8))] * 2)))


def test_a_creator_or_a_tag_at_any_place_is_blocked_for_its_user_only():
    blocks = BlockList()
    blocks.block(11, creator=3)  # items 4 and 5
    blocks.block(12, tag=1)  # items 0, 1, 2 and 3
    assert answer(blocks) == [[0, 1, 2, 3, 6, 7], [4, 5, 6, 7]]


def test_unblocking_undoes_and_undoing_nothing_is_no_error():
    blocks = BlockList()
    blocks.unblock(11, creator=3)
    blocks.block(11, creator=3, tag=2)
    blocks.unblock(11, creator=3, tag=2)
    assert answer(blocks) == [list(range(8))] * 2
    assert not blocks.creators and not blocks.tags


def test_each_drop_says_which_block_it_was():
    blocks = BlockList()
    blocks.block(11, creator=2, tag=1)  # item 2 breaks both: the creator is named
    result = BlockListFilter(blocks, INDEX)(
        batch_with([[]], user_id=[11]), candidates_of([[0, 2, 4]])
    )
    named = [result.reasons[r] for r in result.dropped["reason"]]
    assert result.dropped.item_row.tolist() == [0, 2]
    assert named == ["blocked tag", "blocked creator"]


def test_items_that_do_not_tell_their_creator_stay():
    blocks = BlockList()
    blocks.block(11, creator=2, tag=1)
    assert answer(blocks, BARE) == [list(range(8))] * 2


IDS = st.sampled_from([0, 1, 2, 2**40, 2**62])


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), IDS), max_size=12),
    st.lists(st.tuples(st.integers(0, 2), IDS), max_size=20),
)
def test_equals_looking_up_each_pair(blocked, asked):
    users = [5, 6, 7]
    held: dict[int, set[int]] = {}
    for b, what in blocked:
        held.setdefault(users[b], set()).add(what)
    request, values = np.array(sorted(asked), np.int64).reshape(-1, 2).T
    expected = [
        value in held.get(users[b], set())
        for b, value in zip(request.tolist(), values.tolist(), strict=True)
    ]
    assert is_blocked(request, values, users, held).tolist() == expected
    wide = np.stack([values, np.full(len(values), -1)], 1)
    assert is_blocked(request, wide, users, held).tolist() == expected


@pytest.mark.parametrize("what", [{}, {"creator": -1}, {"tag": -1}])
def test_what_to_block_must_be_named(what):
    with pytest.raises(DataError, match="name a creator or a tag"):
        BlockList().block(11, **what)
