"""Re-ranking (重排): from the best items to the best list.

mmr.py      relevance against similarity to what is already in the list (MMR)
windows.py  at most so many cards of one category or creator in any window of the list
"""

from reclab.cascade.re_ranking.mmr import MMRConfig, MMRStage, mmr, mmr_batch

__all__ = ["MMRConfig", "MMRStage", "mmr", "mmr_batch"]
