"""Ladder, gates, budget and pools with a clock of their own: no thread waits here for long."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from reclab.core.errors import ConfigError, DataError
from reclab.core.tables import Table
from reclab.core.types import Request, Slate
from reclab.offline_online.serving.fallback import (
    FAILED,
    REFUSED,
    Cost,
    Gate,
    GateConfig,
    Ladder,
    Rung,
    ask_cascade,
    without_ranking,
)
from reclab.offline_online.serving.latency_budget import (
    NO_TIME,
    BudgetConfig,
    BudgetedCascade,
    Pace,
)
from reclab.offline_online.serving.pools import (
    NEVER,
    EditorsPool,
    HotPool,
    Pool,
    PoolEmpty,
    first_rows,
)
from reclab.offline_online.serving.serving import Serving, ServingConfig
from reclab.stores.forward_index import ForwardIndex

DAY = 86_400_000
ITEMS = Table({"video_id": np.arange(100, 200), "publish_ms": np.arange(100) * 1000})
INDEX = ForwardIndex(ITEMS)
REQUEST = Request(1, DAY)


def page_of(rows, request=REQUEST):
    rows = np.asarray(rows)
    return Slate(request, INDEX.ids[rows], rows)


def rung(name, ask, ms=1.0, **settings):
    return Rung(name, ask, Cost(ms), **settings)


def last(ask=None):
    return rung("last", ask or (lambda r, left: (page_of(range(r.n), r), {})), in_memory=True)


# ---- gates and costs -----------------------------------------------------------------------


def test_a_gate_closes_after_failures_in_a_row_and_lets_one_try_again():
    gate = Gate(GateConfig(failures=2, retry_ms=100.0))
    gate.failed("down", 0.0)
    assert not gate.closed(1.0)
    gate.worked()
    gate.failed("down", 2.0)
    assert not gate.closed(3.0)
    gate.failed("down", 4.0)
    assert "failed 2 times: down" in gate.closed(50.0)
    assert not gate.closed(105.0) and gate.closed(106.0)  # one goes through, the next does not
    gate.worked()
    assert not gate.closed(107.0)


def test_a_gate_closes_while_calls_hang_and_opens_when_they_come_back():
    gate = Gate(GateConfig(hanging=2, retry_ms=100.0))
    gate.hangs(0.0)
    assert not gate.closed(1.0)
    gate.hangs(2.0)
    assert "2 calls hang" in gate.closed(3.0)
    gate.came_back()
    assert not gate.closed(4.0)
    gate.hangs(5.0)
    assert gate.closed(6.0) and not gate.closed(110.0)  # one tries, and it works
    gate.worked()
    assert not gate.closed(111.0) and gate.hanging == 2


def test_a_cost_follows_what_is_measured_and_forgets_a_slow_minute():
    cost = Cost(10.0)
    for _ in range(50):
        cost.saw(40.0)
    assert cost.mean_ms == pytest.approx(40, rel=0.02) and cost.estimate_ms > 40
    one = rung("one", None)
    one.cost = cost
    refused = 0
    while one.refusal(25.0, 0.0):
        refused += 1
    assert 10 < refused < 500


# ---- the ladder ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (range(9), "9 of 10"),
        ([*range(9), 0], "twice"),
        ([*range(9), -1], "unknown"),
        (range(10), ""),
    ],
)
def test_a_page_must_have_n_different_known_items(rows, fault):
    ladder = Ladder([last()], INDEX)
    assert fault in ladder.fault(page_of(rows)) and bool(fault) == bool(ladder.fault(page_of(rows)))


def test_a_page_must_be_published():
    early = replace(REQUEST, time_ms=5000)
    assert "not published" in Ladder([last()], INDEX).fault(page_of(range(10), early))


def test_a_ladder_must_end_in_memory():
    with pytest.raises(ConfigError, match="in memory"):
        Ladder([rung("fresh", None)], INDEX)


# ---- serving -------------------------------------------------------------------------------


def test_what_raises_or_gives_a_bad_page_falls_to_the_next_and_is_written_down():
    def raises(request, left):
        raise ConnectionError("no route")

    bad = rung("bad", lambda r, left: (page_of([0, 0]), {}))
    with Serving(Ladder([rung("first", raises), bad, last()], INDEX)) as serving:
        answer = serving.answer(REQUEST)
    assert answer.rung == "last" and len(answer.slate) == 10
    assert [(a.rung, a.outcome) for a in answer.why] == [("first", FAILED), ("bad", FAILED)]
    assert "ConnectionError: no route" in answer.why[0].why and "2 of 10" in answer.why[1].why


def test_the_deadline_passed_on_decides_the_rung_without_trying():
    slow = rung("slow", lambda r, left: (page_of(range(10)), {}), ms=50.0)
    with Serving(Ladder([slow, last()], INDEX)) as serving:
        assert serving.answer(REQUEST, 500.0).rung == "slow"
        late = serving.answer(REQUEST, 40.0)
    assert late.rung == "last" and late.why[0].outcome == REFUSED and "takes" in late.why[0].why


def test_a_hanging_rung_is_left_behind_and_the_quick_one_answers_in_time():
    release = threading.Event()

    def hangs(request, left):
        release.wait()
        return page_of(range(10)), {}

    quick = rung("quick", lambda r, left: (page_of(range(5, 15)), {}), quick=True)
    config = ServingConfig(BudgetConfig(500.0, reserve=0.6), workers=1)
    with Serving(Ladder([rung("hangs", hangs), quick, last()], INDEX), config) as serving:
        answers = [serving.answer(REQUEST) for _ in range(5)]
        assert [a.rung for a in answers] == ["quick"] * 5
        assert serving.left_behind == 2  # the gate's limit: the others do not even try
        assert "2 calls hang" in answers[-1].why[0].why
        release.set()
        until = time.monotonic() + 5
        while serving.left_behind and time.monotonic() < until:
            time.sleep(0.01)
        assert serving.left_behind == 0 and serving.discarded == 2
        assert any(serving.answer(REQUEST).rung == "hangs" for _ in range(300))


def test_a_rung_that_is_mended_answers_again_after_the_time_of_retrying():
    down = [True]

    def flaky(request, left):
        if down[0]:
            raise ConnectionError("down")
        return page_of(range(10)), {}

    gate = Gate(GateConfig(failures=1, retry_ms=50.0))
    first = rung("first", flaky, gate=gate)
    with Serving(Ladder([first, last()], INDEX), ServingConfig(BudgetConfig(500.0))) as serving:
        assert [serving.answer(REQUEST).rung for _ in range(3)] == ["last"] * 3
        down[0] = False
        time.sleep(0.06)
        assert [serving.answer(REQUEST).rung for _ in range(3)] == ["first"] * 3


def test_a_full_queue_sends_to_the_pools_at_once():
    release = threading.Event()
    waits = rung("waits", lambda r, left: (release.wait(5), (page_of(range(10)), {}))[1])
    config = ServingConfig(BudgetConfig(2000.0), workers=1, queue=1)
    with Serving(Ladder([waits, last()], INDEX), config) as serving:
        threads = [threading.Thread(target=serving.answer, args=(REQUEST,)) for _ in range(2)]
        for thread in threads:
            thread.start()
            time.sleep(0.05)
        answer = serving.answer(REQUEST)
        assert answer.rung == "last" and "wait already" in answer.why[0].why and answer.ms < 1000
        release.set()
        for thread in threads:
            thread.join()
    with pytest.raises(DataError, match="closed"):
        serving.answer(REQUEST)


# ---- the budget ----------------------------------------------------------------------------


def test_stages_that_had_enough_time_answer_as_the_cascade_does(lab):
    calm = BudgetedCascade(lab.trained, BudgetConfig(deadline_ms=1e5))
    for request in lab.requests(5):
        mine, theirs = calm.recommend(request)[0], lab.trained.recommend(request)[0]
        assert mine.item_id.tolist() == theirs.item_id.tolist()


def test_a_stage_short_of_time_is_cut_with_a_reason_and_nothing_vanishes(lab):
    cascade = BudgetedCascade(lab.trained, BudgetConfig(deadline_ms=1e5))
    request = lab.requests(1)[0]
    for stage, ms in (("ranking", 1.0), ("pre_ranking", 1e-9), ("re_ranking", 1e-9)):
        cascade.pace.saw(stage, 1, ms)
    full = cascade.recommend(request)[1]
    assert not full.notes
    cascade.pace = Pace()
    cascade.pace.saw("ranking", 1, 1000.0)  # 1 s a candidate: some 75 fit
    slate, trace = cascade.recommend(request)
    ranking = next(s for s in trace.stages if s.name == "ranking")
    assert ranking.n_in > 100 and 20 < ranking.n_kept < 100
    assert len(ranking.dropped) == ranking.n_in - ranking.n_kept
    assert ranking.reason_counts()[NO_TIME] > 0 and len(slate) == 10
    assert "candidates cut" in trace.notes[0]


def test_without_time_ranking_and_re_ranking_are_skipped_and_channels_left_out(lab):
    cascade, request = BudgetedCascade(lab.trained), lab.requests(1)[0]
    for stage in ("pre_ranking", "ranking", "re_ranking"):
        cascade.pace.saw(stage, 1, 1e6)
    slate, trace = cascade.recommend(request)
    assert len(np.unique(slate.item_id)) == 10
    skipped = [note for note in trace.notes if "skipped" in note]
    assert len(skipped) == 3 and np.isfinite(slate.columns["rank_score"]).all()
    late = cascade.recommend(request, 0.0)
    assert any("time for retrieval is over" in note for note in late[1].notes)
    assert len(late[0]) == 10


def test_without_ranking_keeps_the_order_of_the_pre_ranker(lab):
    plain = without_ranking(lab.trained).with_config(
        mmr=replace(lab.trained.config.mmr, lam=1.0, category_window=0, creator_window=0)
    )
    slate, trace = plain.recommend(lab.requests(1)[0])
    score = slate.columns["pre_rank_score"]
    assert (np.diff(score) <= 0).all() and len(slate) == 10
    assert ask_cascade(plain)(lab.requests(1)[0], 1e5)[0].item_id.tolist() == slate.item_id.tolist()


def test_a_channel_that_hangs_is_left_out_of_later_answers(lab):
    release, began = threading.Event(), threading.Event()

    class Hangs:
        name = "two_tower"

        def retrieve(self, batch, k):
            began.set()
            release.wait()
            raise ConnectionError("down")

    now = [0.0]
    broken = lab.trained.with_parts(two_tower=Hangs())
    cascade = BudgetedCascade(broken, BudgetConfig(deadline_ms=50.0), lambda: now[0])
    first = threading.Thread(target=cascade.recommend, args=(lab.requests(1)[0],), daemon=True)
    first.start()
    assert began.wait(20)
    now[0] = 60.0  # longer than the whole deadline
    slate, trace = cascade.recommend(lab.requests(2)[1])
    assert len(slate) == 10 and np.isfinite(slate.columns["rank_score"]).all()
    assert any("two_tower" in note and "hangs" in note for note in trace.notes)
    release.set()
    first.join(20)
    assert not first.is_alive()


# ---- pools ---------------------------------------------------------------------------------


def test_a_pool_shows_what_is_published_not_expired_and_unseen_first():
    expires = np.full(100, NEVER)
    expires[0] = DAY
    pool = Pool.of(INDEX, INDEX.ids, expires)
    page = pool.page(replace(REQUEST, history=(101, 102)))
    assert page.item_id.tolist() == list(range(103, 113))
    short = pool.page(replace(REQUEST, time_ms=10_500))
    assert short.item_id.tolist() == list(range(100, 110))
    with pytest.raises(PoolEmpty, match="5 of 100"):
        pool.page(replace(REQUEST, time_ms=4_000))
    with pytest.raises(DataError, match="different"):
        Pool.of(INDEX, np.array([100, 100]))


def test_a_hot_pool_is_refused_when_empty_or_old():
    now = [0.0]
    hot = HotPool(lambda: now[0], life_s=10.0)
    with pytest.raises(PoolEmpty, match="never filled"):
        hot.page(REQUEST)
    hot.refresh(Pool.of(INDEX, INDEX.ids))
    assert len(hot.page(REQUEST)) == 10
    now[0] = 11_000.0
    with pytest.raises(PoolEmpty, match="11 s old"):
        hot.page(REQUEST)


def test_the_editors_pool_cannot_run_out():
    expires = np.full(100, DAY)
    expires[50:60] = NEVER
    picks = Pool.of(INDEX, INDEX.ids, expires)
    pool = EditorsPool(picks, since_ms=DAY // 2)
    later = replace(REQUEST, time_ms=9 * DAY, history=tuple(range(100, 200)))
    assert pool.page(later).item_id.tolist() == list(range(150, 160))
    with pytest.raises(ConfigError, match="never expire"):
        EditorsPool(picks, since_ms=DAY // 2, most_n=11)
    with pytest.raises(DataError, match="up to 10"):
        pool.page(replace(REQUEST, n=11))


def test_first_rows_leave_out_what_is_not_published():
    best = first_rows(INDEX, np.arange(100.0), 3, published_by_ms=50_000)
    assert best.tolist() == [150, 149, 148]
