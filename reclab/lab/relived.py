"""Relived: logged impressions answered again under other tastes, by the world's own behaviour.

    theta'_u = (1 - b) P theta_u + b e_boom        from a time on, for the users of some regions
P swaps the most popular topics in pairs: what they liked they leave, and the other way round. Who
comes when and what is shown stay as logged; moods, clicks and seconds are drawn again, page after
page, so P(click) of every impression is known exactly.

Reference: reclab.world.behaviour and visits hold the formulas.
Simplified: users leave where they left in the log; reactions and money stay as logged.
"""

from dataclasses import dataclass

import numpy as np

from reclab.core.chance import rng
from reclab.core.clock import DAY_MS
from reclab.core.errors import check_float, check_int
from reclab.core.tables import Logs, Table
from reclab.core.types import Array
from reclab.world import behaviour
from reclab.world.catalogue import AD
from reclab.world.truth import Truth


@dataclass(frozen=True)
class DriftConfig:
    """How tastes change, and for whom."""

    regions: float = 0.5
    """share of the regions whose users change (0 … 1)"""
    swapped: int = 8
    """topics that swap places, the most popular ones (0 … 24, even)"""
    boom: float = 0.3
    """share of a changed taste that goes to the booming topic (0 … 0.9)"""
    booming: int = 13
    """the topic that booms, of no particular interest before (0 … 23)"""

    def __post_init__(self) -> None:
        check_float("DriftConfig.regions", self.regions, 0.0, 1.0, "0.5")
        check_int("DriftConfig.swapped", self.swapped, 0, 24, "8")
        check_float("DriftConfig.boom", self.boom, 0.0, 0.99, "0.3")
        check_int("DriftConfig.booming", self.booming, 0, 23, "13")


@dataclass(frozen=True)
class Relived:
    """``shown``: the impressions (n) in order of time and user, answered again; ``p_click`` (n,);
    ``changed`` (n,) bool: rows of users whose tastes change at some time."""

    shown: Table
    p_click: Array
    changed: Array


def relive(truth: Truth, logs: Logs, shown: Table, drift_ms: int, drift: DriftConfig, seed: int
           ) -> Relived:  # fmt: skip
    """Answer the impressions ``shown`` again, with other tastes from ``drift_ms`` on."""
    order = np.lexsort((shown["position"], shown["user_id"], shown["time_ms"]))
    shown = shown.take(order)
    ids = np.unique(logs.users["user_id"])
    user = np.searchsorted(ids, shown["user_id"])
    item = np.searchsorted(logs.items["video_id"], shown["video_id"])
    moved = _moved(logs, ids, drift.regions, seed)
    tastes = _Tastes(truth, moved, drift_ms, drift)
    pages = _Pages.of(shown, user)
    click, affinity, p_click = _answer(truth, pages, item, tastes, seed)
    duration = truth.duration_sec[item].astype(np.float64)
    chance = rng(seed, "seconds again")
    seconds, done = behaviour.watch_seconds(truth.behaviour, click, affinity, duration, chance)
    lived = shown.with_columns(
        is_click=click,
        is_long_view=behaviour.is_long_view(click, seconds, duration),
        watch_sec=seconds.astype(np.float32),
        is_complete=done | (seconds >= duration),
        is_short_watch=seconds < 3.0,
        is_valid_play=seconds > 6.0,
    )
    return Relived(lived, p_click, moved[user])


def _moved(logs: Logs, ids: Array, share: float, seed: int) -> Array:
    """(n_users,) bool: users of the regions that change."""
    region = np.zeros(len(ids), np.int64)
    region[np.searchsorted(ids, logs.users["user_id"])] = logs.users["region"]
    chosen = rng(seed, "regions").random(int(region.max()) + 1) < share
    return np.asarray(chosen[region])


