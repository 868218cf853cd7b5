"""The list-wise model and the evaluator: against loops, and in a world with a known answer."""

import numpy as np
import pytest
import torch

from reclab.cascade.re_ranking.attention import ListAttention, ListNet, in_order
from reclab.cascade.re_ranking.cards import relations
from reclab.cascade.re_ranking.evaluator import Evaluator, EvaluatorConfig
from reclab.cascade.re_ranking.list_wise import ListWise, ListWiseConfig, Pages, page_loss
from reclab.core.chance import rng
from reclab.core.errors import DataError
from tests.cascade.re_ranking.learned_world import (
    AGAIN,
    P,
    logged,
    some_cards,
    two_topics,
    wins,
)


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def test_attention_equals_the_naive_loop():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        block, x = ListAttention(4), torch.randn(1, 6, 4)
    cards = some_cards(1, 6, seed=1)
    earlier = torch.ones(6, 6, dtype=torch.bool).tril(-1)[None]
    alike = relations(cards) * earlier[:, None]
    with torch.inference_mode():
        out = block(x, alike, earlier | torch.eye(6, dtype=torch.bool)).numpy()[0]
        q, k, v = (m(x)[0].view(6, 4, 4).numpy() for m in (block.q, block.k, block.v))
    for i in range(6):
        heads = [softmax(np.array([q[i, 0] @ k[j, 0] / 2 for j in range(i + 1)])) @ v[: i + 1, 0]]
        for r in range(3):
            heads.append(np.zeros(4))
            for j in range(i):
                weight = 1 / (1 + np.exp(-(q[i, r + 1] @ k[j, r + 1]) / 2))
                heads[-1] = heads[-1] + float(alike[0, r, i, j]) * weight * v[j, r + 1]
        with torch.inference_mode():
            joined = x[0, i] + block.join(torch.from_numpy(np.concatenate(heads)).float())
            expected = (joined + block.feed(joined)).numpy()
        np.testing.assert_allclose(out[i], expected, atol=1e-5)


def test_a_card_does_not_know_what_comes_after_it():
    evaluator = Evaluator(EvaluatorConfig(epochs=1)).fit(logged(200, 1))
    cards = some_cards(5, 8, seed=2)
    before = evaluator.chances(cards)
    for column in (cards.score, cards.category, cards.creator):
        column[:, 5:] = column[:, 5:][::-1]
    cards.vectors[:, 5:] = 0
    after = evaluator.chances(cards)
    for old, new in zip(before, after, strict=True):
        np.testing.assert_allclose(old[:, :5], new[:, :5], atol=1e-6)
        assert not np.allclose(old[:, 5:], new[:, 5:], atol=1e-6)


def test_the_loss_is_the_cross_entropy_of_the_wins():
    net = ListNet(4, 1, level=False)
    pages = logged(20, 3)
    out = net(pages.cards, in_order(pages.cards))[..., 0].detach().numpy()
    by_hand = [
        -sum(g / max(gain.sum(), 1e-6) * np.log(p) for g, p in zip(gain, softmax(o), strict=True))
        for o, gain in zip(out, pages.gain, strict=True)
    ]
    assert float(page_loss(net, pages).detach()) == pytest.approx(np.mean(by_hand), abs=1e-5)


def test_scores_move_with_the_candidates():
    """Permutation equivariance: the scores of turned candidates are the turned scores."""
    model = ListWise(ListWiseConfig(epochs=1)).fit(logged(200, 4))
    cards, order = some_cards(6, 20, seed=5), rng(5, "order").permutation(20)
    turned = type(cards)(
        cards.score[:, order], cards.category[:, order], cards.creator[:, order],
        cards.vectors[:, order],
    )  # fmt: skip
    np.testing.assert_allclose(model.score(turned), model.score(cards)[:, order], atol=1e-5)


def test_from_pages_of_six_it_learns_to_alternate_among_twelve():
    model = ListWise(ListWiseConfig(epochs=8)).fit(logged(3000, 6))
    cards = two_topics(50, 12, seed=7)
    order = model.lists(cards, np.full(50, 4)).order
    topic = np.take_along_axis(cards.category, order, 1)
    by_score = np.take_along_axis(cards.category, np.argsort(-cards.score, 1)[:, :4], 1)
    assert (by_score == 0).all(), "the scores alone would fill the list with one topic"
    assert (topic.sum(1) == 2).mean() > 0.9
    assert wins(topic).sum(1).mean() > 0.97 * P * 2 * (1 + AGAIN)
    assert model.learned[-1] < model.learned[0]


def test_the_evaluator_learns_what_repetition_costs_and_who_leaves():
    pages = logged(4000, 8)
    chance = rng(8, "leaving")
    left = np.where(chance.random(pages.gain.shape) < 0.1, 1.0, 0.0).astype(np.float32)
    evaluator = Evaluator(EvaluatorConfig(epochs=8)).fit(Pages(pages.cards, pages.gain, left))
    cards = logged(300, 9).cards
    win, leave = evaluator.chances(cards)
    assert np.abs(win - wins(cards.category)).mean() < 0.03
    assert np.abs(leave - 0.1).mean() < 0.03
    stays = np.concatenate([np.ones((300, 1)), np.cumprod(1 - leave, 1)[:, :-1]], 1)
    np.testing.assert_allclose(evaluator.value_by_card(cards), win * stays, atol=1e-6)


def test_pages_that_tell_nothing_are_refused():
    pages = logged(10, 10)
    with pytest.raises(DataError, match="both a card that won and one that did not"):
        ListWise().fit(Pages(pages.cards, np.ones_like(pages.gain), pages.left))
    with pytest.raises(DataError, match="both a card that won and one that did not"):
        ListWise().fit(pages.take(np.zeros(0, int)))
    with pytest.raises(DataError, match="no card of the pages has a known gain"):
        Evaluator().fit(Pages(pages.cards, np.full_like(pages.gain, np.nan), pages.left))


def test_where_leaving_is_not_logged_nearly_nobody_leaves():
    pages = logged(300, 11)
    unknown = np.full_like(pages.left, np.nan)
    evaluator = Evaluator(EvaluatorConfig(epochs=2)).fit(Pages(pages.cards, pages.gain, unknown))
    assert evaluator.chances(pages.cards)[1].mean() < 0.1
