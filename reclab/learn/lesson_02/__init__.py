"""The exercises of lesson 02, the cascade (§2.2): one file each.

2.1 item_similarity   retrieval: which items were liked by the same people (replaces ours live)
2.2 mmr               re-ranking: a good list instead of good items (replaces ours live)
2.3 stage_sizes       the funnel: the cheapest sizes that keep the value
2.4 decayed_counts    retrieval: what is popular now
2.5 auc_trap          ranking: a high AUC and a poor list
2.6 fuse              ranking: several targets, one score
2.7 target_attention  ranking: what of the past matters for this candidate (replaces ours live)
2.8 reserved_cut      pre-ranking: places kept for new items (replaces ours live)
"""

from reclab.learn.lesson_02 import (
    auc_trap,
    decayed_counts,
    fuse,
    item_similarity,
    mmr,
    reserved_cut,
    stage_sizes,
    target_attention,
)

EXERCISES = (
    item_similarity.TASK,
    mmr.TASK,
    stage_sizes.TASK,
    decayed_counts.TASK,
    auc_trap.TASK,
    fuse.TASK,
    target_attention.TASK,
    reserved_cut.TASK,
)
