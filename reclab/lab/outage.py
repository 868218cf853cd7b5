"""An outage (故障演练) under real requests: one business is killed, another slowed, both come back,
and every page of that time is looked at.

    healthy -> broken: kill -9 of one, another gets a tenth of the processor
            -> mending: the slow one recovers, the killed one starts again, breakers close
            -> healthy again

Every phase replays the same minute of the log, at a steady rate in real time, so that a page is
compared with the page of the same request in the healthy phase: value lost = 1 - sum v / sum v_0.
Times count from when a request was due, also when the machine was late to send it. The pages are
worth what the world's truth says of them (``page_truth``).

Simplified: a platform breaks one machine room of many, and watches its real users' numbers.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Thread

import numpy as np

from reclab.blending.breaker import CLOSED
from reclab.blending.contract import monotonic_ms
from reclab.blending.currency import Currency
from reclab.blending.router import Router
from reclab.blending.ruled_pool import RuledPool
from reclab.blending.servers import Servers
from reclab.blending.slow_down import SlowDown
from reclab.blending.trace import OK, OUTCOMES, RouterTrace
from reclab.core.errors import DataError, check_float
from reclab.core.types import Array, Request, Slate
from reclab.lab.lab import Lab, Progress
from reclab.lab.page_truth import true_value

PHASES = HEALTHY, BROKEN, MENDING, AGAIN = ("healthy", "broken", "mending", "healthy again")
CALLERS = 32  # requests under way at once, at most
MENDED_S = 120.0  # by then the breakers have closed, or the replay goes on without them


@dataclass(frozen=True)
class Outage:
    """Every request of the replay, (n,) each in order: its ``phase`` and which of the replayed
    requests it was; ``at_s`` when it was due and ``ms`` until it had its page; ``failed``: it
    raised; ``cards`` on the page, ``pool`` of them from the last resort; ``rules_ok``; ``believed``
    and ``true`` value; ``outcome`` (n, businesses) positions in ``OUTCOMES``, -1 = not called.
    ``begin_s`` (phases + 1,); ``breakers`` [(s, state)] by business."""

    businesses: tuple[str, ...]
    killed: str
    slowed: str
    deadline_ms: float
    begin_s: Array
    phase: Array
    request: Array
    at_s: Array
    ms: Array
    failed: Array
    cards: Array
    pool: Array
    rules_ok: Array
    believed: Array
    true: Array
    outcome: Array
    breakers: Mapping[str, tuple[tuple[float, str], ...]]

    def share(self, mine: Array) -> float:
        """True value of these requests (n,) bool, as a share of that of the same ones when all
        was healthy."""
        base = np.zeros(int(self.request.max()) + 1)
        healthy = self.phase == 0
        base[self.request[healthy]] = np.nan_to_num(self.true[healthy])
        return float(np.nansum(self.true[mine]) / max(base[self.request[mine]].sum(), 1e-9))

    def by_second(self, width_s: float = 0.5) -> tuple[Array, Array]:
        """(k,) middles of intervals in seconds, and ``share`` in each; NaN where nobody came."""
        slot = (self.at_s / width_s).astype(int)
        k = int(slot.max()) + 1
        shares = [self.share(slot == i) if (slot == i).any() else np.nan for i in range(k)]
        return (np.arange(k) + 0.5) * width_s, np.array(shares)

    def states(self, name: str, phase: int) -> list[str]:
        """The states of a business's breaker in a phase, in order, from the one it begins with."""
        begin, end = self.begin_s[phase], self.begin_s[phase + 1]
        before = [state for at, state in self.breakers[name] if at < begin]
        inside = [state for at, state in self.breakers[name] if begin <= at < end]
        return [(before or [CLOSED])[-1], *inside]

    def summary(self) -> str:
        """A line a phase, rounded; states are those that the phase ends with."""
        head = f"{'phase':<15}{'requests':>9}{'failed':>8}{'p99 ms':>8}{'full':>7}{'rules ok':>10}"
        lines = [f"{head}{'from pool':>11}{'value lost':>12}  breakers not closed at its end"]
        for n, name in enumerate(PHASES):
            mine = self.phase == n
            if not mine.any():
                continue
            p99 = round(float(np.percentile(self.ms[mine], 99)), -1)
            full, fine = (self.cards[mine] == 10).mean(), self.rules_ok[mine].mean()
            pooled = self.pool[mine].sum() / max(self.cards[mine].sum(), 1)
            ends = {b: self.states(b, n)[-1] for b in self.businesses}
            words = ", ".join(f"{b} {state}" for b, state in ends.items() if state != CLOSED)
            lines.append(
                f"{name:<15}{mine.sum():>9}{self.failed[mine].sum():>8}{p99:>8.0f}{full:>7.0%}"
                f"{fine:>10.0%}{pooled:>11.1%}{1 - self.share(mine):>12.1%}  {words or '-'}"
            )
        return "\n".join(lines)


