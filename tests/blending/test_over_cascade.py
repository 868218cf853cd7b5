"""The cascade of the lab as a business behind the Router, and the degraded path beside it."""

from dataclasses import replace

import numpy as np

from reclab.blending.router import Router, RouterConfig
from reclab.blending.rpc import Local
from reclab.degradation_dcaf import DegradationCache, DegradedPath
from reclab.stores.kv import KV
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


class Everybody:
    """A decision service at the height of an overload."""

    def flags(self, requests):
        return np.ones(len(requests), np.int8)


def test_a_raised_flag_brings_what_the_degradation_cache_holds(lab):
    p, kv = lab.trained.parts, KV(namespace="test-router")
    path = DegradedPath(
        DegradationCache(kv), p.index, p.users, lambda batch: p.popular.retrieve(batch, 200)[0]
    )
    business = OverCascade("short_video", lab.trained)
    options = {"degradation": Everybody(), "degraded": path}
    config = RouterConfig(deadline_ms=60_000, cached_ms=20_000)
    router = Router([Local(business)], p.index, p.index.ids[:200], config=config, **options)
    requests = [*{one.user_id: one for one in lab.requests(40)}.values()][:5]
    longer = [replace(request, n=30) for request in requests]
    for slate in lab.trained.recommend_batch(longer)[0]:
        path.cache.remember(slate)
    held = path.cache.peek([request.user_id for request in requests])
    slates, traces = router.recommend_batch(requests)
    for cached, slate, trace in zip(held, slates, traces, strict=True):
        assert slate.item_id.tolist() == cached.item_id[:10].tolist()
        assert trace.degraded and not trace.calls and trace.steps.stages[-1].name == "truncation"
    for name in kv.names():
        kv.delete(name)
    kv.close()
