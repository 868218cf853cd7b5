"""Degradation (降级推荐系统), §2.4: what to leave out when there is too much to compute.

    healthy answers --ranks 11-30--> cache.py
                                        |
    degraded requests --> pipeline.py: degraded_path.py  cached retrieval -> filters -> truncation
                                                         (short lists: hot pool)
    what may be given:   actions.py         ten settings of the cascade, and what each costs
    what is known:       request_context.py  of a request, before anything is retrieved
    what it is worth:    value_model.py     Q by a line, learned from a log with exploration
                         value_network.py   Q by a small network that never falls
    price of computing:  dcaf.py            lam, the action of each request at that price
    limits under load:   max_power.py       a cap on any request's computing, by feedback
                         quality_factor.py  one factor for all requests: the global baseline

Still to come: the load model, the decision service with its policies, lesson 04.
"""

from reclab.degradation_dcaf.actions import ACTIONS, Action, Costs, cascade_of, measure_costs
from reclab.degradation_dcaf.cache import DegradationCache, DegradationCacheConfig
from reclab.degradation_dcaf.dcaf import Solution, act, solve_lambda
from reclab.degradation_dcaf.max_power import MaxPower, MaxPowerConfig
from reclab.degradation_dcaf.pipeline import DegradedPath
from reclab.degradation_dcaf.quality_factor import QualityFactor, QualityFactorConfig
from reclab.degradation_dcaf.value_model import ExplorationLog, LinearValue, ValueConfig
from reclab.degradation_dcaf.value_network import MonotoneValue

__all__ = [
    "ACTIONS",
    "Action",
    "Costs",
    "ExplorationLog",
    "LinearValue",
    "MonotoneValue",
    "ValueConfig",
    "cascade_of",
    "measure_costs",
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
