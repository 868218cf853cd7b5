"""Content-based retrieval against dense products, as of a time, and for items nobody has seen."""

from dataclasses import replace

import numpy as np
import pytest

from reclab.cascade.retrieval.content import ContentChannel, ContentConfig
from reclab.core.chance import rng
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import ConfigError, DataError, NotBuilt
from reclab.core.tables import Logs, Table
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

FOREVER = float("inf")
N, N_TAGS = 60, 7


class TestContentIsAChannel(ChannelContract):
    def make(self):
        return ContentChannel()


def random_logs(seed: int = 0) -> Logs:
    """60 items with up to 3 of 7 tags, published over four days; random impressions."""
    chance = rng(seed, "content")
    tags = np.argsort(chance.random((N, N_TAGS)), axis=1)[:, :3]
    tags[np.arange(3) >= chance.integers(0, 4, N)[:, None]] = -1
    publish = chance.integers(0, 4 * DAY_MS, N)
    items = {"video_id": 100 + np.arange(N), "tags": tags, "publish_ms": publish}
    video = 100 + chance.integers(0, N, 400)
    shown = {"user_id": chance.integers(0, 9, 400), "video_id": video}
    shown |= {"time_ms": np.sort(chance.integers(0, 4 * DAY_MS, 400))}
    shown |= {"is_click": chance.random(400) < 0.3}
    return replace(LOGS, items=Table(items), interactions=Table(shown))


def by_loops(logs: Logs, history: list[int], now: int, until: int, c: ContentConfig) -> np.ndarray:
    """The formula, item by item."""
    vectors = np.zeros((N, N_TAGS))
    for item, tags in enumerate(logs.items["tags"]):
        for place, tag in enumerate(tags):
            vectors[item, tag] += 1 / (1 + place) if tag >= 0 else 0.0
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    taste = np.zeros(N_TAGS)
    for age, item in enumerate(history[::-1][: c.length]):
        taste += c.position_decay**age * vectors[item] if item >= 0 else 0.0
    taste /= max(np.linalg.norm(taste), 1e-9)
    taste[np.argsort(-taste, kind="stable")[c.tags :]] = 0.0
    past = logs.interactions["time_ms"] < until
    row, click = logs.interactions["video_id"][past] - 100, logs.interactions["is_click"][past]
    shown, liked = np.bincount(row, minlength=N), np.bincount(row, click, N)
    quality = (liked + c.prior * click.mean()) / (shown + c.prior)
    age_hours = (now - logs.items["publish_ms"]) / HOUR_MS
    score = vectors @ taste * 0.5 ** (age_hours / c.fresh_hours) * quality
    score[age_hours < 0] = 0.0
    score[[item for item in history if item >= 0]] = 0.0
    return score


@pytest.mark.parametrize("n_tags, fresh, length", [(7, 24.0, 5), (2, FOREVER, 5), (3, 6.0, 2)])
def test_scores_equal_the_formula(n_tags, fresh, length):
    logs, chance = random_logs(), rng(1, "histories")
    config = ContentConfig(tags=n_tags, fresh_hours=fresh, length=length, position_decay=0.8)
    until = 3 * DAY_MS
    channel = ContentChannel(config).fit(logs, ForwardIndex(logs.items), until)
    history = chance.integers(-1, N, (50, 5))
    now = chance.integers(2 * DAY_MS, 4 * DAY_MS, 50)
    item_row, score = channel.retrieve(batch_of(np.zeros(50, int), now, history), N)
    for b in range(50):
        expected = by_loops(logs, history[b].tolist(), now[b], until, config)
        best = np.sort(expected)[::-1]
        np.testing.assert_allclose(score[b], best, rtol=1e-4, atol=1e-7)
        real = item_row[b] >= 0
        np.testing.assert_allclose(expected[item_row[b][real]], best[real], rtol=1e-4)


def test_no_item_is_found_before_it_is_out_and_each_from_then_on():
    logs = random_logs()
    channel = ContentChannel(ContentConfig(tags=7)).fit(logs, ForwardIndex(logs.items), DAY_MS)
    publish, history = logs.items["publish_ms"], np.array([[3, 20, 41]])
    tagged = np.flatnonzero((logs.items["tags"] >= 0).any(1))
    for item in tagged[:20]:
        for now, found in ((publish[item] - 1, False), (publish[item], True)):
            batch = batch_of(np.array([0]), now, np.where(history == item, -1, history))
            taste = channel.tastes(batch.history, batch.user_row)[0]
            match = (channel._terms[[item]].toarray()[0] * taste).sum() > 0
            assert (item in channel.retrieve(batch, N)[0]) == (found and match)


def test_only_the_latest_items_of_a_tag_are_scanned():
    logs = random_logs()
    logs = replace(logs, items=logs.items.with_columns(tags=np.zeros((N, 1), int)))
    config = ContentConfig(scan=8, fresh_hours=FOREVER)
    channel = ContentChannel(config).fit(logs, ForwardIndex(logs.items), DAY_MS)
    latest = np.argsort(logs.items["publish_ms"])
    now = logs.items["publish_ms"][latest[30]] + 1
    batch = batch_of(np.array([0]), now, np.array([[latest[2]]]))
    item_row = channel.retrieve(batch, N)[0][0]
    assert sorted(item_row[item_row >= 0].tolist()) == sorted(latest[23:31].tolist())


