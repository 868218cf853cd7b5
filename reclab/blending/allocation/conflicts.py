"""Rules that cannot be met together, said before serving and by name.

The rules are tried on the best supply there could be: as many cards of every business as there are
slots, each by a creator of its own. If no full page meets them, each rule in turn is put aside: one
without which the rest still has no page is not to blame and stays aside; what is left is a smallest
set of rules that contradict each other.
Reference: deletion filter for infeasible constraints, Chinneck and Dravnieks 1991.

For platform-wide quotas the pages of a day are a mixture, so the programme is not asked for whole
cards: what it calls impossible is; what it lets pass may still fail for want of candidates.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import scipy.sparse as sp
from scipy.optimize import Bounds, LinearConstraint, milp

from reclab.blending.allocation.programme import Rows, page_rows, stacked
from reclab.blending.allocation.rules import PageRules
from reclab.core.errors import ConfigError
from reclab.core.types import Array

BASIC = ("a card a slot", "holes last", "a card once")  # what a page is: never to blame


@lru_cache(maxsize=512)
def conflicts(
    rules: PageRules, low: tuple[float, ...] = (), high: tuple[float, ...] = ()
) -> tuple[str, ...]:
    """Names of rules, and of quotas ``low`` and ``high`` (share of expected exposures of each
    business), that cannot be met together; empty when all can.

    >>> conflicts(PageRules(floors=(9, 0, 0, 2, 0, 0)))
    ('floor of short video', 'floor of ad')
    """
    slots, kinds = rules.slots, len(rules.businesses)
    business = np.repeat(np.arange(kinds), slots)
    rows = page_rows(business, np.full(len(business), -1), rules)
    rows += quota_rows(business, rules, low, high)
    whole = not low and not high
    if _possible(rows, rules, whole):
        return ()
    kept = list(rows)
    for rule in rows:
        rest = [r for r in kept if r is not rule]
        if rule.name not in BASIC and not _possible(rest, rules, whole):
            kept = rest
    return tuple(r.name for r in kept if r.name not in BASIC)


def check_together(
    rules: PageRules, low: tuple[float, ...] = (), high: tuple[float, ...] = ()
) -> None:
    """Raise ``ConfigError`` that names the rules which cannot be met together."""
    if not any(low) and all(share >= 1 for share in high):
        low, high = (), ()  # such quotas ask for nothing
    names = conflicts(rules, low, high)
    if names:
        what = "fill a page" if len(names) == 1 else "be met together on a page"
        raise ConfigError(
            f"these rules cannot {what} of {rules.slots} slots: {', '.join(names)}"
            " (loosen one of them)"
        )


def quota_rows(
    business: Array, rules: PageRules, low: Sequence[float], high: Sequence[float]
) -> list[Rows]:
    """Quotas as constraints on one page's expected exposures, for candidates (n,)."""
    found = []
    total, wide = rules.weights.sum(), rules.slots + len(rules.businesses)
    for name, shares in (("low", low), ("high", high)):
        for b, share in enumerate(shares):
            if share > 0 if name == "low" else share < 1:
                held = np.outer(business == b, rules.weights).reshape(1, -1)
                matrix = sp.hstack([sp.coo_matrix(held), sp.coo_matrix((1, wide))], "coo")
                limits = (share * total, np.inf) if name == "low" else (0, share * total)
                label = f"{name} quota of {rules.businesses[b]}"
                found.append(Rows(label, matrix, *limits))
    return found


def _possible(rows: Sequence[Rows], rules: PageRules, whole: bool) -> bool:
    """Whether a full page, or a mixture of pages, meets all of these."""
    matrix, low, high = stacked(rows)
    n_cards = matrix.shape[1] - rules.slots - len(rules.businesses)
    top = np.append(np.ones(n_cards), np.zeros(matrix.shape[1] - n_cards))  # nothing is missing
    found = milp(
        np.zeros(len(top)),
        constraints=LinearConstraint(matrix, low, high),
        integrality=top if whole else None,
        bounds=Bounds(0, top),
    )
    return found.status != 2  # 2 = proved infeasible
