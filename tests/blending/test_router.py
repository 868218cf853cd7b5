"""The Router: whatever the businesses do, the page is full, valid and on time, and says why."""

import threading
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reclab.blending.breaker import BreakerConfig
from reclab.blending.contract import Offers, monotonic_ms, no_offers
from reclab.blending.experiment import Arm, Experiment
from reclab.blending.hedge import HedgeConfig
from reclab.blending.page import weave
from reclab.blending.router import Router, RouterConfig
from reclab.blending.rpc import Local
from reclab.core.errors import ConfigError, DataError
from reclab.core.stage import keep_top
from reclab.core.types import Request, Slate, StageTrace, Trace
from tests.blending.small import ITEM_IDS, NAMES, POOL, Garbage, Small, index

INDEX = index()
CALM = RouterConfig(deadline_ms=5000, finish_ms=50, hedge=HedgeConfig(share=0))
QUICK = BreakerConfig(window=4, least=2, open_ms=100, probes=1)
USER = Request(7, 0)


@dataclass
class Says:
    """A business that says what it is told to: a function of (requests, k), or an error."""

    name: str
    what: object
    asked: int = 0

    def offer(self, requests, k, deadline):
        self.asked += 1
        return self.what(requests, k)


def offers_of(ids, score=None, **columns) -> object:
    """The same answer to every request of a call."""

    def say(requests, k):
        n = len(requests)
        values = np.linspace(1, 0, len(ids)) if score is None else score
        tiled = {name: np.tile(np.float32(v), n) for name, v in columns.items()}
        scores = np.tile(np.float32(values), n)
        return Offers(np.full(n, len(ids)), np.tile(np.int64(ids), n), scores, tiled)

    return say


def fails(requests, k):
    raise RuntimeError("down")


def router_of(*businesses, config=CALM, **options) -> Router:
    return Router([Local(one) for one in businesses], INDEX, POOL, config=config, **options)


def all_six(**ms) -> list[Small]:
    return [Small(name, ms.get(name, 0.0)) for name in NAMES]


def assert_valid(slate: Slate, n: int = 10) -> None:
    assert len(slate) == len({*slate.item_id.tolist()}) == n
    assert (INDEX.rows(slate.item_id) == slate.item_row).all() and slate.item_row.min() >= 0


def outcome_of(trace, business: str) -> list[str]:
    return [call.outcome for call in trace.calls if call.business == business]


def reasons_of(trace) -> dict[str, int]:
    return next(stage for stage in trace.steps.stages if stage.name == "check").reason_counts()


# ---- all is well ---------------------------------------------------------------------------


def test_a_page_is_woven_from_all_businesses():
    slate, trace = router_of(*all_six()).recommend(USER)
    assert_valid(slate)
    assert slate.columns["business"].tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]
    assert trace.outcomes() == {"ok": 6} and trace.from_pool == 0 and not trace.steps.notes
    best = Small("live").offer([USER], 20, _far()).item_id
    assert slate.item_id[[1, 7]].tolist() == best[:2].tolist()
    assert [stage.name for stage in trace.steps.stages] == ["dispatch", "answers", "check", "blend"]
    assert trace.steps.stages[-1].reason_counts() == {"not chosen": 110}


def _far():
    from reclab.blending.contract import Deadline

    return Deadline(1e6)


def test_a_batch_answers_as_each_request_alone():
    router = router_of(*all_six())
    requests = [Request(user, 0, n=n) for user, n in ((1, 10), (2, 3), (3, 100), (1, 10))]
    together, traces = router.recommend_batch(requests)
    for request, slate, trace in zip(requests, together, traces, strict=True):
        alone, _ = router.recommend(request)
        assert slate.item_id.tolist() == alone.item_id.tolist()
        assert slate.columns["p_click"].tolist() == alone.columns["p_click"].tolist()
        assert slate.request == request and trace.n_requests == 4
        assert_valid(slate, request.n)
    assert router.recommend_batch([]) == ([], [])


