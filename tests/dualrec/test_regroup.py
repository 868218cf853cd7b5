"""D_u on a real Redis: a day's story, capacity and conservation under concurrency, failure."""

import os
import signal
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from reclab.core.chance import rng
from reclab.core.clock import HOUR_MS, Stopwatch
from reclab.core.errors import ConfigError, DataError
from reclab.dualrec.regroup import ADDED, BAD, FULL, HELD, Regroup, RegroupConfig
from reclab.stores.kv import KV, KVConfig, StoreDown
from tests.stores.redis_cluster import redis_cluster


def matches(item, user, score=None, reason=None) -> SimpleNamespace:
    n = len(item)
    score = np.linspace(1, 0.1, n) if score is None else np.array(score)
    reason = np.zeros(n, np.int8) if reason is None else np.array(reason)
    return SimpleNamespace(
        item_id=np.array(item), user_id=np.array(user), score=score, reason=reason
    )


def test_the_story_of_a_day(kv):
    regroup = Regroup(kv, RegroupConfig(capacity=2, life_s=10 * 3600), alive=lambda ids: ids != 12)
    put = regroup.put(matches([10, 10, 11, 12, 12], [1, 2, 1, 1, 2], [0.3, 0.5, 0.9, 0.7, 0.6]), 0)
    assert put.outcome.tolist() == [FULL, ADDED, ADDED, ADDED, ADDED]  # 1 keeps its two best
    assert put.users.tolist() == [1, 2] and put.size.tolist() == [2, 2]
    held = regroup.read([2, 1, 3], HOUR_MS)
    assert held.request_row.tolist() == [0, 1] and held.item_id.tolist() == [10, 11]
    assert held.score == pytest.approx([0.5, 0.9]) and (held.made_ms == 0).all()
    assert [x.tolist() for x in held.gone] == [[0, 1], [12, 12]]  # withdrawn after the match
    assert regroup.took(1, [11, 99]).tolist() == [True, False]
    assert regroup.took(1, [11]).tolist() == [False]
    assert regroup.withdraw(1, [12]).tolist() == [True]
    assert regroup.sizes(np.array([1, 2]), HOUR_MS).tolist() == [0, 2]  # room again
    assert regroup.put(matches([10], [1]), 9 * HOUR_MS).counts()["added"] == 1
    late = regroup.read([1, 2], 10 * HOUR_MS)  # what was made at 0 has expired
    assert late.item_id.tolist() == [10] and late.n_expired == 2
    assert regroup.sizes(np.array([1, 2]), 10 * HOUR_MS).tolist() == [1, 0]
    assert regroup.ledger([1, 2]) == {
        "added": 5, "shown": 1, "withdrawn": 1, "expired": 2, "held": 1}  # fmt: skip


def test_best_first_with_reason_and_a_later_match_refreshes_the_entry(kv):
    regroup = Regroup(kv)
    regroup.put(matches([1, 2, 3], [7, 7, 7], [0.1, 0.9, 0.5], [0, 1, 2]), 5)
    assert regroup.read([7], 5).item_id.tolist() == [2, 3, 1]
    assert regroup.read([7], 5).reason.tolist() == [1, 2, 0]
    put = regroup.put(matches([1, 2, 2], [7, 7, 8], [0.95, 0.4, 0.4], [3, 3, 3]), 9)
    assert put.outcome.tolist() == [HELD, HELD, ADDED]
    again = regroup.read([7], 9)
    assert again.item_id.tolist() == [1, 3, 2] and again.made_ms.tolist() == [9, 5, 9]
    regroup.put(matches([1], [7], [0.0]), 3)  # an older call that comes late changes nothing
    assert regroup.read([7], 9).score[0] == np.float32(0.95)


