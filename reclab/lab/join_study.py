"""Join study: what windows catch of feedback, against what its delays allow, and at what wait.

    join rate of a fixed window W   against   mean P(delay <= W - what passed before sending)
    dynamic rules: share of the fixed window's labels   against   share of its mean wait
Quiet times are learned from earlier days of the platform, and on Globo from the other half of the
sessions. On Globo a request is the start of a session and its clicks are feedback.

Reference: chapter 2.3.1; datasets/README.md for Globo.
Simplified: nothing is lost on the way here; the join itself is tested with losses elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from reclab.core.clock import DAY_MS
from reclab.core.errors import DataError
from reclab.core.tables import Logs, Table
from reclab.core.types import Array
from reclab.datasets.report import LoadedLogs
from reclab.offline_online.join.batch_join import Matched, closes, match
from reclab.offline_online.join.delay_law import DelayLaw
from reclab.offline_online.join.hazard import (
    Hazard,
    HazardConfig,
    PricedWait,
    PricedWaitConfig,
)
from reclab.offline_online.join.records import KINDS
from reclab.offline_online.join.sample_join import SampleJoin, SampleJoinConfig
from reclab.offline_online.join.window import (
    MINUTE_MS,
    CloseRule,
    FixedWindow,
    SessionEnd,
    SessionEndConfig,
)

WINDOWS_MIN = (1, 2, 5, 10, 20, 30, 60, 120, 240)
THRESHOLDS = (0.2, 0.1, 0.05, 0.03, 0.02, 0.015, 0.01, 0.007, 0.005, 0.003, 0.002, 0.001)
PRICES_S = (600, 1_200, 2_400, 3_600, 7_200, 10_800, 14_400, 21_600, 28_800, 86_400)  # a label
GAPS_MIN = (1, 2, 3, 5, 8, 12, 16)
STEP_MS = 300_000  # arrivals of a micro-batch; any cuts give the same samples
CONFIG = SampleJoinConfig(carry=())
PAST_DAYS, DAYS = 2, 2  # learned from, and joined


@dataclass(frozen=True)
class Streams:
    """Two streams to join, the past that laws are learned from, matched, and what passed between
    request and sending: of the past (m',) and, in order of the matched streams, of these (m,)."""

    name: str
    impressions: Table
    reports: Table
    past: Matched
    now: Matched
    past_before_ms: Array
    before_ms: Array
    parts: int


@dataclass(frozen=True)
class JoinRates:
    """Join rates of fixed windows (k,): ``measured`` as the stream joined them, ``ceiling`` as the
    law of these very delays allows, ``predicted`` by the law of the past. ``labels_lost`` (k,)
    reports; ``mean_wait_s`` (k,)."""

    name: str
    windows_min: Array
    measured: Array
    ceiling: Array
    predicted: Array
    labels_lost: Array
    law: DelayLaw
    mean_wait_s: Array = field(repr=False)

    @property
    def worst_points(self) -> float:
        """Largest distance of what was measured from the ceiling, in percentage points."""
        return float(100 * np.abs(self.measured - self.ceiling).max())

    @property
    def worst_predicted_points(self) -> float:
        """The same from what the past predicts: other people, other days."""
        return float(100 * np.abs(self.measured - self.predicted).max())


@dataclass(frozen=True)
class Frontier:
    """Rules beside the fixed window (k,): ``labels`` and ``wait`` as shares of the fixed one's,
    ``setting`` the threshold, seconds a label is worth, or minutes. ``fixed_rate`` and
    ``fixed_wait_s``: the join rate and mean wait of the fixed window."""

    name: str
    rule: tuple[str, ...]
    setting: Array
    labels: Array
    wait: Array
    fixed_rate: float
    fixed_wait_s: float

    def cheapest(self, labels: float = 0.99) -> tuple[str, float, float, float]:
        """Rule, setting, labels and wait of the shortest wait that keeps this share of labels."""
        good = np.flatnonzero(self.labels >= labels)
        if not len(good):
            return "FixedWindow", self.fixed_wait_s / 60, 1.0, 1.0
        best = good[np.argmin(self.wait[good])]
        values = (self.setting[best], self.labels[best], self.wait[best])
        return (self.rule[best], *(float(value) for value in values))


def platform_streams(logs: Logs, day: int | None = None, kinds: Sequence[str] = KINDS) -> Streams:
    """Two days of the platform's log from ``day`` on (default: the fourth last), learned from the
    two days before. Only reports of ``kinds``."""
    last = int(logs.interactions["time_ms"].max()) // DAY_MS
    day = last - 3 if day is None else day
    if day < PAST_DAYS or "report_ms" not in logs.feedback:
        raise DataError(f"the join study needs reports and {PAST_DAYS} days before, got day {day}")
    past = _days(logs, day - PAST_DAYS, PAST_DAYS)
    shown, told = _days(logs, day, DAYS)
    matched, before = [], []
    for pair in (past, (shown, told)):
        whole = match(*pair, ("session_id",), CONFIG)
        sent = _before_sending(whole)
        chosen = np.isin(whole.told["kind"], [KINDS.index(kind) for kind in kinds])
        matched.append(_only(whole, chosen))
        before.append(sent[chosen])
    told = told.take(np.isin(told["kind"], [KINDS.index(kind) for kind in kinds]))
    return Streams("platform", shown, told, matched[0], matched[1], before[0], before[1], parts=2)


def _days(logs: Logs, first: int, n: int) -> tuple[Table, Table]:
    """Impressions of ``n`` days and all their reports, however late, with ids."""
    when = logs.interactions["time_ms"]
    shown = logs.interactions.take((when >= first * DAY_MS) & (when < (first + n) * DAY_MS))
    told = logs.feedback.take(np.isin(logs.feedback["req_id"], np.unique(shown["req_id"])))
    return shown, told.with_columns(event_id=np.arange(len(told)))


def _before_sending(both: Matched) -> Array:
    """(m,) ms from the request until the report left the phone: when the play had ended."""
    ended = np.zeros(len(both.shown["time_ms"]), np.int64)
    watch = both.told["kind"] == KINDS.index("watch")
    ended[both.row[watch]] = both.told["event_ms"][watch]
    sent = np.maximum(both.told["event_ms"], ended[both.row])
    return np.asarray(sent - both.shown["time_ms"][both.row])


def _only(both: Matched, which: Array) -> Matched:
    told = {name: column[which] for name, column in both.told.items()}
    return replace(both, told=told, row=both.row[which], early=both.early[which])


def globo_streams(logs: LoadedLogs) -> Streams:
    """Sessions of odd numbers as requests without an item, their clicks as reports; learned from
    the sessions of even numbers. Raises ``DataError`` without session starts."""
    if "sessions" not in logs.extra or logs.report.first_midnight_ms is None:
        raise DataError("the join study needs clicks with the start of their session (Globo)")
    sessions, clicks = logs.extra["sessions"], logs.interactions
    start = sessions["start_epoch_ms"] - logs.report.first_midnight_ms
    base = min(int(start.min()), 0)  # sessions that began before midnight; stamps are >= 0
    halves = []
    for half in (0, 1):
        mine = sessions["session_id"] % 2 == half
        shown = {"req_id": sessions["session_id"][mine], "time_ms": start[mine] - base}
        shown |= {"session_id": shown["req_id"], "video_id": np.zeros(mine.sum(), np.int64)}
        at = clicks["session_id"] % 2 == half
        when = clicks["time_ms"][at] - base
        told = {"event_id": np.flatnonzero(at), "req_id": clicks["session_id"][at],
                "video_id": np.zeros(len(when), np.int64), "kind": np.zeros(len(when), np.int8),
                "value": np.ones(len(when)), "event_ms": when, "report_ms": when}  # fmt: skip
        order = np.argsort(shown["time_ms"], kind="stable")
        halves.append((Table(shown).take(order), Table(told)))
    past, now = (match(*half, ("session_id",), CONFIG) for half in halves)
    none = np.zeros(len(past.row), np.int64), np.zeros(len(now.row), np.int64)
    return Streams("globo", *halves[1], past, now, *none, parts=6)


def stream(streams: Streams, rule: CloseRule, step_ms: int = STEP_MS) -> SampleJoin:
    """The streams through the join, ``step_ms`` of arrivals at a time, to the end."""
    join = SampleJoin(rule, CONFIG)
    shown, told = streams.impressions, streams.reports
    stamps = shown["time_ms"], told["report_ms"]
    edges = np.arange(0, int(stamps[0].max()) + step_ms + rule.max_wait_ms, step_ms)
    cuts = [np.append(np.searchsorted(stamp, edges), len(stamp)) for stamp in stamps]
    for i in range(len(edges)):
        a, b = (slice(cut[i], cut[i + 1]) for cut in cuts)
        if a.start < a.stop or b.start < b.stop:
            join.update(_part(shown, a), _part(told, b))
    join.flush()
    return join


def _part(table: Table, rows: slice) -> Table:
    return Table({name: table[name][rows] for name in table})


def join_rates(streams: Streams, windows_min: Sequence[float] = WINDOWS_MIN) -> JoinRates:
    """Measured by the stream, allowed by the law, and predicted by the law of the past."""
    law, past = (
        DelayLaw.fit((both.delay_ms - before)[(both.row >= 0) & ~both.early], streams.parts)
        for both, before in (
            (streams.now, streams.before_ms),
            (streams.past, streams.past_before_ms),
        )
    )
    windows = np.array([int(minutes * MINUTE_MS) for minutes in windows_min])
    reports = [stream(streams, FixedWindow(int(window))).report() for window in windows]
    return JoinRates(
        streams.name,
        np.asarray(windows_min, float),
        np.array([report.join_rate for report in reports]),
        law.ceiling(windows, streams.before_ms),
        past.ceiling(windows, streams.before_ms),
        np.array([report.count["reports"] - report.count["on_time"] for report in reports]),
        law,
        np.array([report.mean_wait_s for report in reports]),
    )


def frontier(
    streams: Streams,
    window_ms: int = 20 * MINUTE_MS,
    thresholds: Sequence[float] = THRESHOLDS,
    gaps_min: Sequence[float] = GAPS_MIN,
    prices_s: Sequence[float] = PRICES_S,
) -> Frontier:
    """Hazard by threshold, priced wait by what a label is worth, session end by gap, beside the
    fixed window and shorter ones."""
    past = streams.past

    def hazard(threshold: float) -> CloseRule:
        rule = Hazard(HazardConfig(threshold=threshold, max_wait_ms=window_ms))
        told = past.told
        return rule.fit(past.shown["time_ms"], past.row, told["report_ms"], told["kind"])

    def priced(label_s: float) -> CloseRule:
        rule = PricedWait(PricedWaitConfig(label_s=label_s, max_wait_ms=window_ms))
        told = past.told
        return rule.fit(past.shown["time_ms"], past.row, told["report_ms"], told["kind"])

    def session_end(minutes: float) -> CloseRule:
        return SessionEnd(SessionEndConfig(int(minutes * MINUTE_MS), 0, window_ms))

    def shorter(minutes: float) -> CloseRule:
        return FixedWindow(int(minutes * MINUTE_MS))

    makers = (
        ("Hazard", hazard, thresholds),
        ("PricedWait", priced, prices_s),
        ("SessionEnd", session_end, gaps_min),
        ("FixedWindow", shorter, gaps_min),
    )
    rules = [(name, value, make) for name, make, values in makers for value in values]
    fixed_labels, fixed_wait = _caught(streams.now, FixedWindow(window_ms))
    caught = np.array([_caught(streams.now, make(value)) for _, value, make in rules])
    return Frontier(
        streams.name,
        tuple(name for name, _, _ in rules),
        np.array([value for _, value, _ in rules]),
        caught[:, 0] / max(fixed_labels, 1),
        caught[:, 1] / max(fixed_wait, 1e-9),
        fixed_labels / max(len(streams.now.row), 1),
        fixed_wait,
    )


def _caught(both: Matched, rule: CloseRule) -> tuple[int, float]:
    """Labels in time, and mean wait in seconds; by the batch, which gives what the stream gives."""
    close, on_time = closes(both, rule)
    return int(on_time.sum()), float((close - both.shown["time_ms"]).mean()) / 1000
