"""Who is split? Users alone, creators alone, or both together (用户作者联合分流).

    users      half of the users get matches; every creator's items are matched
    creators   half of the creators have theirs matched, with every user
    both       two small platforms (co-diverted): users of a half meet creators of that half
    truth      the whole platform with the creator side against the whole platform without

effect = treated / control - 1 of a ratio of sums. In the plain user split a creator counts for the
arm of the own account: both arms' creators live on the same pages, so that nothing is left of the
effect. In the creator split the treated items take places of the others, and leave the content
channel earlier, which gives the others places: too much or too little is found. Co-diverted halves
leak nothing, but each is a smaller market, where fewer items compete for a page and new ones get
through more easily, in the control too. None of this is in an interval.

Interval: 95 % of a bootstrap over creators (or users), the ratio estimated anew each time.

Reference: Su et al. 2024 (WSDM) on user-corpus co-diverted experiments; Mladenov et al. 2020.
Simplified: the halves are cut once for all days, in pairs alike by past activity; what one
creator's success costs the others of the same arm is in the truth but not in the interval.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from reclab.core.chance import rng
from reclab.core.errors import check, check_int
from reclab.core.types import Array
from reclab.lab.dualrec_days import (
    Arms,
    DualDaysConfig,
    Lived,
    common_days,
    everybody,
    live,
)
from reclab.lab.dualrec_feed import Groups
from reclab.lab.dualrec_sides import CreatorSideConfig
from reclab.lab.kept import kept
from reclab.lab.lab import Lab
from reclab.world.config import WorldConfig

DESIGNS = ("users", "creators", "both")
REACHED = 50  # exposures of a new item
CREATOR_REACHED = 300  # exposures of a creator
BY_CREATOR = ("new items reached", "creators reached", "creators active", "posts")
BY_USER = ("value a session", "days a user came")
OUTCOMES = BY_CREATOR + BY_USER
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class CoDivertedConfig:
    """An experiment on the living platform."""

    days: DualDaysConfig = field(default_factory=DualDaysConfig)
    """sizes and days"""
    side: CreatorSideConfig = field(default_factory=lambda: CreatorSideConfig(weight=0.3))
    """the creator side under test"""
    resamples: int = 400
    """bootstrap draws (100-2000)"""

    def __post_init__(self) -> None:
        check_int("CoDivertedConfig.resamples", self.resamples, 20, 100_000, "400")


@dataclass(frozen=True)
class Effect:
    """Treated against control, 0.1 = 10 % more: ``effect``, and the interval ``low`` to ``high``
    (NaN for the truth of one run)."""

    effect: float
    low: float
    high: float

    def holds(self, truth: float) -> bool:
        """Whether the interval covers ``truth``."""
        return self.low <= truth <= self.high


@dataclass(frozen=True)
class Experiments:
    """``effects`` by "seed/design/outcome", designs being DESIGNS and "truth"."""

    effects: dict[str, Effect]

    @property
    def seeds(self) -> list[str]:
        """The seeds, sorted."""
        return sorted({name.split("/")[0] for name in self.effects})

    def mean(self, design: str, outcome: str) -> tuple[float, float]:
        """Mean and half range over seeds of the estimates."""
        found = [self.effects[f"{seed}/{design}/{outcome}"].effect for seed in self.seeds]
        return float(np.mean(found)), (max(found) - min(found)) / 2

    def covered(self, design: str, outcome: str) -> int:
        """In how many seeds the interval holds the mean truth."""
        truth = self.mean("truth", outcome)[0]
        return sum(self.effects[f"{s}/{design}/{outcome}"].holds(truth) for s in self.seeds)

    def width(self, design: str, outcome: str) -> float:
        """Mean width of the intervals."""
        every = [self.effects[f"{seed}/{design}/{outcome}"] for seed in self.seeds]
        return float(np.mean([e.high - e.low for e in every]))

    def table(self) -> str:
        """Per cent: truth, and for each design the mean estimate, its half range over seeds, the
        width of the interval, and how many intervals hold the mean truth."""
        lines = [f"{'':<20}{'truth':>16}" + "".join(f"{d:>32}" for d in DESIGNS)]
        for outcome in OUTCOMES:
            mean, spread = self.mean("truth", outcome)
            line = f"{outcome:<20}{100 * mean:>+9.1f} ±{100 * spread:5.1f}"
            for design in DESIGNS:
                mean, spread = self.mean(design, outcome)
                line += f"{100 * mean:>+11.1f} ±{100 * spread:5.1f} "
                line += f"w{100 * self.width(design, outcome):6.1f} "
                line += f"{self.covered(design, outcome)}/{len(self.seeds)}"
            lines.append(line)
        return "\n".join(lines)


def in_pairs(like: Array, chance: np.random.Generator) -> Array:
    """(n,) bool: one of each two that are alike by ``like`` (n,), by a coin.

    >>> chosen = in_pairs(np.array([1.0, 9.0, 1.0, 9.0]), np.random.default_rng(0))
    >>> int(chosen[[0, 2]].sum()), int(chosen[[1, 3]].sum())
    (1, 1)
    """
    n = len(like)
    order = np.lexsort((chance.random(n), like))
    first = chance.random((n + 1) // 2) < 0.5
    chosen = np.zeros(n, bool)
    chosen[order] = np.stack([first, ~first], 1).ravel()[:n]
    return chosen


def halves(world: WorldConfig, design: str, comes: Array, made: Array) -> tuple[Arms, Array, Array]:
    """Arms of a design, and who is treated: users (n_users,) and creators (n_creators,) bool. In
    the user split a creator is treated whose own account is. ``comes`` (n_users,) and ``made``
    (n_creators,): by what the pairs are alike."""
    check(design in DESIGNS, "design", design, f"be among {', '.join(DESIGNS)}", "both")
    chance = rng(world.seed, "halves", DESIGNS.index(design))
    users, creators = in_pairs(comes, chance), in_pairs(made, chance)
    whole = everybody(world)
    if design == "users":
        return replace(whole, served=users), users, creators
    if design == "creators":
        return replace(whole, helped=creators), users, creators
    groups = Groups(users.astype(np.int64), creators.astype(np.int64))
    return Arms(groups, users, creators), users, creators


def parts(lived: Lived, made_before: Array, outcome: str) -> tuple[Array, Array]:
    """(n,) numerator and denominator of an outcome for each creator or user.

    Posts are taken against ``made_before`` (n_creators,), what each had made before the experiment,
    which tells the large from the small."""
    n = len(lived.posts)
    if outcome == "new items reached":
        reached = lived.item_exposures >= REACHED
        return np.bincount(lived.item_creator, reached, n), lived.posts.astype(float)
    found = {
        "posts": (lived.posts, made_before),
        "creators reached": (lived.exposures >= CREATOR_REACHED, np.ones(n)),
        "creators active": (lived.posted_late > 0, np.ones(n)),
        "value a session": (lived.worth, lived.visits),
        "days a user came": (lived.came, np.ones(len(lived.came))),
    }[outcome]
    return found[0].astype(float), found[1].astype(float)


def estimate(
    top: Array, bottom: Array, treated: Array, resamples: int, chance: np.random.Generator
) -> Effect:
    """Ratio of sums of the treated against the others', with the bootstrap over units (n,); NaN
    where the others have nothing."""
    arms = [(top[mine], bottom[mine]) for mine in (treated, ~treated)]
    rates = []
    for up, down in arms:
        n = len(up)
        weight = chance.multinomial(n, np.full(n, 1 / n), resamples)
        weight[0] = 1  # the first is the sample itself
        rates.append((weight @ up) / np.maximum(weight @ down, 1e-12))
    effect = _more(*rates)
    drawn = effect[1:][np.isfinite(effect[1:])]
    low, high = np.quantile(drawn, (0.025, 0.975)) if len(drawn) else (np.nan, np.nan)
    return Effect(float(effect[0]), float(low), float(high))


def _more(a: Array, b: Array) -> Array:
    """a / b - 1, NaN where the control has nothing."""
    return np.asarray(np.divide(a, b, out=np.full(len(a), np.nan), where=b > 0) - 1)


def experiment(
    config: CoDivertedConfig,
    seed: int,
    outcomes: Sequence[str] = OUTCOMES,
    say: Progress | None = None,
) -> dict[str, Effect]:
    """ "design/outcome" -> its effect, on one platform; the truth from two more runs of it."""
    say = say or (lambda fraction, text: None)
    platform, comes = common_days(config.days, seed)
    made = np.bincount(platform.catalogue.creator, minlength=len(platform.creators))
    whole, found = [], dict[str, Effect]()
    for n, side in enumerate((config.side, None)):
        say(n / 5, "whole platform")
        whole.append(live(platform, comes, config.days, side))
    for outcome in outcomes:
        sums = [[part.sum() for part in parts(one, made, outcome)] for one in whole]
        a, b = (np.array([top / max(bottom, 1e-12)]) for top, bottom in sums)
        found[f"truth/{outcome}"] = Effect(float(_more(a, b)[0]), np.nan, np.nan)
    for n, design in enumerate(DESIGNS):
        say((2 + n) / 5, f"split of {design}")
        arms, users, creators = halves(platform.config, design, comes, made)
        lived = live(platform, comes, config.days, config.side, arms)
        for outcome in outcomes:
            treated = creators if outcome in BY_CREATOR else users
            chance = rng(seed, f"bootstrap {design} {outcome}")
            effect = estimate(*parts(lived, made, outcome), treated, config.resamples, chance)
            found[f"{design}/{outcome}"] = effect
    return found


def kept_experiments(
    lab: Lab,
    seeds: Sequence[int] = (0, 1, 2),
    config: CoDivertedConfig | None = None,
    say: Progress | None = None,
) -> Experiments:
    """All designs on every seed's platform, each computed once for a lab (minutes)."""
    config, found = config or CoDivertedConfig(), dict[str, Effect]()
    side = config.side
    for seed in seeds:
        kind = f"co_diverted_{config.days.users}_{config.days.days}_{side.merge}_{side.weight:g}"

        def compute(seed: int = seed) -> dict[str, Effect]:
            return experiment(config, seed, say=say)

        for name, effect in kept(lab, f"{kind}_{seed}", Effect, compute).items():
            found[f"{seed}/{name}"] = effect
    return Experiments(found)
