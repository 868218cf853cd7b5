"""The boxes of the blending service, in order; the Router's steps before it come with the Router.

Chapter 2, section 2.1, figure 2.1.
Simplified: industry runs the blending service as a process of its own.
"""

from collections.abc import Sequence

from reclab.blending.service import BlendingService
from reclab.core.stage import Stage


def steps(service: BlendingService) -> Sequence[Stage]:
    """Calibrate, value, allocate."""
    return service.stages()
