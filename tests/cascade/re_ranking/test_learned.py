"""What all learned re-rankers promise: one contract, one stage, bad input, windows."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reclab.cascade.re_ranking.cards import WORST, Cards, ScoreScale, places, relations
from reclab.cascade.re_ranking.evaluator import Believed, Evaluator, EvaluatorConfig, card_loss
from reclab.cascade.re_ranking.generator import Generator, GeneratorConfig
from reclab.cascade.re_ranking.learned import LearnedStage, cards_of
from reclab.cascade.re_ranking.list_wise import ListWise, ListWiseConfig, page_loss
from reclab.cascade.re_ranking.mmr import MMRConfig
from reclab.cascade.re_ranking.policy_gradient import PolicyGradient, PolicyGradientConfig
from reclab.cascade.re_ranking.windows import Rule, broken
from reclab.core.chance import rng
from reclab.core.errors import ConfigError, DataError, NotBuilt
from reclab.core.tables import Table
from reclab.core.types import Candidates
from reclab.stores.forward_index import ForwardIndex
from tests.cascade.re_ranking.learned_world import Alternating, logged, some_cards, two_topics
from tests.cascade.re_ranking.test_mmr import batch_of, catalogue, ranked

FREE = MMRConfig(category_window=0, creator_window=0)
KINDS = ("list_wise", "generator", "policy_gradient")


def fitted(kind: str, seed: int = 0):
    """A model that has learned something, in a fraction of a second."""
    cards = two_topics(30, 12, seed=1)
    if kind == "list_wise":
        return ListWise(ListWiseConfig(epochs=2, seed=seed)).fit(logged(300, 1))
    small = {"steps": 4, "requests": 8, "tries": 4, "length": 6, "seed": seed}
    if kind == "generator":
        return Generator(GeneratorConfig(**small)).fit(cards, Alternating(cards))
    return PolicyGradient(PolicyGradientConfig(**small)).fit(cards, Alternating(cards))


@pytest.fixture(scope="module")
def models():
    return {kind: fitted(kind) for kind in KINDS}


@pytest.fixture(params=KINDS)
def model(request, models):
    return models[request.param]


def want(cards, k=6):
    return np.full(len(cards), k)


# -- the model ------------------------------------------------------------------------------


def test_a_list_is_different_candidates_and_as_long_as_asked(model):
    cards = some_cards(20, 15, seed=2)
    wanted = rng(2, "wanted").integers(1, 20, 20)
    lists = model.lists(cards, wanted)
    for b in range(20):
        order = lists.order[b][lists.order[b] >= 0]
        assert len(order) == min(wanted[b], 15) == len(set(order.tolist()))
        assert (lists.order[b, len(order) :] == -1).all()


def test_one_request_is_answered_as_in_a_batch(model):
    cards = some_cards(12, 20, seed=3)
    together = model.lists(cards, want(cards))
    for b in range(12):
        alone = model.lists(cards.take(slice(b, b + 1)), want(cards)[:1])
        assert alone.order[0].tolist() == together.order[b].tolist()
        np.testing.assert_allclose(alone.value[0], together.value[b], atol=2e-4)


def test_padding_does_not_change_answers(model):
    cards = some_cards(10, 12, seed=4)
    wide = Cards(
        np.pad(cards.score, ((0, 0), (0, 7)), constant_values=-np.inf),
        np.pad(cards.category, ((0, 0), (0, 7)), constant_values=-1),
        np.pad(cards.creator, ((0, 0), (0, 7)), constant_values=-1),
        np.pad(cards.vectors, ((0, 0), (0, 7), (0, 0))),
    )
    plain, padded = model.lists(cards, want(cards)), model.lists(wide, want(cards))
    assert (plain.order == padded.order).all()
    np.testing.assert_allclose(plain.value, padded.value, atol=2e-4)


def test_the_order_in_which_candidates_come_does_not_matter(model):
    cards = some_cards(10, 15, seed=5)
    order = rng(5, "order").permutation(15)
    turned = Cards(
        cards.score[:, order],
        cards.category[:, order],
        cards.creator[:, order],
        cards.vectors[:, order],
    )
    same = order[model.lists(turned, want(cards)).order]
    assert (same == model.lists(cards, want(cards)).order).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_everything(kind):
    cards = some_cards(5, 20, seed=6)
    first, again, other = fitted(kind), fitted(kind), fitted(kind, seed=1)
    assert (first.lists(cards, want(cards)).value == again.lists(cards, want(cards)).value).all()
    assert not np.allclose(
        first.lists(cards, want(cards)).value, other.lists(cards, want(cards)).value
    )


def test_saved_and_loaded_it_answers_the_same(model, tmp_path):
    model.save(tmp_path)
    again = type(model).load(tmp_path)
    cards = some_cards(5, 20, seed=7)
    mine, theirs = (m.lists(cards, want(cards)) for m in (model, again))
    assert (mine.order == theirs.order).all() and (mine.value == theirs.value).all()
    assert again.config == model.config and again.learned == model.learned


def test_a_damaged_file_is_named(model, tmp_path):
    model.save(tmp_path)
    (tmp_path / f"{model.name}.pt").write_bytes(b"nothing")
    with pytest.raises(DataError, match=f"cannot load {model.name}"):
        type(model).load(tmp_path)


@pytest.mark.parametrize("kind", [ListWise, Generator, PolicyGradient, Evaluator])
def test_nothing_is_answered_before_it_is_fitted(kind, tmp_path):
    with pytest.raises(NotBuilt, match=f"{kind.__name__}: call fit or load first"):
        kind().save(tmp_path)


@pytest.mark.parametrize(
    "config", [ListWiseConfig, EvaluatorConfig, GeneratorConfig, PolicyGradientConfig]
)
def test_wrong_settings_are_named(config):
    with pytest.raises(ConfigError, match=f"{config.__name__}.learning_rate"):
        config(learning_rate=-1.0)


# -- bad input ------------------------------------------------------------------------------


def test_candidates_without_a_finite_score_come_last(model):
    cards = some_cards(4, 12, seed=8)
    cards.score[:, :3] = np.nan
    order = model.lists(cards, want(cards, 12)).order
    assert (np.sort(order[:, :9]) == np.arange(3, 12)).all()
    assert (np.sort(order[:, 9:]) == np.arange(3)).all()


def test_without_any_score_there_is_still_a_list(model):
    cards = some_cards(3, 8, seed=9)
    cards.score[:] = np.nan
    lists = model.lists(cards, want(cards))
    assert (lists.order >= 0).all() and np.isfinite(lists.value).all()


def test_identical_items_are_all_taken_once(model):
    one = Cards(np.full((1, 5), 0.4, np.float32), np.zeros((1, 5), int), np.zeros((1, 5), int),
                np.ones((1, 5, 1), np.float32))  # fmt: skip
    assert sorted(model.lists(one, want(one, 5)).order[0].tolist()) == [0, 1, 2, 3, 4]


def test_nobody_and_one_candidate_give_lists_of_none_and_one(model):
    cards = some_cards(2, 1, seed=10)
    cards.score[1] = -np.inf
    lists = model.lists(cards, want(cards))
    assert lists.order.tolist() == [[0], [-1]]


def test_without_tags_and_creators_the_scores_decide(model):
    n = 12
    score = rng(11, "scores").random((3, n)).astype(np.float32)
    none = np.full((3, n), -1)
    cards = Cards(score, none, none, np.zeros((3, n, 1), np.float32))
    fresh = type(model)()  # what was learned about places may turn neighbours, a new net does not
    fresh.start()
    order = fresh.lists(cards, want(cards)).order
    likest = np.argsort(-score, 1)[:, :6]
    assert (order[:, 0] == likest[:, 0]).all()
    assert np.mean([len(set(a) & set(b)) for a, b in zip(order, likest, strict=True)]) > 5
    assert (np.sort(model.lists(cards, want(cards, n)).order) == np.arange(n)).all()


# -- windows --------------------------------------------------------------------------------


def test_windows_hold_after_any_of_them(model):
    cards = some_cards(30, 40, seed=12)
    rules = [Rule(cards.category, 4, 1), Rule(cards.creator, 6, 1)]
    free, held = model.lists(cards, want(cards)), model.lists(cards, want(cards), rules)
    every, bad = np.arange(30)[:, None], np.zeros(30, bool)
    for rule in rules:
        bad |= broken(rule.group[every, free.order], rule.window, rule.cap).any(1)
        assert not broken(rule.group[every, held.order], rule.window, rule.cap).any()
    assert bad.any(), "there was something to do"
    assert not held.relaxed.any() and held.pushed.any()


def test_a_greedy_dead_end_is_left_by_search_and_values_are_those_of_the_new_list(model):
    cards = Cards(
        np.array([[0.1, 0.2, 0.3, 0.9, 0.8]], np.float32),
        np.array([[0, 0, 0, 1, 1]]),
        np.full((1, 5), -1),
        np.zeros((1, 5, 1), np.float32),
    )
    rule = Rule(cards.category, 2, 1)  # only 0 1 0 1 0 keeps it
    lists = model.lists(cards, want(cards, 5), [rule])
    assert cards.category[0, lists.order[0]].tolist() == [0, 1, 0, 1, 0]
    assert lists.relaxed[0] == 0 and np.isfinite(lists.value).all()


# -- the stage ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(counts=st.lists(st.integers(0, 30), min_size=1, max_size=4), seed=st.integers(0, 10**6))
def test_every_candidate_is_kept_or_dropped_for_a_reason(models, kind, counts, seed):
    given_in = ranked(counts, seed)
    stage = LearnedStage(MMRConfig(), catalogue(), model=models[kind])
    result = stage(batch_of(len(counts)), given_in)
    both = (result.kept, result.dropped)
    out = [pair for c in both for pair in zip(c.request_row, c.item_row, strict=True)]
    assert sorted(out) == sorted(zip(given_in.request_row, given_in.item_row, strict=True))
    assert result.kept.counts().tolist() == [min(10, c) for c in counts]
    assert np.isfinite(result.kept["rerank_score"]).all()
    assert set(np.unique(result.dropped["reason"])) <= {0, 1}
    assert result.reasons == ("beyond the list", "window")


def test_a_stage_is_made_as_the_others_and_longer_lists_are_longer(model):
    stage = partial(LearnedStage, model=model)(MMRConfig(), catalogue())
    result = stage(batch_of(1, n=25), ranked([40]))
    assert stage.name == "re_ranking" and len(result.kept) == 25 and result.cost_mmac > 0


def test_a_stage_without_a_model_or_without_candidates_to_read_is_refused(model):
    with pytest.raises(ConfigError, match="LearnedStage.model must be a fitted re-ranker"):
        LearnedStage(MMRConfig(), catalogue())
    with pytest.raises(ConfigError, match="LearnedStage.read must be"):
        LearnedStage(MMRConfig(), catalogue(), model=model, read=0)


def test_the_model_reads_the_best_and_the_rest_is_beyond_the_list(model):
    candidates = ranked([50, 5, 40], seed=3)
    score = candidates["rank_score"].copy()
    score[7] = np.nan
    candidates = candidates.with_columns(rank_score=score)
    few = LearnedStage(FREE, catalogue(), model=model, read=20)(batch_of(3), candidates)
    best = candidates.take(candidates.rank_by(np.nan_to_num(score, nan=-1e9)) < 20)
    whole = LearnedStage(FREE, catalogue(), model=model)(batch_of(3), best)
    assert (few.kept.item_row == whole.kept.item_row).all()
    assert len(few.kept) + len(few.dropped) == 95 and few.cost_mmac == whole.cost_mmac
    longer = LearnedStage(FREE, catalogue(), model=model, read=20)(batch_of(3, n=30), candidates)
    assert longer.kept.counts().tolist() == [30, 5, 30]


def test_many_requests_are_attended_in_blocks(models):
    """What the processor's cache holds must not decide what is answered."""
    cards = some_cards(30, 90, seed=4)  # 12 requests a block
    assert len(list(cards.blocks())) == 3
    for model in models.values():
        together = model.lists(cards, want(cards)).order
        alone = [model.lists(cards.take([b]), want(cards)[:1]).order[0] for b in range(30)]
        assert (together == alone).all()


