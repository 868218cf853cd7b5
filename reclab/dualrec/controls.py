"""Controls: what an injection costs and earns when it is not matched to anybody.

    shuffled   the matches with their users dealt anew: every item has as many users, every user as
               many items, every pair its score; only who gets what is chance

Served under the same quota, or put in the very places that the matched cards took
(``merge.SamePlaces``), it is untargeted injection of the same volume. D_u as candidates only is
``merge.Boost(lam=0)``.

Simplified: industry keeps such an arm small, since its users pay for it.
"""

from dataclasses import replace
from typing import TypeVar

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.dualrec.regroup import MatchColumns

ROUNDS = 20
Columns = TypeVar("Columns", bound=MatchColumns)


def shuffled(matches: Columns, seed: int) -> Columns:
    """Matches (a frozen dataclass of columns) with users dealt anew by chance. Where an item would
    come to a user twice, those pairs are dealt again, a few times; ``Regroup.put`` stores what is
    left of them once."""
    user, chance = np.array(matches.user_id), rng(seed, "untargeted matches")
    chance.shuffle(user)
    for _ in range(ROUNDS):
        twice = _twice(np.asarray(matches.item_id), user)
        if not len(twice):
            break
        other = chance.permutation(len(user))[: len(twice)]
        for i, j in zip(twice.tolist(), other.tolist(), strict=True):
            user[i], user[j] = user[j], user[i]
    return replace(matches, user_id=user)  # type: ignore[type-var]


def _twice(item: Array, user: Array) -> Array:
    """Positions of pairs that stand there before."""
    order = np.lexsort((user, item))
    same = (item[order][1:] == item[order][:-1]) & (user[order][1:] == user[order][:-1])
    return order[1:][same]
