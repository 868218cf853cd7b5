"""The frame of the exercises: what check does with anything at all, time limits, progress."""

import dataclasses
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reclab.core.errors import ConfigError
from reclab.learn.card import Card, Code
from reclab.learn.exercise import Exercise, exercise, progress
from reclab.learn.lesson_02 import EXERCISES
from reclab.learn.limit import within
from reclab.learn.probe import CORRECT, NOT_ATTEMPTED, NOT_YET

SIMILARITY, MMR, SIZES, DECAYED, TRAP, FUSE, *_ = EXERCISES
STATES = {"Correct", "Not yet", "Not attempted"}


class Hostile:
    """Raises on nearly every touch."""

    def __init__(self, error=RuntimeError):
        object.__setattr__(self, "error", error)

    def _fail(self, *args, **kwargs):
        raise object.__getattribute__(self, "error")("touched")

    __repr__ = __str__ = __eq__ = __len__ = __iter__ = __bool__ = __float__ = __call__ = _fail
    __getattr__ = __array__ = __getitem__ = __contains__ = __hash__ = _fail


def check(task, answer, *context):
    return str(Exercise(task).check(answer, *context))


odd_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.lists(st.floats(), max_size=4),
    st.dictionaries(st.sampled_from(["retrieve", "pre_rank", "rank"]), st.floats(), max_size=3),
    st.sampled_from([..., print, object(), np.array("x"), np.zeros((2, 2)), {}]),
    st.builds(np.float32, st.just(np.nan)),
)


@settings(max_examples=60, deadline=None)
@given(task=st.sampled_from(EXERCISES), answer=odd_values, returned=odd_values)
def test_check_never_raises_and_always_gives_one_of_three_outcomes(task, answer, returned):
    for each in (answer, lambda *_: returned):
        card = Exercise(task).check(each)
        assert card.title.split(" · ")[0] in STATES
        assert card._repr_html_()


@pytest.mark.parametrize(
    "error",
    [ValueError, SystemExit, KeyboardInterrupt, RecursionError, GeneratorExit, StopIteration],
)
@pytest.mark.parametrize("task", EXERCISES, ids=lambda task: task.id)
def test_whatever_the_answer_raises_is_told_in_words(task, error):
    def raises(*_):
        raise error("from the answer")

    assert "Not yet" in check(task, raises)
    assert "Not yet" in check(task, Hostile(error))
    assert "Not yet" in check(task, lambda *_: Hostile(error))
    assert "Not yet" in check(task, Hostile)


def test_a_raised_error_is_shown_with_its_case():
    def raises(taken):
        return taken[99]

    message = check(SIMILARITY, raises)
    assert "It raised IndexError" in message
    assert "three users, four items" in message and "taken = [[1., 1., 0., 0.]," in message


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda taken: np.full((taken.shape[1],) * 2, np.inf), "yours inf, expected"),
        (lambda taken: np.full((taken.shape[1],) * 2, np.nan), "yours not a number (NaN)"),
        (lambda taken: np.zeros(3), "Shape: yours (3,), expected (4, 4)"),
        (lambda taken: "text", "expected an array of numbers"),
        (lambda taken: [[1, 2], [3]], "expected an array of numbers"),
        (lambda taken: (x for x in [1]), "expected an array of numbers"),
        (lambda: 0, "It raised TypeError"),
        (np.eye(3), "Hand over the function itself, ex.check(item_similarity)"),
        (lambda taken: print("", end=""), "is the `return` missing?"),
    ],
)
def test_wrong_kinds_of_results_are_told_in_words(answer, said):
    assert said in " ".join(check(SIMILARITY, answer).split())


def test_an_input_changed_in_place_is_told_though_the_result_is_right():
    def in_place(p_click, p_long_view, watch_sec, a, b, c):
        p_click **= a
        p_click *= p_long_view**b * watch_sec**c
        return p_click

    assert "changes its input `p_click` in place" in " ".join(check(FUSE, in_place).split())


