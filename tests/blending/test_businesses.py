"""blending.businesses on the tiny platform: own items, own objective, learned payments, budgets,
operators' plans; and what they say to bad input."""

from dataclasses import replace

import numpy as np
import pytest

from reclab.blending.allocation import BUSINESSES
from reclab.blending.businesses import AdBudgets, BusinessConfig, Money, cards_of, make_businesses
from reclab.blending.businesses.ads import AdBudgetsConfig
from reclab.blending.businesses.campaigns import CampaignPlan
from reclab.blending.businesses.own_items import Own, OwnItems, OwnVectors
from reclab.blending.businesses.payments import Payments
from reclab.blending.contract import Deadline
from reclab.blending.rpc import Remote, call
from reclab.blending.serve import start_server
from reclab.cascade.batch import read_batch
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import ConfigError, DataError, NotBuilt
from reclab.core.tables import Table
from reclab.core.types import Candidates, Request
from reclab.stores.forward_index import ForwardIndex

FOREVER = Deadline(float("inf"))


@pytest.fixture(scope="module")
def six(lab):
    return make_businesses(lab.trained, lab.logs)


@pytest.fixture(scope="module")
def asked(lab):
    return lab.requests(40)


@pytest.fixture(scope="module")
def offers(six, asked):
    return {name: business.offer(asked, 10, FOREVER) for name, business in six.items()}


def rows_of(lab, offers):
    owner = np.repeat(np.arange(len(offers.counts)), offers.counts)
    return owner, lab.trained.parts.index.rows(offers.item_id)


# -- offers ---------------------------------------------------------------------------------


def test_they_are_in_the_order_of_the_rules_codes(six):
    assert tuple(six) == BUSINESSES


def test_each_offers_only_its_own_items_and_no_item_twice(lab, offers):
    for code, one in enumerate(offers.values()):
        owner, row = rows_of(lab, one)
        assert len(row) and (lab.trained.parts.index["business"][row] == code).all()
        assert len(np.unique(owner * 10**6 + row)) == len(row)


def test_offers_are_published_unseen_and_best_first(lab, asked, offers):
    p = lab.trained.parts
    batch = read_batch(asked, p.users, p.index)
    for one in offers.values():
        owner, row = rows_of(lab, one)
        assert (p.index["publish_ms"][row] <= batch.time_ms[owner]).all()
        for b in range(len(asked)):
            seen = batch.seen_rows[batch.seen_starts[b] : batch.seen_starts[b + 1]]
            assert not np.isin(row[owner == b], seen).any()
            assert (np.diff(one.score[owner == b]) <= 0).all()


def test_all_expect_the_same_amounts_and_only_three_bring_money(offers):
    for name, one in offers.items():
        assert set(one.columns) == {"watch_sec", "revenue", "payer", "spend"}
        assert all(np.isfinite(values).all() for values in one.columns.values())
        assert (one.columns["revenue"].sum() > 0) == (name in ("live", "product", "ad"))
        assert (one.columns["payer"] >= 0).all() == (name == "ad")


def test_scores_of_different_businesses_are_of_different_scales(offers):
    level = [float(np.median(one.score)) for one in offers.values()]
    assert max(level) > 20 * min(level)


def test_one_request_gets_what_it_gets_among_others(six, asked, offers):
    for name in ("short video", "image-text", "campaign"):
        alone = six[name].offer(asked[:1], 10, FOREVER)
        together = offers[name]
        assert alone.item_id.tolist() == together.item_id[: together.counts[0]].tolist()


def test_after_the_deadline_nothing_is_offered(six, asked):
    late = six["live"].offer(asked, 10, Deadline(0.0))
    assert late.counts.tolist() == [0] * len(asked) and not len(late.item_id)


def test_nothing_for_nobody_and_for_k_0(six, asked):
    assert len(six["ad"].offer([], 10, FOREVER).counts) == 0
    assert six["ad"].offer(asked, 0, FOREVER).counts.sum() == 0


def test_a_huge_k_is_answered_with_what_there_is(six, lab, asked):
    found = six["campaign"].offer(asked[:3], 10_000, FOREVER)
    there = (lab.trained.parts.index["business"] == 5).sum()
    assert 0 < found.counts.max() <= there


def test_an_unknown_user_is_answered_too(six):
    stranger = [Request(10**15, 13 * DAY_MS)]
    for business in six.values():
        assert business.offer(stranger, 5, FOREVER).counts[0] > 0


def test_a_server_of_one_says_what_it_says_in_process(six, asked):
    server, port = start_server(six["image-text"])
    try:
        client = Remote("image-text", f"127.0.0.1:{port}")
        there = call(client, asked[:4], 5, 30_000.0)
        here = six["image-text"].offer(asked[:4], 5, FOREVER)
        assert there.item_id.tolist() == here.item_id.tolist()
        assert np.allclose(there.columns["watch_sec"], here.columns["watch_sec"])
        client.close()
    finally:
        server.stop(None)


