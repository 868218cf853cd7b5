"""lab.blended: the six businesses, the Router and the blending service, wired over the lab."""

from dataclasses import replace

import numpy as np
import pytest

from reclab.blending.allocation import BUSINESSES, Quotas, violations
from reclab.blending.businesses import Money, cards_of, make_businesses
from reclab.blending.contract import Offers
from reclab.blending.currency import Currency
from reclab.blending.page import LONGEST
from reclab.blending.router import RouterConfig
from reclab.blending.serve import LAB, load_factory
from reclab.core.types import Candidates
from reclab.lab.blended import blended_router, blending_service, kept_beliefs
from reclab.lab.blending import open_business
from reclab.lab.blending_pool import rules_of
from reclab.lab.blending_values import learn_values, united
from reclab.lab.page_truth import drawn_clicks

SLOW = RouterConfig(deadline_ms=60_000)  # a busy machine answers within it


@pytest.fixture(scope="module")
def service(lab):
    return blending_service(lab)


@pytest.fixture
def router(lab, service):
    router = blended_router(lab, config=SLOW, service=service)
    yield router
    router.close()


def all_rules(lab, slate, rules):
    """What a page breaks, as the catalogue knows its cards; floors bind whatever was sent."""
    index, rows = lab.trained.parts.index, slate.item_row
    spare = np.repeat(np.arange(len(BUSINESSES)), rules.slots)
    business = np.append(index["business"][rows], spare)
    creator = np.append(index["author_id"][rows], np.full(len(spare), -1))
    columns = {"business": business, "creator": creator, "value": np.ones(len(business))}
    cards = Candidates(1, np.zeros(len(business), int), np.arange(len(business)), columns)
    return violations(np.arange(len(rows)), cards, rules)


def dead(router, *names):
    """These businesses raise from now on."""

    def offer(requests, k, deadline) -> Offers:
        raise RuntimeError("no model")

    for lane in router.lanes:
        if lane.name in names:
            lane.client.business = replace_offer(lane.client.business, offer)


def replace_offer(business, offer):
    return type("Dead", (), {"name": business.name, "offer": staticmethod(offer)})()


def test_values_of_the_service_are_those_that_were_learned(lab, service):
    businesses = make_businesses(lab.trained, lab.logs)
    learned = learn_values(lab, businesses, Money())
    candidates = united(lab, businesses, lab.requests(8), 10)
    kept, trace = service.blend(candidates)
    wanted = learned.valued(cards_of(candidates, service.index), Currency())
    key = {
        (r, i): v
        for r, i, v in zip(wanted.request_row, wanted.item_row, wanted["value"], strict=True)
    }
    told = [key[r, i] for r, i in zip(kept.request_row, kept.item_row, strict=True)]
    assert np.allclose(kept["value"], told, rtol=1e-6)
    assert [stage.name for stage in trace.stages][-1] == "allocation"


def test_what_was_learned_is_kept(lab, service):
    assert [*kept_beliefs(lab)] == [*BUSINESSES]
    again = blending_service(lab)
    assert all(
        (again.outcomes.means[n] == service.outcomes.means[n]).all() for n in service.outcomes.means
    )


def test_pages_are_full_of_businesses_cards_and_keep_every_rule(lab, router):
    slates, traces = router.recommend_batch(lab.requests(40))
    for slate, trace in zip(slates, traces, strict=True):
        assert len(slate) == 10 and not all_rules(lab, slate, rules_of(2))
        assert (lab.trained.parts.index["business"][slate.item_row] == slate.columns["business"])[
            slate.columns["business"] >= 0
        ].all()
        assert trace.outcomes() == {"ok": 6}


@pytest.mark.parametrize("load", [0, 3])
def test_the_ad_load_is_the_services(lab, load):
    router = blended_router(lab, config=SLOW, service=blending_service(lab, load))
    slates, _ = router.recommend_batch(lab.requests(20))
    ads = [(slate.columns["business"] == 3).sum() for slate in slates]
    assert max(ads) <= load
    assert not any(all_rules(lab, slate, rules_of(load)) for slate in slates)
    router.close()


