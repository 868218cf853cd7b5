"""The living platform in hours: the feed and its creator side act between, and truth is kept.

    a day = windows of a few hours; at the start of each the feed opens it, then every user whose
    next page falls in it is served, until the window is over

``worth`` of an exposure = P(long view) as the world has it, in the state of the session, at its
place on the page: what a long view would be without the luck of the draw.

Simplified: within a window the pages come round by round, as ``Platform`` has them.
"""

import numpy as np

from reclab.core.chance import rng
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.types import Array
from reclab.lab.dualrec_feed import TwoSidedFeed
from reclab.world import behaviour
from reclab.world.catalogue import AD
from reclab.world.platform import Chances, Platform
from reclab.world.traffic import session_starts
from reclab.world.visits import Visits


class TwoSidedPlatform(Platform):
    """``live(day)`` as ever, its impressions with ``worth`` besides."""

    window_hours = 4

    def _serve(self, day: int) -> None:
        if not isinstance(self.policy, TwoSidedFeed):
            return super()._serve(day)
        c, u = self.config, self.users
        chance = {k: rng(c.seed, k, day) for k in ("visit", "page", "click", "watch", "exit")}
        back = behaviour.p_return(c.behaviour, u.activity, self.satisfaction, self.habit)
        comes = (chance["visit"].random(len(u)) < back) & (u.join_day <= day) | (u.join_day == day)
        starts = session_starts(c.traffic, day, comes, u.activity, u.own_hour, chance["visit"])
        visits = Visits(
            c.traffic, starts, self.busy_until, self.theta, self.n_sessions, chance["visit"]
        )
        for hour in range(0, 24, self.window_hours):
            start = day * DAY_MS + hour * HOUR_MS
            self.policy.open_window(start, rng(c.seed, "window", day * 24 + hour))
            last = hour + self.window_hours >= 24  # sessions run on past midnight
            end = start + (2 * DAY_MS if last else self.window_hours * HOUR_MS)
            while len(user := np.flatnonzero(visits.now < end)):
                self._page(day, user, visits, chance)
        self.busy_until, self.n_sessions = visits.busy_until, visits.n_sessions

    def _answer(
        self, user: Array, item: Array, visits: Visits, chance: Chances
    ) -> dict[str, Array]:
        page = super()._answer(user, item, visits, chance)
        c, items, people = self.config.behaviour, self.catalogue, self.users
        ad = (items.business[item] == AD) * c.ad_tolerance
        bias = people.click_bias[user][:, None] + ad * (people.ad_tolerance[user][:, None] - 0.5)
        topic, creator = items.tags[item, 0], items.creator[item]
        lost = behaviour.page_fatigue(c, topic, creator, visits.shown[user])
        click = behaviour.p_click(page["affinity"], bias, lost)
        watched = behaviour.p_long_given_click(c, page["affinity"], items.duration_sec[item])
        page["worth"] = np.asarray(click * watched, np.float32)
        return page
