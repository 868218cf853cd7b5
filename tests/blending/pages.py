"""Random pages: candidates of six businesses, as the tests and the bench of blending want them."""

import numpy as np

from reclab.core.clock import HOUR_MS
from reclab.core.types import Array, Candidates
from reclab.world.traffic import HOURLY

LEVEL = np.array([1.0, 1.2, 0.9, 1.3, 0.7, 0.5])  # how dear each business's cards are


def random_pages(
    n: int, seed: int = 0, each: int = 10, creators: int = 25, level: Array = LEVEL
) -> Candidates:
    """``n`` requests with ``each`` candidates of each business: values from a gamma distribution
    around the business's level, and scores of its own scale."""
    chance = np.random.default_rng(seed)
    kinds = len(level)
    business = np.tile(np.repeat(np.arange(kinds), each), n)
    value = chance.gamma(2.0, 0.5, len(business)) * level[business]
    columns = {
        "business": business,
        "value": value,
        "creator": chance.integers(0, creators, len(business)),
        "score": value / level[business] * 10.0 ** (business - 2),
    }
    row = np.repeat(np.arange(n), kinds * each)
    return Candidates(n, row, np.arange(len(business)), columns)


def random_day(
    n: int, seed: int = 0, payers: int = 12, drift: float = 1.0, drifting: int = 1
) -> tuple[Candidates, Array]:
    """``n`` pages of a day with its tide, and their times (n,) in ms. Ads are paid for by one of
    ``payers``. From noon the values of the business ``drifting`` are multiplied by ``drift``."""
    candidates = random_pages(n, seed)
    chance = np.random.default_rng((seed, 1))
    hour = np.searchsorted(np.cumsum(HOURLY) / HOURLY.sum(), chance.random(n))
    time_ms = np.sort(hour * HOUR_MS + chance.integers(0, HOUR_MS, n))
    business, value = candidates["business"], candidates["value"]
    late = time_ms[candidates.request_row] >= 12 * HOUR_MS
    value = value * np.where(late & (business == drifting), drift, 1.0)
    ad = business == 3
    payer = np.where(ad, chance.integers(0, payers, len(value)), -1)
    spend = np.where(ad, value * chance.uniform(0.6, 1.0, len(value)), 0.0)
    return candidates.with_columns(value=value, payer=payer, spend=spend), time_ms
