"""The fast solver beside HiGHS, and HiGHS beside every page there is."""

import itertools

import numpy as np
import pytest

from reclab.blending.allocation import (
    EMPTY,
    ExactPage,
    PageRules,
    conflicts,
    page_value,
    violations,
    write_pages,
)
from reclab.blending.allocation.rules import supply
from reclab.blending.allocation.slot_by_slot import below_floor, short_of_page
from reclab.core.types import Candidates
from tests.blending.pages import random_pages

TIGHT = PageRules(most_in_a_row=(3, 2, 2, 1, 2, 1), floors=(2, 1, 1, 0, 1, 0),
                  ceilings=(6, 3, 3, 2, 3, 1))  # fmt: skip


def few(seed: int) -> tuple[Candidates, PageRules]:
    """A handful of candidates under random rules that do not contradict each other."""
    chance = np.random.default_rng(seed)
    while True:
        kinds, slots = int(chance.integers(1, 4)), int(chance.integers(1, 6))
        rules = PageRules(
            tuple("abc"[:kinds]), slots, 0.8, tuple("abc"[kinds - 1 : kinds]),
            *(int(x) for x in chance.integers((1, 0, 0), (3, 2, 4))),
            tuple(chance.integers(1, 4, kinds).tolist()),
            tuple((chance.integers(0, 3, kinds) * (chance.random(kinds) < 0.5)).tolist()),
            tuple(chance.integers(1, 6, kinds).tolist()),
            int(chance.integers(0, 4)),
        )  # fmt: skip
        if not conflicts(rules):
            break
    n = int(chance.integers(0, 7))
    value = chance.normal(1, 1, n).round(int(chance.integers(0, 3)))  # ties, and below 0
    columns = {"business": chance.integers(0, kinds, n), "value": value,
               "creator": chance.integers(-1, 4, n)}  # fmt: skip
    return Candidates(1, np.zeros(n, int), np.arange(n), columns), rules


def missing(page: np.ndarray, candidates: Candidates, rules: PageRules) -> float:
    """What a page lacks, at the price of a floor's card and of a slot."""
    cards = candidates["business"][page[page != EMPTY]]
    held = np.bincount(cards, minlength=len(rules.businesses))
    wanted = np.minimum(rules.floors, supply(candidates, rules)[0])
    short = np.maximum(wanted - held, 0).sum() * below_floor(rules)
    return short + (page == EMPTY).sum() * short_of_page(rules)


def best_of_all(candidates: Candidates, rules: PageRules) -> tuple[float, float]:
    """What the best of all pages misses, and its value."""
    best = (np.inf, 0.0)
    for length in range(min(rules.slots, len(candidates)) + 1):
        for cards in itertools.permutations(range(len(candidates)), length):
            page = np.array([*cards, *[EMPTY] * (rules.slots - length)], int)
            if any(v.rule != "floors" for v in violations(page, candidates, rules)):
                continue
            value = float(page_value(page, candidates, rules)[0])
            best = min(best, (missing(page, candidates, rules), -value))
    return best[0], -best[1]


@pytest.mark.parametrize("seed", range(12))
def test_the_exact_page_is_the_best_of_all_pages(seed):
    candidates, rules = few(seed)
    page = ExactPage(rules).allocate(candidates)[0]
    lacks, value = best_of_all(candidates, rules)
    assert missing(page, candidates, rules) == lacks
    assert page_value(page, candidates, rules)[0] == pytest.approx(value, abs=1e-6)


def test_the_fast_solver_gains_99_percent_of_the_exact_pages_and_breaks_no_rule():
    candidates = random_pages(30, seed=5)
    pages, lost = write_pages(candidates, candidates["value"], TIGHT)
    exact = ExactPage(TIGHT).allocate(candidates)
    assert violations(pages, candidates, TIGHT) == violations(exact, candidates, TIGHT) == []
    assert not lost.any()
    mine, best = (page_value(p, candidates, TIGHT) for p in (pages, exact))
    assert (mine <= best + 1e-6).all()
    assert mine.sum() >= 0.99 * best.sum()
    assert (mine / best).min() > 0.95


def test_a_wider_beam_finds_better_pages():
    candidates = random_pages(300, seed=6)
    values = [
        page_value(write_pages(candidates, candidates["value"], TIGHT, beam)[0], candidates, TIGHT)
        for beam in (1, 4, 32)
    ]
    assert values[0].sum() < values[1].sum() < values[2].sum()


def test_on_scant_candidates_no_hard_rule_breaks_and_little_is_missed_that_could_be_had():
    worse = 0
    for seed in range(100, 140):
        candidates, rules = few(seed)
        pages, lost = write_pages(candidates, candidates["value"], rules)
        assert [v for v in violations(pages, candidates, rules) if v.rule != "floors"] == []
        assert lost[0] == pytest.approx(missing(pages[0], candidates, rules))
        exact = ExactPage(rules).allocate(candidates)[0]
        worse += lost[0] > missing(exact, candidates, rules) + 1e-6
    assert worse <= 1


def test_a_floor_behind_gaps_and_runs_is_met_in_time():
    rules = PageRules(("a", "ad"), 8, 0.9, ("ad",), 3, 1, 2, (2, 1), (0, 3), (8, 3), 0)
    n = 20
    business = np.repeat([0, 1], n // 2)
    columns = {"business": business, "value": np.where(business == 1, 0.01, 5.0)}
    candidates = Candidates(1, np.zeros(n, int), np.arange(n),
                            columns | {"creator": np.arange(n)})  # fmt: skip
    pages, lost = write_pages(candidates, candidates["value"], rules)
    assert lost[0] == 0 and violations(pages, candidates, rules) == []
    assert np.flatnonzero(business[pages[0]] == 1).tolist() == [1, 4, 7]


def test_one_request_or_many_at_once_make_the_same_pages():
    candidates = random_pages(300, seed=7)  # more than a block
    together = write_pages(candidates, candidates["value"], TIGHT)[0]
    for row in (0, 17, 299):
        mine = np.flatnonzero(candidates.request_row == row)
        columns = {name: column[mine] for name, column in candidates.columns.items()}
        alone = Candidates(1, np.zeros(len(mine), int), np.arange(len(mine)), columns)
        assert (write_pages(alone, alone["value"], TIGHT)[0][0] + mine[0] == together[row]).all()


def test_the_scale_of_values_changes_no_page():
    candidates = random_pages(20, seed=8)
    pages = [write_pages(candidates, candidates["value"] * by, TIGHT)[0] for by in (1e-9, 1, 1e9)]
    assert (pages[0] == pages[1]).all() and (pages[1] == pages[2]).all()


def test_candidates_that_no_page_could_use_are_left_out_without_a_loss():
    candidates = random_pages(3, seed=9, each=400, creators=30)
    pages, _ = write_pages(candidates, candidates["value"], TIGHT)
    exact = ExactPage(TIGHT).allocate(candidates)  # on the same short list
    longer = np.lexsort((-candidates["value"], candidates["business"], candidates.request_row))
    some = candidates.take(np.sort(longer[np.tile(np.arange(400) < 60, 18)]))
    every = ExactPage(TIGHT).allocate(some)
    best = page_value(exact, candidates, TIGHT)
    assert best == pytest.approx(page_value(every, some, TIGHT), rel=1e-6)
    assert page_value(pages, candidates, TIGHT).sum() >= 0.99 * best.sum()
