"""Actions (算力档位): what a request may be given, from the cheapest answer to the dearest.

    action j = a setting of the cascade,      q_j = what it costs, measured
    action -1 = no computing: the degraded path answers from its cache

A dearer action searches more channels, keeps more of what they found, and ranks more of it; the
cheapest does not rank at all: what the pre-ranker believes takes the ranker's place. All answer in
plain score order, for the price of diversity is another lesson, and windows would hide what a
deeper ranking gains. Chapter 2, section 2.4; Jiang et al., DCAF, 2020.

Simplified: industry has such a ladder for each of its services, and moves them together.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import expit
from sklearn.isotonic import isotonic_regression

from reclab.cascade.batch import Batch, read_batch
from reclab.cascade.pipeline import CHANNELS, HOT_POOL, Cascade
from reclab.cascade.pre_ranking.two_tower import PreRanker
from reclab.cascade.re_ranking.mmr import MMRConfig
from reclab.core.errors import DataError
from reclab.core.types import Array, Candidates, Request
from reclab.degradation_dcaf.cache import DegradationCache
from reclab.degradation_dcaf.pipeline import DegradedPath
from reclab.degradation_dcaf.request_context import context_of
from reclab.stores.kv import KV

PLAIN = MMRConfig(lam=1.0, category_window=0, creator_window=0)
MODELS = ("pre_ranking", "ranking")  # stages that are a model's forward pass
BATCH = 32  # requests that a busy server answers together
TWO, THREE = ("two_tower",), ("two_tower", "item_cf")


@dataclass(frozen=True)
class Action:
    """A setting: its name, what of ``CascadeConfig`` it changes, and whether the ranker runs."""

    name: str
    config: Mapping[str, object] = field(default_factory=dict)
    ranker: bool = True


def _action(channels: tuple[str, ...], retrieve: int, rank: int, ranker: bool = True) -> Action:
    """Search ``channels`` for ``retrieve`` candidates and rank the best ``rank``; what is left
    covers the page and the ranks 11-30 that the degradation cache keeps."""
    who = {1: "two towers", 2: "+ item CF"}.get(len(channels), "all channels")
    sizes = {"retrieve": retrieve, "pre_rank": rank, "rank": min(rank, 100)}
    name = f"{who} {retrieve}, {f'rank {rank}' if ranker else 'not ranked'}"
    return Action(name, {"channels": channels, **sizes}, ranker)


ACTIONS = (
    _action(TWO, 200, 30, ranker=False),
    _action(TWO, 200, 30),
    _action(TWO, 400, 50),
    _action(TWO, 1000, 50),
    _action(TWO, 1000, 100),
    _action(THREE, 2000, 100),
    _action(THREE, 2000, 200),
    _action(CHANNELS, 2000, 300),
    _action(CHANNELS, 4000, 300),
    _action(CHANNELS, 4000, 1000),
)
"""on or near the upper hull of value over cost of some 120 settings, on the tuning day: two towers
alone are enough for the steep part, other channels pay at the top"""
REFERENCE = 7
"""position in ``ACTIONS`` of what everybody gets without DCAF: all channels and 300 ranked, as in
the cascade's own defaults"""


@dataclass(frozen=True)
class Costs:
    """What one request takes under each of m actions, and on the degraded path; all in ms.

    ``cpu_ms`` (m,) ascending, processor time in a busy server (batches), the models left out;
    ``model_ms`` (m,) the same for what the models take, which is the share a GPU would do;
    ``spread`` (m,) coefficient of variation of a request's time; ``degraded_ms`` of the degraded
    path, on the processor; ``context_ms`` of the features that a decision by value reads."""

    cpu_ms: Array
    model_ms: Array
    spread: Array
    degraded_ms: float
    context_ms: float = 0.0

    @property
    def total_ms(self) -> Array:
        """(m,) q_j: all that an action takes."""
        return self.cpu_ms + self.model_ms


@dataclass(frozen=True)
class PreRankerAsRanker:
    """Stands where the ranker stands and repeats what the pre-ranker said, at no cost."""

    model: PreRanker
    macs_per_candidate: int = 0

    def predict(self, batch: Batch, candidates: Candidates) -> dict[str, Array]:
        """P(long view) from the pre-ranker's logits (n,)."""
        return {self.model.targets[0]: expit(candidates["pre_rank_score"])}


