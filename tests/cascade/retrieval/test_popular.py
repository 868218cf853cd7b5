"""Popular retrieval: decayed counts, near-line updates, nothing before it is published."""

from dataclasses import replace

import numpy as np
import pytest

from reclab.cascade.retrieval.popular import PopularChannel, PopularConfig
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import ConfigError, NotBuilt
from reclab.core.tables import Table
from reclab.stores.forward_index import ForwardIndex
from tests.cascade.retrieval.contract import END, INDEX, LOGS, ChannelContract, batch_of


class TestPopularIsAChannel(ChannelContract):
    def make(self):
        return PopularChannel()


def by_hand(interactions: Table, now_ms: int, half_life_hours: float) -> np.ndarray:
    total = np.zeros(len(LOGS.items))
    for item, when, click in zip(
        interactions["video_id"], interactions["time_ms"], interactions["is_click"], strict=True
    ):
        if click and when < now_ms:
            total[item] += 0.5 ** ((now_ms - when) / HOUR_MS / half_life_hours)
    return total


@pytest.mark.parametrize("half_life", [1.0, 12.0, float("inf")])
def test_popularity_is_the_decayed_sum_of_positives(half_life):
    channel = PopularChannel(PopularConfig(half_life)).fit(LOGS, INDEX, END)
    np.testing.assert_allclose(channel.popularity, by_hand(LOGS.interactions, END, half_life))


def test_updates_in_pieces_equal_one_fit():
    when = LOGS.interactions["time_ms"]
    channel = PopularChannel(PopularConfig(3.0)).fit(LOGS, INDEX, DAY_MS)
    for start in range(DAY_MS, END, 4 * HOUR_MS):
        channel.update(LOGS.interactions.take((when >= start) & (when < start + 4 * HOUR_MS)))
    last = int(when[LOGS.positive].max())
    whole = by_hand(LOGS.interactions, last + 1, 3.0)
    np.testing.assert_allclose(channel.popularity, whole, rtol=1e-6)


def test_a_short_half_life_prefers_what_is_liked_now():
    old, new = np.full(10, 4), np.full(3, 7)
    clicks = Table(
        {
            "user_id": np.arange(13),
            "video_id": np.concatenate([old, new]),
            "time_ms": np.concatenate([np.full(10, 0), np.full(3, 10 * HOUR_MS)]),
        }
    )
    logs = replace(LOGS, interactions=clicks)
    batch = batch_of(np.array([0]), 11 * HOUR_MS)
    fast = PopularChannel(PopularConfig(1.0)).fit(logs, INDEX, 11 * HOUR_MS)
    slow = PopularChannel(PopularConfig(1000.0)).fit(logs, INDEX, 11 * HOUR_MS)
    assert fast.retrieve(batch, 2)[0].tolist() == [[7, 4]]
    assert slow.retrieve(batch, 2)[0].tolist() == [[4, 7]]


def test_nothing_is_retrieved_before_it_is_published():
    publish = np.where(np.arange(len(LOGS.items)) < 10, 0, END)
    logs = replace(LOGS, items=LOGS.items.with_columns(publish_ms=publish))
    channel = PopularChannel().fit(logs, ForwardIndex(logs.items), END)
    early, late = channel.retrieve(batch_of(np.array([0, 0]), np.array([END - 1, END])), 20)[0]
    assert set(early.tolist()) == {*range(10), -1}
    assert set(late.tolist()) == set(range(20))


def test_items_that_join_the_index_later_are_counted():
    index = ForwardIndex(LOGS.items)
    channel = PopularChannel().fit(LOGS, index, END)
    row = {name: LOGS.items[name][:1] for name in LOGS.items if name != "video_id"}
    index.put(np.array([777]), **row)
    click = {
        "user_id": np.zeros(99, int),
        "video_id": np.full(99, 777),
        "time_ms": np.full(99, END),
    }
    channel.update(Table(click))
    assert channel.retrieve(batch_of(np.array([0])), 1)[0].tolist() == [[20]]


def test_wrong_settings_and_a_missing_fit_are_named():
    with pytest.raises(ConfigError, match=r"PopularConfig.half_life_hours .* got 0"):
        PopularConfig(half_life_hours=0)
    with pytest.raises(NotBuilt, match="fit"):
        PopularChannel().update(Table())