def test_cards_carry_creators_and_whole_payers_also_where_a_business_sent_none(lab):
    index = lab.trained.parts.index
    sent = Candidates(1, np.zeros(2, int), np.array([3, 5]))
    sent = sent.with_columns(payer=np.array([4.0, np.nan], np.float32))
    cards = cards_of(sent, index)
    assert cards["creator"].tolist() == index["author_id"][[3, 5]].tolist()
    assert cards["payer"].tolist() == [4, -1] and cards["payer"].dtype == np.int64


# -- retrieval ------------------------------------------------------------------------------


def test_an_index_of_its_own_finds_what_a_mask_would(lab, asked):
    p = lab.trained.parts
    own, batch = Own(p.index, 1), read_batch(asked[:5], p.users, p.index)
    exact, _ = OwnVectors(p.two_tower, own).retrieve(batch, 8)
    masked, _ = OwnItems(p.two_tower, own).retrieve(batch, 8)
    found = masked >= 0
    assert found.sum() > 20
    assert (exact[found] == masked[found]).mean() > 0.99


def test_a_mask_pads_where_a_channel_has_too_few(lab, asked):
    p = lab.trained.parts
    batch = read_batch(asked[:5], p.users, p.index)
    rows, score = OwnItems(p.popular, Own(p.index, 5)).retrieve(batch, 500)
    assert rows.shape == score.shape == (5, 500) and (rows[:, -1] == -1).all()
    assert (np.append(p.index["business"], 5)[rows] == 5).all()


# -- payments -------------------------------------------------------------------------------


def test_payments_are_calibrated_on_later_clicks(lab):
    p, shown = lab.trained.parts, lab.logs.interactions
    orders = Payments().fit(lab.logs, p, 2, p.until_ms - 4 * DAY_MS)
    row = p.index.rows(shown["video_id"])
    later = (shown["time_ms"] >= p.until_ms - 4 * DAY_MS) & shown["is_click"]
    at = np.flatnonzero(later & (p.index["business"][row] == 2))
    told = {"p_click": np.full(len(at), 0.4), "p_long_view": np.full(len(at), 0.28)}
    said = orders.p_pay(p.users.rows(shown["user_id"][at]), row[at], told)
    paid = (shown["pay_amount"][at] > 0).sum()
    assert abs(said.sum() - paid) < 4 * np.sqrt(paid)


def test_who_has_paid_pays_again_and_the_dear_sells_less(lab):
    p = lab.trained.parts
    orders = Payments().fit(lab.logs, p, 2, p.until_ms)
    assert not orders.left_out
    assert orders.weights[1] < 0 < orders.weights[2]  # price; the user's own past


def test_too_few_payments_give_everybody_the_mean_rate(lab):
    p = lab.trained.parts
    none = Payments().fit(lab.logs, p, 4, p.until_ms)  # nobody pays for a post
    told = {"p_click": np.full(2, 0.4), "p_long_view": np.full(2, 0.3)}
    said = none.p_pay(np.array([0, -1]), np.array([0, 1]), told)
    assert "0 of" in none.left_out and said[0] == said[1] < 0.05


def test_payments_before_fit_and_logs_without_money(lab):
    with pytest.raises(NotBuilt):
        Payments().p_pay(np.zeros(1, int), np.zeros(1, int), {})
    columns = {n: lab.logs.interactions[n] for n in ("time_ms", "user_id", "video_id", "is_click")}
    poor = replace(lab.logs, interactions=Table(columns))
    with pytest.raises(DataError, match="pay_amount"):
        Payments().fit(poor, lab.trained.parts, 2, 10)


def test_commission_moves_the_money_and_not_the_order(lab, asked):
    made = [
        make_businesses(lab.trained, lab.logs, BusinessConfig(money=Money(c)), ("product",))
        for c in (0.05, 0.1)
    ]
    low, high = (m["product"].offer(asked[:5], 10, FOREVER) for m in made)
    assert low.item_id.tolist() == high.item_id.tolist()
    assert np.allclose(2 * low.columns["revenue"], high.columns["revenue"])


# -- ads ------------------------------------------------------------------------------------


def till(**settings):
    return AdBudgets(
        np.array([0, 1, -1]), np.array([10.0, 10.0]), np.ones(24), AdBudgetsConfig(**settings)
    )


def test_a_budget_is_spent_by_clicks_and_new_the_next_day():
    one = till()
    one.charge(np.array([0, 0, 1, 2]), np.array([6.0, 5.0, 1.0, 99.0]), 5 * HOUR_MS)
    assert one.left(6 * HOUR_MS).tolist() == [0.0, 9.0]
    assert one.left(DAY_MS).tolist() == [10.0, 10.0]


def test_who_spends_ahead_of_the_day_is_braked_and_nobody_else():
    one = till(gain=2.0, least_pace=0.1)
    one.charge(np.array([0, 1]), np.array([7.5, 5.0]), 12 * HOUR_MS)
    assert np.allclose(one.pace(12 * HOUR_MS), [0.5, 1.0])
    assert np.allclose(one.pace(18 * HOUR_MS), [1.0, 1.0])


