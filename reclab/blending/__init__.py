"""§2.1 Blending (混合推荐系统): one door, many businesses, one page. Figure 2.1 as files:

    server                                                        (the app's back end)
      │ 1  request                                    ▲ 5  page of ten, always
      ▼                                               │
    router.py  door.py (who comes together goes together)        experiment.py  traffic split
      │  guard.py  asks core.protocols.Degradation: 1 = the degraded path answers
      │ 2  in parallel, each with a deadline          │
      ▼                                               │
    fan_out.py ─► lane.py, one a business             │
      │           breaker.py  who fails is left alone │
      │           hedge.py    who is slow is asked twice
      │                                               │
      │ rpc.py  messages.py  blending.proto           │ blend.py  any blending function or
      │   in this process, or servers.py ─► serve.py, │           service; page.py  else a weave;
      │   one process a business                      │           last-resort pool, by the rules of
      │                                               │           the page: ruled_pool.py
      ▼                                               │
    businesses/make.py (contract.py) ─ 3 ─────► check.py ─ 4  one set, checked
                                                  dropped with reasons

and the way back: router.feedback(slate, clicked) ─► outbox.py ─► businesses/ledger.py, which
charges an advertiser once for a click; ``slow_down.py`` makes a process slow, for lessons.

Inside the blending service:

    service.py    calibration.py   score -> probability, a curve for each business
                  currency.py      probability -> expected objectives -> one value
                  allocation/      which card gets which slot: fixed slots, weave, weighted sum, the
                                   exact page, or the page at prices; under the rules of the page
                  auction.py       what its ads pay

``pipeline.py`` is the list of the steps as code; ``trace.py`` is what happened, call by call, for
the waterfall in ``reclab.show``; ``generate.py`` writes the code of blending.proto anew. This file
imports nothing, so that a server's process loads only what it serves.
"""
