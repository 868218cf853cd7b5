"""Traffic: how many sessions a user starts in a day, and when.

The hour of a session is the user's own hour (half of the time) or drawn from the platform's curve,
which is the exposures by hour of KuaiRand-27K: trough at 4 h, peak at 21 h, 8.5 times apart.

Reference: Gao et al. 2022 (CIKM), KuaiRand; exposures of 27,285 users over 31 days, by hour.
Simplified: no weekends, no holidays, no breaking news.
"""

from dataclasses import dataclass

import numpy as np

from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import check_float, check_int
from reclab.core.types import Array

# Millions of exposures in hour 0 … 23.
HOURLY = np.array(
    [10.6, 6.5, 4.1, 2.9, 2.6, 3.7, 6.9, 10.0, 11.5, 12.9, 14.4, 15.4]
    + [17.0, 17.1, 15.5, 15.8, 16.6, 17.5, 18.8, 19.9, 21.3, 22.1, 21.9, 17.1]
)
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class TrafficConfig:
    """Constants of arrivals."""

    sharpen: float = 1.15  # exponent on the curve of starts: sessions that run on blur it again
    own_hour: float = 0.4  # share of sessions at the user's own hour
    own_hour_spread: float = 0.8  # hours, sigma around it: widens the curve a little
    more_sessions: float = 0.3  # mean of further sessions a day, for an average user
    by_activity: float = 0.7  # per sigma of activity, in ln: heavy users come more often
    most_sessions: int = 5  # ceiling a day
    wifi: float = 0.65  # share of sessions on wifi
    pause_sec: float = 2.0  # median pause between pages, seconds
    pause_spread: float = 0.8  # sigma of its ln
    away: float = 0.142  # probability of putting the phone away between pages
    away_min: float = 5.0  # median of such a break, minutes
    away_spread: float = 2.15  # sigma of its ln: gives the lateness of clicks in a session
    most_pages: int = 25  # ceiling a session

    def __post_init__(self) -> None:
        check_float("TrafficConfig.own_hour", self.own_hour, 0.0, 1.0, "0.4")
        check_float("TrafficConfig.wifi", self.wifi, 0.0, 1.0, "0.65")
        check_int("TrafficConfig.most_sessions", self.most_sessions, 1, 20, "5")


def hour_share() -> Array:
    """(24,) share of the platform's exposures in each hour."""
    return HOURLY / HOURLY.sum()


def start_share(config: TrafficConfig) -> Array:
    """(24,) share of session starts in each hour."""
    curve = HOURLY**config.sharpen
    return curve / curve.sum()


def session_starts(
    config: TrafficConfig,
    day: int,
    active: Array,
    activity: Array,
    own_hour: Array,
    chance: np.random.Generator,
) -> Array:
    """(n, most_sessions) start times in ms, ascending; ``NEVER`` = no further session.

    ``active`` (n,) bool: who comes at all today.
    """
    n, most = len(active), config.most_sessions
    mean = config.more_sessions * np.exp(config.by_activity * activity)
    count = np.where(active, 1 + np.minimum(chance.poisson(mean), most - 1), 0)
    curve = np.searchsorted(np.cumsum(start_share(config)), chance.random((n, most))).clip(0, 23)
    anywhere = curve + chance.random((n, most))
    own = own_hour[:, None] + config.own_hour_spread * chance.standard_normal((n, most))
    hour = np.where(chance.random((n, most)) < config.own_hour, own % 24.0, anywhere)
    start = day * DAY_MS + (hour * HOUR_MS).astype(np.int64)
    return np.sort(np.where(np.arange(most) < count[:, None], start, NEVER), axis=1)
