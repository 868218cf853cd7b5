"""lab.blending: pools judged by the truth, the front, three conflicts, and days, at the smoke
scale, where nothing is calibrated: rules and accounts are tested here, sizes by the bench."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from reclab.blending.allocation import BUSINESSES, PricedPage, Quotas, violations
from reclab.blending.businesses import make_businesses
from reclab.blending.currency import OBJECTIVES, Currency
from reclab.core.errors import ConfigError, DataError
from reclab.lab import blending
from reclab.lab.blending import Point, dominance, objectives, resources, settings
from reclab.lab.blending_compared import compared
from reclab.lab.blending_pool import (
    capped,
    habits,
    judge_pages,
    make_pool,
    padded,
    priced,
    rules_of,
    serve,
    with_money,
)
from reclab.lab.blending_values import cost_of_leaving, shown_cards, still_to_come
from reclab.world import WorldConfig
from reclab.world.platform import Platform


@pytest.fixture(scope="module")
def pool(lab):
    return make_pool(lab, "tuning", 60)


@pytest.fixture(scope="module")
def points(pool):
    return blending.front(pool)


# -- values ---------------------------------------------------------------------------------


def test_what_is_still_to_come_of_a_session_ends_with_it():
    session, when = np.array([7, 8, 7, 7, 8]), np.array([1, 1, 1, 3, 2])
    place, amount = np.array([0, 0, 1, 0, 0]), np.array([1.0, 10.0, 2.0, 4.0, 20.0])
    assert still_to_come(session, when, place, amount).tolist() == [6.0, 20.0, 4.0, 0.0, 0.0]


def test_leaving_costs_about_the_long_views_of_half_a_session(lab):
    shown = lab.logs.interactions
    a_session = shown["is_long_view"].sum() / len(np.unique(shown["session_id"]))
    assert 0.3 * a_session < cost_of_leaving(lab, 12) < 5 * a_session


def test_values_learned_on_the_tuning_day_hold_on_the_next(lab, pool):
    businesses = make_businesses(lab.trained, lab.logs)
    cards = shown_cards(lab, businesses, pool.money, "held_out", pool.learned.leaving)
    p = pool.learned.calibration.apply(cards.business, cards.score)
    expected = pool.learned.outcomes.expected(cards.business, p)
    for code in range(len(BUSINESSES)):
        mine = cards.business == code
        noise = 3 * np.sqrt(cards.label[mine].mean() / mine.sum())
        assert abs(p[mine].mean() - cards.label[mine].mean()) < 0.06 + noise
    assert expected["watch_sec"].mean() == pytest.approx(cards.watched.mean(), rel=0.15)


# -- the pool -------------------------------------------------------------------------------


def test_all_businesses_are_in_the_pool_and_only_ads_have_payers(pool):
    c = pool.candidates
    assert np.unique(c["business"]).tolist() == list(range(6))
    assert ((c["payer"] >= 0) == (c["business"] == 3)).all()
    assert np.isfinite(c["value"]).all()


def test_the_first_slot_is_worth_what_the_truth_says(lab, pool):
    held = lab.judge.table("tuning", 4000)
    rows = np.linspace(0, len(held) - 1, len(pool)).astype(int)
    first = pool.candidates.starts()[:-1]
    one = np.full((len(pool), 10), -1)
    one[:, 0] = first
    item = pool.candidates.item_row[first][:, None]
    told = lab.world.truth.request_targets(held.take(rows), item)["watch_sec"][:, 0]
    found = judge_pages(pool, one)
    assert np.allclose(found.watch_sec / found.pages, told, rtol=1e-3, atol=1e-2)


def test_an_empty_page_is_worth_nothing(pool):
    nothing = judge_pages(pool, np.full((len(pool), 10), -1))
    assert not nothing.watch_sec.any() and not nothing.revenue.any() and not nothing.spend.any()
    assert (nothing.back < judge_pages(pool, first_cards(pool)).back).mean() > 0.8


def first_cards(pool):
    return padded(pool.candidates, np.arange(len(pool.candidates)))[:, :10]


def test_habits_are_the_platforms_own():
    config = replace(WorldConfig.at("tiny", 3), n_users=120, n_items=800, n_creators=60, days=4)
    platform = Platform(config)
    for day in range(3):
        platform.live(day)
    own = platform.habit.copy()
    platform.live(3)
    rows = platform.users.profile["user_id"]
    truth, logs = platform.truth(), platform.logs()
    users = SimpleNamespace(rows=lambda ids: np.searchsorted(rows, ids))
    lab = SimpleNamespace(
        world=SimpleNamespace(truth=truth, config=config), logs=logs,
        trained=SimpleNamespace(parts=SimpleNamespace(users=users)),
    )  # fmt: skip
    assert np.abs(habits(lab, 3) - own).mean() < 0.002  # sessions past midnight count elsewhere
    assert np.abs(habits(lab, 0) - own).mean() > 0.003


def test_every_setting_keeps_every_rule(pool):
    for name, _, policy, seen in settings(pool):
        if "ads 2" in name:
            pages = serve(policy, seen).pages
            assert not violations(pages, seen.candidates, policy.rules), name


def test_agencies_pay_no_more_than_their_budgets(pool):
    poor = replace(pool, budget=pool.budget * 0.2)
    seen = poor.at(Currency({"revenue": 1.0}))
    served = serve(priced(seen, rules_of(3)), seen)
    spend = judge_pages(capped(poor, served.pages), served.pages).spend
    assert (spend <= poor.budget + 1e-9).all() and spend.sum() > 0.5 * poor.budget.sum()


def test_more_commission_brings_more_money_and_more_products(pool):
    low, high = (with_money(pool, c, 1.0) for c in (0.02, 0.3))
    few, many = (serve(priced(p, rules_of(2)), p) for p in (low, high))
    held = [(p.candidates["business"][s.pages] == 2).mean() for p, s in ((low, few), (high, many))]
    assert held[0] < held[1] and few.worth.commission.sum() < many.worth.commission.sum()


def test_stilled_wants_order_less_than_twice_from_twice_the_products(pool):
    c, starts = pool.candidates, pool.candidates.starts()[:-1]
    products = padded(c, np.where(c["business"] == 2, np.arange(len(c)), -1))
    top = np.argsort(-products, axis=1)[:, :6]
    six = np.take_along_axis(products, top, 1)
    assert (six >= starts[:, None]).all()
    three = judge_pages(pool, np.pad(six[:, :3], ((0, 0), (0, 7)), constant_values=-1))
    all_six = judge_pages(pool, np.pad(six, ((0, 0), (0, 4)), constant_values=-1))
    unstilled = replace(pool, truths=replace(pool.truths, orders=pool.truths.orders * 0))
    free = judge_pages(unstilled, np.pad(six, ((0, 0), (0, 4)), constant_values=-1))
    assert all_six.commission.sum() < free.commission.sum()
    assert three.commission.sum() < all_six.commission.sum()


def test_real_logs_have_no_truth_to_judge_by(lab):
    with pytest.raises(DataError, match="truth"):
        make_pool(SimpleNamespace(judge=object(), origin="globo"), "tuning")


# -- the front ------------------------------------------------------------------------------


def point(family, *numbers):
    return Point(family, *numbers, share=())


def test_who_dominates_has_no_objective_less_and_one_more():
    a, b = point("priced", 2.0, 2.0, 2.0), point("fixed slots", 2.0, 1.0, 2.0)
    assert a.dominates(b) and not b.dominates(a) and not a.dominates(a)
    found = dominance({"a": a, "b": b, "c": point("fixed slots", 3.0, 0.0, 0.0)})
    assert [(d.family, d.settings, d.dominated, d.priced_dominated) for d in found] == [
        ("fixed slots", 2, 1, 0)
    ]
    with pytest.raises(DataError, match="fixed slots"):
        dominance({"b": b})


def test_the_front_has_all_families_and_most_fixed_settings_are_behind_it(points):
    families = [p.family for p in points.values()]
    assert {f: families.count(f) for f in set(families)} == {
        "fixed slots": 36, "weave": 36, "weighted sum": 36, "priced": 48,
    }  # fmt: skip
    fixed = dominance(points)[0]
    assert fixed.family == "fixed slots" and fixed.dominated > fixed.priced_dominated


def test_money_is_bought_with_watch_time(points):
    free, dear = (points[f"priced ads 2 revenue {w} satisfaction 1"] for w in (0, 4))
    assert free.minutes > dear.minutes and free.money < dear.money


def test_settings_chosen_on_one_day_are_compared_on_the_next(points):
    best = blending.transferred(points, points)
    assert best.family == "fixed slots" and 0 < best.priced <= 48 and not best.priced_dominated


def test_the_priced_page_is_nearly_the_exact_one_and_no_policy_breaks_a_rule(pool):
    found = compared(pool, first=20)
    assert list(found)[0] == "sorted by score" and list(found)[-1] == "priced, slot by slot"
    assert all(row.broken == 0 and 0 < row.optimum <= 1 + 1e-9 for row in found.values())
    best = found["priced, slot by slot"]
    assert best.optimum > 0.99 and best.optimum == max(row.optimum for row in found.values())
    assert best.point == blending.point(PricedPage(rules_of(2)), pool, "priced, slot by slot")


# -- conflicts ------------------------------------------------------------------------------


def test_each_objective_alone_is_best_at_itself(pool):
    found = objectives(pool)
    assert list(found) == [*OBJECTIVES, "all three"]
    assert max(found, key=lambda n: found[n].money) == "revenue"
    assert max(found, key=lambda n: found[n].minutes) != "revenue"


def test_the_priced_page_is_believed_the_best_and_forcing_a_card_costs(pool):
    found = resources(pool)
    assert np.allclose(found.share.sum(1), 1.0)
    assert max(found.value) < found.value[found.policies.index("priced")] * 1.02
    known = found.slot_price[np.isfinite(found.slot_price)]
    assert len(known) >= 4 and (known >= -1e-6).all()


def test_quotas_protect_the_small_and_a_bonus_the_tail(lab, pool):
    found = blending.fairness(lab, pool)
    assert found["quotas of 5 %"].smallest > found["none"].smallest
    tails = [found[n].tail for n in ("none", "tail bonus 0.1", "tail bonus 0.3", "tail bonus 1")]
    assert tails == sorted(tails)


def test_quotas_that_contradict_each_other_are_said_before_serving(pool):
    with pytest.raises(ConfigError, match="ad"):
        priced(pool, rules_of(0), Quotas(low=(0, 0, 0, 0.2, 0, 0)))


def test_a_server_process_opens_one_business(lab, monkeypatch):
    monkeypatch.setattr(blending, "open_lab", lambda **settings: lab)
    assert blending.open_business("live").name == "live"
