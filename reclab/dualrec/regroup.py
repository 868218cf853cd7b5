"""Regroup (重组): matches by item become D_u by user, under the user's key in Redis.

    D_u = {item_1, ..., item_n},   n <= Q          key dualrec:<user id>, one hash a user
    added = shown + withdrawn + expired + held     the user's ledger, in the same hash

Every step on a user is one script, so that capacity, duplicates and the ledger hold whoever else
writes at that moment, and whatever moment the server dies at. A call touches one key a user, which
is what a cluster asks for. A call whose answer was lost may be sent again: an entry that is there
is refreshed, not added, and one that has left does not leave twice.
Chapter 2, equation 2.4.

Simplified: industry also ages D_u by what the user did since, and keeps the ledger in a
stream; here it is forgotten with the key, two lives of an entry after the last write.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from redis.exceptions import NoScriptError

from reclab.core.errors import DataError, check, check_float, check_int
from reclab.core.types import Array
from reclab.stores.kv import KV, StoreDown

ENTRY = np.dtype([("item_id", "<i8"), ("made_ms", "<f8"), ("score", "<f4"), ("reason", "i1")])
ADDED, HELD, FULL, BAD = 1, 2, 3, 4
LEDGER = {"added": b"a", "shown": b"s", "withdrawn": b"w", "expired": b"x"}
ON_DOWN = ("without", "raise")

# KEYS[1] the user's hash: item id (8 bytes) -> ENTRY, and the ledger under names of one letter.
# ARGV: Q, now, life of an entry, life of the key (ms), then entries, best first. Expired entries
# leave first. Returns |D_u|, how many expired, and what became of each entry.
PUT = """
local room, now, life = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local n, gone, added = 0, 0, 0
local held, made, out = redis.call('HGETALL', KEYS[1]), {}, {}
for i = 1, #held, 2 do
  if #held[i] == 8 then
    local at = struct.unpack('<d', held[i + 1], 9)
    if at + life <= now then
      redis.call('HDEL', KEYS[1], held[i])
      gone = gone + 1
    else
      made[held[i]] = at
      n = n + 1
    end
  end
