"""The best that a whole day could have been, known in the evening: a linear programme over pages.

    max  sum_p sum_c x_pc V_pc   with  sum_c x_pc = 1,  x >= 0       (c: every page that p could be)
    low W n <= sum_pc x_pc exposures_pcb <= high W n,   sum_pc x_pc spend_pck <= budget_k

Its columns are too many to write down; they are made as they are wanted (Dantzig-Wolfe): the
programme so far gives prices, the page solver gives each request's best page at those prices. Pages
are put together in groups of requests, so that the programme stays small. It lets requests take
a mixture of pages, so no serving of whole pages exceeds it, offline or online.

What ends the search is the bound at the prices found,
    bound = sum_p max_c (V - prices * use) + prices * quotas      (Lagrangian dual: weak duality)
with the fast solver's pages in place of the best ones: ``proved_short`` solves some of them exactly
and says how much higher the true bound lies.
References: Dantzig and Wolfe 1960; solved by HiGHS (Huangfu and Hall 2018).
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog

from reclab.blending.allocation.day import parts
from reclab.blending.allocation.exact_page import ExactPage
from reclab.blending.allocation.priced_page import net_value, shown_on
from reclab.blending.allocation.prices import Prices, Quotas
from reclab.blending.allocation.rules import PageRules, page_value
from reclab.blending.allocation.slot_by_slot import write_pages
from reclab.core.errors import DataError
from reclab.core.types import Array, Candidates

PENALTY = 20.0  # mean values that an exposure beyond a quota costs: more than any price


class Limits(NamedTuple):
    """``matrix`` (r, n + k) use <= ``most`` (r,): the quotas and budgets that can bind."""

    matrix: Array
    most: Array


@dataclass(frozen=True)
class Optimum:
    """``value`` of the linear programme over the pages made, the ``bound`` that no day exceeds, the
    ``prices`` there, how many ``rounds`` of pages it took, and ``missed``, what of the quotas
    no mixture could meet (exposures, money)."""

    value: float
    bound: float
    prices: Prices = field(repr=False)
    rounds: int = 0
    missed: float = 0.0


def day_optimum(
    candidates: Candidates,
    rules: PageRules,
    quotas: Quotas,
    groups: int = 100,
    rounds: int = 40,
    close: float = 2e-4,
    beam: int = 16,
) -> Optimum:
    """Solve until value and bound are ``close`` (share), or for so many ``rounds``."""
    if not candidates.n_requests:
        raise DataError("day_optimum needs requests, got none (typical: a day's)")
    limits = _limits(rules, quotas, candidates.n_requests)
    every = -(-candidates.n_requests // groups)
    n, k = len(rules.businesses), len(quotas.budgets)
    price = np.zeros(len(limits.most))
    columns: list[tuple[Array, Array]] = []
    best = (0.0, np.inf, price, 0.0)
    made = 0
    for made in range(1, rounds + 1):  # noqa: B007
        at = _prices(price, limits, quotas, n)
        value, use = _columns(candidates, rules, at, every, k, beam)
        columns.append((value, use))
        bound = float(value.sum() - price @ (limits.matrix @ use.sum(0)) + price @ limits.most)
        if bound < best[1]:
            best = (best[0], bound, price, best[3])
        master, price, missed = _master(columns, limits)
        best = (master, *best[1:3], missed)
        if best[1] - master <= close * abs(best[1]):
            break
    return Optimum(best[0], best[1], _prices(best[2], limits, quotas, n), made, best[3])


def proved_short(
    candidates: Candidates, rules: PageRules, prices: Prices, sample: int = 100, beam: int = 16
) -> tuple[float, float]:
    """How much the fast solver's pages are below the exact ones at these prices, a page: mean and
    standard error over ``sample`` requests spread over the day."""
    every = max(1, candidates.n_requests // sample)
    short = []
    for at, (_, some) in enumerate(parts(candidates, 1)):
        if at % every:
            continue
        value = net_value(some, np.asarray(some["value"], np.float64), prices)
        priced = some.with_columns(value=value)
        exact = page_value(ExactPage(rules).best(some, value), priced, rules)
        fast = page_value(write_pages(some, value, rules, beam)[0], priced, rules)
        short.append(float(exact[0] - fast[0]))
    return float(np.mean(short)), float(np.std(short) / np.sqrt(len(short)))


def _limits(rules: PageRules, quotas: Quotas, pages: int) -> Limits:
    n, k = len(rules.businesses), len(quotas.budgets)
    total = rules.weights.sum() * pages
    rows, most = [], []
    for b in range(n):
        for sign, share in ((1.0, quotas.high[b]), (-1.0, quotas.low[b])):
            if share < 1 if sign > 0 else share > 0:
                rows.append(sign * np.eye(n + k)[b])
                most.append(sign * share * total)
    for j, budget in enumerate(quotas.budgets):
        rows.append(np.eye(n + k)[n + j])
        most.append(budget)
    return Limits(np.array(rows).reshape(-1, n + k), np.array(most))


def _prices(price: Array, limits: Limits, quotas: Quotas, n: int) -> Prices:
    """Prices of the limits (r,) as prices of businesses and payers."""
    each = price @ limits.matrix if len(price) else np.zeros(n + len(quotas.budgets))
    left = np.where(np.array(quotas.budgets) > 0, np.inf, 0.0)
    return Prices(each[:n], each[n:], left)


def _columns(
    candidates: Candidates, rules: PageRules, prices: Prices, every: int, payers: int, beam: int
) -> tuple[Array, Array]:
    """(g,) value and (g, n + k) use of the best pages at these prices, summed by group."""
    values, uses = [], []
    for _, some in parts(candidates, every):
        net = net_value(some, np.asarray(some["value"], np.float64), prices)
        shown = shown_on(some, write_pages(some, net, rules, beam)[0], rules, payers)
        values.append(shown.value)
        uses.append(np.append(shown.exposures, shown.spend))
    return np.array(values), np.array(uses)


def _master(columns: list[tuple[Array, Array]], limits: Limits) -> tuple[float, Array, float]:
    """Mix the columns made so far: the value, less a fine for what is missed; the prices (r,) of
    the limits; and what is missed."""
    value = np.concatenate([v for v, _ in columns])
    use = np.concatenate([u for _, u in columns])
    groups, r = len(columns[0][0]), len(limits.most)
    if not r:
        return float(value.sum()), np.zeros(0), 0.0
    fine = PENALTY * np.abs(columns[0][0]).sum() / max(columns[0][1].sum(), 1e-12)
    gain = np.append(value, np.full(r, -fine))
    least = np.hstack([limits.matrix @ use.T, -np.eye(r)])
    once = np.hstack([np.tile(np.eye(groups), len(columns)), np.zeros((groups, r))])
    found = linprog(-gain, A_ub=least, b_ub=limits.most, A_eq=once, b_eq=np.ones(groups))
    if found.x is None:
        raise DataError(f"the day's programme was not solved: {found.message}")
    missed = float(found.x[len(value) :].sum())
    return -float(found.fun), -found.ineqlin.marginals, missed
