"""Behaviour: closed forms against simulation, and each rule of the page on a case by hand."""

import numpy as np
import pytest

from reclab.core.chance import rng
from reclab.world import behaviour as b
from reclab.world.behaviour import BehaviourConfig

C = BehaviourConfig()


@pytest.mark.parametrize("affinity", [-1.0, 1.2, 3.0])
@pytest.mark.parametrize("duration", [8.0, 18.5, 26.0, 300.0])
def test_long_views_happen_as_often_as_the_closed_form_says(affinity: float, duration: float):
    n = 40_000
    a, d, click = np.full(n, affinity), np.full(n, duration), np.ones(n, bool)
    seconds, done = b.watch_seconds(C, click, a, d, rng(0, "watch"))
    seen = b.is_long_view(click, seconds, d).mean()
    expected = b.p_long_given_click(C, a[:1], d[:1])[0]
    assert abs(seen - expected) < 4 * np.sqrt(expected * (1 - expected) / n) + 1e-9
    assert done.mean() == pytest.approx(b.p_complete(C, a[:1], d[:1])[0], abs=0.012)


@pytest.mark.parametrize("p_click", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("duration", [8.0, 26.0, 900.0])
def test_seconds_watched_are_on_average_what_the_closed_form_says(p_click: float, duration: float):
    n = 200_000
    chance = rng(0, "watch")
    click, d = chance.random(n) < p_click, np.full(n, duration)
    seconds, _ = b.watch_seconds(C, click, np.full(n, 2.0), d, chance)
    one = np.array([2.0]), np.array([duration])
    expected = b.expected_watch_seconds(C, np.array([p_click]), *one)[0]
    assert abs(seconds.mean() - expected) < 4 * seconds.std() / np.sqrt(n)


def test_what_is_not_clicked_is_watched_for_a_glance_and_never_long():
    n = 20_000
    d = np.full(n, 60.0)
    click = np.zeros(n, bool)
    seconds, done = b.watch_seconds(C, click, np.ones(n), d, rng(0, "skip"))
    assert not done.any() and not b.is_long_view(click, seconds, d).any()
    assert np.median(seconds) == pytest.approx(C.skip_sec, rel=0.05)


def test_fatigue_counts_topics_and_creators_earlier_on_the_page():
    topic, creator = np.array([[4, 4, 9, 4]]), np.array([[1, 2, 1, 1]])
    lost = b.page_fatigue(C, topic, creator, np.array([10]))[0]
    tired = C.tiredness * np.arange(10, 14)
    assert lost - tired == pytest.approx(
        [0.0, C.same_topic, C.same_creator, 2 * C.same_topic + 2 * C.same_creator]
    )


def test_mood_excitation_and_satiation_move_their_topic_only():
    theta = np.full((1, 24), 1 / 24)
    calm = np.zeros((1, 24))
    excited, tired = calm.copy(), calm.copy()
    excited[0, 5], tired[0, 7] = 2.0, 3.0
    wish = b.topic_wish(C, theta, np.array([3]), excited, tired)[0] - C.topic * np.sqrt(1 / 24)
    expected = np.zeros(24)
    expected[[3, 5, 7]] = C.mood, 2 * C.excitation, -3 * C.satiation
    assert wish == pytest.approx(expected)


def test_typical_wish_is_the_expectation_over_moods():
    theta = rng(0, "theta").dirichlet(np.ones(24), 1)
    calm = np.zeros((1, 24))
    moods = [b.topic_wish(C, theta, np.array([t]), calm, calm)[0] for t in range(24)]
    assert b.typical_wish(C, theta)[0] == pytest.approx(theta[0] @ np.array(moods))


def test_people_leave_sooner_after_skips_and_unwelcome_ads():
    def hazard(long_view: bool, click: bool, dislike: float) -> float:
        one = np.ones((1, 1))
        return float(
            b.p_exit(C, one == long_view, one == click, dislike * one, 0 * one, one < 0)[0, 0]
        )

    assert hazard(True, True, 0) < hazard(False, True, 0) < hazard(False, False, 0)
    assert hazard(False, False, 0) < hazard(False, False, 0.9)


def test_a_good_day_brings_people_back():
    habit = np.full(3, 0.3)
    p = b.p_return(C, np.zeros(3), np.array([0.1, 0.3, 0.6]), habit)
    assert (np.diff(p) > 0.05).all()


def test_the_dear_are_bought_less_by_the_sensitive():
    one = np.ones(1)
    buy = [b.p_pay(C, one, one * price, 40.0, one, 0 * one)[0][0] for price in (10, 40, 160)]
    assert buy[0] > buy[1] > buy[2]