class _Tastes:
    """``at(user, time_ms)``: (n, 24) what users like at a time."""

    def __init__(self, truth: Truth, moved: Array, drift_ms: int, drift: DriftConfig) -> None:
        self.theta, self.moved, self.drift_ms, self.drift = truth.theta, moved, drift_ms, drift
        popular = np.argsort(-truth.theta[-1].mean(0))[: drift.swapped]
        self.order = np.arange(truth.theta.shape[2])
        half = drift.swapped // 2
        self.order[popular[:half]], self.order[popular[half:]] = popular[half:], popular[:half]

    def at(self, user: Array, time_ms: Array) -> Array:
        """Tastes of users (n,) at times (n,)."""
        days = np.minimum(time_ms // DAY_MS, len(self.theta) - 1)
        theta = self.theta[days, user].astype(np.float64)
        new = self.moved[user] & (time_ms >= self.drift_ms)
        theta[new] = (1 - self.drift.boom) * theta[new][:, self.order]
        theta[new, self.drift.booming] += self.drift.boom
        return np.asarray(theta)


@dataclass(frozen=True)
class _Pages:
    """Requests (m) of the rows (n): ``page_of`` (n,) each row's request and ``place`` (n,) where on
    it; ``user``, ``time_ms``, ``session`` (from 0) and ``turn`` (its how-manieth page), (m,)."""

    page_of: Array
    place: Array
    user: Array
    time_ms: Array
    session: Array
    turn: Array

    @staticmethod
    def of(shown: Table, user: Array) -> "_Pages":
        """Of the impressions and their users' rows."""
        _, first, page_of = np.unique(shown["req_id"], return_index=True, return_inverse=True)
        _, session = np.unique(shown["session_id"][first], return_inverse=True)
        when = shown["time_ms"][first]
        by_session = np.lexsort((when, session))
        starts = np.searchsorted(session[by_session], np.arange(session.max() + 1))
        turn = np.empty(len(first), np.int64)
        turn[by_session] = np.arange(len(first)) - starts[session[by_session]]
        in_page = np.lexsort((shown["position"], page_of))
        begins = np.searchsorted(page_of[in_page], np.arange(len(first)))
        place = np.empty(len(page_of), np.int64)
        place[in_page] = np.arange(len(page_of)) - begins[page_of[in_page]]
        return _Pages(page_of, place, user[first], when, session, turn)


def _answer(
    truth: Truth, pages: _Pages, item: Array, tastes: _Tastes, seed: int
) -> tuple[Array, Array, Array]:
    """(n,) click, affinity and P(click) of the rows: all first pages of sessions at once, then all
    second ones, for a page works on the mood of the next."""
    c, n = truth.behaviour, len(item)
    size, n_sessions = int(pages.place.max()) + 1, int(pages.session.max()) + 1
    rows = np.full((len(pages.user), size), -1)
    rows[pages.page_of, pages.place] = np.arange(n)
    theta = tastes.at(pages.user, pages.time_ms)
    mood = np.zeros(n_sessions, np.int64)
    excitation, satiation = np.zeros((2, n_sessions, theta.shape[1]))
    seen = np.zeros(n_sessions, np.int64)
    draw, moods = rng(seed, "clicks again").random(n), rng(seed, "moods").random(n_sessions)
    click, affinity, p = np.zeros(n, bool), np.zeros(n), np.zeros(n)
    for turn in range(int(pages.turn.max()) + 1):
        now = np.flatnonzero(pages.turn == turn)
        s, wants = pages.session[now], theta[now]
        if not turn:
            drawn = (np.cumsum(wants, 1) < moods[s, None]).sum(1)
            mood[s] = np.minimum(drawn, theta.shape[1] - 1)
        wish = behaviour.topic_wish(c, wants, mood[s], excitation[s], satiation[s])
        there = rows[now] >= 0
        what = np.where(there, item[rows[now]], 0)
        a = _affinity(truth, pages.user[now], pages.time_ms[now], wish, what)
        creator = truth.creator[what]
        lost = behaviour.page_fatigue(c, truth.weights[what].argmax(2), creator, seen[s])
        chance = behaviour.p_click(a, _bias(truth, pages.user[now], what), lost)
        mine = rows[now][there]
        p[mine], affinity[mine] = chance[there], a[there]
        click[mine] = draw[mine] < p[mine]
        opened = there & click[rows[now]]
        weights = truth.weights[what]
        clicked, exposed = (np.einsum("nk,nkt->nt", x.astype(float), weights)
                            for x in (opened, there))  # fmt: skip
        excitation[s] = c.excitation_decay * (excitation[s] + clicked)
        satiation[s] = c.satiation_decay * (satiation[s] + c.satiation_step * exposed)
        seen[s] += there.sum(1)
    return click, affinity, p


def _affinity(truth: Truth, user: Array, time_ms: Array, wish: Array, item: Array) -> Array:
    """(n, K) logits of users (n,) for items (n, K)."""
    c = truth.behaviour
    a = np.einsum("nt,nkt->nk", wish, truth.weights[item])
    a += c.style * np.einsum("nd,nkd->nk", truth.user_style[user], truth.item_style[item])
    a += c.quality * truth.quality[item] + np.array(c.business)[truth.business[item]]
    follows = (truth.follows[user] >= 0) & (
        truth.follows_since[user] < (time_ms // DAY_MS)[:, None]
    )
    same = truth.creator[item][:, :, None] == truth.follows[user][:, None, :]
    return np.asarray(a + c.follows * (same & follows[:, None, :]).any(2))


def _bias(truth: Truth, user: Array, item: Array) -> Array:
    """(n, K) logits of the user, on ads more or less."""
    tolerance = truth.behaviour.ad_tolerance * (truth.ad_tolerance[user] - 0.5)
    is_ad = truth.business[item] == AD
    return np.asarray(truth.click_bias[user][:, None] + is_ad * tolerance[:, None])
