"""The businesses (业务): six recommenders, each with its own items, objective and unit.

    own_items.py    retrieval channels of the cascade, restricted to the business's items
    recommender.py  retrieval -> filters -> pre-ranking -> ranking by the business's objective
    objectives.py   short video: watch time and long views       live: clicks, watch time, tips
                    product: GMV                                 image-text: reading time
    payments.py     P(pay | click), learned from the logs: orders (CVR) and tips
    ads.py          eCPM under budgets that are paced and run out; what a click is worth to them
    ledger.py       clicks are charged to advertisers, each of them once
    campaigns.py    operators' priorities, each for a period
    make.py         all six over one trained cascade

Their scores cannot be compared: minutes, points, money, money for a thousand exposures, seconds,
priorities. ``calibration.py`` and ``currency.py`` come after them.
"""

from reclab.blending.businesses.ads import AdBudgets, AdBudgetsConfig
from reclab.blending.businesses.make import BusinessConfig, Money, make_businesses
from reclab.blending.businesses.recommender import Recommender, cards_of

__all__ = [
    "AdBudgets",
    "AdBudgetsConfig",
    "BusinessConfig",
    "Money",
    "Recommender",
    "cards_of",
    "make_businesses",
]
