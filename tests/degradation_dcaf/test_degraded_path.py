"""The degraded path: every item accounted for, rules applied on reading, never an empty page."""

from dataclasses import replace

import numpy as np
import pytest

from reclab.degradation_dcaf import DegradationCache, DegradedPath
from reclab.stores.exposures import RecentExposures


@pytest.fixture
def path(lab, kv) -> DegradedPath:
    p = lab.trained.parts
    hot = lambda batch: p.popular.retrieve(batch, 200)[0]  # noqa: E731
    return DegradedPath(DegradationCache(kv), p.index, p.users, hot, RecentExposures(kv))


@pytest.fixture
def healthy(lab, path):
    """Healthy answers to ten users, whose ranks 11 to 30 are in the cache now; what was shown."""
    by_user = {request.user_id: replace(request, n=30) for request in lab.requests(40)}
    asked = list(by_user.values())[:10]
    slates, _ = lab.trained.recommend_batch(asked)
    return [path.cache.remember(slate) for slate in slates]


def test_two_degraded_pages_follow_a_healthy_one_without_a_repetition(path, healthy):
    for shown in healthy:
        request = replace(shown.request, n=10)
        first, _ = path.recommend(request)
        second, trace = path.recommend(request)
        assert len(first) == len(second) == 10
        pages = np.concatenate([shown.item_id, first.item_id, second.item_id])
        assert len(np.unique(pages)) == 30
        assert not trace.notes


def test_every_cached_item_is_shown_or_has_a_reason(path, healthy):
    request = replace(healthy[0].request, n=10)
    slate, trace = path.recommend(request)
    last = trace.stages[-1]
    assert trace.stages[0].n_kept == 20
    assert sum(len(stage.dropped) for stage in trace.stages) + len(slate) == 20
    assert last.reason_counts() == {"stays in the cache": 10}
    assert trace.cost_mmac == 0


def test_what_was_shown_since_is_dropped_on_reading(path, healthy):
    request = replace(healthy[0].request, n=10)
    cached = path.cache.peek([request.user_id])[0].item_id
    path.exposures.put(request.user_id, cached[:15])
    slate, trace = path.recommend(request)
    assert not np.isin(slate.item_id, cached[:15]).any()
    assert slate.item_id[:5].tolist() == cached[15:].tolist()
    assert len(slate) == 10 and "5 from the hot pool" in trace.notes[0]


def test_a_user_without_a_list_gets_the_hot_pool(path, lab):
    slate, trace = path.recommend(lab.requests(1)[0])
    assert len(slate) == 10 and "0 candidates left, 10 from the hot pool" in trace.notes[0]


def test_a_batch_answers_as_each_request_alone(path, healthy):
    requests = [replace(shown.request, n=10) for shown in healthy]
    kept = [path.cache.peek([request.user_id])[0] for request in requests]
    together, _ = path.recommend_batch(requests)
    for request, held in zip(requests, kept, strict=True):
        path.cache.put(request.user_id, *held)
    alone = [path.recommend(request)[0] for request in requests]
    for one, other in zip(together, alone, strict=True):
        assert one.item_id.tolist() == other.item_id.tolist()
    assert path.recommend_batch([])[0] == []


def test_items_that_left_the_catalogue_are_left_out_with_a_note(path, lab):
    request = lab.requests(1)[0]
    path.cache.put(request.user_id, np.array([-77, -78]), np.ones(2))
    slate, trace = path.recommend(request)
    assert len(slate) == 10 and "2 cached items are not in the index" in trace.notes[0]


def test_with_redis_gone_the_page_is_from_the_hot_pool(path, healthy):
    path.cache.kv.redis.shutdown(nosave=True)
    slate, trace = path.recommend(replace(healthy[0].request, n=10))
    assert len(slate) == 10
    assert any("no cached answers" in note for note in trace.notes)
    path.cache.kv.reconnect()
