"""Join report: what the sample join counted, and the numbers that are watched from it.

    join rate (拼接率) = reports that found their sample in time / good reports, each counted once
    impressions read = opened + duplicate + late + bad;  reports read = on time + late + unmatched
    + before their impression + duplicate + bad + waiting
Reference: chapter 2.3.1, where the join rate is the number to watch and to maximise.

Simplified: industry splits these by business, app version and region, and alarms on each.
"""

from dataclasses import dataclass, field

import numpy as np

from reclab.core.types import Array

# minutes: edges between the delays that are counted apart
DELAY_EDGES_MIN = (0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 240, 1440)
_EDGES_MS = np.array(DELAY_EDGES_MIN) * 60_000
COUNTERS = (
    "impressions", "opened", "duplicate_impressions", "late_impressions", "bad_impressions",
    "reports", "on_time", "late", "unmatched", "early", "duplicate_reports", "bad_reports",
    "samples", "labelled", "waited_ms",
)  # fmt: skip


@dataclass
class JoinReport:
    """Counts since the start. ``waiting_*`` and ``open`` are of now; ``state_bytes`` of all state.
    ``on_time_by_delay`` and ``late_by_delay`` (13,): reports by stamp - time of their request,
    between ``DELAY_EDGES_MIN``; late ones are known as such only while their sample is remembered.
    """

    count: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    on_time_by_delay: Array = field(default_factory=lambda: _zeros())
    late_by_delay: Array = field(default_factory=lambda: _zeros())
    open: int = 0
    waiting_impressions: int = 0
    waiting_reports: int = 0
    state_bytes: int = 0

    @property
    def join_rate(self) -> float:
        """Share of the good reports that found their sample in time."""
        c = self.count
        return c["on_time"] / max(c["on_time"] + c["late"] + c["unmatched"] + c["early"], 1)

    @property
    def mean_wait_s(self) -> float:
        """Freshness: mean seconds from request to close of the samples so far."""
        return self.count["waited_ms"] / 1000 / max(self.count["samples"], 1)

    @property
    def bytes_per_open(self) -> float:
        """Bytes of state for each sample that is open."""
        return self.state_bytes / max(self.open, 1)

    @property
    def balanced(self) -> bool:
        """Nothing was lost or doubled: both lines of the module's formula hold."""
        c = self.count
        fate = ("opened", "duplicate_impressions", "late_impressions", "bad_impressions")
        told = ("on_time", "late", "unmatched", "early", "duplicate_reports", "bad_reports")
        return (
            c["impressions"] == sum(c[name] for name in fate) + self.waiting_impressions
            and c["reports"] == sum(c[name] for name in told) + self.waiting_reports
            and c["opened"] == c["samples"] + self.open
        )

    def __str__(self) -> str:
        c = self.count
        rows = [f"{name.replace('_', ' '):<24}{c[name]:>12,}" for name in COUNTERS[:-1]]
        rows.append(f"{'join rate':<24}{self.join_rate:>12.4f}")
        rows.append(f"{'mean wait, s':<24}{self.mean_wait_s:>12.1f}")
        rows.append(f"{'open now':<24}{self.open:>12,}  at {self.bytes_per_open:.0f} bytes each")
        return "\n".join(rows)


def _zeros() -> Array:
    return np.zeros(len(DELAY_EDGES_MIN) + 1, np.int64)


def by_delay(delay_ms: Array) -> Array:
    """(13,) counts of delays between ``DELAY_EDGES_MIN``."""
    return np.bincount(_EDGES_MS.searchsorted(delay_ms), minlength=len(_EDGES_MS) + 1)
