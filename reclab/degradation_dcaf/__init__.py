"""Degradation (降级推荐系统), §2.4: what to leave out when there is too much to compute.

Figure 2.6, with figures 2.7 and 2.8 inside it:

    monitor --utilisation, traffic, p99, failures, once a tick--> decision.py
                                                                     |  asks one policy:
        policies.py     never, by hand, thresholds, overflow,        |
                        quality_factor.py, max_power.py alone        |
        rl.py           learned in the load model                    |
        dcaf_policy.py  by the worth of the request                  |
             ^               gain of each action: value estimator    |
             |  price.py     lam on a rolling log  <- dcaf.py        |
             |  max_power.py a cut by feedback                       |
                                                                     v
    Router --request--> flag 0: the live path, with one of actions.py
                        flag 1: pipeline.py: degraded_path.py   cached retrieval -> filters
                                                 ^              -> truncation
    healthy answers --ranks 11-30--> cache.py ---+              (short lists: hot pool)

    load_model.py   what admitted work does to servers: waiting, failures; stands for them in tests

Still to come: the value estimator, lesson 04.
"""

from reclab.degradation_dcaf.actions import Action, Costs
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

__all__ = [
    "Action",
    "Costs",
    "DCAF",
    "DCAFConfig",
    "DecisionConfig",
    "DecisionService",
    "DegradationCache",
    "DegradationCacheConfig",
    "DegradedPath",
    "Ladder",
    "Learned",
    "LearnedPolicy",
    "LearningConfig",
    "LoadConfig",
    "LoadModel",
    "ManualCut",
    "MaxPower",
    "MaxPowerConfig",
    "Measured",
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
    "act",
    "solve_lambda",
]
