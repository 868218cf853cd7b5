"""How much one device may send (限流): a token bucket each, in two arrays for all of them.

tokens ← min(burst, tokens + rate · Δt); a request of n events passes when tokens >= n, and takes n.
Reference: Turner, New directions in communications (IEEE Communications 1986); chapter 2.3.1.

Simplified: a fixed table, so that no flood of devices fills the memory: two devices in a million
may share a bucket. Each gateway counts for itself.
"""

from dataclasses import dataclass

import numpy as np

from reclab.core.errors import check_float, check_int
from reclab.core.types import Array


@dataclass(frozen=True)
class RateConfig:
    """``per_s``: events a second that a device may send for ever (5-100); ``burst``: events at once
    after a pause (100-2000); ``slots``: buckets (10**5-10**7, 12 bytes each)."""

    per_s: float = 50.0
    burst: float = 1_000.0
    slots: int = 1 << 20

    def __post_init__(self) -> None:
        check_float("RateConfig.per_s", self.per_s, 0.001, 10.0**9, "50")
        check_float("RateConfig.burst", self.burst, 1.0, 10.0**9, "1000")
        check_int("RateConfig.slots", self.slots, 1, 10**9, "1048576")


class TokenBuckets:
    """Buckets of all devices: ``take`` is the only verb, and it changes them."""

    def __init__(self, config: RateConfig | None = None) -> None:
        self.config = config or RateConfig()
        self._tokens = np.full(self.config.slots, self.config.burst, np.float32)
        self._last_ms = np.zeros(self.config.slots, np.int64)

    def take(self, device_ids: Array, n_events: Array, now_ms: int) -> Array:
        """(n,) bool: which requests pass, in order. ``device_ids`` (n,) whole numbers, ``n_events``
        (n,); a refused request takes nothing."""
        mixed = np.asarray(device_ids).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        slots = ((mixed >> np.uint64(20)) % np.uint64(self.config.slots)).astype(np.int64)
        passed = np.zeros(len(slots), bool)
        for rows in _rounds(slots):
            passed[rows] = self._take(slots[rows], np.asarray(n_events)[rows], now_ms)
        return passed

    def _take(self, slots: Array, n_events: Array, now_ms: int) -> Array:
        """One request of each of different slots."""
        gone_s = np.maximum(now_ms - self._last_ms[slots], 0) / 1000.0
        held = np.minimum(self.config.burst, self._tokens[slots] + self.config.per_s * gone_s)
        passed = held >= n_events
        self._tokens[slots] = held - np.where(passed, n_events, 0)
        self._last_ms[slots] = np.maximum(self._last_ms[slots], now_ms)
        return passed

    def wait_s(self, n_events: int) -> float:
        """Seconds after which an empty bucket has as much."""
        return min(n_events, self.config.burst) / self.config.per_s


def _rounds(slots: Array) -> list[Array]:
    """Row numbers, so that no slot occurs twice in a round: first requests first, then second."""
    order = np.argsort(slots, kind="stable")
    sorted_slots = slots[order]
    new = np.append(True, sorted_slots[1:] != sorted_slots[:-1])[: len(order)]
    first = np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))
    rank = np.arange(len(order)) - first
    return [np.sort(order[rank == r]) for r in range(int(rank.max()) + 1 if len(rank) else 0)]
