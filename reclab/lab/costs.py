"""Why a cascade is not one model: value against arithmetic, for funnels of growing sizes and for
single models that are let loose on growing parts of the catalogue.

    cost of a cascade = search + sum_s given_s c_s        cost of one model on n items = n c

Simplified: multiply-adds stand in for money; a platform also pays for memory and for features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reclab.cascade.batch import read_batch
from reclab.cascade.re_ranking.mmr import MMRConfig
from reclab.core.types import Array, Candidates
from reclab.lab.experiments import lists_of
from reclab.lab.judge import best_lists, eligible, score_lists
from reclab.lab.lab import Lab
from reclab.lab.latency import funnel_sizes, stage_costs
from reclab.lab.panel import Score, exposures, pre_score, rank_score

FUNNELS = (
    (50, 20, 10),
    (100, 40, 15),
    (200, 80, 30),
    (500, 150, 50),
    (1000, 300, 100),
    (1500, 800, 200),
    (4000, 2000, 300),
)
PARTS = (0.01, 0.03, 0.1, 0.3, 1.0)
PLAIN = MMRConfig(lam=1.0, category_window=0, creator_window=0)


@dataclass(frozen=True)
class Spent:
    """What was computed in words, millions of multiply-adds a request, value as a share of the
    oracle's."""

    what: str
    mmac: float
    share: float


def cost_curves(lab: Lab, n: int = 30, split: str = "held_out") -> dict[str, list[Spent]]:
    """The cascade, the ranker alone and the pre-ranker alone, on the same requests, all without
    re-ranking, so that only the search differs. A single model scores the most exposed part of the
    catalogue first: it must start somewhere."""
    p, requests = lab.trained.parts, lab.requests(n, split)
    allowed = eligible(requests, p.users, p.index)
    gain = lab.judge.gains(split, n) * allowed
    curves = {"cascade": []}
    for retrieve, pre_rank, rank in FUNNELS:
        if retrieve > len(p.index):
            continue
        sizes = {"retrieve": retrieve, "pre_rank": pre_rank, "rank": rank}
        cascade = lab.trained.with_config(**sizes, mmr=PLAIN)
        traces = [cascade.recommend(request)[1] for request in requests]
        given = np.mean([funnel_sizes(trace) for trace in traces], axis=0)
        mmac = float(stage_costs(cascade, given).sum())
        share = score_lists(gain, lists_of(cascade, requests)).share
        curves["cascade"].append(Spent(f"{retrieve} → {pre_rank} → {rank}", mmac, share))
    models = {
        "ranker alone": (rank_score(p.ranker, p.fuse), p.ranker.macs_per_candidate),
        "pre-ranker alone": (pre_score(p.pre_ranker), p.pre_ranker.macs_per_candidate),
    }
    return curves | _alone(lab, models, gain, allowed, requests)


def _alone(
    lab: Lab,
    models: Mapping[str, tuple[Score, int]],
    gain: Array,
    allowed: Array,
    requests: Sequence,
) -> dict[str, list[Spent]]:
    """Each model on the most exposed part of the catalogue, growing to all of it."""
    place = np.argsort(np.argsort(-exposures(lab.trained), kind="stable"), kind="stable")
    curves = {}
    for name, (score, macs) in models.items():
        told, curves[name] = _everything(lab, score, allowed, requests), []
        for part in PARTS:
            most = max(10, round(part * len(place)))
            lists = best_lists(np.where(place < most, told, -np.inf))
            found = score_lists(gain, lists).share
            curves[name].append(Spent(f"{most:,} items", most * macs / 1e6, found))
    return curves


def _everything(lab: Lab, score: Score, allowed: Array, requests: Sequence) -> Array:
    """(B, n_items) float32 what a model says of every item that is allowed, -inf elsewhere."""
    p, told = lab.trained.parts, np.full(allowed.shape, -np.inf, np.float32)
    for b, request in enumerate(requests):
        rows = np.flatnonzero(allowed[b])
        candidates = Candidates(1, np.zeros(len(rows), np.int64), rows)
        told[b, rows] = score(read_batch([request], p.users, p.index), candidates)
    return told
