"""Every exercise: starter -> not attempted, solution -> correct, each wrong idea -> its message."""

import dataclasses

import numpy as np
import pytest

from reclab.learn.exercise import exercise, progress
from reclab.learn.lesson_04 import EXERCISES, bisection, knowable, tune, what_is_hidden
from reclab.learn.probe import CORRECT, NOT_ATTEMPTED, NOT_YET
from tests.learn.exercise_contract import ExerciseContract, defined, state

BY_ID = {task.id: task for task in EXERCISES}
ROWS = (
    ("hindsight Q", 0.56),
    ("knowable Q", 0.26),
    ("predicted Q, linear", 0.10),
    ("predicted Q, monotone network", 0.19),
    ("scalar user value", -0.22),
    ("random", -0.40),
)


class TestExercises(ExerciseContract):
    exercises = EXERCISES
    fewest = 4
    no_arrays = ("4.3",)


def test_the_lesson_has_its_own_progress():
    assert [row[0] for row in progress(4).rows] == [f"4.{n}" for n in range(1, 10)]
    assert exercise("4.1") is exercise("4.1")


class TestBisection:
    task = BY_ID["4.1"]

    def mended(self, *changes):
        code = bisection.STARTER
        for old, new in changes:
            assert old in code
            code = code.replace(old, new)
        return defined(code)

    swap = ("if spent <= budget:", "if spent > budget:")
    bracket = ("(gain / cost).min()", "(gain / cost).max() * 1.001")
    stop = ("    return lam", "    return high")
    eps = ("if abs(spent - budget) <= 0.001:", "if False:")

    def test_the_starter_fails_on_every_case(self):
        printed = bisection.as_printed()
        for case in bisection.CASES:
            gain, cost, budget = case.args
            lam = printed(gain, cost, budget)
            met = abs(bisection.spent_at(gain, cost, lam) - budget) <= 0.001
            assert not met and bisection.price_difference(
                lam, self.task.solution(*case.args), *case.args
            )

    def test_comments_and_names_do_not_make_an_attempt(self):
        code = bisection.STARTER.replace("lam = (low", "# halve\n        lam = (low")
        assert state(self.task, defined(code))[0] == NOT_ATTEMPTED

    def test_mended_one_by_one_the_next_fault_is_named(self):
        assert "the branches are still swapped" in state(self.task, self.mended(self.bracket))[1]
        assert "still min(Q / q)" in state(self.task, self.mended(self.swap))[1]
        both = self.mended(self.swap, self.bracket)
        assert "the stop is still |spent - C| <= eps" in state(self.task, both)[1]

    def test_the_right_end_with_the_printed_stop_is_told_apart(self):
        three = self.mended(self.swap, self.bracket, self.stop)
        assert "stopped before high has moved" in state(self.task, three)[1]

    @pytest.mark.parametrize("top", ["gain.max() / cost.min() * 2", "1e6", "gain.sum()"])
    def test_any_upper_end_beyond_the_answer_will_do(self, top):
        steps = ("range(25)", "range(80)")
        bracket = ("(gain / cost).min()", top)
        mine = self.mended(self.swap, bracket, self.eps, self.stop, steps)
        assert state(self.task, mine)[0] == CORRECT

    def test_a_price_found_by_sorting_is_correct_too(self):
        def find_lambda(gain, cost, budget):
            gain, cost = np.insert(gain, 0, 0, 1), np.insert(cost, 0, 0)
            rise = (gain[:, 1:, None] - gain[:, None, :]).reshape(len(gain), -1)
            step = (cost[1:, None] - cost[None, :]).ravel()
            prices = np.unique(np.append(0, (rise[:, step > 0] / step[step > 0]).clip(0)))
            low, high = 0, len(prices) - 1
            while low < high:
                middle = (low + high) // 2
                lam = prices[middle] * (1 + 1e-12)
                if bisection.spent_at(gain[:, 1:], cost[1:], lam) <= budget:
                    high = middle
                else:
                    low = middle + 1
            return prices[high] * (1 + 1e-12)

        reached, message = state(self.task, find_lambda)
        assert reached == CORRECT, message

    def test_mended_in_all_three_places_it_is_correct(self):
        reached, message = state(
            self.task, self.mended(self.swap, self.bracket, self.eps, self.stop)
        )
        assert reached == CORRECT, message

    def test_a_stop_that_is_never_met_is_named_when_it_loops(self):
        def find_lambda(gain, cost, budget):
            low, high = 0.0, (gain / cost).max()
            while True:
                lam = (low + high) / 2
                spent = bisection.spent_at(gain, cost, lam)
                if abs(spent - budget) < 1e-3:
                    return lam
                low, high = (lam, high) if spent > budget else (low, lam)

        task = dataclasses.replace(self.task, limit_s=0.5)
        assert "A stop on |spent - budget| may never be met" in state(task, find_lambda)[1]

    def test_our_own_solver_finds_the_same_prices(self):
        from reclab.degradation_dcaf import solve_lambda

        for case in bisection.CASES:
            gain, cost, budget = case.args
            ours = solve_lambda(gain, cost, budget)
            lam = self.task.solution(gain, cost, budget)
            assert bisection.spent_at(gain, cost, lam) <= budget + 1e-9
            assert bisection.spent_at(gain, cost, lam) <= ours.cost + 1e-9 <= budget + 2e-9


