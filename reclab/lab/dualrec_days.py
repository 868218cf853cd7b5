"""The world answers: 28 days under a user side alone, and with a creator side beside it.

    eight common days under the logging policy -> the same platform, copied -> a setting each

The user side has cold-start duties of its own (``dualrec_feed``: personal lists that score new
items by tags and creator, a content channel, followed creators, hot, random). Creators post by the
exposure they get and leave when starved; users return by what they saw. Controls: λ = 0, where D_u
gives candidates only, and untargeted injection of the same exposures a day.

ExpoReach(t) = share of the new items (posted in these days) or of the creators that got t exposures
in these days. Value = P(long view) of what was shown, by the world's truth.

Simplified: fifteen hundred users; what ``dualrec_feed`` and ``dualrec_sides`` say.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reclab.core.clock import DAY_MS
from reclab.core.errors import check, check_int
from reclab.core.metrics import gini, lorenz
from reclab.core.types import Array
from reclab.lab.dualrec_feed import CREATOR, Groups, TwoSidedFeed, UserSideConfig
from reclab.lab.dualrec_platform import TwoSidedPlatform
from reclab.lab.dualrec_sides import CreatorSide, CreatorSideConfig
from reclab.lab.kept import kept
from reclab.lab.lab import Lab
from reclab.world.config import WorldConfig

COMMON_DAYS = 8
ITEM_REACH = (10, 20, 50, 100, 200)
"""exposures of a new item"""
CREATOR_REACH = (100, 300, 1000, 3000)
"""exposures of a creator's items"""
SIZES = tuple(n / 10 for n in range(11))
"""quantiles of |D_u|"""
ALONE, UNTARGETED = "user side", "untargeted"
BOOSTS = (0.0, 0.1, 0.2, 0.3, 0.5)
SETTINGS: dict[str, CreatorSideConfig | None] = {
    ALONE: None,
    **{f"boost {weight:g}": CreatorSideConfig(weight=weight) for weight in BOOSTS},
    "quota 0.2": CreatorSideConfig("quota", 0.2),
    "quota 0.5": CreatorSideConfig("quota", 0.5),
    "mix 0.03": CreatorSideConfig("mix", 0.03),
    "mix 0.1": CreatorSideConfig("mix", 0.1),
    "boost 0.3, no pool": CreatorSideConfig(weight=0.3, capacity=200, active=0.0),
    UNTARGETED: CreatorSideConfig(UNTARGETED, 0.0),
    "more content": None,
    "bare": None,
    "bare, boost 0.3": CreatorSideConfig(weight=0.3),
}
"""boost 0 gives candidates only; other user sides by OWN"""
OWN = {
    "more content": UserSideConfig(content=0.2, new_exposures=100, new_days=7.0),
    "bare": UserSideConfig(content=0.0, social=0.0, newcomers=False),
}
"""twice the duties and no creator side; a user side to which new items come by chance alone"""
VOLUME_OF = "boost 0.3"
"""whose exposures a day the untargeted injection gets"""
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class DualDaysConfig:
    """Sizes of the simulation; items, creators and posts in the laptop's proportions to users."""

    users: int = 1500
    """people (200-5000)"""
    days: int = 28
    """days after the common ones (2-60)"""
    page: int = 6
    """cards of a page (3-20)"""

    def __post_init__(self) -> None:
        check_int("DualDaysConfig.users", self.users, 50, 100_000, "1500")
        check_int("DualDaysConfig.days", self.days, 1, 100, "28")
        check_int("DualDaysConfig.page", self.page, 3, 50, "6")

    def world(self, seed: int) -> WorldConfig:
        """The platform, at the laptop's proportions."""
        laptop = WorldConfig.at("laptop", seed)
        share = self.users / laptop.n_users
        return replace(
            laptop,
            scale="two sides",
            n_users=self.users,
            n_items=int(laptop.n_items * share),
            n_creators=int(laptop.n_creators * share),
            posts_per_day=laptop.posts_per_day * share,
            days=COMMON_DAYS + self.days,
            page_size=self.page,
        )


