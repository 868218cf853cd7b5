"""The platform: users, creators, catalogue and logging policy, and what happens to them in a day.

A day: tastes drift, creators post, the policy refreshes its lists, users come, and every step
serves one page to each user who is in a session. What was behind an exit was never shown. At night
creators and the policy see the day, and users decide whether they come back.

Reference: the parts named in ``reclab.world``.
Simplified: users do not meet each other; a page is one decision of the policy.
"""

from typing import Any

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
from reclab.world.records import Recorder, held_requests, log_tables
from reclab.world.traffic import session_starts, start_share
from reclab.world.truth import Truth
from reclab.world.users import drift, make_users
from reclab.world.visits import Visits

FOLLOW_SLOTS = 16  # creators that a user can follow
Chances = dict[str, np.random.Generator]


class Platform:
    """The state between days: call ``live(day)`` once a day, then ``truth()`` and ``logs()``."""

    def __init__(self, config: WorldConfig) -> None:
        seed, n = config.seed, config.n_users
        self.config = config
        hours = start_share(config.traffic)
        self.users = make_users(config.users, n, config.days, hours, seed)
        self.creators = make_creators(config.creators, config.n_creators, seed)
        self.catalogue = Catalogue(config.items, self.creators)
        self.catalogue.fill(config.n_items, rng(seed, "catalogue"))
        self.policy = LoggingPolicy(config.policy, self.catalogue, self.users.declared)
        self.records = Recorder()
        self.theta, self.theta_days = self.users.theta, list[Array]()
        follows = choose_follows(self.creators, self.theta, self.users.style, FOLLOW_SLOTS, seed)
        self.follows, self.follows_since = follows
        bias, typical = self.users.click_bias, config.users.click_bias
        self.habit = behaviour.first_habit(config.behaviour, bias, typical)
        self.satisfaction = self.habit.copy()
        self.busy_until = np.full(n, -1, np.int64)
        self.n_sessions = self.n_requests = 0
        last_two = (config.days - 2, config.days - 1)
        self.held: dict[int, list[dict[str, Array]]] = {day: [] for day in last_two}

    # -- a day ------------------------------------------------------------------------------

    def live(self, day: int) -> dict[str, Array]:
        """One day, from midnight to midnight; returns its impressions as columns."""
        seed = self.config.seed
        if day:
            self.theta = drift(self.config.users, self.theta, rng(seed, "drift", day))
        self.theta_days.append(self.theta.astype(np.float32))
        self.policy.refresh(day, rng(seed, "policy fit", day))
        self._post(day)
        self._serve(day)
        shown = self.records.close_day()
        self._react(day, shown)
        self._night(shown)
        return shown

    def _post(self, day: int) -> None:
        chance = rng(self.config.seed, "posts", day)
        made = np.bincount(self.catalogue.creator, minlength=len(self.creators))
        creator = self.creators.posts(self.config.posts_per_day, made, chance)
        when = day * DAY_MS + chance.integers(0, DAY_MS, len(creator))
        self.catalogue.post(creator, when, chance)

    def _serve(self, day: int) -> None:
        """One page to every user in a session, until nobody is left."""
        c, u = self.config, self.users
        chance = {k: rng(c.seed, k, day) for k in ("visit", "page", "click", "watch", "exit")}
        back = behaviour.p_return(c.behaviour, u.activity, self.satisfaction, self.habit)
        comes = (chance["visit"].random(len(u)) < back) & (u.join_day <= day) | (u.join_day == day)
        starts = session_starts(c.traffic, day, comes, u.activity, u.own_hour, chance["visit"])
        visits = Visits(
            c.traffic, starts, self.busy_until, self.theta, self.n_sessions, chance["visit"]
        )
        while len(user := visits.present()):
            self._page(day, user, visits, chance)
        self.busy_until, self.n_sessions = visits.busy_until, visits.n_sessions

    def _page(self, day: int, user: Array, visits: Visits, chance: Chances) -> None:
        """One page for each of ``user`` (n,): shown, judged, watched, perhaps left."""
        now, req = visits.now[user], self.n_requests + np.arange(len(user))
        self.n_requests += len(user)
        if day in self.held:
            self.held[day].append({"req_id": req, "user_row": user, **visits.state(user)})
        size = self.config.page_size
        item, channel, filled = self.policy.page(user, now, size, chance["page"])
        page = {"item": item, "channel": channel, **self._answer(user, item, visits, chance)}
        leave = (chance["exit"].random(item.shape) < page.pop("hazard")) & filled
        shown = filled & (np.cumsum(leave, 1) - leave == 0)
        page["position"] = np.cumsum(shown, 1) - shown
        self.policy.seen.add(user, item, shown)
        context = {"user": user, "time_ms": now, "req": req}
        context |= {"session": visits.session[user], "mobile": visits.mobile[user]}
        self.records.add(context, shown, page)
        weights = self.catalogue.weights[item]
        visits.feel(self.config.behaviour, user, weights, page["click"] & shown, shown)
        spent = ((page["seconds"] * shown).sum(1) * 1000.0).astype(np.int64)
        visits.move_on(user, spent, leave.any(1) | ~shown.any(1), chance["visit"])

    def _answer(
        self, user: Array, item: Array, visits: Visits, chance: Chances
    ) -> dict[str, Array]:
        """What users (n,) would do with items (n, K), and the hazard of leaving after each. In
        float64, so that no machine's rounding decides a click."""
        c, items, people = self.config.behaviour, self.catalogue, self.users
        affinity = self._affinity(user, item, visits)
        is_ad = items.business[item] == AD
        dislike = is_ad * (1.0 - people.ad_tolerance[user][:, None])
        bias = people.click_bias[user][:, None] + is_ad * (c.ad_tolerance * (0.5 - dislike))
        topic, creator = items.tags[item, 0], items.creator[item]
        lost = behaviour.page_fatigue(c, topic, creator, visits.shown[user])
        click = chance["click"].random(item.shape) < behaviour.p_click(affinity, bias, lost)
        duration = items.duration_sec[item].astype(np.float64)
        seconds, done = behaviour.watch_seconds(c, click, affinity, duration, chance["watch"])
        long_view = behaviour.is_long_view(click, seconds, duration)
        activity, mobile = people.activity[user][:, None], visits.mobile[user][:, None]
        hazard = behaviour.p_exit(c, long_view, click, dislike, activity, mobile)
        return {
            "affinity": affinity,
            "click": click,
            "seconds": seconds,
            "done": done,
            "long_view": long_view,
            "hazard": hazard,
        }

    def _affinity(self, user: Array, item: Array, visits: Visits) -> Array:
        """(n, K) logits of users (n,) for items (n, K) in their sessions."""
        c, items = self.config.behaviour, self.catalogue
        state = visits.mood[user], visits.excitation[user], visits.satiation[user]
        wish = behaviour.topic_wish(c, self.theta[user], *state)
        a = np.einsum("nt,nkt->nk", wish, items.weights[item])
        a += c.style * np.einsum("nd,nkd->nk", self.users.style[user], items.style[item])
        a += c.quality * items.quality[item] + np.array(c.business)[items.business[item]]
        same = items.creator[item][:, :, None] == self.follows[user][:, None, :]
        return np.asarray(a + c.follows * same.any(2))

    # -- the night --------------------------------------------------------------------------

    def _react(self, day: int, shown: dict[str, Array]) -> None:
        """Likes, comments, shares, follows and money of the day; new follows take effect."""
        chance = rng(self.config.seed, "reactions", day)
        self.records.react(self.config, shown, self.users, self.catalogue, chance)
        new = np.flatnonzero(shown["follow"])
        user, creator = shown["user"][new], self.catalogue.creator[shown["item"][new]]
        for u, k in zip(user, creator, strict=True):  # a few hundred a day
            free = np.flatnonzero(self.follows[u] < 0)
            if len(free) and k not in self.follows[u]:
                self.follows[u, free[0]], self.follows_since[u, free[0]] = k, day

    def _night(self, shown: dict[str, Array]) -> None:
        """The policy and the creators see the day; users compare it with their habit."""
        n, user, item = self.config.n_users, shown["user"], shown["item"]
        long_view = shown["long_view"].astype(np.float64)
        self.policy.learn(user, item, long_view)
        creator = self.catalogue.creator[item]
        self.creators.see_exposure(np.bincount(creator, minlength=len(self.creators)))
        count = np.bincount(user, minlength=n)
        came, away = count > 0, count == 0
        rate = np.bincount(user, long_view, minlength=n)[came] / count[came]
        self.satisfaction[came] = 0.5 * rate + 0.5 * self.habit[came]  # one day is noisy
        self.habit[came] += (1 - self.config.behaviour.habit_memory) * (rate - self.habit[came])
        self.satisfaction[away] += 0.3 * (self.habit[away] - self.satisfaction[away])

    # -- the end ----------------------------------------------------------------------------

    def logs(self) -> Logs:
        """What was logged of all days lived so far; empties the records."""
        return log_tables(self.config, self.records.all_rows(), self.users, self.catalogue)

    def truth(self) -> Truth:
        """What was true."""
        u, items, days = self.users, self.catalogue, self.config.days
        hidden: dict[str, Any] = {
            "user_style": u.style.astype(np.float32),
            "click_bias": u.click_bias.astype(np.float32),
            "ad_tolerance": u.ad_tolerance.astype(np.float32),
            "activity": u.activity.astype(np.float32),
            "price_sensitivity": u.price_sensitivity.astype(np.float32),
            "purchase": u.purchase.astype(np.float32),
            "item_style": items.style.copy(),
            "price_ratio": (items.price / self.config.items.price).astype(np.float32),
        }
        same = ("weights", "quality", "business", "duration_sec", "creator", "publish_ms")
        hidden |= {name: getattr(items, name).copy() for name in same}
        return Truth(
            self.config.behaviour,
            theta=np.stack(self.theta_days),
            follows=self.follows,
            follows_since=self.follows_since,
            **hidden,
            held_out=self._requests(days - 1),
            tuning=self._requests(days - 2),
        )

    def _requests(self, day: int) -> Table:
        ids = self.users.profile["user_id"]
        return held_requests(self.held[day], ids, day, rng(self.config.seed, "held", day))
