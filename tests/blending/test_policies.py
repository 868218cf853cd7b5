"""One contract, five policies: whatever comes in, the page keeps the rules."""

from dataclasses import replace

import numpy as np
import pytest

from reclab.blending.allocation import (
    EMPTY,
    AllocateStage,
    DualPrices,
    ExactPage,
    FixedSlots,
    PagePolicy,
    PageRules,
    PricedPage,
    Quotas,
    RatioWeave,
    WeightedSum,
    page_value,
    violations,
)
from reclab.core.errors import ConfigError, DataError
from reclab.core.types import Candidates
from tests.blending.pages import LEVEL, random_pages

RULES = PageRules()
AD = RULES.businesses.index("ad")
POLICIES: list[PagePolicy] = [
    FixedSlots(RULES),
    RatioWeave(RULES),
    WeightedSum(RULES),
    ExactPage(RULES),
    PricedPage(RULES),
]
each_policy = pytest.mark.parametrize("policy", POLICIES, ids=lambda p: type(p).__name__)


def without(candidates: Candidates, business: int) -> Candidates:
    return candidates.take(candidates["business"] != business)


def hard(pages: np.ndarray, candidates: Candidates) -> list:
    return [v for v in violations(pages, candidates, RULES) if v.rule != "floors"]


@each_policy
def test_pages_are_full_and_keep_every_rule(policy):
    candidates = random_pages(15, seed=2, creators=12)
    pages = policy.allocate(candidates)
    assert pages.shape == (15, 10) and (pages != EMPTY).all()
    assert violations(pages, candidates, RULES) == []


@each_policy
def test_a_business_that_sends_nothing_is_done_without(policy):
    for business in range(len(RULES.businesses)):
        candidates = without(random_pages(3, seed=3), business)
        pages = policy.allocate(candidates)
        assert violations(pages, candidates, RULES) == []
        if business:
            assert (pages != EMPTY).all()


@each_policy
def test_a_candidate_whose_value_is_not_a_number_is_never_placed(policy):
    candidates = random_pages(8, seed=4)
    value = candidates["value"].copy()
    value[::3], value[1::7] = np.nan, np.inf
    candidates = candidates.with_columns(value=value)
    pages = policy.allocate(candidates)
    assert np.isfinite(value[pages[pages != EMPTY]]).all()
    assert violations(pages, candidates, RULES) == []


@each_policy
def test_no_candidates_make_empty_pages(policy):
    nothing = random_pages(2, seed=5).take(np.zeros(120, bool))
    assert (policy.allocate(nothing) == EMPTY).all()
    some = random_pages(3, seed=5)
    middle = some.take(some.request_row != 1)  # the second request has none
    pages = policy.allocate(middle)
    assert (pages[1] == EMPTY).all() and (pages[[0, 2]] != EMPTY).all()
    none_asked = Candidates.empty(0).with_columns(
        **{name: np.zeros(0, int) for name in ("business", "value", "creator", "score")}
    )
    assert policy.allocate(none_asked).shape == (0, 10)


@each_policy
def test_one_creator_alone_gets_no_second_card_within_the_gap(policy):
    candidates = random_pages(2, seed=6)
    candidates = candidates.with_columns(creator=np.full(len(candidates), 9))
    pages = policy.allocate(candidates)
    assert hard(pages, candidates) == []
    assert (pages[:, 0] != EMPTY).all() and (pages[:, 1:] == EMPTY).all()


@each_policy
def test_ties_are_broken_alike_every_time(policy):
    candidates = random_pages(2, seed=7)
    same = np.ones(len(candidates))
    candidates = candidates.with_columns(value=same, score=same)
    first, second = policy.allocate(candidates), policy.allocate(candidates)
    assert (first == second).all() and violations(first, candidates, RULES) == []


@each_policy
def test_ten_thousand_candidates_are_as_good_as_sixty(policy):
    candidates = random_pages(1, seed=8, each=1667, creators=3000)
    pages = policy.allocate(candidates)
    assert len(candidates) > 10_000
    assert violations(pages, candidates, RULES) == []


@each_policy
def test_only_ads_make_the_short_page_that_the_rules_allow(policy):
    candidates = random_pages(1, seed=9)
    ads = candidates.take(candidates["business"] == AD)
    assert (policy.allocate(ads) == EMPTY).all()  # an ad is never first


