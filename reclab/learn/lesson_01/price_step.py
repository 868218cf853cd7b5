"""Exercise 1.4: one step of the prices that hold a day's quotas.

    price' = clip(price + step * (used - allowed), 0, most)            used, allowed: shares, (n,)

A step of dual descent: a quota's price rises while more is used than is due, and falls to 0 where
the quota does not bind. A floor is a cap with the sign turned: used = -got, allowed = -due.
Reference: Balseiro, Lu and Mirrokni, Operations Research 2023; ``blending/allocation/prices.py``.

Simplified: industry shares one price among thousands of servers, which hear of it late.
"""

from collections.abc import Callable

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe


def price_step(price, used, allowed, step, most):
    """(n,) prices, shares used and allowed; step and largest price -> (n,) new prices."""
    return np.clip(price + step * (used - allowed), 0.0, most)


Step = Callable[[Array, Array, Array, float, float], Array]


def _sign(price: Array, used: Array, allowed: Array, step: float, most: float) -> Array:
    return np.clip(price - step * (used - allowed), 0.0, most)


def open_below(price: Array, used: Array, allowed: Array, step: float, most: float) -> Array:
    """Without the 0: a price that turns into a reward."""
    return np.minimum(price + step * (used - allowed), most)


def _open_above(price: Array, used: Array, allowed: Array, step: float, most: float) -> Array:
    return np.maximum(price + step * (used - allowed), 0.0)


def only_up(price: Array, used: Array, allowed: Array, step: float, most: float) -> Array:
    """A price that never falls."""
    return np.clip(price + step * np.maximum(used - allowed, 0), 0.0, most)


def _forgets(price: Array, used: Array, allowed: Array, step: float, most: float) -> Array:
    return np.clip(step * (used - allowed), 0.0, most)


def _no_step(price: Array, used: Array, allowed: Array, step: float, most: float) -> Array:
    return np.clip(price + (used - allowed), 0.0, most)


def fixed_step(price: Array, used: Array, allowed: Array, step: float, most: float) -> Array:
    """Up or down by the same amount, however far off."""
    return np.clip(price + step * np.sign(used - allowed), 0.0, most)


def _ratio(price: Array, used: Array, allowed: Array, step: float, most: float) -> Array:
    return np.clip(price * (1 + step * (used - allowed)), 0.0, most)


def _relative(price: Array, used: Array, allowed: Array, step: float, most: float) -> Array:
    off = (used - allowed) / np.where(allowed == 0, 1, allowed)
    return np.clip(price + step * off, 0.0, most)


MISCONCEPTIONS = (
    Misconception(
        "the sign",
        _sign,
        "Who uses more than allowed must become dearer: add step * (used - allowed). With the sign "
        "turned the over-used gets cheaper and is used still more.",
    ),
    Misconception(
        "prices below 0",
        open_below,
        "A quota that does not bind costs nothing, it is no reward: without the 0 a business under "
        "its cap is paid for being shown until it reaches the cap.",
    ),
    Misconception(
        "prices without an end",
        _open_above,
        "A quota that cannot be met today would drive its price up all day, and the price would "
        "take as long to come down: stop at most.",
    ),
    Misconception(
        "prices only rise",
        only_up,
        "An hour of too much leaves its price for the rest of the day, also when less is used than "
        "allowed. Let it fall as it rose.",
    ),
    Misconception(
        "the old price is forgotten",
        _forgets,
        "When use is right the error is 0, and so would be your price, and the quota breaks again. "
        "The price is what has gathered: add the step to it.",
    ),
    Misconception(
        "the step size is not used",
        _no_step,
        "Multiply the error by step: a whole share at once makes prices jump from end to end.",
    ),
    Misconception(
        "steps of one size",
        fixed_step,
        "Far off or nearly right, you move by the same amount, so the price never settles. The "
        "error itself says how far to go.",
    ),
    Misconception(
        "the price is multiplied",
        _ratio,
        "From a price of 0 a factor never gets away: a quota that begins to bind stays free.",
    ),
    Misconception(
        "the error relative to the quota",
        _relative,
        "Shares are compared as they are, used - allowed. Divided by what is allowed, small quotas "
        "swing, and an allowed share of 0 or below turns the sign.",
    ),
)


def _random(n: int) -> tuple[Array, Array, Array]:
    chance = rng(1, "exercise-1.4", n)
    return chance.uniform(0, 1, n), chance.uniform(0, 0.3, n), chance.uniform(0, 0.3, n)


def _of(*values: float) -> Array:
    return np.array(values)


CASES = (
    Case("one used too much, one too little", (_of(0.3, 0.3), _of(0.2, 0.1), _of(0.1, 0.2), 2, 3)),
    Case("used just as allowed", (_of(0.4, 0.0), _of(0.1, 0.2), _of(0.1, 0.2), 2.0, 3.0)),
    Case("a quota that begins to bind", (_of(0.0, 0.0), _of(0.2, 0.1), _of(0.1, 0.3), 2.0, 3.0)),
    Case("nearly free, and little used", (_of(0.05), _of(0.0), _of(0.2), 1.0, 3.0)),
    Case(
        "at the largest price, still too much", (_of(2.9, 1.0), _of(0.9, 0.9), _of(0.1, 0.1), 1, 3)
    ),
    Case("nothing is allowed any more", (_of(0.5, 0.0), _of(0.1, 0.0), _of(0.0, 0.0), 2.0, 3.0)),
    Case("a floor: the signs turned", (_of(0.2, 0.2), _of(-0.02, -0.2), _of(-0.1, -0.1), 2, 3)),
    Case("a step of 0", (_of(0.7), _of(0.9), _of(0.1), 0.0, 3.0)),
    Case("no quotas", (np.zeros(0), np.zeros(0), np.zeros(0), 1.0, 3.0)),
    Case("50 quotas", (*_random(50), 0.8, 1.2)),
)

TASK = Task(
    id="1.4",
    title="A price that holds a quota",
    asked="Write price_step(price, used, allowed, step, most): price (n,) of each quota, the "
    "shares of exposures used and allowed (n,) since the last step. Return (n,) new prices: raised "
    "by step times what was used beyond what is allowed, lowered where less was used, never "
    "below 0 and never above most. A floor comes as a cap with both shares below 0: treat it "
    "alike.",
    starter="def price_step(price, used, allowed, step, most):\n"
    '    """(n,) prices, shares used and allowed -> (n,) new prices."""\n    ...',
    judge=Probe(
        price_step,
        CASES,
        MISCONCEPTIONS,
        praise="Your prices can now run the day: watch the quota and the plot of the prices.",
    ),
    hints=(
        "A quota is used too much. Should it get dearer or cheaper, and by how much, if it is only "
        "a little too much?",
        "The price is a memory: the new one is the old one plus step * (used - allowed), quota by "
        "quota.",
        "np.clip(…, 0.0, most): a quota that does not bind is free, and a price that cannot help "
        "any more stops.",
    ),
    solution=price_step,
    why="Millions of pages share one quota, and none can see the others. A price tells each page "
    "what an exposure costs all the rest, so each can be solved alone; the step moves it until "
    "what is used is what is due. At rest either the quota is just met or its price is 0: the "
    "condition of an optimum, which is why so plain a rule comes near the best day there could be.",
    limit_s=10.0,
)
