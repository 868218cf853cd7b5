"""The social channel: the channel contract, the formula by loops, and both kinds of friends."""

from dataclasses import replace

import numpy as np
import pytest

from reclab.cascade.retrieval.social import SocialChannel, SocialConfig
from reclab.core.chance import rng
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import ConfigError, NotBuilt
from reclab.core.tables import Logs, Table
from reclab.stores.forward_index import ForwardIndex
from tests.cascade.retrieval.contract import END, INDEX, LOGS, ChannelContract, batch_of

N_USERS, N_ITEMS, N_CREATORS = 12, 40, 6


def following(logs: Logs) -> Logs:
    """Every click is a like, and follows the creator."""
    shown = logs.interactions
    return replace(
        logs,
        interactions=shown.with_columns(is_follow=shown["is_click"], is_like=shown["is_click"]),
    )


class TestSocialIsAChannel(ChannelContract):
    logs = following(LOGS)

    def make(self):
        return SocialChannel()


def random_logs(seed: int = 0, first_author: int = 1000) -> Logs:
    """40 items of 6 creators over four days; random impressions, some liked, some followed."""
    chance, n = rng(seed, "social"), 300
    items = {
        "video_id": 100 + np.arange(N_ITEMS),
        "author_id": first_author + chance.integers(0, N_CREATORS, N_ITEMS),
        "publish_ms": chance.integers(0, 4 * DAY_MS, N_ITEMS),
    }
    shown = {
        "user_id": 7 + chance.integers(0, N_USERS, n),
        "video_id": 100 + chance.integers(0, N_ITEMS, n),
        "time_ms": np.sort(chance.integers(0, 4 * DAY_MS, n)),
        "is_click": chance.random(n) < 0.5,
        "is_like": chance.random(n) < 0.3,
        "is_follow": chance.random(n) < 0.06,
    }
    users = Table({"user_id": 7 + np.arange(N_USERS)})
    return Logs(users, Table(items), Table(shown))


def by_loops(logs: Logs, user: int, now: int, until: int, c: SocialConfig) -> np.ndarray:
    """The formula, user by user and item by item."""
    rows = [
        {name: int(logs.interactions[name][i]) for name in logs.interactions}
        for i in range(len(logs.interactions))
        if logs.interactions["time_ms"][i] < until
    ]
    author = logs.items["author_id"]
    creators = sorted(set(author.tolist()))
    follows = np.zeros((N_USERS, len(creators)))
    likes = np.zeros((N_USERS, len(creators)))
    for row in rows:
        at = row["user_id"] - 7, creators.index(author[row["video_id"] - 100])
        follows[at] = max(follows[at], row["is_follow"])
        likes[at] += row["is_like"]
    tie = np.maximum(follows, 1 - (1 - c.like_tie) ** likes)[user]
    length = np.maximum(np.linalg.norm(follows, axis=1), 1e-9)
    near = follows @ follows[user] / length / length[user]
    for k, creator in enumerate(creators):
        if 7 <= creator < 7 + N_USERS and follows[user, k]:
            near[creator - 7] = 1.0
    near[user] = 0.0
    score = np.zeros(N_ITEMS)
    for item in range(N_ITEMS):
        age = now - logs.items["publish_ms"][item]
        if age >= 0:
            fade = 0.5 ** (age / HOUR_MS / c.fresh_hours)
            score[item] += tie[creators.index(author[item])] * fade
    for friend in range(N_USERS):
        liked = [r for r in rows if r["user_id"] == 7 + friend and r["is_like"]][::-1][: c.likes]
        for r in (r for r in liked if r["time_ms"] < now):
            fade = 0.5 ** ((now - r["time_ms"]) / HOUR_MS / c.fresh_hours)
            score[r["video_id"] - 100] += c.circle * near[friend] * fade
    return score


@pytest.mark.parametrize("first_author", [1000, 9])  # 9: creators are users 9 to 14
def test_scores_equal_the_formula_by_loops(first_author):
    logs, until = random_logs(1, first_author), 3 * DAY_MS
    c = SocialConfig(likes=4, fresh_hours=30.0)
    channel = SocialChannel(c).fit(logs, ForwardIndex(logs.items), until)
    users, now = np.arange(N_USERS), until - 5 * HOUR_MS
    batch = batch_of(users, now, history=np.full((N_USERS, 3), -1))
    item_row, score = channel.retrieve(batch, N_ITEMS)
    for user in users:
        wanted = by_loops(logs, user, now, until, c)
        found = np.zeros(N_ITEMS)
        real = item_row[user] >= 0
        found[item_row[user][real]] = score[user][real]
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)


def test_updates_in_pieces_equal_one_fit():
    logs, index = random_logs(2), ForwardIndex(random_logs(2).items)
    whole = SocialChannel().fit(logs, index, 4 * DAY_MS)
    parts = SocialChannel().fit(logs, index, DAY_MS)
    when = logs.interactions["time_ms"]
    for day in (1, 2, 3):
        parts.update(logs.interactions.take(when // DAY_MS == day))
    batch = batch_of(np.arange(N_USERS), 4 * DAY_MS, history=np.full((N_USERS, 3), -1))
    for a, b in zip(whole.retrieve(batch, 30), parts.retrieve(batch, 30), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_new_post_reaches_its_followers_and_nobody_else_at_once():
    logs = random_logs(3)
    index = ForwardIndex(logs.items)
    channel = SocialChannel(SocialConfig(like_tie=0.0, circle=0.0)).fit(logs, index, 4 * DAY_MS)
    author, now = int(logs.items["author_id"][0]), 5 * DAY_MS
    news = {"author_id": np.array([author]), "publish_ms": np.array([now - 1])}
    index.put(np.array([999]), **news)
    shown = logs.interactions
    theirs = logs.items["author_id"][shown["video_id"] - 100] == author
    followers = set((shown["user_id"][theirs & shown["is_follow"]] - 7).tolist())
    batch = batch_of(np.arange(N_USERS), now, history=np.full((N_USERS, 3), -1))
    item_row, _ = channel.retrieve(batch, N_ITEMS + 1)
    got = {b for b in range(N_USERS) if (item_row[b] == N_ITEMS).any()}
    assert followers and got == followers
    assert all(item_row[b, 0] == N_ITEMS for b in followers), "the newest post stands first"


def test_without_authors_or_feedback_the_channel_is_silent_but_alive():
    bare = replace(LOGS, items=Table({"video_id": LOGS.items["video_id"]}))
    channel = SocialChannel().fit(bare, ForwardIndex(bare.items), END)
    assert (channel.retrieve(batch_of(np.array([0, 1])), 5)[0] == -1).all()


def test_wrong_settings_and_order_are_named():
    with pytest.raises(ConfigError, match="SocialConfig.like_tie"):
        SocialConfig(like_tie=1.5)
    with pytest.raises(ConfigError, match="SocialConfig.friends"):
        SocialConfig(friends=0)
    with pytest.raises(NotBuilt, match="fit"):
        SocialChannel().update(Table())
    assert len(INDEX)