@pytest.mark.parametrize("alive", [(), ("ad",), ("live", "campaign"), ("product", "ad", "live")])
def test_pages_keep_every_rule_whoever_is_dead(lab, router, alive):
    dead(router, *(name for name in BUSINESSES if name not in alive))
    slates, traces = router.recommend_batch(lab.requests(15))
    for slate, trace in zip(slates, traces, strict=True):
        assert len({*slate.item_id.tolist()}) == 10 and not all_rules(lab, slate, rules_of(2))
        assert trace.from_pool == 10 if not alive else trace.from_pool >= 2


@pytest.mark.parametrize("n", [3, 10, 20, LONGEST])
def test_a_page_of_any_length_is_full(lab, router, n):
    requests = [replace(one, n=n) for one in lab.requests(3)]
    slates, _ = router.recommend_batch(requests)
    assert all(len({*slate.item_id.tolist()}) == n for slate in slates)


def test_when_the_service_fails_the_fallback_keeps_every_rule(lab, router, service):
    def fails(candidates):
        raise RuntimeError("out of memory")

    blend = router.steps[-1]
    broken = type("Broken", (), {"blend": staticmethod(fails)})()
    router.steps[-1] = replace(blend, blend=broken)
    slates, traces = router.recommend_batch(lab.requests(15))
    for slate, trace in zip(slates, traces, strict=True):
        assert not all_rules(lab, slate, rules_of(2)) and trace.from_pool == 0
        assert "the fallback" in trace.steps.notes[-1]


class Everybody:
    """A decision service at the height of an overload."""

    def flags(self, requests):
        return np.ones(len(requests), np.int8)


def test_degraded_pages_keep_every_rule_too(lab, service):
    router = blended_router(
        lab, config=replace(SLOW, cached_ms=50_000), service=service,
        degradation=Everybody(), degraded=lab.trained,
    )  # fmt: skip
    slates, traces = router.recommend_batch(lab.requests(15))
    for slate, trace in zip(slates, traces, strict=True):
        assert trace.degraded and not all_rules(lab, slate, rules_of(2))
    router.close()


def test_weights_move_the_pages(lab):
    money = {"watch_sec": 0.0, "revenue": 1.0, "satisfaction": 0.0}
    found = []
    for weights in (None, money):
        router = blended_router(lab, config=SLOW, service=blending_service(lab, 2, weights))
        slates, _ = router.recommend_batch(lab.requests(20))
        found.append(np.mean([slate.columns["revenue"].sum() for slate in slates]))
        router.close()
    assert found[1] > found[0]


def test_with_quotas_prices_move_by_what_is_shown(lab):
    quotas = Quotas(low=(0, 0, 0, 0, 0, 0.1))
    service = blending_service(lab, quotas=quotas)
    router = blended_router(lab, config=SLOW, service=service)
    requests = lab.requests(60)
    for at in range(0, 60, 20):
        slates, _ = router.recommend_batch(requests[at : at + 20])
        service.saw(slates)
    prices = service.policy.prices
    assert prices.pages == 60
    assert prices.exposures.sum() == pytest.approx(
        60 * service.policy.rules.weights.sum(), rel=0.05
    )
    assert prices.get().business[5] < 0 and not prices.get().business[:5].any()
    router.close()


def test_ads_that_users_click_are_charged(lab, router):
    rows = np.arange(200)
    requests = lab.requests(200)
    slates, _ = router.recommend_batch(requests)
    clicks = drawn_clicks(lab, "tuning", rows, slates)
    cost, index = 0.0, lab.trained.parts.index
    for slate, clicked in zip(slates, clicks, strict=True):
        router.feedback(slate, clicked)
        ads = clicked & (slate.columns["business"] == 3)
        cost += index["bid"][slate.item_row[ads]].sum()
    assert 0 < sum(clicked.sum() for clicked in clicks) < 2000
    assert all(outbox.empty() for outbox in router.outboxes)
    budgets = router.lanes[3].client.business.objective.budgets
    assert cost > 0 and budgets.spent.sum() == pytest.approx(cost)


def test_the_boxes_of_the_router_are_those_that_its_traces_count(lab, router):
    _, trace = router.recommend(lab.requests(1)[0])
    assert [box.name for box in router.boxes] == [stage.name for stage in trace.steps.stages]


def test_a_server_without_a_factory_opens_the_labs_business():
    assert load_factory(LAB) is open_business