def test_every_caller_gets_the_page_of_its_own_user():
    router = router_of(*all_six())
    alone = {u: router.recommend(Request(u, 0))[0].item_id.tolist() for u in range(40)}
    wrong, sizes = [], []

    def work(user: int) -> None:
        for _ in range(10):
            slate, trace = router.recommend(Request(user, 0))
            sizes.append(trace.n_requests)
            if slate.item_id.tolist() != alone[user]:
                wrong.append(user)

    threads = [threading.Thread(target=work, args=(user,)) for user in alone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(sizes) == 400
    assert max(sizes) > 1, "nobody went together"


def test_the_trace_can_be_drawn():
    _, trace = router_of(*all_six(live=20)).recommend(USER)
    live = next(call for call in trace.calls if call.business == "live")
    assert 0 <= live.begin_ms < live.end_ms <= trace.ms and live.end_ms - live.begin_ms >= 20
    assert "live            ok            20" in trace.table()


# ---- businesses that misbehave -------------------------------------------------------------

GOOD = [int(i) for i in ITEM_IDS[100:112]]
BAD_ANSWERS = {
    "an empty list": (lambda requests, k: no_offers(len(requests)), "ok", {}),
    "NaN scores": (offers_of(GOOD, [np.nan] * 8 + [1.0] * 4), "failed", {"no finite number": 8}),
    "infinite scores": (offers_of(GOOD, [np.inf] * 3 + [1.0] * 9), "ok", {"no finite number": 3}),
    "NaN in a column": (offers_of(GOOD, p=[np.nan] + [0.1] * 11), "ok", {"no finite number": 1}),
    "unknown ids": (offers_of([-1, 5, 2**62, *GOOD]), "ok", {"unknown item": 3}),
    "one item many times": (offers_of([GOOD[0]] * 9), "failed", {"listed twice": 8}),
    "10 000 candidates": (
        offers_of([int(i) for i in np.resize(ITEM_IDS, 10_000)]),
        "ok",
        {"over the limit": 9980},
    ),
    "another's items": (
        lambda requests, k: Small("live").offer(requests, k, _far()),
        "ok",
        {"offered by another business": 20},
    ),
    "an error": (fails, "failed", {}),
    "None": (lambda requests, k: None, "failed", {}),
    "too few answers": (lambda requests, k: no_offers(len(requests) + 1), "failed", {}),
    "our column's name": (offers_of(GOOD, place=[1.0] * 12), "failed", {}),
}


@pytest.mark.parametrize("what", BAD_ANSWERS)
def test_a_bad_answer_is_left_out_with_its_reason(what: str):
    say, outcome, reasons = BAD_ANSWERS[what]
    router = router_of(Small("live"), Says("odd", say))
    slate, trace = router.recommend(USER)
    assert_valid(slate)
    assert outcome_of(trace, "odd") == [outcome] and outcome_of(trace, "live") == ["ok"]
    assert reasons_of(trace) == reasons
    assert np.isfinite(slate.columns["score"]).all()
    assert trace.from_pool == 0
    slates, _ = router.recommend_batch([USER, Request(8, 0)])
    for slate in slates:
        assert_valid(slate)


numbers = st.floats(width=32, allow_nan=True, allow_infinity=True)
any_id = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([int(i) for i in ITEM_IDS[:40]])
any_answers = st.lists(st.lists(st.tuples(any_id, numbers, numbers), max_size=40), max_size=3)


@settings(max_examples=60, deadline=None)
@given(any_answers, st.integers(1, 100))
def test_any_answers_give_a_full_page_of_known_different_items(answers, n):
    businesses = [
        Says(name, offers_of([a[0] for a in said], [a[1] for a in said], p=[a[2] for a in said]))
        for name, said in zip(NAMES, [*answers, [(int(GOOD[0]), 1.0, 1.0)]], strict=False)
    ]
    slate, trace = _shared(businesses).recommend(Request(1, 0, n=n))
    assert_valid(slate, n)
    check = next(stage for stage in trace.steps.stages if stage.name == "check")
    assert check.n_kept + len(check.dropped) == check.n_in == sum(map(len, answers)) + 1
    assert np.isfinite(slate.columns["score"][: n - trace.from_pool]).all()


def _shared(businesses) -> Router:
    """One thread a business: many routers are made."""
    clients = [Local(one, workers=1) for one in businesses]
    for client in clients:
        _opened.append(client)
    while len(_opened) > 12:
        _opened.pop(0).close()
    return Router(clients, INDEX, POOL, config=CALM)


_opened: list[Local] = []


def test_with_every_business_down_the_page_is_the_pool():
    router = router_of(Says("live", fails), Says("ad", fails))
    slate, trace = router.recommend(Request(1, 0, n=100))
    assert_valid(slate, 100)
    assert slate.item_id.tolist() == POOL[:100].tolist() and trace.from_pool == 100
    assert set(slate.columns["business"].tolist()) == {-1}
    assert any("live: failed: " in note for note in trace.steps.notes)


def test_a_short_page_is_filled_without_repeating_an_item():
    have = [int(POOL[2]), int(POOL[0]), int(ITEM_IDS[1])]
    slate, trace = router_of(Says("live", offers_of(have))).recommend(USER)
    rest = [i for i in POOL[:9].tolist() if i not in have]
    assert slate.item_id.tolist() == have + rest and trace.from_pool == 7
    assert slate.columns["business"].tolist() == [0] * 3 + [-1] * 7


# ---- time ----------------------------------------------------------------------------------


def test_a_late_business_is_left_out_at_the_deadline():
    config = RouterConfig(deadline_ms=150, finish_ms=30)
    router = router_of(*all_six(ad=600), config=config)
    began = monotonic_ms()
    slate, trace = router.recommend(USER)
    assert 120 <= monotonic_ms() - began < 400
    assert_valid(slate)
    assert outcome_of(trace, "ad") == ["late"] and trace.outcomes()["ok"] == 5
    late = next(call for call in trace.calls if call.business == "ad")
    assert 120 <= late.end_ms < 400
    assert 3 not in slate.columns["business"]


def test_a_business_has_a_deadline_of_its_own():
    config = RouterConfig(deadline_ms=3000, business_ms={"ad": 60.0})
    router = router_of(*all_six(ad=500, live=120), config=config)
    _, trace = router.recommend(USER)
    assert outcome_of(trace, "ad") == ["late"] and outcome_of(trace, "live") == ["ok"]
    assert trace.ms < 450


def test_once_enough_have_answered_the_rest_has_only_grace():
    config = RouterConfig(deadline_ms=3000, enough=0.8, grace_ms=30, breaker=QUICK)
    router = router_of(*all_six(ad=300), config=config)
    for _ in range(3):
        _, trace = router.recommend(USER)
        assert trace.ms < 250
        assert "left out early" in next(c for c in trace.calls if c.business == "ad").note
    time.sleep(0.4)  # it answered after all, in time: no reason to open
    assert router.breakers["ad"].state == "closed"


def test_a_business_that_hangs_behind_an_early_close_is_found_out():
    config = RouterConfig(
        deadline_ms=200, finish_ms=20, enough=0.5, grace_ms=5, breaker=QUICK, n_offers=5
    )
    router = router_of(Small("live"), Small("ad", ms=2000), config=config)
    until = time.monotonic() + 5
    while router.breakers["ad"].state == "closed" and time.monotonic() < until:
        _, trace = router.recommend(USER)
        assert trace.ms < 150
        time.sleep(0.02)
    assert router.breakers["ad"].history[0][1] == "open"


def test_a_slow_call_is_sent_again_and_the_faster_answer_wins():
    class Stumbles(Small):
        stumbles = False

        def offer(self, requests, k, deadline):
            stumbled, self.stumbles = self.stumbles, False
            time.sleep(0.5 * stumbled)
            return super().offer(requests, k, deadline)

    config = RouterConfig(deadline_ms=3000, hedge=HedgeConfig(share=1.0))
    live = Stumbles("live")
    router = router_of(Small("ad"), live, config=config)
    for _ in range(40):
        router.recommend(USER)
    live.stumbles = True
    slate, trace = router.recommend(USER)
    seconds = [call.second for call in trace.calls if call.business == "live"]
    assert outcome_of(trace, "live") == ["hedged", "ok"] and seconds == [False, True]
    assert trace.ms < 450 and 1 in slate.columns["business"]
    assert router.breakers["live"].state == "closed"


# ---- the breaker at work -------------------------------------------------------------------


@pytest.mark.parametrize("bad", ["raises", "garbage", "late"])
def test_a_business_that_fails_again_and_again_is_not_asked(bad: str):
    business = {
        "raises": Says("ad", fails),
        "garbage": Garbage("ad"),
        "late": Small("ad", ms=900),
    }[bad]
    breaker = BreakerConfig(window=4, least=2, open_ms=60_000)
    # long enough for the other business on a busy machine
    config = RouterConfig(deadline_ms=500, finish_ms=10, breaker=breaker)
    router = router_of(Small("live"), business, config=config)
    for _ in range(2):
        assert_valid(router.recommend(USER)[0])
    assert router.breakers["ad"].state == "open"
    _, trace = router.recommend(USER)
    assert outcome_of(trace, "ad") == ["open"]
    assert trace.steps.notes == ("not asked, circuit breaker open: ad",)
    assert "ad" in trace.table() and router.breakers["live"].state == "closed"


def test_a_business_that_comes_back_is_asked_again():
    business = Says("ad", fails)
    config = RouterConfig(deadline_ms=2000, breaker=QUICK)
    router = router_of(Small("live"), business, config=config)
    for _ in range(2):
        router.recommend(USER)
    business.what = lambda requests, k: Small("ad").offer(requests, k, _far())
    back_ms, until = monotonic_ms(), time.monotonic() + 5
    while router.breakers["ad"].state != "closed" and time.monotonic() < until:
        router.recommend(USER)
        time.sleep(0.005)
    closed_ms = router.breakers["ad"].history[-1][0]
    assert closed_ms - back_ms <= QUICK.recovery_ms(config.limit_ms("ad"))
    _, trace = router.recommend(USER)
    assert outcome_of(trace, "ad") == ["ok"]


def test_probes_do_not_hold_the_page():
    config = RouterConfig(deadline_ms=400, finish_ms=50, grace_ms=10, breaker=QUICK)
    router = router_of(Small("live"), Small("ad", ms=1000), config=config)
    for _ in range(2):
        router.recommend(USER)
    took = []
    for _ in range(40):
        _, trace = router.recommend(USER)
        took.append(trace.ms)
        time.sleep(0.01)
    states = [state for _, state in router.breakers["ad"].history]
    assert "half-open" in states
    assert max(took) < 200


# ---- degradation and experiments -----------------------------------------------------------


@dataclass
class Flags:
    """A decision service: flags by user id."""

    degraded: tuple[int, ...] = ()
    fault: object = None

    def flags(self, requests):
        if self.fault is not None:
            if isinstance(self.fault, Exception):
                raise self.fault
            return self.fault
        return np.array([request.user_id in self.degraded for request in requests], int)


@dataclass
class Cached:
    """A degraded path over one list."""

    ids: tuple[int, ...]
    fault: Exception | None = None

    def recommend_batch(self, requests):
        if self.fault:
            raise self.fault
        ids = np.array(self.ids)
        return [Slate(r, ids[: r.n], INDEX.rows(ids[: r.n])) for r in requests], Trace(())


def test_flagged_requests_take_the_degraded_path_and_no_business_is_asked():
    cached, live = Cached((*GOOD,)), Small("live")
    router = router_of(live, degradation=Flags((8, 9)), degraded=cached)
    slates, traces = router.recommend_batch([Request(user, 0) for user in (7, 8, 9, 10)])
    assert [trace.degraded for trace in traces] == [False, True, True, False]
    assert slates[1].item_id.tolist() == slates[2].item_id.tolist() == GOOD[:10]
    assert {r.user_id for asked in live.asked for r in asked} == {7, 10}
    assert slates[0].item_id.tolist() == router.recommend(Request(7, 0))[0].item_id.tolist()
    slate, trace = router.recommend(Request(9, 0))
    assert trace.degraded and not trace.calls and slate.item_id.tolist() == GOOD[:10]


@pytest.mark.parametrize(
    "degraded",
    [None, Cached(()), Cached((), OSError("no Redis")), Cached((-1, GOOD[0], GOOD[0], 2**40))],
)
def test_a_degraded_page_is_full_too(degraded):
    router = router_of(Small("live"), degradation=Flags((7,)), degraded=degraded)
    slate, trace = router.recommend(USER)
    assert_valid(slate)
    assert trace.degraded and trace.from_pool == (9 if degraded and len(degraded.ids) > 2 else 10)
    if degraded and degraded.fault:
        assert "degraded path: OSError: no Redis: last-resort pool" in trace.steps.notes[0]


def test_a_degraded_page_does_not_wait_for_the_businesses_of_its_neighbours():
    """Two are inside; of the two that gather behind them, the first leads and is degraded."""
    business, took = Small("live", ms=400), {}
    config = RouterConfig(deadline_ms=5000, gather_ms=150)
    router = router_of(business, degradation=Flags((8,)), degraded=Cached((*GOOD,)), config=config)

    def work(user):
        began = monotonic_ms()
        _, trace = router.recommend(Request(user, 0))
        took[user] = trace.degraded, trace.n_requests, monotonic_ms() - began

    threads = [threading.Thread(target=work, args=(user,)) for user in (1, 2, 8, 9)]
    for thread in threads:
        thread.start()
        time.sleep(0.02)
    for thread in threads:
        thread.join()
    assert took[8][0] and not took[9][0]
    assert took[8][2] < 390 < 400 <= took[9][2]


@pytest.mark.parametrize("fault", [OSError("unreachable"), np.zeros(3), None])
def test_without_a_usable_flag_the_live_path_answers(fault):
    router = router_of(Small("live"), degradation=Flags((), fault))
    slate, trace = router.recommend(USER)
    assert_valid(slate)
    assert not trace.degraded and trace.from_pool == 0
    assert any("decision service" in note for note in trace.steps.notes) == (fault is not None)


def hangs(requests):
    time.sleep(1.0)


def test_a_decision_service_that_hangs_costs_its_deadline_and_then_nothing():
    config = RouterConfig(deadline_ms=3000, flag_ms=10, breaker=BreakerConfig(open_ms=60_000))
    service = Flags()
    service.flags = hangs
    router = router_of(Small("live"), degradation=service, config=config)
    notes = [router.recommend(USER)[1].steps.notes[0] for _ in range(7)]
    assert notes[:5] == ["decision service: no answer in 10 ms: live path"] * 5
    assert notes[5:] == ["decision service: circuit breaker open: live path"] * 2


def test_a_degraded_path_that_hangs_gives_way_to_the_pool_in_time():
    config = RouterConfig(deadline_ms=100, finish_ms=20)
    path = Cached(())
    path.recommend_batch = hangs
    router = router_of(Small("live"), degradation=Flags((7,)), degraded=path, config=config)
    slate, trace = router.recommend(USER)
    assert_valid(slate)
    assert trace.from_pool == 10 and trace.ms < 700
    assert "degraded path: no answer in" in trace.steps.notes[0]


def last_first(request, candidates):
    return np.arange(len(candidates))[::-1]


def test_users_of_an_arm_get_its_blending_and_its_businesses():
    arms = [Arm("control", 0.5), Arm("new", 0.5, last_first, ("live",))]
    split = Experiment("test", arms)
    live, ad = Small("live"), Small("ad")
    router = router_of(live, ad, experiment=split)
    requests = [Request(user, 0) for user in range(30)]
    arm_of = split.arm_of(np.arange(30))
    slates, traces = router.recommend_batch(requests)
    for slate, trace, arm in zip(slates, traces, arm_of, strict=True):
        assert trace.arm == arms[arm].name
        assert set(slate.columns["business"].tolist()) == ({0, 1} if arm == 0 else {0})
        assert_valid(slate)
    assert len(live.asked[0]) == 30 and len(ad.asked[0]) == (arm_of == 0).sum()
    with pytest.raises(ConfigError, match="a business's name must be one of .*live, ad"):
        router_of(live, ad, experiment=Experiment("t", [Arm("a", 1.0, None, ("music",))]))


# ---- the blending function -----------------------------------------------------------------


def bad_blend(positions):
    return lambda request, candidates: positions


@pytest.mark.parametrize(
    ("blend", "words"),
    [
        (lambda request, candidates: 1 / 0, "ZeroDivisionError"),
        (bad_blend(np.array([0, 1, 999])), "must be in -1..39, got 0..999"),
        (bad_blend([-2]), "must be in -1..39"),
        (bad_blend([1, 2, 1]), "comes twice"),
        (bad_blend(np.array([0.0, 1.0])), "whole numbers"),
        (bad_blend(None), "whole numbers"),
    ],
)
def test_a_blending_function_that_fails_loses_its_say(blend, words):
    router = router_of(Small("live"), Small("ad"), blend=blend)
    slate, trace = router.recommend(USER)
    woven, _ = router_of(Small("live"), Small("ad")).recommend(USER)
    assert slate.item_id.tolist() == woven.item_id.tolist()
    assert words in trace.steps.notes[0] and "the fallback" in trace.steps.notes[0]


def test_a_blending_function_may_be_short_and_is_cut_when_it_is_long():
    router = router_of(Small("live"), blend=bad_blend(np.array([3])))
    slate, trace = router.recommend(USER)
    assert_valid(slate)
    assert trace.from_pool == 9 and not trace.steps.notes
    assert_valid(router_of(Small("live"), blend=last_first).recommend(USER)[0])


def test_an_empty_slot_is_filled_from_the_pool_and_the_others_stay_where_they_are():
    gaps = bad_blend(np.array([-1, -1, 5, -1, 0]))
    slate, trace = router_of(Small("live"), blend=gaps).recommend(USER)
    assert_valid(slate)
    said = Small("live").offer([USER], 20, _far()).item_id
    assert slate.item_id[[2, 4]].tolist() == said[[5, 0]].tolist()
    assert slate.columns["business"].tolist() == [-1, -1, 0, -1, 0, -1, -1, -1, -1, -1]
    assert trace.from_pool == 8 and not trace.steps.notes


def test_the_fallback_blends_when_the_blending_fails_and_weave_when_both_do():
    fails_too = bad_blend([7, 7])
    for fallback, first in ((last_first, 19), (fails_too, 0)):
        for blend in (fails_too, Service(error)):
            router = router_of(Small("live"), blend=blend, fallback=fallback)
            slate, trace = router.recommend(USER)
            said = Small("live").offer([USER], 20, _far()).item_id
            assert slate.item_id[0] == said[first] and trace.from_pool == 0
            assert "blending failed" in trace.steps.notes[0]


def test_the_blending_function_sees_clean_candidates_of_its_request():
    seen = []

    def look(request, candidates):
        seen.append((request, candidates))
        return weave(request, candidates)

    router = router_of(Small("live"), Garbage("ad"), blend=look)
    router.recommend_batch([USER, Request(8, 0, n=5)])
    for request, candidates in seen:
        assert candidates.n_requests == 1 and len(candidates) >= request.n
        assert (candidates.item_row >= 0).all() and np.isfinite(candidates["score"]).all()
        assert len(np.unique(candidates.item_row)) == len(candidates)
        mine = candidates["business"] == 0
        alone = Small("live").offer([request], 20, _far())
        assert candidates["item_id"][mine].tolist() == alone.item_id.tolist()
        assert candidates["place"][mine].tolist() == [*range(20)]
        assert np.isfinite(candidates["p_click"][mine]).all()


class Service:
    """A blending service: the best by score, ``business`` of the index beside it."""

    def __init__(self, spoil=lambda kept: kept):
        self.spoil, self.asked = spoil, []

    def blend(self, candidates):
        self.asked.append(candidates)
        best = keep_top(candidates, candidates["score"], 10, "low")
        kept = best.kept.with_columns(value=best.kept["score"] * 2)
        stage = StageTrace("allocation", len(candidates), len(kept), 0.1, 0, best.dropped, ("low",))
        return self.spoil(kept), Trace((stage,), ("the service says hello",))


def test_a_blending_service_is_asked_once_for_all_requests():
    service = Service()
    router = router_of(Small("live"), Small("ad"), blend=service)
    slates, traces = router.recommend_batch([Request(user, 0) for user in range(5)])
    assert len(service.asked) == 1 and service.asked[0].n_requests == 5
    for slate, trace in zip(slates, traces, strict=True):
        assert_valid(slate)
        assert (np.diff(slate.columns["score"]) <= 0).all()
        assert slate.columns["value"].tolist() == (slate.columns["score"] * 2).tolist()
        assert [s.name for s in trace.steps.stages][-2:] == ["check", "allocation"]
        assert trace.steps.notes == ("the service says hello",)


def with_slots(kept):
    return kept.with_columns(slot=np.tile([1, 3, 5, 3, -1, 99, 2, 2, 9, 8], kept.n_requests))


def test_a_service_says_the_slot_of_each_card_and_the_first_in_a_slot_stays():
    slate, trace = router_of(Small("live"), blend=Service(with_slots)).recommend(USER)
    best = np.sort(Small("live").offer([USER], 20, _far()).score)[::-1]
    assert_valid(slate)
    assert np.flatnonzero(slate.columns["business"] == 0).tolist() == [1, 2, 3, 5, 8, 9]
    np.testing.assert_allclose(slate.columns["score"][[1, 3, 5, 2]], best[[0, 1, 2, 6]])
    assert trace.from_pool == 4


def strange(kept):
    return replace(kept, item_row=kept.item_row[::-1] * 0 + 2999)


def twice(kept):
    return kept.take(np.zeros(4, int))


def error(kept):
    raise KeyError("no price")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(strange, "not among the candidates"), (twice, "twice"), (error, "KeyError: 'no price'")],
)
def test_a_blending_service_that_fails_loses_its_say(spoil, words):
    slate, trace = router_of(Small("live"), blend=Service(spoil)).recommend(USER)
    woven, _ = router_of(Small("live")).recommend(USER)
    assert slate.item_id.tolist() == woven.item_id.tolist()
    assert words in trace.steps.notes[0] and "the fallback" in trace.steps.notes[0]


