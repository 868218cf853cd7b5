"""Matching of items to users beside the bare FAISS searches, with the pool kept up to date.

Vectors are drawn around 200 centres, as towers make them; some users lie nearer to everything than
others, so that they are wanted by most items and fill up first. Each size runs in a process of its
own, so that its memory is its own. The bare searches are the same queries on the same kind of index
over the same users, for as many users as are asked of it, with no quota and no updates; the two are
measured in turns, a block of items each, in CPU time.
"""

import resource
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np

from reclab.core.chance import rng
from reclab.core.tables import Table
from reclab.core.types import Array
from reclab.dualrec.creator_side import CreatorSide, CreatorSideConfig
from reclab.dualrec.user_index import UserIndex
from reclab.dualrec.user_pool import UserPool, UserPoolConfig
from reclab.stores.forward_index import ForwardIndex

DIM, PER_ITEM, NEAR = 32, 200, 300


@dataclass(frozen=True)
class Size:
    """Users, items, Q, and the share of users predicted active."""

    users: int
    items: int
    quota: int
    active: float = 1.0


SIZES = {
    "small": Size(100_000, 10_000, 40),
    "tight": Size(100_000, 10_000, 10, 0.5),
    "full": Size(1_000_000, 100_000, 40),
    "full, paper": Size(1_000_000, 100_000, 10, 0.5),
}


def vectors(n: int, name: str, spread: float) -> Array:
    """(n, DIM) unit vectors around shared centres, of popularity that falls by rank."""
    chance = rng(0, "matching bench")
    centres = chance.normal(size=(200, DIM)).astype(np.float32)
    chance = rng(0, f"matching bench {name}")
    share = 1.0 / np.arange(1, 201) ** 0.5
    found = centres[chance.choice(200, n, p=share / share.sum())]
    found += spread * chance.normal(size=(n, DIM)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def side(size: Size) -> CreatorSide:
    """The creator side over drawn vectors."""
    items = Table({"video_id": np.arange(size.items)})
    pool = UserPool(size.users, UserPoolConfig(quota=size.quota))
    pool.set_active(rng(0, "active").random(size.users) < size.active)
    index = UserIndex(vectors(size.users, "users", 0.8))
    config = CreatorSideConfig(per_item=PER_ITEM, near=NEAR)
    made = vectors(size.items, "items", 0.8)
    return CreatorSide(ForwardIndex(items), np.arange(size.users), index, made, pool, config=config)


def measure(size: Size) -> dict[str, float]:
    """CPU seconds of both, their ratio, what was matched, and memory."""
    bare = UserIndex(vectors(size.users, "users", 0.8))
    one = side(size)
    began = time.process_time()
    bare.open(one.pool.open_rows())
    build_s = time.process_time() - began
    spent = {"bare": 0.0, "bare, as many searches": 0.0}
    searches = [0]
    find = one.index.find

    def counted(queries: Array, k: int) -> tuple[Array, Array]:
        """The same queries on the bare index, in turns, timed apart."""
        at = time.process_time()
        bare.find(queries, k)
        spent["bare, as many searches"] += time.process_time() - at
        if searches[0] < size.items:
            spent["bare"] += time.process_time() - at
        searches[0] += len(queries)
        return find(queries, k)

    one.index.find = counted  # type: ignore[method-assign]
    began = time.process_time()
    found, report = one.match(one.items.ids, 0)
    whole = time.process_time() - began - spent["bare, as many searches"]
    counts = one.pool.counts
    assert counts.max() <= size.quota and len(found) == counts.sum()
    matching = whole - build_s
    got = np.bincount(found.item_id, minlength=size.items)
    return {
        "users": size.users,
        "items": size.items,
        "Q": size.quota,
        "users in the pool": report.open_before,
        "wanted for each item": report.want,
        "cpu s to build the user index": build_s,
        "cpu s of the bare searches, one an item": spent["bare"],
        "cpu s of matching, pool updates included": matching,
        "ratio to the bare searches": matching / spent["bare"],
        "searches an item (rounds)": searches[0] / size.items,
        "ratio to as many bare searches": matching / spent["bare, as many searches"],
        "items a cpu s": size.items / matching,
        "matches": len(found),
        "% of what was wanted": 100 * len(found) / (report.want * size.items),
        "% of the room used": 100 * len(found) / (report.open_before * size.quota),
        "% of items with all wanted": 100 * float((got >= report.want).mean()),
        "users at Q": int((counts == size.quota).sum()),
        "most any user got": int(counts.max()),
        "peak GB, the bare index included": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        / 1e6,
    }


def main() -> None:
    """Print a table a size; ``-m tests.bench.matching SIZE …`` prints some (small, tight, full)."""
    if sys.argv[1:2] == ["--size"]:
        for name, value in measure(SIZES[sys.argv[2]]).items():
            print(f"  {name:<44}{value:>14,.2f}")
        return
    for name in [arg for arg in sys.argv[1:] if arg in SIZES] or ["small", "tight", "full"]:
        print(name, flush=True)
        subprocess.run([sys.executable, "-m", "tests.bench.matching", "--size", name], check=True)


if __name__ == "__main__":
    main()