@dataclass(frozen=True)
class TwoSidedDays:
    """Every day of a setting, (days,) each unless said.

    Users: ``value`` true long views a session, ``value_card`` a card, ``sessions``, share of all
    users who ``came``, share of yesterday's who ``returned``. Exposures: ``total``, share of the
    creator side's (``creator_share``), ``gini_items`` of what is published and ``gini_creators``
    that day, ``lorenz`` (days, 21) the items' curve,
    ``reach`` (days, 5) of new items and ``creator_reach`` (days, 4) by ITEM_REACH and
    CREATOR_REACH so far, ``coverage`` share of the items posted yesterday with 10 exposures by
    midnight. Creators: ``posts``, share who posted within 7 days (``active``), share who left
    (``gone``). D_u: ``sizes`` (days, 11) quantiles over users at the last match, ``hit`` share of a
    day's matches whose user was served after the match."""

    value: Array
    value_card: Array
    sessions: Array
    came: Array
    returned: Array
    total: Array
    creator_share: Array
    gini_items: Array
    gini_creators: Array
    lorenz: Array
    reach: Array
    creator_reach: Array
    coverage: Array
    posts: Array
    active: Array
    gone: Array
    sizes: Array
    hit: Array


@dataclass(frozen=True)
class Lived:
    """The days and what became of each: creators' ``posts`` and ``exposures`` (n_creators,) in
    these days, ``posted_late`` in the last 7; users' true ``worth`` and ``cards`` seen, ``visits``
    (sessions) and days they ``came`` (n_users,); new items' creators and exposures."""

    days: TwoSidedDays
    posts: Array
    posted_late: Array
    exposures: Array
    worth: Array
    cards: Array
    visits: Array
    came: Array
    item_creator: Array
    item_exposures: Array


@dataclass(frozen=True)
class Arms:
    """Who takes part: ``groups`` see only each other; ``served`` (n_users,) bool get matches,
    ``helped`` (n_creators,) bool have theirs matched."""

    groups: Groups
    served: Array
    helped: Array


def everybody(world: WorldConfig) -> Arms:
    """One group, all served, all helped."""
    users, creators = np.zeros(world.n_users, np.int64), np.zeros(world.n_creators, np.int64)
    return Arms(Groups(users, creators), users == 0, creators == 0)


def common_days(config: DualDaysConfig, seed: int) -> tuple[TwoSidedPlatform, Array]:
    """The platform after the common days, and the share of them on which each user came."""
    platform = TwoSidedPlatform(config.world(seed))
    platform.held, came = {}, np.zeros(config.users)
    for day in range(COMMON_DAYS):
        came[np.unique(platform.live(day)["user"])] += 1
    platform.records._days.clear()
    return platform, came / COMMON_DAYS


def live(
    platform: TwoSidedPlatform,
    comes: Array,
    config: DualDaysConfig,
    side: CreatorSideConfig | None,
    arms: Arms | None = None,
    rates: Array | None = None,
    say: Progress | None = None,
    own: UserSideConfig | None = None,
) -> Lived:
    """A copy of the platform under one setting; ``rates`` (days,) replace the side's weight."""
    mine, say = copy.deepcopy(platform), say or (lambda fraction, text: None)
    arms = arms or everybody(mine.config)
    creator_side = CreatorSide(side, comes, arms.helped, arms.served) if side else None
    own = own or UserSideConfig()
    mine.policy = TwoSidedFeed(mine.policy, mine.follows, arms.groups, own, creator_side)
    book = _Book(mine, creator_side)
    for n in range(config.days):
        say(n / config.days, f"day {n + 1}")
        if rates is not None and creator_side:
            creator_side.weight = float(rates[n])
        shown = mine.live(COMMON_DAYS + n)
        mine.records._days.clear()
        book.write(COMMON_DAYS + n, shown)
    return book.close()


