"""The living platform under the flywheel's feed: what it sends to the log, and what is true of it.

    entries of topic features   a request, with the cards that were looked at, when it was answered
    entries of topic events     a report, when the gateway has it: late, as the world says
    quality = (v - v_random) / (v_oracle - v_random),   v = mean P(long view) of a page's cards

v_oracle: of the user's best unseen items, v_random: of all unseen ones; by the world's truth, in
the state of the session, for every fourth request.

Simplified: cards behind an exit are not in the feature log; no report is lost or doubled here.
"""

from typing import Any, NamedTuple

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.lab.flywheel_feed import FlywheelFeed
from reclab.offline_online.features import feature_log
from reclab.offline_online.gateway.tracking_schema import dump
from reclab.world import behaviour
from reclab.world.catalogue import AD
from reclab.world.config import WorldConfig
from reclab.world.platform import Chances, Platform
from reclab.world.records import feedback, interactions
from reclab.world.visits import Visits

EVERY = 4  # of so many requests one is measured
REPORT = ("req_id", "video_id", "user_id", "kind", "value", "event_ms", "report_ms")


class Sent(NamedTuple):
    """What a day gave to the log, each in order of its stamp: requests and their stamps (B,);
    events, their keys and stamps (m,)."""

    requests: list[feature_log.Served]
    time_ms: Array
    events: list[bytes]
    keys: list[str]
    report_ms: Array


class FlywheelPlatform(Platform):
    """``live(day)`` as ever; ``sent(day, shown)`` afterwards, once; ``quality()`` of the requests
    since the last call."""

    policy: FlywheelFeed

    def __init__(self, config: WorldConfig, retrieve: int, explore: float) -> None:
        super().__init__(config)
        self.held = {}
        self.policy = FlywheelFeed(self.policy, retrieve, explore)
        self._values: list[Array] = []

    # -- what is sent -------------------------------------------------------------------------

    def _page(self, day: int, user: Array, visits: Visits, chance: Chances) -> None:
        self.policy.req = self.n_requests + np.arange(len(user))
        self.policy.session, self.policy.network = visits.session[user], visits.mobile[user]
        super()._page(day, user, visits, chance)

    def sent(self, day: int, shown: dict[str, Array]) -> Sent:
        """The day's entries, from its impressions as columns."""
        requests = self._requests_of(shown)
        requests.sort(key=lambda one: one.time_ms)
        table = interactions(shown, self.users, self.catalogue)
        told = feedback(shown, table, rng(self.config.seed, "reports", day))
        columns = [told[name].tolist() for name in REPORT]
        names = ("app", "device_id", "event_id", *REPORT)
        events = [
            dump(dict(zip(names, ("app", 0, f"e{day:03}-{n:06}", *row), strict=True)))
            for n, row in enumerate(zip(*columns, strict=True))
        ]
        stamps = np.array([one.time_ms for one in requests], np.int64)
        return Sent(requests, stamps, events, list(map(str, columns[0])), told["report_ms"])

    def _requests_of(self, shown: dict[str, Array]) -> list[feature_log.Served]:
        pages, self.policy.pages = self.policy.pages, []
        n_cards = np.bincount(shown["req"], minlength=self.n_requests)
        user_id, found = self.users.profile["user_id"], list[feature_log.Served]()
        video_id = self.catalogue.table()["video_id"]
        for page in pages:
            cards = page.first(n_cards[page.req])
            position = np.arange(len(cards)) - cards.starts[:-1][cards.request_row]
            ids = page.req, user_id[page.user_row], page.session, page.time_ms, page.network
            found += feature_log.served(
                cards, *ids, video_id[cards.item_row], position, page.versions
            )
        return found

    # -- what is true -------------------------------------------------------------------------

    def quality(self) -> tuple[float, float, float]:
        """Mean v, v_oracle and v_random."""
        values, self._values = np.concatenate(self._values), []
        return tuple(values.mean(0).tolist())

    def _answer(
        self, user: Array, item: Array, visits: Visits, chance: Chances
    ) -> dict[str, Array]:
        some = np.flatnonzero(self.policy.req % EVERY == 0)
        if len(some):
            self._look(user[some], item[some], visits)
        return super()._answer(user, item, visits, chance)

    def _look(self, user: Array, item: Array, visits: Visits) -> None:
        every = np.broadcast_to(np.arange(len(self.catalogue)), (len(user), len(self.catalogue)))
        alive = every < self.catalogue.n_alive(visits.now[user])[:, None]
        value = self._p_long(user, every, visits)
        unseen = alive & ~self.policy.seen.has(user, every)
        size = item.shape[1]
        best = np.partition(np.where(unseen, value, 0.0), -size, axis=1)[:, -size:].mean(1)
        random = (value * unseen).sum(1) / np.maximum(unseen.sum(1), 1)
        mine = np.take_along_axis(value, item, 1).mean(1)
        self._values.append(np.stack([mine, best, random], 1))

    def _p_long(self, user: Array, item: Array, visits: Visits) -> Array:
        """(n, K) P(long view) at the first place of the page, in the state of the session."""
        c, items, people = self.config.behaviour, self.catalogue, self.users
        affinity = self._affinity(user, item, visits)
        ad = c.ad_tolerance * (people.ad_tolerance[user][:, None] - 0.5)
        bias = people.click_bias[user][:, None] + (items.business[item] == AD) * ad
        tired: Any = c.tiredness * visits.shown[user][:, None]
        click = behaviour.p_click(affinity, bias, tired)
        watched = behaviour.p_long_given_click(c, affinity, items.duration_sec[item])
        return np.asarray(click * watched)
