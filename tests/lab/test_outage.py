"""lab.outage: six real processes, one killed and one slowed under real requests; and what the
numbers of an outage mean."""

from dataclasses import replace

import numpy as np
import pytest

from reclab.blending.businesses.ledger import ROW
from reclab.blending.contract import monotonic_ms
from reclab.blending.currency import Currency
from reclab.blending.router import RouterConfig
from reclab.blending.trace import OUTCOMES
from reclab.core.errors import DataError
from reclab.core.types import Slate
from reclab.lab.blended import blended_router, six_servers
from reclab.lab.blending_pool import judge_pages, make_pool
from reclab.lab.outage import PHASES, Outage, Replay, break_businesses, router_pool
from reclab.lab.page_truth import true_value


@pytest.fixture(scope="module")
def outage(lab):
    with six_servers(lab) as servers:
        config = RouterConfig(deadline_ms=2000)  # a busy machine has healthy phases too
        router = blended_router(lab, servers, config)
        told = []
        found = break_businesses(
            lab, router, servers, kill="live", rate=8, phase_s=2, say=lambda *t: told.append(t)
        )
        assert all(servers.running(name) for name in servers.names)
        clicked_ads_are_written_down(lab, router, servers)
        router.close()
    assert told[-1][0] == 1.0 and {text for _, text in told} >= {PHASES[0], PHASES[1], PHASES[3]}
    return found


def clicked_ads_are_written_down(lab, router, servers):
    """Every ad is clicked: the process of the ads has them in its journal, also when killed."""
    slates, _ = router.recommend_batch(lab.requests(30))
    clicks = [slate.columns["business"] == 3 for slate in slates]
    for slate, clicked in zip(slates, clicks, strict=True):
        router.feedback(slate, clicked)
    assert all(outbox.empty(20.0) for outbox in router.outboxes)
    servers.kill("ad")
    journal = (servers.folder / "ad.clicks").read_bytes()
    assert len(journal) == ROW * sum(clicked.sum() for clicked in clicks) > 0


def test_no_request_fails_and_every_page_is_full_and_keeps_the_rules(outage):
    assert not outage.failed.any() and (outage.cards == 10).all() and outage.rules_ok.all()
    assert np.isfinite(outage.true).all() and np.isfinite(outage.ms).all()
    assert np.unique(outage.phase).tolist() == [0, 1, 2, 3]


def test_each_phase_replays_the_same_requests(outage):
    for phase in (0, 1, 3):
        assert outage.request[outage.phase == phase].tolist() == [*range(16)]
    assert outage.share(outage.phase == 0) == pytest.approx(1.0)


def test_the_killed_business_is_left_alone_and_comes_back(outage):
    states = outage.states("live", 1)
    assert "open" in states and outage.states("live", 3)[-1] == "closed"
    live = outage.businesses.index("live")
    broken = outage.outcome[outage.phase == 1, live]
    assert not (broken[2:] == OUTCOMES.index("ok")).any()
    assert (outage.outcome[outage.phase == 3, live] == OUTCOMES.index("ok")).any()


def test_its_summary_names_all_phases(outage):
    lines = outage.summary().splitlines()
    assert len(lines) == 5
    assert all(line.startswith(name) for line, name in zip(lines[1:], PHASES, strict=True))
    assert "live open" in lines[2] or "live half-open" in lines[2]


# -- the numbers ----------------------------------------------------------------------------


def small(**changes):
    n = 6
    whole = Outage(
        ("live", "ad"), "live", "ad", 300.0,
        np.array([0.0, 1.0, 2.0, 3.0, 4.0]),
        np.array([0, 0, 1, 1, 2, 3]),
        np.array([0, 1, 0, 1, 0, 1]),
        np.array([0.1, 0.6, 1.1, 1.6, 2.1, 3.1]),
        np.full(n, 20.0), np.zeros(n, bool), np.full(n, 10), np.zeros(n, int), np.ones(n, bool),
        np.ones(n), np.array([2.0, 4.0, 1.0, 4.0, 2.0, 3.0]),
        np.zeros((n, 2), np.int8), {"live": ((1.2, "open"), (2.5, "closed")), "ad": ()},
    )  # fmt: skip
    return replace(whole, **changes)


def test_value_is_compared_with_the_same_requests_when_healthy():
    outage = small()
    assert outage.share(outage.phase == 1) == pytest.approx(5 / 6)
    assert outage.share(outage.phase == 3) == pytest.approx(3 / 4)
    at, share = outage.by_second(1.0)
    assert at.tolist() == [0.5, 1.5, 2.5, 3.5]
    assert share == pytest.approx([1.0, 5 / 6, 1.0, 0.75])


def test_a_page_that_failed_is_worth_nothing():
    outage = small(true=np.array([2.0, 4.0, np.nan, 4.0, 2.0, 3.0]), failed=np.arange(6) == 2)
    assert outage.share(outage.phase == 1) == pytest.approx(4 / 6)
    assert outage.summary().splitlines()[2].split()[1:3] == ["2", "1"]


def test_states_begin_with_the_one_before():
    outage = small()
    assert [outage.states("live", n) for n in range(4)] == [
        ["closed"], ["closed", "open"], ["open", "closed"], ["closed"],
    ]  # fmt: skip


def test_true_value_is_that_of_the_pool_of_the_same_pages(lab):
    pool = make_pool(lab, "tuning", 20)
    c, starts = pool.candidates, pool.candidates.starts()[:-1]
    pages = starts[:, None] + np.arange(10)
    held = np.linspace(0, len(lab.judge.requests("tuning", 10**6)) - 1, 20).astype(int)
    requests = lab.judge.requests("tuning", int(held[-1]) + 1)
    slates = [
        Slate(requests[at], c.item_row[page], c.item_row[page])
        for at, page in zip(held, pages, strict=True)
    ]
    worth = judge_pages(pool, pages)
    seconds = true_value(lab, "tuning", held, slates, Currency({"watch_sec": 1.0}))
    assert np.allclose(seconds, worth.watch_sec / worth.pages, rtol=1e-6)


def test_a_replay_counts_from_when_a_request_was_due(lab):
    class Late:
        def recommend(self, request):
            until = monotonic_ms() + 30
            while monotonic_ms() < until:
                pass
            return None, None

    replay = Replay(Late(), lab.requests(3), rate=1000)
    replay.phase(0, lambda sent: sent < 6)
    replay.close()
    assert [one.request for one in replay.answered] == [0, 1, 2, 0, 1, 2]
    assert all(one.ms >= 30 for one in replay.answered)


def test_only_pages_with_rules_can_be_looked_at(lab):
    with pytest.raises(DataError, match="blended_router"):
        router_pool(type("Plain", (), {"last_resort": None})())