def cascade_of(cascade: Cascade, action: Action) -> Cascade:
    """The same fitted parts under an action's setting."""
    changed = cascade.with_config(mmr=PLAIN, **action.config)
    if action.ranker:
        return changed
    return changed.with_parts(ranker=PreRankerAsRanker(cascade.parts.pre_ranker))


# ---- what they cost ------------------------------------------------------------------------


def measure_costs(
    cascade: Cascade,
    requests: Sequence[Request],
    actions: Sequence[Action] = ACTIONS,
    rounds: int = 5,
    singles: int = 30,
) -> Costs:
    """Measure on this machine: medians of ``rounds`` that take all actions in turn, so that a slow
    minute hits them all. The clock divides a batch's processor time among its stages. What should
    ascend and does not, by the noise of measuring, is levelled (isotonic regression)."""
    if not actions or not requests:
        raise DataError(f"measure_costs: {len(actions)} actions, {len(requests)} requests, need 1")
    ladder = [cascade_of(cascade, action) for action in actions]
    groups = [requests[at : at + BATCH] for at in range(0, len(requests), BATCH)]
    for rung in ladder:
        rung.recommend_batch(groups[0])  # the first call of a size allocates
    taken = np.array(
        [[_of_batches(rung, groups) for rung in ladder] for _ in range(rounds)]
    )  # (rounds, m, 2)
    cpu, model = np.median(taken, axis=0).T
    spread = [_spread(rung, requests[:singles]) for rung in ladder]
    return Costs(
        cpu_ms=isotonic_regression(cpu),
        model_ms=isotonic_regression(model),
        spread=np.array(spread),
        degraded_ms=_degraded(cascade, groups, rounds),
        context_ms=_context(cascade, groups, rounds),
    )


def _of_batches(cascade: Cascade, groups: Sequence[Sequence[Request]]) -> tuple[float, float]:
    """(without the models, the models) processor ms a request."""
    spent = {True: 0.0, False: 0.0}
    for group in groups:
        began = time.process_time()
        _, trace = cascade.recommend_batch(group)
        ms = (time.process_time() - began) * 1000
        share = sum(stage.ms for stage in trace.stages if stage.name in MODELS) / trace.ms
        spent[True] += ms * share
        spent[False] += ms * (1 - share)
    n = sum(len(group) for group in groups)
    return spent[False] / n, spent[True] / n


def _spread(cascade: Cascade, requests: Sequence[Request], times: int = 3) -> float:
    """Coefficient of variation of the time of a request that comes alone, each the least of a few
    runs."""
    ms = [min(_cpu_ms(lambda r=r: cascade.recommend(r)) for _ in range(times)) for r in requests]
    return float(np.std(ms) / max(np.mean(ms), 1e-9))


def _cpu_ms(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return (time.process_time() - began) * 1000


def _degraded(cascade: Cascade, groups: Sequence[Sequence[Request]], rounds: int) -> float:
    """Processor ms a request of the degraded path over a full cache; the Redis process beside
    it is not counted."""
    p, n = cascade.parts, sum(len(group) for group in groups)
    kv = KV(namespace="measuring-costs")
    try:
        cache = DegradationCache(kv)
        path = DegradedPath(
            cache, p.index, p.users, lambda batch: p.popular.retrieve(batch, HOT_POOL)[0]
        )
        spent, kept = [], p.index.ids[: cache.config.last - cache.config.first + 1]
        for _ in range(rounds):
            for group in groups:
                for request in group:
                    cache.put(request.user_id, kept, np.zeros(len(kept)))
            ms = [_cpu_ms(lambda group=group: path.recommend_batch(group)) for group in groups]
            spent.append(sum(ms) / n)
        for name in kv.names():
            kv.delete(name)
        return float(np.median(spent))
    finally:
        kv.close()


def _context(cascade: Cascade, groups: Sequence[Sequence[Request]], rounds: int) -> float:
    """Processor ms a request of the context, beyond what every answer reads anyway."""
    p, n, spent = cascade.parts, sum(len(group) for group in groups), []
    for _ in range(rounds):
        ms = 0.0
        for group in groups:
            batch = read_batch(group, p.users, p.index)
            p.features.for_batch(batch, Candidates.empty(len(group)))  # the towers need it too
            ms += _cpu_ms(lambda batch=batch: context_of(cascade, batch))
        spent.append(ms / n)
    return float(np.median(spent))