@dataclass
class Answered:
    """One request of the replay and what came of it."""

    phase: int
    request: int
    due_ms: float
    ms: float = 0.0
    slate: Slate | None = None
    trace: RouterTrace | None = None


class Replay:
    """Sends the same requests in every phase, ``rate`` a second, and keeps what came back."""

    def __init__(self, router: Router, requests: Sequence[Request], rate: float) -> None:
        self.router, self.requests, self.rate = router, requests, rate
        self.answered: list[Answered] = []
        self.begin_ms: list[float] = []
        self._threads = ThreadPoolExecutor(CALLERS, thread_name_prefix="replay")
        self._sent: list[Future[None]] = []

    def phase(self, number: int, goes_on: Callable[[int], bool]) -> None:
        """Send requests for as long as ``goes_on`` (given how many were sent) says."""
        self.begin_ms.append(monotonic_ms())
        sent = 0
        while goes_on(sent):
            due_ms = self.begin_ms[-1] + 1000 * sent / self.rate
            time.sleep(max(due_ms - monotonic_ms(), 0.0) / 1000)
            one = Answered(number, sent % len(self.requests), due_ms)
            self.answered.append(one)
            self._sent.append(self._threads.submit(self._ask, one))
            sent += 1

    def _ask(self, one: Answered) -> None:
        try:
            one.slate, one.trace = self.router.recommend(self.requests[one.request])
        finally:
            one.ms = monotonic_ms() - one.due_ms

    def close(self) -> None:
        """Wait for those that are under way."""
        self._threads.shutdown()


def break_businesses(
    lab: Lab,
    router: Router,
    servers: Servers,
    *,
    kill: str = "short video",
    slow: str = "ad",
    rate: float = 12.0,
    phase_s: float = 5.0,
    split: str = "held_out",
    currency: Currency | None = None,
    say: Progress | None = None,
) -> Outage:
    """The outage over ``router`` (of ``blended_router(lab, servers)``), in real time: three phases
    of ``phase_s`` (3-30 seconds) at ``rate`` (5-50 requests a second), and the mending between
    them, which takes as long as a process starts. Breaks what it is given and mends it again."""
    check_float("break_businesses.rate", rate, 0.1, 1e4, "12")
    check_float("break_businesses.phase_s", phase_s, 0.1, 3600.0, "5")
    say = say or (lambda fraction, text: None)
    requests = lab.requests(max(int(rate * phase_s), 1), split)
    replay = Replay(router, requests, rate)
    whole = len(requests)

    def timed(sent: int) -> bool:
        said = replay.answered[-1].phase if replay.answered else 0
        say((said + min(sent / whole, 1.0)) / len(PHASES), PHASES[said])
        return sent < whole

    with ExitStack() as at_end:
        at_end.callback(replay.close)
        replay.phase(0, timed)
        mender = Thread(target=_mend, args=(servers, kill), name="mender")
        at_end.callback(_finish, mender)
        with SlowDown(servers, slow):
            servers.kill(kill)
            replay.phase(1, timed)
        mender.start()
        until = time.monotonic() + MENDED_S
        replay.phase(2, lambda sent: _not_mended(router, mender, until))
        replay.phase(3, timed)
    end_ms = monotonic_ms()
    say(1.0, "judged by the truth")
    return _outage(lab, router, replay, (kill, slow), end_ms, split, currency or Currency())


