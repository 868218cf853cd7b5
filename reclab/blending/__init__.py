"""Blending (混合推荐系统), §2.1: one page from many businesses. Figure 2.1:

    server --request--> door.py --> router.py: traffic split (experiment.py), degradation flag
                                       |  pipeline.py: the five steps
        fan_out.py, a lane.py each: breaker.py, deadline, hedge.py; rpc.py or in-process
           |          |         |         |         |           |
      short video    live    product     ad     image-text   campaign       (serve.py, servers.py)
      businesses/make.py: own items, own objective (businesses/ads.py: budgets, and others)
           |          |         |         |         |           |
        check.py: late, unknown, twice, NaN: dropped with a reason, never passed on
                                       |
        service.py:  calibration.py   score -> probability, a curve for each business
                     currency.py      probability -> expected objectives -> one value
                     allocation/      which card gets which slot, under the rules of the page
                                       |
        page.py: never empty; what its ads pay: auction.py; how it came about: trace.py

``contract.py`` is what the Router knows of a business; ``businesses/make.py`` makes all six.
"""

from reclab.blending.allocation import (
    AllocateStage,
    DualPrices,
    ExactPage,
    FixedSlots,
    PagePolicy,
    PageRules,
    PricedPage,
    PricingConfig,
    Quotas,
    RatioWeave,
    WeightedSum,
    violations,
)
from reclab.blending.auction import AuctionConfig, sell_page, sell_slots
from reclab.blending.calibration import ScoreCalibration, ScoreCalibrationConfig
from reclab.blending.currency import Currency, Outcomes
from reclab.blending.service import BlendingService

__all__ = [
    "AllocateStage",
    "AuctionConfig",
    "BlendingService",
    "Currency",
    "DualPrices",
    "ExactPage",
    "FixedSlots",
    "Outcomes",
    "PagePolicy",
    "PageRules",
    "PricedPage",
    "PricingConfig",
    "Quotas",
    "RatioWeave",
    "ScoreCalibration",
    "ScoreCalibrationConfig",
    "WeightedSum",
    "sell_page",
    "sell_slots",
    "violations",
]
