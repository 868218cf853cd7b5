"""The join panel: a day of impressions whose reports can be delayed, lost, doubled, mistimed and
mixed up, so that a knob can be turned and the day joined again by the real rules.

    stamp   = sent + median · m (delay / m)^tail,  m = the measured median of the way
    it counts  <=>  a copy arrives, the gateway takes its clock, it is not before its impression by
    more than the join forgives, stamp <= close, and its sample has not been given out
    given out when  newest stamp read - allowed disorder > close

Copies are retries: the same event id, some minutes later, so that a copy may arrive where the
report was lost, and counts once. Every move also teaches a model the labels that were caught.
Reference: chapter 2.3.1; Akidau et al. 2015 (VLDB) for the watermark.

Simplified: impressions come in order and are never lost; one reader takes entry after entry.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import check, check_float
from reclab.core.types import Array
from reclab.lab.click_model import ClickModel, Quality
from reclab.offline_online.gateway.event_check import EventLimits
from reclab.offline_online.join.batch_join import Matched, closes
from reclab.offline_online.join.hazard import Hazard, HazardConfig, PricedWait, PricedWaitConfig
from reclab.offline_online.join.records import KINDS, Columns
from reclab.offline_online.join.report import DELAY_EDGES_MIN
from reclab.offline_online.join.window import (
    MINUTE_MS,
    CloseRule,
    FixedWindow,
    SessionEnd,
    SessionEndConfig,
)

RULES = ("fixed", "session", "hazard", "priced")
WINDOWS_MIN = (1, 2, 5, 10, 20, 30, 60, 120, 240)
GAPS_MIN = (1, 2, 3, 5, 8, 12, 16, 30)
CHANCES = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002)
WORTHS_MIN = (10, 20, 60, 120, 240, 480)
FATES = ("in time", "late", "out of order", "before its impression", "clock refused", "lost")
LIMITS = EventLimits()
GRID_MIN = 10  # of the samples that are open over the day


@dataclass(frozen=True)
class JoinKnobs:
    """What the control room of lesson 03 turns."""

    window_min: int = 20
    """no sample waits longer (minutes, 1-240)"""
    rule: str = "fixed"
    """what closes a sample (one of ``RULES``)"""
    gap_min: int = 5
    """silence that ends a session (minutes, one of ``GAPS_MIN``)"""
    chance: float = 0.01
    """hazard: chance of another label at which it closes (one of ``CHANCES``)"""
    worth_min: int = 60
    """priced: minutes of a sample's waiting that a label is worth (one of ``WORTHS_MIN``)"""
    median: float = 1.0
    """of the way to the gateway, times what was measured (0.25-16)"""
    tail: float = 1.0
    """power of the delay over its median (1-1.6); 1 = as measured"""
    loss: float = 0.0
    """of the copies sent (share, 0-0.5)"""
    copies: float = 0.0
    """of reports sent twice (share, 0-0.5)"""
    skew_s: int = 0
    """of the wrong clocks (s, -300 … 300; above 0 = ahead)"""
    skewed: float = 0.1
    """of devices with a wrong clock (share, 0-1)"""
    forgive_s: int = 5
    """how far an event may lie before its impression (s, 0-300)"""
    disorder_s: int = 0
    """how late an entry may be read after its stamp (s, 0-120)"""
    allowed_s: int = 0
    """how much of it the join allows for (s, 0-120)"""

    def __post_init__(self) -> None:
        check(self.rule in RULES, "JoinKnobs.rule", self.rule, "be a rule", ", ".join(RULES))
        places = {"window_min": WINDOWS_MIN, "gap_min": GAPS_MIN, "chance": CHANCES,
                  "worth_min": WORTHS_MIN}  # fmt: skip
        for name, values in places.items():
            value = getattr(self, name)
            check(value in values, f"JoinKnobs.{name}", value, "be a place", str(values))
        check_float("JoinKnobs.median", self.median, 0.01, 100.0, "0.25-16")
        check_float("JoinKnobs.tail", self.tail, 0.1, 3.0, "1-1.6")
        for name in ("loss", "copies", "skewed"):
            check_float(f"JoinKnobs.{name}", getattr(self, name), 0.0, 1.0, "0-0.5")
        check_float("JoinKnobs.skew_s", self.skew_s, -86_400, 86_400, "-300-300")
        for name, most in (("forgive_s", 3_600), ("disorder_s", 120), ("allowed_s", 120)):
            check_float(f"JoinKnobs.{name}", getattr(self, name), 0, most, "0-120")


