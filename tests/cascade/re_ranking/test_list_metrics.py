"""Whole-list metrics: by hand, and against loops over random lists."""

from collections import Counter
from itertools import combinations
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reclab.cascade.re_ranking.list_metrics import (
    balance,
    distinct_share,
    entropy,
    exposure_gini,
    intra_list_distance,
    kl_to_taste,
    novelty,
)
from reclab.core.chance import rng
from reclab.core.errors import DataError
from reclab.core.metrics import gini

LISTS = st.integers(0, 6).flatmap(
    lambda k: st.lists(st.lists(st.integers(-1, 9), min_size=k, max_size=k), min_size=1, max_size=5)
)
CHANCE = rng(0, "list metrics")
VECTORS = CHANCE.normal(size=(10, 4))
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
GROUP = np.array([0, 0, 1, 2, 2, 2, 3, -1, 4, -1])
EXPOSURE = np.array([100, 50, 0, 3, 7, 0, 1, 1, 20, 400])
TASTE = CHANCE.dirichlet(np.ones(5), 5)


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else float("nan")


def shares(cards):
    known = [int(GROUP[i]) for i in cards if GROUP[i] >= 0]
    return {g: c / len(known) for g, c in Counter(known).items()}, len(known)


@settings(deadline=None)
@given(LISTS)
def test_all_equal_loops_over_the_cards(rows):
    lists = np.array(rows, np.int64).reshape(len(rows), -1)
    p = (EXPOSURE + 1) / (EXPOSURE + 1).sum()
    expected = {
        name: [] for name in ("distance", "novelty", "distinct", "entropy", "balance", "kl")
    }
    for row, taste in zip(rows, TASTE, strict=False):
        cards = [i for i in row if i >= 0]
        share, n = shares(cards)
        bits = -sum(s * log2(s) for s in share.values()) if n else float("nan")
        expected["distance"].append(
            mean(1 - VECTORS[i] @ VECTORS[j] for i, j in combinations(cards, 2))
        )
        expected["novelty"].append(mean(-log2(p[i]) for i in cards))
        expected["distinct"].append(len(share) / n if n else float("nan"))
        expected["entropy"].append(bits)
        expected["balance"].append(bits / log2(n) if n > 1 else float("nan"))
        t = 0.99 * taste + 0.01 / 5
        kl = sum(s * log2(s / t[g]) for g, s in share.items())
        expected["kl"].append(kl if n else float("nan"))
    got = {
        "distance": intra_list_distance(lists, VECTORS),
        "novelty": novelty(lists, EXPOSURE),
        "distinct": distinct_share(lists, GROUP),
        "entropy": entropy(lists, GROUP),
        "balance": balance(lists, GROUP),
        "kl": kl_to_taste(lists, GROUP, TASTE[: len(rows)]),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(got[name], values, atol=1e-9, err_msg=name)


def test_a_list_by_hand():
    """Cards of two categories, three to one."""
    lists, group = np.array([[0, 1, 2, 3]]), np.array([0, 0, 0, 1])
    axes = np.eye(2)[group]
    assert intra_list_distance(lists, axes)[0] == pytest.approx(3 / 6)  # 3 of 6 pairs differ
    bits = 2 - 0.75 * log2(3)
    assert entropy(lists, group)[0] == pytest.approx(bits)
    assert balance(lists, group)[0] == pytest.approx(bits / 2)
    assert distinct_share(lists, group)[0] == 0.5
    assert novelty(lists, np.array([3, 3, 3, 3]))[0] == 2.0
    assert kl_to_taste(lists, group, np.array([[0.75, 0.25]]), 0.0)[0] == pytest.approx(0)
    assert kl_to_taste(lists, group, np.array([[0.5, 0.5]]), 0.0)[0] == pytest.approx(1 - bits)
    assert np.isinf(kl_to_taste(lists, group, np.array([[1.0, 0.0]]), 0.0)[0])


def test_order_and_padding_do_not_matter():
    lists = np.array([[0, 3, 6, 8, -1, -1], [-1, 8, 3, -1, 0, 6]])
    for values in (
        intra_list_distance(lists, VECTORS),
        novelty(lists, EXPOSURE),
        entropy(lists, GROUP),
        kl_to_taste(lists, GROUP, TASTE[[0, 0]]),
    ):
        assert values[0] == pytest.approx(values[1])


def test_gini_counts_the_creators_that_no_list_names():
    lists = np.array([[0, 1, -1], [2, 9, 7]])  # creators 0, 0, 1, and two unknown
    assert exposure_gini(lists, GROUP) == pytest.approx(gini(np.array([2, 1, 0, 0, 0])))
    assert np.isnan(exposure_gini(np.array([[-1]]), GROUP))
    far = np.array([10**15, 5, -1])
    assert exposure_gini(np.array([[0, 1]]), far) == 0


def test_a_taste_that_lacks_a_category_is_named():
    with pytest.raises(DataError, match="taste has 2 categories, an item has 4"):
        kl_to_taste(np.array([[0]]), GROUP, np.array([[0.5, 0.5]]))
