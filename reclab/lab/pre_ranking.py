"""Pre-ranking measured: three models taught in two ways, and three precisions.

All on the panel of the tuning day: a pre-ranker is an order of the panel's items, so the rest of
the funnel is replayed behind it, and the list of ten is judged as ever. What decides is what the
ranker would have wanted: recall = share of its 100 best candidates that are among those kept.

Simplified: a team would also compare the latency under load.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from reclab.cascade.batch import read_batch
from reclab.cascade.pipeline import CascadeConfig
from reclab.cascade.pre_ranking.precision import PRECISIONS
from reclab.cascade.pre_ranking.shallow import ShallowPreRanker
from reclab.cascade.pre_ranking.three_tower import ThreeTowerPreRanker
from reclab.cascade.pre_ranking.two_tower import PreRanker, PreRankerConfig, distilled
from reclab.cascade.ranking.training import training_samples
from reclab.core.types import Array, Candidates
from reclab.lab.cache import built
from reclab.lab.lab import Lab, Progress, progress_bar
from reclab.lab.panel import CHUNK, Panel
from reclab.lab.replay import best_by_rank, clean_candidates, pre_ranked, replay

MODELS = (PreRanker, ShallowPreRanker, ThreeTowerPreRanker)
WAYS = ("log", "ranker")
"""who teaches: what happened to exposed rows, or what the ranker says of those and of others"""

NARROW = 50  # candidates kept where the pre-ranker, not the ranker, decides


def config_of(way: str, max_rows: int = 300_000, seed: int = 0) -> PreRankerConfig:
    """Equal rows, network and steps for all. The log says nothing of items that were not shown; a
    ranker does, so its pupils also see some drawn ones."""
    negatives = "exposed" if way == "log" else "sampled"
    train = replace(PreRankerConfig().train, max_rows=max_rows, negatives=negatives, seed=seed)
    return PreRankerConfig(train=train)


# ---- three models, two teachers ------------------------------------------------------------


def pre_rankers(
    lab: Lab, max_rows: int = 300_000, progress: bool | Progress = False
) -> dict[str, PreRanker]:
    """The three pre-rankers, each taught by the log and by the ranker: trained once (under a
    minute), then read from the cache. ``lab.cascade.with_parts(pre_ranker=…)`` puts one in."""
    p = lab.trained.parts
    version = lab.models_folder.name.removeprefix(f"models-{lab.scale}-{lab.seed}-")

    def build(folder: Path) -> None:
        with progress_bar(f"pre-rankers ({lab.scale}, seed {lab.seed})", progress) as say:
            for w, way in enumerate(WAYS):
                config = config_of(way, max_rows)
                samples = training_samples(lab.logs, p.features, config.train, p.until_ms)
                if way == "ranker":
                    samples = distilled(samples, p.ranker)
                for m, model in enumerate(MODELS):
                    say((w * 3 + m) / 6, f"{model.name}, taught by the {way}")
                    one = model(config).fit_samples(samples, p.features)
                    one.refresh(p.until_ms or int(lab.logs.interactions["time_ms"][-1]) + 1)
                    one.save(folder / way)

    where = built(f"pre-rankers-{lab.scale}-{lab.seed}-{max_rows}", version, build)
    return {
        f"{model.name}, {way}": model.load(where / way, p.features, config_of(way, max_rows))
        for way in WAYS
        for model in MODELS
    }


@dataclass(frozen=True)
class PreRanked:
    """``recall`` of the ranker's best (as many as it keeps) among the candidates kept; ``share``:
    value of the list as a share of the oracle's, ``narrow``: if only NARROW are kept; ``macs``
    multiply-adds and ``us`` microseconds a candidate, features of the pair included."""

    recall: float
    share: float
    narrow: float
    macs: int
    us: float


def compare_pre_rankers(lab: Lab, models: Mapping[str, PreRanker]) -> dict[str, PreRanked]:
    """Each model in the place of the cascade's, on the panel of the tuning day."""
    config, index = lab.trained.config, lab.trained.parts.index
    clean, found = clean_candidates(lab.panel, config), {}
    for name, model in models.items():
        panel = lab.panel.pre_ranked_by(pre_scores(lab, model, clean))
        recall = recall_of_ranker(panel, config)
        few = replace(config, pre_rank=NARROW, rank=min(NARROW, config.rank))
        share, narrow = (replay(panel, c, index).share for c in (config, few))
        us = us_a_candidate(lab, model)
        found[name] = PreRanked(recall, share, narrow, model.macs_per_candidate, us)
    return found