def test_other_forms_of_a_right_result_are_accepted():
    from scipy.sparse import csr_matrix

    ours = SIMILARITY.solution
    assert "Correct" in check(SIMILARITY, lambda taken: csr_matrix(ours(taken)))
    assert "Correct" in check(SIMILARITY, lambda taken: ours(taken).tolist())
    assert "Correct" in check(MMR, lambda *args: np.array(MMR.solution(*args)))


@pytest.mark.parametrize(
    "body", ["...", "pass", "return None", '"""words"""', "raise NotImplementedError"]
)
def test_an_empty_body_of_any_kind_is_not_an_attempt(body):
    space = {}
    exec(f"def item_similarity(taken):\n    {body}", space)
    assert "Not attempted" in check(SIMILARITY, space["item_similarity"])


@pytest.mark.parametrize("swallow", [False, True])
def test_an_endless_loop_is_stopped_and_told(swallow):
    ticks = []

    def endless(taken):
        while True:
            try:
                ticks.append(0)
                time.sleep(0.001)
            except Exception:
                if not swallow:
                    raise

    quick = dataclasses.replace(SIMILARITY, limit_s=0.3)
    message = check(quick, endless)
    assert "Too slow: stopped after 0.3 s on the case “three users, four items”" in message
    assert "a loop that never ends" in message
    counted = len(ticks)
    time.sleep(0.1)
    assert len(ticks) == counted  # it no longer runs


def test_a_loop_that_is_only_slow_on_many_items_is_told_what_to_replace_it_by():
    def slow_on_many(taken):
        while taken.shape[1] > 100:
            time.sleep(0.001)
        return SIMILARITY.solution(taken)

    message = check(dataclasses.replace(SIMILARITY, limit_s=0.5), slow_on_many)
    assert "on the case “200 users, 300 items”" in message
    assert "taken.T @ taken, counts all pairs at once" in message


def test_what_cannot_be_stopped_is_said_to_run_on():
    ended = within(0.05, lambda: time.sleep(2.6))
    assert ended.too_slow and ended.still_running


def test_messages_are_the_same_at_every_run_and_name_no_addresses():
    def odd(taken):
        raise ValueError(object())

    assert check(SIMILARITY, odd) == check(SIMILARITY, odd)
    assert "0x" not in check(SIMILARITY, odd)
    assert "0x" not in check(SIMILARITY, object())


def test_correct_stays_correct():
    ex = Exercise(FUSE)
    assert ex.state == NOT_ATTEMPTED
    ex.check(lambda *_: 1)
    assert ex.state == NOT_YET
    ex.check(FUSE.solution)
    ex.check(None)
    assert ex.state == CORRECT


def test_or_ours_takes_the_readers_function_only_when_it_passes():
    def mine(*args):
        return FUSE.solution(*args)

    ex = Exercise(FUSE)
    assert ex.or_ours(mine) is mine
    assert ex.or_ours(lambda *_: 0) is FUSE.solution
    assert ex.state == NOT_ATTEMPTED
    with pytest.raises(ConfigError, match="asks for a value"):
        Exercise(TRAP).or_ours("b")


def test_progress_lists_the_exercises_in_order_with_their_states():
    lines = repr(progress(2)).splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == [task.id for task in EXERCISES]
    assert lines[-1] == progress(2).summary()
    html = progress(2)._repr_html_()
    assert html.count('scope="row"') == len(EXERCISES) and "<caption" in html


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match="there are 1.1, .* 2.1, 2.2"):
        exercise("9.9")
    with pytest.raises(ConfigError, match="lesson 9 has no exercises"):
        progress(9)


def test_a_card_escapes_what_the_reader_wrote():
    card = Card("t", ("<script>", Code("a < b\n  c")), "wait")
    html = card._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;" in html
    assert "a &lt; b\n  c" in html and 'role="status"' in html
    assert "    c" in str(card)
