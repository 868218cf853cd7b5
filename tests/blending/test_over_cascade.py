"""The cascade of the lab as a business behind the Router."""

import numpy as np

from reclab.blending.router import Router, RouterConfig
from reclab.blending.rpc import Local
from tests.blending.over_cascade import OverCascade


def test_a_page_of_the_cascade_comes_through_the_router_unchanged(lab):
    index, business = lab.trained.parts.index, OverCascade("short_video", lab.cascade)
    config = RouterConfig(deadline_ms=60_000)
    router = Router([Local(business)], index, index.ids[:200], config=config)
    requests = lab.requests(5)
    said = business.offer(requests, config.n_offers, None)
    first = np.cumsum(said.counts) - said.counts
    slates, traces = router.recommend_batch(requests)
    for start, slate, trace in zip(first, slates, traces, strict=True):
        assert slate.item_id.tolist() == said.item_id[start : start + 10].tolist()
        assert (slate.item_row == index.rows(slate.item_id)).all() and trace.from_pool == 0