end
for i = 5, #ARGV do
  local item, at = string.sub(ARGV[i], 1, 8), struct.unpack('<d', ARGV[i], 9)
  if made[item] then
    if at > made[item] then redis.call('HSET', KEYS[1], item, ARGV[i]) end
    out[#out + 1] = 2
  elseif n >= room then
    out[#out + 1] = 3
  else
    redis.call('HSET', KEYS[1], item, ARGV[i])
    made[item], n, added = at, n + 1, added + 1
    out[#out + 1] = 1
  end
end
if added > 0 then redis.call('HINCRBY', KEYS[1], 'a', added) end
if gone > 0 then redis.call('HINCRBY', KEYS[1], 'x', gone) end
if #ARGV > 4 then redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
return {n, gone, unpack(out)}
"""
# KEYS[1] the user's hash; ARGV: letter of the ledger, then item ids that leave. Returns which left.
LEAVE = """
local got, n = {}, 0
for i = 2, #ARGV do
  got[i - 1] = redis.call('HDEL', KEYS[1], ARGV[i])
  n = n + got[i - 1]
end
if n > 0 then redis.call('HINCRBY', KEYS[1], ARGV[1], n) end
return got
"""


class MatchColumns(Protocol):
    """What the creator side hands over, (n,) columns."""

    @property
    def item_id(self) -> Array: ...
    @property
    def user_id(self) -> Array: ...
    @property
    def score(self) -> Array: ...
    @property
    def reason(self) -> Array: ...


@dataclass(frozen=True)
class RegroupConfig:
    """How much D_u holds, how long, and what a request does without it."""

    capacity: int = 10
    """Q: entries a user at most (5-50; 0 = nobody gets any)"""
    life_s: float = 86_400.0
    """seconds of the clock that is passed in until an entry expires (3600-259 200)"""
    on_down: str = "without"
    """policy of a read when Redis is down: "without" (serve without D_u, and say so) or "raise";
    how long a read may wait is ``KVConfig.timeout_s``"""
    rest_ms: int = 1_000
    """after a failed read, how long none is tried (ms of the clock passed in, 0-60 000)"""

    def __post_init__(self) -> None:
        check_int("RegroupConfig.capacity", self.capacity, 0, 5_000, "10")
        check_float("RegroupConfig.life_s", self.life_s, 0.001, 1e8, "86400")
        check(
            self.on_down in ON_DOWN,
            "RegroupConfig.on_down",
            self.on_down,
            f"be one of {', '.join(ON_DOWN)}",
            "without",
        )
        check_int("RegroupConfig.rest_ms", self.rest_ms, 0, 3_600_000, "1000")


class Put(NamedTuple):
    """What became of n matches: ``outcome`` (n,) ADDED, HELD (was there), FULL or BAD (no finite
    score, negative id); ``users`` (m,) ids written to and ``size`` (m,) their |D_u| after it."""

    outcome: Array
    users: Array
    size: Array
    expired: int

    def counts(self) -> dict[str, int]:
        """Matches by what became of them; they add up to n."""
        n = np.bincount(self.outcome, minlength=5).tolist()
        return {"added": n[ADDED], "held": n[HELD], "full": n[FULL], "bad": n[BAD]}


class Held(NamedTuple):
    """D_u of B requests, best first: ``request_row`` (n,) ascending, and columns beside it.
    ``gone``: request_row and item_id of what was withdrawn after the match; ``n_expired`` were left
    out too; ``note`` says why there is nothing, when that is a policy."""

    n_requests: int
    request_row: Array
    item_id: Array
    score: Array
    made_ms: Array
    reason: Array
    gone: tuple[Array, Array]
    n_expired: int = 0
    note: str = ""


class Regroup:
    """D_u of every user. Writing raises ``StoreDown`` when Redis is gone; reading does what
    ``on_down`` says. ``alive(item_ids) -> (n,) bool`` tells which items are still to be had."""

    def __init__(
        self,
        kv: KV,
        config: RegroupConfig | None = None,
        alive: Callable[[Array], Array] | None = None,
    ) -> None:
        self.kv, self.config, self.alive = kv, config or RegroupConfig(), alive
        self._sha: dict[str, str] = {}
        self._rest_until = -(2**62)

    def key(self, user_id: int) -> str:
        """The full Redis key of a user's D_u."""
        return self.kv.key(f"dualrec:{int(user_id)}")

    # ---- write ------------------------------------------------------------------------------

    def put(self, matches: MatchColumns, now_ms: int) -> Put:
        """Regroup matches by user and store them; of one user's, the best first while there is
        room. A pair listed twice is stored once. After a ``StoreDown`` some users may have been
        written: put the same matches again."""
        user, entries, order = _by_user(matches, now_ms)
        outcome = np.full(len(matches.item_id), BAD, np.int8)
        users, starts = np.unique(user, return_index=True)
        chunks = np.split(entries, starts[1:]) if len(users) else []
        head = self._head(now_ms)
        calls = [
            (self.key(u), [*head, *(e.tobytes() for e in chunk)])
            for u, chunk in zip(users.tolist(), chunks, strict=True)
        ]
        answers = self._run(PUT, calls)
        outcome[order] = np.array([code for a in answers for code in a[2:]], np.int8)
        size = np.array([a[0] for a in answers], np.int64)
        return Put(outcome, users, size, sum(a[1] for a in answers))

    def sizes(self, user_ids: Array, now_ms: int) -> Array:
        """(n,) |D_u| of these users; what has expired leaves and is counted."""
        head = self._head(now_ms)
        answers = self._run(PUT, [(self.key(user), head) for user in user_ids])
        return np.array([answer[0] for answer in answers], np.int64)

    def took(self, user_id: int, item_ids: Sequence[int] | Array) -> Array:
        """These items were shown to the user: they leave D_u. (n,) bool which were still there."""
        return self._leave("shown", user_id, item_ids)

    def withdraw(self, user_id: int, item_ids: Sequence[int] | Array) -> Array:
        """These items cannot be shown any more: they leave D_u, not counted as shown."""
        return self._leave("withdrawn", user_id, item_ids)

    def _leave(self, why: str, user_id: int, item_ids: Sequence[int] | Array) -> Array:
        ids = [struct.pack("<q", int(item)) for item in item_ids]
        if not ids:
            return np.zeros(0, bool)
        return np.array(self._run(LEAVE, [(self.key(user_id), [LEDGER[why], *ids])])[0], bool)

    def _head(self, now_ms: int) -> list[Any]:
        life_ms = round(self.config.life_s * 1000)
        return [self.config.capacity, int(now_ms), life_ms, 2 * life_ms]

    def _run(self, script: str, calls: list[tuple[str, list[Any]]]) -> list[Any]:
        """A script on one key a call, in few round trips; answers in the order of the calls."""
        answers: list[Any] = []
        for at in range(0, len(calls), self.kv.config.batch):
            part = calls[at : at + self.kv.config.batch]
            with self.kv.answering():
                got = self._send(script, part)
                lost = [i for i, a in enumerate(got) if isinstance(a, NoScriptError)]
                if lost:  # a server that was restarted knows no scripts
                    self._sha.pop(script, None)
                    again = self._send(script, [part[i] for i in lost])
                    for i, answer in zip(lost, again, strict=True):
                        got[i] = answer
            for answer in got:
                if isinstance(answer, Exception):
                    raise answer
            answers += got
        return answers

    def _send(self, script: str, calls: list[tuple[str, list[Any]]]) -> list[Any]:
        name, words = "EVAL", script  # a cluster's pipeline takes no EVALSHA
        if not self.kv.is_cluster:
            if script not in self._sha:
                self._sha[script] = self.kv.redis.script_load(script)
            name, words = "EVALSHA", self._sha[script]
        with self.kv.redis.pipeline(transaction=False) as pipe:
            for key, args in calls:
                pipe.execute_command(name, words, 1, key, *args)
            return list(pipe.execute(raise_on_error=False))

    # ---- read -------------------------------------------------------------------------------

    def read(self, user_ids: Sequence[int] | Array, now_ms: int) -> Held:
        """D_u of a batch's users in one round trip, without what has expired or was withdrawn."""
        users = [int(user) for user in user_ids]
        if now_ms < self._rest_until:
            return _nothing(len(users), "D_u is not read for a while after a failure")
        try:
            with self.kv.answering():
                held = self._values(users)
        except StoreDown as error:
            if self.config.on_down == "raise":
                raise
            self._rest_until = now_ms + self.config.rest_ms
            return _nothing(len(users), f"D_u is unknown, served without: {error}")
        self._rest_until = -(2**62)
        return self._held(held, now_ms)

    def _values(self, users: list[int]) -> list[list[bytes]]:
        if len(users) == 1:
            return [self.kv.redis.hvals(self.key(users[0]))]  # type: ignore[list-item]
        with self.kv.redis.pipeline(transaction=False) as pipe:
            for user in users:
                pipe.hvals(self.key(user))
            return list(pipe.execute())

    def _held(self, values: list[list[bytes]], now_ms: int) -> Held:
        mine = [[v for v in some if len(v) == ENTRY.itemsize] for some in values]
        entry = np.frombuffer(b"".join(v for some in mine for v in some), ENTRY)
        if not len(entry):
            return _nothing(len(values), "")
        row = np.repeat(np.arange(len(mine)), [len(some) for some in mine])
        fresh = entry["made_ms"] + self.config.life_s * 1000 > now_ms
        alive = fresh if self.alive is None else fresh & self.alive(entry["item_id"])
        gone = fresh & ~alive
        keep = np.flatnonzero(alive)
        keep = keep[np.lexsort((-entry["made_ms"][keep], -entry["score"][keep], row[keep]))]
        columns = (entry[name][keep] for name in ("item_id", "score", "made_ms", "reason"))
        lost = (row[gone], entry["item_id"][gone])
        return Held(len(mine), row[keep], *columns, lost, int((~fresh).sum()))

    def ledger(self, user_ids: Sequence[int] | Array) -> dict[str, int]:
        """Sums over these users: added, shown, withdrawn, expired, and held now; the first is the
        sum of the others, at any moment."""
        with self.kv.answering(), self.kv.redis.pipeline(transaction=False) as pipe:
            for user in user_ids:
                pipe.hgetall(self.key(int(user)))
            tables: list[dict[bytes, bytes]] = list(pipe.execute())
        total = {name: sum(int(t.get(k, 0)) for t in tables) for name, k in LEDGER.items()}
        return {**total, "held": sum(len(k) == 8 for t in tables for k in t)}


def _by_user(matches: MatchColumns, now_ms: int) -> tuple[Array, Array, Array]:
    """User (m,), ENTRY (m,) and position among the matches (m,) of the good rows, by user, best
    first. Raises ``DataError`` for columns of different lengths."""
    user, item = np.asarray(matches.user_id, np.int64), np.asarray(matches.item_id, np.int64)
    score, reason = np.asarray(matches.score, np.float32), np.asarray(matches.reason, np.int8)
    if len({len(user), len(item), len(score), len(reason)}) != 1:
        sizes = [len(column) for column in (item, user, score, reason)]
        raise DataError(f"matches: item_id, user_id, score, reason have lengths {sizes}")
    good = np.flatnonzero(np.isfinite(score) & (user >= 0) & (item >= 0))
    order = good[np.lexsort((-score[good], user[good]))]
    entries = np.zeros(len(order), ENTRY)
    entries["item_id"], entries["score"] = item[order], score[order]
    entries["made_ms"], entries["reason"] = now_ms, reason[order]
    return user[order], entries, order


def _nothing(n_requests: int, note: str) -> Held:
    none = np.zeros(0, np.int64)
    columns = (np.zeros(0, ENTRY[name]) for name in ("item_id", "score", "made_ms", "reason"))
    return Held(n_requests, none, *columns, (none, none), 0, note)
