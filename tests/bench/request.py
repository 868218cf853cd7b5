"""What a request costs over its bare kernels: FAISS search, gather and dot, model forwards, MMR.

Model forwards are the ranker's and the request's side of both two-tower models. The kernels run on
the very arrays of the request, one after the other with it, so that both see the same machine; the
median of the ratios is quoted.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import reclab
from reclab.cascade.batch import read_batch
from reclab.cascade.pipeline import Cascade
from reclab.cascade.ranking.ranker import Inputs
from reclab.cascade.re_ranking.mmr import dense, mmr_batch, scaled, tag_vectors
from reclab.core.types import Array, Candidates, Request
from reclab.lab import Lab

QUIET = 40  # requests that warm caches up
BATCH = 32


def best_of(call: Callable[[], Any], times: int = 3) -> float:
    """Shortest of a few runs in ms: what the call costs when nobody disturbs it."""
    spent = []
    for _ in range(times):
        began = time.perf_counter_ns()
        call()
        spent.append(time.perf_counter_ns() - began)
    return min(spent) / 1e6


def kernels(cascade: Cascade, request: Request) -> dict[str, float]:
    """ms of each bare kernel on this request's arrays."""
    p, c = cascade.parts, cascade.config
    batch = read_batch([request], p.users, p.index)
    _, trace = cascade.recommend(request)
    by_name = {stage.name: stage for stage in trace.stages}
    query = p.two_tower.users(batch)
    k = int(np.ceil(1.5 * c.retrieve / len(c.channels)))
    rows = _rows_into(cascade, batch, by_name)
    user = p.pre_ranker.users(batch)[0]
    vectors = p.pre_ranker.vectors
    candidates = Candidates(1, np.zeros(len(rows["ranking"]), np.int64), rows["ranking"])
    inputs = Inputs.of(p.features.for_batch(batch, candidates))
    asked = Inputs.of(p.features.for_batch(batch, Candidates.empty(1)))
    last = Candidates(1, np.zeros(c.rank, np.int64), rows["ranking"][: c.rank])
    table = dense(last)
    tags = tag_vectors(p.index.get(last.item_row, ["tags"])["tags"], table)
    score = scaled(np.linspace(0, 1, len(last)), table)

    def forward() -> None:
        with torch.inference_mode():
            p.ranker.net(inputs)

    def towers() -> None:
        with torch.inference_mode():
            p.two_tower.net.users(asked)
            p.pre_ranker.net.users(asked)

    torch.set_num_threads(1)
    return {
        "search": best_of(lambda: p.two_tower.vectors.search(query, k)),
        "gather and dot": best_of(lambda: vectors[rows["pre_ranking"]] @ user),
        "ranker forward": best_of(forward),
        "towers forward": best_of(towers),
        "mmr": best_of(lambda: mmr_batch(score, tags, 10, c.mmr.lam)),
    }


def _rows_into(cascade: Cascade, batch: Any, by_name: dict[str, Any]) -> dict[str, Array]:
    """Item rows that go into pre-ranking and ranking, as many as the request had."""
    rows = cascade.parts.popular.retrieve(batch, by_name["pre_ranking"].n_in)[0][0]
    rows = np.where(rows >= 0, rows, np.arange(len(rows)))
    return {"pre_ranking": rows, "ranking": rows[: by_name["ranking"].n_in]}


def measure(lab: Lab, n: int = 200) -> dict[str, float]:
    """Medians over ``n`` requests: total, kernels, their ratio, p50 and p99 in ms."""
    cascade, requests = lab.trained, lab.requests(n + QUIET)
    for request in requests[:QUIET]:
        cascade.recommend(request)
    total, bare, parts, stages = [], [], [], []
    for request in requests[QUIET:]:
        parts.append(kernels(cascade, request))
        bare.append(sum(parts[-1].values()))
        total.append(best_of(lambda request=request: cascade.recommend(request)))
        stages.append([s.ms for s in cascade.recommend(request)[1].stages])
    began = time.perf_counter_ns()
    cascade.recommend_batch(requests[QUIET : QUIET + BATCH])
    together = (time.perf_counter_ns() - began) / 1e6 / BATCH
    single = []
    for request in requests[QUIET:] * 3:
        began = time.perf_counter_ns()
        cascade.recommend(request)
        single.append((time.perf_counter_ns() - began) / 1e6)
    found = {
        "total ms": float(np.median(total)),
        "kernels ms": float(np.median(bare)),
        "total / kernels": float(np.median(np.array(total) / np.array(bare))),
        f"ms a request, {BATCH} at once": together,
        "p50 ms": float(np.percentile(single, 50)),
        "p99 / p50": float(np.percentile(single, 99) / np.percentile(single, 50)),
    }
    for name in parts[0]:
        found[f"kernel {name} ms"] = float(np.median([part[name] for part in parts]))
    names = [stage.name for stage in cascade.stages()]
    for name, ms in zip(names, np.median(stages, axis=0), strict=True):
        found[f"stage {name} ms"] = float(ms)
    return found


def main() -> None:
    """Print the table for the laptop scale."""
    for name, value in measure(reclab.open("laptop")).items():
        print(f"{name:<28}{value:>9.2f}")


if __name__ == "__main__":
    main()
