"""DCAF's price beside HiGHS's linear programme: gain, CPU seconds, and a million requests.

Gains are concave (a saturating curve of each request's own height), arbitrary (uniform), and tied
(all requests alike); ten levels of 20 ... 200; the budget is 30 % of what the middle level costs.
"""

import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linprog

from reclab.core.types import Array
from reclab.degradation_dcaf import act, solve_lambda

LEVELS = np.arange(1, 11) * 20.0


def gains(kind: str, n: int) -> Array:
    """(n, 10) gains."""
    chance = np.random.default_rng(0)
    if kind == "concave":
        half = 20 + 100 * chance.random((n, 1))
        return chance.gamma(1, 1, (n, 1)) * np.log1p(LEVELS / half)
    if kind == "tied":
        return np.repeat(np.log1p(LEVELS)[None], n, 0)
    return chance.random((n, 10))


def seconds(call: Callable[[], Any], times: int = 3) -> tuple[float, Any]:
    """Least CPU seconds of a few runs, and what came out."""
    spent, found = [], None
    for _ in range(times):
        began = time.process_time()
        found = call()
        spent.append(time.process_time() - began)
    return min(spent), found


def highs(gain: Array, budget: float) -> float:
    """The linear bound."""
    n, m = gain.shape
    spent = sp.csr_matrix(np.broadcast_to(LEVELS, gain.shape).reshape(1, -1))
    rows = sp.vstack([spent, sp.kron(sp.eye(n), np.ones((1, m)))]).tocsr()
    most = np.append(budget, np.ones(n))
    return -linprog(-gain.ravel(), A_ub=rows, b_ub=most, bounds=(0, 1), method="highs").fun


def main() -> None:
    """Print the tables."""
    print(
        f"{'gains':<12}{'requests':>10}{'cpu s':>9}{'HiGHS s':>9}{'ratio':>7}{'gain / bound':>14}"
    )
    for n in (1_000, 10_000):
        for kind in ("concave", "arbitrary", "tied"):
            gain, budget = gains(kind, n), 30.0 * n
            mine, best = seconds(
                lambda gain=gain, budget=budget: solve_lambda(gain, LEVELS, budget)
            )
            peer, bound = seconds(lambda gain=gain, budget=budget: highs(gain, budget), times=1)
            ratio, share = peer / mine, best.gain / bound
            print(
                f"{kind:<12}{n:>10,}{mine:>9.4f}{peer:>9.2f}{ratio:>7.0f}{share:>14.7f}", flush=True
            )
    for kind in ("concave", "arbitrary", "tied"):
        gain = gains(kind, 1_000_000)
        mine, best = seconds(lambda gain=gain: solve_lambda(gain, LEVELS, 30e6))
        print(f"{kind:<12}{1_000_000:>10,}{mine:>9.4f}{'':>16}{best.gain / best.bound:>14.7f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"peak memory {peak:.2f} GB")
    for n in (1, 1000):
        gain = gains("arbitrary", n)
        spent, _ = seconds(lambda gain=gain: [act(gain, LEVELS, 0.003, 150.0) for _ in range(1000)])
        print(f"decision, {n} at once: {spent * 1000 / n:.2f} µs a request")


if __name__ == "__main__":
    main()
