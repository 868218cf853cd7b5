"""§2.2 The cascade (级联式推荐系统): the recommender of one business.

    catalogue ──► retrieval ──► filters ──► pre-ranking ──► ranking ──► re-ranking ──► ten cards
                  召回           过滤         粗排             精排          重排

    request ─► batch.py                    who asks, what they liked, what they were shown
                 │
                 ▼
    retrieval/popular.py     ┐
    retrieval/item_cf.py     │
    retrieval/two_tower.py   ├► retrieval/merge.py     many cheap channels, each remembered
    retrieval/content.py     │
    retrieval/social.py      │
    retrieval/sequential.py  ┘
                 │
                 ▼
    filters/published.py ► filters/duplicates.py ► filters/exposed.py    what must not be shown
      and as wanted  filters/duplicate_content.py, filters/exposed_bloom.py, filters/risk.py,
      filters/block_list.py, filters/compliance.py, filters/context.py
                 ▼
    pre_ranking/two_tower.py               one dot product a candidate        ┐
      or pre_ranking/shallow.py, pre_ranking/three_tower.py; with             │ stages.py
      pre_ranking/duties.py                                                   │ holds sizes
                 ▼                                                            │ and models
    ranking/features.py ► ranking/din.py ► ranking/fusion.py                  │
      or another of ranking/zoo.py                                            ┘
                 ▼
    re_ranking/mmr.py (re_ranking/windows.py)    from the best items to the best list
      or re_ranking/dpp.py, re_ranking/score_order.py, re_ranking/list_wise.py,
      re_ranking/generator.py, re_ranking/policy_gradient.py, judged by
      re_ranking/list_metrics.py
                 ▼
    Slate, Trace                           every dropped candidate has a stage and a reason

``pipeline.py`` is that list as code; ``ranking/training.py`` is the one loop all models learn by.
"""

from reclab.cascade.pipeline import CHANNELS, Cascade, CascadeConfig, Parts

__all__ = ["CHANNELS", "Cascade", "CascadeConfig", "Parts"]
