"""lab.page_simulator against draws and the platform's log; lab.re_rankers at the smoke scale."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from reclab.cascade.re_ranking.policy_gradient import PolicyGradient, PolicyGradientConfig
from reclab.core.chance import rng
from reclab.core.clock import DAY_MS
from reclab.core.errors import DataError
from reclab.lab import list_ruler, re_rankers
from reclab.lab.page_pools import logged_pages, pool_of, thirds
from reclab.lab.page_simulator import DrawnPages, PageSimulator


@pytest.fixture(scope="module")
def pool(lab):
    return pool_of(lab, "tuning", np.arange(0, 240, 3))


@pytest.fixture(scope="module")
def results(lab):
    return re_rankers.compare(lab, progress=False)


def some_lists(pool, k, seed):
    chance = rng(seed, "lists")
    n = pool.simulator.p_click.shape[1]
    return np.stack([chance.permutation(n)[:k] for _ in range(len(pool))])


def first(pool, n):
    """The simulator with each request's first n candidates."""
    s = pool.simulator
    parts = (s.p_click, s.p_long, s.topic, s.creator, s.hazard)
    return PageSimulator(s.constants, *(part[:, :n] for part in parts))


# -- the value of a list --------------------------------------------------------------------


def test_the_closed_form_is_the_mean_of_drawn_pages(pool):
    lists, tries = some_lists(pool, 10, seed=1), 400
    rows = np.repeat(np.arange(len(pool)), tries)
    drawn = pool.simulator.draw(rows, lists[rows], rng(1, "pages"))
    exact = pool.simulator.reward(np.arange(len(pool)), lists)
    by_place = drawn.reshape(len(pool), tries, 10).mean((0, 1))
    error = drawn.std(0) / np.sqrt(len(drawn))
    assert (np.abs(by_place - exact.mean(0)) < 4 * error).all()
    assert (np.diff(drawn.mean(0)) < 4 * error[1:]).all() or drawn.mean() > 0


@pytest.mark.parametrize("split", ["tuning", "held_out"])
def test_it_agrees_with_what_the_platform_logged(lab, split):
    """Long views and departures on the platform's own pages, against the expectation."""
    truth, log = lab.world.truth, lab.logs.interactions
    held = getattr(truth, split)
    log = log.take(np.flatnonzero(np.isin(log["req_id"], held["req_id"])))
    row = np.argsort(held["req_id"])[np.searchsorted(np.sort(held["req_id"]), log["req_id"])]
    items = np.full((len(held), 6), -1)
    items[row, log["position"]] = lab.trained.parts.index.rows(log["video_id"])
    shown = items >= 0
    rows = np.flatnonzero(shown.any(1))
    held, items, shown = held.take(rows), items[rows], shown[rows]
    simulator = PageSimulator.of(truth, held, items)
    places = np.where(shown, np.arange(6), -1)
    _, long, leave = simulator.chances(np.arange(len(held)), places)
    expected, spread = long[shown].sum(), np.sqrt((long * (1 - long))[shown].sum())
    assert abs(expected - log["is_long_view"].sum()) < 4 * spread
    seen = shown & (np.arange(6) < 5)  # behind the last card of a full page nothing is seen
    expected, spread = leave[seen].sum(), np.sqrt((leave * (1 - leave))[seen].sum())
    whole = lab.logs.interactions
    last_ms = np.zeros(int(whole["session_id"].max()) + 1, np.int64)
    np.maximum.at(last_ms, whole["session_id"], whole["time_ms"])
    session = np.zeros(len(shown), np.int64)
    session[np.searchsorted(rows, row)] = log["session_id"]
    # where the catalogue is used up pages are short, too, but the session goes on
    left = (last_ms[session] <= held["time_ms"]) & ~shown[:, 5]
    assert abs(expected - left.sum()) < 4 * spread


def test_repetition_and_leaving_make_a_list_worth_less_than_its_cards(pool):
    s, lists = pool.simulator, some_lists(pool, 10, seed=2)
    cards = np.take_along_axis(s.p_click * s.p_long, lists, 1)
    reward = s.reward(np.arange(len(pool)), lists)
    np.testing.assert_allclose(reward[:, 0], cards[:, 0], rtol=1e-6)
    assert (reward[:, 1:] < cards[:, 1:]).all()
    alike = replace(s, topic=np.zeros_like(s.topic))
    assert (alike.value(lists) <= s.value(lists)).all()
    assert alike.value(lists).mean() < 0.95 * s.value(lists).mean()


def test_an_empty_place_is_worth_nothing_and_changes_nothing_before_it(pool):
    lists = some_lists(pool, 6, seed=3)
    short = np.concatenate([lists[:, :4], np.full((len(pool), 2), -1)], 1)
    whole, cut = (pool.simulator.reward(np.arange(len(pool)), x) for x in (lists, short))
    assert (cut[:, :4] == whole[:, :4]).all() and (cut[:, 4:] == 0).all()


def test_greedy_by_the_truth_is_near_the_best_of_all_lists(pool):
    small = first(pool, 6)
    every = np.array(list(permutations(range(6), 3)))
    best = np.stack([small.reward(np.full(len(every), b), every).sum(1) for b in range(len(pool))])
    greedy = small.value(small.greedy(3))
    assert (greedy <= best.max(1) + 1e-9).all()
    assert greedy.mean() > 0.98 * best.max(1).mean()


