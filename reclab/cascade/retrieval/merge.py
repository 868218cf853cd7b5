"""Merge (多路合并): the channels' answers become one set of candidates that knows its sources.

    quota        Channel c with share s_c fills the turns (r + 1/2) / s_c, r = 0, 1, ... its ranks.
                 Items are taken in the order of the turns until ``keep`` different ones are found:
                 that is the quota s_c * keep for each channel, and what duplicates or short
                 answers leave free goes on, in the same proportion, to the channels with more.
    round_robin  The same with equal shares: one from each channel in turn.
    score        Every channel is asked for ``keep``, and the ``keep`` items with most points are
                 taken, with what all channels' scores together say of P(long view)
                 (``calibration``). Nobody has a quota.

Reference: stride scheduling, Waldspurger and Weihl 1995.
Simplified: industry learns the shares for each kind of user and request.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from reclab.cascade.retrieval.calibration import Calibration
from reclab.core.clock import Stopwatch
from reclab.core.errors import check, check_float, check_int
from reclab.core.stage import StageResult, keep_top
from reclab.core.types import Array, Candidates

HOW = ("quota", "round_robin", "score")
Answer = tuple[Array, Array]  # (B, k) item rows, -1 padded, and scores


class Channel(Protocol):
    """One way to find candidates. ``retrieve``: (B, k) item rows and scores, -1 padded."""

    name: str

    def retrieve(self, batch: Any, k: int) -> tuple[Array, Array]: ...


@dataclass(frozen=True)
class MergeStage:
    """Ask every channel, unite the answers to at most ``keep`` candidates a request.

    The candidates carry ``channels`` (uint32, bit c set: ``channel_names[c]`` found it),
    ``best_channel`` (int8, the one that brought it in) and ``retrieval_rank`` (int32, its rank
    there). They come in the order of the turns, or with ``how="score"`` of their ``points``
    (float32); ``best_channel`` is then the one that gave most of them.
    """

    channels: Sequence[Channel]
    keep: int = 1000
    """candidates a request after the merge (100-10 000)"""
    shares: Mapping[str, float] = field(default_factory=dict)
    """share of each channel by name; 1 where not named, and only proportions count"""
    how: str = "quota"
    """quota, round_robin or score"""
    calibration: Calibration | None = None
    """what scores mean, for ``how="score"``"""
    overask: float = 1.5
    """each channel is asked for this multiple of its quota, against duplicates and short answers"""
    fail_open: bool = True
    """policy when a channel fails: True, the others answer and a note says so; False, it raises"""
    deadline_ms: float | None = None
    """time for all channels together, asked in parallel; late ones are left out; None = wait"""
    name: str = "retrieval"

    def __post_init__(self) -> None:
        check_int("MergeStage.keep", self.keep, 1, 1_000_000, "1000")
        check_float("MergeStage.overask", self.overask, 1.0, 100.0, "1-2")
        fits = 1 <= len(self.channels) <= 32
        check(fits, "MergeStage.channels", len(self.channels), "be 1 to 32 channels", "3-8")
        known = self.how in HOW
        check(known, "MergeStage.how", self.how, f"be one of {', '.join(HOW)}", "quota")
        learned = self.how != "score" or self.calibration is not None
        check(learned, "MergeStage.calibration", None, "be fitted for how='score'", "a Calibration")
        if self.deadline_ms is not None:
            check_float("MergeStage.deadline_ms", self.deadline_ms, 0.1, 1e6, "20-50")
        for name, share in self.shares.items():
            known = name in self.channel_names
            check(known, "MergeStage.shares", name, f"name one of {self.channel_names}", "popular")
            check_float(f"MergeStage.shares[{name!r}]", share, 0.001, 1000.0, "1")

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names by bit of ``channels``."""
        return tuple(channel.name for channel in self.channels)

    def __call__(self, batch: Any, candidates: Candidates) -> StageResult:
        if self.how == "score":
            return self._by_score(batch, candidates.n_requests)
        shares = self.shares if self.how == "quota" else {}
        share = np.array([shares.get(name, 1.0) for name in self.channel_names])
        share = share / share.sum() if len(share) else share
        asked = np.minimum(np.ceil(self.overask * self.keep * share), self.keep).astype(int)
        found, notes = self._ask(batch, asked, candidates.n_requests)
        merged = unite([rows for rows, _ in found], share)
        place = np.arange(len(merged)) - merged.starts()[:-1][merged.request_row]
        lost = merged.take(place >= self.keep)
        lost = lost.with_columns(reason=np.zeros(len(lost), np.int16))
        return StageResult(merged.take(place < self.keep), lost, ("over quota",), notes=notes)

    def _by_score(self, batch: Any, n: int) -> StageResult:
        """The ``keep`` items with most points."""
        found, notes = self._ask(batch, np.full(len(self.channels), self.keep), n)
        known = self.calibration
        assert known is not None
        names = self.channel_names
        points = [known.points(name, *answer) for name, answer in zip(names, found, strict=True)]
        merged = add_up([rows for rows, _ in found], points)
        unknown = [name for name in names if name not in known.names]
        notes += tuple(
            f"channel {name!r} is not calibrated: its items get no points" for name in unknown
        )
        return replace(keep_top(merged, merged["points"], self.keep, "too few points"), notes=notes)

    def _ask(self, batch: Any, asked: Array, n: int) -> tuple[list[Answer], tuple[str, ...]]:
        """Each channel's item rows and scores, of width 0 where it failed or was late, and a note
        for each such."""
        if self.deadline_ms is None:
            calls = [
                self._call(c, batch, int(k)) for c, k in zip(self.channels, asked, strict=True)
            ]
        else:
            calls = self._call_in_time(batch, asked, self.deadline_ms)
        notes = [note for _, note in calls if note]
        if calls and len(notes) == len(calls):
            notes.append("no channel answered: nothing was retrieved")
        nothing = np.full((n, 0), -1), np.zeros((n, 0), np.float32)
        return [nothing if answer is None else answer for answer, _ in calls], tuple(notes)

    def _call(self, channel: Channel, batch: Any, k: int) -> tuple[Answer | None, str]:
        try:
            return channel.retrieve(batch, k), ""
        except Exception as error:  # any fault of one source; the policy decides what it means
            if not self.fail_open:
                raise
            fault = f"{type(error).__name__}: {error}"
            return None, f"channel {channel.name!r} failed ({fault}): the others answer"

    def _call_in_time(
        self, batch: Any, asked: Array, deadline_ms: float
    ) -> list[tuple[Answer | None, str]]:
        pool = ThreadPoolExecutor(max(1, len(self.channels)))
        jobs = [
            pool.submit(self._call, channel, batch, int(k))
            for channel, k in zip(self.channels, asked, strict=True)
        ]
        calls: list[tuple[Answer | None, str]] = []
        left_ms = deadline_ms
        for channel, job in zip(self.channels, jobs, strict=True):
            with Stopwatch() as watch:
                try:
                    calls.append(job.result(timeout=max(0.0, left_ms) / 1000))
                except TooLate:
                    if not self.fail_open:
                        pool.shutdown(wait=False, cancel_futures=True)
                        raise
                    note = f"channel {channel.name!r} is later than {deadline_ms:g} ms"
                    calls.append((None, f"{note}: the others answer"))
            left_ms -= watch.ms
        pool.shutdown(wait=False, cancel_futures=True)
        return calls


