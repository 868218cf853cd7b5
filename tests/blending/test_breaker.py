"""The breaker opens by share, waits, probes, and closes; a story of states by a clock."""

import threading

import pytest

from reclab.blending.breaker import Breaker, BreakerConfig
from reclab.blending.contract import monotonic_ms
from reclab.core.errors import ConfigError

CONFIG = BreakerConfig(window=10, least=4, failure=0.5, open_ms=1000, probes=2)


class Now:
    """A clock that stands until it is moved."""

    ms = 0.0

    def __call__(self) -> float:
        return self.ms


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def breaker(now: Now) -> Breaker:
    return Breaker(CONFIG, now)


def calls(breaker: Breaker, *results: bool) -> None:
    for ok in results:
        breaker.record(breaker.admit(), ok)


def opened(breaker: Breaker) -> Breaker:
    calls(breaker, *[False] * 4)
    assert breaker.state == "open"
    return breaker


def test_from_closed_to_closed_again(breaker: Breaker, now: Now):
    calls(breaker, True, True, False, True, False, False)  # three of six
    assert (breaker.state, breaker.admit()) == ("open", None)
    now.ms = 999
    assert breaker.admit() is None
    now.ms = 1000
    calls(breaker, False)  # the probe fails
    assert breaker.state == "open"
    now.ms = 1999
    assert breaker.admit() is None
    now.ms = 2000
    calls(breaker, True)
    assert breaker.state == "half-open"
    calls(breaker, True)
    states = [(0, "open"), (1000, "half-open"), (1000, "open"), (2000, "half-open")]
    assert [*breaker.history] == [*states, (2000, "closed")]
    calls(breaker, False, False, False)  # the old failures are forgotten: three are too few
    assert breaker.state == "closed"


def test_a_few_failures_among_many_calls_do_not_open_it(breaker: Breaker):
    calls(breaker, *[True, True, False] * 50)
    assert breaker.state == "closed" and not breaker.history


def test_only_the_latest_calls_are_judged(breaker: Breaker):
    calls(breaker, *[True] * 100, *[False] * 4)
    assert breaker.state == "closed"  # four of the latest ten
    calls(breaker, False)
    assert breaker.state == "open"


def test_half_open_lets_only_the_probes_through(breaker: Breaker, now: Now):
    opened(breaker)
    now.ms = 1000
    tickets = [breaker.admit() for _ in range(5)]
    assert [ticket is not None for ticket in tickets] == [True, True, False, False, False]
    for ticket in tickets[:2]:
        breaker.record(ticket, True)
    assert breaker.state == "closed"


def test_calls_from_before_a_change_do_not_count(breaker: Breaker, now: Now):
    old = breaker.admit()
    opened(breaker)
    breaker.record(old, True)
    now.ms = 1000
    probe = breaker.admit()
    breaker.record(old, True)
    breaker.record(old, True)
    assert breaker.state == "half-open"
    breaker.record(probe, False)
    breaker.record(old, True)
    assert breaker.state == "open"


def test_probes_that_never_come_back_are_sent_again(breaker: Breaker, now: Now):
    opened(breaker)
    now.ms = 1000
    lost = [breaker.admit(), breaker.admit()]
    assert breaker.admit() is None
    now.ms = 2000
    calls(breaker, True, True)
    assert breaker.state == "closed" and None not in lost


def test_recovery_is_as_stated_when_the_business_returns_at_the_worst_moment(now: Now):
    """A probe is sent; the business returns just then; the probe still takes its deadline."""
    deadline_ms, breaker = 200.0, opened(Breaker(CONFIG, now))
    now.ms = back_ms = 1000.0
    probe = breaker.admit()
    now.ms += deadline_ms
    breaker.record(probe, False)
    while breaker.state != "closed":
        ticket = breaker.admit()
        now.ms += 1
        if ticket is not None:
            breaker.record(ticket, True)
    assert now.ms - back_ms <= CONFIG.recovery_ms(deadline_ms) == 1400


def test_many_threads_lose_no_state():
    breaker = Breaker(BreakerConfig(open_ms=1, probes=3), monotonic_ms)

    def work(seed: int) -> None:
        for n in range(500):
            ticket = breaker.admit()
            if ticket is not None:
                breaker.record(ticket, (n * 7 + seed) % 3 == 0)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    follows = {"open": {"half-open"}, "half-open": {"open", "closed", "half-open"}}
    states = [state for _, state in breaker.history]
    assert states[0] == "open" and len(states) > 2
    for before, after in zip(states[:-1], states[1:], strict=True):
        assert after in follows.get(before, {"open"})


@pytest.mark.parametrize(
    ("setting", "value"),
    [("window", 0), ("least", 21), ("failure", 0.0), ("open_ms", float("nan")), ("probes", 0)],
)
def test_a_setting_out_of_range_is_named(setting: str, value: float):
    with pytest.raises(ConfigError, match=f"BreakerConfig.{setting} must .*typical"):
        BreakerConfig(**{setting: value})