@pytest.mark.parametrize("bad", [np.nan, -np.inf, np.inf])
def test_the_stage_puts_scores_that_are_none_last(model, bad):
    candidates = ranked([12])
    score = candidates["rank_score"].copy()
    score[:3] = bad
    stage = LearnedStage(FREE, catalogue(), model=model)
    kept = stage(batch_of(1), candidates.with_columns(rank_score=score)).kept
    assert not np.isin(kept.item_row[:9], candidates.item_row[:3]).any()
    assert np.isin(kept.item_row[9:], candidates.item_row[:3]).all()


def test_items_without_tags_and_creators_are_served(model):
    index = ForwardIndex(Table({"video_id": np.arange(60)}))
    assert len(LearnedStage(MMRConfig(), index, model=model)(batch_of(1), ranked([30])).kept) == 10


def test_windows_that_cannot_hold_are_relaxed_with_a_note(model):
    items = Table({"video_id": np.arange(12), "tags": np.zeros((12, 1), np.int16)})
    rows = Candidates(1, np.zeros(12, int), np.arange(12))
    stage = LearnedStage(MMRConfig(max_per_category=2), ForwardIndex(items), model=model)
    result = stage(batch_of(1), rows.with_columns(rank_score=np.arange(12.0)))
    assert len(result.kept) == 10 and "windows relaxed for 8 cards" in result.notes[0]


