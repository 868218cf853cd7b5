"""Every exercise: starter -> not attempted, solution -> correct, each wrong idea -> its message."""

import numpy as np
import pytest

from reclab.learn.exercise import Exercise, exercise
from reclab.learn.lesson_02 import EXERCISES
from reclab.learn.lesson_02.auc_trap import OPTIONS, REPLIES, RIGHT, trap_table
from reclab.learn.lesson_02.stage_sizes import FULL
from reclab.learn.probe import CORRECT, NOT_ATTEMPTED, NOT_YET, Probe

WRITTEN = [task for task in EXERCISES if isinstance(task.judge, Probe)]
WRONG = [(task, idea) for task in WRITTEN for idea in task.judge.misconceptions]


def defined(code):
    """What a cell with this code leaves behind under its own name."""
    space = {"np": np}
    exec(code, space)
    return [value for name, value in space.items() if name not in ("np", "__builtins__")][-1]


def state(task, *answer):
    ex = Exercise(task)
    card = ex.check(*answer)
    return ex.state, str(card)


def funnel(sizes):
    """A made-up cascade: value grows with the log of each size, cost in proportion to it."""
    logs = {"retrieve": 0.08, "pre_rank": 0.06, "rank": 0.02}
    value = 1 + sum(w * np.log2(sizes[s] / FULL[s]) / 2 for s, w in logs.items())
    cost = sizes["retrieve"] * 1 + sizes["pre_rank"] * 20 + sizes["rank"] * 2
    return value, cost / (FULL["retrieve"] + FULL["pre_rank"] * 20 + FULL["rank"] * 2)


@pytest.mark.parametrize("task", EXERCISES, ids=lambda task: task.id)
def test_the_starter_runs_and_counts_as_not_attempted(task):
    reached, message = state(task, defined(task.starter))
    assert reached == NOT_ATTEMPTED
    assert "starter is unchanged" in message


@pytest.mark.parametrize("task", EXERCISES, ids=lambda task: task.id)
def test_every_exercise_has_hints_a_solution_and_a_reason(task):
    ex = Exercise(task)
    shown = [str(ex.hint()) for _ in range(len(task.hints) + 1)]
    assert len(task.hints) >= 3
    assert len(set(shown)) == len(shown)
    assert "Hint 1 of" in shown[0] and "No more hints" in shown[-1]
    assert task.why.split()[0] in str(ex.solution())


@pytest.mark.parametrize("task", WRITTEN, ids=lambda task: task.id)
def test_the_solution_as_it_is_shown_is_correct(task):
    code = str(Exercise(task).solution()).split("\n", 1)[1]
    body = code[: code.index(task.why.split()[0] + " " + task.why.split()[1])]
    lines = [line[2:] for line in body.splitlines()]
    function = defined("\n".join(lines))
    assert state(task, function)[0] == CORRECT


@pytest.mark.parametrize(
    ("task", "idea"), WRONG, ids=lambda x: x.id if hasattr(x, "id") else x.computes.__name__
)
def test_each_wrong_idea_gets_its_own_message(task, idea):
    reached, message = state(task, idea.computes)
    assert reached == NOT_YET
    flat = " ".join(message.split())
    assert f"Likely: {idea.name}. {idea.message}" in flat
    assert "On the case" in flat


@pytest.mark.parametrize("task", WRITTEN, ids=lambda task: task.id)
def test_each_written_exercise_knows_at_least_two_wrong_ideas(task):
    assert len({idea.message for idea in task.judge.misconceptions}) >= 2


def test_two_mistakes_at_once_still_show_the_first():
    def bare(taken):
        both = taken.T @ taken
        return both / np.sqrt(np.outer(np.diag(both), np.diag(both)))  # diagonal kept, 0 / 0

    reached, message = state(EXERCISES[0], bare)
    assert reached == NOT_YET
    assert "the diagonal is still there" in message