@dataclass(frozen=True)
class Draws:
    """Chance, drawn once, so that a knob moves along one set of days. Uniform: ``lost``,
    ``copied``, ``copy_lost``, ``transit`` (m,) by report, ``wrong`` (n,) by impression (its
    device's); ``retry_ms`` (m,) from a report to its copy, longer than any disorder."""

    lost: Array
    copied: Array
    copy_lost: Array
    transit: Array
    retry_ms: Array
    wrong: Array


@dataclass(frozen=True)
class Sent:
    """Reports (m,) on their way: ``event_ms`` by the device's clock; of the report and of its copy
    (2, m): ``stamp``, ``read`` (when the join reads it), and ``there``: it came into the log.
    ``refused`` (m,): none is there, but one was sent back by the gateway for its clock."""

    event_ms: Array
    stamp: Array
    read: Array
    there: Array
    refused: Array


@dataclass(frozen=True)
class JoinedDay:
    """A day joined: ``close_ms`` (n,); ``fate`` (m,) of each report, by ``FATES``; ``delay_ms``
    (m,) from request to stamp; ``wait_ms`` (n,) from request to when the sample is given out;
    ``doubled``: entries that only repeat one; ``points`` (rules, 2): mean wait in minutes and share
    of all reports caught, by rule at these knobs; ``clicked`` (n,) the label; ``quality`` of a
    model that learned from it."""

    knobs: JoinKnobs
    close_ms: Array
    fate: Array
    delay_ms: Array
    wait_ms: Array
    open_samples: Array
    doubled: int
    points: Array
    clicked: Array
    quality: Quality

    @property
    def shares(self) -> Array:
        """(fates,) of all reports that were ever made."""
        return np.bincount(self.fate, minlength=len(FATES)) / len(self.fate)

    @property
    def join_rate(self) -> float:
        """As it is watched: of the reports that came into the log, those that met their sample.
        What was lost on the way, or refused, it cannot know."""
        told = np.bincount(self.fate, minlength=len(FATES))[:4]
        return float(told[0] / max(told.sum(), 1))

    @property
    def lost_by_delay(self) -> tuple[Array, Array]:
        """(13,) share of the reports between ``DELAY_EDGES_MIN``, and what share of those was not
        caught (NaN where there are none)."""
        edges = np.asarray(DELAY_EDGES_MIN) * MINUTE_MS
        bins = edges.searchsorted(self.delay_ms)
        every = np.bincount(bins, minlength=len(edges) + 1)
        caught = np.bincount(bins[self.fate == 0], minlength=len(edges) + 1)
        lost = np.where(every > 0, 1 - caught / np.maximum(every, 1), np.nan)
        return every / every.sum(), lost


