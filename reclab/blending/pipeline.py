"""The five steps of figure 2.1, in order.

    1  the server asks the Router            router.py, door.py
    2  the Router asks the businesses        Dispatch    in parallel, each with a deadline
    3  the businesses answer                 Collect     late ones are left out
    4  one heterogeneous candidate set       Check       what cannot be shown is dropped
    5  the page                              BlendPages  and back through the Router

Chapter 2, section 2.1.
Simplified: industry runs the blending service as a process of its own, behind one more RPC.
"""

from collections.abc import Callable, Mapping, Sequence

from reclab.blending.check import Check
from reclab.blending.experiment import Blend
from reclab.blending.fan_out import Collect, Dispatch
from reclab.blending.lane import Lane
from reclab.blending.page import BlendPages
from reclab.core.stage import Stage
from reclab.core.types import Array


def steps(
    lanes: Sequence[Lane],
    limit_ms: Mapping[str, float],
    rows_of: Callable[[Array], Array],
    blend: Blend,
    enough: float,
    grace_ms: float,
    now_ms: Callable[[], float],
) -> list[Stage]:
    """The boxes, in order; the first, the request, is what they are called with."""
    return [
        Dispatch(lanes, limit_ms),
        Collect(lanes, rows_of, enough, grace_ms, now_ms),
        Check(lanes),
        BlendPages(blend),
    ]
