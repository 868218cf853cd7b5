"""Re-rankers: microseconds of one request with 100 candidates, and what their lists are worth.

All re-rank the same requests alone (B = 1), one after the other in turns, so that all see the same
machine; medians of processor time, and the ratio to MMR. Then the comparison of lesson 02.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import reclab
from reclab.cascade.re_ranking.dpp import DPPConfig, dpp_batch
from reclab.cascade.re_ranking.mmr import MMRConfig, mmr_batch, scaled
from reclab.cascade.re_ranking.score_order import in_windows
from reclab.core.types import Array
from reclab.lab import list_ruler, re_rankers
from reclab.lab.page_pools import Pool, pool_of

QUIET, ASKED = 10, 100


def calls(pool: Pool, models: dict[str, list[Any]]) -> dict[str, Callable[[int], Any]]:
    """Each re-ranker as a function of the request's position."""
    table = np.arange(pool.item_row.shape[1])[None]
    cards = [pool.cards.take(slice(b, b + 1)) for b in range(len(pool))]
    score: list[Array] = [scaled(c.score[0], table) for c in cards]
    rules = [re_rankers.default_windows(c) for c in cards]
    wanted, lam, alpha = np.array([10]), MMRConfig().lam, DPPConfig().alpha
    out: dict[str, Callable[[int], Any]] = {
        "score order": lambda b: in_windows(score[b], wanted),
        "windows": lambda b: in_windows(score[b], wanted, rules[b]),
        "MMR": lambda b: mmr_batch(score[b], cards[b].vectors, wanted, lam),
        "DPP": lambda b: dpp_batch(score[b], cards[b].vectors, wanted, alpha),
    }
    for name in re_rankers.LEARNED:
        model = models[name][0]
        out[name] = lambda b, m=model: m.lists(cards[b], wanted)
    model = models["generator"][0]
    out["generator, windows"] = lambda b: model.lists(cards[b], wanted, rules[b])
    return out


def main() -> None:
    """Print cost, then value."""
    lab = reclab.open("laptop")
    models = re_rankers.trained_re_rankers(lab)
    pool = pool_of(lab, "tuning", np.arange(ASKED))
    asked = calls(pool, models)
    spent: dict[str, list[float]] = {name: [] for name in asked}
    for b in [*range(QUIET), *range(len(pool))]:
        for name, call in asked.items():
            began = time.process_time_ns()
            call(b)
            spent[name].append((time.process_time_ns() - began) / 1e3)
    base = np.median(spent["MMR"][QUIET:])
    n, k = pool.item_row.shape[1], 10
    for name, us in spent.items():
        middle = float(np.median(us[QUIET:]))
        model = models.get(name, [None])[0]
        macs = f"{model.macs(n, k) / 1e6:8.2f} M multiply-adds" if model else ""
        print(f"  {name:20s}{middle:8.0f} us  {middle / base:6.1f} x MMR {macs}")
    for split in ("tuning", "held_out"):
        print(f"\n{split} day, laptop scale, seed 0: value of cards and of lists")
        print(list_ruler.table(re_rankers.compare(lab, split)))
    lab.close()