def test_many_users_as_a_dictionary_would_have_it(kv):
    chance, q = rng(3, "regroup"), 4
    n = 3000
    item, user = chance.integers(0, 50, n), chance.integers(0, 300, n)
    score = chance.random(n).astype(np.float32)
    regroup, want = Regroup(kv, RegroupConfig(capacity=q)), {}
    put = regroup.put(matches(item, user, score), 0)
    for i in np.argsort(-score, kind="stable"):
        mine = want.setdefault(int(user[i]), {})
        if len(mine) < q:
            mine.setdefault(int(item[i]), score[i])
    users = sorted(want)
    held = regroup.read(users, 0)
    for b, u in enumerate(users):
        got = held.request_row == b
        assert list(want[u].items()) == list(zip(held.item_id[got], held.score[got], strict=True))
    assert sum(put.counts().values()) == n
    assert put.counts()["added"] == sum(map(len, want.values())) == regroup.ledger(users)["held"]


def test_bad_rows_are_counted_and_the_others_stored(kv):
    regroup = Regroup(kv)
    put = regroup.put(matches([1, 2, -1, 4], [7, 7, 7, -1], [0.5, np.nan, 0.5, 0.5]), 0)
    assert put.outcome.tolist() == [ADDED, BAD, BAD, BAD]
    assert regroup.put(matches([], []), 0).counts()["added"] == 0
    assert len(regroup.read([], 0).item_id) == 0 and len(regroup.read([404], 0).item_id) == 0
    with pytest.raises(DataError, match=r"lengths \[2, 2, 1, 2\]"):
        regroup.put(matches([1, 2], [7, 7], [0.5], [0, 0]), 0)
    with pytest.raises(ConfigError, match="RegroupConfig.capacity must be >= 0, got -1"):
        RegroupConfig(capacity=-1)
    with pytest.raises(ConfigError, match="on_down"):
        RegroupConfig(on_down="pray")


def test_with_no_capacity_nothing_is_held_and_no_key_is_left(kv):
    regroup = Regroup(kv, RegroupConfig(capacity=0))
    assert regroup.put(matches([1, 2], [7, 8]), 0).counts()["full"] == 2
    assert kv.names() == []


def test_of_100_writers_and_readers_nothing_is_lost_or_doubled(kv):
    regroup, n_users, q = Regroup(kv, RegroupConfig(capacity=5)), 20, 5
    users = list(range(n_users))
    gate, shown, added, over = threading.Barrier(100), [], [], []

    def work(number: int) -> None:
        chance = rng(1, "writers", number)
        gate.wait()
        for turn in range(8):
            if number % 2:
                item, user = chance.integers(0, 30, 40), chance.integers(0, n_users, 40)
                put = regroup.put(matches(item, user, chance.random(40)), turn)
                added.append(put.counts()["added"])
                over.extend(put.size.tolist())
            else:
                user = int(chance.integers(n_users))
                held = regroup.read([user], turn)
                over.append(len(held.item_id))
                assert len(set(held.item_id.tolist())) == len(held.item_id)
                shown.append(int(regroup.took(user, held.item_id[:2]).sum()))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger = regroup.ledger(users)
    assert len(added) == len(shown) == 400 and max(over) == q
    assert ledger["added"] == sum(added) and ledger["shown"] == sum(shown) > 0
    assert ledger["added"] == ledger["shown"] + ledger["held"]
    assert ledger["held"] == regroup.sizes(np.array(users), 8).sum()


