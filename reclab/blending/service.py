"""The blending service (混排服务): from the businesses' candidates to the page, box by box.

Chapter 2, section 2.1, figure 2.1, steps 4 and 5.
Simplified: industry also keeps a page stable when the user comes back to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reclab.blending.allocation.policy import AllocateStage, PagePolicy
from reclab.blending.calibration import CalibrateStage, ScoreCalibration
from reclab.blending.currency import Currency, Outcomes, ValueStage
from reclab.core.pipeline import run
from reclab.core.stage import Stage, StageResult
from reclab.core.types import Candidates, Trace


@dataclass(frozen=True)
class Collected:
    """The first box: what the businesses have sent, with ``business``, ``score``, ``creator``."""

    candidates: Candidates
    name: str = "candidates"

    def __call__(self, batch: Any, candidates: Candidates) -> StageResult:
        return StageResult(self.candidates, Candidates.empty(self.candidates.n_requests))


@dataclass(frozen=True)
class BlendingService:
    """Candidates of all businesses in, pages out."""

    calibration: ScoreCalibration
    outcomes: Outcomes
    currency: Currency
    policy: PagePolicy

    def stages(self) -> Sequence[Stage]:
        """The boxes, in order."""
        return [
            CalibrateStage(self.calibration),
            ValueStage(self.outcomes, self.currency),
            AllocateStage(self.policy),
        ]

    def blend(self, candidates: Candidates) -> tuple[Candidates, Trace]:
        """The cards of each request's page in their order, with the column ``slot``."""
        return run([Collected(candidates), *self.stages()], None, candidates.n_requests)
