"""MMR against a loop, windows against brute force, and every candidate accounted for."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reclab.cascade.batch import Batch
from reclab.cascade.re_ranking.mmr import MMRConfig, MMRStage, mmr, mmr_batch, tag_vectors
from reclab.cascade.re_ranking.windows import Rule, _Walk, broken, can_fit, room, search
from reclab.core.chance import rng
from reclab.core.errors import ConfigError
from reclab.core.tables import Table
from reclab.core.types import Candidates, Request
from reclab.stores.forward_index import ForwardIndex


def naive(score, vectors, k, lam):
    """The formula, one candidate and one chosen card at a time."""
    chosen: list[int] = []
    while len(chosen) < min(k, len(score)):
        best, best_value = -1, -np.inf
        for i in range(len(score)):
            if i not in chosen:
                likest = max((float(vectors[i] @ vectors[j]) for j in chosen), default=0.0)
                value = lam * float(score[i]) - (1 - lam) * likest
                if value > best_value:
                    best, best_value = i, value
        chosen.append(best)
    return chosen


def some(n_requests, n, d, seed):
    chance = rng(seed, "mmr")
    vectors = chance.normal(size=(n_requests, n, d)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    return chance.random((n_requests, n)).astype(np.float32), vectors


@pytest.mark.parametrize("lam", [0.0, 0.3, 0.8, 1.0])
def test_equals_the_naive_loop(lam):
    score, vectors = some(6, 25, 8, seed=1)
    order = mmr_batch(score, vectors, 12, lam).order
    for b in range(6):
        expected = naive(score[b], vectors[b], 12, lam)
        assert order[b].tolist() == expected
        assert mmr(score[b], vectors[b], 12, lam).tolist() == expected


def test_lambda_one_is_the_order_of_the_scores():
    score, vectors = some(1, 30, 4, seed=2)
    assert mmr(score[0], vectors[0], 30, 1.0).tolist() == np.argsort(-score[0]).tolist()


def test_more_wanted_than_there_is_gives_all():
    score, vectors = some(2, 4, 3, seed=3)
    score[1, 2:] = -np.inf
    order = mmr_batch(score, vectors, 9, 0.5).order
    assert sorted(order[0].tolist()) == [0, 1, 2, 3]
    assert sorted(order[1].tolist()) == [-1, -1, 0, 1]


def test_each_request_gets_the_length_it_wants_whatever_the_others_want():
    score, vectors = some(3, 10, 3, seed=4)
    together = mmr_batch(score, vectors, np.array([2, 7, 4]), 0.5)
    for b, k in enumerate([2, 7, 4]):
        alone = mmr_batch(score[b : b + 1], vectors[b : b + 1], k, 0.5)
        assert together.order[b][together.order[b] >= 0].tolist() == alone.order[0].tolist()


@pytest.mark.parametrize("n_groups", [2, 4, 12])
def test_an_answer_does_not_depend_on_the_others_in_the_batch(n_groups):
    score, vectors = some(30, 15, 3, seed=5)
    score[::4, 9:] = -np.inf
    wanted = rng(5, "wanted").integers(1, 12, 30)
    groups = [rng(5, "groups", r).integers(-1, n_groups, (30, 15)) for r in range(2)]
    limits = ((4, 2), (9, 2))

    def run(rows):
        rules = [Rule(g[rows], *limit) for g, limit in zip(groups, limits, strict=True)]
        return mmr_batch(score[rows], vectors[rows], wanted[rows], 0.7, rules)

    together = run(np.arange(30))
    for b in range(30):
        alone = run(np.array([b]))
        assert together.order[b, : wanted[b]].tolist() == alone.order[0, : wanted[b]].tolist()
        assert (together.pushed[b] == alone.pushed[0]).all()
        assert together.relaxed[b] == alone.relaxed[0]


def keeps(groups, order, rules):
    pairs = zip(groups, rules, strict=True)
    return all(not broken(group[list(order)], *limit).any() for group, limit in pairs)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-1, 2), st.integers(-1, 2)), min_size=1, max_size=6),
    st.tuples(st.integers(2, 4), st.integers(1, 2)),
    st.tuples(st.integers(2, 4), st.integers(1, 2)),
    st.integers(1, 6),
    st.integers(0, 10**6),
)
def test_windows_hold_whenever_some_order_keeps_them(kinds, first, second, k, seed):
    n = len(kinds)
    groups = np.array(kinds).T
    score, vectors = some(1, n, 3, seed)
    rules = [Rule(g[None], *limit) for g, limit in zip(groups, (first, second), strict=True)]
    lists = mmr_batch(score, vectors, k, 0.7, rules)
    order = lists.order[0]
    assert len(set(order.tolist())) == min(k, n), "relaxed, never shortened"
    possible = any(keeps(groups, p, (first, second)) for p in permutations(range(n), min(k, n)))
    assert keeps(groups, order, (first, second)) == possible == (lists.relaxed[0] == 0)


@pytest.mark.parametrize("window, cap", [(2, 1), (3, 1), (4, 2)])
def test_each_card_is_the_best_that_breaks_no_window(window, cap):
    score, vectors = some(10, 40, 4, seed=6)
    group = rng(6, "groups").integers(-1, 8, (10, 40))
    order = mmr_batch(score, vectors, 12, 1.0, [Rule(group, window, cap)]).order
    for b in range(10):
        chosen: list[int] = []
        for i in order[b]:
            recent = [group[b, j] for j in chosen[max(0, len(chosen) - window + 1) :]]
            free = [j for j in range(40) if group[b, j] < 0 or recent.count(group[b, j]) < cap]
            assert i == max(set(free) - set(chosen), key=score[b].__getitem__)
            chosen.append(int(i))


def test_where_all_break_a_window_the_best_of_the_least_broken_is_taken():
    first = np.array([[0, 0, 0, 0]])
    second = np.array([[0, 1, 0, 1]])  # the second place breaks one rule at best
    score = np.array([[0.9, 0.2, 0.8, 0.3]], np.float32)
    rules = [Rule(first, 3, 1), Rule(second, 2, 1)]
    lists = mmr_batch(score, np.zeros((1, 4, 2), np.float32), 3, 1.0, rules)
    assert lists.order[0].tolist() == [0, 3, 2] and lists.relaxed[0] == 2


def test_a_greedy_dead_end_is_left_by_search():
    group = np.array([[0, 0, 0, 1, 1]])  # only 0 1 0 1 0 keeps the rule, greedy begins with a 1
    score = np.array([[0.1, 0.2, 0.3, 0.9, 0.8]], np.float32)
    lists = mmr_batch(score, np.zeros((1, 5, 2), np.float32), 5, 0.5, [Rule(group, 2, 1)])
    assert group[0, lists.order[0]].tolist() == [0, 1, 0, 1, 0]
    assert lists.order[0].tolist() == [2, 3, 1, 4, 0] and lists.relaxed[0] == 0


def test_an_order_that_does_not_exist_is_refuted_by_counting(monkeypatch):
    """Each rule alone leaves ten cards, both together leave nine: six of the many and three of
    the one creator who made all others."""
    category = np.array([0] * 96 + [1] * 4)
    creator = np.array([*range(96), *[99] * 4])
    rules = [(category, 5, 3), (creator, 10, 3)]
    assert can_fit(category, 10, 5, 3) and can_fit(creator, 10, 10, 3)
    opened = []
    monkeypatch.setattr(_Walk, "_open", lambda self: opened.append(1) or [])
    assert search(np.linspace(1, 0, 100), rules, 10) is None
    assert not opened


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-1, 2), st.integers(-1, 2)), min_size=5, max_size=7),
    st.tuples(st.integers(1, 5), st.integers(1, 3)),
    st.tuples(st.integers(1, 9), st.integers(1, 3)),
    st.integers(4, 7),
)
def test_the_search_finds_an_order_if_and_only_if_there_is_one(kinds, first, second, k):
    groups, k = np.array(kinds).T, min(k, len(kinds))
    limits = list(zip(groups, (first, second), strict=True))
    order = search(np.arange(len(kinds)), [(g, *limit) for g, limit in limits], k)
    every = permutations(range(len(kinds)), k)
    assert (order is not None) == any(keeps(groups, p, (first, second)) for p in every)
    if order is not None:
        assert len(set(order.tolist())) == k and keeps(groups, order, (first, second))


def test_value_is_the_marginal_relevance_in_greedy_and_searched_lists():
    score, vectors = some(40, 8, 3, seed=8)
    group = rng(8, "groups").integers(0, 3, (40, 8))
    lists = mmr_batch(score, vectors, 6, 0.6, [Rule(group, 3, 1)])
    for b in range(40):
        order = lists.order[b]
        for t, i in enumerate(order):
            likest = max((float(vectors[b, i] @ vectors[b, j]) for j in order[:t]), default=0.0)
            assert lists.value[b, t] == pytest.approx(0.6 * score[b, i] - 0.4 * likest, abs=1e-5)


def test_room_is_the_most_cards_that_fit():
    for k, window, cap in [(1, 2, 1), (7, 3, 1), (7, 3, 2), (10, 5, 2), (4, 9, 3)]:
        best = 0
        for bits in range(1 << k):
            group = np.where([(bits >> t) & 1 for t in range(k)], 0, -1)
            if not broken(group, window, cap).any():
                best = max(best, bits.bit_count())
        assert room(k, window, cap) == best


# -- the stage ------------------------------------------------------------------------------


def catalogue(n: int = 60, seed: int = 0) -> ForwardIndex:
    chance = rng(seed, "catalogue")
    tags = np.stack([chance.integers(0, 6, n), chance.integers(-1, 6, n)], 1).astype(np.int16)
    author = chance.integers(0, 15, n)
    return ForwardIndex(Table({"video_id": np.arange(n), "author_id": author, "tags": tags}))


def batch_of(n_requests: int, n: int = 10) -> Batch:
    requests = tuple(Request(user_id=b, time_ms=0, n=n) for b in range(n_requests))
    none, starts = np.zeros(n_requests, np.int64), np.zeros(n_requests + 1, np.int64)
    return Batch(requests, none, none, none, np.full((n_requests, 5), -1), starts, none[:0])


def ranked(counts: list[int], seed: int = 0) -> Candidates:
    chance = rng(seed, "ranked")
    request = np.repeat(np.arange(len(counts)), counts)
    rows = [chance.permutation(60)[:c] for c in counts]
    score = chance.normal(size=len(request))
    item = np.concatenate([np.zeros(0, np.int64), *rows])
    return Candidates(len(counts), request, item).with_columns(rank_score=score)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=4), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_nothing_is_lost_or_doubled(counts, seed):
    given_in = ranked(counts, seed)
    result = MMRStage(MMRConfig(), catalogue())(batch_of(len(counts)), given_in)
    both = (result.kept, result.dropped)
    out = [pair for c in both for pair in zip(c.request_row, c.item_row, strict=True)]
    assert sorted(out) == sorted(zip(given_in.request_row, given_in.item_row, strict=True))
    assert result.kept.counts().tolist() == [min(10, c) for c in counts]
    assert (np.diff(result.kept.request_row) >= 0).all()


def test_windows_hold_in_the_list_and_the_pushed_out_are_named():
    index, config = catalogue(), MMRConfig(lam=1.0, max_per_category=2, max_per_creator=2)
    result = MMRStage(config, index)(batch_of(20), ranked([40] * 20))
    for b in range(20):
        rows = result.kept.item_row[result.kept.request_row == b]
        assert not broken(index["tags"][rows, 0], 5, 2).any()
        assert not broken(index["author_id"][rows], 10, 2).any()
    assert result.reasons == ("beyond the list", "window") and not result.notes
    pushed = result.dropped.take(result.dropped["reason"] == 1)
    assert len(pushed)
    for b, score in zip(pushed.request_row, pushed["rank_score"], strict=True):
        mine = result.kept.request_row == b
        assert score > result.kept["rank_score"][mine].min(), "it was better than a card shown"


def test_windows_that_cannot_hold_are_relaxed_with_a_note():
    items = Table({"video_id": np.arange(12), "tags": np.zeros((12, 1), np.int16)})
    candidates = Candidates(1, np.zeros(12, int), np.arange(12)).with_columns(
        rank_score=np.arange(12.0)
    )
    config = MMRConfig(max_per_category=2)
    result = MMRStage(config, ForwardIndex(items))(batch_of(1), candidates)
    assert len(result.kept) == 10
    assert result.notes == (
        "windows relaxed for 8 cards of 1 requests, nothing else was left: request 0",
    )


def test_a_list_asked_for_longer_is_longer():
    result = MMRStage(MMRConfig(keep=10), catalogue())(batch_of(1, n=25), ranked([40]))
    assert len(result.kept) == 25


def test_without_tags_and_creators_the_scores_decide():
    index = ForwardIndex(Table({"video_id": np.arange(60)}))
    candidates = ranked([30])
    result = MMRStage(MMRConfig(), index)(batch_of(1), candidates)
    assert result.kept["rank_score"].tolist() == sorted(candidates["rank_score"])[::-1][:10]


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_candidates_without_a_finite_score_come_last(bad):
    candidates = ranked([12])
    score = candidates["rank_score"].copy()
    score[:3] = bad
    config = MMRConfig(category_window=0, creator_window=0)
    result = MMRStage(config, catalogue())(batch_of(1), candidates.with_columns(rank_score=score))
    assert not np.isin(result.kept.item_row[:9], candidates.item_row[:3]).any()
    assert np.isin(result.kept.item_row[9:], candidates.item_row[:3]).all()


def test_tag_vectors_are_unit_and_no_tags_are_zero():
    tags = np.array([[3, -1], [3, 1], [-1, -1]])
    vectors = tag_vectors(tags, np.array([[0, 1, 2, -1]]))[0]
    np.testing.assert_allclose(vectors @ vectors.T, np.array(
        [[1, 0.5**0.5, 0, 0], [0.5**0.5, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    ), atol=1e-6)  # fmt: skip


def test_wrong_settings_are_named():
    with pytest.raises(ConfigError, match=r"MMRConfig.lam must be in \[0.0, 1.0\], got 1.5"):
        MMRConfig(lam=1.5)
    with pytest.raises(ConfigError, match="MMRConfig.keep must be >= 1, got 0"):
        MMRConfig(keep=0)
    with pytest.raises(ConfigError, match="MMRConfig.max_per_creator"):
        MMRConfig(max_per_creator=0)
