"""The measurements that lesson 02 makes: policies side by side, value against size, the trap.

Each is a pure function of a lab and returns numbers; the lesson plots and explains them, tests and
``python lab.py bench`` call the same functions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reclab.cascade.batch import read_batch
from reclab.cascade.pipeline import CHANNELS, Cascade
from reclab.cascade.re_ranking.mmr import MMRConfig
from reclab.cascade.retrieval.merge import HOW
from reclab.cascade.stages import Predictor
from reclab.core.chance import rng
from reclab.core.clock import DAY_MS
from reclab.core.metrics import auc
from reclab.core.types import Array, Candidates, Request
from reclab.lab.judge import Score, TruthJudge, best_lists, eligible, score_lists
from reclab.lab.lab import Lab
from reclab.lab.latency import cost_of_ranking_everything, funnel_sizes, stage_costs
from reclab.lab.replay import Replay, replay

CURVE = (20, 50, 100, 200, 400, 800, 1500)
LAMBDAS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.3)
TRAP_SIZES = (10, 30, 100, 300, 1000, 3000, 10_000)


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
    """The funnel replayed with one size varied and the others as wide as it allows. The list is
    the best ten by score, so that what is seen is the sizes and not the price of diversity."""
    by_score = MMRConfig(lam=1.0, category_window=0, creator_window=0)
    widest = replace(lab.trained.config, retrieve=1500, pre_rank=1500, rank=200, mmr=by_score)
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
    """Rank the best ``size`` of the two-tower channel for growing sizes, and the logged rows of
    the split's day.

    The smaller sets lie within the larger ones: a better list is always there to be found.
    """
    p, requests = lab.trained.parts, lab.requests(n, split)
    allowed = eligible(requests, p.users, p.index)
    gain = lab.judge.gains(split, n) * allowed
    best = np.take_along_axis(gain, best_lists(gain), 1).sum()
    won = dict.fromkeys(sizes, 0.0)
    for b, request in enumerate(requests):
        batch = read_batch([request], p.users, p.index)
        found = p.two_tower.retrieve(batch, len(p.index))[0][0]
        rows = found[(found >= 0) & allowed[b, found]][: max(sizes)]
        candidates = Candidates(1, np.zeros(len(rows), np.int64), rows)
        score = p.fuse(ranker.predict(batch, candidates))
        for size in sizes:
            top = np.argsort(-score[:size], kind="stable")[:10]
            won[size] += float(gain[b, rows[:size][top]].sum())
    return Judged(logged_auc(lab, ranker, split), {k: float(v / best) for k, v in won.items()})


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


# ---- retrieval -----------------------------------------------------------------------------


def channels(lab: Lab, retrieve: int = 600) -> dict[str, float]:
    """Recall of the oracle's 100 best by each channel alone, by all, and by all but one, always
    with the same number of candidates."""
    panel, names = lab.panel, CHANNELS
    sets = {name: (name,) for name in names} | {"all": names}
    sets |= {f"all but {name}": tuple(n for n in names if n != name) for name in names}
    index = lab.trained.parts.index
    config = lab.trained.with_config(retrieve=retrieve, pre_rank=300).config
    return {
        words: float(replay(panel, replace(config, channels=asked), index).recall[0])
        for words, asked in sets.items()
    }


def merges(lab: Lab, retrieve: int = 600) -> dict[str, Replay]:
    """The funnel replayed for each way to merge the channels."""
    config = lab.trained.with_config(retrieve=retrieve).config
    index = lab.trained.parts.index
    return {how: replay(lab.panel, replace(config, merge=how), index) for how in HOW}


@dataclass(frozen=True)
class Reach:
    """Share of the oracle's 100 best that a channel finds: of all, of those younger than a day, and
    of all for users with at most FEW likes."""

    everybody: float
    new_items: float
    new_users: float


FEW = 3  # likes of a user who is still new


def reach(lab: Lab, k: int = 600, n: int = 100, pool: int = 2000) -> dict[str, Reach]:
    """What each channel alone finds with ``k`` candidates, and for whom."""
    p, pool = lab.trained.parts, pool if lab.has_truth else 400
    every = lab.requests(pool)
    likes = (read_batch(every, p.users, p.index).history >= 0).sum(1)
    new = np.flatnonzero(likes <= FEW)[:n]
    rows = np.concatenate([np.arange(min(n, len(every))), new])
    requests = [every[row] for row in rows]
    gain = _gains(lab, pool, rows) * eligible(requests, p.users, p.index)
    best = best_lists(gain, 100)
    worth = np.take_along_axis(gain, best, 1) > 0
    age_ms = np.array([r.time_ms for r in requests])[:, None] - _publish_ms(lab)[best]
    usual = np.arange(len(rows))[:, None] < len(rows) - len(new)
    groups = (worth & usual, worth & usual & (age_ms < DAY_MS), worth & ~usual)
    batch, found = read_batch(requests, p.users, p.index), {}
    for name in CHANNELS:
        mine = np.zeros((len(rows), len(p.index) + 1), bool)
        np.put_along_axis(mine, getattr(p, name).retrieve(batch, k)[0], True, 1)
        hit = np.take_along_axis(mine, best, 1)
        shares = (float((hit & group).sum() / max(1, group.sum())) for group in groups)
        found[name] = Reach(*shares)
    return found


def _gains(lab: Lab, pool: int, rows: Array) -> Array:
    """(n, n_items) gains of some of the first ``pool`` tuning requests."""
    if isinstance(lab.judge, TruthJudge):
        table = lab.judge.table("tuning", pool).take(rows)
        return np.asarray(lab.judge.truth.request_value(table, None))
    return lab.judge.gains("tuning", pool)[rows]


def _publish_ms(lab: Lab) -> Array:
    index = lab.trained.parts.index
    return index["publish_ms"] if "publish_ms" in index else np.zeros(len(index), np.int64)


# ---- cost ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """The cascade beside the ranker on the whole catalogue, on the same requests: value as a share
    of the oracle's, and millions of multiply-adds a request."""

    cascade_share: float
    everything_share: float
    cascade_mmac: float
    everything_mmac: float

    @property
    def times(self) -> float:
        """How many times the cascade's arithmetic ranking everything costs."""
        return self.everything_mmac / self.cascade_mmac


