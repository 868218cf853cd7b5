"""Visits: where each user is in the sessions of one day, and how a session feels so far.

A session has a mood (topic ~ Cat(theta_u)), excitation (+1 a click on the topic, ×.75 a page) and
satiation (+.5 an exposure, ×.8 a page). Sessions of one user never overlap: one that would start
too early waits. Between pages people pause, and sometimes put the phone away.

Reference: Zhu et al. 2017 on time between actions; lateness in a session as in Globo's clicks.
Simplified: a mood lasts for the whole session.
"""

import numpy as np

from reclab.core.types import Array
from reclab.world.behaviour import BehaviourConfig
from reclab.world.traffic import NEVER, TrafficConfig
from reclab.world.users import N_TOPICS

GAP_MS = 60_000  # least time between two sessions of one user


class Visits:
    """Columns over all users. ``now`` (n,) time of the next page, ``NEVER`` = done for today;
    ``mood``, ``session``, ``mobile``, ``shown`` (n,); ``excitation``, ``satiation`` (n, 24)."""

    def __init__(
        self,
        config: TrafficConfig,
        starts: Array,
        busy_until: Array,
        theta: Array,
        first_session: int,
        chance: np.random.Generator,
    ) -> None:
        """``starts`` (n, s) planned starts, ``busy_until`` (n,) when the last session ended."""
        n = len(starts)
        self.config, self.starts, self.theta = config, starts, theta
        self.busy_until, self.n_sessions = busy_until.copy(), first_session
        self.next, self.now = np.zeros(n, np.int64), np.full(n, NEVER)
        self.mood, self.session = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self.mobile, self.shown = np.zeros(n, bool), np.zeros(n, np.int64)
        self.pages = np.zeros(n, np.int64)
        self.excitation, self.satiation = np.zeros((n, N_TOPICS)), np.zeros((n, N_TOPICS))
        self._begin(np.arange(n), chance)

    def _begin(self, user: Array, chance: np.random.Generator) -> None:
        """Start the next planned session of each of ``user``; none left: the day is over."""
        planned = self.next[user] < self.starts.shape[1]
        start = np.full(len(user), NEVER)
        start[planned] = self.starts[user[planned], self.next[user[planned]]]
        self.next[user] += 1
        comes = start < NEVER
        self.now[user[~comes]] = NEVER
        user, start = user[comes], start[comes]
        self.now[user] = np.maximum(start, self.busy_until[user] + GAP_MS)
        draw = chance.random((len(user), 1))
        mood = (np.cumsum(self.theta[user], 1) < draw).sum(1)
        self.mood[user] = np.minimum(mood, N_TOPICS - 1)
        self.mobile[user] = chance.random(len(user)) >= self.config.wifi
        self.session[user] = self.n_sessions + np.arange(len(user))
        self.n_sessions += len(user)
        self.shown[user] = self.pages[user] = 0
        self.excitation[user] = self.satiation[user] = 0.0

    def present(self) -> Array:
        """Rows of the users who are in a session."""
        return np.flatnonzero(self.now < NEVER)

    def feel(
        self, c: BehaviourConfig, user: Array, weights: Array, click: Array, shown: Array
    ) -> None:
        """Let a page work on the session: ``weights`` (n, K, 24), ``click``, ``shown`` (n, K)."""
        clicked = np.einsum("nk,nkt->nt", click.astype(np.float32), weights)
        exposed = np.einsum("nk,nkt->nt", shown.astype(np.float32), weights)
        self.excitation[user] = c.excitation_decay * (self.excitation[user] + clicked)
        tired = self.satiation[user] + c.satiation_step * exposed
        self.satiation[user] = c.satiation_decay * tired
        self.shown[user] += shown.sum(1)
        self.pages[user] += 1

    def move_on(
        self, user: Array, spent_ms: Array, over: Array, chance: np.random.Generator
    ) -> None:
        """After ``spent_ms`` (n,) on the page: the next page, or (``over``) the next session."""
        c, n = self.config, len(user)
        pause = c.pause_sec * np.exp(c.pause_spread * chance.standard_normal(n))
        away = 60.0 * c.away_min * np.exp(c.away_spread * chance.standard_normal(n))
        pause += np.where(chance.random(n) < c.away, away, 0.0)
        end = self.now[user] + spent_ms
        self.busy_until[user] = end
        self.now[user] = end + (np.minimum(pause, 86_400.0) * 1000.0).astype(np.int64)
        self._begin(user[over | (self.pages[user] >= c.most_pages)], chance)

    def state(self, user: Array) -> dict[str, Array]:
        """The session of each of ``user`` (n,) as it is before the next page."""
        return {
            "time_ms": self.now[user],
            "network": self.mobile[user].astype(np.int8),
            "mood": self.mood[user].astype(np.int16),
            "excitation": self.excitation[user].astype(np.float32),
            "satiation": self.satiation[user].astype(np.float32),
            "shown_before": self.shown[user].astype(np.int32),
        }
