"""Re-ranking (重排): from the best items to the best list.

mmr.py           relevance against similarity to what is already in the list (MMR)
dpp.py           relevance and the volume that the list spans (determinantal point process)
windows.py       at most so many cards of one category or creator in any window of the list
list_metrics.py  diversity, novelty, fairness and balance of whole lists
"""

from reclab.cascade.re_ranking.dpp import DPPConfig, DPPStage, dpp, dpp_batch
from reclab.cascade.re_ranking.mmr import MMRConfig, MMRStage, mmr, mmr_batch

__all__ = [
    "DPPConfig",
    "DPPStage",
    "MMRConfig",
    "MMRStage",
    "dpp",
    "dpp_batch",
    "mmr",
    "mmr_batch",
]