def test_ads_of_a_spent_budget_are_not_offered_and_come_back_tomorrow(lab, asked):
    made = make_businesses(lab.trained, lab.logs, names=("ad",))["ad"]
    budgets = made.objective.budgets
    first = made.offer(asked[:1], 10, FOREVER)
    payer = int(first.columns["payer"][0])
    item = lab.trained.parts.index.rows(first.item_id[:1])
    budgets.charge(item, budgets.budget[[payer]], asked[0].time_ms)
    second = made.offer(asked[:1], 10, FOREVER)
    assert payer not in second.columns["payer"] and second.counts[0] > 0
    later = replace(asked[0], time_ms=asked[0].time_ms + DAY_MS)
    assert payer in made.offer([later], 100, FOREVER).columns["payer"]


def test_an_ad_that_brings_its_advertiser_too_little_ranks_last(lab, asked):
    strict = BusinessConfig(ads=AdBudgetsConfig(least_roi=10.0))
    made = make_businesses(lab.trained, lab.logs, strict, ("ad",))["ad"]
    assert not made.offer(asked[:3], 10, FOREVER).score.any()


def test_budgets_follow_what_was_spent(lab):
    p = lab.trained.parts
    once = AdBudgets.from_logs(lab.logs, p.index, p.until_ms, config=AdBudgetsConfig(1.0, 0.0))
    shown = lab.logs.interactions
    is_ad = p.index["business"][p.index.rows(shown["video_id"])] == 3
    early = is_ad & (shown["time_ms"] < p.until_ms)
    a_day = shown["pay_amount"][early].sum() / (p.until_ms / DAY_MS)
    assert once.budget.sum() == pytest.approx(a_day, rel=1e-4)


@pytest.mark.parametrize(
    "payer, budget, hourly, said",
    [
        ([0], [np.nan], np.ones(24), "finite"),
        ([2], [1.0], np.ones(24), "payer is 2"),
        ([0], [1.0], np.zeros(24), "24 counts"),
    ],
)
def test_bad_budgets_are_refused(payer, budget, hourly, said):
    with pytest.raises(DataError, match=said):
        AdBudgets(np.array(payer), np.array(budget), hourly)


# -- campaigns ------------------------------------------------------------------------------


def planned(lab, priority, start=0, end=10**12):
    n = len(lab.trained.parts.index)
    plan = CampaignPlan(priority, np.full(n, start), np.full(n, end))
    return make_businesses(lab.trained, lab.logs, names=("campaign",), plan=plan)["campaign"]


def test_operators_priority_comes_before_what_the_user_would_like(lab, asked):
    index = lab.trained.parts.index
    priority = np.where(index["business"] == 5, 1.0, 0.0)
    first = planned(lab, priority).offer(asked[:1], 10, FOREVER)
    last = index.rows(first.item_id[-1:])
    priority[last] = 9.0
    assert planned(lab, priority).offer(asked[:1], 10, FOREVER).item_id[0] == first.item_id[-1]


def test_a_campaign_of_one_item_is_answered_with_it_and_outside_its_period_with_nothing(lab, asked):
    index = lab.trained.parts.index
    all_of_them = planned(lab, (index["business"] == 5) * 1.0).offer(asked[:1], 10, FOREVER)
    only = np.zeros(len(index))
    only[index.rows(all_of_them.item_id[:1])] = 1.0
    assert planned(lab, only).offer(asked[:1], 10, FOREVER).item_id.tolist() == [
        all_of_them.item_id[0]
    ]
    assert planned(lab, only, end=asked[0].time_ms).offer(asked[:1], 10, FOREVER).counts[0] == 0


def test_bad_plans_are_refused():
    with pytest.raises(DataError, match="priority and a period"):
        CampaignPlan(np.zeros(2), np.zeros(3), np.zeros(2))
    with pytest.raises(DataError, match=">= 0"):
        CampaignPlan(np.array([-1.0]), np.zeros(1), np.zeros(1))


# -- making ---------------------------------------------------------------------------------


def test_an_unknown_business_is_named(lab):
    with pytest.raises(ConfigError, match="radio"):
        make_businesses(lab.trained, lab.logs, names=("radio",))


def test_a_catalogue_that_does_not_say_whose_an_item_is(lab):
    old = lab.trained.parts.index
    bare = ForwardIndex(Table({"video_id": old.ids, "author_id": old["author_id"]}))
    with pytest.raises(DataError, match="business"):
        make_businesses(lab.trained.with_parts(index=bare), lab.logs)


def test_a_business_without_items_is_named(lab):
    old = lab.trained.parts.index
    columns = {name: old[name] for name in old} | {"business": np.zeros(len(old), np.int8)}
    with pytest.raises(DataError, match="'live'"):
        make_businesses(lab.trained.with_parts(index=ForwardIndex(Table(columns))), lab.logs)


@pytest.mark.parametrize("bad", [{"retrieve": 0}, {"pre_rank": 301}, {"pre_rank": 0}])
def test_sizes_are_checked(bad):
    with pytest.raises(ConfigError, match="BusinessConfig"):
        BusinessConfig(**bad)
