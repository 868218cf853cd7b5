"""Calibration: curves that never fall, weights by likelihood, and what is known of whom."""

from typing import Any

import numpy as np
import pytest

from reclab.cascade.retrieval.calibration import Calibration, Pages, logged_pages
from reclab.core.chance import rng
from reclab.core.clock import DAY_MS
from reclab.core.types import Array
from tests.cascade.retrieval.contract import END, INDEX, LOGS, USERS, batch_of

N, WIDTH = 200, 20


def known_world(seed: int = 0) -> tuple[Array, Array, Array]:
    """Items with a hidden chance, and two channels' scores: one tells it, one is noise."""
    chance = rng(seed, "calibration")
    item = np.argsort(chance.random((N, 60)), axis=1)[:, :WIDTH]
    p = chance.random((N, WIDTH))
    return item, p, chance.random((N, WIDTH)) < p


def pages_of(item: Array, liked: Array, exposed_only: bool = True) -> Pages:
    owner = np.repeat(np.arange(N), WIDTH)
    batch = batch_of(np.zeros(N, np.int64))
    return Pages(batch, owner, item.ravel(), liked.ravel(), exposed_only)


def sorted_by(item: Array, score: Array) -> tuple[Array, Array]:
    order = np.argsort(-score, axis=1)
    rows, best = (np.take_along_axis(x, order, 1) for x in (item, score))
    return rows, best.astype(np.float32)


def test_a_curve_finds_the_chance_behind_a_score_in_any_unit():
    item, p, liked = known_world()
    curved = 40 * p**3 - 7  # rising in p, but no probability
    known = Calibration.learn(["a"], [sorted_by(item, curved)], pages_of(item, liked))
    for chance in (0.3, 0.5, 0.8):
        assert known.chance("a", 40 * chance**3 - 7) == pytest.approx(chance, abs=0.08)
    rising = known.chance("a", np.linspace(-10, 40, 200))
    assert (np.diff(rising) >= 0).all() and 0 < rising[0] and rising[-1] < 1


def test_a_channel_that_says_nothing_gives_no_points_and_one_that_knows_gives_them_all():
    item, p, liked = known_world()
    noise = rng(1, "noise").random(p.shape)
    answers = [sorted_by(item, p), sorted_by(item, noise)]
    known = Calibration.learn(["knows", "guesses"], answers, pages_of(item, liked))
    knows = np.ptp(known.points("knows", *answers[0]))
    guesses = np.ptp(known.points("guesses", *answers[1]))
    assert knows > 5 * guesses and (known.weight >= 0).all()


def test_twins_share_the_weight_of_one():
    item, p, liked = known_world()
    answer, pages = sorted_by(item, p), pages_of(item, liked)
    alone = Calibration.learn(["a"], [answer], pages)
    both = Calibration.learn(["a", "b"], [answer, answer], pages)
    np.testing.assert_allclose(both.weight.sum(), alone.weight.sum(), rtol=0.05)


def test_not_being_found_by_a_good_channel_costs_points():
    """The channel finds the better half of the items; the rest have its rate of absence."""
    item, p, liked = known_world()
    rows, score = sorted_by(item, p)
    all_of_them = sorted_by(item, np.full(p.shape, 0.5))
    half = rows[:, : WIDTH // 2], score[:, : WIDTH // 2]
    known = Calibration.learn(["half", "all"], [half, all_of_them], pages_of(item, liked))
    missed = np.sort(p, axis=1)[:, : WIDTH // 2]
    assert 1 / (1 + np.exp(-known.absent[0])) == pytest.approx(missed.mean(), abs=0.05)
    assert known.points("half", *half).min() > -0.5, "the worst one found is near the missed ones"


def test_in_logs_of_positives_alone_what_was_not_chosen_counts_against():
    item, p, _ = known_world()
    chosen = np.zeros(p.shape, bool)
    chosen[np.arange(N), p.argmax(1)] = True
    owner = np.arange(N)
    pages = Pages(
        batch_of(np.zeros(N, np.int64)), owner, item[chosen], np.ones(N, bool), exposed_only=False
    )
    known = Calibration.learn(["a"], [sorted_by(item, p)], pages)
    assert known.chance("a", 0.5) < 0.05 < known.chance("a", 0.99)


def test_too_little_to_learn_from_gives_no_points_and_no_error():
    item, p, liked = known_world()
    few = pages_of(item, liked)._replace(owner=np.arange(3), item_row=item[:3, 0])
    few = few._replace(liked=np.ones(3, bool))
    known = Calibration.learn(["a"], [sorted_by(item, p)], few)
    assert (known.points("a", *sorted_by(item, p)) == 0).all()
    nobody: list[Any] = []
    assert Calibration.fit(nobody, few).names == ()


def test_an_unknown_channel_and_padding_get_no_points():
    item, p, liked = known_world()
    known = Calibration.learn(["a"], [sorted_by(item, p)], pages_of(item, liked))
    assert (known.points("b", item, p) == 0).all()
    assert (known.points("a", np.full((2, 3), -1), np.ones((2, 3))) == 0).all()


def test_saved_it_gives_the_same_points(tmp_path):
    item, p, liked = known_world()
    answers = [sorted_by(item, p), sorted_by(item, 1 - p)]
    known = Calibration.learn(["a", "b"], answers, pages_of(item, liked))
    known.save(tmp_path)
    again = Calibration.load(tmp_path)
    for name, answer in zip("ab", answers, strict=True):
        np.testing.assert_array_equal(known.points(name, *answer), again.points(name, *answer))


def test_pages_are_requests_of_the_log_with_what_became_of_each_item():
    pages = logged_pages(LOGS, USERS, INDEX, END, n=12)
    assert len(pages.batch) == 12 and pages.exposed_only
    assert (np.diff(pages.owner) >= 0).all()
    shown = LOGS.interactions
    for b, request in enumerate(pages.batch.requests):
        same = (shown["user_id"] == request.user_id) & (shown["time_ms"] == request.time_ms)
        mine = pages.owner == b
        assert sorted(pages.item_row[mine]) == sorted(shown["video_id"][same])
        assert pages.liked[mine].sum() == shown["is_click"][same].sum()


def test_pages_do_not_look_past_their_time():
    pages = logged_pages(LOGS, USERS, INDEX, DAY_MS, n=1000)
    assert pages.batch.time_ms.max() < DAY_MS