def pre_scores(lab: Lab, model: PreRanker, wanted: Array) -> Array:
    """(E, U) scores of the panel's items where ``wanted``, -inf elsewhere."""
    p, rows = lab.trained.parts, lab.panel.item_row
    requests, score = lab.requests(len(rows)), np.full(rows.shape, -np.inf)
    for at in range(0, len(rows), CHUNK):
        part = slice(at, at + CHUNK)
        batch = read_batch(requests[part], p.users, p.index)
        score[part][wanted[part]] = model.score(batch, candidates_of(rows[part], wanted[part]))
    return score


def recall_of_ranker(panel: Panel, config: CascadeConfig) -> float:
    """Share of the ranker's ``config.rank`` best candidates that pre-ranking keeps."""
    clean = clean_candidates(panel, config)
    best = best_by_rank(panel, clean, config.rank)
    return float(pre_ranked(panel, clean, config.pre_rank).take(best).sum() / max(1, len(best)))


def candidates_of(item_row: Array, there: Array) -> Candidates:
    """(E, U) item rows as candidates, where the mask is true."""
    return Candidates(len(item_row), np.nonzero(there)[0], item_row[there].astype(np.int64))


def us_a_candidate(lab: Lab, model: PreRanker, n: int = 1000, n_requests: int = 15) -> float:
    """Median microseconds that one more candidate takes, the request's own work left out."""
    p, n = lab.trained.parts, min(n, len(lab.trained.parts.index))
    each = []
    for request in lab.requests(n_requests):
        batch = read_batch([request], p.users, p.index)
        many, one = (Candidates(1, np.zeros(k, int), np.arange(k)) for k in (n, 1))
        model.score(batch, one)
        spent = [us_of(lambda c=c, b=batch: model.score(b, c)) for c in (many, one)]
        each.append((spent[0] - spent[1]) / max(1, n - 1))
    return float(np.median(each))


def us_of(call: Callable[[], object], times: int = 5) -> float:
    """Shortest of a few runs in microseconds."""
    spent = []
    for _ in range(times):
        began = time.perf_counter_ns()
        call()
        spent.append(time.perf_counter_ns() - began)
    return min(spent) / 1e3


# ---- precision -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Precise:
    """``agreement``: share of the kept that float32 keeps too; ``share``: value of the list;
    ``mbytes`` of the catalogue's vectors; ``us``: microseconds to score that many candidates."""

    agreement: float
    share: float
    mbytes: float
    us: Mapping[int, float]


def precisions(lab: Lab, sizes: tuple[int, ...] = (1000, 10_000)) -> dict[str, Precise]:
    """The cascade's pre-ranker with its item vectors in each precision."""
    model, config = lab.trained.parts.pre_ranker, lab.trained.config
    clean, found = clean_candidates(lab.panel, config), {}
    usual = None
    for precision in PRECISIONS:
        other = model.with_precision(precision)
        score = pre_scores(lab, other, clean)
        order = np.argsort(-score, axis=1, kind="stable")[:, : config.pre_rank]
        kept = np.zeros(clean.shape, bool)
        np.put_along_axis(kept, order, True, 1)
        kept &= clean
        usual = kept if usual is None else usual
        share = replay(lab.panel.pre_ranked_by(score), config, lab.trained.parts.index).share
        agreement = float((kept & usual).sum() / usual.sum())
        us = {n: us_of_scoring(other, n) for n in sizes}
        found[precision] = Precise(agreement, share, other.stored.nbytes / 1e6, us)
    return found


def us_of_scoring(model: PreRanker, n: int, times: int = 40) -> float:
    """Median microseconds of the bare scoring of ``n`` random items (again and again others, so
    that they are not in the processor's cache by chance)."""
    chance, held = np.random.default_rng(0), model.stored
    user = np.ones((1, held.values.shape[1]), np.float32)
    owner, spent = np.zeros(n, np.int64), []
    for _ in range(times):
        rows = chance.integers(0, len(held), n)
        spent.append(us_of(lambda rows=rows: model.meet(user, owner, rows), times=1))
    return float(np.median(spent[5:]))
