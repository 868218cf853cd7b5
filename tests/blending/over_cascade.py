"""The cascade as a business: its ranked candidates with its fused score."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from reclab.blending.contract import Deadline, Offers
from reclab.cascade.pipeline import Cascade
from reclab.core.types import Request


@dataclass
class OverCascade:
    """Asks the cascade for a page of ``k``."""

    name: str
    cascade: Cascade

    def offer(self, requests: Sequence[Request], k: int, deadline: Deadline) -> Offers:
        longer = [replace(request, n=min(k, 100)) for request in requests]
        slates, _ = self.cascade.recommend_batch(longer)
        score = [np.nan_to_num(slate.columns["rank_score"], nan=0.0) for slate in slates]
        counts = np.array([len(slate) for slate in slates])
        ids = np.concatenate([slate.item_id for slate in slates])
        return Offers(counts, ids, np.concatenate(score).astype(np.float32))


def open_business(name: str) -> OverCascade:
    """What a server process opens: the tiny lab's cascade."""
    from reclab.lab import open_lab

    return OverCascade(name, open_lab("tiny", progress=False).trained)
