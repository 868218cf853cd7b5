"""What a page may look like: every rule can be broken, and rules that contradict are named."""

from dataclasses import replace

import numpy as np
import pytest

from reclab.blending.allocation import PageRules, check_together, conflicts, page_value, violations
from reclab.blending.allocation.rules import exposures
from reclab.core.errors import ConfigError, DataError
from reclab.core.types import Candidates

RULES = PageRules(("video", "live", "ad"), slots=6, stay=0.5, paid=("ad",), most_paid=2,
                  first_paid=1, paid_gap=2, most_in_a_row=(3, 1, 1), floors=(1, 0, 0),
                  ceilings=(4, 2, 2), creator_gap=2)  # fmt: skip
VIDEO, LIVE, AD = 0, 1, 2
BUSINESS = np.array([VIDEO] * 6 + [LIVE] * 4 + [AD] * 4)  # positions 0-5, 6-9, 10-13


def candidates(**columns: np.ndarray) -> Candidates:
    n = len(BUSINESS)
    given = {"business": BUSINESS, "value": np.arange(n) + 1.0, "creator": np.arange(n)}
    return Candidates(1, np.zeros(n, int), np.arange(n), given | columns)


def broken(page: list[int], **columns: np.ndarray) -> list[tuple[str, int]]:
    return [(v.rule, v.slot) for v in violations(np.array(page), candidates(**columns), RULES)]


@pytest.mark.parametrize(
    ("page", "what"),
    [
        ([0, 10, 1, 2, 11, 6], []),
        ([10, 0, 1, 2, 11, 6], [("first_paid", 0)]),
        ([0, 10, 1, 11, 2, 6], [("paid_gap", 3)]),
        ([0, 1, 2, 3, 6, 7], [("most_in_a_row", 3), ("most_in_a_row", 5)]),
        ([0, 6, 1, 7, 2, 8], [("ceilings", 5)]),
        ([0, 1, 6, 2, 3, 4], [("ceilings", 5)]),
        ([6, 10, 7, -1, -1, -1], [("floors", -1)]),
        ([0, 10, -1, -1, -1, -1], []),
        ([0, 10, -1, 1, -1, -1], [("page", 3)]),
        ([0, 1, 0, -1, -1, -1], [("page", 2)]),
        ([0, 14, 1, -1, -1, -1], [("page", 1)]),
        ([0, 1, 2], [("page", -1)]),
    ],
)
def test_each_rule_is_found_broken_where_it_is(page, what):
    assert broken(page) == what


def test_a_third_ad_is_one_too_many_and_says_so():
    rules = replace(RULES, paid_gap=0, most_in_a_row=(3, 1, 3), ceilings=(4, 2, 4))
    found = violations(np.array([0, 10, 11, 12, 1, 6]), candidates(), rules)
    assert [(v.rule, v.slot, v.said) for v in found] == [
        ("most_paid", 3, "paid card 3 of at most 2")
    ]


def test_creators_are_kept_apart_but_cards_of_nobody_are_not():
    creator = np.arange(len(BUSINESS))
    creator[[0, 1]] = 77
    assert broken([0, 6, 1, 7, -1, -1], creator=creator) == [("creator_gap", 2)]
    assert broken([0, 6, 10, 1, -1, -1], creator=creator) == []
    assert broken([0, 6, 1, 7, -1, -1], creator=np.full(len(BUSINESS), -1)) == []


def test_a_floor_asks_for_no_more_than_was_sent():
    value = np.where(BUSINESS == VIDEO, np.nan, 1.0)
    assert broken([6, 10, 7, -1, -1, -1], value=value) == []
    assert broken([0, 10, 7, -1, -1, -1], value=value) == [("page", 0)]


def test_pages_of_many_requests_are_told_apart():
    twice = Candidates(2, np.repeat([0, 1], 7), np.arange(14), candidates().columns)
    pages = np.array([[0, 6, 1, -1, -1, -1], [10, 8, 0, -1, -1, -1]])
    assert [(v.request_row, v.rule, v.slot) for v in violations(pages, twice, RULES)] == [
        (1, "page", 2)
    ]


def test_value_and_exposures_are_weighted_by_who_sees_the_slot():
    page = np.array([0, 10, 1, -1, -1, -1])
    assert page_value(page, candidates(), RULES).tolist() == [1 + 11 / 2 + 2 / 4]
    assert exposures(page, candidates(), RULES).tolist() == [[1.25, 0.0, 0.5]]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({}, ()),
        ({"floors": (5, 0, 0)}, ("floor of video", "ceiling of video")),
        ({"floors": (0, 2, 2), "paid_gap": 5}, ("paid_gap", "floor of ad")),
        ({"floors": (4, 2, 1)}, ("floor of video", "floor of live", "floor of ad")),
        ({"floors": (0, 0, 2), "most_paid": 1}, ("most_paid", "floor of ad")),
        ({"floors": (0, 0, 1), "first_paid": 6}, ("first_paid", "floor of ad")),
        ({"ceilings": (1, 1, 1)}, ("ceiling of video", "ceiling of live", "ceiling of ad")),
        (
            {"ceilings": (1, 1, 4)},  # three ads would stand at 1, 3 and 5, and fill no page
            ("ceiling of video", "ceiling of live", "most_in_a_row of ad"),
        ),
    ],
)
def test_rules_that_contradict_are_named_and_no_others(change, names):
    assert conflicts(replace(RULES, **change)) == names


def test_a_business_alone_cannot_fill_a_page_that_forbids_its_run():
    rules = PageRules(("live",), slots=5, paid=(), most_in_a_row=(2,), floors=(0,), ceilings=(5,))
    with pytest.raises(ConfigError, match="cannot fill a page of 5 slots: most_in_a_row of live"):
        check_together(rules)


def test_quotas_of_the_day_are_held_against_the_rules_of_a_page():
    assert conflicts(RULES, low=(0.0, 0.0, 0.2), high=(1.0, 1.0, 1.0)) == ()
    ads = conflicts(RULES, low=(0.0, 0.0, 0.4), high=(1.0, 1.0, 1.0))
    assert ads == ("first_paid", "ceiling of ad", "low quota of ad")
    few = conflicts(RULES, low=(0.0, 0.0, 0.0), high=(0.3, 0.3, 1.0))
    assert few == ("first_paid", "ceiling of ad", "high quota of video", "high quota of live")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"slots": 0}, "PageRules.slots must be >= 1, got 0 (typical: 10)"),
        ({"stay": 1.5}, "PageRules.stay must be in [0.1, 1.0], got 1.5"),
        ({"paid": ("advert",)}, "PageRules.paid must be among ('video', 'live', 'ad')"),
        ({"floors": (1, 0)}, "PageRules.floors must have 3 entries, one a business"),
        ({"most_in_a_row": (3, 0, 1)}, "PageRules.most_in_a_row of live must be >= 1, got 0"),
        ({"businesses": ("a", "a", "b")}, "PageRules.businesses must be 1..100 different names"),
    ],
)
def test_settings_out_of_range_are_named(change, said):
    with pytest.raises(ConfigError) as error:
        replace(RULES, **change)
    assert said in str(error.value)


def test_rules_given_as_lists_are_the_same_rules():
    assert replace(RULES, floors=[1, 0, 0], paid=["ad"]) == RULES
    assert conflicts(replace(RULES, floors=[1, 0, 0])) == ()


def test_an_unknown_business_is_an_error():
    with pytest.raises(DataError, match=r"14 of 14 candidates .* 0..2, the first is 7"):
        violations(np.full(6, -1), candidates(business=np.full(len(BUSINESS), 7)), RULES)
