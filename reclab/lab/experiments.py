"""The measurements that lesson 02 makes: policies side by side, value against size, the trap.

Each is a pure function of a lab and returns numbers; the lesson plots and explains them, tests and
``python lab.py bench`` call the same functions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reclab.cascade.batch import read_batch
from reclab.cascade.pipeline import Cascade
from reclab.cascade.stages import Predictor
from reclab.core.chance import rng
from reclab.core.metrics import auc
from reclab.core.types import Array, Candidates, Request
from reclab.lab.judge import Score, TruthJudge, best_lists, eligible, score_lists
from reclab.lab.lab import Lab
from reclab.lab.panel import Replay, replay

CURVE = (20, 50, 100, 200, 400, 800, 1500)


def lists_of(cascade: Cascade, requests: Sequence[Request], chunk: int = 20) -> Array:
    """(B, 10) item rows that the cascade answers, -1 where a list is short."""
    lists = np.full((len(requests), 10), -1)
    for start in range(0, len(requests), chunk):
        slates, _ = cascade.recommend_batch(requests[start : start + chunk])
        for b, slate in enumerate(slates, start):
            lists[b, : len(slate)] = slate.item_row[:10]
    return lists


def first_eligible(item_row: Array, allowed: Array, k: int = 10) -> Array:
    """(B, k) the first allowed items of each row of (B, n) item rows, -1 padded."""
    ok = (item_row >= 0) & np.take_along_axis(allowed, np.maximum(item_row, 0), 1)
    order = np.argsort(~ok, axis=1, kind="stable")[:, :k]
    chosen = np.where(np.take_along_axis(ok, order, 1), np.take_along_axis(item_row, order, 1), -1)
    lists = np.full((len(item_row), k), -1)
    lists[:, : chosen.shape[1]] = chosen
    return lists


def compare(lab: Lab, n: int = 150, split: str = "held_out") -> dict[str, Score]:
    """What different policies' lists of ten are worth on the same requests.

    random; popular, item_cf and two_tower alone; the cascade; the oracle that does not know the
    session (simulated platform only); the oracle.
    """
    p, requests = lab.trained.parts, lab.requests(n, split)
    allowed = eligible(requests, p.users, p.index)
    gain = lab.judge.gains(split, n) * allowed
    batch = read_batch(requests, p.users, p.index)
    chance = rng(lab.seed, "random lists").random(gain.shape, np.float32)
    lists = {"random": best_lists(chance * allowed)}
    for channel in (p.popular, p.item_cf, p.two_tower):
        lists[channel.name] = first_eligible(channel.retrieve(batch, 1500)[0], allowed)
    lists["cascade"] = lists_of(lab.trained, requests)
    if isinstance(lab.judge, TruthJudge):
        usual = lab.judge.gains_without_session(split, n)
        lists["oracle without session"] = best_lists(usual * allowed)
    lists["oracle"] = best_lists(gain)
    return {name: score_lists(gain, found) for name, found in lists.items()}


def size_curves(lab: Lab, sizes: Sequence[int] = CURVE) -> dict[str, dict[int, Replay]]:
    """The funnel replayed with one size varied and the others as wide as it allows."""
    widest = replace(lab.trained.config, retrieve=1500, pre_rank=1500, rank=200)
    index = lab.trained.parts.index

    def run(**size: int) -> Replay:
        config = {"retrieve": 1500, "pre_rank": 1500, "rank": 200, **size}
        config["pre_rank"] = min(config["retrieve"], config["pre_rank"])
        config["rank"] = min(config["pre_rank"], config["rank"])
        return replay(lab.panel, replace(widest, **config), index)

    return {
        name: {size: run(**{name: size}) for size in (10, *sizes) if name == "rank" or size > 10}
        for name in ("retrieve", "pre_rank", "rank")
    }


@dataclass(frozen=True)
class Judged:
    """A ranker's AUC on logged rows it had not seen, and the value of its lists as a share of the
    oracle's by the number of candidates it was given."""

    auc: float
    share: Mapping[int, float]


def judge_ranker(
    lab: Lab, ranker: Predictor, sizes: Sequence[int], n: int = 40, split: str = "tuning"
) -> Judged:
    """Rank random candidate sets of growing size, and the logged rows of the split's day.

    The candidates are eligible items drawn at random, the smaller sets within the larger ones, so
    that a better list is always there to be found.
    """
    p, requests = lab.trained.parts, lab.requests(n, split)
    allowed = eligible(requests, p.users, p.index)
    gain = lab.judge.gains(split, n) * allowed
    best = np.take_along_axis(gain, best_lists(gain), 1).sum()
    score = np.full(gain.shape, -np.inf, np.float32)
    drawn = best_lists(rng(lab.seed, "drawn").random(gain.shape, np.float32) * allowed, max(sizes))
    for b, request in enumerate(requests):
        batch = read_batch([request], p.users, p.index)
        rows = drawn[b]
        candidates = Candidates(1, np.zeros(len(rows), np.int64), rows)
        score[b, rows] = p.fuse(ranker.predict(batch, candidates))
    share = {}
    for size in sizes:
        given = np.full(gain.shape, -np.inf, np.float32)
        np.put_along_axis(given, drawn[:, :size], 0.0, 1)
        top = best_lists(score + given)
        share[size] = float(np.take_along_axis(gain, top, 1).sum() / best)
    return Judged(logged_auc(lab, ranker, split), share)


def logged_auc(lab: Lab, ranker: Predictor, split: str = "tuning", most: int = 20_000) -> float:
    """AUC of the fused score for the main label on exposed rows after the training time."""
    p, log = lab.trained.parts, lab.logs.interactions
    first = int(min(r.time_ms for r in lab.requests(1000, split)))
    rows = np.flatnonzero(log["time_ms"] >= first)[:most]
    log = log.take(rows)
    main = "is_long_view" if "is_long_view" in log else "is_click"
    label = log[main] if main in log else np.ones(len(log), bool)
    key = log["user_id"] << 41 | log["time_ms"]
    order = np.argsort(key, kind="stable")
    _, first_of, owner = np.unique(key[order], return_index=True, return_inverse=True)
    users, times = log["user_id"][order][first_of], log["time_ms"][order][first_of]
    requests = [Request(int(u), int(t)) for u, t in zip(users, times, strict=True)]
    batch = read_batch(requests, p.users, p.index)
    item_row = p.index.rows(log["video_id"][order])
    candidates = Candidates(len(requests), owner, item_row)
    return auc(label[order], p.fuse(ranker.predict(batch, candidates)))
