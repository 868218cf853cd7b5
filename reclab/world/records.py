"""Records: what the platform writes down, as the log tables of the chapter.

Tables 2.1 (users, a snapshot a day), 2.2 (items with counters), 2.3 (one row an impression; one
row a pair and day), and the reports of feedback, which reach the gateway late: play time +
LN(6 s, 1.0), and 6 % of them from phones that were offline, + LN(20 min, 1.7). A purchase follows
its exposure after LN(4.8 min, 1.9).

Reference: Chapelle 2014 (KDD) for delayed feedback; lateness as in a day of Globo's clicks.
Simplified: no report is lost, doubled or forged here; lesson 06 does that.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from reclab.core.chance import rng
from reclab.core.clock import DAY_MS
from reclab.core.tables import Logs, Table, conform
from reclab.core.types import Array
from reclab.world import behaviour
from reclab.world.catalogue import AD, LIVE, PRODUCT, Catalogue
from reclab.world.config import WorldConfig
from reclab.world.logging_policy import RANDOM
from reclab.world.users import N_TOPICS, TOPICS, Users

KINDS = ("click", "watch", "like", "comment", "share", "forward", "follow", "pay")
HELD_REQUESTS = 4_000
# Millions of rows: no column is kept wider than it needs to be.
SMALL = {"user": "i4", "req": "i4", "session": "i4", "item": "i4", "position": "i2"} | {
    "seconds": "f4",
    "before_sec": "f4",
}


class Recorder:
    """Collects pages as they are served, merges them once a day, and gives all rows at the end."""

    def __init__(self) -> None:
        self._pages: list[dict[str, Array]] = []
        self._days: list[dict[str, Array]] = []

    def add(self, context: dict[str, Array], shown: Array, page: dict[str, Array]) -> None:
        """Keep the impressions ``shown`` (n, K): ``context`` columns (n,), ``page`` (n, K)."""
        rows, _ = np.nonzero(shown)
        watched = page["seconds"] * shown
        before = np.cumsum(watched, 1) - watched
        kept = {name: values[rows] for name, values in context.items()}
        kept |= {name: values[shown] for name, values in page.items()}
        kept["before_sec"] = before[shown]
        self._pages.append({k: v.astype(SMALL.get(k, v.dtype)) for k, v in kept.items()})

    def close_day(self) -> dict[str, Array]:
        """Merge the pages since the last call into one day of rows, and return it."""
        pages, self._pages = self._pages, []
        self._days.append({k: np.concatenate([page[k] for page in pages]) for k in pages[0]})
        return self._days[-1]

    def all_rows(self) -> dict[str, Array]:
        """All days in one, and forget them."""
        days, self._days = self._days, []
        return {k: np.concatenate([day.pop(k) for day in days]) for k in list(days[0])}

    def react(
        self,
        config: WorldConfig,
        shown: dict[str, Array],
        users: Users,
        items: Catalogue,
        chance: np.random.Generator,
    ) -> None:
        """Add reactions and money to a day's rows."""
        n, rows = len(shown["item"]), np.flatnonzero(shown["click"])
        affinity = shown.pop("affinity")[rows]
        p = behaviour.p_reactions(config.behaviour, affinity)
        for kind, p_kind in p.items():
            shown[kind] = np.zeros(n, bool)
            shown[kind][rows] = chance.random(len(rows)) < p_kind
        shown["pay"] = np.zeros(n, np.float32)
        shown["pay"][rows] = self._money(config, shown, rows, affinity, users, items, chance)

    @staticmethod
    def _money(
        config: WorldConfig,
        shown: dict[str, Array],
        rows: Array,
        affinity: Array,
        users: Users,
        items: Catalogue,
        chance: np.random.Generator,
    ) -> Array:
        user, item = shown["user"][rows], shown["item"][rows]
        business, price = items.business[item], items.price[item]
        buy, tip = behaviour.p_pay(
            config.behaviour, affinity, price, config.items.price,
            users.price_sensitivity[user], users.purchase[user],
        )  # fmt: skip
        draw = chance.random(len(rows))
        gift = 5.0 * np.exp(1.2 * chance.standard_normal(len(rows)))
        money = np.where((business == PRODUCT) & (draw < buy), price, 0.0)
        money = np.where((business == LIVE) & (draw < tip), gift, money)
        return np.where(business == AD, items.bid[item], money)


