"""Visit log (访问日志): when each user came, as counters that can be read as of any time.

    days_k(u, t) = days of u whose first page lies in [t - k days, t)  /  days that u was known of k

The same for pages, sessions, clicks and watched time; besides: time since the last page, the streak
of days, the trend of a week, the habit of the coming hours, whether the last day was liked more
than usual (``gain``, by the share of long plays), and the session so far. All is read
strictly before t: a page counts once it was asked for, a click once its report has arrived. What a
page has shown is left out, for it tells where the user left. Rates by known days let a model that
learned when the log was young answer when it is old.
Reference: point-in-time joins of feature stores; Chen et al. 2025 (DualRec), 30 days of activity.

Simplified: industry reads these from a stream's windows and adds pushes, app starts and locations.
"""

import numpy as np

from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import DataError
from reclab.core.tables import Logs, Table
from reclab.core.types import Array
from reclab.stores.as_of import SPAN, Timeline, check_times
from reclab.stores.row_lookup import RowLookup

WINDOWS = (1, 3, 7, 14, 30)
"""days that counters look back"""
CLICK, WATCH = 0, 1
"""kinds of a report (``core.tables.FEEDBACK``)"""
CHUNK = 1 << 16
"""questions answered at once: bounds the temporaries of a read of millions"""
LONG_SEC = 18.0
"""seconds from which a play counts as liked, whatever the item"""
FEATURES = (
    *(f"{what}_{k}" for what in ("days", "pages", "sessions") for k in WINDOWS),
    "clicks_7", "clicks_30", "liked", "gain", "watch_7", "watch_30",
    "since_page", "streak", "trend", "known_days", "hour", "coming_hours",
    "session_pages", "session_clicks", "session_min", "session_usual",
)  # fmt: skip
"""columns of ``VisitLog.features``; ``weekday`` follows where it was asked for"""


