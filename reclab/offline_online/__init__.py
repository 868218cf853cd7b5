"""§2.3 Offline and online (离线架构与在线架构): figures 2.3 and 2.5, a folder a part, a file a box.

    phones                                          recommender, for each page
      │ POST /v1/events                               │
      ▼                                               ▼
    gateway/gateway.py            埋点网关          features/feature_log.py         特征流
    gateway/signature.py          鉴权                │ as served, bit for bit
    gateway/rate_limit.py         限流                │
    gateway/event_check.py        校验                │
    gateway/seen_events.py        去重                │
      │    └─► dead letters, with the reason          │
      ▼                                               ▼
    topic events ── 标签流 ──────────────────────►  join/joiner.py                  样本拼接
      │                                             join/partition.py      killed, and exact
      ├─► labels/label_consumer.py  反馈标签消费者   join/sample_join.py    the join itself
      │   labels/label_store.py     req_id:item_id  join/window.py         when a sample closes
      │   join/lookup_join.py       wait, look up   join/hazard.py         by the chance of one more
      │                                             join/delay_law.py      what a window can catch
      ▼                                             join/report.py         拼接率
    features/feature_update.py    流批更新           join/batch_join.py     the same by a batch
    features/live_features.py     counters,           │ topic samples: join/sample_record.py
      │                           sequences           ▼
      │                                             training/training_loop.py       训练
      │                                             training/trainer.py    stream, hour, day
      ▼                                             training/model_version.py       守卫
    serving/versions.py ◄─────────────────────────────┘
      │ 版本切换: index, features and models behind one pointer
      ▼
    serving/serving.py            在线服务          ◄── request, time left
    serving/latency_budget.py     延迟预算
    serving/fallback.py           兜底: fresh ► without ranking ► cached ► serving/pools.py
    serving/capacity.py           how many cores    serving/resource_allocation.py  潮汐
      ▼
    ten cards, in time: shown, logged, joined, learned                              数据飞轮

``pipeline.py`` names the topics of ``reclab.stores.event_log`` between the boxes.
"""
