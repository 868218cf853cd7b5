"""i2i2u, i2u2u and fans against plain loops over a random log, and against the checkerboard."""

from collections import defaultdict

import numpy as np
import pytest

from reclab.cascade.retrieval.item_cf import ItemCFChannel
from reclab.core.chance import rng
from reclab.core.errors import NotBuilt
from reclab.core.tables import Logs, Table
from reclab.dualrec.user_channels import UserChannels, UserChannelsConfig, similar_items
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.user_features import UserFeatures

N_USERS, N_ITEMS, END = 30, 20, 10_000_000
CONFIG = UserChannelsConfig(viewers=6, similar=5)


def random_logs(seed: int = 0, n: int = 400) -> Logs:
    """Clicks, likes and follows at different times; users have id row + 50, items row + 900."""
    chance = rng(seed, "user channels")
    item = chance.integers(0, N_ITEMS, n)
    shown = {
        "user_id": chance.integers(0, N_USERS, n) + 50,
        "video_id": item + 900,
        "author_id": item % 7,
        "time_ms": np.sort(chance.permutation(END)[:n]),
        "is_click": chance.random(n) < 0.5,
        "is_like": chance.random(n) < 0.2,
        "is_follow": chance.random(n) < 0.05,
    }
    items = {"video_id": np.arange(N_ITEMS) + 900, "author_id": np.arange(N_ITEMS) % 7}
    users = {"user_id": np.arange(N_USERS) + 50, "day": np.zeros(N_USERS, np.int64)}
    return Logs(Table(users), Table(items), Table(shown))


def fitted(logs: Logs, until_ms: int = END):
    index, users = ForwardIndex(logs.items), UserFeatures.build(logs)
    item_cf = ItemCFChannel().fit(logs, index, until_ms)
    similar = similar_items(item_cf, np.eye(N_ITEMS, dtype=np.float32), CONFIG.similar)
    return UserChannels(similar, users, CONFIG).fit(logs, index, until_ms)


def viewers_by_hand(logs: Logs) -> dict[int, list[int]]:
    seen = defaultdict(list)
    shown = logs.interactions
    for at in np.flatnonzero(shown["is_click"])[::-1]:
        seen[int(shown["video_id"][at]) - 900].append(int(shown["user_id"][at]) - 50)
    return {item: users[: CONFIG.viewers] for item, users in seen.items()}


def check(found, votes, item, seen, open) -> None:
    """Users and sums of one item, best first, against the dictionary of votes."""
    rows, score = found[0][item], found[1][item]
    want = {u: v for u, v in votes.items() if v > 0 and open[u] and u not in seen.get(item, [])}
    real = rows >= 0
    assert dict(zip(rows[real].tolist(), score[real], strict=True)).keys() == want.keys()
    np.testing.assert_allclose(score[real], sorted(want.values(), reverse=True), rtol=1e-4)
    for row, value in zip(rows[real].tolist(), score[real].tolist(), strict=True):
        assert value == pytest.approx(want[row], rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_votes_equal_plain_loops(seed):
    logs = random_logs(seed)
    channels, seen = fitted(logs), viewers_by_hand(logs)
    open = rng(seed, "open").random(N_USERS) < 0.6
    every = np.arange(N_ITEMS)
    ways = {name: getattr(channels, name)(every, N_USERS, open) for name in ("i2i2u", "i2u2u")}
    near, weight = channels.similar(every)
    for item in every.tolist():
        votes: dict[str, dict[int, float]] = {"i2i2u": defaultdict(float)}
        votes["i2u2u"] = defaultdict(float)
        for j, w in zip(near[item].tolist(), weight[item].tolist(), strict=True):
            for age, user in enumerate(seen.get(j, []) if j >= 0 else []):
                votes["i2i2u"][user] += w * 0.95**age
        for age, viewer in enumerate(seen.get(item, [])):
            ids, weights = channels.user_cf.neighbours(np.array([viewer]))
            for user, w in zip(ids[0].tolist(), weights[0].tolist(), strict=True):
                if user >= 0:
                    votes["i2u2u"][user] += w * 0.95**age
        for name in ways:
            check(ways[name], votes[name], item, seen, open)


def test_fans_are_followers_and_those_who_liked_the_creator():
    logs = random_logs()
    channels, seen, shown = fitted(logs), viewers_by_hand(logs), logs.interactions
    open = np.ones(N_USERS, bool)
    found = channels.fans(np.arange(N_ITEMS), N_USERS, open)
    for item in range(N_ITEMS):
        free: dict[int, float] = defaultdict(lambda: 1.0)
        for at in range(len(shown)):
            if shown["author_id"][at] == item % 7:
                user = int(shown["user_id"][at]) - 50
                free[user] *= 0.8 if shown["is_like"][at] else 1.0
                free[user] *= 0.0 if shown["is_follow"][at] else 1.0
        check(found, {u: 1 - f for u, f in free.items()}, item, seen, open)


def test_updates_in_pieces_equal_one_fit_in_viewers_and_fans():
    logs = random_logs()
    whole, parts = fitted(logs), fitted(logs, until_ms=END // 2)
    late = logs.interactions["time_ms"] >= END // 2
    later = logs.interactions.take(late)
    half = len(later) // 2
    for piece in (np.arange(half), np.arange(half, len(later))):
        parts.update(later.take(piece))
    every, open = np.arange(N_ITEMS), np.ones(N_USERS, bool)
    np.testing.assert_array_equal(whole.viewers(every), parts.viewers(every))
    ties = np.zeros((2, N_ITEMS, N_USERS + 1))
    for table, channels in zip(ties, (whole, parts), strict=True):
        rows, score = channels.fans(every, N_USERS, open)
        np.put_along_axis(table, rows, score, 1)  # -1 is the last column
    np.testing.assert_allclose(*ties, rtol=1e-5)


def test_a_new_item_has_the_viewers_of_the_nearest_items_and_its_creators_fans():
    logs = random_logs()
    channels = fitted(logs)
    vectors = np.zeros((N_ITEMS + 1, 3), np.float32)
    vectors[4] = vectors[N_ITEMS] = [1, 2, 3]
    assert channels._items is not None
    channels._items.put(np.array([7777]), author_id=np.array([2]))
    item_cf = ItemCFChannel().fit(logs, ForwardIndex(logs.items), END)
    channels.similar = similar_items(item_cf, vectors, 5)
    channels.update(Table())
    new, open = np.array([N_ITEMS]), np.ones(N_USERS, bool)
    rows, _ = channels.i2i2u(new, 30, open)
    assert set(rows[rows >= 0].tolist()) == set(viewers_by_hand(logs)[4])
    assert (channels.i2u2u(new, 5, open)[0] == -1).all(), "nobody has viewed it"
    assert (channels.fans(new, 5, open)[0] >= 0).any()


def test_a_closed_pool_and_a_log_without_events_find_nobody():
    logs = random_logs()
    every, nobody = np.arange(N_ITEMS), np.zeros(N_USERS, bool)
    for channels, open in ((fitted(logs), nobody), (fitted(logs, 0), ~nobody)):
        for way in (channels.i2i2u, channels.i2u2u, channels.fans):
            rows, score = way(every, 4, open)
            assert (rows == -1).all() and not score.any()


def test_asking_before_fit_is_named():
    users = UserFeatures.build(random_logs())
    with pytest.raises(NotBuilt, match=r"call fit\(logs, index, until_ms\) first"):
        UserChannels(lambda rows: (rows, rows), users).fans(np.array([0]), 1, np.ones(1, bool))
