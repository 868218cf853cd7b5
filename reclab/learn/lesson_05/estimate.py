"""Exercise 5.4: who sees the creators' gain: a plain user split, or users and creators together?

x_c(a)    = exposures of creator c by the users of arm a, times n_users / n_users in a
reach(a)  = share of the creators of arm a with x_c(a) >= goal         (none of them left out)
effect    = reach(1) - reach(0)

In a plain split the creators are not divided: each is served to both arms and counted in both. What
the treated users give him makes him known, and the others show him too: the arms grow alike, and
their difference understates. Co-diverted, each arm is a small platform of its own.
Reference: Chen et al. 2025; Kohavi, Tang and Xu 2020, chapter 22 (interference between arms).

Simplified: ``experiment`` has one way to leak, being known; budgets that one arm empties leak the
other way. Half a platform is not a whole one: its counts, scaled up, are noisier around the goal.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe, array_difference

BOTH = -1  # a creator who is served to both arms
N_CREATORS, N_USERS = 1500, 400
GIFT = 6.0  # exposures a day that the creator side adds for each creator, were all users treated
GOAL = 120  # exposures in the experiment's twelve days
Estimate = Callable[[Array, Array, Array, Array, int], float]


def estimate(creator, user, creator_arm, user_arm, goal):
    """(n,) exposures; (n_creators,) arm 0, 1 or -1 = both; (n_users,) arm -> effect on reach."""
    reach = []
    for arm in (0, 1):
        mine = np.isin(creator_arm, (arm, -1))
        seen = creator[user_arm[user] == arm]
        count = np.bincount(seen, minlength=len(creator_arm))[mine]
        scale = len(user_arm) / (user_arm == arm).sum()  # as if all users were in this arm
        reach.append((count * scale >= goal).mean())
    return reach[1] - reach[0]


# ---- an experiment whose truth is known ----------------------------------------------------


@dataclass(frozen=True)
class Experiment:
    """``creator`` and ``user`` (n,) of its exposures, ``creator_arm``, ``user_arm``, and the
    ``goal``: the arguments of ``estimate``."""

    creator: Array
    user: Array
    creator_arm: Array
    user_arm: Array
    goal: int


def experiment(design: str, seed: int = 0, known: float = 0.5) -> Experiment:
    """Twelve days of 1,500 creators and 400 users. A creator's exposures of a day are Poisson:

        users of the arm / all users  *  (base + known * yesterday's exposures + GIFT if treated)

    ``design``: "plain" (users divided; yesterday's exposures are all there were), "co-diverted"
    (both divided; an arm knows its own creators by its own users, scaled up), "all" or "none"
    (nobody divided, everybody treated or nobody)."""
    chance = rng(seed, "exercise-5.4 experiment")
    user_arm = chance.permutation(N_USERS) % 2
    creator_arm = np.full(N_CREATORS, BOTH)
    if design == "co-diverted":
        creator_arm = chance.permutation(N_CREATORS) % 2
    if design in ("all", "none"):
        user_arm = np.full(N_USERS, int(design == "all"))
    base = 1.5 * np.minimum(0.2 + chance.pareto(1.5, N_CREATORS), 30.0)
    share = np.array([(user_arm == arm).mean() for arm in (0, 1)])[:, None]
    served = np.stack([np.isin(creator_arm, (arm, BOTH)) for arm in (0, 1)])
    gift, shown, rows = np.array([[0.0], [GIFT]]), np.zeros((2, N_CREATORS)), []
    for _ in range(12):
        own = shown / np.maximum(share, 1e-9)  # as if the arm were the whole platform
        yesterday = own if design == "co-diverted" else shown.sum(0)
        shown = chance.poisson(share * (base + known * yesterday + gift) * served).astype(float)
        for arm in (0, 1):
            creator = np.repeat(np.arange(N_CREATORS), shown[arm].astype(np.int64))
            who = np.flatnonzero(user_arm == arm)
            rows.append((creator, chance.choice(who, len(creator)) if len(who) else creator))
    creator, user = (np.concatenate(part) for part in zip(*rows, strict=True))
    return Experiment(creator, user, creator_arm, user_arm, GOAL)


def leak(answer: Estimate, seed: int = 0) -> dict[str, float]:
    """The truth (everybody treated against nobody), and what ``answer`` makes of both designs."""
    reach = []
    for design in ("none", "all"):
        e = experiment(design, seed)
        count = np.bincount(e.creator, minlength=len(e.creator_arm))
        reach.append(float((count >= e.goal).mean()))
    found = {"truth": reach[1] - reach[0]}
    for design in ("co-diverted", "plain"):
        e = experiment(design, seed)
        found[design] = float(answer(e.creator, e.user, e.creator_arm, e.user_arm, e.goal))
    return found


# ---- wrong ideas ---------------------------------------------------------------------------


def _reach(
    creator: Array, user: Array, creator_arm: Array, user_arm: Array, goal: int, arm: int,
    scaled: bool = True, own_users: bool = True, seen_only: bool = False, divided: bool = True,
    at_least: bool = True,
) -> float:  # fmt: skip
    rows = creator[user_arm[user] == arm] if own_users else creator
    mine = np.isin(creator_arm, (arm, BOTH)) if divided else np.ones(len(creator_arm), bool)
    count = np.bincount(rows, minlength=len(creator_arm))[mine]
    count = count[count > 0] if seen_only else count
    scale = len(user_arm) / (user_arm == arm).sum() if scaled else 1.0
    reached = count * scale >= goal if at_least else count * scale > goal
    return float(reached.mean()) if len(reached) else 0.0


def _both(**how: bool) -> Callable[..., float]:
    def wrong(c: Array, u: Array, creator_arm: Array, user_arm: Array, goal: int) -> float:
        reach = [_reach(c, u, creator_arm, user_arm, goal, arm, **how) for arm in (0, 1)]
        return reach[1] - reach[0]

    return wrong


def _sign(c: Array, u: Array, creator_arm: Array, user_arm: Array, goal: int) -> float:
    return -float(estimate(c, u, creator_arm, user_arm, goal))


def _ratio(c: Array, u: Array, creator_arm: Array, user_arm: Array, goal: int) -> float:
    low, high = (_reach(c, u, creator_arm, user_arm, goal, arm) for arm in (0, 1))
    return high / low - 1 if low else 0.0


def _mean(c: Array, u: Array, creator_arm: Array, user_arm: Array, goal: int) -> float:
    means = []
    for arm in (0, 1):
        mine = np.isin(creator_arm, (arm, BOTH))
        count = np.bincount(c[user_arm[u] == arm], minlength=len(creator_arm))[mine]
        means.append(count.mean() * len(user_arm) / (user_arm == arm).sum())
    return float(means[1] - means[0])


MISCONCEPTIONS = (
    Misconception(
        "the arms' sizes are left out",
        _both(scaled=False),
        "An arm holds only a part of the users, so its creators get only a part of their "
        "exposures. Scale by n_users / n_users of the arm, or no creator of a small arm ever "
        "reaches the goal.",
    ),
    Misconception(
        "creators nobody saw are forgotten",
        _both(seen_only=True),
        "Who got no exposure is in no row of the log, but he is a creator of his arm: the very one "
        "that the creator side is for. np.bincount(…, minlength=n_creators) keeps him.",
    ),
    Misconception(
        "exposures by all users",
        _both(own_users=False),
        "A treated creator is treated only where treated users see him. Count the exposures by the "
        "users of the same arm.",
    ),
    Misconception(
        "the creators' arms are not used",
        _both(divided=False),
        "In a co-diverted experiment a creator belongs to one arm. Only those of the arm, and "
        "those marked -1, are counted in it.",
    ),
    Misconception(
        "control minus treatment", _sign, "The effect is reach of arm 1 minus reach of arm 0."
    ),
    Misconception(
        "a ratio instead of a difference",
        _ratio,
        "Return the difference of the two shares, not their ratio.",
    ),
    Misconception(
        "mean exposure instead of reach",
        _mean,
        "A mean rises when one star gets more. Reach is the share of creators with at least `goal` "
        "exposures.",
    ),
    Misconception(
        "more than the goal",
        _both(at_least=False),
        "To reach 20 is to have 20 or more: >=, not >.",
    ),
)


def _small() -> tuple[Array, ...]:
    creator = np.array([0, 0, 0, 1, 1, 2, 0, 3, 3, 2])
    user = np.array([0, 1, 2, 0, 1, 3, 3, 2, 3, 2])
    return creator, user


def _random(n_users: int, share: float, divided: bool) -> tuple[Array, ...]:
    chance = rng(5, "exercise-5.4", n_users)
    user_arm = (chance.random(n_users) < share).astype(np.int64)
    arm = chance.integers(0, 2, 90) if divided else np.full(90, BOTH)
    creator = np.minimum(chance.geometric(0.05, 900) - 1, 89)
    return creator, chance.integers(0, n_users, 900), arm, user_arm


_ARMS = np.array([1, 1, 0, 0])
CASES = (
    Case("four creators, not divided", (*_small(), np.full(4, BOTH), _ARMS, 4)),
    Case("four creators, co-diverted", (*_small(), np.array([1, 1, 0, 0]), _ARMS, 4)),
    Case("some divided, some not", (*_small(), np.array([1, 0, BOTH, BOTH]), _ARMS, 2)),
    Case("one user in four is treated", (*_small(), np.full(4, BOTH), np.array([1, 0, 0, 0]), 4)),
    Case("nobody was shown", (*(np.zeros(0, np.int64),) * 2, np.full(4, BOTH), _ARMS, 1)),
    Case("90 creators, co-diverted", (*_random(60, 0.5, True), 8)),
    Case("90 creators, not divided, a tenth treated", (*_random(80, 0.1, False), 12)),
)


def effect_difference(value: Any, expected: float, *args: Any) -> str:
    """'' when the effects agree, else both."""
    wrong = array_difference(value, expected)
    return wrong.replace("Entry []: yours", "The effect: yours")


TASK = Task(
    id="5.4",
    title="The leak of a plain user split",
    asked="Write estimate(creator, user, creator_arm, user_arm, goal): the log's exposures are "
    "creator (n,) and user (n,), both as rows; user_arm (n_users,) is 1 for treated, 0 for "
    "control; creator_arm (n_creators,) is 1, 0, or -1 for a creator who is served to both arms. "
    "For each arm count, of its creators and of those marked -1, the exposures by the arm's own "
    "users, times n_users / n_users of the arm. Return the share with at least goal of them in arm "
    "1 minus that in arm 0. leak(estimate) of reclab.learn.lesson_05.estimate then runs it on both "
    "designs, beside the truth.",
    starter="def estimate(creator, user, creator_arm, user_arm, goal):\n"
    '    """(n,) exposures, arms of creators (-1 = both) and users -> effect on reach."""\n    ...',
    judge=Probe(
        estimate,
        CASES,
        MISCONCEPTIONS,
        effect_difference,
        praise="Now compare leak(estimate) with its truth.",
    ),
    hints=(
        "One arm first: which rows of the log count (user_arm[user] == arm), and which creators "
        "(arm or -1)?",
        "np.bincount(creator[rows], minlength=len(creator_arm)) has a count for each creator, 0 "
        "for those nobody saw. Multiply by len(user_arm) / (user_arm == arm).sum().",
        "reach = (count[mine] * scale >= goal).mean() for both arms; return reach[1] - reach[0].",
    ),
    solution=estimate,
    why="A plain split compares the same creators with themselves. What treated users do for them "
    "changes how they fare with the others, so control is no longer what the platform would be "
    "without: the difference of the arms is less than the gain. Dividing the creators too costs "
    "power, half of the creators in each arm, and gives an answer to the question asked.",
    limit_s=20.0,
)
