"""The runner: a literal list of stages, run in order, each one measured and traced."""

from collections.abc import Sequence
from typing import Any

from reclab.core.clock import Stopwatch
from reclab.core.errors import DataError
from reclab.core.stage import Stage
from reclab.core.types import Candidates, StageTrace, Trace


def run(stages: Sequence[Stage], batch: Any, n_requests: int) -> tuple[Candidates, Trace]:
    """Run a batch through the stages, from no candidates to the last kept ones.

    The runner, not the stage, records name, sizes, time and cost, and checks that a stage which
    does not retrieve accounts for every candidate it was given.
    """
    candidates = Candidates.empty(n_requests)
    traces: list[StageTrace] = []
    notes: list[str] = []
    for stage in stages:
        with Stopwatch() as watch:
            result = stage(batch, candidates)
        n_in, n_out = len(candidates), len(result.kept) + len(result.dropped)
        if n_in and n_out != n_in:
            raise DataError(f"stage {stage.name!r} got {n_in} candidates and accounts for {n_out}")
        traces.append(
            StageTrace(
                stage.name,
                n_in or n_out,
                len(result.kept),
                watch.ms,
                result.cost_mmac,
                result.dropped,
                result.reasons,
            )
        )
        notes.extend(result.notes)
        candidates = result.kept
    return candidates, Trace(tuple(traces), tuple(notes))
