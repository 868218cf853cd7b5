"""Score order under windows (滑动窗口打散): the best card that the rules allow, place by place.

    next = argmax score_i  over the candidates that break no window

No likeness is weighed: variety comes from the rules alone, which is how most feeds began.
Reference: ``windows.py`` has the rules, and the search where greedy choices run into a dead end.
Simplified: industry keeps a table of such rules by page, business and user group.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reclab.cascade.re_ranking.mmr import Lists, MMRStage, mmr_batch
from reclab.cascade.re_ranking.windows import Rule
from reclab.core.types import Array


def in_windows(score: Array, k: int | Array, rules: Sequence[Rule] = ()) -> Lists:
    """Lists of k cards for B requests: ``score`` (B, n), -inf = no candidate.

    >>> in_windows(np.array([[9.0, 8, 1]]), 3, [Rule(np.array([[5, 5, 6]]), 2, 1)]).order.tolist()
    [[0, 2, 1]]
    """
    none = np.zeros((*score.shape, 0), np.float32)
    return mmr_batch(score.astype(np.float32), none, k, 1.0, rules)


@dataclass(frozen=True)
class ScoreOrderStage(MMRStage):
    """Re-rank by score under the windows: length, windows and score as ``MMRStage`` has them, its
    ``lam`` unused. ``with_parts(re_ranker=ScoreOrderStage)``."""

    def _choose(
        self, score: Array, vectors: Array, wanted: Array, rules: Sequence[Rule]
    ) -> tuple[Lists, float]:
        return in_windows(score, wanted, rules), 0.0
