"""§2.5 The creator side (作者侧推荐): an item asks for users, beside users who ask for items.

    visit_log.py       when each user came, as of any time
    trees.py           boosted trees as plain arrays
      ▼
    activity.py        a_u: who will come                                活跃度预测
      ▼
    user_pool.py       a_u = 1 and |D_u| < Q                             在线用户池
      ▼
    creator_side.py    an item asks: user_index.py, user_channels.py     作者侧召回
      │                  (i2i2u, i2u2u, fans), fair_ranker.py            作者侧排序
      │                capacity.py: nobody over Q;  over_cascade.py: from a trained cascade
      ▼  matches.py
    regroup.py         D_u under the user's key in Redis                 重组
      ▼
    creator_candidates.py ─► the cascade: filters, f beside g
      ▼
    merge_stage.py     merge.py: quota, boost, mix; pacing.py: plans     保量 Boost 混排
      ▼
    serving.py         a page from both sides; shown: leaves D_u

``pipeline.py`` is that list as code; ``controls.py`` deals the same matches to anybody.
"""
