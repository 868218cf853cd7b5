"""The blending service (混排服务): from the businesses' candidates to the page, box by box.

    candidates -> p -> expected objectives -> value -> page

Chapter 2, section 2.1, figure 2.1, steps 4 and 5.
Simplified: industry also keeps a page stable when the user comes back to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reclab.blending.allocation.policy import AllocateStage, PagePolicy
from reclab.blending.allocation.priced_page import PricedPage
from reclab.blending.allocation.rules import EMPTY
from reclab.blending.calibration import CalibrateStage, ScoreCalibration
from reclab.blending.currency import Currency, Outcomes, ValueStage
from reclab.core.errors import DataError
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

    def boxes(self) -> Sequence[Stage]:
        """The boxes that a trace counts: what was sent, and the stages."""
        return [Collected(Candidates.empty(1)), *self.stages()]

    def blend(self, candidates: Candidates) -> tuple[Candidates, Trace]:
        """The cards of each request's page in their order, with the column ``slot``."""
        return run([Collected(candidates), *self.stages()], None, candidates.n_requests)

    def observe(self, kept: Candidates, now_ms: int) -> None:
        """Tell a policy with prices what was shown: cards as ``blend`` returned them."""
        if not isinstance(self.policy, PricedPage):
            raise DataError(f"{type(self.policy).__name__} learns nothing from what is shown "
                            "(PricedPage does)")  # fmt: skip
        pages = np.full((kept.n_requests, self.policy.rules.slots), EMPTY)
        pages[kept.request_row, kept["slot"]] = np.arange(len(kept))
        self.policy.observe(kept, pages, now_ms)
