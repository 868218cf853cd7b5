"""Predictions: defaults run, guesses lock at the reveal, bad guesses are refused in words."""

import numpy as np
import pytest

from reclab.core.errors import ConfigError
from reclab.learn import predict as make
from reclab.learn.predict import _locked


@pytest.fixture(autouse=True)
def nothing_locked():
    _locked.clear()
    yield
    _locked.clear()


def share(guess=None, key="t.a"):
    return make(key, "Share of the oracle's value?", (0, 1), default=0.5, guess=guess)


def test_the_default_lets_the_notebook_run_and_locks_nothing():
    assert "The default was 0.5" in str(share().reveal(0.6))
    assert share(0.9).value == 0.9


def test_a_guess_is_locked_once_the_result_was_seen():
    assert share(0.2).value == 0.2
    first = share(0.3)
    assert "You said 0.3; measured 0.62: too low, by 32% of the range" in str(first.reveal(0.62))
    again = share(0.62)
    assert again.value == 0.3
    assert "your first guess stays" in str(again)
    assert share(key="t.b", guess=0.62).value == 0.62


@pytest.mark.parametrize(
    ("actual", "said"),
    [(0.52, "about right"), (0.4, "a little too high"), (0.9, "too low, by 40% of the range")],
)
def test_the_distance_is_put_in_words(actual, said):
    assert said in str(share(0.5).reveal(actual))


@pytest.mark.parametrize("guess", [2, -1, "half", float("nan"), [0.5], True, np.zeros(2)])
def test_an_impossible_guess_is_refused_in_words_and_the_default_stands(guess):
    made = share(guess)
    assert made.value == 0.5
    assert "is not possible here" in str(made)


def test_options_are_compared_as_words():
    def stage(guess=None):
        return make("t.c", "Which stage loses most?", ("retrieval", "ranking"), "ranking", guess)

    assert "so it is" in str(stage("retrieval").reveal("retrieval"))
    _locked.clear()
    assert "You said ranking; it is retrieval" in str(stage("ranking").reveal("retrieval"))
    assert "Between" not in str(stage()) and "One of: retrieval, ranking" in str(stage())


def test_units_are_shown_and_a_missing_measurement_is_no_number():
    made = make("t.d", "How long?", (0, 100), 10, guess=20, unit="ms")
    assert "You said 20 ms; measured 21 ms" in str(made.reveal(21.2))
    assert "nothing was measured" in str(made.reveal(float("nan")))


def test_a_wrong_default_is_the_lessons_mistake():
    with pytest.raises(ConfigError, match="default must be among"):
        make("t.e", "?", (0, 1), default=3)


def test_the_widget_sets_the_guess_until_it_is_locked():
    made = share()
    slider = made.widget()
    slider.value = 0.25
    assert made.value == 0.25
    made.reveal(0.3)
    slider.value = 0.75
    assert made.value == 0.25
    buttons = make("t.f", "?", ("a", "b"), "a").widget()
    assert tuple(buttons.options) == ("a", "b")