def test_arms_may_have_a_service_and_a_function_at_once():
    arms = [Arm("a", 0.5, Service()), Arm("b", 0.5, last_first)]
    split = Experiment("mixed", arms)
    router = router_of(Small("live"), Small("ad"), experiment=split)
    slates, _ = router.recommend_batch([Request(user, 0) for user in range(20)])
    for slate, arm in zip(slates, split.arm_of(np.arange(20)), strict=True):
        assert_valid(slate)
        assert np.isfinite(slate.columns["value"]).all() == (arm == 0)


def test_candidates_carry_what_the_blending_reads_of_the_index():
    service = Service()
    router_of(Small("live"), blend=service, carry=("kind",)).recommend(USER)
    assert set(service.asked[0]["kind"].tolist()) == {NAMES.index("live")}


# ---- settings ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"deadline_ms": 0}, "RouterConfig.deadline_ms must be in"),
        ({"finish_ms": 300.0}, r"RouterConfig.finish_ms must be in \[0, deadline_ms = 300\)"),
        ({"business_ms": {"live": -1}}, r"RouterConfig.business_ms\['live'\]"),
        ({"n_offers": 0}, "RouterConfig.n_offers must be >= 1"),
        ({"enough": 0.0}, "RouterConfig.enough"),
        ({"grace_ms": -1}, "RouterConfig.grace_ms"),
        ({"most": 0}, "RouterConfig.most"),
        ({"flag_ms": 0.0}, "RouterConfig.flag_ms"),
        ({"cached_ms": 0.0}, "RouterConfig.cached_ms"),
        ({"gather_ms": -1.0}, "RouterConfig.gather_ms"),
    ],
)
def test_a_setting_out_of_range_is_named(settings, words):
    with pytest.raises(ConfigError, match=words):
        RouterConfig(**settings)


def test_a_router_that_could_not_fill_a_page_is_not_built():
    clients = [Local(Small("live"))]
    with pytest.raises(ConfigError, match="last-resort pool must hold at least 100 .* got 2"):
        Router(clients, INDEX, [int(ITEM_IDS[0]), int(ITEM_IDS[0]), -3, int(ITEM_IDS[1])])
    with pytest.raises(ConfigError, match="number of the Router's clients"):
        Router([], INDEX, POOL)
    with pytest.raises(ConfigError, match="names of the clients must be different"):
        Router(clients * 2, INDEX, POOL)
    with pytest.raises(DataError, match="no feature 'colour'"):
        Router(clients, INDEX, POOL, carry=("kind", "colour"))
    unknown = RouterConfig(business_ms={"music": 50})
    with pytest.raises(ConfigError, match="a business's name must be one of .* live, got 'music'"):
        Router(clients, INDEX, POOL, config=unknown)
