"""Degradation (降级推荐系统), §2.4: what to leave out when there is too much to compute.

Figure 2.6, with figures 2.7 and 2.8 inside it:

    monitor --utilisation, traffic, p99, failures, once a tick--> decision.py
                                                                     |  asks one policy:
        policies.py     never, by hand, thresholds, overflow,        |
                        quality_factor.py, max_power.py alone        |
        rl.py           learned in the load model                    |
        dcaf_policy.py  by the worth of the request                  |
             ^  value_model.py, value_network.py   what each action  |
             |      would be worth, from request_context.py          |
             |  price.py     lam on a rolling log  <- dcaf.py        |
             |  max_power.py a cut by feedback                       |
                                                                     v
    Router --request--> flag 0: the live path, with one of actions.py
                        flag 1: pipeline.py: degraded_path.py   cached retrieval -> filters
                                                 ^              -> truncation
    healthy answers --ranks 11-30--> cache.py ---+              (short lists: hot pool)

    load_model.py   what admitted work does to servers: waiting, failures; stands for them in tests
"""

from reclab.degradation_dcaf.actions import ACTIONS, Action, Costs, cascade_of, measure_costs
from reclab.degradation_dcaf.cache import DegradationCache, DegradationCacheConfig
from reclab.degradation_dcaf.dcaf import Solution, act, solve_lambda
from reclab.degradation_dcaf.dcaf_policy import DCAF, DCAFConfig
from reclab.degradation_dcaf.decision import DecisionConfig, DecisionService, Ladder, Measured
from reclab.degradation_dcaf.load_model import LoadConfig, LoadModel
from reclab.degradation_dcaf.max_power import MaxPower, MaxPowerConfig
from reclab.degradation_dcaf.pipeline import DegradedPath
from reclab.degradation_dcaf.policies import (
    ManualCut,
    Never,
    Overflow,
    PowerMix,
    Quality,
    ThresholdConfig,
    Thresholds,
)
from reclab.degradation_dcaf.price import PriceConfig, RollingPrice
from reclab.degradation_dcaf.quality_factor import QualityFactor, QualityFactorConfig
from reclab.degradation_dcaf.rl import Learned, LearnedPolicy, LearningConfig
from reclab.degradation_dcaf.value_model import ExplorationLog, LinearValue, ValueConfig
from reclab.degradation_dcaf.value_network import MonotoneValue

__all__ = [
    "ACTIONS",
    "Action",
    "Costs",
    "DCAF",
    "DCAFConfig",
    "DecisionConfig",
    "DecisionService",
    "DegradationCache",
    "DegradationCacheConfig",
    "DegradedPath",
    "ExplorationLog",
    "Ladder",
    "Learned",
    "LearnedPolicy",
    "LearningConfig",
    "LinearValue",
    "LoadConfig",
    "LoadModel",
    "ManualCut",
    "MaxPower",
    "MaxPowerConfig",
    "Measured",
    "MonotoneValue",
    "Never",
    "Overflow",
    "PowerMix",
    "PriceConfig",
    "Quality",
    "QualityFactor",
    "QualityFactorConfig",
    "RollingPrice",
    "Solution",
    "ThresholdConfig",
    "Thresholds",
    "ValueConfig",
    "act",
    "cascade_of",
    "measure_costs",
    "solve_lambda",
]
