"""The action table: real answers, judged by the truth, drawn, and beside them the degraded path."""

from dataclasses import replace

import numpy as np
import pytest

from reclab.core.errors import DataError
from reclab.core.types import Request
from reclab.degradation_dcaf import DegradationCache, DegradedPath
from reclab.degradation_dcaf.actions import ACTIONS, cascade_of
from reclab.lab import action_pages, action_values
from reclab.lab.action_values import action_costs, action_table, draws, logged_table
from reclab.stores.kv import KV


@pytest.fixture(scope="module")
def table(lab):
    return action_table(lab, "tuning", progress=False)


def test_a_row_is_what_the_cascade_answers_under_each_action(lab, table):
    requests = lab.requests(len(table))
    for row in (0, 17, 63):
        for j in (0, 1, 5, 9):
            slate, _ = cascade_of(lab.trained, ACTIONS[j]).recommend(requests[row])
            assert table.lists[row, j].tolist() == slate.item_row[:10].tolist()
            if j:
                said = np.nan_to_num(slate.columns["rank_score"][:10])
                assert np.isclose(table.told[row, j], said.sum(), atol=0.02) or (said == 0).any()


def test_what_the_ranker_tells_does_not_depend_on_who_is_asked_beside(lab, table):
    requests, pays = lab.requests(8), action_pages.money_of_a_click(lab)
    together = action_pages.predicted(lab.trained, requests, table.lists[:8], pays)
    for b, request in enumerate(requests):
        alone = action_pages.predicted(lab.trained, [request], table.lists[b : b + 1], pays)
        for one, many in zip(alone, together, strict=True):
            assert np.allclose(one[0], many[b], atol=1e-4)


def test_the_value_of_a_page_is_the_judges(lab, table):
    n = 20
    gain = lab.judge.gains("tuning", n)
    for row in range(n):
        for j in range(len(ACTIONS)):
            rows = table.lists[row, j]
            assert np.isclose(table.value[row, j], gain[row, rows[rows >= 0]].sum(), atol=1e-4)


def test_money_is_the_bid_of_an_ad_and_the_price_of_what_is_bought(lab, table):
    items, rows = lab.logs.items, table.lists
    shop = items["business"][rows]
    ads, products = shop == action_pages.AD, shop == action_pages.PRODUCT
    assert ads.any() and products.any()
    assert np.allclose(table.money[ads], items["bid"][rows][ads])
    assert np.allclose(table.p_pay[ads], table.p_click[ads])
    assert np.allclose(table.money[products], items["price"][rows][products])
    assert (table.p_pay[products] < table.p_click[products]).all()
    assert (table.money[~ads & ~products & (shop != action_pages.LIVE)] == 0).all()
    assert np.allclose((table.p_pay * table.money).sum(2), table.revenue, rtol=1e-4, atol=1e-5)


def test_a_card_has_one_outcome_in_a_draw_whoever_shows_it(table):
    same = (np.sort(table.lists[:, 8]) == np.sort(table.lists[:, 9])).all(1)
    assert same.any()
    drawn = draws(table, 3)
    assert np.array_equal(drawn.value[same, 8], drawn.value[same, 9])
    assert np.array_equal(drawn.value, draws(table, 3).value)
    assert not np.array_equal(drawn.value, draws(table, 4).value)


def test_draws_come_out_as_expected_on_average(table):
    times = 200
    many = [draws(table, seed) for seed in range(times)]
    value = np.mean([d.value.mean(0) for d in many], 0)
    spread = np.std([d.value.mean(0) for d in many], 0) / np.sqrt(times)
    assert (np.abs(value - table.value.mean(0)) < 4 * spread).all()
    money = np.array([d.revenue.mean() for d in many])
    assert abs(money.mean() - table.revenue.mean()) < 4 * money.std() / np.sqrt(times)


def test_the_fallback_is_what_the_degraded_path_answers(lab):
    requests, p = lab.requests(60), lab.trained.parts
    cached, pages = action_pages.fallback_pages(lab, requests)
    before = action_pages._page_before(
        lab, np.array([r.user_id for r in requests]), np.array([r.time_ms for r in requests])
    )
    assert cached.any() and not cached.all()
    kv = KV(namespace="test-fallback")
    cache = DegradationCache(kv)
    path = DegradedPath(cache, p.index, p.users, lambda batch: p.popular.retrieve(batch, 500)[0])
    for b in [*np.flatnonzero(cached)[:6], *np.flatnonzero(~cached)[:3]]:
        for name in kv.names():
            kv.delete(name)
        if cached[b]:
            earlier = Request(requests[b].user_id, int(before[b]), n=30)
            cache.remember(lab.trained.recommend(earlier)[0])
        page, _ = path.recommend(requests[b])
        assert pages[b].tolist() == page.item_row.tolist()
    for name in kv.names():
        kv.delete(name)
    kv.close()


def test_the_page_before_is_the_users_last_one(lab):
    log = lab.logs.interactions
    user, when = int(log["user_id"][500]), int(log["time_ms"][500])
    mine = log["time_ms"][log["user_id"] == user]
    asked = np.array([when, when + 1, int(mine.min())])
    found = action_pages._page_before(lab, np.full(3, user), asked)
    assert found[1] == when and found[0] < when and found[2] < 0


def test_logged_requests_are_others_and_have_no_outcomes(lab, table):
    more = logged_table(lab, progress=False)
    judged = {(r.user_id, r.time_ms) for r in lab.requests(10**6)}
    logged = action_pages.logged_requests(lab, len(more))
    assert not judged & {(r.user_id, r.time_ms) for r in logged}
    assert np.isnan(more.value).all() and np.isfinite(more.told).all()
    assert np.isfinite(more.x).all() and more.features == table.features


def test_it_is_made_once_and_both_tables_share_their_costs(lab, table, monkeypatch):
    costs = action_costs(lab, progress=False)
    monkeypatch.setattr(action_values, "make_table", None)
    again = action_table(lab, "tuning", progress=False)
    assert np.array_equal(again.value, table.value) and again.names == table.names
    assert np.array_equal(again.costs.total_ms, costs.total_ms)


def test_some_rows_of_a_table_are_a_table(table):
    some = table.take(np.array([3, 5]))
    assert len(some) == 2 and some.names == table.names
    assert np.array_equal(some.value, table.value[[3, 5]])
    assert np.array_equal(draws(some, 0).value.shape, (2, len(ACTIONS)))


def test_real_logs_have_no_action_table(lab):
    real = replace(lab, origin="somebody's logs")
    real.judge = object()
    with pytest.raises(DataError, match="somebody's logs has none"):
        action_table(real)
