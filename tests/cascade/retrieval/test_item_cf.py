"""Item-to-item CF against dense matrices, the checkerboard's answer, and updates against a fit."""

from dataclasses import replace

import numpy as np
import pytest

from reclab.cascade.retrieval import co_visitation
from reclab.cascade.retrieval.co_visitation import trim
from reclab.cascade.retrieval.item_cf import ItemCFChannel, ItemCFConfig
from reclab.core.chance import rng
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import ConfigError, NotBuilt
from reclab.core.tables import Table
from reclab.stores.forward_index import ForwardIndex
from tests.cascade.retrieval.contract import (
    END,
    INDEX,
    LOGS,
    N_ITEMS,
    N_USERS,
    ChannelContract,
    batch_of,
)

EVER = float("inf")
PLAIN = ItemCFConfig(
    neighbours=N_ITEMS, window=50, gap_hours=EVER, fresh_hours=EVER, backward=1.0
)  # nothing but counts


class TestItemCFIsAChannel(ChannelContract):
    def make(self):
        return ItemCFChannel(ItemCFConfig(neighbours=12))


def random_logs(n_users: int = 30, seed: int = 0):
    """Each user clicks some different items of 20 at random times."""
    chance = rng(seed, "item_cf")
    n = chance.integers(2, 12, n_users)
    user = np.repeat(np.arange(n_users), n)
    item = np.concatenate([chance.permutation(N_ITEMS)[:m] for m in n])
    time_ms = chance.integers(0, 2 * DAY_MS, len(user))
    order = np.argsort(time_ms)
    columns = {"user_id": user[order], "video_id": item[order], "time_ms": time_ms[order]}
    return replace(LOGS, interactions=Table(columns))


def pairs_by_hand(clicks: Table, now_ms: int, c: ItemCFConfig) -> np.ndarray:
    """C of the formula, by four loops."""
    total = np.zeros((N_ITEMS, N_ITEMS))
    for user in np.unique(clicks["user_id"]):
        mine = clicks["user_id"] == user
        items, times = clicks["video_id"][mine], clicks["time_ms"][mine]
        for a in range(len(items)):
            for b in range(a + 1, min(len(items), a + 1 + c.window)):
                gap, age = (times[b] - times[a]) / HOUR_MS, (now_ms - times[b]) / HOUR_MS
                if items[a] != items[b] and gap <= 10 * c.gap_hours:
                    weight = 0.5 ** (gap / c.gap_hours) * 0.5 ** (age / c.fresh_hours)
                    total[items[a], items[b]] += weight
                    total[items[b], items[a]] += weight * c.backward
    return total


def test_cosine_equals_the_dense_matrix_product():
    logs = random_logs()
    seen = np.zeros((30, N_ITEMS))
    seen[logs.interactions["user_id"], logs.interactions["video_id"]] = 1
    both, count = seen.T @ seen, seen.sum(0)
    cosine = both / np.sqrt(np.outer(count, count))
    np.fill_diagonal(cosine, 0)
    channel = ItemCFChannel(PLAIN).fit(logs, INDEX, END)
    ids, weights = channel.neighbours(np.arange(N_ITEMS))
    found = np.zeros((N_ITEMS, N_ITEMS))
    row, place = np.nonzero(ids >= 0)
    found[row, ids[row, place]] = weights[row, place]
    np.testing.assert_allclose(found, cosine, rtol=1e-5)
    assert (np.diff(weights, axis=1) <= 0).all()


@pytest.mark.parametrize("window, backward", [(50, 0.5), (3, 0.0), (1, 1.0)])
def test_recency_weights_equal_the_formula(window, backward):
    logs = random_logs(seed=1)
    config = replace(
        PLAIN, window=window, backward=backward, gap_hours=1.0, fresh_hours=9.0,
        norm_from=0.3, norm_to=0.7,
    )  # fmt: skip
    channel = ItemCFChannel(config).fit(logs, INDEX, END)
    counts = pairs_by_hand(logs.interactions, END, config)
    np.testing.assert_allclose(channel._counts.toarray(), counts, rtol=1e-4, atol=1e-9)
    size = np.zeros(N_ITEMS)
    age = (END - logs.interactions["time_ms"]) / HOUR_MS
    np.add.at(size, logs.interactions["video_id"], 0.5 ** (age / 9.0))
    weight = counts / np.outer(size**0.3, size**0.7)
    ids, weights = channel.neighbours(np.arange(N_ITEMS))
    row, place = np.nonzero(ids >= 0)
    np.testing.assert_allclose(weights[row, place], weight[row, ids[row, place]], rtol=1e-4)
    assert (ids >= 0).sum() == (counts > 0).sum()


