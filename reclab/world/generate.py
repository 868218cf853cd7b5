"""Run the platform day by day and keep its logs apart from its truth.

A day: tastes drift, creators post, the logging policy refreshes its lists, users come, and every
step serves one page to each user who is in a session. What was shown behind an exit was never
shown. At night creators and the policy see the day; users decide whether they come back.

Reference: Ie et al. 2019 (RecSim) and Shi et al. 2019 (AAAI, Virtual Taobao) for such platforms.
Simplified: users do not interact within a day; a page is one decision of the policy.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from reclab.core.chance import rng
from reclab.core.clock import DAY_MS
from reclab.core.tables import Logs, Table
from reclab.core.types import Array
from reclab.world import behaviour
from reclab.world.catalogue import AD, Catalogue
from reclab.world.config import WorldConfig
from reclab.world.creators import choose_follows, make_creators
from reclab.world.logging_policy import LoggingPolicy
from reclab.world.records import Recorder, held_requests
from reclab.world.traffic import NEVER, session_starts, start_share
from reclab.world.truth import Truth
from reclab.world.users import N_TOPICS, Users, drift, make_users

FOLLOW_SLOTS = 16
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class World:
    """A finished platform: ``logs`` for recommenders, ``truth`` for evaluation only."""

    config: WorldConfig
    truth: Truth
    logs: Logs


def generate(config: WorldConfig, progress: Progress | None = None) -> World:
    """Simulate ``config.days`` days. ``progress(fraction, text)`` is called once a day.

    The same config gives the same world, on any machine, whatever the number of threads.
    """
    platform = Platform(config)
    for day in range(config.days):
        if progress is not None:
            progress(day / (config.days + 2), f"day {day + 1} of {config.days}")
        platform.live(day)
    if progress is not None:
        progress(config.days / (config.days + 2), "writing the logs")
    world = platform.close()
    if progress is not None:
        progress(1.0, "the platform is ready")
    return world


class Platform:
    """The state of the platform between days. ``live(day)`` once a day, then ``close()``."""

    def __init__(self, config: WorldConfig) -> None:
        self.config = config
        self.users: Users = make_users(
            config.users, config.n_users, config.days, start_share(config.traffic), config.seed
        )
        self.creators = make_creators(config.creators, config.n_creators, config.seed)
        self.catalogue = Catalogue(config.items, self.creators)
        self.catalogue.fill(config.n_items, rng(config.seed, "catalogue"))
        self.policy = LoggingPolicy(config.policy, self.catalogue, self.users.declared)
        self.records = Recorder()
        n = config.n_users
        self.theta = self.users.theta
        self.theta_days: list[Array] = []
        follows = choose_follows(
            self.creators, self.theta, self.users.style, FOLLOW_SLOTS, config.seed
        )
        self.follows, self.follows_since = follows
        self.habit = np.full(n, 0.25)  # long views per impression a user is used to
        self.satisfaction = self.habit.copy()
        self.busy_until = np.full(n, -1, np.int64)
        self.n_sessions = 0
        self.n_requests = 0
        self.held: dict[int, list[dict[str, Array]]] = {config.days - 2: [], config.days - 1: []}

    # -- a day ------------------------------------------------------------------------------

    def live(self, day: int) -> None:
        """One day, from midnight to midnight."""
        seed = self.config.seed
        if day:
            self.theta = drift(self.config.users, self.theta, rng(seed, "drift", day))
        self.theta_days.append(self.theta.astype(np.float32))
        self.policy.refresh(day, rng(seed, "policy fit", day))
        self._post(day)
        first = len(self.records.parts)
        self._sessions(day)
        shown = self.records.day_rows(first)
        self._react(day, shown)
        self._night(day, shown)

    def _post(self, day: int) -> None:
        chance = rng(self.config.seed, "posts", day)
        made = np.bincount(self.catalogue.creator, minlength=len(self.creators))
        creator = self.creators.posts(self.config.posts_per_day, made, chance)
        when = day * DAY_MS + chance.integers(0, DAY_MS, len(creator))
        self.catalogue.post(creator, when, chance)

    def _sessions(self, day: int) -> None:
        """Serve the day, one page to every user in a session at each step."""
        c, seed = self.config, self.config.seed
        chance = {k: rng(seed, k, day) for k in ("visit", "page", "click", "watch", "exit")}
        starts = self._visits(day, chance["visit"])
        visit = _Visits(starts, self.busy_until)
        visit.begin(np.arange(c.n_users), self.theta, c.traffic.wifi, self, chance["visit"])
        while True:
            user = np.flatnonzero(visit.now < NEVER)
            if not len(user):
                break
            self._page(day, user, visit, chance)
        self.busy_until = visit.busy_until

    def _visits(self, day: int, chance: np.random.Generator) -> Array:
        u = self.users
        p = behaviour.p_return(self.config.behaviour, u.activity, self.satisfaction, self.habit)
        active = (chance.random(len(u)) < p) & (u.join_day <= day) | (u.join_day == day)
        return session_starts(self.config.traffic, day, active, u.activity, u.own_hour, chance)

    def _page(
        self, day: int, user: Array, visit: "_Visits", chance: dict[str, np.random.Generator]
    ) -> None:
        """One page for each of ``user`` (n,): shown, judged, watched, perhaps left."""
        c, items, people = self.config.behaviour, self.catalogue, self.users
        now = visit.now[user]
        item, channel, filled = self.policy.page(user, now, self.config.page_size, chance["page"])
        self._hold(day, user, visit)
        wish = behaviour.topic_wish(
            c, self.theta[user], visit.mood[user], visit.excitation[user], visit.satiation[user]
        )
        affinity = self._affinity(user, item, wish)
        is_ad = items.business[item] == AD
        dislike = is_ad * (1.0 - people.ad_tolerance[user][:, None])
        bias = people.click_bias[user][:, None] + is_ad * (c.ad_tolerance * (0.5 - dislike))
        topic, creator = items.tags[item, 0], items.creator[item]
        lost = behaviour.page_fatigue(c, topic, creator, visit.shown[user])
        click = chance["click"].random(item.shape) < behaviour.p_click(c, affinity, bias, lost)
        duration = items.duration_sec[item].astype(np.float64)
        seconds, done = behaviour.watch_seconds(c, click, affinity, duration, chance["watch"])
        long_view = behaviour.is_long_view(click, seconds, duration)
        hazard = behaviour.p_exit(
            c, long_view, click, dislike, people.activity[user][:, None], visit.mobile[user, None]
        )
        leave = (chance["exit"].random(item.shape) < hazard) & filled
        left_before = np.cumsum(leave, 1) - leave > 0
        shown = filled & ~left_before
        self.policy.seen.add(user, item, shown)
        position = np.cumsum(shown, 1) - shown
        page = dict(
            item=item, channel=channel, position=position, click=click, seconds=seconds,
            done=done, long_view=long_view, affinity=affinity,
        )  # fmt: skip
        req = self.n_requests + np.arange(len(user))
        self.n_requests += len(user)
        self.records.add(user, now, req, visit.session[user], visit.mobile[user], shown, page)
        visit.feel(c, user, items.weights[item], click & shown, shown)
        over = leave.any(1) | ~shown.any(1)
        spent = ((seconds * shown).sum(1) * 1000.0).astype(np.int64)
        visit.move_on(user, spent, over, self, chance["visit"])

    def _affinity(self, user: Array, item: Array, wish: Array) -> Array:
        """(n, K) float64 logits: computed in float64 so that no rounding decides a click."""
        c, items = self.config.behaviour, self.catalogue
        a = np.einsum("nt,nkt->nk", wish, items.weights[item])
        a += c.style * np.einsum("nd,nkd->nk", self.users.style[user], items.style[item])
        a += c.quality * items.quality[item] + np.array(c.business)[items.business[item]]
        same = items.creator[item][:, :, None] == self.follows[user][:, None, :]
        a += c.follows * same.any(2)
        return a

    def _hold(self, day: int, user: Array, visit: "_Visits") -> None:
        """Remember the session state at the requests of the last two days, for the truth."""
        if day in self.held:
            req = self.n_requests + np.arange(len(user))
            self.held[day].append({"req_id": req, "user_row": user, **visit.state(user)})

    # -- the night --------------------------------------------------------------------------

    def _react(self, day: int, shown: dict[str, Array]) -> None:
        """Likes, comments, shares, follows and money of the day; new follows take effect."""
        chance = rng(self.config.seed, "reactions", day)
        new = self.records.react(self.config, shown, self.users, self.catalogue, chance)
        user, creator = shown["user"][new], self.catalogue.creator[shown["item"][new]]
        for u, k in zip(user, creator, strict=True):  # a few dozen a day
            free = np.flatnonzero(self.follows[u] < 0)
            if len(free) and k not in self.follows[u]:
                self.follows[u, free[0]], self.follows_since[u, free[0]] = k, day

    def _night(self, day: int, shown: dict[str, Array]) -> None:
        n = self.config.n_users
        user, item, long_view = shown["user"], shown["item"], shown["long_view"].astype(float)
        self.policy.learn(user, item, long_view)
        creator = self.catalogue.creator[item]
        self.creators.see_exposure(np.bincount(creator, minlength=len(self.creators)))
        count = np.bincount(user, minlength=n)
        came = count > 0
        rate = np.bincount(user, long_view, minlength=n)[came] / count[came]
        self.satisfaction[came] = 0.5 * rate + 0.5 * self.habit[came]  # one day is noisy
        away = ~came  # what was liked or not fades
        self.satisfaction[away] += 0.3 * (self.habit[away] - self.satisfaction[away])
        self.habit[came] += 0.1 * (rate - self.habit[came])

    def close(self) -> World:
        """Logs and truth of all days lived so far."""
        logs = self.records.logs(self.config, self.users, self.catalogue)
        c, u, items = self.config, self.users, self.catalogue
        truth = Truth(
            behaviour=c.behaviour,
            theta=np.stack(self.theta_days),
            user_style=u.style.astype(np.float32),
            click_bias=u.click_bias.astype(np.float32),
            ad_tolerance=u.ad_tolerance.astype(np.float32),
            activity=u.activity.astype(np.float32),
            follows=self.follows,
            follows_since=self.follows_since,
            weights=items.weights.copy(),
            item_style=items.style.copy(),
            quality=items.quality.copy(),
            business=items.business.copy(),
            duration_sec=items.duration_sec.copy(),
            creator=items.creator.copy(),
            publish_ms=items.publish_ms.copy(),
            held_out=self._requests(c.days - 1),
            tuning=self._requests(c.days - 2),
        )
        return World(c, truth, logs)

    def _requests(self, day: int) -> Table:
        ids = self.users.profile["user_id"]
        return held_requests(self.held[day], ids, day, rng(self.config.seed, "held", day))


class _Visits:
    """Where each user is in the day's sessions; arrays over all users."""

    def __init__(self, starts: Array, busy_until: Array) -> None:
        n = len(starts)
        self.starts, self.next = starts, np.zeros(n, np.int64)
        self.busy_until = busy_until.copy()
        self.now = np.full(n, NEVER)
        self.mood, self.session = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self.mobile, self.shown = np.zeros(n, bool), np.zeros(n, np.int64)
        self.pages = np.zeros(n, np.int64)
        self.excitation, self.satiation = np.zeros((n, N_TOPICS)), np.zeros((n, N_TOPICS))

    def begin(
        self,
        user: Array,
        theta: Array,
        wifi: float,
        platform: Platform,
        chance: np.random.Generator,
    ) -> None:
        """Start the next planned session of each of ``user``; none left: the day is over."""
        planned = self.next[user] < self.starts.shape[1]
        start = np.full(len(user), NEVER)
        start[planned] = self.starts[user[planned], self.next[user[planned]]]
        self.next[user] += 1
        come = start < NEVER
        self.now[user[~come]] = NEVER
        user, start = user[come], start[come]
        self.now[user] = np.maximum(start, self.busy_until[user] + 60_000)  # sessions never overlap
        draw = chance.random((len(user), 1))
        self.mood[user] = (np.cumsum(theta[user], 1) < draw).sum(1).clip(max=N_TOPICS - 1)
        self.mobile[user] = chance.random(len(user)) >= wifi
        self.session[user] = platform.n_sessions + np.arange(len(user))
        platform.n_sessions += len(user)
        self.shown[user] = self.pages[user] = 0
        self.excitation[user] = self.satiation[user] = 0.0

    def feel(
        self, c: behaviour.BehaviourConfig, user: Array, weights: Array, click: Array, shown: Array
    ) -> None:
        """Let the page work on the session: ``weights`` (n, K, 24), ``click``, ``shown`` (n, K)."""
        clicked = np.einsum("nk,nkt->nt", click.astype(np.float32), weights)
        seen = np.einsum("nk,nkt->nt", shown.astype(np.float32), weights)
        self.excitation[user] = c.excitation_decay * (self.excitation[user] + clicked)
        tired = self.satiation[user] + c.satiation_step * seen
        self.satiation[user] = c.satiation_decay * tired
        self.shown[user] += shown.sum(1)
        self.pages[user] += 1

    def move_on(
        self,
        user: Array,
        spent_ms: Array,
        over: Array,
        platform: Platform,
        chance: np.random.Generator,
    ) -> None:
        """The next page after a pause, or the next session."""
        traffic = platform.config.traffic
        pause = traffic.pause_sec * np.exp(traffic.pause_spread * chance.standard_normal(len(user)))
        away = traffic.away_min * np.exp(traffic.away_spread * chance.standard_normal(len(user)))
        pause += np.where(chance.random(len(user)) < traffic.away, away * 60.0, 0.0)
        end = self.now[user] + spent_ms
        self.busy_until[user] = end
        self.now[user] = end + (np.minimum(pause, 86_400.0) * 1000.0).astype(np.int64)
        over = over | (self.pages[user] >= traffic.most_pages)
        self.begin(user[over], platform.theta, traffic.wifi, platform, chance)

    def state(self, user: Array) -> dict[str, Array]:
        """The session state of ``user`` (n,), as the truth keeps it."""
        return {
            "time_ms": self.now[user],
            "network": self.mobile[user].astype(np.int8),
            "mood": self.mood[user].astype(np.int16),
            "excitation": self.excitation[user].astype(np.float32),
            "satiation": self.satiation[user].astype(np.float32),
            "shown_before": self.shown[user].astype(np.int32),
        }