def log_tables(config: WorldConfig, rows: dict[str, Array], users: Users, items: Catalogue) -> Logs:
    """The four tables and the reports, from all impressions as columns."""
    logged = rows["time_ms"] < config.days * DAY_MS  # what runs past the last midnight is cut
    rows = {k: values[logged] for k, values in rows.items()}
    order = np.lexsort((rows["position"], rows["req"], rows["time_ms"]))
    rows = {k: values[order] for k, values in rows.items()}
    shown = interactions(rows, users, items)
    table = items.table()
    for kind in ("like", "comment", "share", "forward"):
        count = np.bincount(rows["item"], rows[kind], minlength=len(items))
        table = table.with_columns(**{f"{kind}_cnt": count.astype(np.int32)})
    logs = Logs(
        users=users.profile,
        items=conform("items", table),
        interactions=shown,
        daily=daily(shown, rows),
        feedback=feedback(rows, shown, rng(config.seed, "reports")),
        tag_names=tuple(TOPICS),
    )
    return replace(logs, users=snapshots(config, users, logs, [config.days - 1])[0])


def interactions(rows: dict[str, Array], users: Users, items: Catalogue) -> Table:
    """Table 2.3, one row an impression, sorted by time."""
    user, item, seconds = rows["user"], rows["item"], rows["seconds"]
    who, what = users.profile, items.table()
    columns: dict[str, Array] = {
        "req_id": rows["req"],
        "session_id": rows["session"],
        "time_ms": rows["time_ms"],
        "user_id": who["user_id"][user],
        "device_id": who["device_id"][user],
        "video_id": what["video_id"][item],
        "author_id": what["author_id"][item],
        "author_device_id": what["author_device_id"][item],
        "position": rows["position"],
        "channel": rows["channel"],
        "is_random": rows["channel"] == RANDOM,
        "network": rows["mobile"],
        "watch_sec": seconds,
        "is_click": rows["click"],
        "is_long_view": rows["long_view"],
        "is_short_watch": seconds < 3.0,
        "is_valid_play": seconds > 6.0,
        "is_complete": rows["done"] | (seconds >= items.duration_sec[item]),
        "pay_amount": rows["pay"],
    }
    columns |= {f"is_{k}": rows[k] for k in ("like", "comment", "share", "forward", "follow")}
    return conform("interactions", Table(columns))


def daily(shown: Table, rows: dict[str, Array]) -> Table:
    """Table 2.3 rolled up: one row for each day, user and item."""
    day = shown["time_ms"] // DAY_MS
    n_items, n_users = int(rows["item"].max()) + 1, int(rows["user"].max()) + 1
    key = (day * n_users + rows["user"]) * n_items + rows["item"]
    order = np.argsort(key, kind="stable")
    start = np.flatnonzero(np.diff(key[order], prepend=-1))
    first = order[start]

    def total(values: Array, kind: str = "int32") -> Array:
        return np.add.reduceat(values[order].astype(kind), start)

    same = ("req_id", "user_id", "device_id", "video_id", "author_id", "author_device_id")
    columns = {name: shown[name][first] for name in same}
    columns |= {"day": day[first], "impressions": np.diff(start, append=len(order))}
    columns |= {"clicks": total(rows["click"]), "watch_sec": total(rows["seconds"], "float64")}
    for kind in ("like", "comment", "share", "forward"):
        columns[f"{kind}_cnt"] = total(rows[kind])
    return conform("daily", Table(columns))


