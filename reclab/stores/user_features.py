"""User feature store: profile, behaviour sequences, statistics, long-term interests, as of a time.

history(u, t) = the last n items with a behaviour of u before t; statistics = sums over 30 days;
long_term_k(u, t) = (c_k + a / K) / (sum_j c_j + a), c_k = positives of u with tag k before t.
Every read is strictly earlier than the time asked for, so the same call serves a request (B = 1)
and builds training data (B = millions) without seeing the future. Events may be streamed in.
Reference: chapter 2.3.1; additive smoothing, Laplace 1814.

``append`` takes whole interactions, whose feedback counts from the time of the request; ``report``
takes late reports, each known from its arrival on (then append impressions without feedback).

Simplified: industry keeps sequences of years on disk and decays old interests.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reclab.core.clock import DAY_MS
from reclab.core.errors import ConfigError, DataError, check_float, check_int
from reclab.core.tables import Logs, Table
from reclab.core.types import Array
from reclab.stores.arrays import Arrays, save_arrays
from reclab.stores.as_of import Timeline, ragged
from reclab.stores.forward_index import ForwardIndex, missing_values
from reclab.stores.row_lookup import RowLookup

KINDS = ("positive", "view", "click", "like", "comment", "share", "purchase")
PRODUCT = 2  # code of products in the items' column ``business``
CHUNK = 1 << 16  # questions answered at once: bounds the temporaries of a read of millions
REPORTED = ("is_click", "watch_sec", "is_like", "is_comment", "is_share", "is_forward", "is_follow",
            "pay_amount")  # the column that a report of kind 0, 1, … tells of  # fmt: skip
# name of a statistic -> column of the interactions that is summed
STATISTICS = {
    "clicks": "is_click",
    "long_views": "is_long_view",
    "likes": "is_like",
    "comments": "is_comment",
    "shares": "is_share",
    "forwards": "is_forward",
    "follows": "is_follow",
    "watch_sec": "watch_sec",
    "pay_amount": "pay_amount",
}


@dataclass(frozen=True)
class UserFeaturesConfig:
    """``smoothing``: positives that the even prior of long-term interests weighs (0.1-100)."""

    smoothing: float = 5.0
    valid_play_sec: float = 6.0

    def __post_init__(self) -> None:
        check_float("UserFeaturesConfig.smoothing", self.smoothing, 1e-3, 1e6, "5")
        check_float("UserFeaturesConfig.valid_play_sec", self.valid_play_sec, 0.0, 3600.0, "6")


class UserFeatures:
    """Made by ``UserFeatures.build(logs)``; ``user_row`` = position in the sorted user ids."""

    def __init__(self, logs: Logs, config: UserFeaturesConfig | None = None) -> None:
        """Profiles of ``logs.users`` and no events yet; ``logs.interactions`` says which
        statistics will be kept (those whose column it has)."""
        self.config = config or UserFeaturesConfig()
        self.profiles = ForwardIndex(_last_snapshots(logs.users), "user_id")
        self._items = RowLookup(logs.items["video_id"], "video_id")
        self._tags = _tags_of(logs)
        self._is_product = logs.items["business"] == PRODUCT if "business" in logs.items else None
        seen = logs.interactions
        self.statistic_names = tuple(n for n, source in STATISTICS.items() if source in seen)
        n_tags = max(len(logs.tag_names), int(self._tags.max(initial=-1)) + 1)
        n = len(self.profiles)
        self._shown = Timeline(n, len(self.statistic_names), np.float32)
        self._told = Timeline(n, len(self.statistic_names), np.float32)
        self._kinds = {k: Timeline(n, n_tags if k == "positive" else 0, np.uint16) for k in KINDS}
        self.n_unknown = 0

    @staticmethod
    def build(logs: Logs, config: UserFeaturesConfig | None = None) -> "UserFeatures":
        """Profiles and all interactions of the logs."""
        store = UserFeatures(logs, config)
        store.append(logs.interactions)
        return store

    def __len__(self) -> int:
        return len(self.profiles)

    @property
    def user_ids(self) -> Array:
        """(n_users,) int64 identities in row order."""
        return self.profiles.ids

    @property
    def n_tags(self) -> int:
        """Tags that long-term interests are kept of."""
        return int(self._kinds["positive"].sums.shape[1])

    def rows(self, user_ids: Array) -> Array:
        """Rows of ``user_ids`` (any shape), -1 = unknown; unknown users have empty histories."""
        return self.profiles.rows(user_ids)

    def profile(self, user_row: Array) -> dict[str, Array]:
        """Profile columns at ``user_row`` (B,); an unknown user reads -1, 0.0 or False."""
        return self.profiles.get(user_row)

    # -- learn ------------------------------------------------------------------------------

    def append(self, events: Table) -> None:
        """Add interactions (the columns of the log), in any order; equal to a rebuild of all.

        Events of users or items that the store does not know are set aside and counted in
        ``n_unknown``. A statistic whose column the events lack gets zeros.
        """
        events, user_row, item_row = self._known(events)
        if not len(events):
            return
        time_ms = events["time_ms"].astype(np.int64)
        values = self._values(events)
        self._shown.append(user_row, time_ms, item_row, values)
        self._remember(user_row, time_ms, item_row, self._masks(events, item_row))

    def report(self, reports: Table) -> None:
        """Add late reports (``core.tables.FEEDBACK``), in any order: read as of ``report_ms`` they
        count in sequences, sums and interests, and are no impressions. No report tells of a long
        view. Unknown users and items are set aside as by ``append``."""
        reports, user_row, item_row = self._known(reports)
        if not len(reports):
            return
        told = {}
        for code, name in enumerate(REPORTED):
            mine = reports["kind"] == code
            flag = name.startswith("is_")
            told[name] = mine if flag else np.where(mine, reports["value"], np.float32(0))
        events = Table({**told, "is_long_view": np.zeros(len(reports), bool)})
        time_ms = reports["report_ms"].astype(np.int64)
        self._told.append(user_row, time_ms, item_row, self._values(events))
        self._remember(user_row, time_ms, item_row, self._masks(events, item_row))

    def _known(self, events: Table) -> tuple[Table, Array, Array]:
        """Events of users and items that are known, and the rows of both."""
        if not len(events):
            return events, np.zeros(0, np.int64), np.zeros(0, np.int64)
        user_row = self.rows(events["user_id"])
        item_row = self._items.rows(events["video_id"])
        known = (user_row >= 0) & (item_row >= 0)
        if known.all():
            return events, user_row, item_row
        self.n_unknown += int(np.count_nonzero(~known))
        return events.take(known), user_row[known], item_row[known]

    def _remember(
        self, user_row: Array, time_ms: Array, item_row: Array, masks: dict[str, Array]
    ) -> None:
        for kind, mask in masks.items():
            rows = item_row[mask]
            tags = self._tag_counts(rows) if kind == "positive" else ()
            self._kinds[kind].append(user_row[mask], time_ms[mask], rows, tags)

    def _values(self, events: Table) -> list[Array]:
        """The columns that are summed; NaN in one would spoil all later sums of its user."""
        sources = [STATISTICS[name] for name in self.statistic_names]
        bad = missing_values({s: events[s] for s in sources if s in events})
        if bad:
            which = ", ".join(f"{s!r} ({n} of {len(events)} rows)" for s, n in bad.items())
            raise DataError(f"NaN or infinity in {which}: no event was stored")
        none = np.zeros(len(events), np.float32)
        return [events[s] if s in events else none for s in sources]

    def _masks(self, events: Table, item_row: Array) -> dict[str, Array]:
        """Which events show which behaviour; kinds that the events cannot tell are absent."""
        logs = Logs(Table(), Table(), events)
        masks = {"positive": logs.positive}
        for kind in ("click", "like", "comment", "share"):
            if f"is_{kind}" in events:
                masks[kind] = events[f"is_{kind}"].astype(bool)
        if "is_valid_play" in events:
            masks["view"] = events["is_valid_play"].astype(bool)
        elif "watch_sec" in events:
            masks["view"] = events["watch_sec"] > self.config.valid_play_sec
        if "pay_amount" in events:
            # an ad's revenue is paid by the advertiser, so only products count as purchases
            paid = events["pay_amount"] > 0
            masks["purchase"] = (
                paid if self._is_product is None else paid & self._is_product[item_row]
            )
        return masks

    def _tag_counts(self, item_row: Array) -> list[Array]:
        """For each tag, 1 where the item has it."""
        tags = self._tags[item_row]
        counts = np.zeros((len(item_row), self.n_tags + 1), np.uint8)
        counts[np.arange(len(item_row))[:, None], tags] = 1  # tag -1 falls into the spare column
        return list(counts[:, :-1].T)

    # -- read -------------------------------------------------------------------------------

    def _timeline(self, kind: str) -> Timeline:
        if kind not in self._kinds:
            raise ConfigError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        return self._kinds[kind]

    def history(
        self,
        user_row: Array,
        time_ms: Array,
        n: int = 50,
        kind: str = "positive",
        dtype: type = np.int64,
    ) -> Array:
        """(B, n) item rows of the last ``n`` behaviours before ``time_ms``, newest last, padded
        with -1 at the left. ``dtype=np.int32`` halves the memory of a large batch."""
        return self._last(self._timeline(kind), user_row, time_ms, None, n, dtype)

    def since(
        self,
        user_row: Array,
        time_ms: Array,
        days: float = 7,
        n: int = 200,
        kind: str = "positive",
        dtype: type = np.int64,
    ) -> Array:
        """(B, n) like ``history``, of the last ``days`` days only (at most the ``n`` newest)."""
        start_ms = np.asarray(time_ms) - int(days * DAY_MS)
        return self._last(self._timeline(kind), user_row, time_ms, start_ms, n, dtype)

    @staticmethod
    def _last(
        line: Timeline, user_row: Array, time_ms: Array, start_ms: Array | None, n: int, dtype: type
    ) -> Array:
        check_int("n", n, 1, 100_000, "50")
        found: Array = np.empty((len(user_row), n), dtype)
        back = np.arange(-n, 0)
        for at in range(0, len(user_row), CHUNK):
            part = slice(at, at + CHUNK)
            rows = user_row[part]
            stop = line.stops(rows, time_ms[part])
            start = line.starts[rows] if start_ms is None else line.stops(rows, start_ms[part])
            slot = stop[:, None] + back
            inside = slot >= start[:, None]
            # slots before the window read slot 0, a header, which carries -1
            found[part] = line.carried[slot * inside]
        return found

    def seen(self, user_row: Array, time_ms: Array) -> tuple[Array, Array]:
        """Items exposed before ``time_ms``: request b's are ``rows[starts[b]:starts[b + 1]]``.

        Returns starts (B + 1,) and item rows (total,) int64, oldest first, repeats included.
        """
        line = self._shown
        first = line.starts[user_row]
        counts = line.stops(user_row, time_ms) - first
        starts = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=starts[1:])
        return starts, line.carried[ragged(first, counts)].astype(np.int64)

    def statistics(self, user_row: Array, time_ms: Array, days: float = 30) -> dict[str, Array]:
        """(B,) float32 each, over the last ``days`` days: ``impressions``, and the sums of
        STATISTICS whose columns the logs have (watch_sec in seconds, pay_amount in money)."""
        since_ms = np.asarray(time_ms) - int(days * DAY_MS)
        total = np.zeros((len(self.statistic_names), len(user_row)), np.float32)
        for line in (self._told, self._shown):
            stop, start = line.stops(user_row, time_ms), line.stops(user_row, since_ms)
            total = total + (line.sums[stop - 1] - line.sums[start - 1]).T
        found = {"impressions": (stop - start).astype(np.float32)}
        found.update(zip(self.statistic_names, total, strict=True))
        return found

    def long_term(self, user_row: Array, time_ms: Array) -> Array:
        """(B, n_tags) float32 shares of each tag among the positives so far, smoothed towards
        equal shares; rows sum to 1. An unknown user has equal shares."""
        line = self._kinds["positive"]
        counts = line.sums[line.stops(user_row, time_ms) - 1]
        a = np.float32(self.config.smoothing)
        share = (counts + a / max(1, self.n_tags)) / (counts.sum(1, keepdims=True) + a)
        return np.asarray(share, np.float32)

    # -- keep -------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write ``user_features`` and the profiles into the folder."""
        self.profiles.save(folder / "profiles")
        held = self._shown.arrays("shown")
        if len(self._told):
            held |= self._told.arrays("told")
        for kind, line in self._kinds.items():
            held |= line.arrays(kind)
        held["items"], held["tags"] = self._items.ids, self._tags
        if self._is_product is not None:
            held["is_product"] = self._is_product
        held["names"] = np.array(self.statistic_names, np.str_)
        held["config"] = np.array([self.config.smoothing, self.config.valid_play_sec])
        held["n_unknown"] = np.array(self.n_unknown)
        save_arrays(folder / "user_features", held)

    @staticmethod
    def load(folder: Path) -> "UserFeatures":
        """Read what ``save`` wrote. Raises ``DataError`` naming a file that is damaged."""
        store = UserFeatures.__new__(UserFeatures)
        store.profiles = ForwardIndex.load(folder / "profiles")
        held = Arrays(folder / "user_features")
        store._items = RowLookup(held["items"], "video_id")
        store._tags = held["tags"]
        store._is_product = held["is_product"] if "is_product" in held else None
        store.statistic_names = tuple(str(name) for name in held["names"])
        store.config = UserFeaturesConfig(*(float(x) for x in held["config"]))
        store.n_unknown = int(held["n_unknown"])
        store._shown = Timeline.from_arrays(held, "shown")
        store._told = Timeline(len(store), len(store.statistic_names), np.float32)
        if "told.when" in held:
            store._told = Timeline.from_arrays(held, "told")
        store._kinds = {kind: Timeline.from_arrays(held, kind) for kind in KINDS}
        return store


def _last_snapshots(users: Table) -> Table:
    """One row a user, sorted by id: the last one of each."""
    ids = users["user_id"]
    order = np.argsort(ids, kind="stable")
    last = np.append(ids[order][1:] != ids[order][:-1], True)[: len(ids)]
    return users.take(order[last])


def _tags_of(logs: Logs) -> Array:
    """(n_items, width) tag numbers; width 0 where the items have none."""
    if "tags" not in logs.items:
        return np.zeros((len(logs.items), 0), np.int16)
    tags = logs.items["tags"]
    if tags.ndim != 2:
        raise DataError(f"items.tags must be an (n, width) matrix, got shape {tags.shape}")
    return tags
