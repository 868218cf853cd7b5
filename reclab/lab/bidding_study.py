"""What an advertiser gains by not telling the truth: the same auctions of real pages under three
ways to pay, every ad bidding its worth but one.

    gain(f) = mean over (page, ad) of  w_slot truth - payment,   when that ad bids f times its truth

Worth beside money and bids are those of a pool: what the platform believes of its cards, and what
its agencies pay a click by the chance of one.
Reference: ``blending.auction``.
Simplified: one auction at a time; a budget that ends changes what is best to bid.
"""

from dataclasses import dataclass

import numpy as np

from reclab.blending.allocation import PageRules
from reclab.blending.auction import PRICING, AuctionConfig, utility_of_bidding
from reclab.blending.businesses.make import AD
from reclab.blending.currency import OBJECTIVES
from reclab.core.errors import DataError, check_int
from reclab.core.types import Array
from reclab.lab.blending_candidates import Pool

FACTORS = (0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0)


@dataclass(frozen=True)
class Bidding:
    """``gain`` (m,) of bidding ``factors`` (m,) times the truth, mean of ``auctions``, in money for
    a full exposure."""

    pricing: str
    factors: Array
    gain: Array
    auctions: int

    @property
    def best(self) -> float:
        """The factor that gains most."""
        return float(self.factors[self.gain.argmax()])


def bidding(pool: Pool, pages: int = 40, slots: int = 4) -> dict[str, Bidding]:
    """By way to pay: the first ``pages`` requests with an ad, ``slots`` to sell each; the bidder is
    the request's ad of the highest bid."""
    check_int("bidding.slots", slots, 1, 50, "4")
    c, starts = pool.candidates, pool.candidates.starts()
    weights = PageRules(slots=slots).weights
    beside = sum(w * c[name] for name, w in OBJECTIVES.items() if name != "revenue")
    bids = np.where(c["business"] == AD, c["revenue"], np.nan)
    # what is not an ad sells nothing here: its money counts as worth
    worth = beside + np.where(c["business"] == AD, 0.0, OBJECTIVES["revenue"] * c["revenue"])
    rows = [r for r in range(len(pool)) if (bids[starts[r] : starts[r + 1]] > 0).any()][:pages]
    if not rows:
        raise DataError("no request of the pool has an ad that bids")
    found, factors = {}, np.array(FACTORS)
    for pricing in PRICING:
        config, gains = AuctionConfig(OBJECTIVES["revenue"], pricing=pricing), []
        for row in rows:
            mine = slice(starts[row], starts[row + 1])
            truth = bids[mine]
            bidder = int(np.nanargmax(truth))
            gains.append(
                utility_of_bidding(worth[mine], truth, weights, factors, bidder, config)
            )  # fmt: skip
        found[pricing] = Bidding(pricing, factors, np.mean(gains, 0), len(rows))
    return found
