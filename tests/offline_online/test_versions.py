"""No request sees a mixed version, whatever is published while it runs."""

import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from reclab.cascade.batch import read_batch
from reclab.cascade.pipeline import Cascade
from reclab.core.errors import ConfigError, NotBuilt
from reclab.core.tables import Table
from reclab.core.types import Candidates
from reclab.lab import Lab
from reclab.offline_online.features.feature_log import pack, served, unpack
from reclab.offline_online.serving.versions import Superseded, Version, Versions, VersionsConfig
from reclab.stores.fork import fork
from reclab.stores.forward_index import ForwardIndex

N = 200
NAMES = ("a", "b", "c", "d")


@pytest.fixture
def busy() -> Iterator[None]:
    """Threads take turns every 20 microseconds, so that whatever can mix does."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(2e-5)
    yield
    sys.setswitchinterval(before)


def stamped(stamp: int) -> dict[str, ForwardIndex]:
    """Two stores of which every feature carries the stamp."""
    columns = {name: np.full(N, stamp, np.int64) for name in NAMES}
    table = Table({"video_id": np.arange(N), **columns})
    return {"items": ForwardIndex(table), "users": ForwardIndex(table)}


def put_stamp(stores: dict[str, ForwardIndex], stamp: int) -> None:
    """A streaming update of all features, store by store, as a stream would do it."""
    ids = np.arange(N)
    for store in stores.values():
        store.put(ids, **{name: np.full(N, stamp, np.int64) for name in NAMES})


def stamps_seen(stores: dict[str, ForwardIndex]) -> set[int]:
    """A request: reads features of several items from both stores, one after the other."""
    rows, seen = np.array([0, 3, N - 1]), set()
    for store in stores.values():
        for name in NAMES:
            seen.update(store.get(rows, [name])[name].tolist())
    return seen


def serve(
    current: Callable[[], dict[str, ForwardIndex]],
    writers: list[Callable[[], None]],
    mixed: list[set[int]],
) -> int:
    """Two threads serve while the writers work; how many requests, and which saw several stamps."""
    done, served = threading.Event(), [0, 0]

    def requests(who: int) -> None:
        while not done.is_set():
            seen = stamps_seen(current())
            served[who] += 1
            if len(seen) > 1:
                mixed.append(seen)

    readers = [threading.Thread(target=requests, args=(who,)) for who in (0, 1)]
    workers = [threading.Thread(target=write) for write in writers]
    for thread in readers + workers:
        thread.start()
    for thread in workers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    return sum(served)


@pytest.mark.usefixtures("busy")
def test_no_request_sees_a_mixed_version_under_updates_and_hundreds_of_switches():
    versions = Versions(stamped(0), config=VersionsConfig(keep=1))
    lock, stamp = threading.Lock(), [0]

    def next_stamp() -> int:
        with lock:
            stamp[0] += 1
            return stamp[0]

    def stream() -> None:
        for _ in range(300):
            versions.change(lambda stores: put_stamp(stores, next_stamp()))

    def batch() -> None:
        for _ in range(300):
            versions.publish(stamped(next_stamp()))
            time.sleep(0.0005)

    mixed: list[set[int]] = []
    served = serve(lambda: versions.current.state, [stream, batch], mixed)
    assert versions.current.number == 601 and served > 300
    assert not mixed


@pytest.mark.usefixtures("busy")
def test_updating_in_place_mixes_versions_so_the_test_above_can_fail():
    stores, mixed, end = stamped(0), [], time.monotonic() + 20

    def in_place() -> None:
        stamp = 0
        while not mixed and time.monotonic() < end:
            stamp += 1
            put_stamp(stores, stamp)

    serve(lambda: stores, [in_place], mixed)
    assert mixed


def test_answers_of_the_cascade_under_load_are_those_of_one_version(lab: Lab):
    requests = lab.requests(6)
    log = lab.logs.interactions
    news = [log.take(np.arange(at, at + 200)) for at in range(0, 800, 200)]
    now_ms = max(request.time_ms for request in requests) - 1000
    versions = Versions(fork(lab.trained))
    answers: list[tuple[Version, int, list[int]]] = []
    done = threading.Event()

    def serve_one(who: int) -> None:
        at = who
        while not done.is_set():
            version = versions.current
            slate, _ = version.state.recommend(requests[at % len(requests)])
            answers.append((version, at % len(requests), slate.item_id.tolist()))
            at += 1

    threads = [threading.Thread(target=serve_one, args=(who,)) for who in (0, 1, 2)]
    for thread in threads:
        thread.start()
    for i, some in enumerate(news):
        events = some.with_columns(time_ms=np.full(len(some), now_ms - 1000 * i))
        versions.change(lambda cascade, new=events: cascade.update(new))
        versions.publish(versions.draft())  # a batch of the same
        time.sleep(0.1)
    done.set()
    for thread in threads:
        thread.join()
    assert len({version.number for version, _, _ in answers}) > 3
    for number in {version.number for version, _, _ in answers}:
        mine = [answer for answer in answers if answer[0].number == number]
        again = fork(mine[0][0].state).recommend_batch(requests)[0]
        for _, at, items in mine:
            assert items == again[at].item_id.tolist()


def test_features_logged_are_those_that_the_pinned_version_served_whatever_came_since(lab: Lab):
    requests, log = lab.requests(5), lab.logs.interactions
    versions = Versions(fork(lab.trained))
    version = versions.current
    slates, _ = version.state.recommend_batch(requests)
    early = min(request.time_ms for request in requests) - 1000
    news = log.take(np.arange(len(log) - 500, len(log)))
    who = np.resize([request.user_id for request in requests], 500)
    news = news.with_columns(user_id=who, time_ms=np.full(500, early))
    versions.change(lambda cascade: cascade.update(news))

    def logged(cascade: Cascade) -> list[bytes]:
        """What the feature log would hold of these slates, by the stores of this cascade."""
        batch = read_batch(requests, cascade.parts.users, cascade.parts.index)
        rows = np.concatenate([slate.item_row for slate in slates])
        owner = np.repeat(np.arange(len(slates)), [len(slate.item_row) for slate in slates])
        features = cascade.parts.features.for_batch(batch, Candidates(len(slates), owner, rows))
        names = ("req_id", "user_id", "req_id", "time_ms", "network")
        ids = [np.array([getattr(request, name) for request in requests]) for name in names]
        cards = cascade.parts.index.ids[rows], np.zeros(len(rows), np.int64)
        return [pack(one) for one in served(features, *ids, *cards, (version.number, 1))]

    held = logged(version.state)
    scores = [slate.columns["p_click"] for slate in slates]
    for one, score, slate in zip(unpack(held), scores, slates, strict=True):
        assert one.index_version == version.number
        assert one.video_id.tolist() == slate.item_id.tolist()
        again = version.state.parts.ranker.score_features(one.features)["p_click"]
        assert np.allclose(again, score, rtol=0, atol=1e-6)
    assert held == logged(fork(lab.trained)) != logged(versions.current.state)


def test_a_draft_of_an_older_version_is_refused_and_made_again():
    versions = Versions({"x": 1}, {"events": {0: 5}})
    base, draft = versions.current, versions.draft()
    versions.publish({"x": 10}, {"events": {0: 90}})
    with pytest.raises(Superseded, match="version 2 was published after 1"):
        versions.publish(draft, based_on=base)
    tries = []

    def late(state: dict[str, int]) -> None:
        if not tries:
            versions.publish({"x": 20}, {"events": {0: 95}})
        tries.append(state["x"])
        state["x"] += 1

    made = versions.change(late)
    assert tries == [10, 20] and made.state == {"x": 21} and made.offsets == {"events": {0: 95}}


def test_rolling_back_goes_to_the_batch_version_before_and_its_offsets():
    versions = Versions({"x": 1}, {"events": {0: 5}})
    versions.change(lambda state: state.update(x=2))
    versions.publish({"x": 50}, {"events": {0: 60}})
    versions.change(lambda state: state.update(x=51))
    back = versions.roll_back()
    assert back is versions.current and back.state == {"x": 1} and back.number == 5
    assert back.offsets == {"events": {0: 5}}
    with pytest.raises(NotBuilt, match="keep"):
        versions.roll_back()


def test_only_so_many_batch_versions_are_kept_and_no_stream_ones():
    versions = Versions(0, config=VersionsConfig(keep=2))
    for x in range(1, 6):
        versions.publish(x)
        versions.change(lambda state: None)
    assert [version.state for version in versions.kept] == [3, 4, 5]
    with pytest.raises(ConfigError, match="keep"):
        VersionsConfig(keep=-1)
