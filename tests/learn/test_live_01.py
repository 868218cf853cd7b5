"""What a reader writes for lesson 01 replaces ours: the same function, the same pages."""

import numpy as np
import pytest

from reclab.blending.allocation import PageRules, Quotas, RatioWeave, violations
from reclab.blending.allocation.rules import exposures
from reclab.core.errors import DataError
from reclab.lab.blending_pool import priced, rules_of, serve
from reclab.learn import live_01
from reclab.learn.lesson_01 import (
    calibrate,
    overbidder,
    page_check,
    price_step,
    vcg_payment,
    weave,
)


class TestWeave:
    def test_the_right_order_serves_the_same_pages_as_ours(self, pool):
        for ratios in (RatioWeave.ratios, (1, 1, 0, 0.5, 2, 0)):
            mine = live_01.weave_with(weave.weave, pool, ratios)
            ours = serve(RatioWeave(rules_of(2), ratios), pool)
            assert (mine.pages == ours.pages).all()
            assert mine.worth.three().tolist() == ours.worth.three().tolist()

    def test_an_order_that_ignores_the_ratios_shows_fewer_videos(self, pool):
        turn = next(i for i in weave.MISCONCEPTIONS if i.name == "everybody in turn")
        rules = rules_of(2)
        mine = live_01.weave_with(turn.computes, pool)
        ours = live_01.weave_with(weave.weave, pool)
        held = [exposures(s.pages, pool.candidates, rules).sum(0) for s in (mine, ours)]
        assert held[0][0] < 0.7 * held[1][0]

    def test_whatever_the_order_the_rules_hold(self, pool):
        mine = live_01.weave_with(lambda business, ratios, n: np.arange(n)[::-1], pool)
        assert not violations(mine.pages, pool.candidates, rules_of(2))

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            (lambda b, r, n: b * 1.0, "whole numbers"),
            (lambda b, r, n: np.arange(n) + 1, "whole numbers from 0"),
            (lambda b, r, n: np.arange(n) - 1, "whole numbers from 0"),
            (lambda b, r, n: [0, 0], "one comes twice"),
            (lambda b, r, n: None, "whole numbers"),
        ],
    )
    def test_what_is_no_order_is_refused(self, pool, wrong, said):
        with pytest.raises(DataError, match=said):
            live_01.weave_with(wrong, pool)


class TestCalibration:
    def test_a_mended_model_believes_of_ads_what_they_bring(self, pool):
        cards = calibrate.shown_cards(pool)[0]
        ads = pool.candidates["business"] == 3
        true = pool.truths.pay[ads].mean()
        believed = {
            "claimed": live_01.uncalibrated(pool),
            "mended": live_01.calibrated_with(calibrate.calibrate, pool, cards),
        }
        money = {n: q.candidates["revenue"][ads].mean() for n, q in believed.items()}
        assert money["claimed"] > 1.3 * money["mended"]
        assert money["mended"] < true  # not every click comes

    def test_only_ads_change(self, pool):
        other = pool.candidates["business"] != 3
        told = live_01.uncalibrated(pool).candidates
        for name in ("p", "revenue", "spend", "satisfaction", "value"):
            np.testing.assert_allclose(told[name][other], pool.candidates[name][other])

    def test_the_pages_follow(self, pool):
        rules = rules_of(2)
        claimed = live_01.uncalibrated(pool)
        pages = [serve(priced(p, rules), p).pages for p in (pool, claimed)]
        assert (pages[0] != pages[1]).any(1).mean() > 0.2

    @pytest.mark.parametrize(
        "wrong",
        [lambda s, y, new: new[:2], lambda s, y, new: new + 1, lambda s, y, new: new * np.nan],
    )
    def test_what_is_no_probability_is_refused(self, pool, wrong):
        with pytest.raises(DataError, match="probabilities, one for each ad"):
            live_01.calibrated_with(wrong, pool, calibrate.shown_cards(pool)[0])