def test_retrieval_sums_the_weights_of_the_last_items_with_position_decay():
    logs = random_logs(seed=2)
    config = replace(PLAIN, length=4, position_decay=0.7)
    channel = ItemCFChannel(config).fit(logs, INDEX, END)
    ids, weights = channel.neighbours(np.arange(N_ITEMS))
    dense = np.zeros((N_ITEMS, N_ITEMS))
    row, place = np.nonzero(ids >= 0)
    dense[row, ids[row, place]] = weights[row, place]
    chance = rng(5, "histories")
    history = chance.integers(-1, N_ITEMS, (300, 9))  # holes and repetitions included
    item_row, score = channel.retrieve(batch_of(np.zeros(300, int), history=history), 6)
    for b in range(300):
        expected = np.zeros(N_ITEMS)
        latest = history[b, ::-1][:4]
        for age, liked in enumerate(latest):
            if liked >= 0:
                expected += 0.7**age * dense[liked]
        expected[latest[latest >= 0]] = 0
        best = np.sort(expected)[::-1][:6]
        np.testing.assert_allclose(score[b], best, rtol=1e-5, atol=1e-7)
        real = item_row[b] >= 0
        np.testing.assert_allclose(expected[item_row[b][real]], best[real], rtol=1e-5)


def test_on_the_checkerboard_the_one_unseen_liked_item_is_found():
    channel = ItemCFChannel(ItemCFConfig(window=20, length=50)).fit(LOGS, INDEX, END)
    item_row, _ = channel.retrieve(batch_of(np.arange(N_USERS)), 5)
    assert item_row[:, 0].tolist() == [u % N_ITEMS for u in range(N_USERS)]
    assert (item_row[:, 1:] == -1).all()


def test_without_history_the_row_is_empty():
    channel = ItemCFChannel().fit(LOGS, INDEX, END)
    item_row, score = channel.retrieve(batch_of(np.array([-1]), history=np.full((1, 9), -1)), 3)
    assert item_row.tolist() == [[-1, -1, -1]] and not score.any()


def test_direction_is_kept():
    clicks = {"user_id": np.repeat(np.arange(5), 2), "video_id": np.tile([3, 8], 5)}
    clicks["time_ms"] = np.arange(10)
    logs = replace(LOGS, interactions=Table(clicks))
    one_way = ItemCFChannel(replace(PLAIN, backward=0.0)).fit(logs, INDEX, END)
    assert one_way.neighbours(np.array([3, 8]))[0][:, 0].tolist() == [8, -1]
    both = ItemCFChannel(replace(PLAIN, backward=0.5)).fit(logs, INDEX, END)
    ids, weights = both.neighbours(np.array([3, 8]))
    assert ids[:, 0].tolist() == [8, 3] and weights[0, 0] == 2 * weights[1, 0]


def test_counting_in_chunks_loses_and_doubles_no_pair(monkeypatch):
    logs, config = random_logs(seed=4), replace(PLAIN, window=5, gap_hours=4.0)
    whole = ItemCFChannel(config).fit(logs, INDEX, END)._counts.toarray()
    monkeypatch.setattr(co_visitation, "CHUNK", 7)
    pieces = ItemCFChannel(config).fit(logs, INDEX, END)._counts.toarray()
    np.testing.assert_allclose(pieces, whole, rtol=1e-5)


