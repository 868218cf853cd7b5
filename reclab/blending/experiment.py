"""Traffic split (实验分流): users fall into the arms of an experiment by a salted hash of their id.

    u = blake2b(user id, key = salt) / 2^64,      arm: between which ends of the shares u falls

A user stays in the arm for as long as the salt stays. Another salt deals anew, so that the arms of
two experiments are independent; with more of an arm's share, nobody leaves it but its neighbours.
Reference: Tang et al., Overlapping experiment infrastructure, KDD 2010.

Simplified: industry stacks layers of experiments, and splits by device for those who never log in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from reclab.core.errors import check, check_float
from reclab.core.types import Array, Candidates, Request

Blend = Callable[[Request, Candidates], Array]
"""(request, its candidates) -> (k,) their positions, first card first"""


@dataclass(frozen=True)
class Arm:
    """What users of an arm get otherwise; None = as everybody."""

    name: str
    share: float
    """share of the users (0-1)"""
    blend: Blend | None = None
    """the blending function"""
    businesses: tuple[str, ...] | None = None
    """the businesses that are asked"""


@dataclass(frozen=True)
class Experiment:
    """Arms whose shares add up to 1, under a salt: the experiment's name.

    >>> split = Experiment("weave-2", (Arm("control", 0.9), Arm("new", 0.1)))
    >>> arms = split.arm_of(np.arange(100_000))
    >>> float(np.round((arms == 1).mean(), 2))
    0.1
    """

    salt: str
    arms: Sequence[Arm]

    def __post_init__(self) -> None:
        check(bool(self.arms), "Experiment.arms", self.arms, "have at least one arm", "two arms")
        for arm in self.arms:
            check_float(f"Arm({arm.name!r}).share", arm.share, 0.0, 1.0, "0.5")
        total = sum(arm.share for arm in self.arms)
        check(abs(total - 1) < 1e-6, "sum of Arm.share", total, "be 1", "1")
        names = [arm.name for arm in self.arms]
        check(len({*names}) == len(names), "Arm.name", names, "differ from arm to arm", "a, b")

    def arm_of(self, user_ids: Array) -> Array:
        """(B,) user ids -> (B,) positions in ``arms``."""
        key = blake2b(self.salt.encode()).digest()
        texts = np.asarray(user_ids, "<i8").tobytes()
        hashed = b"".join(
            blake2b(texts[at : at + 8], digest_size=8, key=key).digest()
            for at in range(0, len(texts), 8)
        )
        ends = np.cumsum([arm.share for arm in self.arms])[:-1]
        return np.searchsorted(ends, np.frombuffer(hashed, "<u8") / 2.0**64, side="right")
