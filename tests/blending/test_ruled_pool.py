"""The ruled pool: whatever comes in, a full page that breaks no rule goes out."""

from dataclasses import replace

import numpy as np
import pytest

from reclab.blending.allocation import BUSINESSES, PageRules, violations
from reclab.blending.page import LONGEST
from reclab.blending.ruled_pool import RuledPool, keeps_rules, page_of
from reclab.core.errors import ConfigError
from reclab.core.tables import Table
from reclab.core.types import Candidates
from reclab.stores.forward_index import ForwardIndex

N, VIDEOS = 1200, 600
chance = np.random.default_rng(0)
BUSINESS = np.append(np.zeros(VIDEOS, int), chance.integers(0, 6, N - VIDEOS))
AUTHOR = chance.integers(0, 60, N)
INDEX = ForwardIndex(
    Table({"video_id": 500 + np.arange(N), "business": BUSINESS, "author_id": AUTHOR})
)
RULES = PageRules()
POOL = RuledPool(500 + np.arange(VIDEOS), INDEX, RULES)


def broken(rows, rules):
    """What ``violations`` says, with a supply that meets every floor."""
    spare = np.repeat(np.arange(6), rules.slots)
    business = np.append(BUSINESS[rows], spare)
    creator = np.append(AUTHOR[rows], np.full(len(spare), -1))
    columns = {"business": business, "creator": creator, "value": np.ones(len(business))}
    candidates = Candidates(1, np.zeros(len(business), int), np.arange(len(business)), columns)
    return violations(np.arange(len(rows)), candidates, rules)


def test_the_quick_look_agrees_with_the_slow_one():
    rules, found = replace(RULES, creator_gap=2, floors=(1, 0, 0, 0, 0, 0)), []
    for _ in range(3000):
        business = chance.choice(6, 10, p=(0.45, 0.15, 0.1, 0.1, 0.15, 0.05))
        creator = chance.integers(-1, 40, 10)
        columns = {"business": business, "creator": creator, "value": np.ones(10)}
        page = Candidates(1, np.zeros(10, int), np.arange(10), columns)
        slow = not violations(np.arange(10), page, rules)
        slow &= (business == 0).any()  # a floor that nothing sent cannot meet
        found.append(slow)
        assert keeps_rules(business.tolist(), creator.tolist(), rules) == slow
    assert 100 < sum(found) < 2900


def test_any_cards_become_a_full_page_that_keeps_the_rules():
    for _ in range(400):
        k = int(chance.integers(0, 11))
        rows = chance.choice(N, k, replace=False)
        slots = np.sort(chance.choice(10, k, replace=False))
        page, given = POOL.fill(rows, slots, 10)
        assert len({*page.tolist()}) == 10 and (page >= 0).all()
        assert not broken(page, RULES)
        assert (page[given >= 0] == rows[given[given >= 0]]).all()
        assert np.isin(page[given < 0], POOL.plain.rows).all()


def test_a_page_that_is_right_stays_as_it_is():
    page, _ = POOL.fill(np.zeros(0, int), np.zeros(0, int), 10)
    again, given = POOL.fill(page, np.arange(10), 10)
    assert again is page and given.tolist() == [*range(10)]


@pytest.mark.parametrize("n", [1, 3, 10, 25, 50, 100])
def test_with_every_business_dead_the_page_is_full_at_any_length(n):
    page, given = POOL.fill(np.zeros(0, int), np.zeros(0, int), n)
    assert len(page) == n == len({*page.tolist()}) and (given == -1).all()
    if n <= 50:
        assert not broken(page, page_of(RULES, n))


def test_what_no_rule_lets_stay_makes_room():
    ads = np.flatnonzero(BUSINESS == 3)[:10]
    page, given = POOL.fill(ads, np.arange(10), 10)
    held = [BUSINESSES[code] for code in BUSINESS[page]]
    assert held.count("ad") == 2 and held.count("short video") == 8
    assert given[2] == 0 and given[6] == 1  # as soon as the rules allow it


def test_a_floor_is_met_from_the_pool_when_its_business_is_dead():
    rows = np.flatnonzero(BUSINESS > 0)
    order, used = [], {*()}
    for code in (1, 2, 4, 1, 2, 4, 1, 2, 4, 5):
        row = next(r for r in rows if BUSINESS[r] == code and AUTHOR[r] not in used)
        order.append(row)
        used.add(AUTHOR[row])
    page, given = POOL.fill(np.array(order), np.arange(10), 10)
    assert (BUSINESS[page] == 0).sum() == 2 and (given >= 0).sum() == 8
    assert given[:8].tolist() == [*range(8)]


def test_a_pool_that_is_too_small_is_refused():
    with pytest.raises(ConfigError, match="last-resort pool"):
        RuledPool(500 + np.arange(LONGEST - 1), INDEX, RULES)
