"""Hedging (对冲请求): a call that takes longer than most is sent again; the first answer wins.

    sent again after   q(latency of the latest calls), 0.95: one call in twenty
    budget             every call earns s of a second one: never more than s of extra load

Reference: Dean and Barroso, The Tail at Scale, CACM 2013.

Simplified: industry sends the second call to another machine and counts latency by kind of request.
"""

from collections import deque
from dataclasses import dataclass
from threading import Lock

import numpy as np

from reclab.core.errors import check_float, check_int

EVERY = 32  # calls between two looks at the quantile


@dataclass(frozen=True)
class HedgeConfig:
    """When a call is sent again, and how often at most."""

    quantile: float = 0.95
    """share of calls that are faster than the moment of the second one (0.9-0.99)"""
    share: float = 0.05
    """s, second calls a call at most, in the long run (0-0.1; 0 = never)"""
    least_ms: float = 2.0
    """never earlier than this (ms, 1-50)"""
    window: int = 256
    """latest calls whose latency counts (64-1000); before 32 there is no second call"""

    def __post_init__(self) -> None:
        check_float("HedgeConfig.quantile", self.quantile, 0.5, 0.9999, "0.95")
        check_float("HedgeConfig.share", self.share, 0.0, 1.0, "0.05")
        check_float("HedgeConfig.least_ms", self.least_ms, 0.0, 1e5, "2")
        check_int("HedgeConfig.window", self.window, EVERY, 100_000, "256")


class Hedge:
    """``after_ms`` when a second call is due, ``spend`` whether one may be sent.

    >>> hedge = Hedge(HedgeConfig(share=0.5))
    >>> for ms in range(64):
    ...     hedge.learn(float(ms))
    >>> round(hedge.after_ms), hedge.spend(), Hedge().after_ms
    (60, True, inf)
    """

    def __init__(self, config: HedgeConfig | None = None) -> None:
        self.config = config or HedgeConfig()
        self.after_ms = float("inf")
        self._latest: deque[float] = deque(maxlen=self.config.window)
        self._seen, self._budget, self._lock = 0, 0.0, Lock()

    def learn(self, ms: float) -> None:
        """A call took ``ms``, to its answer or to its deadline."""
        c = self.config
        with self._lock:
            self._latest.append(ms)
            self._seen += 1
            self._budget = min(self._budget + c.share, 10.0)
            if c.share and self._seen % EVERY == 0:
                self.after_ms = max(float(np.quantile(self._latest, c.quantile)), c.least_ms)

    def spend(self) -> bool:
        """Take one second call from the budget, if it has one."""
        with self._lock:
            if self._budget < 1:
                return False
            self._budget -= 1
            return True
