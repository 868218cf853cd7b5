"""The degraded path as a pipeline, beside the live one: healthy answers fill its cache.

Chapter 2, section 2.4, figures 2.6 and 2.8.
Simplified: industry runs it as a service of its own, so that it stands when the live one falls.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from reclab.cascade.batch import Batch, read_batch
from reclab.cascade.filters import DuplicateFilter, SeenFilter
from reclab.cascade.stages import top_up
from reclab.core.pipeline import run
from reclab.core.stage import Stage
from reclab.core.types import Array, Request, Slate, Trace, slates_of
from reclab.degradation_dcaf.cache import DegradationCache
from reclab.degradation_dcaf.degraded_path import CachedRetrieval, Truncate
from reclab.stores.exposures import RecentExposures
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.user_features import UserFeatures


@dataclass(frozen=True)
class DegradedPath:
    """Answers from the cache. ``hot_pool(batch)`` gives (B, m) item rows for lists that stay short;
    ``filters`` are the rules of risk, block lists and compliance, as in the cascade."""

    cache: DegradationCache
    index: ForwardIndex
    users: UserFeatures
    hot_pool: Callable[[Batch], Array]
    exposures: RecentExposures | None = None
    filters: tuple[Stage, ...] = ()

    def stages(self) -> list[Stage]:
        """The boxes, in order."""
        return [
            CachedRetrieval(self.cache, self.index),
            DuplicateFilter(),
            SeenFilter(),
            *self.filters,
            Truncate(self.cache, self.index),
        ]

    def recommend(self, request: Request) -> tuple[Slate, Trace]:
        """The list for one request, and how it came about."""
        slates, trace = self.recommend_batch([request])
        return slates[0], trace

    def recommend_batch(self, requests: Sequence[Request]) -> tuple[list[Slate], Trace]:
        """The same for many requests at once."""
        if not requests:
            return [], Trace(())
        batch = read_batch(requests, self.users, self.index, self.exposures)
        kept, trace = run(self.stages(), batch, len(requests))
        kept, notes = top_up(batch, kept, lambda: self.hot_pool(batch))
        trace = replace(trace, notes=batch.notes + trace.notes + notes)
        return slates_of(requests, kept, self.index.ids), trace
