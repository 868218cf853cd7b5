"""Insert, weave, drop: what each does to a list, and that nothing vanishes."""

import numpy as np
import pytest

from reclab.blending.allocation import DropBeyondCap, InsertAtFixedSlots, WeaveBySource
from reclab.core.errors import ConfigError
from reclab.core.types import Candidates
from tests.blending.pages import random_pages

A, B, C = 0, 1, 2


def listed(*businesses: list[int]) -> Candidates:
    """Requests' lists in order, by business; item rows number the cards of each list."""
    row = np.repeat(np.arange(len(businesses)), [len(mine) for mine in businesses])
    item = np.concatenate([np.arange(len(mine)) for mine in businesses]).astype(int)
    return Candidates(len(businesses), row, item, {"business": np.concatenate(businesses)})


def kept(operation, candidates: Candidates) -> list[int]:
    return operation(None, candidates).kept.item_row.tolist()


def test_cards_are_inserted_at_the_slots_of_their_business_and_the_others_keep_their_order():
    cards = listed([A, B, C, B, A, A, B])
    insert = InsertAtFixedSlots(((), (1, 4), ()))
    result = insert(None, cards)
    assert result.kept["business"].tolist() == [A, B, C, A, B, A]
    assert result.kept.item_row.tolist() == [0, 1, 2, 4, 3, 5]
    assert result.dropped.item_row.tolist() == [6]
    assert result.reasons == ("no fixed slot left for it",)


def test_two_owners_share_a_page_and_a_slot_without_a_card_closes_up():
    insert = InsertAtFixedSlots(((), (0, 3), (2,)))
    assert kept(insert, listed([A, A, A, C, B, B])) == [4, 0, 3, 5, 1, 2]
    assert kept(insert, listed([A, A, A])) == [0, 1, 2]
    assert kept(insert, listed([B, B, B])) == [0, 1]


def test_a_weave_gives_each_its_share_in_every_stretch():
    cards = listed([A] * 60 + [B] * 60 + [C] * 60)
    woven = WeaveBySource((3, 2, 1))(None, cards).kept["business"]
    for end in range(1, 61):
        held = np.bincount(woven[:end], minlength=3)
        assert (np.abs(held - end * np.array([3, 2, 1]) / 6) < 1.01).all()


def test_a_weave_without_a_share_drops_and_says_why():
    result = WeaveBySource((1, 0, 1))(None, listed([A, B, C, A]))
    assert result.kept.item_row.tolist() == [0, 2, 3]
    assert result.dropped.item_row.tolist() == [1]
    assert result.reasons == ("its business has no share",)


def test_beyond_the_cap_a_business_leaves_the_list_of_each_request():
    cards = listed([A, B, A, B, A], [B, B, B])
    result = DropBeyondCap((2, 1))(None, cards)
    assert result.kept.item_row.tolist() == [0, 1, 2, 0]
    assert result.kept.request_row.tolist() == [0, 0, 0, 1]
    assert kept(DropBeyondCap((0, 0)), cards) == []


@pytest.mark.parametrize(
    "operation",
    [
        InsertAtFixedSlots(((), (1, 4), (), (2, 7), (9,), ())),
        WeaveBySource((5, 1, 0, 2, 1, 0.5)),
        DropBeyondCap((3, 2, 1, 0, 5, 1)),
    ],
)
def test_what_goes_in_comes_out_kept_or_dropped(operation):
    cards = random_pages(7, seed=1)
    result = operation(None, cards)
    out = np.sort(np.append(result.kept.item_row, result.dropped.item_row))
    assert (out == cards.item_row).all()
    assert (np.diff(result.kept.request_row) >= 0).all()
    none = operation(None, Candidates(2, np.zeros(0, int), np.zeros(0, int),
                                      {"business": np.zeros(0, int)}))  # fmt: skip
    assert len(none.kept) == len(none.dropped) == 0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: InsertAtFixedSlots(((2, 1),)), "InsertAtFixedSlots.slots must rise from 0"),
        (lambda: InsertAtFixedSlots(((2,), (2,))), "each for one business"),
        (lambda: WeaveBySource((0.0, 0.0)), "WeaveBySource.ratios must not all be 0"),
        (lambda: WeaveBySource((-1.0, 1.0)), "WeaveBySource.ratios must be in [0.0"),
        (lambda: DropBeyondCap((-1,)), "DropBeyondCap.caps must be >= 0, got -1"),
    ],
)
def test_settings_out_of_range_are_named(make, said):
    with pytest.raises(ConfigError) as error:
        make()
    assert said in str(error.value)
