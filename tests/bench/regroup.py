"""Regroup and merge: what they add to a request, and how fast matches become D_u.

The budget is 0.5 ms a request for reading D_u and merging. Processor time of this process is quoted
beside the clock, since other work on the machine stretches the clock alone; the Redis server's own
time is in the clock only. A ping is the least that any read can cost.
"""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from reclab.cascade.batch import read_batch
from reclab.core.chance import rng
from reclab.core.pipeline import run
from reclab.dualrec.merge import Boost, Merge, Mix, Quota, merge
from reclab.dualrec.pacing import Pacer
from reclab.dualrec.regroup import Regroup, RegroupConfig
from reclab.dualrec.serving import DualCascade
from reclab.lab import Lab, open_lab
from reclab.stores.kv import KV

BUDGET_US = 500
POLICIES: tuple[Merge, ...] = (Boost(0.5), Mix(), Mix(how="weave"), Quota())


def cost_us(call: Callable[[], Any], times: int = 200, rounds: int = 7) -> tuple[float, float]:
    """Median over rounds of processor and wall time of a call, us."""
    call()
    spent = []
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(times):
            call()
        spent.append((time.process_time() - cpu, time.perf_counter() - wall))
    cpu, wall = np.median(spent, axis=0) / times * 1e6
    return float(cpu), float(wall)


def matches(n_users: int, each: int, items: np.ndarray, seed: int) -> SimpleNamespace:
    """``each`` different items for users 0 ... n_users - 1."""
    chance = rng(seed, "bench matches")
    first = chance.integers(0, len(items), n_users)[:, None]
    item = items[(first + np.arange(each) * 7) % len(items)].ravel()
    user = np.repeat(np.arange(n_users), each)
    score = chance.random(len(item)).astype(np.float32)
    return SimpleNamespace(item_id=item, user_id=user, score=score, reason=np.zeros_like(user))


def writing(kv: KV, n_users: int = 20_000) -> None:
    """Matches a second, and bytes a user."""
    regroup = Regroup(kv)
    before = int(kv.redis.info("memory")["used_memory"])
    some = matches(n_users, 10, np.arange(100_000), 1)
    wall, cpu = time.perf_counter(), time.process_time()
    put = regroup.put(some, 0)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    held = int(kv.redis.info("memory")["used_memory"]) - before
    n = len(some.item_id)
    print(f"put: {n:,} matches in {wall:.2f} s ({cpu:.2f} s here): {n / wall:,.0f}/s")
    print(f"     {put.counts()}")
    print(f"memory: {held / n_users:.0f} bytes a user of ten entries")
    wall = time.perf_counter()
    regroup.sizes(np.arange(n_users), 0)
    print(f"sizes: {n_users / (time.perf_counter() - wall):,.0f} users/s (refresh of the pool)")


def a_request(lab: Lab, kv: KV) -> None:
    """Reading alone, merging alone, and the stages of a live request with and without D_u."""
    regroup, p = Regroup(kv, RegroupConfig(life_s=1e8)), lab.trained.parts
    request = lab.requests(1)[0]
    chance = rng(1, "bench request")
    mine = chance.choice(p.index.ids, 10, replace=False)
    columns = {"item_id": mine, "user_id": np.full(10, request.user_id), "score": chance.random(10)}
    regroup.put(SimpleNamespace(**columns, reason=np.zeros(10, int)), 0)
    print("us of processor time (of the clock):")
    rows = [("ping", cost_us(kv.redis.ping))]
    rows += [("read D_u", cost_us(lambda: regroup.read([request.user_id], request.time_ms)))]
    f, items = chance.random((1, 100)), np.arange(100)[None]
    d, g = np.arange(90, 100)[None], chance.random((1, 10))
    for policy in POLICIES:
        name = f"merge, {policy.name} {getattr(policy, 'how', '')}"
        rows.append((name, cost_us(lambda policy=policy: merge(policy, f, items, d, g, 10, 3 * g))))
    for name, (cpu, wall) in rows:
        print(f"  {name:<28}{cpu:7.0f} ({wall:.0f})")
    read = dict(rows)["read D_u"]
    pacer = Pacer(p.index.ids, np.full(len(p.index), 50.0), np.ones(24))
    for policy in POLICIES:
        for compare in (True, False):
            if policy.scores(f, f) is None and not compare:
                continue  # the list of f alone is what these policies start from
            dual = DualCascade(lab.trained, regroup, policy, pacer, compare)
            cpu = in_stages(dual, request) + read[0]
            fits = "within" if cpu <= BUDGET_US else "over"
            name = f"live, {policy.name} {getattr(policy, 'how', '')}"
            told = "" if compare else ", not compared"
            print(f"  {name:<28}{cpu:7.0f} {fits} {BUDGET_US}{told}")


def in_stages(dual: DualCascade, request: Any) -> float:
    """us of processor time that D_u adds to the stages after retrieval, on the same candidates."""
    p, held = dual.cascade.parts, dual.regroup.read([request.user_id], request.time_ms)
    batch = read_batch([request], p.users, p.index)
    laid = cost_us(lambda: dual._side(held, request.time_ms))[0]
    side, _ = dual._side(held, request.time_ms)
    bound = dual._bound(side, dual.policy, lambda merged: None)
    found, _ = run(bound.stages()[:-3], batch, 1)
    added = []
    for _ in range(15):
        cost = []
        for cascade in (bound, dual.cascade):
            stages = cascade.stages()
            pre, rank, again = stages[-3:]
            ranked = rank(batch, pre(batch, found).kept).kept
            ours = cost_us(lambda again=again, ranked=ranked: again(batch, ranked), 10, 1)[0]
            cost.append(ours + cost_us(lambda pre=pre: pre(batch, found), 10, 1)[0])
        added.append(cost[0] - cost[1])
    return laid + float(np.median(added))


def main() -> None:
    """Print the measurements."""
    lab = open_lab("tiny", progress=False)
    with KV(namespace="bench-regroup") as kv:
        a_request(lab, kv)
        writing(kv)
        kv.delete(*kv.names())
    lab.close()
