"""ALS against dense systems solved row by row, and what a fold-in answers without a new fit."""

from dataclasses import replace

import numpy as np
import pytest

from reclab.cascade.retrieval import als
from reclab.cascade.retrieval.als import ALSChannel, ALSConfig, Likes, unobserved
from reclab.core.chance import rng
from reclab.core.errors import ConfigError
from tests.cascade.retrieval.contract import (
    END,
    INDEX,
    LOGS,
    N_ITEMS,
    N_USERS,
    ChannelContract,
    batch_of,
)

SMALL = ALSConfig(dim=4, sweeps=4, alpha=5.0, ridge=0.5, position_decay=1.0)


class TestALSIsAChannel(ChannelContract):
    def make(self):
        return ALSChannel(SMALL)


def directly(liked: np.ndarray, other: np.ndarray, weight: np.ndarray, c: ALSConfig) -> np.ndarray:
    """Each row's least squares over all columns, written out: ``liked`` (R, C) bool, ``weight``
    (R, C) of the pairs without a like."""
    solved = []
    for likes, unliked in zip(liked, weight, strict=True):
        weigh = np.diag(np.where(likes, 1 + c.alpha, unliked))
        left = other.T @ weigh @ other + c.ridge * np.eye(c.dim)
        solved.append(np.linalg.solve(left, other.T @ weigh @ likes))
    return np.array(solved)


@pytest.mark.parametrize("power", [0.0, 0.5])
@pytest.mark.parametrize("cells", [1, 200, 10**6])
def test_a_sweep_equals_the_direct_solution_of_every_row(power, cells, monkeypatch):
    monkeypatch.setattr(als, "CELLS", cells)
    chance, c = rng(1, "als"), replace(SMALL, popularity=power)
    liked = chance.random((17, 11)) < np.linspace(0, 0.9, 11)  # one item without, one user too
    liked[3] = False
    user, item = np.nonzero(liked)
    z = unobserved(liked.sum(0), power)
    items, one = chance.normal(size=(11, 4)).astype(np.float32), np.ones(17, np.float32)
    channel, weight = ALSChannel(c), np.tile(z, (17, 1))
    users = channel._sweep(Likes.of(user, item, 17), items, one, z)
    np.testing.assert_allclose(users, directly(liked, items, weight, c), rtol=1e-3, atol=1e-5)
    again = channel._sweep(Likes.of(item, user, 11), users, z, one)
    np.testing.assert_allclose(again, directly(liked.T, users, weight.T, c), rtol=1e-3, atol=1e-5)


def test_a_user_who_is_folded_in_gets_the_vector_of_a_sweep():
    channel = ALSChannel(SMALL).fit(LOGS, INDEX, END)
    history = np.array([[-1, -1, -1, -1], [-1, 3, 7, 3], [19, 0, -1, N_ITEMS + 5]])
    liked = np.zeros((3, N_ITEMS), bool)
    liked[[1, 1, 2, 2], [3, 7, 19, 0]] = True
    one = np.ones((3, N_ITEMS))
    expected = directly(liked, channel._items, one, SMALL)
    np.testing.assert_allclose(channel.users(history), expected, rtol=1e-3, atol=1e-5)


def test_an_older_like_fades_to_a_pair_without_one():
    channel = ALSChannel(replace(SMALL, position_decay=0.7)).fit(LOGS, INDEX, END)
    fade = np.zeros(N_ITEMS)
    fade[[8, 4, 11]] = 1.0, 0.7, 0.7**4  # the newest 8 counts, the older one does not
    v = channel._items
    weigh = 1 + SMALL.alpha * fade
    left = v.T @ (v * weigh[:, None]) + SMALL.ridge * np.eye(SMALL.dim)
    expected = np.linalg.solve(left, v.T @ ((1 + SMALL.alpha) * fade))
    found = channel.users(np.array([[-1, 11, 8, -1, 4, 8]]))[0]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_sweeps_lower_the_loss():
    def loss(sweeps: int) -> float:
        channel = ALSChannel(replace(SMALL, sweeps=sweeps)).fit(LOGS, INDEX, END)
        likes = LOGS.interactions.take(LOGS.positive)
        liked = np.zeros((N_USERS, N_ITEMS), bool)
        liked[likes["user_id"], likes["video_id"]] = True
        batch = batch_of(np.arange(N_USERS), END)
        users, v = channel.users(batch.history), channel._items
        weight = np.where(liked, 1 + SMALL.alpha, 1)
        ridge = SMALL.ridge * ((users**2).sum() + (v**2).sum())
        return float((weight * (liked - users @ v.T) ** 2).sum() + ridge)

    losses = [loss(sweeps) for sweeps in (1, 2, 8)]
    assert losses[0] > losses[1] > losses[2]


def test_on_the_checkerboard_the_one_unseen_liked_item_is_found():
    item_row, _ = ALSChannel(SMALL).fit(LOGS, INDEX, END).retrieve(batch_of(np.arange(N_USERS)), 1)
    assert item_row[:, 0].tolist() == [u % N_ITEMS for u in range(N_USERS)]


def test_a_new_user_with_one_fresh_like_is_answered_with_its_kind():
    channel = ALSChannel(replace(SMALL, dim=2, sweeps=10)).fit(LOGS, INDEX, END)
    item_row, score = channel.retrieve(batch_of(np.array([-1]), history=np.array([[7]])), 9)
    assert sorted(item_row[0].tolist()) == [1, 3, 5, 9, 11, 13, 15, 17, 19]
    assert (score > 0).all()


def test_the_history_is_no_answer_and_a_user_without_one_gets_none():
    channel = ALSChannel(SMALL).fit(LOGS, INDEX, END)
    history = np.array([[-1, -1], [2, 4]])
    item_row, score = channel.retrieve(batch_of(np.array([0, 0]), history=history), N_ITEMS)
    assert (item_row[0] == -1).all() and not score[0].any()
    assert not {2, 4} & set(item_row[1].tolist()) and 6 in item_row[1]


def test_likes_are_blocked_without_loss():
    row = np.repeat([5, 0, 2], [1, 40, 3])
    likes = Likes.of(row, np.arange(44), 7)
    held = {int(r): likes.padded(rows)[n] for rows in likes.blocks(4) for n, r in enumerate(rows)}
    assert {r: held[r][held[r] >= 0].tolist() for r in held} == {
        5: [0], 0: list(range(1, 41)), 2: [41, 42, 43],
    }  # fmt: skip


def test_wrong_settings_are_named():
    with pytest.raises(ConfigError, match="ALSConfig.dim must be >= 1, got 0"):
        ALSConfig(dim=0)
    with pytest.raises(ConfigError, match="ALSConfig.ridge"):
        ALSConfig(ridge=0.0)
    with pytest.raises(ConfigError, match="ALSConfig.popularity"):
        ALSConfig(popularity=1.5)