@dataclass(frozen=True)
class JoinPanel:
    """``shown`` (n rows) and ``told`` (m) of a day with the ``row`` of each report; ``sent_ms``
    when it left the phone and ``way_ms`` how long it took. ``quiet``: what the learned rules know,
    by (rule, window, setting). ``in_day``: impressions of the whole day over those of the panel."""

    shown: Columns
    told: Columns
    row: Array
    sent_ms: Array
    way_ms: Array
    draws: Draws
    quiet: Mapping[tuple[str, int, float], Array]
    model: ClickModel
    in_day: float

    def rule(self, knobs: JoinKnobs, name: str = "") -> CloseRule:
        """The close rule of a name (default: the chosen one) at these knobs."""
        longest, name = knobs.window_min * MINUTE_MS, name or knobs.rule
        if name == "fixed":
            return FixedWindow(longest)
        if name == "session":
            return SessionEnd(SessionEndConfig(knobs.gap_min * MINUTE_MS, 0, longest))
        setting = knobs.chance if name == "hazard" else float(knobs.worth_min)
        learned = learned_rule(name, knobs.window_min, setting)
        learned.restore({"quiet_ms": self.quiet[name, knobs.window_min, setting]})
        return learned

    def sent(self, knobs: JoinKnobs) -> Sent:
        """What the devices send and what of it comes into the log, when."""
        draws, stamp = self.draws, self.sent_ms + self._way(knobs)
        skew = np.where(draws.wrong < knobs.skewed, round(knobs.skew_s * 1000), 0)[self.row]
        event = self.told["event_ms"] + skew
        stamps = np.stack([stamp, stamp + draws.retry_ms])
        away = np.stack([draws.lost < knobs.loss, draws.copy_lost < knobs.loss])
        away[1] |= draws.copied >= knobs.copies
        clock = (event > stamps + LIMITS.ahead_ms) | (event < stamps - LIMITS.age_ms)
        read = stamps + (draws.transit * (knobs.disorder_s * 1000)).astype(np.int64)
        there = ~away & ~clock
        return Sent(event, stamps, read, there, (~away & clock).any(0) & ~there.any(0))

    def _way(self, knobs: JoinKnobs) -> Array:
        """(m,) ms from the phone to the gateway under these knobs."""
        if knobs.median == knobs.tail == 1:
            return self.way_ms
        middle = float(np.median(self.way_ms))
        way = knobs.median * middle * (self.way_ms / middle) ** knobs.tail
        return np.minimum(way, 30.0 * DAY_MS).astype(np.int64)

    def serve(self, knobs: JoinKnobs) -> JoinedDay:
        """Join the day again and learn from what was caught."""
        sent = self.sent(knobs)
        there, both, gone = self._read(sent, knobs)
        given = {name: _joined(both, gone, self.rule(knobs, name)) for name in RULES}
        extra, m = knobs.allowed_s * 1000, len(self.row)
        points = [((close - both.shown["time_ms"]).mean() + extra, good.sum() / m)
                  for close, good, _ in given.values()]  # fmt: skip
        close, on_time, out = given[knobs.rule]
        fate = np.where(sent.refused, 4, 5)
        fate[there] = np.select([on_time, both.early, out], [0, 3, 2], 1)
        clicks = both.row[on_time & (both.told["kind"] == KINDS.index("click"))]
        clicked = np.zeros(len(close), bool)
        clicked[clicks] = True
        wait = close - both.shown["time_ms"] + extra
        first = np.where(sent.there[0], *sent.stamp)  # of those not there, when they would have
        return JoinedDay(
            knobs, close, fate, first - both.shown["time_ms"][self.row], wait,
            self._open(wait), int(sent.there.all(0).sum()),
            np.array(points) / (MINUTE_MS, 1), clicked,
            self.model.quality(self.model.fit(clicked)),
        )  # fmt: skip

    def _read(self, sent: Sent, knobs: JoinKnobs) -> tuple[Array, Matched, Array]:
        """(m',) the reports that came, each once, in the order in which the join handles them; the
        same matched; and (m',) the watermark before each was read, -1 where all come in order."""
        there = np.flatnonzero(sent.there.any(0))
        which = (~sent.there[0][there]).astype(np.int64)  # the copy, where only it came
        gone = np.full(len(there), -1)
        if knobs.disorder_s > knobs.allowed_s:
            turn, before = _as_read(self.shown["time_ms"], sent, knobs.allowed_s * 1000)
            turn, gone = turn[which, there], before[which, there]
            order = np.lexsort((sent.stamp[which, there], turn))
            there, which, gone = there[order], which[order], gone[order]
        stamp, event, row = sent.stamp[which, there], sent.event_ms[there], self.row[there]
        time_ms = self.shown["time_ms"][row]
        early = (event < time_ms - knobs.forgive_s * 1000) | (stamp < time_ms)
        told = {"report_ms": stamp, "event_ms": event, "kind": self.told["kind"][there]}
        return there, Matched(self.shown, told, row, early), gone

    def _open(self, wait_ms: Array) -> Array:
        """(145,) samples open on the whole platform, every ten minutes of the day."""
        start = self.shown["time_ms"]
        at = start[0] // DAY_MS * DAY_MS + np.arange(0, DAY_MS + 1, GRID_MIN * MINUTE_MS)
        ended = np.sort(start + wait_ms).searchsorted(at)
        return (start.searchsorted(at) - ended) * self.in_day

    @property
    def hours(self) -> Array:
        """(145,) hours of the day of ``open_samples``."""
        return np.arange(0, DAY_MS + 1, GRID_MIN * MINUTE_MS) / HOUR_MS