def test_mmr_accepts_either_of_two_equal_cards():
    def last_of_equals(score, similarity, k, lam):
        flip = (
            len(score)
            - 1
            - np.array(
                EXERCISES[1].solution(score[::-1].copy(), similarity[::-1, ::-1].copy(), k, lam),
                int,
            )
        )
        return flip.tolist()

    assert state(EXERCISES[1], last_of_equals)[0] == CORRECT


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([0, 9], "positions between 0 and 2"),
        ([0.5, 1], "positions between 0 and 2"),
        ([0], "1 positions, expected 2"),
        ("ab", "expected a list of positions"),
        ([0, 0], "names a position twice"),
        (None, "returns nothing"),
    ],
)
def test_mmr_says_what_is_wrong_with_a_list(answer, said):
    flat = " ".join(state(EXERCISES[1], lambda *_: answer)[1].split())
    assert said in flat


class TestStageSizes:
    task = EXERCISES[2]

    def test_a_lean_funnel_is_correct(self):
        sizes = dict(FULL)
        while True:
            smaller = {s: max(10, int(n * 0.9)) for s, n in sizes.items()}
            if funnel(smaller)[0] < 0.95:
                break
            sizes = smaller
        reached, message = state(self.task, sizes, funnel)
        assert reached == CORRECT, message
        assert "95" in message and "%" in message

    def test_the_shown_search_finds_a_correct_answer(self):
        sizes = defined(self.task.solution)(funnel, dict(FULL))
        assert state(self.task, sizes, funnel)[0] == CORRECT

    def test_too_generous_names_the_saving(self):
        reached, message = state(self.task, {**FULL, "rank": 90}, funnel)
        assert reached == NOT_YET
        assert "more generous than needed" in message
        assert "pre_rank = 150" in message

    def test_cut_too_far_names_the_narrowest_stage(self):
        sizes = {"retrieve": 100, "pre_rank": 100, "rank": 50}
        reached, message = state(self.task, sizes, funnel)
        assert reached == NOT_YET
        assert "cut too far" in message and "narrowest place is retrieve" in message
        assert f"{funnel(sizes)[0]:.1%}" in message

    @pytest.mark.parametrize(
        ("sizes", "said"),
        [
            ({**FULL, "rank": 400}, "a funnel that widens"),
            ({**FULL, "rank": 5}, "at least 10"),
            ({**FULL, "rank": 50.5}, "whole number"),
            ({**FULL, "rank": float("inf")}, "whole number"),
            ({"retrieve": 10}, "expected the three sizes"),
            (7, "expected the three sizes"),
        ],
    )
    def test_impossible_sizes_are_told_before_anything_is_measured(self, sizes, said):
        reached, message = state(self.task, sizes)
        assert reached == NOT_YET
        assert said in message

    def test_a_broken_measurement_is_not_the_readers_fault(self):
        lean = {**FULL, "rank": 50}
        assert "no size can be judged" in state(self.task, lean, lambda _: (np.nan, 1.0))[1]
        assert "measurement too" in state(self.task, lean)[1]
        assert "KeyError" in state(self.task, lean, lambda s: s["x"])[1]


class TestTrap:
    task = EXERCISES[4]
    rows = (("exposed", 0.8, {100: 0.3, 1000: 0.2}), ("cured", 0.7, {100: 0.4, 1000: 0.5}))

    def test_the_right_letter_in_any_writing(self):
        for answer in (RIGHT, RIGHT.upper(), f" ({RIGHT}) "):
            assert state(self.task, answer)[0] == CORRECT

    @pytest.mark.parametrize("letter", sorted(set(OPTIONS) - {RIGHT}))
    def test_each_wrong_letter_has_its_own_reply(self, letter):
        reached, message = state(self.task, letter, self.rows)
        assert reached == NOT_YET
        flat = " ".join(message.split())
        assert REPLIES[letter] in flat
        assert "exposed has AUC 0.80" in flat and "0.20 with 1000" in flat

    def test_the_replies_differ(self):
        assert len(set(REPLIES.values())) == len(OPTIONS) - 1

    @pytest.mark.parametrize("answer", ["z", "", 3, ["b"]])
    def test_anything_else_is_told_the_letters(self, answer):
        assert "one of the letters a, b, c, d, e" in state(self.task, answer)[1]

    def test_the_table_shows_a_dash_where_nothing_was_measured(self):
        text = trap_table([*self.rows, ("half", 0.6, {100: 0.1})])
        assert text.splitlines()[0].split() == ["model", "AUC", "value@100", "value@1000"]
        assert text.splitlines()[-1].split() == ["half", "0.60", "0.10", "-"]


def test_a_module_level_exercise_is_the_same_object():
    assert exercise("2.1") is exercise("2.1")
