"""Published (已发布过滤): what is published only after the request's time cannot be shown yet.

    keep = publish_ms <= now

Simplified: industry also drops what was taken down since; the logs tell of no taking down.
"""

from dataclasses import dataclass

from reclab.cascade.batch import Batch
from reclab.cascade.filters.reasons import drop, keep_all
from reclab.core.stage import StageResult
from reclab.core.types import Candidates
from reclab.stores.forward_index import ForwardIndex


@dataclass(frozen=True)
class PublishedFilter:
    """Drop what is published only after the request's time; a no-op where items have no
    ``publish_ms``."""

    index: ForwardIndex
    name: str = "published"

    def __call__(self, batch: Batch, candidates: Candidates) -> StageResult:
        if "publish_ms" not in self.index:
            return keep_all(candidates, "not yet published")
        publish = self.index.get(candidates.item_row, ["publish_ms"])["publish_ms"]
        out = publish <= batch.time_ms[candidates.request_row]
        return drop(candidates, out, "not yet published")