def test_an_item_that_joins_the_index_after_the_fit_is_found_at_once():
    index = ForwardIndex(LOGS.items)
    channel = ContentChannel().fit(LOGS, index, END)
    row = {name: LOGS.items[name][:1] for name in LOGS.items if name != "video_id"}
    index.put(np.array([777]), **{**row, "publish_ms": np.array([END])})
    item_row, _ = channel.retrieve(batch_of(np.arange(4), END + 1), 3)
    assert item_row[[0, 2], 0].tolist() == [N_ITEMS, N_ITEMS]  # it is even, and the newest
    assert N_ITEMS not in item_row[[1, 3]]
    assert N_ITEMS not in channel.retrieve(batch_of(np.arange(4), END - 1), N_ITEMS)[0]


def test_the_shorter_the_freshness_the_more_of_the_answer_is_new():
    logs, until = random_logs(), 3 * DAY_MS
    is_new = logs.items["publish_ms"] >= until
    batch = batch_of(np.zeros(30, int), 4 * DAY_MS, rng(2, "h").integers(0, N, (30, 4)))
    share = []
    for hours in (2.0, 48.0, FOREVER):
        config = ContentConfig(tags=7, fresh_hours=hours)
        channel = ContentChannel(config).fit(logs, ForwardIndex(logs.items), until)
        share.append(is_new[channel.retrieve(batch, 10)[0]].mean())
    assert share[0] > share[1] > share[2] > 0


def test_on_the_checkerboard_everybody_gets_their_own_kind():
    channel = ContentChannel().fit(LOGS, INDEX, END)
    item_row, _ = channel.retrieve(batch_of(np.arange(N_USERS)), 5)
    assert item_row[:, 0].tolist() == [u % N_ITEMS for u in range(N_USERS)]
    assert (item_row[:, 1:] == -1).all()


def test_updates_in_pieces_equal_one_fit():
    logs = random_logs()
    index, when = ForwardIndex(logs.items), logs.interactions["time_ms"]
    pieces = ContentChannel().fit(logs, index, DAY_MS)
    for start in (DAY_MS, 2 * DAY_MS, 3 * DAY_MS):
        pieces.update(logs.interactions.take((when >= start) & (when < start + DAY_MS)))
    whole = ContentChannel().fit(logs, index, 4 * DAY_MS)
    np.testing.assert_allclose(pieces._quality, whole._quality, rtol=1e-6)


def test_texts_stand_beside_tags(tmp_path):
    tags = np.full((N_ITEMS, 1), -1)
    index = ForwardIndex(LOGS.items.with_columns(tags=tags))
    texts = [f"{'red' if i % 2 else 'blue'} fish" for i in range(N_ITEMS)]
    channel = ContentChannel().fit(LOGS, index, END, texts)
    batch = batch_of(np.zeros(2, int), END, np.array([[1], [4]]))
    item_row, score = channel.retrieve(batch, 9)
    assert (item_row[0] % 2 == 1).all() and (item_row[1] % 2 == 0).all()
    channel.save(tmp_path)
    np.testing.assert_array_equal(ContentChannel.load(tmp_path).retrieve(batch, 9)[1], score)


def test_wrong_settings_and_data_are_named():
    with pytest.raises(ConfigError, match="ContentConfig.tags must be >= 1, got 0"):
        ContentConfig(tags=0)
    with pytest.raises(ConfigError, match="ContentConfig.fresh_hours"):
        ContentConfig(fresh_hours=0.0)
    with pytest.raises(DataError, match="3 texts for 20 items"):
        ContentChannel().fit(LOGS, INDEX, END, ["a", "b", "c"])
    with pytest.raises(NotBuilt, match="fit"):
        ContentChannel().update(Table())


def test_items_about_nothing_are_never_found():
    bare = replace(LOGS, items=Table({"video_id": LOGS.items["video_id"]}))
    channel = ContentChannel().fit(bare, ForwardIndex(bare.items), END)
    assert (channel.retrieve(batch_of(np.array([0, 1])), 5)[0] == -1).all()


def test_a_new_user_is_answered_by_the_interests_in_the_profile_as_of_the_time():
    """User 3 said tag 1 on day 0 and tag 0 on day 2; the even items have tag 0."""
    users = {"user_id": np.array([3, 3, 5]), "day": np.array([0, 2, 0])}
    users |= {"interest_tags": np.array([[1, -1], [0, -1], [-1, -1]], np.int16)}
    logs, nothing = replace(LOGS, users=Table(users)), np.full((3, 4), -1)
    batch = batch_of(np.array([0, 1, -1]), history=nothing)
    for until, odd in ((DAY_MS, 1), (3 * DAY_MS, 0)):
        channel = ContentChannel(ContentConfig(fresh_hours=FOREVER)).fit(logs, INDEX, until)
        item_row, _ = channel.retrieve(batch, 5)
        assert (item_row[0] % 2 == odd).all() and (item_row[0] >= 0).all()
        assert (item_row[1:] == -1).all(), "no interests, or nobody we know"
    silent = ContentChannel(ContentConfig(profile=0.0)).fit(logs, INDEX, DAY_MS)
    assert (silent.retrieve(batch, 5)[0] == -1).all()


def test_the_interests_count_as_much_as_the_setting_says():
    users = Table({"user_id": np.array([0]), "interest_tags": np.array([[1]], np.int16)})
    logs = replace(LOGS, users=users)
    channel = ContentChannel(ContentConfig(profile=2.0)).fit(logs, INDEX, END)
    taste = channel.tastes(np.array([[-1, 4]]), np.array([0]))[0]
    np.testing.assert_allclose(taste, np.array([1.0, 2.0]) / np.sqrt(5), rtol=1e-6)
