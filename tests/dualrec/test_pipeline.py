"""All of figure 2.10 over one lab: nobody over Q, nothing lost between match and page."""

import numpy as np
import pytest

from reclab.core.types import Request
from reclab.dualrec.activity import Activity
from reclab.dualrec.merge import Mix
from reclab.dualrec.over_cascade import creator_side
from reclab.dualrec.pipeline import DualRec
from reclab.dualrec.regroup import Regroup, RegroupConfig
from reclab.dualrec.serving import DualCascade
from reclab.dualrec.user_pool import UserPool, UserPoolConfig
from reclab.dualrec.visit_log import VisitLog
from reclab.lab.lab import train_until
from reclab.stores.kv import KV

Q = 3


@pytest.fixture(scope="module")
def matched(lab):
    """The newest items matched twice, an hour apart."""
    kv = KV(namespace="test-dualrec-pipeline")
    now_ms = train_until(lab)
    parts = lab.trained.parts
    activity = Activity(VisitLog.build(lab.logs)).fit(now_ms)
    pool = UserPool(len(parts.users), UserPoolConfig(quota=Q))
    regroup = Regroup(kv, RegroupConfig(capacity=Q, life_s=1e6))
    serving = DualCascade(lab.trained, regroup, Mix(how="weave", share=0.2))
    dual = DualRec(creator_side(parts, pool, now_ms), regroup, serving, activity)
    published = parts.index["publish_ms"]
    old = np.flatnonzero(published <= now_ms)
    newest = parts.index.ids[old[np.argsort(-published[old], kind="stable")[:40]]]
    first = dual.match(newest[:20], now_ms)
    second = dual.match(newest, now_ms + 3_600_000)
    yield dual, now_ms, activity, first, second
    kv.delete(*kv.names())
    kv.close()


def test_only_users_who_are_likely_to_come_are_matched_and_none_beyond_q(matched):
    dual, now_ms, activity, (matches, report, put), (again, _, more) = matched
    active = dual.side.user_ids[activity.active(now_ms, share=0.5)]
    assert report.matches == len(matches) > 100
    assert np.isin(matches.user_id, active).all()
    sizes = dual.regroup.sizes(dual.side.user_ids, now_ms + 3_600_001)
    assert sizes.max() == Q
    added = put.counts()["added"] + more.counts()["added"]
    assert sizes.sum() == added == len(matches) + len(again)


def test_a_card_that_is_shown_leaves_d_u_and_makes_room(matched):
    dual, now_ms, _, (matches, _, _), _ = matched
    users, n = np.unique(matches.user_id, return_counts=True)
    request = Request(int(users[n.argmax()]), now_ms + 7_200_000, req_id=1)
    (slate,), _ = dual.recommend_batch([request])
    mine = slate.columns["from_creator"].astype(bool)
    assert len(slate) == 10 and mine.any()
    one = np.array([request.user_id])
    before = dual.regroup.sizes(one, request.time_ms)[0]
    dual.shown(slate)
    assert dual.regroup.sizes(one, request.time_ms)[0] == before - mine.sum()
