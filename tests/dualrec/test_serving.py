"""A live cascade with D_u beside it: filters bind it, the ranker scores it, the policy merges."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from reclab.cascade.batch import read_batch
from reclab.cascade.pipeline import CascadeConfig
from reclab.core.errors import ConfigError
from reclab.core.types import Candidates, Request
from reclab.dualrec.merge import Boost, Mix, Quota, SamePlaces
from reclab.dualrec.merge_stage import DISPLACED
from reclab.dualrec.pacing import Pacer
from reclab.dualrec.regroup import Regroup, RegroupConfig
from reclab.dualrec.serving import DualCascade
from reclab.stores.kv import KV

POLICIES = [Boost(1.0), Mix(weight=0.5), Mix(how="weave", share=0.2), Quota((2, 6))]


@pytest.fixture(scope="module")
def asked(lab):
    """The lab's cascade, requests of twenty users, and for each four items nobody's page has."""
    by_user = {request.user_id: request for request in lab.requests(60)}
    requests = list(by_user.values())[:20]
    slates, _ = lab.trained.recommend_batch(requests)
    index = lab.trained.parts.index
    shown = np.unique(np.concatenate([slate.item_row for slate in slates]))
    old = np.flatnonzero(index["publish_ms"] < min(r.time_ms for r in requests))
    far = np.setdiff1d(old, shown)
    users = lab.trained.parts.users
    given = {}
    for n, request in enumerate(requests):
        seen = users.seen(users.rows(np.array([request.user_id])), np.array([request.time_ms]))[1]
        given[request.user_id] = index.ids[np.setdiff1d(far, seen)[n :: len(requests)][:4]]
    return lab.trained, requests, slates, given


def columns_of(pairs):
    user, item = np.array(pairs).T
    score, reason = np.linspace(1, 0.5, len(user)), np.zeros(len(user), np.int8)
    return SimpleNamespace(item_id=item, user_id=user, score=score, reason=reason)


def filled(kv, given, **config):
    regroup = Regroup(kv, RegroupConfig(life_s=1e7, **config))
    user = np.repeat(list(given), [len(items) for items in given.values()])
    item = np.concatenate(list(given.values()))
    n = len(item)
    put = regroup.put(columns_of(list(zip(user.tolist(), item.tolist(), strict=True))), 0)
    assert put.counts()["added"] == n
    return regroup


def test_without_d_u_it_is_the_cascade_unchanged(asked, kv):
    cascade, requests, slates, _ = asked
    served = DualCascade(cascade, Regroup(kv), Boost()).serve(requests)
    for mine, plain in zip(served.slates, slates, strict=True):
        assert mine.item_id.tolist() == plain.item_id.tolist()
    assert (
        served.merged is None and DualCascade(cascade, Regroup(kv), Boost()).serve([]).slates == []
    )


@pytest.mark.parametrize("policy", POLICIES, ids=["boost", "common", "weave", "quota"])
def test_every_policy_serves_merged_pages_and_says_what_left(asked, kv, policy):
    cascade, requests, slates, given = asked
    items = np.unique(np.concatenate(list(given.values())))
    pacer = Pacer(items, np.full(len(items), 50.0), np.ones(24))
    dual = DualCascade(cascade, filled(kv, given), policy, pacer)
    served = dual.serve(requests)
    n_new = 0
    for slate, request in zip(served.slates, requests, strict=True):
        ours = slate.columns["from_creator"]
        assert set(slate.item_id[ours].tolist()) <= set(given[request.user_id].tolist())
        assert len(np.unique(slate.item_id)) == len(slate) == request.n
        assert np.isfinite(slate.columns["user_score"]).all()
        assert np.isfinite(slate.columns["creator_score"][ours]).all()
        n_new += int(slate.columns["injected"].sum())
    assert n_new == served.merged.injected.sum() > 0
    out = int((served.merged.displaced >= 0).sum())
    assert served.trace.stages[-1].reason_counts()[DISPLACED] == out
    if policy.scores(np.zeros((1, 1)), np.zeros((1, 1))) is None:
        assert out == n_new
    else:  # variety and windows may let a third card in where a second has to go
        assert n_new <= out <= 1.5 * n_new
    assert served.merged.loss.sum() > 0
    left = [dual.shown(slate) for slate in served.slates]
    ledger = dual.regroup.ledger(list(given))
    assert ledger["shown"] == sum(map(len, left)) >= n_new
    assert ledger["added"] == ledger["shown"] + ledger["held"]
    assert dual.pacer.delivered.sum() == sum(np.isin(s.item_id, items).sum() for s in served.slates)


def test_f_is_what_the_cascades_own_ranker_says(asked, kv):
    cascade, requests, _, given = asked
    served = DualCascade(cascade, filled(kv, given), Boost(1.0)).serve(requests)
    p = cascade.parts
    batch = read_batch(requests, p.users, p.index)
    row = np.repeat(np.arange(len(requests)), [len(s) for s in served.slates])
    pages = Candidates(len(requests), row, np.concatenate([s.item_row for s in served.slates]))
    f = p.fuse(p.ranker.predict(batch, pages))
    got = np.concatenate([s.columns["user_score"] for s in served.slates])
    assert got == pytest.approx(f, rel=1e-4)


def test_without_comparing_the_pages_are_the_same(asked, kv):
    cascade, requests, _, given = asked
    regroup = filled(kv, given)
    for policy in POLICIES[:3]:
        told = DualCascade(cascade, regroup, policy).serve(requests)
        quick = DualCascade(cascade, regroup, policy, compare=False).serve(requests)
        for one, other in zip(told.slates, quick.slates, strict=True):
            assert one.item_id.tolist() == other.item_id.tolist()
            ours = (one.columns["from_creator"], other.columns["from_creator"])
            assert (ours[0] == ours[1]).all()


def test_with_lambda_0_the_page_is_the_cascades_but_for_better_candidates(asked, kv):
    cascade, requests, slates, given = asked
    served = DualCascade(cascade, filled(kv, given), Boost(0.0)).serve(requests)
    assert not served.merged.injected.any() and not served.merged.loss.any()
    for mine, plain in zip(served.slates, slates, strict=True):
        if not mine.columns["from_creator"].any():
            assert np.isin(mine.item_id, plain.item_id).mean() >= 0.8


def test_more_lambda_is_more_from_the_creator_side_and_less_by_the_users_score(asked, kv):
    cascade, requests, _, given = asked
    dual = DualCascade(cascade, filled(kv, given), Boost())
    pages = [dual.serve(requests, Boost(lam)).merged for lam in (0.0, 0.1, 0.3, 1.0, 5.0)]
    count = [int(page.from_creator.sum()) for page in pages]
    loss = [float(page.loss.sum()) for page in pages]
    assert count == sorted(count) and count[-1] > count[0]
    assert loss == sorted(loss) and loss[-1] > loss[0] == 0


def test_what_the_filters_forbid_is_not_shown_and_is_cleared_away(asked, kv):
    cascade, requests, _, given = asked
    request, p = requests[0], cascade.parts
    user = p.users.rows(np.array([request.user_id]))
    seen = p.users.seen(user, np.array([request.time_ms]))[1][:2]
    late = np.flatnonzero(p.index["publish_ms"] > request.time_ms)[:1]
    bad = np.concatenate([p.index.ids[seen], p.index.ids[late], [10**12]])
    withdrawn = given[request.user_id][:1]
    mine = {request.user_id: np.concatenate([bad, given[request.user_id]])}
    regroup = filled(kv, mine)
    regroup.alive = lambda ids: ~np.isin(ids, withdrawn)
    dual = DualCascade(cascade, regroup, Boost(100.0))
    served = dual.serve([request])
    ours = served.slates[0].item_id[served.slates[0].columns["from_creator"]]
    assert sorted(ours.tolist()) == sorted(given[request.user_id][1:].tolist())
    assert any("not in the index" in note for note in served.trace.notes)
    assert dual.clear(served) == len(bad) + 1
    assert regroup.ledger([request.user_id])["held"] == len(ours)


def test_the_untargeted_control_has_the_same_places(asked, kv):
    cascade, requests, _, given = asked
    dual = DualCascade(cascade, filled(kv, given), Mix(how="weave", share=0.2))
    first = dual.serve(requests)
    control = dual.serve(requests, SamePlaces(first.merged.injected))
    assert (control.merged.injected == first.merged.injected).all()


def test_redis_down_serves_the_cascade_and_reports_go_out_later(asked):
    cascade, requests, slates, given = asked
    kv = KV(namespace="test-dual-down")
    dual = DualCascade(cascade, filled(kv, given, rest_ms=0), Boost(100.0))
    page = dual.recommend(requests[0])[0]
    kv.redis.shutdown(nosave=True)
    assert len(dual.shown(page)) == 0 and len(dual.unreported) == 1
    served = dual.serve(requests[:2])
    assert [s.item_id.tolist() for s in served.slates] == [s.item_id.tolist() for s in slates[:2]]
    assert any("served without" in note for note in served.trace.notes)
    kv.reconnect()
    dual.shown(page)
    assert not dual.unreported
    kv.close()


def test_a_merge_by_points_would_cut_d_u_and_is_refused(asked, kv):
    cascade = asked[0]
    by_score = type(cascade)(CascadeConfig(merge="score"), cascade.parts)
    with pytest.raises(ConfigError, match="cascade.config.merge must be a quota"):
        DualCascade(by_score, Regroup(kv), Boost())


def test_100_writers_and_pages_at_once_every_match_is_held_or_shown_once(asked, kv):
    cascade, requests, _, given = asked
    pairs = [(user, int(item)) for user, items in given.items() for item in items]
    dual = DualCascade(cascade, Regroup(kv, RegroupConfig(life_s=1e7)), Boost(100.0))
    gate, added, shown, cards = threading.Barrier(100), [], [], []

    def write(number: int) -> None:
        gate.wait()
        some = pairs[number % 30 :: 30]  # each pair is written by two
        put = dual.regroup.put(columns_of(some), 0)
        added.append(put.counts()["added"])

    def serve(number: int) -> None:
        request = requests[number % len(requests)]
        gate.wait()
        for _ in range(2):
            page = dual.recommend(request)[0]
            left = dual.shown(page)
            shown.extend((request.user_id, int(item)) for item in left)
            ours = page.columns.get("from_creator", np.zeros(len(page), bool))
            cards.extend((request.user_id, int(item)) for item in page.item_id[ours])

    work = [write] * 60 + [serve] * 40
    threads = [threading.Thread(target=f, args=(n,)) for n, f in enumerate(work)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger = dual.regroup.ledger(list(given))
    assert len(added) == 60 and ledger["added"] == sum(added)
    assert ledger["shown"] == len(shown) and ledger["added"] == len(shown) + ledger["held"]
    assert set(cards) == set(shown) <= set(pairs)
    held = dual.regroup.read(list(given), 0)
    users = np.array(list(given))[held.request_row]
    left = set(zip(users.tolist(), held.item_id.tolist(), strict=True))
    assert left | set(shown) == set(pairs)  # some were matched again after they were shown


def test_a_user_whom_the_stores_do_not_know_is_served_what_was_matched(asked, kv):
    cascade, requests, _, given = asked
    stranger = Request(10**9, requests[0].time_ms)
    items = next(iter(given.values()))
    dual = DualCascade(cascade, filled(kv, {stranger.user_id: items}), Boost(100.0))
    page, _ = dual.recommend(stranger)
    assert len(page) == 10 and set(items.tolist()) <= set(page.item_id.tolist())
    assert len(dual.shown(page)) == len(items)