def cost_of_everything(lab: Lab, n: int = 20, split: str = "held_out") -> Cost:
    """Let the ranker score all items of ``n`` requests, and the cascade answer the same ones.

    Both lists are judged before re-ranking rules, so that only the search differs.
    """
    requests, p = lab.requests(n, split), lab.trained.parts
    allowed = eligible(requests, p.users, p.index)
    gain = lab.judge.gains(split, n) * allowed
    dear = np.full(gain.shape, -np.inf, np.float32)
    for b, request in enumerate(requests):
        rows = np.flatnonzero(allowed[b])
        candidates = Candidates(1, np.zeros(len(rows), np.int64), rows)
        batch = read_batch([request], p.users, p.index)
        dear[b, rows] = p.fuse(p.ranker.predict(batch, candidates))
    plain = MMRConfig(lam=1.0, category_window=0, creator_window=0)
    cascade = lab.trained.with_config(mmr=plain)
    spent = [cascade.recommend(request)[1] for request in requests]
    given = np.mean([funnel_sizes(trace) for trace in spent], axis=0)
    return Cost(
        score_lists(gain, lists_of(cascade, requests)).share,
        score_lists(gain, best_lists(dear)).share,
        float(stage_costs(cascade, given).sum()),
        cost_of_ranking_everything(cascade),
    )


def measure_sizes(lab: Lab) -> Callable[[dict[str, int]], tuple[float, float]]:
    """``measure({"retrieve": …, "pre_rank": …, "rank": …}) -> (value, cost)``, both as a share of
    the default funnel's."""
    index, config = lab.trained.parts.index, lab.trained.config
    full = replay(lab.panel, config, index)
    full_cost = stage_costs(lab.trained, full.given).sum()

    def measure(sizes: dict[str, int]) -> tuple[float, float]:
        done = replay(lab.panel, replace(config, **sizes), index)
        cost = stage_costs(lab.trained, done.given).sum()
        return done.share / full.share, float(cost / full_cost)

    return measure


# ---- ranking -------------------------------------------------------------------------------


def trap(lab: Lab, sizes: Sequence[int] = TRAP_SIZES) -> dict[str, Judged]:
    """One network trained in three ways: on exposed rows and static features; with sampled
    negatives too; and, as in the cascade, on features as of the request."""
    rankers = {**lab.static_rankers, "as-of features": lab.trained.parts.ranker}
    most = int(0.8 * len(lab.trained.parts.index))
    fitting = [size for size in sizes if size <= most]
    return {name: judge_ranker(lab, ranker, fitting) for name, ranker in rankers.items()}


# ---- re-ranking ----------------------------------------------------------------------------


def diversity_front(lab: Lab, lams: Sequence[float] = LAMBDAS) -> dict[float, Replay]:
    """The funnel replayed for each λ, without windows, so that λ alone acts."""
    config, index = lab.trained.config, lab.trained.parts.index
    free = replace(config.mmr, category_window=0, creator_window=0)
    return {
        lam: replay(lab.panel, replace(config, mmr=replace(free, lam=lam)), index) for lam in lams
    }


# ---- the reader's own parts ----------------------------------------------------------------


def beside(lab: Lab, cascades: Mapping[str, Cascade], n: int = 60) -> dict[str, Score]:
    """Several cascades on the same requests of the tuning day."""
    requests, p = lab.requests(n), lab.trained.parts
    gain = lab.judge.gains("tuning", n) * eligible(requests, p.users, p.index)
    return {name: score_lists(gain, lists_of(c, requests)) for name, c in cascades.items()}
