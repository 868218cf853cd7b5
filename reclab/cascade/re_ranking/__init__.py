"""Re-ranking (重排): from the best items to the best list.

score_order.py      the order of the scores, under windows
windows.py          at most so many cards of one category or creator in any window of the list
mmr.py              relevance against similarity to what is already in the list (MMR)
dpp.py              relevance and the volume that the list spans (determinantal point process)
list_wise.py        learned: every candidate re-scored in the context of the others, in one pass
generator.py        learned: a Transformer writes the list card by card, taught by an evaluator
policy_gradient.py  learned: a policy tries lists in an environment and keeps what paid
list_metrics.py     diversity, novelty, fairness and balance of whole lists

The learned ones share: cards.py what they may know of a candidate, attention.py the network over a
list, evaluator.py what a list would win by the logs, writing.py one card after the other, and
learned.py their contract (fit, lists, save, load) and stage.
"""

from reclab.cascade.re_ranking.cards import Cards
from reclab.cascade.re_ranking.dpp import DPPConfig, DPPStage, dpp, dpp_batch
from reclab.cascade.re_ranking.evaluator import Believed, Evaluator, EvaluatorConfig
from reclab.cascade.re_ranking.generator import Generator, GeneratorConfig
from reclab.cascade.re_ranking.learned import LearnedStage, ListModel
from reclab.cascade.re_ranking.list_wise import ListWise, ListWiseConfig, Pages
from reclab.cascade.re_ranking.mmr import MMRConfig, MMRStage, mmr, mmr_batch
from reclab.cascade.re_ranking.policy_gradient import (
    Environment,
    PolicyGradient,
    PolicyGradientConfig,
)
from reclab.cascade.re_ranking.score_order import ScoreOrderStage, in_windows

__all__ = [
    "Believed",
    "Cards",
    "DPPConfig",
    "DPPStage",
    "Environment",
    "Evaluator",
    "EvaluatorConfig",
    "Generator",
    "GeneratorConfig",
    "LearnedStage",
    "ListModel",
    "ListWise",
    "ListWiseConfig",
    "MMRConfig",
    "MMRStage",
    "Pages",
    "PolicyGradient",
    "PolicyGradientConfig",
    "ScoreOrderStage",
    "dpp",
    "dpp_batch",
    "in_windows",
    "mmr",
    "mmr_batch",
]
