"""§2.3 Offline and online (离线架构与在线架构). What there is of figure 2.3, as files:

    app                                                              recommender
      │ POST /v1/events, signed                                          │
      ▼                                                                  │
    gateway.py ─ size, type                                              │
      │ signature.py         who sent it          鉴权                    │
      ▼                                                                  │
    intake.py ── requests that came together, together                   │
      │ rate_limit.py        a token bucket a device    限流              │
      │ event_check.py       clock, size of each event  校验              │
      │ tracking_schema.py   fields, one form           格式标准化          │
      │ seen_events.py       each event once            去重              │
      ├────────► topic dead_letters, with the reason                     │
      ▼                                                                  ▼
    topic events (label stream)                     topic features (feature stream)
      │            └── pipeline.py names the topics of reclab.stores.event_log ──┘
      ▼
    sample_join.py ── impressions and reports become samples       样本拼接
      │ join_window.py       fixed window, end of session          窗口
      │ join_hazard.py       by the chance of a later label; delay_law.py: how late labels come
      │ join_records.py      rows in and out; keyed_ring.py: those that are open
      │ join_report.py       join rate and what it cost            拼接率
      │ batch_join.py        the same samples by a batch
      ▼
    samples, for training

``gateway_page.py`` is the gateway's OpenAPI page.
"""
