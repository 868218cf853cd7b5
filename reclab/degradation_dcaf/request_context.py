"""Request context (请求上下文): what is known of a request before anything is retrieved.

    numbers   the user's interests by tag, in all and in this session, rates, how much was seen
    vectors   what both towers make of the user: they are computed for every answer anyway
    probe     the pre-ranker's scores of a thousand items spread over the catalogue, sorted:
              how good the head is for this user, and how fast it falls

The value of computing is decided from these. On the tuning day the candidates of a first small
retrieval told hardly more, and that retrieval must be paid for; the user's numbers alone told less.

Simplified: industry adds what the last answers of the session predicted, and what came of it.
"""

import numpy as np
from scipy.special import expit

from reclab.cascade.batch import Batch
from reclab.cascade.pipeline import Cascade
from reclab.cascade.ranking.statistics import KINDS
from reclab.core.clock import DAY_MS
from reclab.core.types import Array, Candidates

PROBE = 1000  # items that the pre-ranker scores
HEADS = (1, 3, 5, 10, 25, 50, 100, 200)  # how deep the profile looks
STRONGEST = 3  # interests of each kind that are also given by strength
OWN = ("log_seen", "history", "network", "hour_sin", "hour_cos")


def context_names(cascade: Cascade) -> tuple[str, ...]:
    """Names of the columns of ``context_of``."""
    p = cascade.parts
    profile = [f"probe_{what}_{k}" for what in ("sum", "score") for k in HEADS]
    strongest = [f"strongest_{kind}_{n}" for kind in KINDS for n in range(_n_strongest(cascade))]
    sizes = {"pre_rank": p.pre_ranker.config.dim, "retrieval": p.two_tower.config.dim}
    vectors = [f"{tower}_{n}" for tower, dim in sizes.items() for n in range(dim)]
    return (*p.features.names["request"], *strongest, *OWN, *profile, *vectors)


def context_of(cascade: Cascade, batch: Batch) -> Array:
    """(B, f) float32, a column for each of ``context_names``. Unknown users have the numbers of
    somebody of whom nothing is known; nothing is NaN."""
    p = cascade.parts
    asked = p.features.for_batch(batch, Candidates.empty(len(batch)))
    user, query = p.pre_ranker.users(batch), p.two_tower.users(batch)
    hour = 2 * np.pi * (batch.time_ms % DAY_MS) / DAY_MS
    own = [np.log1p(np.diff(batch.seen_starts)), (batch.history >= 0).sum(1), batch.network]
    by_tag = asked.request[:, : len(KINDS) * _n_tags(cascade)].reshape(len(batch), len(KINDS), -1)
    strongest = -np.sort(-by_tag, axis=2)[:, :, : _n_strongest(cascade)]
    columns = [
        asked.request,
        strongest.reshape(len(batch), -1),
        np.stack([*own, np.sin(hour), np.cos(hour)], 1),
        _profile(cascade, batch, user),
        user[:, :-1],  # the last entry is 1, for the item's bias
        query[:, :-1],
    ]
    return np.concatenate(columns, 1, dtype=np.float32)


def _n_tags(cascade: Cascade) -> int:
    """Tags whose interests the features hold."""
    features = cascade.parts.features
    return features.statistics.catalogue.n_tags if features.config.with_statistics else 0


def _n_strongest(cascade: Cascade) -> int:
    return min(_n_tags(cascade), STRONGEST)


def _profile(cascade: Cascade, batch: Batch, user: Array) -> Array:
    """(B, 2 len(HEADS)) sums of the likeliest long views of the probe, and logits by rank."""
    p = cascade.parts
    rows = np.linspace(0, len(p.index) - 1, min(PROBE, len(p.index))).astype(np.int64)
    score = user @ p.pre_ranker.stored.rows(rows).T + p.pre_ranker.net.base.numpy()
    if "publish_ms" in p.index:
        score[p.index["publish_ms"][rows][None] > batch.time_ms[:, None]] = -20.0
    deep = min(HEADS[-1], len(rows))
    score = -np.partition(-score, deep - 1, axis=1)[:, :deep]
    score = -np.sort(-score, axis=1)
    at = np.minimum(np.array(HEADS), deep) - 1
    return np.concatenate([np.cumsum(expit(score), axis=1)[:, at], score[:, at]], 1)