def feedback(rows: dict[str, Array], shown: Table, chance: np.random.Generator) -> Table:
    """The reports, sorted by arrival: what happened on the device, when, and when it was told."""
    start = shown["time_ms"] + (rows["before_sec"] * 1000.0).astype(np.int64)
    play = (rows["seconds"] * 1000.0).astype(np.int64)
    parts: list[dict[str, Any]] = []
    for code, kind in enumerate(KINDS):
        if kind == "watch":
            at = np.arange(len(start))
        else:
            at = np.flatnonzero(rows[kind] > 0)
        when = start[at] + (0 if kind == "click" else play[at])
        if kind == "pay":
            minutes = 4.8 * np.exp(1.9 * chance.standard_normal(len(at)))
            when = start[at] + (np.minimum(minutes, 7 * 1440.0) * 60_000.0).astype(np.int64)
        value = {"watch": rows["seconds"], "pay": rows["pay"]}.get(kind, np.ones(len(start)))[at]
        parts.append({"row": at, "kind": np.full(len(at), code), "value": value, "event_ms": when})
    merged = {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}
    at = merged.pop("row")
    # a report leaves the phone when the play has ended
    sent = np.maximum(merged["event_ms"], start[at] + play[at])
    merged["report_ms"] = sent + _network_delay_ms(len(at), chance)
    for name in ("req_id", "video_id", "user_id"):
        merged[name] = shown[name][at]
    order = np.argsort(merged["report_ms"], kind="stable")
    return conform("feedback", Table({k: values[order] for k, values in merged.items()}))


def _network_delay_ms(n: int, chance: np.random.Generator) -> Array:
    """(n,) ms between an event and its report: seconds, or much later for phones offline."""
    delay = 6.0 * np.exp(chance.standard_normal(n))
    offline = np.flatnonzero(chance.random(n) < 0.06)
    delay[offline] += 1200.0 * np.exp(1.7 * chance.standard_normal(len(offline)))
    return (np.minimum(delay, 7 * 86_400.0) * 1000.0).astype(np.int64)


def snapshots(config: WorldConfig, users: Users, logs: Logs, days: Sequence[int]) -> list[Table]:
    """Table 2.1 at the end of each of ``days`` (ascending). Interest tags are the topics clicked
    most so far, as a platform would compute them; until 20 clicks those ticked at sign-up."""
    shown, n = logs.interactions, len(users)
    clicked = np.flatnonzero(shown["is_click"])
    user = np.searchsorted(users.profile["user_id"], shown["user_id"][clicked])
    item = np.searchsorted(logs.items["video_id"], shown["video_id"][clicked])
    cell = user * N_TOPICS + logs.items["tags"][item, 0]
    ends = np.searchsorted(shown["time_ms"][clicked], (np.array(days) + 1) * DAY_MS)
    count, tables = np.zeros(n * N_TOPICS, np.int64), []
    for day, start, end in zip(days, np.append(0, ends[:-1]), ends, strict=True):
        count += np.bincount(cell[start:end], minlength=len(count))
        tables.append(_snapshot(config, users, count.reshape(n, N_TOPICS), day))
    return tables


def _snapshot(config: WorldConfig, users: Users, count: Array, day: int) -> Table:
    """One snapshot, from the clicks by topic so far (n, 24)."""
    n = len(users)
    favourite = np.argsort(-count, axis=1, kind="stable")[:, :3]
    liked = np.where(np.take_along_axis(count, favourite, 1) >= 3, favourite, -1)
    known = count.sum(1) >= 20
    chance = rng(config.seed, "snapshot")  # versions and logins: the same stream every day
    lag, logged_in = chance.integers(0, 15, n), chance.random(n) < 0.92
    columns = {
        **users.profile.columns,
        "day": np.full(n, day),
        "interest_tags": np.where(known[:, None], liked, users.declared),
        "app_version": 338 + np.maximum(day + 21 - lag, 0) // 7,
        "is_new_user": (users.join_day > day - 7),
        "is_logged_in": logged_in,
    }
    return conform("users", Table(columns))


def held_requests(
    pages: list[dict[str, Array]], user_ids: Array, day: int, chance: np.random.Generator
) -> Table:
    """Up to 4,000 requests of a day with the state of their session, ordered by time."""
    merged = {k: np.concatenate([page[k] for page in pages]) for k in pages[0]}
    today = np.flatnonzero(merged["time_ms"] // DAY_MS == day)
    keep = chance.choice(today, min(len(today), HELD_REQUESTS), replace=False)
    keep.sort()
    keep = keep[np.argsort(merged["time_ms"][keep], kind="stable")]
    columns = {name: values[keep] for name, values in merged.items()}
    columns["user_id"] = user_ids[columns["user_row"]]
    columns["day"] = np.full(len(keep), day, np.int32)
    return Table(columns)
