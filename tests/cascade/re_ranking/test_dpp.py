"""DPP: greedy against explicit determinants and against all lists, and where kernels degenerate."""

from functools import partial
from itertools import combinations

import numpy as np
import pytest

from reclab.cascade.batch import Batch
from reclab.cascade.re_ranking.dpp import JITTER, DPPConfig, DPPStage, dpp, dpp_batch
from reclab.cascade.re_ranking.mmr import MMRConfig
from reclab.cascade.re_ranking.windows import Rule, broken
from reclab.core.chance import rng
from reclab.core.errors import ConfigError
from reclab.core.tables import Table
from reclab.core.types import Candidates, Request
from reclab.stores.forward_index import ForwardIndex


def some(n_requests, n, d, seed):
    chance = rng(seed, "dpp")
    vectors = chance.normal(size=(n_requests, n, d)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    return chance.random((n_requests, n)).astype(np.float32), vectors


def kernel(score, vectors, alpha):
    """L of the formula, in double precision."""
    q, wide = np.exp(alpha * score.astype(np.float64)), vectors.astype(np.float64)
    similar = wide @ wide.T
    np.fill_diagonal(similar, 1 + JITTER)
    return q[:, None] * similar * q


def log_det(whole, chosen):
    return np.linalg.slogdet(whole[np.ix_(chosen, chosen)])[1]


def naive(whole, k):
    """One determinant for each candidate and place."""
    chosen: list[int] = []
    while len(chosen) < min(k, len(whole)):
        left = [i for i in range(len(whole)) if i not in chosen]
        chosen.append(max(left, key=lambda i: log_det(whole, [*chosen, i])))
    return chosen


@pytest.mark.parametrize("alpha", [0.0, 0.5, 2.0, 10.0])
def test_equals_greedy_by_explicit_determinants(alpha):
    score, vectors = some(6, 20, 12, seed=1)
    lists = dpp_batch(score, vectors, 10, alpha)
    for b in range(6):
        whole = kernel(score[b], vectors[b], alpha)
        expected = naive(whole, 10)
        assert lists.order[b].tolist() == expected
        assert dpp(score[b], vectors[b], 10, alpha).tolist() == expected
        added = [log_det(whole, expected[: t + 1]) for t in range(10)]
        np.testing.assert_allclose(np.cumsum(lists.value[b]), added, atol=2e-4)


def best_of_all(whole, k):
    return max(log_det(whole, list(chosen)) for chosen in combinations(range(len(whole)), k))


def test_where_every_card_adds_the_greedy_list_has_the_guaranteed_share_of_the_best():
    """Log det is submodular; with gains >= 0 greedy has 1 - 1/e of it (Nemhauser et al. 1978)."""
    for seed in range(30):
        score, vectors = some(1, 9, 3, seed)
        alpha = -np.log(JITTER) / 2  # each card adds 2 alpha score + log r >= 0
        whole = kernel(1 + score[0], vectors[0], alpha)
        found = log_det(whole, dpp(1 + score[0], vectors[0], 4, alpha))
        assert found >= (1 - 1 / np.e) * best_of_all(whole, 4)


def test_the_best_list_of_all_is_mostly_found_and_else_nearly():
    """Scores and volume about equally heavy: greedy against the best of 210 lists."""
    lost = []
    for seed in range(60):
        score, vectors = some(1, 10, 6, seed)
        whole = kernel(score[0], vectors[0], 2.0)
        found = log_det(whole, dpp(score[0], vectors[0], 4, 2.0))
        lost.append(best_of_all(whole, 4) - found)
    assert min(lost) > -1e-6 and np.mean(np.array(lost) < 1e-6) > 0.85
    assert np.mean(lost) < 0.02 and max(lost) < 0.5, "of a log det that varies by several"


def test_large_alpha_is_the_order_of_the_scores_and_zero_is_volume_alone():
    score, vectors = some(1, 30, 6, seed=2)
    by_score = np.argsort(-score[0]).tolist()
    assert dpp(score[0], vectors[0], 30, 1e5).tolist() == by_score
    axes = np.eye(4, dtype=np.float32)[[0, 0, 1, 1, 2, 3]]
    assert sorted(dpp(np.zeros(6), axes, 4, 0.0).tolist()) == [0, 2, 4, 5]


def test_identical_items_are_taken_last_and_best_score_first():
    vectors = np.array([[1, 0], [1, 0], [0, 1], [1, 0]], np.float32)
    score = np.array([0.5, 0.9, 0.1, 0.7], np.float32)
    assert dpp(score, vectors, 4, alpha=1.0).tolist() == [1, 2, 3, 0]


def test_beyond_the_rank_of_the_kernel_lists_go_on_and_each_card_comes_once():
    score, vectors = some(4, 40, 3, seed=3)  # three dimensions: degenerate from the fourth card on
    lists = dpp_batch(score, vectors, 40, 1.0)
    assert np.isfinite(lists.value).all()
    assert (np.sort(lists.order, 1) == np.arange(40)).all()
    for b in range(4):
        whole = kernel(score[b], vectors[b], 1.0)
        exact = log_det(whole, naive(whole, 8))
        assert log_det(whole, lists.order[b, :8]) == pytest.approx(exact, abs=0.02)


def test_items_without_tags_are_unlike_every_other():
    vectors = np.array([[1, 0], [0, 0], [0, 0], [1, 0]], np.float32)
    score = np.array([0.9, 0.5, 0.4, 0.8], np.float32)
    assert dpp(score, vectors, 4, alpha=1.0).tolist() == [0, 1, 2, 3]


def test_more_wanted_than_there_is_gives_all():
    score, vectors = some(2, 4, 3, seed=4)
    score[1, 2:] = -np.inf
    order = dpp_batch(score, vectors, 9, 0.5).order
    assert sorted(order[0].tolist()) == [0, 1, 2, 3]
    assert sorted(order[1].tolist()) == [-1, -1, 0, 1]


@pytest.mark.parametrize("n_groups", [2, 12])
def test_an_answer_does_not_depend_on_the_others_in_the_batch(n_groups):
    score, vectors = some(30, 15, 3, seed=5)
    score[::4, 9:] = -np.inf
    wanted = rng(5, "wanted").integers(1, 12, 30)
    group = rng(5, "groups").integers(-1, n_groups, (30, 15))

    def run(rows):
        rules = [Rule(group[rows], 4, 2)]
        return dpp_batch(score[rows], vectors[rows], wanted[rows], 1.0, rules)

    together = run(np.arange(30))
    for b in range(30):
        alone = run(np.array([b]))
        assert together.order[b, : wanted[b]].tolist() == alone.order[0, : wanted[b]].tolist()
        assert (together.pushed[b] == alone.pushed[0]).all()
        assert together.relaxed[b] == alone.relaxed[0]


def test_a_dead_end_is_left_by_another_order_with_its_own_gains():
    """Two of group 0 first would leave three of group 0 for two places apart."""
    group = np.array([[0, 0, 0, 1, 1]])
    score = np.array([[0.1, 0.2, 0.3, 0.9, 0.8]], np.float32)
    vectors = some(1, 5, 4, seed=6)[1]
    rules = [Rule(group, 2, 1)]
    lists = dpp_batch(score, vectors, 5, 3.0, rules)
    order = lists.order[0]
    assert group[0, order].tolist() == [0, 1, 0, 1, 0] and lists.relaxed[0] == 0
    whole = kernel(score[0], vectors[0], 3.0)
    added = [log_det(whole, order[: t + 1]) for t in range(5)]
    np.testing.assert_allclose(np.cumsum(lists.value[0]), added, atol=1e-4)


# -- the stage ------------------------------------------------------------------------------


def stage(theta: float = 0.8, with_tags: bool = True, **settings: int) -> DPPStage:
    chance, n = rng(0, "catalogue"), 60
    tags = np.stack([chance.integers(0, 6, n), chance.integers(-1, 6, n)], 1).astype(np.int16)
    columns = {"video_id": np.arange(n), "author_id": chance.integers(0, 15, n)}
    index = ForwardIndex(Table(columns | ({"tags": tags} if with_tags else {})))
    return partial(DPPStage, dpp=DPPConfig(theta))(MMRConfig(**settings), index)


def batch_of(n_requests: int, n: int = 10) -> Batch:
    requests = tuple(Request(user_id=b, time_ms=0, n=n) for b in range(n_requests))
    none, starts = np.zeros(n_requests, np.int64), np.zeros(n_requests + 1, np.int64)
    return Batch(requests, none, none, none, np.full((n_requests, 5), -1), starts, none[:0])


def ranked(counts: list[int], seed: int = 0) -> Candidates:
    chance = rng(seed, "ranked")
    request = np.repeat(np.arange(len(counts)), counts)
    item = np.concatenate([np.zeros(0, np.int64), *(chance.permutation(60)[:c] for c in counts)])
    score = chance.normal(size=len(request))
    return Candidates(len(counts), request, item).with_columns(rank_score=score)


FREE = {"category_window": 0, "creator_window": 0}


@pytest.mark.parametrize("counts", [[40, 0, 3, 11], [0], [1, 1]])
def test_nothing_is_lost_or_doubled(counts):
    given = ranked(counts)
    result = stage()(batch_of(len(counts)), given)
    both = (result.kept, result.dropped)
    out = [pair for c in both for pair in zip(c.request_row, c.item_row, strict=True)]
    assert sorted(out) == sorted(zip(given.request_row, given.item_row, strict=True))
    assert result.kept.counts().tolist() == [min(10, c) for c in counts]


@pytest.mark.parametrize("bad", [np.nan, -np.inf, np.inf])
@pytest.mark.parametrize("theta", [0.01, 0.8])
def test_candidates_without_a_finite_score_come_last(bad, theta):
    candidates = ranked([12])
    score = candidates["rank_score"].copy()
    score[:3] = bad
    result = stage(theta, **FREE)(batch_of(1), candidates.with_columns(rank_score=score))
    assert not np.isin(result.kept.item_row[:9], candidates.item_row[:3]).any()
    assert np.isin(result.kept.item_row[9:], candidates.item_row[:3]).all()


def test_windows_hold_in_the_list_and_the_pushed_out_are_named():
    strict = stage(0.95, max_per_category=2, max_per_creator=2)
    result = strict(batch_of(20), ranked([40] * 20))
    for b in range(20):
        rows = result.kept.item_row[result.kept.request_row == b]
        assert not broken(strict.index["tags"][rows, 0], 5, 2).any()
        assert not broken(strict.index["author_id"][rows], 10, 2).any()
    assert (result.dropped["reason"] == 1).any() and not result.notes


def test_less_weight_on_scores_makes_lists_less_alike():
    """Distinct main tags in the list grow as theta falls, and the scores' sum falls."""
    tags, total = [], []
    for theta in (0.99, 0.8, 0.3):
        dppstage = stage(theta, **FREE)
        kept = dppstage(batch_of(20), ranked([40] * 20)).kept
        mine = [kept.item_row[kept.request_row == b] for b in range(20)]
        tags.append(np.mean([len(np.unique(dppstage.index["tags"][rows, 0])) for rows in mine]))
        total.append(kept["rank_score"].sum())
    assert tags == sorted(tags) and tags[0] < tags[-1]
    assert total == sorted(total)[::-1]


def test_without_tags_the_scores_decide():
    candidates = ranked([30])
    result = stage(with_tags=False, **FREE)(batch_of(1), candidates)
    assert result.kept["rank_score"].tolist() == sorted(candidates["rank_score"])[::-1][:10]


def test_settings_are_checked():
    with pytest.raises(ConfigError, match="DPPConfig.theta must be in"):
        DPPConfig(theta=1.0)
    assert DPPConfig(0.5).alpha == 0.5