class TestGate:
    def test_the_right_gate_finds_what_ours_finds(self, pool):
        gate = live_01.gate_with(page_check.page_check, pool, live_01.by_value_alone(pool))
        assert gate.agrees == 1.0 and gate.wrong_pages > 0.2

    def test_pages_made_under_the_rules_pass(self, pool):
        pages = serve(priced(pool, rules_of(2)), pool).pages
        assert live_01.gate_with(page_check.page_check, pool, pages).wrong_pages == 0.0

    def test_a_gate_that_lets_all_pass_is_seen(self, pool):
        blind = live_01.gate_with(
            lambda paid, *_: np.zeros(len(paid), bool), pool, live_01.by_value_alone(pool)
        )
        assert blind.wrong_pages == 0.0 and blind.agrees < 0.8

    def test_other_rules_can_be_asked_for(self, pool):
        loose = PageRules(first_paid=0, most_paid=10, paid_gap=0, creator_gap=0)
        pages = live_01.by_value_alone(pool)
        gate = live_01.gate_with(page_check.page_check, pool, pages, loose)
        assert gate.wrong_pages == 0.0 and gate.agrees == 1.0


class TestPrices:
    quotas = Quotas(low=(0, 0, 0, 0, 0.04, 0), high=(1, 0.15, 1, 1, 1, 1))

    def test_the_right_step_serves_the_same_day_as_ours(self, pool):
        ours = live_01.priced_day_with(None, pool, self.quotas)
        mine = live_01.priced_day_with(price_step.price_step, pool, self.quotas)
        assert (mine.pages == ours.pages).all()
        np.testing.assert_array_equal(mine.prices, ours.prices)

    def test_without_prices_the_quotas_break(self, pool):
        held = live_01.priced_day_with(price_step.price_step, pool, self.quotas, days=3)
        free = live_01.priced_day_with(lambda p, *_: p * 0, pool, self.quotas)
        assert free.misses(self.quotas).max() > 2 * held.misses(self.quotas).max()
        assert not free.prices.any() and held.prices.any()
        assert free.shown.value > held.shown.value  # quotas cost something

    def test_a_step_with_the_wrong_sign_is_as_good_as_none(self, pool):
        sign = next(i for i in price_step.MISCONCEPTIONS if i.name == "the sign")
        mine = live_01.priced_day_with(sign.computes, pool, self.quotas)
        held = live_01.priced_day_with(None, pool, self.quotas)
        assert mine.misses(self.quotas).max() > 2 * held.misses(self.quotas).max()

    @pytest.mark.parametrize("wrong", [lambda p, *_: p[:1], lambda p, *_: p * np.nan])
    def test_what_is_no_price_is_refused(self, pool, wrong):
        with pytest.raises(DataError, match="6 finite prices"):
            live_01.priced_day_with(wrong, pool, self.quotas)


class TestSelling:
    factors = (0.6, 0.8, 1.0, 1.3, 1.8)

    def profit(self, pool, sell):
        rounds = overbidder.rounds_of(pool)
        return overbidder.profit_by_factor(rounds, "Deer", self.factors, sell)

    def test_the_right_payment_makes_the_truth_the_best_bid_as_ours_does(self, pool):
        mine = self.profit(pool, live_01.selling_with(vcg_payment.vcg_payment))
        np.testing.assert_allclose(mine, self.profit(pool, "vcg"), atol=1e-9)
        assert mine.argmax() == 2

    def test_the_second_price_of_slots_and_the_own_bid_are_ours_too(self, pool):
        for function, pricing in (
            (vcg_payment.second_price, "second_price"),
            (vcg_payment.first_price, "first_price"),
        ):
            mine = self.profit(pool, live_01.selling_with(function))
            np.testing.assert_allclose(mine, self.profit(pool, pricing), atol=1e-9)

    def test_what_is_no_payment_is_refused(self, pool):
        sell = live_01.selling_with(lambda worth, bid, weights: bid * np.nan)
        with pytest.raises(DataError, match="finite payments, one a card"):
            self.profit(pool, sell)
