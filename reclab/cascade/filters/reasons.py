"""What all filters share: split by a mask, give the reason, and say when a request lost everything.

Simplified: industry also counts drops by reason over time, and alarms when a filter drops too many.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from reclab.core.stage import StageResult, split
from reclab.core.types import Array, Candidates


def drop(candidates: Candidates, keep: Array, reason: str) -> StageResult:
    """Split by the mask, with a note when a request loses the last of its candidates."""
    return _noted(candidates, split(candidates, keep, reason), reason)


def drop_because(candidates: Candidates, why: Array, reasons: Sequence[str]) -> StageResult:
    """Split where there are several reasons: ``why`` (n,) indexes ``reasons``, -1 = keep."""
    out = (why >= 0).nonzero()[0]
    lost = candidates.take(out).with_columns(reason=why.take(out).astype(np.int16))
    kept = candidates.take(why < 0) if len(out) else candidates
    return _noted(candidates, StageResult(kept, lost, tuple(reasons)), " or ".join(reasons))


def keep_all(candidates: Candidates, *reasons: str) -> StageResult:
    """Nothing is dropped, because what the filter would look at is not in the data."""
    return drop_because(candidates, np.full(len(candidates), -1), reasons)


def _noted(candidates: Candidates, result: StageResult, reason: str) -> StageResult:
    """The result, with a note naming the requests that have nothing left."""
    if not len(result.dropped):
        return result
    emptied = np.flatnonzero((candidates.counts() > 0) & (result.kept.counts() == 0))
    if not len(emptied):
        return result
    named = ", ".join(map(str, emptied[:5])) + (", ..." if len(emptied) > 5 else "")
    note = f"all candidates of {len(emptied)} requests were filtered ({reason}): request {named}"
    return replace(result, notes=(note,))
