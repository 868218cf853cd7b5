"""Policies that write lists: against enumeration, and in worlds with a known best list."""

from itertools import permutations

import numpy as np
import pytest
import torch

from reclab.cascade.re_ranking.cards import Cards
from reclab.cascade.re_ranking.evaluator import Believed, Evaluator, EvaluatorConfig
from reclab.cascade.re_ranking.generator import Generator, GeneratorConfig
from reclab.cascade.re_ranking.policy_gradient import (
    PolicyGradient,
    PolicyGradientConfig,
    Prices,
    advantage,
    reinforce,
)
from reclab.core.chance import rng
from reclab.core.errors import DataError
from tests.cascade.re_ranking.learned_world import (
    AGAIN,
    Alternating,
    P,
    logged,
    some_cards,
    two_topics,
    wins,
)

SMALL = {"requests": 16, "tries": 8, "length": 6}
KINDS = {
    "policy gradient": lambda **kw: PolicyGradient(PolicyGradientConfig(**SMALL, **kw)),
    "generator": lambda **kw: Generator(GeneratorConfig(**SMALL, **kw)),
}


def net_of(kind):
    model = KINDS[kind]()
    return model.start()


@pytest.mark.parametrize("kind", KINDS)
def test_the_chances_of_all_lists_sum_to_one(kind):
    net, cards = net_of(kind), some_cards(1, 5, seed=1)
    every = list(permutations(range(5), 3))
    picks = iter(torch.tensor(every).T)
    _, log_p, _ = net.write(cards, np.zeros(len(every), int), 3, lambda _: next(picks))
    assert float(log_p.detach().sum(1).exp().sum()) == pytest.approx(1.0, abs=1e-5)


def test_the_gradient_is_that_of_the_expected_reward():
    """REINFORCE with its baseline, against the exact gradient by enumerating all lists."""
    net, cards = Prices(2), two_topics(1, 4, seed=2)
    net.scale.learn(cards.score)
    with torch.no_grad():
        net.worth.weight.mul_(0.2)
    every = np.array(list(permutations(range(4), 2)))
    won = rng(2, "rewards").random((len(every), 2))
    table = np.zeros((4, 4, 2))
    won[:, 0] = won[every[:, 0], 0]  # no card's reward depends on a later one
    table[every[:, 0], every[:, 1]] = won
    picks = iter(torch.from_numpy(every).T)
    _, log_p, _ = net.write(cards, np.zeros(len(every), int), 2, lambda _: next(picks))
    (log_p.sum(1).exp() * torch.from_numpy(won.sum(1))).sum().backward()
    exact = torch.cat([p.grad.flatten() for p in net.parameters()]).numpy()
    net.zero_grad()
    tries, chance = 20_000, rng(2, "draws")

    def drawn(logits):
        noise = chance.gumbel(size=tuple(logits.shape))
        return (logits.detach() + torch.from_numpy(noise)).argmax(1)

    lists, log_p, _ = net.write(cards, np.zeros(tries, int), 2, drawn)
    reward = table[lists[:, 0], lists[:, 1]]
    ahead = np.cumsum(reward[:, ::-1], 1)[:, ::-1]
    spread = (ahead[:, 0] - (ahead[:, 0].sum() - ahead[:, 0]) / (tries - 1)).std()
    signal = torch.from_numpy(advantage(reward, tries) * spread)
    (signal * log_p).sum(1).mean().backward()
    drawn_gradient = torch.cat([p.grad.flatten() for p in net.parameters()]).numpy()
    assert np.abs(exact).max() > 0.01
    np.testing.assert_allclose(drawn_gradient, exact, atol=0.15 * np.abs(exact).max())