def test_requests_and_candidates_that_do_not_match_are_refused(lab):
    truth = lab.world.truth
    with pytest.raises(DataError, match="2 requests, but candidates for 3"):
        PageSimulator.of(truth, truth.tuning.take(np.arange(2)), np.zeros((3, 4), int))


def test_drawn_pages_are_the_same_for_the_same_seed(pool):
    rows, lists = np.arange(len(pool)), some_lists(pool, 5, seed=4)
    first, again, other = (
        DrawnPages(pool.simulator, seed).reward(rows, lists) for seed in (1, 1, 2)
    )
    assert (first == again).all() and (first != other).any()


# -- pools and pages ------------------------------------------------------------------------


def test_a_pool_holds_what_the_cascade_brings_to_re_ranking(lab, pool):
    request = lab.requests(4)[3]
    _, trace = lab.trained.with_config(rank=100).recommend(request)
    given = next(s for s in trace.stages if s.name == "re_ranking")
    assert (pool.item_row[1] >= 0).sum() == given.n_in
    assert np.isin(given.dropped.item_row, pool.item_row[1]).all()


def test_no_request_is_learned_from_and_compared_on():
    learn, compare = thirds(4000)
    assert len(learn) == 1200 and len(compare) == 600 and not np.isin(learn, compare).any()
    assert learn[-1] > 3900 and compare[-1] > 3900, "spread over the day"


def test_logged_pages_are_those_of_the_log(lab):
    tuning, log = lab.world.truth.tuning, lab.logs.interactions
    without, day = tuning["req_id"][:50], int(tuning["day"][0])
    pages = logged_pages(lab, day, without)
    mine = (log["time_ms"] // DAY_MS == day) & ~np.isin(log["req_id"], without)
    assert len(pages) == len(np.unique(log["req_id"][mine]))
    assert np.nansum(pages.gain) == log["is_long_view"][mine].sum()
    assert (np.isfinite(pages.gain) == pages.cards.real).all()
    short, sessions = pages.cards.real.sum(1) < 6, np.unique(log["session_id"][mine])
    assert 0 < np.nansum(pages.left) <= min(short.sum(), len(sessions))
    assert np.nansum(pages.left, 1).max() == 1 and not np.nansum(pages.left[~short])
    known = pages.cards.score[pages.cards.real]
    assert ((known > 0) & (known < 1)).all() and known.std() > 0.01


def test_a_day_without_pages_is_refused(lab):
    with pytest.raises(DataError, match="no pages are logged on day 99"):
        logged_pages(lab, 99, np.zeros(0, int))


# -- side by side ---------------------------------------------------------------------------


def test_all_six_are_compared_on_every_number(results):
    families = {r.family for r in results.values()}
    assert families >= {"score order", "windows", "MMR", "DPP", *re_rankers.LEARNED, "truth"}
    for name, r in results.items():
        numbers = (r.value, r.list_value, r.distance, r.novelty, r.balance, r.creators, r.gini)
        assert np.isfinite(numbers).all(), name
        assert r.pages.mean() == pytest.approx(r.list_value) and r.list_value < r.value
    assert results["greedy on the truth"].list_value == max(r.list_value for r in results.values())
    assert results["DPP 0.9"].distance > results["score order"].distance
    text = list_ruler.table(results)
    assert all(name in text for name in results)


def test_a_second_comparison_is_read_from_the_cache(lab, results, monkeypatch):
    def refuse(*args):
        raise AssertionError("done again")

    monkeypatch.setattr(re_rankers, "train_all", refuse)
    monkeypatch.setattr(re_rankers, "pool_of", refuse)
    again = re_rankers.compare(lab, progress=False)
    assert list(again) == list(results)
    assert again["generator"].by_seed == results["generator"].by_seed
    assert (again["generator"].pages == results["generator"].pages).all()


def test_fronts_run_by_distance_and_mmr_is_level_with_itself(results):
    fronts = list_ruler.fronts(results)
    assert set(fronts) == {"MMR", "DPP", *re_rankers.LEARNED}
    assert all((np.diff(x) >= 0).all() and len(x) == len(y) for x, y in fronts.values())
    for name in ("MMR 0.8", "score order"):
        assert list_ruler.against_mmr(results, name) == pytest.approx((0.0, 0.0), abs=1e-9)


def test_real_logs_have_no_simulator(lab):
    with pytest.raises(DataError, match="their truth is hidden"):
        re_rankers.compare(replace(lab, origin="a shop"), progress=False)


@pytest.mark.slow
def test_a_policy_taught_by_simulated_pages_beats_mmr(lab):
    """The lesson's claim at the smoke scale; at the laptop scale ``python lab.py bench``."""
    n = len(lab.world.truth.tuning)
    learn, compare = thirds(n)
    taught, asked = pool_of(lab, "tuning", learn[::3]), pool_of(lab, "tuning", compare[::2])
    model = PolicyGradient(PolicyGradientConfig(steps=50))
    model.fit(taught.cards, DrawnPages(taught.simulator))
    wanted = np.full(len(asked), 10)
    mine = asked.simulator.value(model.lists(asked.cards, wanted).order)
    score = np.where(asked.cards.real, asked.cards.score, -np.inf)
    for lam in re_rankers.LAMBDAS:
        order = re_rankers.mmr_batch(score, asked.cards.vectors, wanted, lam).order
        more = mine - asked.simulator.value(order)
        assert more.mean() > 2 * more.std() / np.sqrt(len(more)), lam
