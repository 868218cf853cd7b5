"""The trace of a page: what every call did and when, so that it can be drawn as a waterfall.

Times are ms since the request came in. Outcomes of a call:

    ok       answered in time               late     not by its deadline, or left out early
    failed   no usable answer               open     not asked: its circuit breaker is open
    hedged   given up, a second call of the same business was faster
"""

from dataclasses import dataclass

from reclab.core.types import Trace

OK, LATE, FAILED, NOT_ASKED, HEDGED = OUTCOMES = ("ok", "late", "failed", "open", "hedged")


@dataclass(frozen=True)
class CallTrace:
    """One call of one business. ``second`` marks the hedge; ``note`` says what went wrong."""

    business: str
    begin_ms: float
    end_ms: float
    outcome: str
    n_offers: int = 0
    second: bool = False
    note: str = ""


@dataclass(frozen=True)
class RouterTrace:
    """How a page came about. Requests that came together share one trace.

    ``steps``: the five steps, with every candidate that was dropped and why; ``arm``: of the
    experiment, empty without one; ``from_pool``: cards of this page from the last-resort pool."""

    steps: Trace
    calls: tuple[CallTrace, ...]
    ms: float
    deadline_ms: float
    n_requests: int = 1
    degraded: bool = False
    arm: str = ""
    from_pool: int = 0

    def outcomes(self) -> dict[str, int]:
        """How many calls ended how."""
        ended = [call.outcome for call in self.calls]
        return {name: ended.count(name) for name in OUTCOMES if name in ended}

    def table(self) -> str:
        """The calls and the steps as text (no timings: it is compared)."""
        lines = [f"{'business':<16}{'outcome':<9}{'offers':>7}"]
        for call in self.calls:
            name = f"{call.business} (2nd)" if call.second else call.business
            lines.append(f"{name:<16}{call.outcome:<9}{call.n_offers:>7}  {call.note}".rstrip())
        return "\n".join([*lines, "", self.steps.table()])