class Secret:
    """A tiny bandit: one request, a reward for each ordered pair of cards."""

    def __init__(self, worth):
        self.worth = worth

    def reward(self, rows, lists):
        won = np.zeros(lists.shape)
        won[:, -1] = self.worth[lists[:, 0], lists[:, 1]]
        return won


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_policy_gradient_reaches_the_optimum_of_a_tiny_bandit(seed):
    """The best pair is the second and the fourth by score: unlike each other, and not the best."""
    topic = np.array([[0, 0, 0, 1, 1]])
    cards = Cards(np.array([[0.9, 0.8, 0.7, 0.6, 0.2]], np.float32), topic, np.full((1, 5), -1),
                  np.eye(2, dtype=np.float32)[topic])  # fmt: skip
    pays = np.array([0.2, 0.6, 0.4, 0.3, 0.1])
    worth = pays[:, None] + pays[None] + 0.8 * (topic[0][:, None] != topic[0][None])
    best = max(permutations(range(5), 2), key=lambda pair: worth[pair])
    model = PolicyGradient(
        PolicyGradientConfig(steps=120, requests=1, tries=64, length=2, seed=seed)
    ).fit(cards, Secret(worth))
    found = tuple(model.lists(cards, np.array([2])).order[0].tolist())
    assert sorted(best) == [1, 3] and worth[found] == worth[best]
    assert np.mean(model.learned[-10:]) > 0.9 * worth[best] > np.mean(model.learned[:3])


@pytest.mark.parametrize("kind", KINDS)
def test_the_list_that_alternates_is_found(kind):
    cards, fresh = two_topics(200, 16, seed=3), two_topics(60, 16, seed=4)
    model = KINDS[kind](steps=80).fit(cards, Alternating(cards))
    order = model.lists(fresh, np.full(60, 6)).order
    topic = np.take_along_axis(fresh.category, order, 1)
    best = P * 2 * (1 + AGAIN + AGAIN**2)
    assert wins(topic).sum(1).mean() > 0.97 * best
    first_two = topic[:, 0] != topic[:, 1]
    assert first_two.mean() > 0.9 and (topic.sum(1) == 3).mean() > 0.9


@pytest.mark.slow
def test_the_generator_learns_from_logs_alone():
    """Pages -> evaluator -> generator: nobody tells it the world's rule."""
    evaluator = Evaluator(EvaluatorConfig(epochs=8)).fit(logged(3000, 5))
    cards, fresh = two_topics(200, 16, seed=6), two_topics(60, 16, seed=7)
    model = KINDS["generator"](steps=80).fit(cards, Believed(evaluator, cards))
    order = model.lists(fresh, np.full(60, 6)).order
    value = wins(np.take_along_axis(fresh.category, order, 1)).sum(1).mean()
    by_score = wins(np.take_along_axis(fresh.category, np.argsort(-fresh.score, 1)[:, :6], 1))
    best = P * 2 * (1 + AGAIN + AGAIN**2)
    assert by_score.sum(1).mean() < 0.6 * best and value > 0.95 * best


def test_dearer_repetition_is_more_variety():
    cards = two_topics(200, 16, seed=8)
    model = KINDS["policy gradient"](steps=12).fit(cards, Alternating(cards))
    fresh = some_cards(80, 30, seed=9)
    different = []
    for factor in (0.0, 1.0, 8.0):
        order = model.with_factor(factor).lists(fresh, np.full(80, 8)).order
        topic = np.take_along_axis(fresh.category, order, 1)
        different.append(np.mean([len(set(row)) for row in topic.tolist()]))
    assert different == sorted(different) and different[0] < different[-1]
    assert model.config.price_factor == 1.0, "the model itself is left as it was"


def test_the_baseline_is_the_mean_of_the_others():
    won = rng(10, "won").random((12, 5))
    ahead = np.cumsum(won[:, ::-1], 1)[:, ::-1].reshape(3, 4, 5)
    expected = np.empty_like(ahead)
    for r in range(3):
        for s in range(4):
            expected[r, s] = ahead[r, s] - np.delete(ahead[r], s, 0).mean(0)
    expected = expected.reshape(12, 5)
    np.testing.assert_allclose(advantage(won, 4), expected / expected[:, 0].std(), rtol=1e-5)
    assert (advantage(np.ones((4, 2)), 2) == 0).all(), "all the same: nothing to learn"


def test_lists_shorter_than_the_length_tried_are_learned_from():
    cards = two_topics(20, 4, seed=11)
    cards.score[:5, 2:] = -np.inf
    model = KINDS["policy gradient"](steps=3).fit(cards, Alternating(cards))
    assert np.isfinite(model.learned).all()
    assert all(torch.isfinite(p).all() for p in model.net.parameters())


def test_without_requests_there_is_nothing_to_learn_from():
    cards = two_topics(1, 4, seed=12).take(slice(0, 0))
    with pytest.raises(DataError, match="no requests to learn from"):
        reinforce(Prices(2), cards, Alternating(cards), PolicyGradientConfig())
