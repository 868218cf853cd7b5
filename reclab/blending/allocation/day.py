"""A day of pages, served in order: what each policy earned, and what it did to the quotas.

    net value = value - sum_b price_b (exposures of b beyond its quota)

at the prices that the offline optimum puts on the quotas: a policy that wins value by breaking a
quota pays for it, so policies that miss by different amounts can be compared.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from reclab.blending.allocation.policy import PagePolicy
from reclab.blending.allocation.priced_page import PricedPage, shown_on
from reclab.blending.allocation.prices import Quotas, Shown
from reclab.blending.allocation.rules import PageRules
from reclab.core.errors import check_int
from reclab.core.types import Array, Candidates


@dataclass(frozen=True)
class Account:
    """A day's sums, and ``prices`` (m, businesses + payers) at the ``times`` (m,) ms."""

    shown: Shown
    pages: Array = field(repr=False)
    times: Array = field(repr=False)
    prices: Array = field(repr=False)

    def shares(self) -> Array:
        """(businesses,) of all expected exposures."""
        return self.shown.exposures / self.shown.exposures.sum()

    def misses(self, quotas: Quotas) -> Array:
        """(businesses,) how far the share is outside its quota, as a share of that quota."""
        share, low, high = self.shares(), np.array(quotas.low), np.array(quotas.high)
        over = np.where(high > 0, share / np.maximum(high, 1e-12) - 1, np.where(share > 0, 1, 0))
        under = 1 - share / np.maximum(low, 1e-12)
        return np.maximum(0.0, np.where(low > 0, np.maximum(under, over), over))

    def net_value(self, quotas: Quotas, price: Array) -> float:
        """Value less the quotas' misses at a ``price`` (businesses,) for an exposure."""
        total = self.shown.exposures.sum()
        over = np.maximum(self.shown.exposures - np.array(quotas.high) * total, 0)
        under = np.maximum(np.array(quotas.low) * total - self.shown.exposures, 0)
        return self.shown.value - float(np.abs(price) @ (over + under))


def parts(candidates: Candidates, every: int) -> Iterator[tuple[slice, Candidates]]:
    """The requests of a batch in order, ``every`` at a time: which, and their candidates."""
    starts = candidates.starts()
    for at in range(0, candidates.n_requests, every):
        end = min(at + every, candidates.n_requests)
        mine = slice(starts[at], starts[end])
        columns = {name: values[mine] for name, values in candidates.columns.items()}
        row, item = candidates.request_row[mine] - at, candidates.item_row[mine]
        yield slice(at, end), Candidates(end - at, row, item, columns)


def serve_day(
    policy: PagePolicy,
    candidates: Candidates,
    time_ms: Array,
    every: int = 20,
    payers: int = 0,
) -> Account:
    """Serve the requests, ``time_ms`` (B,) rising, ``every`` at a time at the same prices. A policy
    with prices then observes what was shown; stale prices are such that do not move: steps of 0."""
    check_int("serve_day.every", every, 1, 1_000_000, "20")
    rules: PageRules = policy.rules
    pages = np.full((candidates.n_requests, rules.slots), -1)
    starts, times, prices = candidates.starts(), [], []
    for rows, some in parts(candidates, every):
        page = policy.allocate(some)
        pages[rows] = np.where(page >= 0, page + starts[rows.start], -1)
        if isinstance(policy, PricedPage) and policy.prices:
            policy.observe(some, page, int(time_ms[rows.stop - 1]))
            now = policy.prices.get()
            times.append(int(time_ms[rows.stop - 1]))
            prices.append(np.append(now.business, now.payer))
    shown = shown_on(candidates, pages, rules, payers)
    return Account(shown, pages, np.array(times), np.array(prices))
