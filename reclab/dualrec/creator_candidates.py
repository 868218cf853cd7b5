"""D_u as candidates of the cascade: found by a channel, bound by the filters, scored by the ranker.

channel   D_u is one more retrieval channel, so that every filter of the cascade binds it
duties    pre-ranking and ranking keep it whatever its score: the user-side ranker gives it f
ranker    f and g stand beside the predictions, for the merge

Chapter 2, section 2.5: the user side's ranking is asked about what the creator side matched.
Simplified: industry ranks D_u in a call of its own, in parallel with the user side's.
"""

from dataclasses import dataclass

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.stages import Fuser, Predictor, Tiers
from reclab.core.types import Array, Candidates

CHANNEL = "creator_side"
LIFT = np.float32(1e6)
"""above every fused score: D_u is not cut off before the policy has spoken"""


@dataclass(frozen=True)
class CreatorSide:
    """D_u of B requests as arrays: ``rows`` (B, m) item rows, -1 padded, best g first; ``g``
    (B, m) float32, and what a quota goes by, ``behind`` (B, m)."""

    rows: Array
    g: Array
    behind: Array | None = None

    def beside(self, candidates: Candidates, values: Array) -> Array:
        """(n,) values of the candidates that are in D_u, NaN for the others."""
        own = self.rows[candidates.request_row] == candidates.item_row[:, None]
        at = own.argmax(1)
        found = np.take_along_axis(values[candidates.request_row], at[:, None], 1)[:, 0]
        return np.where(own[np.arange(len(own)), at], found, np.nan).astype(np.float32)


@dataclass(frozen=True)
class CreatorChannel:
    """D_u as a retrieval channel."""

    side: CreatorSide
    name: str = CHANNEL

    def retrieve(self, batch: Batch, k: int) -> tuple[Array, Array]:
        """(B, k') item rows, -1 padded, and their g."""
        return self.side.rows[:, :k], self.side.g[:, :k]


@dataclass(frozen=True)
class CreatorDuties:
    """Pre-ranking keeps D_u first, then what the cascade's own duties say."""

    side: CreatorSide
    others: Tiers | None = None

    def tiers(self, batch: Batch, candidates: Candidates, score: Array, keep: int) -> Array:
        """(n,) int8, 0 = first."""
        tier = np.ones(len(candidates), np.int8)
        if self.others:
            tier = self.others.tiers(batch, candidates, score, keep)
        tier[np.isfinite(self.side.beside(candidates, self.side.g))] = 0
        return tier


@dataclass(frozen=True)
class CreatorRanker:
    """The user side's ranker, with its fused score and g beside the predictions."""

    ranker: Predictor
    fuse: Fuser
    side: CreatorSide

    @property
    def macs_per_candidate(self) -> int:
        """The user-side ranker's."""
        return self.ranker.macs_per_candidate

    def predict(self, batch: Batch, candidates: Candidates) -> dict[str, Array]:
        """The ranker's targets, ``user_score`` and ``creator_score`` (NaN = not in D_u)."""
        targets = self.ranker.predict(batch, candidates)
        both = {"user_score": self.fuse(targets)}
        return {**targets, **both, "creator_score": self.side.beside(candidates, self.side.g)}


def lifted(targets: dict[str, Array]) -> Array:
    """The score that ranking cuts by: f, and above all others for D_u."""
    return targets["user_score"] + LIFT * np.isfinite(targets["creator_score"])
