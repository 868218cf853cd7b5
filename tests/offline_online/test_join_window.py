"""Close rules: what each waits for."""

import numpy as np
import pytest

from reclab.core.errors import ConfigError, DataError, NotBuilt
from reclab.offline_online.join.delay_law import DelayLaw
from reclab.offline_online.join.hazard import Hazard, HazardConfig, PricedWait, PricedWaitConfig
from reclab.offline_online.join.window import (
    FixedWindow,
    SessionEnd,
    SessionEndConfig,
)

NONE = np.zeros(0, np.int64)


def whole(rule, time_ms, session=None, row=NONE, stamp=NONE, kind=NONE):
    """Closes over a whole log."""
    time_ms = np.asarray(time_ms)
    columns = {"session_id": np.zeros(len(time_ms), int) if session is None else np.array(session)}
    return rule.closes(time_ms, columns, np.array(row), np.array(stamp), np.array(kind)).tolist()


def test_a_session_closes_after_its_last_request_and_never_beyond_the_window():
    rule = SessionEnd(SessionEndConfig(gap_ms=100, slack_ms=5, max_wait_ms=300))
    assert whole(rule, [0, 90, 200, 190], [1, 1, 1, 2]) == [195, 195, 305, 295]
    assert whole(rule, [0, 100, 200, 300, 400]) == [300, 400, 500, 505, 505]


def test_a_session_that_comes_back_does_not_reopen_what_closed():
    rule = SessionEnd(SessionEndConfig(gap_ms=100, max_wait_ms=300))
    time_ms, columns = np.array([0, 101, 150]), {"session_id": np.array([1, 1, 1])}
    _, mark = rule.opened(time_ms, columns)
    assert rule.renewed(time_ms, time_ms, mark).tolist() == [100, 250, 250]
    rule.passed(101)
    _, again = rule.opened(np.array([400]), {"session_id": np.array([1])})
    assert again[0] == mark[0], "the place of a chain that is over is taken again"


def test_many_sessions_at_once_keep_their_chains():
    rule = SessionEnd(SessionEndConfig(gap_ms=100, max_wait_ms=1000))
    chance = np.random.default_rng(0)
    time_ms, session = np.sort(chance.integers(0, 3000, 800)), chance.integers(0, 300, 800)
    want = whole(rule, time_ms, session)
    _, mark = rule.opened(time_ms, {"session_id": session})
    assert rule.renewed(time_ms, time_ms, mark).tolist() == want


def test_hazard_waits_for_the_quiet_it_has_learned():
    # half the rows get a click after 100 ms; of 100 with a click, 10 get a like 50 ms later
    n = 200
    row = np.concatenate([np.arange(100), np.arange(10)])
    stamp = np.concatenate([np.full(100, 100), np.full(10, 150)])
    kind = np.concatenate([np.zeros(100, int), np.full(10, 2)])
    config = HazardConfig(threshold=0.05, max_wait_ms=1000, ages_ms=(50,), n_least=10)
    rule = Hazard(config).fit(np.zeros(n, np.int64), row, stamp, kind)
    assert whole(rule, [0, 0, 0], row=[1, 2, 2], stamp=[100, 100, 150], kind=[0, 0, 2])[:2] == [
        100,
        150,
    ]
    # a state seen too rarely waits for the whole window
    assert whole(rule, [0], row=[0], stamp=[70], kind=[7]) == [1000]
    sure = Hazard(HazardConfig(0.2, 1000, (50,), 10)).fit(np.zeros(n, np.int64), row, stamp, kind)
    assert whole(sure, [0], row=[0], stamp=[100], kind=[0]) == [100]


def test_hazard_s_quiet_is_the_shortest_that_keeps_the_chance_low():
    chance = np.random.default_rng(1)
    n = 3000
    delay = chance.exponential(200, n).astype(np.int64)
    came = chance.random(n) < 0.5
    rule = Hazard(HazardConfig(0.02, 2000, (10**6,), 10))
    rule.fit(np.zeros(n, np.int64), np.flatnonzero(came), delay[came], np.zeros(came.sum(), int))
    quiet = whole(rule, [0])[0]

    def later(q: int) -> float:
        rest = ~came | (delay > q) | (delay > 2000)
        return float((came & (delay > q) & (delay <= 2000)).sum() / rest.sum())

    assert later(quiet) <= 0.02 < later(quiet - 1)


@pytest.mark.parametrize("price_ms", [50, 500, 5000])
def test_priced_wait_costs_least_of_all_waits(price_ms: int):
    chance = np.random.default_rng(3)
    n, longest = 500, 400
    delay = chance.choice([5, 20, 90, 300, 390], n) + chance.integers(0, 9, n)
    came = chance.random(n) < 0.4
    config = PricedWaitConfig(
        max_wait_ms=longest, ages_ms=(10**6,), n_least=10, label_s=price_ms / 1000
    )
    rule = PricedWait(config)
    rule.fit(np.zeros(n, np.int64), np.flatnonzero(came), delay[came], np.zeros(came.sum(), int))
    quiet = whole(rule, [0])[0]

    def cost(q: int) -> int:
        met = came & (delay <= q)
        lost = came & (delay > q) & (delay <= longest)
        return int(np.where(met, delay, q).sum() + price_ms * lost.sum())

    assert cost(quiet) == min(cost(q) for q in range(longest + 1))
    soon = min(quiet, 3)
    assert whole(rule, [0], row=[0], stamp=[soon], kind=[0]) == [soon], "no second label comes"


def test_hazard_asks_to_be_fitted():
    with pytest.raises(NotBuilt, match="fit"):
        whole(Hazard(), [0])


def test_settings_out_of_range_say_what_is_good():
    for wrong in (
        lambda: FixedWindow(0),
        lambda: SessionEndConfig(gap_ms=0),
        lambda: SessionEndConfig(slack_ms=-1),
        lambda: HazardConfig(threshold=float("nan")),
        lambda: HazardConfig(max_wait_ms=1 << 60),
        lambda: PricedWaitConfig(label_s=-1.0),
        lambda: PricedWaitConfig(rounds=0),
    ):
        with pytest.raises(ConfigError, match="typical"):
            wrong()
    with pytest.raises(DataError, match="rise"):
        HazardConfig(ages_ms=(5, 3))


def test_a_delay_law_finds_a_mixture_and_bounds_what_a_window_joins():
    chance = np.random.default_rng(2)
    n = 60_000
    late = chance.random(n) < 0.1
    delay = np.exp(np.where(late, 14, 9) + chance.standard_normal(n))
    law = DelayLaw.fit(delay)
    assert sorted(law.weight) == pytest.approx([0.1, 0.9], abs=0.01)
    assert sorted(law.mu) == pytest.approx([9, 14], abs=0.1)
    windows = np.array([5_000, 60_000, 1_200_000])
    before = chance.integers(0, 4_000, n)
    joined = [(delay + before <= window).mean() for window in windows]
    assert law.ceiling(windows, before) == pytest.approx(joined, abs=0.005)
    assert law.cdf(-1.0) == 0 and DelayLaw.fit(np.zeros(50)).cdf(0) == 1


def test_a_delay_law_says_what_it_cannot_use():
    for delays in (np.ones(3), np.array([-1.0] * 50), np.array([np.nan] * 50)):
        with pytest.raises(DataError, match="delay law"):
            DelayLaw.fit(delays)
