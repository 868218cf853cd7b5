"""Latency by stage: measured on this machine at several sizes, and the line of the cost model.

    ms_s(n) = a_s + b_s n      a_s: what a stage costs anyhow,  b_s: ms for one more candidate

fitted by least squares to the medians of repeated single requests.
Simplified: industry measures p99 under load, where queueing bends the line upwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reclab.cascade.pipeline import Cascade
from reclab.core.types import Array, Request, Trace

STAGES = ("retrieval", "filters", "pre_ranking", "ranking", "re_ranking")
SIZES = ((100, 30, 15), (300, 100, 30), (600, 200, 60), (1000, 400, 100), (1500, 800, 200))


@dataclass(frozen=True)
class LatencyModel:
    """``n``, ``ms`` (S, P): candidates a stage was given and the median time it took, for each of
    P funnels; ``fixed``, ``slope`` (S,) the fitted line, never negative."""

    stages: tuple[str, ...]
    n: Array
    ms: Array
    fixed: Array
    slope: Array

    def predict(self, n_in: Array) -> Array:
        """(S,) candidates given to each stage -> (S,) ms."""
        return self.fixed + self.slope * n_in


def fit_line(n: Array, ms: Array) -> tuple[float, float]:
    """Least squares a + b n with a, b >= 0.

    >>> a, b = fit_line(np.array([1.0, 2.0, 3.0]), np.array([3.0, 5.0, 7.0]))
    >>> round(a, 6), round(b, 6)
    (1.0, 2.0)
    """
    b = float(np.cov(n, ms, bias=True)[0, 1] / max(np.var(n), 1e-12))
    b = max(b, 0.0)
    a = float(ms.mean() - b * n.mean())
    if a < 0:  # a line through the origin fits better than a negative time
        a, b = 0.0, float((n * ms).sum() / (n * n).sum())
    return a, b


def funnel_sizes(trace: Trace) -> Array:
    """(5,) candidates given to each of the panel's stages, from a live trace; the filters count
    as one."""
    by_name = {stage.name: stage.n_in for stage in trace.stages}
    names = ("retrieval", "published", "pre_ranking", "ranking", "re_ranking")
    return np.array([by_name[name] for name in names], float)


def funnel_times(trace: Trace) -> Array:
    """(5,) ms of the same stages."""
    ms = dict.fromkeys(STAGES, 0.0)
    for stage in trace.stages:
        ms[stage.name if stage.name in ms else "filters"] += stage.ms
    return np.array(list(ms.values()))


def measure_latency(
    cascade: Cascade, requests: Sequence[Request], sizes: Sequence[tuple[int, int, int]] = SIZES
) -> LatencyModel:
    """Send each request alone through funnels of several sizes; medians over the requests."""
    taken, given = [], []
    for retrieve, pre_rank, rank in sizes:
        funnel = cascade.with_config(retrieve=retrieve, pre_rank=pre_rank, rank=rank)
        funnel.recommend(requests[0])  # the first call of a size allocates
        traces = [funnel.recommend(request)[1] for request in requests]
        taken.append(np.median([funnel_times(t) for t in traces], axis=0))
        given.append(np.median([funnel_sizes(t) for t in traces], axis=0))
    n, ms = np.array(given).T, np.array(taken).T
    lines = [fit_line(*pair) for pair in zip(n, ms, strict=True)]
    return LatencyModel(STAGES, n, ms, *np.array(lines).T)


def stage_costs(cascade: Cascade, given: Array) -> Array:
    """(5,) millions of multiply-adds of one request, from the candidates ``given`` to each of the
    panel's stages (retrieval, filters, pre-ranking, ranking, re-ranking)."""
    p, c = cascade.parts, cascade.config
    search = sum(getattr(getattr(p, name), "macs_per_request", 0) for name in c.channels)
    tags = p.index["tags"].max(initial=0) + 1 if "tags" in p.index else 0
    each = np.array([0, 0, p.pre_ranker.macs_per_candidate, p.ranker.macs_per_candidate, 0.0])
    each[4] = float(tags) * c.mmr.keep
    return (np.array([search, 0, 0, 0, 0.0]) + each * given) / 1e6


def cost_of_ranking_everything(cascade: Cascade) -> float:
    """Millions of multiply-adds of one request if the ranker scored the whole catalogue."""
    return len(cascade.parts.index) * cascade.parts.ranker.macs_per_candidate / 1e6