@each_policy
def test_the_stage_accounts_for_every_candidate_and_says_why(policy):
    candidates = random_pages(2, seed=10)
    value = candidates["value"].copy()
    value[5] = np.nan
    result = AllocateStage(policy)(None, candidates.with_columns(value=value))
    assert len(result.kept) == 20 and len(result.kept) + len(result.dropped) == len(candidates)
    assert result.kept["slot"].tolist() == [*range(10)] * 2
    bad = result.dropped["reason"] == 1
    assert result.dropped.item_row[bad].tolist() == [5]
    assert result.reasons == ("no slot left for it", "value is not a number")
    short = AllocateStage(policy)(None, candidates.take(candidates["business"] == AD))
    assert short.notes == ("2 of 2 pages have empty slots",)


@each_policy
def test_rules_that_contradict_are_said_before_serving(policy):
    with pytest.raises(ConfigError, match="floor of short video, floor of ad .loosen one"):
        replace(policy, rules=replace(RULES, floors=(9, 0, 0, 2, 0, 0)))


@each_policy
def test_an_unknown_business_is_an_error_before_anything_is_shown(policy):
    candidates = random_pages(1, seed=11)
    with pytest.raises(DataError, match="business outside 0..5, the first is 6"):
        policy.allocate(candidates.with_columns(business=np.full(60, 6)))


def test_fixed_slots_go_to_their_owners_best_by_its_own_score():
    rules = replace(RULES, creator_gap=0, floors=(0,) * 6)
    candidates = random_pages(5, seed=12)
    pages = FixedSlots(rules, ((), (3,), (5,), (2, 7), (), ())).allocate(candidates)
    business = candidates["business"][pages]
    assert (business[:, [2, 7]] == AD).all() and (business[:, 3] == 1).all()
    assert ((business == AD).sum(1) == 2).all()
    score = np.where(candidates["business"] == AD, candidates["score"], -1).reshape(5, 60)
    assert (candidates["score"][pages[:, 2]] == score.max(1)).all()


def test_a_weave_shows_the_ratio_whatever_the_values():
    rules = replace(RULES, creator_gap=0, floors=(0,) * 6, most_in_a_row=(10,) * 6, most_paid=10,
                    first_paid=0, paid_gap=0, ceilings=(10,) * 6)  # fmt: skip
    candidates = random_pages(4, seed=13, level=LEVEL * [1, 1, 1, 100, 1, 1])
    pages = RatioWeave(rules, (5, 2, 1, 2, 0, 0)).allocate(candidates)
    held = [np.bincount(candidates["business"][page], minlength=6) for page in pages]
    assert (np.array(held) == [5, 2, 1, 2, 0, 0]).all()


def test_a_weighted_sum_of_scores_that_cannot_be_compared_is_won_by_the_largest_scale():
    candidates = random_pages(20, seed=14)  # scores grow tenfold from business to business
    by_score, by_value, best = (
        page_value(policy.allocate(candidates), candidates, RULES).sum()
        for policy in (WeightedSum(RULES), WeightedSum(RULES, column="value"), PricedPage(RULES))
    )
    assert by_score < 0.9 * by_value and by_value < best


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: FixedSlots(RULES, ((0,),)), "FixedSlots.slots must have 6 entries"),
        (lambda: FixedSlots(RULES, ((2,), (2,), (), (), (), ())), "give a slot to one business"),
        (lambda: RatioWeave(RULES, (1, 1)), "RatioWeave.ratios must have 6 entries"),
        (lambda: WeightedSum(RULES, (1, 1)), "WeightedSum.weights must have 6 entries"),
        (lambda: WeightedSum(RULES, column="p"), "WeightedSum.column must be score or value"),
        (lambda: ExactPage(RULES, gap=2.0), "ExactPage.gap must be in [0.0, 0.1], got 2.0"),
        (lambda: PricedPage(RULES, beam=0), "PricedPage.beam must be >= 1, got 0"),
        (
            lambda: PricedPage(RULES, DualPrices(Quotas((0, 0, 0, 0.5, 0, 0)), RULES, [1] * 24)),
            "these rules cannot be met together on a page of 10 slots: "
            "ceiling of ad, low quota of ad",
        ),
    ],
)
def test_settings_out_of_range_are_named(make, said):
    with pytest.raises(ConfigError) as error:
        make()
    assert said in str(error.value)
