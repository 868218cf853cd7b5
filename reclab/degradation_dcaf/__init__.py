"""Degradation (降级推荐系统), §2.4: what to leave out when there is too much to compute.

    healthy answers --ranks 11-30--> cache.py
                                        |
    degraded requests --> pipeline.py: degraded_path.py  cached retrieval -> filters -> truncation
                                                         (short lists: hot pool)
    price of computing:  dcaf.py            lam, the action of each request at that price
    limits under load:   max_power.py       a cap on any request's computing, by feedback
                         quality_factor.py  one factor for all requests: the global baseline

Still to come: the load model, the decision service with its policies, the value model, lesson 04.
"""

from reclab.degradation_dcaf.cache import DegradationCache, DegradationCacheConfig
from reclab.degradation_dcaf.dcaf import Solution, act, solve_lambda
from reclab.degradation_dcaf.max_power import MaxPower, MaxPowerConfig
from reclab.degradation_dcaf.pipeline import DegradedPath
from reclab.degradation_dcaf.quality_factor import QualityFactor, QualityFactorConfig

__all__ = [
    "DegradationCache",
    "DegradationCacheConfig",
    "DegradedPath",
    "MaxPower",
    "MaxPowerConfig",
    "QualityFactor",
    "QualityFactorConfig",
    "Solution",
    "act",
    "solve_lambda",
]
