"""The reader's own component in the live cascade: their function in, a cascade out.

    mine = with_item_similarity(lab, item_similarity)      # exercise 2.1
    mine = with_mmr(lab, mmr)                              # exercise 2.2
    mine.recommend(request)

Simplified: industry would put the new version behind a flag and send it one user in a hundred.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.pipeline import Cascade
from reclab.cascade.re_ranking.mmr import MMRConfig, dense, scaled, tag_vectors
from reclab.core.stage import StageResult, split
from reclab.core.types import Array, Candidates
from reclab.lab.lab import Lab, train_until
from reclab.stores.forward_index import ForwardIndex


def taken_matrix(lab: Lab, n_items: int = 3000) -> tuple[Array, Array]:
    """(users, m) float32 0/1 of who liked what before the training time, for the ``n_items``
    most-liked items, and the (m,) item rows of its columns."""
    liked = lab.logs.interactions.take(lab.logs.positive)
    liked = liked.take(liked["time_ms"] < train_until(lab))
    parts = lab.trained.parts
    item, user = parts.index.rows(liked["video_id"]), parts.users.rows(liked["user_id"])
    counts = np.bincount(item, minlength=len(parts.index))
    rows = np.sort(np.argsort(-counts, kind="stable")[:n_items])
    column = np.full(len(parts.index), -1)
    column[rows] = np.arange(len(rows))
    known = column[item] >= 0
    taken = np.zeros((len(parts.users), len(rows)), np.float32)
    taken[user[known], column[item[known]]] = 1.0
    return taken, rows


def with_item_similarity(
    lab: Lab, similarity: Callable[[Array], Array], n_items: int = 3000
) -> Cascade:
    """The live cascade whose item-to-item channel takes its neighbours from ``similarity``:
    (users, m) 0/1 -> (m, m)."""
    taken, rows = taken_matrix(lab, n_items)
    weights = np.nan_to_num(np.asarray(similarity(taken), np.float32))
    channel = lab.trained.parts.item_cf
    n = min(channel.config.neighbours, len(rows))
    best = np.argpartition(-weights, n - 1, axis=1)[:, :n]
    weight = np.take_along_axis(weights, best, 1)
    order = np.argsort(-weight, axis=1, kind="stable")
    weight = np.take_along_axis(weight, order, 1)
    ids = np.where(weight > 0, rows[np.take_along_axis(best, order, 1)], -1)
    return lab.cascade.with_parts(item_cf=channel.with_neighbours(rows, ids, weight))


def with_mmr(lab: Lab, function: Callable[[Array, Array, int, float], Array]) -> Cascade:
    """The live cascade that ends in the reader's ``mmr(score, similarity, k, lam)``."""
    return lab.cascade.with_parts(re_ranker=partial(OwnMMRStage, function))


@dataclass(frozen=True)
class OwnMMRStage:
    """A re-ranking stage around a function of one request's scores and similarities."""

    function: Callable[[Array, Array, int, float], Array]
    config: MMRConfig
    index: ForwardIndex
    name: str = "re_ranking"

    def __call__(self, batch: Batch, candidates: Candidates) -> StageResult:
        table = dense(candidates)
        score = scaled(candidates["rank_score"], table)
        tags = np.full((len(candidates), 1), -1)
        if "tags" in self.index:
            tags = self.index.get(candidates.item_row, ["tags"])["tags"]
        vectors = tag_vectors(tags, table)
        chosen = []
        for b, request in enumerate(batch.requests):
            n = int((table[b] >= 0).sum())
            alike = vectors[b, :n] @ vectors[b, :n].T
            k = min(n, max(self.config.keep, request.n))
            chosen.append(
                table[b, np.asarray(self.function(score[b, :n], alike, k, self.config.lam))]
            )
        order = np.concatenate(chosen).astype(np.int64)
        rest = np.setdiff1d(np.arange(len(candidates)), order)
        kept, lost = (
            candidates.take(order),
            split(candidates.take(rest), np.zeros(len(rest), bool), ""),
        )
        return StageResult(kept, lost.dropped, ("beyond the list",))