# -- what they see --------------------------------------------------------------------------


def test_relations_are_those_of_a_loop_and_nobody_is_like_the_unknown():
    cards = some_cards(2, 9, seed=13)
    alike = relations(cards).numpy()
    for b in range(2):
        for i in range(9):
            for j in range(9):
                same = [
                    float(group[b, i] == group[b, j] >= 0)
                    for group in (cards.category, cards.creator)
                ]
                cosine = float(cards.vectors[b, i] @ cards.vectors[b, j])
                assert alike[b, :, i, j].tolist() == [*same, cosine]


def test_the_scale_learns_whether_scores_are_probabilities():
    scale = ScoreScale()
    scale.learn(np.array([0.2, 0.5, 0.8, np.nan]))
    out = scale(np.array([[0.5, np.nan, -np.inf, 0.8]])).numpy()[0]
    assert scale.odds and out[0] == pytest.approx(0, abs=1e-6)
    assert out[1] == out[2] == WORST and out[3] == pytest.approx(1.2247, abs=1e-3)
    scale.learn(np.array([-3.0, 5.0]))
    assert not scale.odds and scale(np.array([[1.0, 5.0]])).tolist() == [[0.0, 1.0]]
    scale.learn(np.array([2.0, 2.0]))
    assert scale(np.array([[2.0, 3.0]])).tolist() == [[0.0, 1.0]], "no spread is no division by it"


