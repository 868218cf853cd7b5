"""A small world with a known answer, for the tests of the learned re-rankers.

Two topics. The ranker scores every card of topic 0 above every card of topic 1, but a card wins
with 0.8 · 0.4^(cards of its topic before it): the best list alternates.
"""

import numpy as np

from reclab.cascade.re_ranking.cards import Cards
from reclab.cascade.re_ranking.list_wise import Pages
from reclab.core.chance import rng

P, AGAIN = 0.8, 0.4


def two_topics(n_requests: int, n: int, seed: int) -> Cards:
    """``n`` candidates a request, half of each topic, in random order."""
    chance = rng(seed, "two topics")
    topic = np.stack([chance.permutation(np.arange(n) % 2) for _ in range(n_requests)])
    score = np.where(topic == 0, 0.7, 0.6) + 0.04 * chance.random(topic.shape)
    vectors = np.eye(2, dtype=np.float32)[topic]
    creator = chance.permuted(np.tile(np.arange(n), (n_requests, 1)), axis=1)
    return Cards(score.astype(np.float32), topic, creator, vectors)


def some_cards(n_requests: int, n: int, seed: int) -> Cards:
    """Cards of six topics and eight creators, some without any."""
    chance = rng(seed, "some cards")
    topic = chance.integers(-1, 6, (n_requests, n))
    vectors = np.concatenate([np.eye(6), np.zeros((1, 6))])[topic].astype(np.float32)
    creator = chance.integers(-1, 8, (n_requests, n))
    score = 0.6 + 0.14 * chance.random(topic.shape)  # where those of ``two_topics`` lie
    return Cards(score.astype(np.float32), topic, creator, vectors)


def wins(topic: np.ndarray) -> np.ndarray:
    """(S, K) P(win) of each card by the topics (S, K) in list order; -1 = no card."""
    same = (topic[:, :, None] == topic[:, None, :]) & np.tri(topic.shape[1], k=-1, dtype=bool)
    return P * AGAIN ** same.sum(2) * (topic >= 0)


class Alternating:
    """The world as an ``Environment``."""

    def __init__(self, cards: Cards) -> None:
        self.cards = cards

    def reward(self, rows, lists):
        topic = np.where(lists >= 0, self.cards.category[rows[:, None], lists], -1)
        return wins(topic)


def logged(n_pages: int, seed: int, size: int = 6) -> Pages:
    """Pages in random order, and who won; nobody leaves before the end."""
    cards = two_topics(n_pages, size, seed)
    gain = (rng(seed, "wins").random(cards.score.shape) < wins(cards.category)).astype(np.float32)
    left = np.zeros_like(gain)
    left[:, -1] = np.nan
    return Pages(cards, gain, left)
