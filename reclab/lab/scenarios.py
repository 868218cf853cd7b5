"""Scenarios (流量场景): how many requests come each second: days, surges, flapping, real traces.

Days and real traces are told in time-lapse (``lapse``), which is harder than the real thing for
everything that follows the load with a delay.
Reference of the day's curve: ``world/traffic.py``.
Simplified: a surge is a factor on all traffic; real ones come with other users and other wishes.
"""

import csv
import gzip
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from reclab.core.errors import DataError, check, check_float, check_int
from reclab.core.types import Array
from reclab.world.traffic import hour_share


@dataclass(frozen=True)
class Scenario:
    """Traffic: ``qps`` (T,) of each tick of ``tick_ms``; ``surge`` its first tick and the first
    one after it; ``lapse`` = how many times faster than in reality it passes."""

    name: str
    qps: Array = field(repr=False)
    tick_ms: float = 2000.0
    surge: tuple[int, int] | None = None
    lapse: float = 1.0

    def __post_init__(self) -> None:
        good = len(self.qps) > 0 and np.isfinite(self.qps).all() and (self.qps >= 0).all()
        check(bool(good), "Scenario.qps", self.name, "be finite and >= 0, a tick or more", "2000")
        check_float("Scenario.tick_ms", self.tick_ms, 1.0, 1e6, "1000-2000")

    def __len__(self) -> int:
        return len(self.qps)


def tidal_day(peak_qps: float, n_ticks: int = 300, tick_ms: float = 2000.0) -> Scenario:
    """A day with the platform's trough and peak, told in ``n_ticks``."""
    hours = np.arange(n_ticks) * 24 / n_ticks
    lapse = 86_400_000 / (n_ticks * tick_ms)
    return Scenario("tidal day", peak_qps * _tide(hours), tick_ms, lapse=lapse)


def surge(
    peak_qps: float,
    height: float = 8.0,
    minutes: float = 5.0,
    before: float = 2.0,
    after: float = 3.0,
    rise_s: float = 10.0,
    hour: float = 21.2,
    tick_ms: float = 2000.0,
) -> Scenario:
    """The evening's tide, times ``height`` for some ``minutes``, reached within ``rise_s``."""
    check_float("surge.height", height, 1.0, 1000.0, "8")
    n_ticks = round((before + minutes + after) * 60_000 / tick_ms)
    seconds = np.arange(n_ticks) * tick_ms / 1000
    start, end = before * 60, (before + minutes) * 60
    ramp, tick_s = max(rise_s, 1e-3), tick_ms / 1000
    up = np.clip((seconds + tick_s - start) / ramp, 0, 1) * np.clip((end - seconds) / ramp, 0, 1)
    qps = peak_qps * _tide(hour + seconds / 3600) * height**up  # it multiplies while it rises
    inside = (round(start * 1000 / tick_ms), round(end * 1000 / tick_ms))
    return Scenario(f"surge x{height:g}", qps, tick_ms, inside)


def step(peak_qps: float, height: float = 2.0, **settings: float) -> Scenario:
    """A surge that is there from one tick to the next."""
    return replace(surge(peak_qps, height, rise_s=0.0, **settings), name=f"step x{height:g}")


def flapping(
    line_qps: float,
    swing: float = 0.1,
    period_s: float = 40.0,
    n_ticks: int = 300,
    tick_ms: float = 2000.0,
) -> Scenario:
    """Traffic that swings by a share around a line, a little above it, a little below."""
    seconds = np.arange(n_ticks) * tick_ms / 1000
    wave = np.sin(2 * np.pi * seconds / period_s)
    return Scenario("flapping", line_qps * (1 + swing * wave), tick_ms)


def _tide(hours: Array) -> Array:
    """The platform's curve, 1 at its peak."""
    share = hour_share() / hour_share().max()
    return np.interp(hours % 24, np.arange(25) + 0.5, np.append(share, share[0]), period=24)


def from_trace(
    path: Path | str,
    peak_qps: float,
    n_ticks: int = 300,
    tick_ms: float = 2000.0,
    hours: float = 24.0,
) -> Scenario:
    """A real trace in time-lapse, the ``hours`` around its busiest moment, which is ``peak_qps``: a
    CSV (or .csv.gz) with a time and a count a line, or a time a request. Raises ``DataError`` for a
    file of another kind."""
    path = Path(path)
    try:
        open_ = gzip.open if path.suffix == ".gz" else open
        with open_(path, "rt", encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        head, rows = rows[0], [row for row in rows[1:] if row]
        at = np.array([_seconds(row[0]) for row in rows])
        counts = len(head) == 2
        weight = np.array([float(row[1]) for row in rows]) if counts else np.ones(len(rows))
    except (OSError, EOFError, ValueError, IndexError) as error:
        want = "time,count lines, or a time first and more columns for one request a line"
        raise DataError(f"{path.name} is no trace of traffic ({want}): {error}") from error
    check_int("from_trace.n_ticks", n_ticks, 2, 10**6, "300")
    check_float("from_trace.hours", hours, 0.01, 1e6, "24")
    if len(at):
        at, weight = _around_the_busiest(at, weight, hours * 3600)
    length = float(np.ptp(at)) if len(at) else 0.0
    if not length > 0:
        raise DataError(f"{path.name} is no trace of traffic: {len(at)} lines, all at one time")
    place = np.minimum(((at - at.min()) / length * n_ticks).astype(int), n_ticks - 1)
    total = np.bincount(place, weight, n_ticks)
    if counts:  # counts of a period: their mean, so that a bin with a line more is not busier
        lines = np.bincount(place, minlength=n_ticks)
        seen = lines > 0
        total = np.interp(np.arange(n_ticks), seen.nonzero()[0], total[seen] / lines[seen])
    name = path.name.split(".")[0]
    lapse = length * 1000 / (n_ticks * tick_ms)
    return Scenario(name, peak_qps * total / total.max(), tick_ms, lapse=lapse)


def _around_the_busiest(at: Array, weight: Array, seconds: float) -> tuple[Array, Array]:
    """The part of a trace that is that long, with its busiest hundredth in the middle."""
    part = np.minimum(np.ptp(at), seconds) / 100 or 1.0
    busiest = np.bincount(((at - at.min()) / part).astype(int), weight).argmax()
    first = at.min() + (busiest + 0.5) * part - seconds / 2
    first = min(max(first, at.min()), max(at.max() - seconds, at.min()))
    inside = (at >= first) & (at <= first + seconds)
    return at[inside], weight[inside]


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp.strip()[:26]).timestamp()