def learned_rule(name: str, window_min: int, setting: float) -> Hazard:
    """The hazard or the priced rule, not yet fitted; ``setting``: chance, or minutes of worth."""
    longest = window_min * MINUTE_MS
    if name == "hazard":
        return Hazard(HazardConfig(threshold=setting, max_wait_ms=longest))
    return PricedWait(PricedWaitConfig(label_s=60 * setting, max_wait_ms=longest))


def _joined(both: Matched, gone_ms: Array, rule: CloseRule) -> tuple[Array, Array, Array]:
    """Closes (n,), which reports became labels, and which would have, had not their sample been
    given out: ``gone_ms`` (m',) = the watermark before each was read; -1 = all come in order."""
    close, on_time = closes(both, rule)
    if gone_ms.max(initial=-1) < 0:
        return close, on_time, np.zeros(len(on_time), bool)
    if not rule.on_label:
        out = on_time & (close[both.row] < gone_ms)
        return close, on_time & ~out, out
    time_ms, none = both.shown["time_ms"], np.zeros(len(close), np.int64)
    close, labels, count = rule.opened(time_ms, both.shown)[0], none.copy(), none.copy()
    kept, stamp = np.zeros(len(on_time), bool), both.told["report_ms"]
    for turn in _kth(both.row, ~both.early):  # as ``SampleJoin`` does, but in order of handling
        at = both.row[turn]
        good = (stamp[turn] <= close[at]) & (close[at] >= gone_ms[turn])
        turn, at = turn[good], at[good]
        kept[turn] = True
        labels[at] |= np.int64(1) << both.told["kind"][turn].astype(np.int64)
        count[at] += 1
        close[at] = rule.told(stamp[turn], time_ms[at], labels[at], count[at])
    return close, kept, on_time & ~kept


def _kth(row: Array, which: Array) -> list[Array]:
    """Places of the first reports of all rows, of the second ones, …, in their order."""
    places = np.flatnonzero(which)
    order = places[np.argsort(row[places], kind="stable")]
    begins = np.flatnonzero(np.diff(row[order], prepend=-1))
    turn = np.arange(len(order)) - np.repeat(begins, np.diff(begins, append=len(order)))
    return [order[turn == k] for k in range(int(turn.max(initial=-1)) + 1)]


def _as_read(time_ms: Array, sent: Sent, allowed_ms: int) -> tuple[Array, Array]:
    """(2, m) at which entry's reading each report is handled, and the watermark before it was read
    itself; impressions (n,) are read at once."""
    there = sent.there.ravel()
    stamp = np.concatenate([time_ms, sent.stamp.ravel()[there]])
    order = np.argsort(np.concatenate([time_ms, sent.read.ravel()[there]]), kind="stable")
    watermark = np.maximum.accumulate(stamp[order]) - allowed_ms
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    turn = np.maximum(place, watermark.searchsorted(stamp, "right"))
    before = np.append(-1, watermark)[place]
    found = np.zeros((2, len(there)), np.int64)
    found[:, there] = turn[len(time_ms) :], before[len(time_ms) :]
    return found[0].reshape(sent.there.shape), found[1].reshape(sent.there.shape)