def test_places_follow_the_scores():
    score = rng(14, "places").random((5, 9))
    assert (places(score) == (score[:, None, :] > score[:, :, None]).sum(2)).all()


def test_cards_of_candidates_are_laid_out_by_request():
    table = np.array([[0, 1, -1], [2, 3, 4]])
    tags = np.array([[3], [3], [-1], [4], [3]], np.int16)
    cards = cards_of(np.array([0.1, np.inf, 0.3, 0.4, 0.5]), tags, None, table)
    assert cards.category.tolist() == [[3, 3, -1], [-1, 4, 3]]
    assert np.isnan(cards.score[0, 1]) and cards.score[0, 2] == -np.inf
    assert (cards.creator == -1).all() and cards.real.sum() == 5
    assert float(cards.vectors[0, 0] @ cards.vectors[0, 1]) == 1.0


def loss_of(model):
    """A loss in which everything the network can say has a part."""
    if isinstance(model, ListWise):
        return page_loss(model.net, logged(50, 3))
    if isinstance(model, Evaluator):
        return card_loss(model.net, logged(50, 3))
    cards, chance = some_cards(8, 12, seed=16), rng(16, "losses")
    lists = iter(torch.from_numpy(np.argsort(chance.random((8, 12)), 1)[:, :6].T))
    _, log_p, _ = model.net.write(cards, np.arange(8), 6, lambda _: next(lists))
    return (log_p * torch.from_numpy(chance.normal(size=(8, 6)))).sum()


@pytest.mark.parametrize("kind", [*KINDS, "evaluator"])
def test_every_parameter_has_a_gradient(kind):
    if kind == "evaluator":
        model = Evaluator(EvaluatorConfig(epochs=1)).fit(logged(300, 2))
    else:
        model = fitted(kind)
    model.net.train()
    model.net.zero_grad()
    loss_of(model).backward()
    for name, weight in model.net.named_parameters():
        assert weight.grad is not None and float(weight.grad.abs().max()) > 1e-6, name
        assert torch.isfinite(weight.grad).all(), name


def test_the_evaluator_is_an_environment():
    cards = two_topics(6, 8, seed=15)
    evaluator = Evaluator(EvaluatorConfig(epochs=1)).fit(logged(300, 2))
    rows, lists = np.array([0, 0, 5]), np.array([[0, 1, 2], [2, 1, -1], [7, 6, 5]])
    won = Believed(evaluator, cards).reward(rows, lists)
    assert won.shape == (3, 3) and won[1, 2] == 0 and (won[[0, 2]] > 0).all()
    model = Generator(GeneratorConfig(steps=2, requests=4, tries=2, length=3))
    model.fit(cards, Believed(evaluator, cards))
    assert len(model.learned) == 2
