"""What requests cost over their bare kernels: FAISS search, gather and dot, model forwards, MMR.

Model forwards are the ranker's, and the request's side of both two-tower models and of the
sequential one; searches are those of the two channels that have vectors. The kernels run on
arrays of the requests' own sizes, one after the other with them, so that both see the same machine;
the median of the ratios is quoted, for requests that come alone and for a batch of them.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import reclab
from reclab.cascade.batch import read_batch
from reclab.cascade.pipeline import Cascade
from reclab.cascade.ranking.ranker import BLOCK, Inputs
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


def kernels(cascade: Cascade, requests: list[Request]) -> dict[str, float]:
    """ms of each bare kernel on these requests' arrays, all requests together."""
    p, c, every = cascade.parts, cascade.config, np.arange(len(requests))
    batch = read_batch(requests, p.users, p.index)
    _, trace = cascade.recommend_batch(requests)
    into = {stage.name: stage.n_in // len(requests) for stage in trace.stages}
    pool = p.popular.retrieve(batch, into["pre_ranking"])[0]
    pool = np.where(pool >= 0, pool, np.arange(pool.shape[1]))

    def first(n: int) -> Candidates:
        return Candidates(len(requests), every.repeat(n), pool[:, :n].ravel())

    k = int(np.ceil(1.5 * c.retrieve / len(c.channels)))
    query, state = p.two_tower.users(batch), p.sequential.users(batch)
    latest = batch.history[:, -p.sequential.config.length :]
    past = torch.from_numpy(p.sequential.codes(latest))
    many, last = first(into["pre_ranking"]), first(c.rank)
    users, vectors = p.pre_ranker.users(batch), p.pre_ranker.vectors
    features = p.features.for_batch(batch, first(into["ranking"]))
    inputs = [Inputs.of(part) for part in features.blocks(BLOCK)]
    asked = Inputs.of(p.features.for_batch(batch, Candidates.empty(len(requests))))
    table = dense(last)
    tags = tag_vectors(p.index.get(last.item_row, ["tags"])["tags"], table)
    score = scaled(np.linspace(0, 1, len(last)), table)

    def dot() -> Array:
        return np.einsum("nd,nd->n", vectors[many.item_row], users[many.request_row])

    def forward() -> None:
        with torch.inference_mode():
            for part in inputs:
                p.ranker.net(part)

    def towers() -> None:
        with torch.inference_mode():
            p.two_tower.net.users(asked)
            p.pre_ranker.net.users(asked)

    def sequence() -> None:
        with torch.inference_mode():
            p.sequential.net(past)

    def search() -> None:
        p.two_tower.vectors.search(query, k)
        p.sequential.vectors.search(state, k + past.shape[1])

    return {
        "search": best_of(search),
        "gather and dot": best_of(dot),
        "ranker forward": best_of(forward),
        "towers forward": best_of(towers),
        "sequence forward": best_of(sequence),
        "mmr": best_of(lambda: mmr_batch(score, tags, 10, c.mmr.lam)),
    }


def measure(lab: Lab, n: int = 200) -> dict[str, float]:
    """Medians over ``n`` requests: total, kernels, their ratio, p50 and p99 in ms."""
    torch.set_num_threads(1)
    cascade, requests = lab.trained, lab.requests(n + QUIET)
    for request in requests[:QUIET]:
        cascade.recommend(request)
    requests = requests[QUIET:]
    alone, parts = _beside(cascade, [[request] for request in requests])
    together, many = _beside(cascade, [requests[i : i + BATCH] for i in range(0, n, BATCH)])
    single, stages = [], []
    for request in requests * 3:
        began = time.perf_counter_ns()
        _, trace = cascade.recommend(request)
        single.append((time.perf_counter_ns() - began) / 1e6)
        stages.append([stage.ms for stage in trace.stages])
    found = {
        "total ms": alone[0],
        "kernels ms": alone[1],
        "total / kernels": alone[2],
        f"total ms of one of {BATCH}": together[0],
        f"kernels ms of one of {BATCH}": together[1],
        f"total / kernels, {BATCH} at once": together[2],
        "p50 ms": float(np.percentile(single, 50)),
        "p99 / p50": float(np.percentile(single, 99) / np.percentile(single, 50)),
    }
    found |= {f"kernel {name} ms": ms for name, ms in parts.items()}
    found |= {f"kernel {name} ms, one of {BATCH}": ms for name, ms in many.items()}
    names = [stage.name for stage in cascade.stages()]
    for name, ms in zip(names, np.median(stages, axis=0), strict=True):
        found[f"stage {name} ms"] = float(ms)
    return found


def _beside(
    cascade: Cascade, groups: list[list[Request]]
) -> tuple[tuple[float, float, float], dict[str, float]]:
    """Medians a request: ms in all, ms of the kernels, their ratio; and ms of each kernel."""
    total, parts = [], []
    for group in groups:
        bare = kernels(cascade, group)
        parts.append({name: ms / len(group) for name, ms in bare.items()})
        ms = best_of(lambda group=group: cascade.recommend_batch(group))
        total.append((ms / len(group), sum(parts[-1].values())))
    both = np.array(total)
    all_ms, bare_ms = np.median(both, axis=0)
    ratio = np.median(both[:, 0] / both[:, 1])
    named = {name: float(np.median([part[name] for part in parts])) for name in parts[0]}
    return (float(all_ms), float(bare_ms), float(ratio)), named


def main() -> None:
    """Print the table for the laptop scale."""
    for name, value in measure(reclab.open("laptop")).items():
        print(f"{name:<40}{value:>9.2f}")


if __name__ == "__main__":
    main()
