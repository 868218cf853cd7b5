"""Fair bidding: second price, VCG for several slots, and nobody gains by a lie."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reclab.blending.allocation import PageRules, violations
from reclab.blending.auction import (
    AuctionConfig,
    sell_page,
    sell_slots,
    utility_of_bidding,
)
from reclab.core.errors import ConfigError, DataError
from tests.blending.pages import random_pages

WEIGHTS = 0.8 ** np.arange(4)


def case(seed: int, n: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """worth, true bids (NaN = organic) and who pays: ads annoy a little, some cards tie."""
    chance = np.random.default_rng(seed)
    paid = chance.random(n) < 0.6
    paid[0] = True
    worth = np.where(paid, chance.uniform(-0.5, 0.3, n), chance.gamma(2, 0.5, n))
    truth = np.where(paid, chance.gamma(2, 0.8, n), np.nan)
    if seed % 3 == 0:
        worth, truth = worth.round(), truth.round()
    return worth, truth, np.flatnonzero(paid)


def test_one_slot_costs_the_second_price_less_what_the_card_is_worth_beside_its_money():
    worth, bid = np.array([2.0, 0.5, -0.5]), np.array([np.nan, 5.0, 3.0])
    sale = sell_slots(worth, bid, np.array([1.0]))
    assert sale.page.tolist() == [1]
    assert sale.payment.tolist() == [0.0, 2.0, 0.0]  # 2.5 for the next total, less its own 0.5
    assert sale.value == 5.5


def test_organic_cards_keep_the_slots_that_no_ad_is_worth():
    sale = sell_slots(np.array([2.0, 1.0, -0.5]), np.array([np.nan, np.nan, 1.0]), WEIGHTS[:2])
    assert sale.page.tolist() == [0, 1]
    assert not sale.payment.any()


@pytest.mark.parametrize("seed", range(40))
def test_several_slots_cost_what_the_others_would_gain_without_the_ad(seed):
    worth, bid, paid = case(seed)
    sale = sell_slots(worth, bid, WEIGHTS, AuctionConfig(money_value=2.0))
    total = worth + 2.0 * np.nan_to_num(bid)

    def welfare(cards: list[int]) -> float:
        """The best that slots give, over every way to fill them."""
        return max(WEIGHTS @ total[list(way)] for way in itertools.permutations(cards, 4))

    assert sale.value == pytest.approx(welfare(list(range(7))))
    for card in paid:
        others = [i for i in range(7) if i != card]
        harm = welfare(others) - (sale.value - 2.0 * sale.weight[card] * bid[card])
        assert sale.payment[card] == pytest.approx(max(harm / 2.0, 0), abs=1e-9) or harm < 0
        assert sale.payment[card] <= sale.weight[card] * bid[card] + 1e-9  # nobody loses


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), reserve=st.sampled_from([0.0, 0.5]))
def test_no_bid_brings_more_than_the_truth(seed, reserve):
    worth, truth, paid = case(seed)
    config = AuctionConfig(reserve=reserve)
    for bidder in paid[:2]:
        others = np.delete(worth + np.nan_to_num(truth), bidder) - worth[bidder]
        turns = np.concatenate([others - 1e-7, others + 1e-7, [0.0, 0.3, 0.7, 100.0]])
        factors = np.append(turns[turns >= 0] / max(truth[bidder], 1e-9), 1.0)
        if not truth[bidder]:
            continue
        gains = utility_of_bidding(worth, truth, WEIGHTS, factors, bidder, config)
        assert gains.max() <= gains[-1] + 1e-9  # the last factor is 1
        assert gains[-1] >= -1e-9


def mean_gain(pricing: str, factors: np.ndarray) -> np.ndarray:
    gains = [
        utility_of_bidding(*case(seed)[:2], WEIGHTS, factors, 0, AuctionConfig(pricing=pricing))
        for seed in range(1, 200)
    ]
    return np.mean(gains, axis=0)


def test_overbidding_loses_under_vcg_and_underbidding_pays_under_the_other_rules():
    factors = np.array([0.4, 0.7, 1.0, 1.5, 2.5])
    vcg = mean_gain("vcg", factors)
    assert vcg.argmax() == 2 and (np.diff(vcg)[:2] > 0).all() and (np.diff(vcg)[2:] < 0).all()
    first, second = mean_gain("first_price", factors), mean_gain("second_price", factors)
    assert first[2] == pytest.approx(0) and first[:2].max() > 0  # the truth earns nothing
    assert second[:2].max() > second[2]
    assert vcg[2] > second[2] > first[2]  # who pays less gains more, all bids being equal


def test_a_reserve_is_paid_even_without_a_rival_and_shuts_out_who_bids_less():
    worth, bid = np.zeros(2), np.array([3.0, 0.4])
    sale = sell_slots(worth, bid, np.array([1.0, 0.5]), AuctionConfig(reserve=1.0))
    assert sale.page.tolist() == [0, -1]
    assert sale.payment.tolist() == [1.0, 0.0]


def test_ties_go_to_the_first_and_cost_the_whole_bid():
    sale = sell_slots(np.zeros(3), np.full(3, 2.0), np.array([1.0]))
    assert sale.page.tolist() == [0] and sale.payment.tolist() == [2.0, 0.0, 0.0]


def test_no_cards_and_no_slots_sell_nothing():
    assert sell_slots(np.zeros(0), np.zeros(0), WEIGHTS).page.tolist() == [-1] * 4
    assert sell_slots(np.ones(2), np.ones(2), np.zeros(0)).payment.tolist() == [0, 0]


def page_of(seed: int):
    candidates = random_pages(1, seed=seed, each=3)
    ad = candidates["business"] == 3
    value = np.where(ad, -0.1, candidates["value"])
    return candidates.with_columns(value=value), np.where(ad, candidates["value"], np.nan)


@pytest.mark.parametrize("seed", range(2))
def test_under_the_rules_of_a_page_no_bid_brings_more_than_the_truth(seed):
    rules = PageRules(slots=6, ceilings=(6, 3, 3, 2, 3, 1))
    candidates, truth = page_of(seed)
    bidder = int(np.nanargmax(truth))
    gains = []
    for factor in (1.0, 0.3, 0.6, 0.9, 1.2, 2.0):
        bid = truth.copy()
        bid[bidder] *= factor
        sale = sell_page(candidates, bid, rules)
        gains.append(sale.weight[bidder] * truth[bidder] - sale.payment[bidder])
        assert violations(sale.page, candidates, rules) == []
    assert max(gains) <= gains[0] + 1e-6 and gains[0] > 0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: AuctionConfig(reserve=-1.0), "AuctionConfig.reserve must be in [0.0"),
        (lambda: AuctionConfig(pricing="free"), "AuctionConfig.pricing must be one of vcg"),
        (lambda: sell_slots(np.ones(2), np.ones(3), WEIGHTS), "must both be (cards,)"),
        (lambda: sell_slots(np.full(2, np.nan), np.ones(2), WEIGHTS), "worth of 2 of 2 cards"),
        (lambda: sell_slots(np.ones(2), np.array([-1.0, 1.0]), WEIGHTS), "bids must be >= 0"),
        (lambda: sell_slots(np.ones(2), np.array([np.inf, 1.0]), WEIGHTS), "got inf"),
        (lambda: sell_slots(np.ones(2), np.ones(2), WEIGHTS[::-1]), "slot weights must fall"),
    ],
)
def test_bad_input_is_named(call, said):
    with pytest.raises((ConfigError, DataError)) as error:
        call()
    assert said in str(error.value)
