"""Untargeted injection: the same volume, other users."""

from dataclasses import dataclass

import numpy as np

from reclab.core.chance import rng
from reclab.dualrec.controls import shuffled


@dataclass(frozen=True)
class Columns:
    item_id: np.ndarray
    user_id: np.ndarray
    score: np.ndarray
    reason: np.ndarray


def test_every_item_and_every_user_keep_their_numbers_and_no_pair_is_twice():
    chance = rng(1, "controls")
    pair = np.unique(chance.integers(0, 60 * 200, 2000))
    n = len(pair)
    matches = Columns(pair // 200, pair % 200, chance.random(n), np.zeros(n, np.int8))
    other = shuffled(matches, 1)
    assert (other.item_id == matches.item_id).all() and (other.score == matches.score).all()
    assert (np.bincount(other.user_id) == np.bincount(matches.user_id)).all()
    assert len(np.unique(other.item_id * 200 + other.user_id)) == n
    kept = np.isin(other.item_id * 200 + other.user_id, pair).mean()
    assert kept < 0.3  # by chance alone a sixth of all pairs are matches
    assert (shuffled(matches, 1).user_id == other.user_id).all()
    assert (shuffled(matches, 2).user_id != other.user_id).any()