class TestTune:
    task = BY_ID["4.4"]

    def test_the_solution_is_correct_and_told_with_its_numbers(self):
        reached, message = state(self.task, {"proportional": 0.3, "integral": 0.25})
        assert reached == CORRECT
        assert "failures end after" in message

    def test_the_shown_search_holds_a_correct_pair(self, capsys):
        space = {"surge": tune.surge}
        exec(tune.SOLUTION, space)
        assert state(self.task, space["gains"])[0] == CORRECT
        assert "0.3 0.25 1.00 6 7" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("gains", "said"),
        [
            ((0.0, 0.0), "no feedback at all"),
            ((0.3, 0.0), "no integral"),
            ((0.1, 0.05), "too little integral"),
            ((0.5, 0.1), "too little integral"),
            ((0.3, 1.0), "With integral at half, 0.5"),
            ((1.5, 0.3), "With proportional at half, 0.75"),
            ((0.3, -1), "integral must be a number from 0 to 100"),
            ((np.nan, 0.3), "proportional must be a number"),
            (("a", 0.3), "proportional must be a number"),
        ],
    )
    def test_other_gains_are_told_what_is_wrong(self, gains, said):
        answer = dict(zip(tune.GAINS, gains, strict=True))
        reached, message = state(self.task, answer)
        assert reached == NOT_YET
        assert said in message

    def test_more_delay_makes_the_same_gains_swing(self):
        gains = {"proportional": 0.3, "integral": 0.5}
        assert tune.surge(gains, delay=1).swing < 1.2 < tune.surge(gains, delay=3).swing


class TestHidden:
    task = BY_ID["4.7"]
    rows = (("revenue", 0.1), ("clicks", -1.2), ("long-tail share", -4.0))

    def test_the_right_letter_in_any_writing(self):
        for answer in ("c", "C", " (c) "):
            assert state(self.task, answer)[0] == CORRECT

    @pytest.mark.parametrize("letter", sorted(what_is_hidden.REPLIES))
    def test_each_wrong_letter_has_its_own_reply_and_our_numbers(self, letter):
        reached, message = state(self.task, letter, self.rows)
        assert reached == NOT_YET
        assert what_is_hidden.REPLIES[letter] in message
        assert "What fell: clicks -1.2 %, long-tail share -4.0 %" in message

    def test_every_letter_is_answered(self):
        told = what_is_hidden.REPLIES
        assert {*told, what_is_hidden.RIGHT} == set(what_is_hidden.OPTIONS)
        assert "Nothing that was measured fell" in state(self.task, "a", self.rows[:1])[1]


class TestKnowable:
    task = BY_ID["4.8"]

    def test_bound_and_best_model_are_correct(self):
        reached, message = state(self.task, (0.26, 0.19), ROWS)
        assert reached == CORRECT
        assert "73% of the bound" in message and "30% of the cost is luck" in message

    def test_the_shown_solution_reads_them_off_the_table(self):
        space = {"rows": ROWS}
        exec(self.task.solution, space)
        assert state(self.task, space["answer"], ROWS)[0] == CORRECT

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            ((0.56, 0.19), "hindsight"),
            ((0.19, 0.19), "today's model taken for the bound"),
            ((-0.40, 0.19), "a policy to compare with"),
            ((0.26, 0.10), "not the best of them"),
            ((0.26, 0.26), "no model that runs"),
            ((0.26, 0.56), "no model that runs"),
            ((0.33, 0.19), "no row of the table"),
            ((0.26, 0.33), "no row of the table"),
            ((26, 19), "shares of the cost"),
            ((0.26,), "expected two savings"),
            ("ab", "expected two savings"),
            (0.26, "expected two savings"),
        ],
    )
    def test_each_trap_row_has_its_own_reply(self, answer, said):
        reached, message = state(self.task, answer, ROWS)
        assert reached == NOT_YET
        assert said in message

    def test_without_the_table_it_is_asked_for(self):
        assert "Give the table too" in state(self.task, (0.26, 0.19))[1]
        assert "Give the table too" in state(self.task, (0.26, 0.19), ROWS[:1])[1]

    def test_the_table_as_text(self):
        lines = knowable.saved_table(ROWS).splitlines()
        assert lines[0].split() == ["policy", "saved"]
        assert lines[1].split() == ["hindsight", "Q", "+56.0", "%"]
        assert len({len(line) for line in lines[1:]}) == 1