def _mend(servers: Servers, name: str) -> None:
    servers.restart(name)


def _finish(mender: Thread) -> None:
    """Also when the replay was interrupted, what was broken is mended."""
    if not mender.ident:
        mender.start()
    mender.join()


def _not_mended(router: Router, mender: Thread, until: float) -> bool:
    closed = all(one.state == CLOSED for one in router.breakers.values())
    return time.monotonic() < until and (mender.is_alive() or not closed)


# ---- what it was worth ---------------------------------------------------------------------


def _outage(
    lab: Lab,
    router: Router,
    replay: Replay,
    broken: tuple[str, str],
    end_ms: float,
    split: str,
    currency: Currency,
) -> Outage:
    rows, start = [one for one in replay.answered if one.ms], replay.begin_ms[0]
    got = [one for one in rows if one.slate is not None]
    has_page = np.array([one.slate is not None for one in rows])

    def of(values: Sequence[object] | Array, missing: float) -> Array:
        found = np.full(len(rows), missing)
        found[has_page] = values
        return found

    slates = [one.slate for one in got if one.slate is not None]
    traces = [one.trace for one in got if one.trace is not None]
    true = np.full(len(slates), np.nan)
    if lab.has_truth:
        true = true_value(lab, split, np.array([one.request for one in got]), slates, currency)
    outcome = np.full((len(rows), len(router.names)), -1, np.int8)
    outcome[has_page] = [outcomes_of(trace, router.names) for trace in traces]
    pool = router_pool(router)
    stay = pool.rules.stay
    breakers = {
        name: tuple(((ms - start) / 1000, state) for ms, state in one.history if ms >= start)
        for name, one in router.breakers.items()
    }
    return Outage(
        router.names, *broken, router.config.deadline_ms,
        (np.array([*replay.begin_ms, end_ms]) - start) / 1000,
        np.array([one.phase for one in rows]),
        np.array([one.request for one in rows]),
        np.array([(one.due_ms - start) / 1000 for one in rows]),
        np.array([one.ms for one in rows]),
        ~has_page,
        of([len(slate) for slate in slates], 0),
        of([trace.from_pool for trace in traces], 0),
        of([pool.obeys(slate.item_row) for slate in slates], 0).astype(bool),
        of([believed(slate, stay) for slate in slates], np.nan),
        of(true, np.nan),
        outcome,
        breakers,
    )  # fmt: skip


def router_pool(router: Router) -> RuledPool:
    """The last look at its pages. Raises ``DataError`` for a Router whose pages have no rules."""
    if not isinstance(router.last_resort, RuledPool):
        raise DataError("this Router's pages have no rules: make it with blended_router(lab)")
    return router.last_resort


def believed(slate: Slate, stay: float) -> float:
    """What the blending thought of its cards: sum of w_t value; nothing of the pool's."""
    value = np.nan_to_num(slate.columns.get("value", np.zeros(len(slate))))
    return float(value @ stay ** np.arange(len(slate)))


def outcomes_of(trace: RouterTrace, names: Sequence[str]) -> list[int]:
    """How each business's call ended, as positions in ``OUTCOMES``: ok when one of its attempts
    was."""
    last = {call.business: call.outcome for call in trace.calls}
    last |= {call.business: OK for call in trace.calls if call.outcome == OK}
    return [OUTCOMES.index(last[name]) if name in last else -1 for name in names]
