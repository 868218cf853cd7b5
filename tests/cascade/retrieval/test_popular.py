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


GROUPED = replace(
    LOGS, users=LOGS.users.with_columns(age=np.where(LOGS.users["user_id"] % 2 == 0, 20, 40))
)  # the young like even items, the others odd ones


class TestPopularByGroupIsAChannel(ChannelContract):
    logs = GROUPED

    def make(self):
        return PopularChannel(PopularConfig(by=("age",), shrink=3.0))


def test_each_group_has_its_own_list_and_the_unknown_have_everybodys():
    channel = PopularChannel(PopularConfig(by=("age",), shrink=1.0)).fit(GROUPED, INDEX, END)
    item_row, _ = channel.retrieve(batch_of(np.array([4, 7, -1])), 10)
    assert (item_row[0] % 2 == 0).all() and (item_row[1] % 2 == 1).all()
    everybody = PopularChannel().fit(LOGS, INDEX, END).retrieve(batch_of(np.array([0])), 10)[0]
    assert item_row[2].tolist() == everybody[0].tolist()


def test_a_groups_score_is_drawn_to_everybodys_share():
    forever, n = float("inf"), len(LOGS.items)
    channel = PopularChannel(PopularConfig(forever, ("age",), 50.0)).fit(GROUPED, INDEX, END)
    item_row, score = channel.retrieve(batch_of(np.array([4])), n)
    shown = LOGS.interactions
    liked = shown.take(shown["is_click"])
    young = np.bincount(liked["video_id"][liked["user_id"] % 2 == 0], minlength=n)
    share = np.bincount(liked["video_id"], minlength=n) / len(liked)
    wanted = (young + 50 * share) / (young.sum() + 50)
    np.testing.assert_allclose(score[0], wanted[item_row[0]], rtol=1e-5)


def test_a_group_of_nobody_knows_what_everybody_likes():
    """Users of an age that nobody who clicked has."""
    users = GROUPED.users.with_columns(age=np.where(LOGS.users["user_id"] == 5, 70, 20))
    shown = LOGS.interactions
    logs = replace(GROUPED, users=users, interactions=shown.take(shown["user_id"] != 5))
    channel = PopularChannel(PopularConfig(by=("age",))).fit(logs, INDEX, END)
    item_row, score = channel.retrieve(batch_of(np.array([5, -1])), 8)
    assert item_row[0].tolist() == item_row[1].tolist() and (score[0] > 0).all()


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
    grouped = PopularChannel(PopularConfig(float("inf"), ("age",))).fit(GROUPED, INDEX, DAY_MS)
    grouped.update(LOGS.interactions.take(when >= DAY_MS))
    at_once = PopularChannel(PopularConfig(float("inf"), ("age",))).fit(GROUPED, INDEX, END)
    for a, b in zip(*(c.retrieve(batch_of([4, 7]), 9) for c in (grouped, at_once)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
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