def unite(answers: Sequence[Array], share: Array) -> Candidates:
    """Unite item rows (B, k_c) of each channel c, -1 padded, in the order of the turns.

    Each item of a request appears once, with ``channels``, ``best_channel``, ``retrieval_rank``.
    """
    widths, n = [rows.shape[1] for rows in answers], answers[0].shape[0]
    channel = np.repeat(np.arange(len(answers)), widths)
    rank = np.concatenate([np.arange(0), *(np.arange(w) for w in widths)])
    turn = np.argsort((rank + 0.5) / share[channel], kind="stable")
    channel, rank, m = channel[turn].astype(np.int8), rank[turn].astype(np.int32), len(turn)
    if not n or not m:
        none = {name: np.zeros(0, dtype) for name, dtype in COLUMNS.items()}
        return Candidates.empty(n).with_columns(**none)
    item = np.concatenate(answers, axis=1)[:, turn]
    bits = m.bit_length()
    key = (item + 1) << bits | np.arange(m)  # (item, turn) in one number: one plain sort a row
    key.sort(axis=1)
    by_item, by_turn = key >> bits, key & ((1 << bits) - 1)
    first = np.ones((n, m), bool)
    first[:, 1:] = by_item[:, 1:] != by_item[:, :-1]
    starts = np.flatnonzero(first)
    bit = np.uint32(1) << channel.astype(np.uint32)
    found = np.bitwise_or.reduceat(bit[by_turn].ravel(), starts)
    found[by_item.ravel()[starts] == 0] = 0  # the padding
    # scatter to (request, turn of the first mention): reading it in order is reading in turns
    source = np.zeros((n, m), np.uint32)
    source[starts // m, by_turn.ravel()[starts]] = found
    request_row, turn_of = np.nonzero(source)
    columns = {
        "channels": source[request_row, turn_of],
        "best_channel": channel[turn_of],
        "retrieval_rank": rank[turn_of],
    }
    return Candidates(n, request_row, item[request_row, turn_of], columns)


def add_up(answers: Sequence[Array], points: Sequence[Array]) -> Candidates:
    """Unite item rows (B, k_c) of each channel c, -1 padded, each item once with the sum of its
    points, (B, k_c) too, and the columns of ``unite``; by request and item."""
    n = answers[0].shape[0]
    channel = np.repeat(np.arange(len(answers)), [rows.shape[1] for rows in answers])
    rank = np.concatenate([np.arange(0), *(np.arange(rows.shape[1]) for rows in answers)])
    item, worth = np.concatenate(answers, axis=1), np.concatenate(points, axis=1)
    owner, at = np.nonzero(item >= 0)
    row, gained, c = item[owner, at], worth[owner, at], channel[at]
    order = np.lexsort((-gained, row, owner))  # of equal items, the one with most points first
    owner, row, gained, c, rank = owner[order], row[order], gained[order], c[order], rank[at][order]
    new = np.ones(len(row), bool)
    new[1:] = (owner[1:] != owner[:-1]) | (row[1:] != row[:-1])
    starts = np.flatnonzero(new)
    bit = np.uint32(1) << c.astype(np.uint32)
    none = not len(starts)
    columns = {
        "channels": np.zeros(0, np.uint32) if none else np.bitwise_or.reduceat(bit, starts),
        "best_channel": c[starts].astype(np.int8),
        "retrieval_rank": rank[starts].astype(np.int32),
        "points": np.zeros(0, np.float32) if none else np.add.reduceat(gained, starts),
    }
    return Candidates(n, owner[starts], row[starts], columns)


COLUMNS = {"channels": np.uint32, "best_channel": np.int8, "retrieval_rank": np.int32}
