"""Five ways to fill the same pages, and raw scores sorted, beside the exact page of each request.

    optimum = believed value of a policy's pages / that of the best pages there are (HiGHS)

Simplified: a platform compares ways by live traffic; here every one serves the same requests.
"""

from dataclasses import dataclass
from time import process_time

from reclab.blending.allocation import (
    ExactPage,
    FixedSlots,
    PagePolicy,
    PricedPage,
    RatioWeave,
    WeightedSum,
    page_value,
    violations,
)
from reclab.blending.allocation.day import parts
from reclab.lab.blending import AD_SLOTS, Point, point
from reclab.lab.blending_candidates import Pool
from reclab.lab.blending_pool import rules_of


@dataclass(frozen=True)
class Compared:
    """A policy on the same requests: ``point``, judged by the truth; ``optimum``, believed value of
    its pages as a share of the exact optimum's, ``ratio``, how many times faster it is than the
    exact one (CPU), ``broken`` rules. The last three on the first requests only."""

    point: Point
    optimum: float
    ratio: float
    broken: int


def compared(pool: Pool, load: int = 2, first: int = 60) -> dict[str, Compared]:
    """The five policies, and raw scores sorted, beside each other."""
    rules = rules_of(load)
    _, few = next(parts(pool.candidates, first))
    began = process_time()
    exact = page_value(ExactPage(rules).allocate(few), few, rules).sum()
    exact_s = process_time() - began
    policies: dict[str, PagePolicy] = {
        "sorted by score": WeightedSum(rules),
        "fixed slots": FixedSlots(rules, ((), (1,), (3,), AD_SLOTS[load], (), ())),
        "weave": RatioWeave(rules),
        "weighted sum of values": WeightedSum(rules, column="value"),
        "priced, slot by slot": PricedPage(rules),
    }
    found = {}
    for name, policy in policies.items():
        began = process_time()
        pages = policy.allocate(few)
        ratio = exact_s / (process_time() - began)
        value = page_value(pages, few, rules).sum() / exact
        broken = len(violations(pages, few, rules))
        found[name] = Compared(point(policy, pool, name), float(value), ratio, broken)
    return found
