"""Stored vectors: how far rounding may move a score, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reclab.cascade.batch import read_batch
from reclab.cascade.pre_ranking.precision import PRECISIONS, StoredVectors
from reclab.cascade.pre_ranking.two_tower import PreRankerConfig
from reclab.core.errors import ConfigError, DataError
from reclab.core.types import Candidates

BYTES = {"float32": 4, "float16": 2, "int8": 1}
every = pytest.mark.parametrize("precision", PRECISIONS)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 50), st.integers(1, 8), st.floats(-3, 3))
def test_rounding_stays_within_half_a_step(seed, n, dim, size):
    x = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32) * np.float32(10**size)
    held = StoredVectors.of(x, "int8")
    assert (np.abs(held.rows(np.arange(n)) - x) <= 0.5001 * held.scale).all()
    np.testing.assert_allclose(
        StoredVectors.of(x, "float16").rows(np.arange(n)), x, rtol=1e-3, atol=1e-7
    )
    assert (StoredVectors.of(x, "float32").rows(np.arange(n)) == x).all()


@every
def test_products_are_those_of_the_rounded_vectors_alone_or_in_a_batch(precision):
    chance = np.random.default_rng(1)
    x, users = chance.normal(size=(80, 9)), chance.normal(size=(3, 9)).astype(np.float32)
    held, owner = StoredVectors.of(x, precision), np.sort(chance.integers(0, 3, 50))
    rows = chance.integers(0, 80, 50)
    expected = (users[owner] * held.rows(rows)).sum(1)
    np.testing.assert_allclose(held.dots(users, owner, rows), expected, rtol=1e-4, atol=1e-5)
    for b in range(3):
        mine = rows[owner == b]
        alone = held.dots(users[b : b + 1], np.zeros(len(mine), int), mine)
        np.testing.assert_allclose(alone, expected[owner == b], rtol=1e-4, atol=1e-5)
    assert held.nbytes == BYTES[precision] * x.size + 4 * 9


@every
def test_nothing_identical_and_constant_vectors_are_no_special_case(precision):
    none = StoredVectors.of(np.zeros((0, 3)), precision)
    nobody = np.zeros(0, np.int64)
    assert len(none) == 0 and none.dots(np.ones((1, 3), np.float32), nobody, nobody).shape == (0,)
    same = StoredVectors.of(np.tile([2.0, 0.0, -1.0], (5, 1)), precision)
    scores = same.dots(np.ones((1, 3), np.float32), np.zeros(5, int), np.arange(5))
    np.testing.assert_allclose(scores, 1.0, rtol=1e-2)
    assert len(set(scores.tolist())) == 1


@every
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_broken_vectors_are_counted_and_refused(precision, bad):
    x = np.ones((6, 3))
    x[2, 1] = x[4, 0] = bad
    with pytest.raises(DataError, match="2 of 6 item vectors"):
        StoredVectors.of(x, precision)


def test_what_half_precision_cannot_hold_is_refused():
    StoredVectors.of(np.full((2, 2), 1e6), "int8")
    with pytest.raises(DataError, match="2 of 2 item vectors .* beyond float16"):
        StoredVectors.of(np.full((2, 2), 1e6), "float16")


def test_an_unknown_precision_is_named():
    with pytest.raises(ConfigError, match="PreRankerConfig.precision must be one of float32"):
        PreRankerConfig(precision="int4")
    with pytest.raises(ConfigError, match="precision"):
        StoredVectors.of(np.ones((1, 1)), "float64")


def test_a_pre_ranker_keeps_nearly_the_same_candidates_in_bytes_and_after_loading(lab, tmp_path):
    p = lab.trained.parts
    model = p.pre_ranker
    model.save(tmp_path)
    batch, candidates = everything(lab)
    usual = set(np.argsort(-model.score(batch, candidates))[:300])
    for precision in PRECISIONS:
        config = replace(model.config, precision=precision)
        for other in (
            model.with_precision(precision),
            type(model).load(tmp_path, p.features, config),
        ):
            assert other.stored.precision == precision
            kept = set(np.argsort(-other.score(batch, candidates))[:300])
            assert len(kept & usual) >= (300 if precision == "float32" else 280)
    small = model.with_precision("int8")
    small.save(tmp_path)
    again = type(model).load(tmp_path, p.features, small.config)
    assert (again.vectors == small.vectors).all() and (
        again.stored.scale == small.stored.scale
    ).all()


def everything(lab):
    """A request, and the whole catalogue as its candidates."""
    p = lab.trained.parts
    n = len(p.index)
    batch = read_batch(lab.requests(1), p.users, p.index)
    return batch, Candidates(1, np.zeros(n, np.int64), np.arange(n))