class VisitLog:
    """Pages and reports of ``user_ids`` (n,); ``user_row`` is the position there. ``new`` (n,)
    bool: not yet registered, or for a week at most, when the log began at ``start_ms``."""

    def __init__(self, user_ids: Array, new: Array | None = None, start_ms: int = 0) -> None:
        n = len(user_ids)
        self._users, self.start_ms = RowLookup(user_ids, "user_id"), start_ms
        self.new = np.ones(n, bool) if new is None else np.asarray(new, bool)
        self.pages, self.told = Timeline(n), Timeline(n, 4)
        self.days, self.sessions = Timeline(n), Timeline(n, 24)
        self._last_ms, self._last_session = np.full(n, -1), np.full(n, -1)
        self._streak = np.zeros(n, np.int64)
        self.n_unknown = 0

    def __len__(self) -> int:
        return len(self._users)

    @property
    def user_ids(self) -> Array:
        """(n_users,) int64 identities in row order."""
        return self._users.ids

    @staticmethod
    def build(logs: Logs) -> "VisitLog":
        """All users, pages and reports of the logs. Where reports have no time of arrival, a click
        counts from its page on. Raises ``DataError`` for logs without interactions."""
        shown = logs.interactions
        if not len(shown):
            raise DataError("the visit log needs interactions, got logs without any")
        ids, first = np.unique(logs.users["user_id"], return_index=True)
        new = logs.users["is_new_user"][first] if "is_new_user" in logs.users else None
        log = VisitLog(ids, new, int(shown["time_ms"].min()) // DAY_MS * DAY_MS)
        log.append(pages_of(shown))
        log.report(logs.feedback if "report_ms" in logs.feedback else _at_once(shown))
        return log

    # -- learn ------------------------------------------------------------------------------

    def append(self, pages: Table) -> None:
        """Add pages (``user_id``, ``time_ms``, ``session_id``): each user's in order of time, as
        the gateway saw them. Users it does not know are counted in ``n_unknown``. Raises
        ``DataError`` for a page earlier than the user's last."""
        row, when, session = self._known(pages, "time_ms", "session_id")
        if not len(row):
            return
        order = np.lexsort((when, row))
        row, when, session = row[order], when[order], session[order]
        first = np.r_[True, row[1:] != row[:-1]]
        before_ms = np.where(first, self._last_ms[row], np.r_[-1, when[:-1]])
        before = np.where(first, self._last_session[row], np.r_[-1, session[:-1]])
        if (when < before_ms).any():
            bad = int(np.flatnonzero(when < before_ms)[0])
            raise DataError(f"pages must come in order of time: user {self.user_ids[row[bad]]} at "
                            f"{when[bad]} ms after {before_ms[bad]} ms")  # fmt: skip
        self.pages.append(row, when, None)
        self._begin_sessions(row, when, (before_ms < 0) | (session != before))
        self._begin_days(row, when // DAY_MS, before_ms)
        last = np.r_[first[1:], True]
        self._last_ms[row[last]], self._last_session[row[last]] = when[last], session[last]

    def report(self, reports: Table) -> None:
        """Add reports (``core.tables.FEEDBACK``), in any order: clicks, plays, their length."""
        row, when, kind, value = self._known(reports, "report_ms", "kind", "value")
        chosen = (kind == CLICK) | (kind == WATCH)
        row, when, value, watch = row[chosen], when[chosen], value[chosen], kind[chosen] == WATCH
        values = [~watch, np.where(watch, value, 0.0) / 60, watch, watch & (value >= LONG_SEC)]
        values = [column.astype(float) for column in values]
        self.told.append(row, when, None, values)

    def _known(self, events: Table, time: str, *names: str) -> list[Array]:
        """User rows, times and the named columns of the events whose user is known."""
        if not len(events):
            return [np.zeros(0, np.int64)] * (2 + len(names))
        row = self._users.rows(events["user_id"])
        known = row >= 0
        self.n_unknown += int((~known).sum())
        when = events[time].astype(np.int64)
        check_times(when)
        return [row[known], when[known], *(events[name][known] for name in names)]

    def _begin_sessions(self, row: Array, when: Array, begins: Array) -> None:
        row, when = row[begins], when[begins]
        hours = np.eye(24)[when % DAY_MS // HOUR_MS]
        self.sessions.append(row, when, None, list(hours.T))

    def _begin_days(self, row: Array, day: Array, before_ms: Array) -> None:
        """First pages of days, each with its streak: days in a row that the user came."""
        before = np.where(before_ms < 0, -9, before_ms // DAY_MS)
        begins = day != before
        row, day, before = row[begins], day[begins], before[begins]
        if not len(row):
            return
        broken = day - before > 1
        goes_on = np.r_[False, row[1:] == row[:-1]] & ~broken
        place = np.arange(len(row))
        start = np.maximum.accumulate(np.where(goes_on, 0, place))
        held = np.where(broken, 0, self._streak[row])[start]
        streak = place - start + 1 + held
        # the time is the page's own: a day counts from its first page on
        stop = self.pages.stops(row, day * DAY_MS)
        self.days.append(row, self.pages.when[stop] % SPAN, streak.astype(np.int32))
        last = np.r_[row[1:] != row[:-1], True]
        self._streak[row[last]] = streak[last]

    # -- ask --------------------------------------------------------------------------------

    def check(self, user_row: Array) -> Array:
        """The rows as int64. Raises ``DataError`` for rows of nobody (-1 = an unknown user)."""
        row = np.asarray(user_row, np.int64)
        bad = row[(row < 0) | (row >= len(self))]
        if len(bad):
            raise DataError(f"user rows must lie in 0..{len(self) - 1}, got {bad[0]} "
                            f"({len(bad)} such rows; -1 is an unknown user)")  # fmt: skip
        return row

    def registered(self, user_row: Array, time_ms: Array | int) -> Array:
        """(n,) bool: who was known before that time: old users, and who has come."""
        row = self.check(user_row)
        return np.asarray(~self.new[row] | (_counts(self.pages, row, time_ms) > 0))

    def came(self, user_row: Array, start_ms: Array | int, end_ms: Array | int) -> Array:
        """(n,) bool: asked for a page at ``start_ms <= t < end_ms``."""
        return np.asarray(_counts(self.pages, self.check(user_row), end_ms, start_ms) > 0)

    def asks_again(self, user_row: Array, time_ms: Array | int, within_ms: int) -> Array:
        """(n,) bool: the next page comes at ``time_ms <= t < time_ms + within_ms`` and belongs to
        the session of the last one."""
        row = self.check(user_row)
        now = np.broadcast_to(np.asarray(time_ms, np.int64), row.shape)
        there = _counts(self.pages, row, now + within_ms, now) > 0
        slot = np.minimum(self.pages.stops(row, now), len(self.pages.when) - 1)
        next_ms = np.where(there, self.pages.when[slot] - row * SPAN, now)
        begun = _counts(self.sessions, row, next_ms + 1, now)
        return np.asarray(there & (begun == 0) & (_counts(self.pages, row, now) > 0))

    def moments(self, start_ms: int, end_ms: int) -> tuple[Array, Array]:
        """User rows and times just after each page of ``start_ms <= t < end_ms``."""
        everyone = np.arange(len(self))
        start = self.pages.stops(everyone, np.full(len(self), start_ms))
        count = self.pages.stops(everyone, np.full(len(self), end_ms)) - start
        row = np.repeat(everyone, count)
        slot = np.repeat(start - np.cumsum(count) + count, count) + np.arange(len(row))
        return row, self.pages.when[slot] - row * SPAN + 1

    def features(
        self, user_row: Array, time_ms: Array | int, horizon_ms: int, weekday: bool = False
    ) -> Array:
        """(n, len(FEATURES) + weekday) float32, of what was known before ``time_ms``."""
        row = self.check(user_row)
        now = np.broadcast_to(np.asarray(time_ms, np.int64), row.shape)
        if len(row) > CHUNK:
            cuts = [slice(i, i + CHUNK) for i in range(0, len(row), CHUNK)]
            parts = [self.features(row[cut], now[cut], horizon_ms, weekday) for cut in cuts]
            return np.concatenate(parts)
        columns = self._rates(row, now) | self._habits(row, now, horizon_ms)
        columns |= self._session(row, now, columns)
        names = (*FEATURES, "weekday") if weekday else FEATURES
        columns["weekday"] = now // DAY_MS % 7
        return np.stack([columns[name].astype(np.float32) for name in names], 1)

    def _rates(self, row: Array, now: Array) -> dict[str, Array]:
        """Counters a known day."""
        first = self.pages.when[np.minimum(self.pages.starts[row], len(self.pages.when) - 1)]
        since = np.where(self.new[row], first - row * SPAN, self.start_ms)
        known = np.clip((now - since) / DAY_MS, 0.0, None)
        found: dict[str, Array] = {"known_days": np.minimum(known, 30.0)}
        for name in ("days", "pages", "sessions"):
            events: Timeline = getattr(self, name)
            stop = events.stops(row, now)
            for k in WINDOWS:
                start = np.minimum(events.stops(row, now - k * DAY_MS), stop)
                found[f"{name}_{k}"] = (stop - start) / np.clip(known, 1.0, k)
        for k in (7, 30):
            total = _sums(self.told, row, now, now - k * DAY_MS)
            found[f"clicks_{k}"], found[f"watch_{k}"] = total[:2] / np.clip(known, 1.0, k)
        found["liked"] = _ratio(total[3], total[2])
        day = _last(self.days, row, now) // DAY_MS * DAY_MS
        today = _sums(self.told, row, now, day)
        found["gain"] = np.where(today[2] > 0, _ratio(today[3], today[2]) - found["liked"], 0)
        found["trend"] = 2 * (found["days_7"] - found["days_14"])
        return found

    def _habits(self, row: Array, now: Array, horizon_ms: int) -> dict[str, Array]:
        """Time since the last page (ln hours), the streak, and the share of the last 30 days'
        sessions that began in the hours to come."""
        last = _last(self.pages, row, now)
        away = np.where(last < 0, 30 * DAY_MS, np.minimum(now - last, 30 * DAY_MS))
        day = _last(self.days, row, now) // DAY_MS
        alive = (day >= 0) & (now // DAY_MS - day <= 1)
        begun = _sums(self.sessions, row, now, now - 30 * DAY_MS).T
        upto = np.concatenate([np.zeros((len(row), 1)), np.cumsum(np.c_[begun, begun], 1)], 1)
        hour, width = now % DAY_MS / HOUR_MS, min(horizon_ms / HOUR_MS, 24.0)
        coming = _between(upto, hour + width) - _between(upto, hour)
        return {
            "since_page": np.log1p(away / HOUR_MS),
            "streak": np.where(alive, self.days.carried[self.days.stops(row, now) - 1], 0),
            "hour": hour,
            "coming_hours": (coming + width / 24) / (upto[:, 24] + 1),
        }

    def _session(self, row: Array, now: Array, known: dict[str, Array]) -> dict[str, Array]:
        """The last session so far, over or not, and how many pages one usually has."""
        begun = np.maximum(_last(self.sessions, row, now), 0)
        none = _last(self.sessions, row, now) < 0
        clicks = _sums(self.told, row, now, begun)[0]
        return {
            "session_pages": _counts(self.pages, row, now, begun),
            "session_clicks": np.where(none, 0, clicks),
            "session_min": np.where(none, 0, np.log1p((now - begun) / 60_000)),
            "session_usual": _ratio(known["pages_30"], known["sessions_30"]),
        }


def pages_of(shown: Table) -> Table:
    """One row a request of the interactions, in order of time."""
    _, first = np.unique(shown["req_id"], return_index=True)
    first = np.sort(first)
    session = "session_id" if "session_id" in shown else "req_id"
    names = {"user_id": "user_id", "time_ms": "time_ms", "session_id": session}
    return Table({name: shown[source][first] for name, source in names.items()})


def _at_once(shown: Table) -> Table:
    """Clicks as reports that arrive with their page, for logs without late reports."""
    if "is_click" not in shown:
        return Table()
    mine = shown.take(shown["is_click"].astype(bool))
    kind, value = np.zeros(len(mine), np.int8), np.ones(len(mine), np.float32)
    columns = {"user_id": mine["user_id"], "report_ms": mine["time_ms"]}
    return Table({**columns, "kind": kind, "value": value})


def _counts(
    events: Timeline, row: Array, end_ms: Array | int, start_ms: Array | int | None = None
) -> Array:
    """(n,) events of ``start_ms <= t < end_ms``."""
    stop = events.stops(row, np.asarray(end_ms))
    if start_ms is None:
        return np.asarray(stop - events.starts[row])
    return np.asarray(np.maximum(stop - events.stops(row, np.asarray(start_ms)), 0))


def _sums(events: Timeline, row: Array, end_ms: Array, start_ms: Array) -> Array:
    """(width, n) sums over the events of ``start_ms <= t < end_ms``."""
    stop = events.stops(row, end_ms)
    start = np.minimum(events.stops(row, start_ms), stop)
    return np.asarray((events.sums[stop - 1] - events.sums[start - 1]).T)


def _ratio(a: Array, b: Array) -> Array:
    """a / b, 0 where b is 0."""
    return np.asarray(np.divide(a, b, np.zeros(len(b)), where=b > 0))


def _last(events: Timeline, row: Array, now: Array) -> Array:
    """(n,) time of the last event before ``now``, -1 = none."""
    return np.asarray(events.when[events.stops(row, now) - 1] - row * SPAN)


def _between(upto: Array, hour: Array) -> Array:
    """Running sums (n, 49) read at fractional hours (n,), straight between whole ones."""
    whole = np.minimum(hour.astype(np.int64), 47)
    each = np.arange(len(upto))
    low, high = upto[each, whole], upto[each, whole + 1]
    return np.asarray(low + (hour - whole) * (high - low))
