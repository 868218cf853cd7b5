"""Pre-rankers and their traffic duties: what is kept, for whom, and by which score."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reclab.cascade.batch import read_batch
from reclab.cascade.pre_ranking.duties import Duties, DutiesConfig, few, place_within
from reclab.cascade.pre_ranking.shallow import ShallowPreRanker
from reclab.cascade.pre_ranking.three_tower import ThreeTowerPreRanker
from reclab.cascade.pre_ranking.two_tower import PreRanker, distilled
from reclab.cascade.ranking.training import training_samples
from reclab.cascade.stages import PreRankStage
from reclab.core.clock import HOUR_MS
from reclab.core.errors import ConfigError
from reclab.core.metrics import auc
from reclab.core.tables import Table
from reclab.core.types import Candidates
from reclab.stores.forward_index import ForwardIndex

PRE_RANKERS = (PreRanker, ShallowPreRanker, ThreeTowerPreRanker)
every = pytest.mark.parametrize("model", PRE_RANKERS, ids=lambda model: model.name)


def small(model, **train):
    config = model.Config()
    return model(replace(config, train=replace(config.train, max_rows=6000, **train)))


@every
def test_it_learns_and_a_batch_is_scored_as_each_request_alone(lab, model, tmp_path):
    p = lab.trained.parts
    ranker = small(model, epochs=3).fit(lab.logs, p.features, p.until_ms)
    assert max(ranker.history.valid_auc) > 0.6
    ranker.save(tmp_path)
    again = model.load(tmp_path, p.features, ranker.config)
    requests, rows = lab.requests(3), np.arange(0, 60, 2)
    owner = np.repeat(np.arange(3), len(rows))
    together = ranker.score(
        read_batch(requests, p.users, p.index), Candidates(3, owner, np.tile(rows, 3))
    )
    for b, request in enumerate(requests):
        batch = read_batch([request], p.users, p.index)
        alone = again.score(batch, Candidates(1, np.zeros(len(rows), np.int64), rows))
        np.testing.assert_allclose(together[owner == b], alone, rtol=1e-3, atol=1e-4)


@every
def test_serving_scores_equal_the_network_on_built_features(lab, model):
    """Item vectors are as of the end of training; at that moment the two must agree."""
    p = lab.trained.parts
    ranker = small(model).fit(lab.logs, p.features, p.until_ms)
    requests = [replace(request, time_ms=p.until_ms) for request in lab.requests(4)]
    batch, rows = read_batch(requests, p.users, p.index), np.arange(0, 40, 2)
    candidates = Candidates(4, np.repeat(np.arange(4), len(rows)), np.tile(rows, 4))
    p_long = ranker.score_features(p.features.for_batch(batch, candidates))["p_long_view"]
    score = ranker.score(batch, candidates)
    np.testing.assert_allclose(1 / (1 + np.exp(-score)), p_long, rtol=1e-3, atol=1e-4)


def test_a_pupil_ranks_like_its_teacher(lab):
    p = lab.trained.parts
    pupil = small(PreRanker, epochs=6, negatives="sampled")
    samples = training_samples(lab.logs, p.features, pupil.config.train, p.until_ms)
    taught = distilled(samples, p.ranker)
    said = p.ranker.score_features(samples.features)["p_long_view"]
    assert (taught.targets["p_long_view"] == said).all()
    pupil.fit(lab.logs, p.features, p.until_ms, teacher=p.ranker)
    score = pupil.score_features(samples.features)["p_long_view"]
    assert auc(said > np.median(said), score) > 0.8


@every
def test_no_candidates_and_unknown_users_are_answered(lab, model):
    p = lab.trained.parts
    ranker = small(model).fit(lab.logs, p.features, p.until_ms)
    requests = [replace(lab.requests(1)[0], user_id=-5), *lab.requests(1)]
    batch = read_batch(requests, p.users, p.index)
    assert ranker.score(batch, Candidates.empty(2)).shape == (0,)
    done = PreRankStage(ranker, 10)(batch, Candidates.empty(2))
    assert len(done.kept) == len(done.dropped) == 0
    rows = np.tile(np.arange(30), 2)
    score = ranker.score(batch, Candidates(2, np.repeat(np.arange(2), 30), rows))
    assert np.isfinite(score).all() and len(np.unique(score[:30])) > 10


# ---- duties --------------------------------------------------------------------------------


def board(n: int = 40):
    """Items 0 … n-1 of two topics and four creators; the last ten are new; exposures fall."""
    items = Table(
        {
            "video_id": np.arange(n),
            "author_id": np.arange(n) % 4,
            "tags": (np.arange(n) % 2)[:, None].astype(np.int16),
            "publish_ms": np.where(np.arange(n) < n - 10, 0, 100 * HOUR_MS),
        }
    )
    return ForwardIndex(items), np.arange(n, 0, -1)


class ByRow:
    """A pre-ranker that likes small rows."""

    macs_per_candidate = 1

    def score(self, batch, candidates):
        return -candidates.item_row.astype(float)


class At:
    """A batch that only knows its time."""

    time_ms = np.array([101 * HOUR_MS])


def kept(config: DutiesConfig | None, keep: int = 10) -> np.ndarray:
    index, exposure = board()
    duties = Duties(config, index, exposure) if config else None
    everything = Candidates(1, np.zeros(40, np.int64), np.arange(40))
    return PreRankStage(ByRow(), keep, duties)(At(), everything).kept.item_row


def test_without_duties_the_score_decides():
    assert kept(None).tolist() == kept(DutiesConfig()).tolist() == list(range(10))


def test_new_items_and_the_tail_get_their_places_and_the_best_of_them():
    assert set(kept(DutiesConfig(cold_start=0.2))) == {*range(8), 30, 31}
    assert set(kept(DutiesConfig(long_tail=0.3, tail=0.5))) == {*range(7), 20, 21, 22}


def test_small_creators_are_protected():
    chosen = kept(DutiesConfig(creators=0.5, tail=0.25))
    assert (chosen % 4 == 3).sum() >= 5  # creator 3 has the fewest exposures


def test_no_category_takes_more_than_its_quota_unless_places_are_left():
    chosen = kept(DutiesConfig(category=0.3))
    assert (chosen % 2 == 0).sum() == 5 and (chosen % 2 == 1).sum() == 5
    chosen = kept(DutiesConfig(category=0.5))
    assert (chosen % 2 == 0).sum() == 5


@pytest.mark.parametrize(
    "config",
    [
        DutiesConfig(),
        DutiesConfig(long_tail=0.3, cold_start=0.3, creators=0.4, tail=0.5),
        DutiesConfig(category=0.1),
    ],
)
def test_more_places_than_candidates_and_no_candidates(config):
    assert sorted(kept(config, keep=1000)) == list(range(40))
    index, exposure = board()
    none = Duties(config, index, exposure).tiers(At(), Candidates.empty(1), np.zeros(0), 10)
    assert none.shape == (0,)


def test_where_all_items_are_identical_the_first_ones_are_kept():
    same = {"video_id": np.arange(20), "tags": np.zeros((20, 1), np.int16)}
    duties = Duties(
        DutiesConfig(long_tail=0.2, category=0.3), ForwardIndex(Table(same)), np.zeros(20)
    )

    class Same(ByRow):
        def score(self, batch, candidates):
            return np.zeros(len(candidates))

    everything = Candidates(1, np.zeros(20, np.int64), np.arange(20))
    assert PreRankStage(Same(), 10, duties)(At(), everything).kept.item_row.tolist() == list(
        range(10)
    )


def test_an_item_that_joined_later_counts_as_never_shown():
    index, exposure = board()
    duties = Duties(DutiesConfig(), index, exposure)
    new = Candidates(1, np.zeros(2, np.int64), np.array([0, 40]))
    assert duties.of("long_tail", At(), new).tolist() == [False, True]
    assert duties.of("creators", At(), new).tolist() == [False, True]


def test_wrong_shares_are_named():
    with pytest.raises(ConfigError, match="long_tail"):
        DutiesConfig(long_tail=1.5)
    with pytest.raises(ConfigError, match="keep at most all places"):
        DutiesConfig(long_tail=0.6, cold_start=0.6)


@given(st.integers(0, 2**31), st.integers(1, 60), st.integers(1, 4))
def test_place_within_counts_better_ones_of_the_same_group(seed, n, n_requests):
    chance = np.random.default_rng(seed)
    owner = np.sort(chance.integers(0, n_requests, n))
    score, group = chance.permutation(n).astype(float), chance.integers(0, 3, n)
    place = place_within(Candidates(n_requests, owner, np.arange(n)), score, group)
    for i in range(n):
        better = (owner == owner[i]) & (group == group[i]) & (score > score[i])
        assert place[i] == better.sum()
    assert few(score, 0.5).sum() == round(0.5 * n)