class _Book:
    """What is measured, day by day."""

    def __init__(self, platform: TwoSidedPlatform, side: CreatorSide | None) -> None:
        self.platform, self.side = platform, side
        self.first_new = len(platform.catalogue)
        n_users, n_creators = len(platform.users), len(platform.creators)
        self.rows: list[dict[str, object]] = []
        self.items = np.zeros(self.first_new, np.int64)
        self.exposures = np.zeros(n_creators, np.int64)
        self.last_post = np.full(n_creators, -(10**6))
        old = platform.catalogue
        np.maximum.at(self.last_post, old.creator, old.publish_ms // DAY_MS)
        self.worth, self.cards = np.zeros(n_users), np.zeros(n_users, np.int64)
        self.visits, self.came = np.zeros(n_users, np.int64), np.zeros(n_users, np.int64)
        self.yesterday = np.zeros(n_users, bool)

    def write(self, day: int, shown: dict[str, Array]) -> None:
        """Take a day in."""
        p, items = self.platform, self.platform.catalogue
        user, item = shown["user"], shown["item"]
        today = np.bincount(item, minlength=len(items))
        by_creator = np.bincount(items.creator[item], minlength=len(p.creators))
        self.items = np.pad(self.items, (0, len(items) - len(self.items))) + today
        self.exposures += by_creator
        posted = items.publish_ms // DAY_MS
        self.last_post[items.creator[posted == day]] = day
        came = np.bincount(user, minlength=len(p.users)) > 0
        session, owner = np.unique(shown["session"], return_index=True)
        self.worth += np.bincount(user, shown["worth"], len(came))
        self.cards += np.bincount(user, minlength=len(came))
        self.visits += np.bincount(user[owner], minlength=len(came))
        self.came += came
        returned = came[self.yesterday].mean() if self.yesterday.any() else np.nan
        fresh = self.items[posted == day - 1]
        new = self.items[self.first_new :]
        sizes, hit = np.zeros(len(SIZES)), np.nan
        if self.side is not None:
            sizes = np.quantile(self.side.sizes[self.side.served], SIZES)
            hit = self.side.hit_rate()
            self.side.see_day(came)
        here = (p.users.join_day <= day).sum()
        self.rows.append({
            "value": shown["worth"].sum(dtype=float) / len(session),
            "value_card": shown["worth"].mean(dtype=float),
            "sessions": len(session), "came": came.sum() / here, "returned": returned,
            "total": len(item), "creator_share": (shown["channel"] == CREATOR).mean(),
            "gini_items": gini(today), "gini_creators": gini(by_creator),
            "lorenz": lorenz(today, 21)[1],
            "reach": [float((new >= t).mean()) if len(new) else 0.0 for t in ITEM_REACH],
            "creator_reach": [float((self.exposures >= t).mean()) for t in CREATOR_REACH],
            "coverage": (fresh >= 10).mean() if len(fresh) else np.nan,
            "posts": (posted == day).sum(), "active": (self.last_post > day - 7).mean(),
            "gone": p.creators.gone.mean(), "sizes": sizes, "hit": hit,
        })  # fmt: skip
        self.yesterday = came

    def close(self) -> Lived:
        """All of it."""
        items, n = self.platform.catalogue, len(self.platform.creators)
        days = {name: np.array([row[name] for row in self.rows]) for name in self.rows[0]}
        made = items.creator[self.first_new :]
        late = items.publish_ms[self.first_new :] // DAY_MS >= COMMON_DAYS + len(self.rows) - 7
        return Lived(
            TwoSidedDays(**days), np.bincount(made, minlength=n),
            np.bincount(made[late], minlength=n), self.exposures, self.worth, self.cards,
            self.visits, self.came, made.copy(), self.items[self.first_new :],
        )  # fmt: skip


def live_days(
    config: DualDaysConfig,
    seed: int,
    names: Sequence[str] = tuple(SETTINGS),
    say: Progress | None = None,
) -> dict[str, TwoSidedDays]:
    """The same platform under each setting; ``UNTARGETED`` after ``VOLUME_OF``."""
    for name in names:
        check(name in SETTINGS, "setting", name, f"be among {', '.join(SETTINGS)}", ALONE)
    needs = UNTARGETED not in names or VOLUME_OF in names
    check(needs, "settings", names, f"have {VOLUME_OF!r} beside {UNTARGETED!r}", VOLUME_OF)
    platform, comes = common_days(config, seed)
    found: dict[str, TwoSidedDays] = {}
    for n, name in enumerate(sorted(names, key=list(SETTINGS).index)):
        rates = found[VOLUME_OF].creator_share if name == UNTARGETED else None
        own = OWN.get(name.split(",")[0])

        def mine(fraction: float, text: str, n: int = n, name: str = name) -> None:
            if say:
                say((n + fraction) / len(names), f"{name}, {text}")

        side = SETTINGS[name]
        found[name] = live(platform, comes, config, side, None, rates, mine, own).days
    return found


def kept_days(
    lab: Lab,
    seeds: Sequence[int] = (0, 1, 2),
    config: DualDaysConfig | None = None,
    say: Progress | None = None,
    names: Sequence[str] = tuple(SETTINGS),
) -> dict[str, TwoSidedDays]:
    """ "seed/setting" -> its days, each seed computed once for a lab (minutes)."""
    config, found = config or DualDaysConfig(), dict[str, TwoSidedDays]()
    for seed in seeds:
        kind = f"dualrec_days_{config.users}_{config.days}_{seed}"
        if tuple(names) != tuple(SETTINGS):
            kind += "_" + "_".join(name.replace(" ", "-") for name in names)

        def compute(seed: int = seed) -> dict[str, TwoSidedDays]:
            return live_days(config, seed, names, say)

        for name, days in kept(lab, kind, TwoSidedDays, compute).items():
            found[f"{seed}/{name}"] = days
    return found