@pytest.mark.parametrize("piece_hours", [5, 24])
def test_updates_in_pieces_equal_one_fit(piece_hours):
    logs = random_logs(60, seed=3)
    config = replace(PLAIN, window=4, gap_hours=6.0, fresh_hours=12.0, norm_to=0.0)
    when, channel = logs.interactions["time_ms"], ItemCFChannel(config)
    channel.fit(logs, INDEX, DAY_MS)
    for start in range(DAY_MS, END, piece_hours * HOUR_MS):
        until = start + piece_hours * HOUR_MS
        channel.update(logs.interactions.take((when >= start) & (when < until)))
    whole = ItemCFChannel(config).fit(logs, INDEX, int(when.max()) + 1)
    np.testing.assert_allclose(
        channel._counts.toarray(), whole._counts.toarray(), rtol=1e-3, atol=1e-6
    )
    a, b = channel.neighbours(np.arange(N_ITEMS)), whole.neighbours(np.arange(N_ITEMS))
    np.testing.assert_allclose(a[1], b[1], rtol=1e-3, atol=1e-6)


def test_a_click_without_a_pair_still_changes_how_common_the_item_is():
    channel = ItemCFChannel(PLAIN).fit(LOGS, INDEX, END)
    before = channel.neighbours(np.array([4]))[1][0, 0]
    lonely = {"user_id": np.array([999]), "video_id": np.array([4]), "time_ms": np.array([END])}
    channel.update(Table(lonely))
    clicks = (LOGS.interactions["video_id"][LOGS.positive] == 4).sum()
    after = channel.neighbours(np.array([4]))[1][0, 0]
    assert after == pytest.approx(before * (clicks / (clicks + 1)) ** 0.5)


def test_sessions_do_not_mix_where_they_are_the_group():
    clicks = {"user_id": np.zeros(4, int), "session_id": np.array([1, 1, 2, 2])}
    clicks |= {"video_id": np.array([0, 1, 2, 3]), "time_ms": np.arange(4)}
    logs = replace(LOGS, interactions=Table(clicks))
    session = ItemCFChannel(replace(PLAIN, group="session_id")).fit(logs, INDEX, END)
    assert session.neighbours(np.array([0]))[0][0, :2].tolist() == [1, -1]
    user = ItemCFChannel(PLAIN).fit(logs, INDEX, END)
    assert (user.neighbours(np.array([0]))[0][0, :4] >= 0).sum() == 3


def test_items_that_join_the_index_later_are_learned():
    index = ForwardIndex(LOGS.items)
    channel = ItemCFChannel(PLAIN).fit(LOGS, index, END)
    row = {name: LOGS.items[name][:1] for name in LOGS.items if name != "video_id"}
    index.put(np.array([777]), **row)
    pair = {"user_id": np.array([0, 0]), "video_id": np.array([5, 777])}
    channel.update(Table({**pair, "time_ms": np.array([END, END + 1])}))
    assert 20 in channel.neighbours(np.array([5]))[0]
    history = np.array([[20]])
    found = channel.retrieve(batch_of(np.array([0]), history=history), N_ITEMS)[0]
    assert 5 in found


def test_an_update_without_positives_changes_nothing():
    channel = ItemCFChannel().fit(LOGS, INDEX, END)
    before = channel.neighbours(np.arange(N_ITEMS))[1].copy()
    channel.update(LOGS.interactions.take(~LOGS.positive))
    channel.update(Table())
    np.testing.assert_array_equal(before, channel.neighbours(np.arange(N_ITEMS))[1])


def test_trim_keeps_the_largest_counts():
    channel = ItemCFChannel(replace(PLAIN, gap_hours=3.0)).fit(random_logs(), INDEX, END)
    counts = channel._counts.copy()
    largest = np.sort(counts.data)[-50:]
    kept = trim(counts, 50)
    np.testing.assert_array_equal(np.sort(kept.data), largest)


def test_wrong_settings_and_a_missing_fit_are_named():
    with pytest.raises(ConfigError, match=r"ItemCFConfig.neighbours must be >= 1, got 0"):
        ItemCFConfig(neighbours=0)
    with pytest.raises(ConfigError, match=r"ItemCFConfig.group .* got 'author_id'"):
        ItemCFConfig(group="author_id")
    with pytest.raises(ConfigError, match=r"ItemCFConfig.backward"):
        ItemCFConfig(backward=1.5)
    with pytest.raises(NotBuilt, match="fit"):
        ItemCFChannel().update(Table())
