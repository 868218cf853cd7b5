"""The checkerboard: its answer is known."""

import numpy as np
import pytest

from reclab.core.errors import ConfigError
from reclab.world import checkerboard


def test_even_users_like_even_items_and_the_diagonal_is_withheld():
    logs = checkerboard(30, 12, seed=4)
    shown = logs.interactions
    board = np.full((30, 12), -1)
    board[shown["user_id"], shown["video_id"]] = shown["is_click"]
    user, item = np.mgrid[0:30, 0:12]
    withheld = item == user % 12
    assert (board[withheld] == -1).all()
    assert np.array_equal(board[~withheld] == 1, ((user + item) % 2 == 0)[~withheld])
    assert ((user + item)[withheld] % 2 == 0).all()  # what is withheld would be liked


def test_one_neighbour_step_finds_the_withheld_item():
    shown = checkerboard(30, 12, seed=4).interactions
    liked = np.zeros((30, 12))
    liked[shown["user_id"], shown["video_id"]] = shown["is_click"]
    score = liked @ (liked.T @ liked)
    score[shown["user_id"], shown["video_id"]] = -1
    assert np.array_equal(score.argmax(1), np.arange(30) % 12)


def test_pages_are_in_order_of_time():
    shown = checkerboard(10, 8).interactions
    assert (np.diff(shown["time_ms"]) >= 0).all()
    same = np.diff(shown["req_id"]) == 0
    assert (np.diff(shown["time_ms"])[same] == 0).all()


def test_an_odd_board_is_refused():
    with pytest.raises(ConfigError, match="n_items must be even, got 7"):
        checkerboard(10, 7)
