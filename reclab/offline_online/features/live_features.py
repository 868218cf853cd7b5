"""Live features: what the streams have told so far of items and users, as of any time.

    count_k(item, t, w) = sum of v_e over reports e of kind k with t - w <= report_ms < t
    impressions likewise, by the time of the request
A like counts from when its report arrived, not from when it was given. Counts are whole numbers,
seconds are kept in ms and money in cents, so sums are exact in any order: a stream in any cuts and
a batch over the log tables give the same bits.
Reference: chapter 2.3.1 (item and user feature stores).

Simplified: all events stay in memory; industry keeps windows as buckets and expires them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import DataError, check, check_int
from reclab.core.tables import Logs, Table
from reclab.core.types import Array
from reclab.offline_online.join.records import KINDS
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.tiered_sums import TieredSums
from reclab.stores.user_features import REPORTED, UserFeatures

COUNTERS = ("impressions", *KINDS)
WHOLE = np.array([1, 1, 1000, 1, 1, 1, 1, 1, 100])  # a second in ms, money in cents
IMPRESSION_COLUMNS = ("req_id", "user_id", "video_id", "time_ms")
REPORTS = ("event_id", "req_id", "user_id", "video_id", "kind", "value", "report_ms")
MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class LiveFeaturesConfig:
    """``windows``: name -> how far back counters look (ms, 1 minute to 90 days); ``remember_ms``:
    how long an event is known, so that its repetition does nothing (1 min to 7 days); what is older
    than that when it comes could be a repetition, and is left out."""

    windows: tuple[tuple[str, int], ...] = (("1h", HOUR_MS), ("1d", DAY_MS), ("30d", 30 * DAY_MS))
    remember_ms: int = DAY_MS

    def __post_init__(self) -> None:
        names = [name for name, _ in self.windows]
        once = len(set(names)) == len(names) > 0
        check(once, "LiveFeaturesConfig.windows", names, "have different names", "1h, 1d, 30d")
        for name, window_ms in self.windows:
            field = f"LiveFeaturesConfig.windows[{name!r}]"
            check_int(field, window_ms, 1000, 3650 * DAY_MS, "3600000")
        check_int("LiveFeaturesConfig.remember_ms", self.remember_ms, 0, 365 * DAY_MS, "86400000")


class Known:
    """Names of recent events (64 bits) in order, with their stamps: which of a batch are new."""

    def __init__(self) -> None:
        self.name, self.stamp = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.newest_ms = self.horizon_ms = 0

    def fresh(self, name: Array, stamp: Array) -> Array:
        """(n,) bool: not known, and the first of its name in the batch; they are known now."""
        some, first = np.unique(name, return_index=True)
        at = self.name.searchsorted(some)
        there = np.append(self.name, 0)[at] == some if len(self.name) else np.zeros(len(some), bool)
        there &= at < len(self.name)
        new, where = some[~there], first[~there]
        at = at[~there]
        self.name = np.insert(self.name, at, new)
        self.stamp = np.insert(self.stamp, at, stamp[where])
        found = np.zeros(len(name), bool)
        found[where] = True
        return found

    def forget(self, remember_ms: int) -> None:
        """Those stamped so much earlier than the newest."""
        self.newest_ms = max(self.newest_ms, int(self.stamp.max(initial=0)))
        self.horizon_ms = max(self.horizon_ms, self.newest_ms - remember_ms)
        old = self.stamp < self.horizon_ms
        if old.any():
            self.name, self.stamp = self.name[~old], self.stamp[~old]


class LiveFeatures:
    """``apply(impressions, reports)`` adds a micro-batch, ``refresh(now_ms)`` writes the counters
    into ``items``, a forward index of what changes; ``users`` holds sequences and statistics."""

    def __init__(self, logs: Logs, config: LiveFeaturesConfig | None = None) -> None:
        """For the items and users of ``logs``; its interactions are not read."""
        self.config = config or LiveFeaturesConfig()
        told = {name: np.zeros(0, np.float32) for name in REPORTED}
        self.users = UserFeatures(
            Logs(logs.users, logs.items, Table(told), tag_names=logs.tag_names)
        )
        self.items = ForwardIndex(Table({"video_id": logs.items["video_id"]}))
        self._counts = TieredSums(len(COUNTERS))
        self._shown, self._told = Known(), Known()
        self.repeated = self.unknown = self.too_old = 0
        self.refresh(0)

    @staticmethod
    def build(
        logs: Logs, impressions: Table, reports: Table, config: LiveFeaturesConfig | None = None
    ) -> "LiveFeatures":
        """The batch: everything from tables that lie still, in one go. Columns:
        IMPRESSION_COLUMNS (rows of the log's interactions) and REPORTS (rows of its feedback)."""
        live = LiveFeatures(logs, config)
        live.apply(impressions, reports)
        return live

    def apply(self, impressions: Table, reports: Table) -> None:
        """Add a micro-batch, in any order; what is known already changes nothing. Raises
        ``DataError`` for missing columns, negative or infinite values; then nothing is stored."""
        shown = _columns(impressions, IMPRESSION_COLUMNS)
        told = _columns(reports, REPORTS)
        if len(told) and not (np.isfinite(told["value"]) & (told["value"] >= 0)).all():
            raise DataError("reports.value must be finite and >= 0: nothing was stored")
        kinds = told["kind"] if len(told) else np.zeros(0, np.int64)
        if len(kinds) and (kinds.min() < 0 or kinds.max() >= len(KINDS)):
            raise DataError(f"reports.kind must be 0..{len(KINDS) - 1}: nothing was stored")
        shown = self._new(shown, self._shown, _pair_names(shown), "time_ms")
        told = self._new(told, self._told, told["event_id"] if len(told) else kinds, "report_ms")
        self._count(shown, told)
        flags = {name: np.zeros(len(shown), bool if name[:3] == "is_" else np.float32)
                 for name in REPORTED}  # fmt: skip
        self.users.append(shown.with_columns(**flags) if len(shown) else shown)
        self.users.report(told)
        for known in (self._shown, self._told):
            known.forget(self.config.remember_ms)

    def _new(self, rows: Table, known: Known, name: Array, stamp: str) -> Table:
        if not len(rows):
            return rows
        old = rows[stamp] < known.horizon_ms
        fresh = ~old
        fresh[fresh] = known.fresh(name[~old].astype(np.int64), rows[stamp][~old])
        self.too_old += int(old.sum())
        self.repeated += int(len(old) - old.sum() - fresh.sum())
        return rows if fresh.all() else rows.take(fresh)

    def _count(self, shown: Table, told: Table) -> None:
        """Impressions and reports as events with one counter each."""
        parts = [(shown, "time_ms", 0, 1.0)] if len(shown) else []
        if len(told):
            kind = told["kind"].astype(np.int64) + 1
            scaled = kind == 1 + KINDS.index("watch"), kind == 1 + KINDS.index("pay")
            amount = np.where(scaled[0] | scaled[1], told["value"].astype(np.float64), 1.0)
            parts.append((told, "report_ms", kind, np.rint(amount * WHOLE[kind])))
        for rows, stamp, place, amount in parts:
            item = self.items.rows(rows["video_id"]) >= 0
            values = np.zeros((len(rows), len(COUNTERS)))
            values[np.arange(len(rows)), place] = amount
            self.unknown += int(len(item) - item.sum())
            self._counts.append(rows["video_id"][item], rows[stamp][item], values[item])

    def counters(
        self, video_id: Array, time_ms: Array | int, window_ms: int | None = None
    ) -> dict[str, Array]:
        """(n,) float64 by name of COUNTERS, of the last ``window_ms`` (None = ever) before
        ``time_ms``; ``watch`` in seconds, ``pay`` in money."""
        since = None if window_ms is None else np.asarray(time_ms) - window_ms
        _, sums = self._counts.read(video_id, np.asarray(time_ms), since)
        return dict(zip(COUNTERS, (sums / WHOLE).T, strict=True))

    def refresh(self, now_ms: int) -> None:
        """Write ``impressions_1h``, ``like_1d`` … as of ``now_ms`` into ``items`` (float32)."""
        columns: dict[str, Array] = {}
        for name, window_ms in self.config.windows:
            found = self.counters(self.items.ids, now_ms, window_ms)
            columns |= {f"{what}_{name}": v.astype(np.float32) for what, v in found.items()}
        self.items.put(self.items.ids, **columns)


def _columns(table: Table | Mapping[str, Array], names: tuple[str, ...]) -> Table:
    if not len(table):
        return Table()
    missing = [name for name in names if name not in table]
    if missing:
        raise DataError(f"live features need the columns {', '.join(missing)} (got: {list(table)})")
    return Table({name: np.asarray(table[name]) for name in names})


def _pair_names(shown: Table) -> Array:
    """(n,) one number for each request and item."""
    if not len(shown):
        return np.zeros(0, np.int64)
    a, b = (shown[name].astype(np.int64).view(np.uint64) for name in ("req_id", "video_id"))
    mixed = (a * MIX) ^ (b + MIX)
    mixed ^= mixed >> np.uint64(32)
    return (mixed * MIX).view(np.int64)