def test_killed_in_the_middle_of_matching_it_reads_back_and_the_counts_hold(tmp_path):
    with KV(namespace="kill", config=KVConfig(folder=tmp_path)) as kv:
        regroup = Regroup(kv, RegroupConfig(capacity=5, on_down="raise"))
        users, chance, over = list(range(30)), rng(2, "kills"), threading.Event()
        downs = []

        def killer() -> None:
            for _ in range(3):
                time.sleep(0.1)
                kv._server._process.kill()
            over.set()

        def until_answered(call):
            down = False
            while True:
                try:
                    if down:  # a server may be killed while it is being started, too
                        kv.reconnect()
                    return call()
                except StoreDown as error:
                    downs.append(error)
                    down = True

        thread = threading.Thread(target=killer)
        thread.start()
        confirmed, asked, turn = 0, 0, 0
        while not over.is_set():
            turn += 1
            batch = matches(chance.integers(0, 40, 60), chance.integers(0, 30, 60))
            until_answered(lambda batch=batch, now=turn: regroup.put(batch, now))
            user = int(chance.integers(30))
            items = until_answered(lambda user=user, now=turn: regroup.read([user], now)).item_id[
                :3
            ]
            left = until_answered(lambda user=user, items=items: regroup.took(user, items))
            confirmed, asked = confirmed + int(left.sum()), asked + len(items)
        thread.join()
        ledger = until_answered(lambda: regroup.ledger(users))
        assert len(downs) >= 3 and turn > 3
        assert ledger["added"] == ledger["shown"] + ledger["held"]
        assert ledger["shown"] == asked  # also those whose answer was lost and asked for again
        assert asked - len(downs) * 3 <= confirmed <= asked
        assert regroup.sizes(np.array(users), turn).max() <= 5


def test_redis_gone_is_served_without_d_u_and_not_asked_again_at_once():
    kv = KV(namespace="test-dualrec-down")
    regroup = Regroup(kv, RegroupConfig(rest_ms=1000))
    strict = Regroup(kv, RegroupConfig(on_down="raise"))
    regroup.put(matches([1], [7]), 0)
    kv.redis.shutdown(nosave=True)
    held = regroup.read([7, 8], 0)
    assert held.n_requests == 2 and len(held.item_id) == 0 and "served without" in held.note
    assert "for a while" in regroup.read([7], 999).note
    for call in (
        lambda: strict.read([7], 0),
        lambda: regroup.put(matches([1], [7]), 0),
        lambda: regroup.took(7, [1]),
    ):
        with pytest.raises(StoreDown):
            call()
    kv.reconnect()
    assert regroup.put(matches([2], [7]), 1000).counts()["added"] == 1  # scripts are loaded anew
    assert regroup.read([7], 1000).item_id.tolist() == [2]
    kv.close()


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs signals")
def test_a_server_that_hangs_costs_a_request_its_deadline_once(kv):
    Regroup(kv).put(matches([1], [7]), 0)
    config = KVConfig(timeout_s=0.05)
    with KV(kv.address, namespace="test-dualrec", config=config) as other:
        regroup = Regroup(other, RegroupConfig(rest_ms=1000))
        assert regroup.read([7], 0).item_id.tolist() == [1]
        os.kill(kv._server.pid, signal.SIGSTOP)
        try:
            with Stopwatch() as first:
                note = regroup.read([7], 0).note
            with Stopwatch() as second:
                regroup.read([7], 500)
        finally:
            os.kill(kv._server.pid, signal.SIGCONT)
        assert "served without" in note
        assert 50 <= first.ms < 1000 and second.ms < first.ms / 2  # one try more, then none
        assert regroup.read([7], 1001).item_id.tolist() == [1]


@pytest.mark.slow
def test_on_a_cluster_the_same_calls_with_keys_on_several_nodes():
    with redis_cluster() as address, KV(address) as kv:
        regroup, users = Regroup(kv, RegroupConfig(capacity=2)), np.arange(60)
        put = regroup.put(matches(np.tile([1, 2, 3], 60), np.repeat(users, 3)), 0)
        assert put.counts() == {"added": 120, "held": 0, "full": 60, "bad": 0}
        assert len({kv.redis.get_node_from_key(regroup.key(u)).port for u in users}) == 3
        held = regroup.read(users, 0)
        assert held.item_id.tolist() == [1, 2] * 60
        assert regroup.took(7, [1, 3]).tolist() == [True, False]
        assert regroup.sizes(users, 0).sum() == 119
        assert regroup.ledger(users)["shown"] == 1
