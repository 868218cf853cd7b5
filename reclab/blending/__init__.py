"""Blending (混合推荐系统), §2.1: one page from many businesses.

    short video | live | product | ad | image-text | campaign      candidates, each with own scores
                          |
    pipeline.py:  calibration.py   score -> probability, a curve for each business
                          |
                  currency.py      probability -> expected objectives -> one value
                          |
                  allocation/      which card gets which slot, under the rules of the page
                          |
    page, and what its ads pay: auction.py

Still to come: the Router, the businesses and the RPC between them, lesson 01.
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
from reclab.blending.pipeline import BlendingService

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
