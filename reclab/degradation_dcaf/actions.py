"""Actions (算力档位): what a request may be given, from the cheapest answer to the dearest.

    action j = a setting of the cascade,      q_j = what it costs, measured
    action -1 = no computing: the degraded path answers from its cache

Simplified: industry has such a ladder for each of its services, and moves them together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from reclab.core.types import Array


@dataclass(frozen=True)
class Action:
    """A setting: its name, and what of ``CascadeConfig`` it changes."""

    name: str
    config: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Costs:
    """What one request takes under each of m actions, and on the degraded path; all in ms.

    ``cpu_ms`` (m,) ascending, processor time in a busy server (batches), the models left out;
    ``model_ms`` (m,) the same for what the models take, which is the share a GPU would do;
    ``spread`` (m,) coefficient of variation of a request's time; ``degraded_ms`` of the degraded
    path, on the processor."""

    cpu_ms: Array
    model_ms: Array
    spread: Array
    degraded_ms: float

    @property
    def total_ms(self) -> Array:
        """(m,) q_j: all that an action takes."""
        return self.cpu_ms + self.model_ms
