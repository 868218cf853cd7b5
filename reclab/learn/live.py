"""The reader's own component in the live cascade: their function in, a cascade out.

    mine = with_item_similarity(lab, item_similarity)      # exercise 2.1
    mine = with_mmr(lab, mmr)                              # exercise 2.2
    mine = with_target_attention(lab, target_attention)    # exercise 2.7
    mine = with_reserved_cut(lab, reserved_cut, share=0.1)   # exercise 2.8
    mine.recommend(request)

Simplified: industry would put the new version behind a flag and send it one user in a hundred.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from reclab.cascade.batch import Batch
from reclab.cascade.pipeline import Cascade
from reclab.cascade.pre_ranking.duties import OVER_QUOTA, RESERVED, DutiesConfig
from reclab.cascade.ranking.din import DIN, TargetAttention
from reclab.cascade.re_ranking.mmr import MMRConfig, dense, scaled, tag_vectors
from reclab.core.clock import HOUR_MS
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


# ---- the ranker's look at the past ---------------------------------------------------------

AttentionFunction = Callable[[Array, Array, Array, Callable[..., Array]], Array]
BLOCK = 1000  # candidates handed to the reader's function at once, which bounds its memory


def with_target_attention(
    lab: Lab, function: AttentionFunction, ranker: DIN | None = None
) -> Cascade:
    """The live cascade whose ranker (None = its own) looks at the past by the reader's
    ``target_attention(past, mask, target, weigh)``; all trained weights stay as they are."""
    ranker = copy.copy(ranker or lab.trained.parts.ranker)
    ranker.net = copy.copy(ranker.net)
    trained = ranker.net.attention
    ranker.net._modules = {**ranker.net._modules, "attention": OwnAttention(function, trained)}
    return lab.cascade.with_parts(ranker=ranker)


class OwnAttention(nn.Module):
    """DIN's attention with the sum taken by a function on arrays; ``weigh`` is the trained MLP."""

    def __init__(self, function: AttentionFunction, trained: TargetAttention) -> None:
        super().__init__()
        self.function, self.trained = function, trained
        self.weights = trained.weights  # what the plot of attention asks for

    def weigh(self, h: Array, t: Array, difference: Array, product: Array) -> Array:
        """(n, L, d) four times -> (n, L). The net has the difference within its other two terms."""
        net = self.trained
        past, target, both = (torch.tensor(a, dtype=torch.float32) for a in (h, t, product))
        with torch.inference_mode():
            hidden = net.past(past) + net.target(target) + net.product(both)
            return np.asarray(net.out(net.act(hidden.flatten(0, 1))).view(hidden.shape[:2]))

    def forward(self, past: Tensor, mask: Tensor, target: Tensor, request_row: Tensor) -> Tensor:
        """As the trained module does: past (B, L, d), mask (B, L) -> (n, d)."""
        found = [
            self.function(past[at].numpy(), mask[at].numpy(), mine.numpy(), self.weigh)
            for at, mine in zip(request_row.split(BLOCK), target.split(BLOCK), strict=True)
        ]
        summed = torch.tensor(np.concatenate(found), dtype=torch.float32)
        return summed / past.shape[1] ** 0.5


# ---- the duty to new items -----------------------------------------------------------------


def with_reserved_cut(
    lab: Lab, function: Callable[[Array, Array, int, float], Array], share: float = 0.1
) -> Cascade:
    """The live cascade whose pre-ranking cuts by ``reserved_cut(score, is_new, keep, share)``."""
    return lab.cascade.with_parts(duties=OwnDuty(function, share, lab.trained.parts.index))


@dataclass(frozen=True)
class OwnDuty:
    """Who goes first when pre-ranking cuts: those whom the reader's function keeps."""

    function: Callable[[Array, Array, int, float], Array]
    share: float
    index: ForwardIndex
    new_hours: float = DutiesConfig.new_hours

    def tiers(self, batch: Batch, candidates: Candidates, score: Array, keep: int) -> Array:
        """(n,) 0 for those that go on, 2 for the others."""
        is_new, starts = self.is_new(batch, candidates), candidates.starts()
        kept = np.zeros(len(candidates), bool)
        for a, b in zip(starts[:-1], starts[1:], strict=True):
            kept[a:b] = self.function(score[a:b], is_new[a:b], keep, self.share)
        return np.where(kept, RESERVED, OVER_QUOTA)

    def is_new(self, batch: Batch, candidates: Candidates) -> Array:
        """(n,) bool: published within the last ``new_hours``; nobody where that is not known."""
        if "publish_ms" not in self.index:
            return np.zeros(len(candidates), bool)
        publish = self.index.get(candidates.item_row, ["publish_ms"])["publish_ms"]
        age_ms = batch.time_ms[candidates.request_row] - publish
        return np.asarray(age_ms < self.new_hours * HOUR_MS)
