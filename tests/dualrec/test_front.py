"""What the creator side costs the users, by the platform's truth: matched beside untargeted."""

from dataclasses import dataclass

import numpy as np
import pytest

from reclab.cascade.batch import read_batch
from reclab.core.types import Candidates
from reclab.dualrec.controls import shuffled
from reclab.dualrec.merge import Boost, SamePlaces
from reclab.dualrec.regroup import Regroup, RegroupConfig
from reclab.dualrec.serving import DualCascade


@dataclass(frozen=True)
class Columns:
    item_id: np.ndarray
    user_id: np.ndarray
    score: np.ndarray
    reason: np.ndarray


@pytest.fixture(scope="module")
def panel(lab):
    """A request a user, the true gain of every item, and matches of the 300 least shown items: each
    asks for its best users by the ranker, with room for ten items a user."""
    requests = lab.judge.requests("tuning", 200)
    rows = list({request.user_id: row for row, request in enumerate(requests)}.values())
    requests = [requests[row] for row in rows]
    gains, p = lab.judge.gains("tuning", 200)[rows], lab.trained.parts
    every = np.arange(len(p.users))
    shown = p.users.seen(every, np.full(len(every), requests[0].time_ms))[1]
    few = np.bincount(shown, minlength=len(p.index))
    old = np.flatnonzero(p.index["publish_ms"] < min(r.time_ms for r in requests))
    tail = old[np.argsort(few[old], kind="stable")[:300]]
    n = len(requests)
    pairs = Candidates(n, np.repeat(np.arange(n), len(tail)), np.tile(tail, n))
    batch = read_batch(requests, p.users, p.index)
    g = p.fuse(p.ranker.predict(batch, pairs)).reshape(n, len(tail))
    room, found = np.full(n, 10), []
    for j in np.argsort(-g.max(0)):
        best = [b for b in np.argsort(-g[:, j]) if room[b] > 0][:3]
        room[best] -= 1
        found += [(p.index.ids[tail[j]], requests[b].user_id, g[b, j]) for b in best]
    item, user, score = map(np.array, zip(*found, strict=True))
    return requests, gains, Columns(item, user, score, np.zeros(len(item), np.int8))


def value(gains, slates) -> float:
    return float(np.mean([gains[b, s.item_row].sum() for b, s in enumerate(slates)]))


def test_lambda_costs_true_value_and_untargeted_cards_in_the_same_places_cost_more(lab, panel, kv):
    requests, gains, matches = panel
    regroup, other = Regroup(kv, RegroupConfig(life_s=1e8)), Regroup(kv, RegroupConfig(life_s=1e8))
    regroup.put(matches, 0)
    dual = DualCascade(lab.trained, regroup, Boost())
    served = [dual.serve(requests, Boost(lam)) for lam in (0.0, 0.5, 2.0)]
    cost = 1 - np.array([value(gains, s.slates) for s in served]) / value(gains, served[0].slates)
    cards = [int(s.merged.from_creator.sum()) for s in served]
    assert cards[0] < cards[1] < cards[2] and 0 == cost[0] < cost[1] < cost[2]
    kv.delete(*kv.names())
    other.put(shuffled(matches, 1), 0)
    dual = DualCascade(lab.trained, other, Boost(0.0))
    control = [dual.serve(requests)]
    control += [dual.serve(requests, SamePlaces(s.merged.injected)) for s in served[1:]]
    for mine, theirs in zip(served[1:], control[1:], strict=True):
        assert theirs.merged.injected.sum() >= 0.95 * mine.merged.injected.sum()
    untargeted = 1 - np.array([value(gains, s.slates) for s in control]) / value(
        gains, served[0].slates
    )
    assert (untargeted[1:] > 1.3 * cost[1:]).all()
