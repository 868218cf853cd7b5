"""Every exercise: starter -> not attempted, solution -> correct, each wrong idea -> its message."""

import dataclasses

import numpy as np
import pytest

from reclab.core.metrics import gini, lorenz
from reclab.learn.exercise import exercise, progress
from reclab.learn.lesson_05 import (
    EXERCISES,
    boost,
    choose_lambda,
    estimate,
    lorenz_gini,
    open_rows,
    pace,
    regroup,
)
from reclab.learn.probe import CORRECT
from tests.learn.exercise_contract import ExerciseContract, state

BY_ID = {task.id: task for task in EXERCISES}


class TestExercises(ExerciseContract):
    exercises = EXERCISES
    fewest = 6


def test_the_lesson_has_its_own_progress():
    assert [row[0] for row in progress(5).rows] == [f"5.{n}" for n in range(1, 8)]
    assert exercise("5.1") is exercise("5.1")


class TestOpenRows:
    def test_any_order_will_do_and_a_mask_is_told_apart(self):
        task = BY_ID["5.1"]
        assert state(task, lambda *a: open_rows.open_rows(*a)[::-1])[0] == CORRECT

        def mask(count, p, capacity, threshold, rule):
            return np.isin(
                np.arange(len(count)), open_rows.open_rows(count, p, capacity, threshold, rule)
            )

        assert "expected the rows" in state(task, mask)[1]
        assert "named twice" in state(task, lambda *a: np.repeat(open_rows.open_rows(*a), 2))[1]


class TestRegroup:
    def test_a_plain_loop_agrees(self):
        def loop(item, user, score, room):
            best = {}
            for i, u, s in zip(item.tolist(), user.tolist(), score.tolist(), strict=True):
                mine = best.setdefault(u, {})
                if i not in mine or s > mine[i]:
                    mine[i] = s
            rows = [
                (u, i)
                for u in sorted(best)
                for i in sorted(best[u], key=lambda i: -best[u][i])[: room[u]]
            ]
            return np.array([r[0] for r in rows], int), np.array([r[1] for r in rows], int)

        reached, message = state(BY_ID["5.2"], loop)
        assert reached == CORRECT, message

    def test_nobody_gets_more_than_the_room_or_an_item_twice(self):
        for case in regroup.CASES:
            item, user, score, room = case.args
            u, i = regroup.regroup(item, user, score, room)
            assert (np.bincount(u, minlength=len(room)) <= room).all()
            assert len(np.unique(np.stack([u, i], 1), axis=0)) == len(u)
            wanted = np.unique(np.stack([user, item], 1), axis=0)[:, 0]
            full = np.minimum(np.bincount(wanted, minlength=len(room)), room)
            assert (np.bincount(u, minlength=len(room)) == full).all()


class TestChooseLambda:
    def test_the_message_says_what_the_chosen_weight_costs(self):
        message = state(BY_ID["5.3"], lambda lam, *_: lam.max())[1]
        assert "the loss is 5.00%" in message and "allowed 1.00%" in message

    def test_no_weight_is_chosen_whose_bound_breaks_the_promise(self):
        for case in choose_lambda.CASES:
            lam, value, error, reach, base, most = case.args
            chosen = choose_lambda.choose_lambda(*case.args)
            bound = 1 - (value - 1.645 * error) / base
            if chosen == -1:
                assert (bound > most).all()
            else:
                j = np.flatnonzero(lam == chosen)[0]
                assert bound[j] <= most and reach[j] == reach[bound <= most].max()


class TestEstimate:
    def test_the_plain_split_leaks_and_the_co_diverted_does_not(self):
        for seed in range(3):
            found = estimate.leak(estimate.estimate, seed)
            assert found["truth"] > 0.7
            assert abs(found["co-diverted"] - found["truth"]) < 0.12
            assert found["plain"] < 0.7 * found["truth"]

    def test_nothing_leaks_where_nothing_is_known(self):
        e = [estimate.experiment(design, 0, known=0.0) for design in ("plain", "co-diverted")]
        plain, co = (estimate.estimate(*dataclasses.astuple(one)) for one in e)
        assert abs(plain - co) < 0.05

    def test_an_experiment_is_what_its_design_says(self):
        e = estimate.experiment("co-diverted", 1)
        assert (e.creator_arm[e.creator] == e.user_arm[e.user]).all()
        assert (estimate.experiment("plain", 1).creator_arm == -1).all()


class TestPace:
    def test_the_promise_is_met_in_step_with_the_traffic(self):
        day = pace.paced_day(pace.pace, np.full(20, 100.0), pace.tide())
        assert day.given.sum(0) == pytest.approx(np.full(20, 100), abs=8)
        assert day.unlike < 0.06

    def test_less_traffic_than_expected_is_made_up_for(self):
        target = np.full(20, 100.0)
        ours = pace.paced_day(pace.pace, target, pace.tide(), surprise=0.7)
        wrong = pace.paced_day(pace._open_loop, target, pace.tide(), surprise=0.7)
        assert ours.given.sum(0).mean() > 95 > 80 > wrong.given.sum(0).mean()

    def test_as_fast_as_possible_is_out_of_step(self):
        day = pace.paced_day(pace._greedy, np.full(20, 100.0), pace.tide())
        assert day.unlike > 0.8

    def test_the_tide_has_its_peak_in_the_evening(self):
        traffic = pace.tide(500.0)
        assert traffic.sum() == pytest.approx(500) and traffic.argmax() == 21
        assert 0.35 < traffic[18:].sum() / 500 < 0.45


class TestLorenzGini:
    @pytest.mark.parametrize("case", lorenz_gini.CASES, ids=lambda case: case.name)
    def test_it_is_half_the_relative_mean_absolute_difference(self, case):
        x = case.args[0].astype(float)
        curve, g = lorenz_gini.lorenz_gini(x)
        if not x.sum():
            assert g == 0
            return
        assert g == pytest.approx(np.abs(x[:, None] - x).mean() / (2 * x.mean()), abs=1e-9)
        assert g == pytest.approx(gini(x), abs=1e-9)
        assert curve == pytest.approx(lorenz(x, len(x) + 1)[1])


class TestBoost:
    def test_a_larger_weight_never_takes_an_item_of_d_u_off_the_page(self):
        item, f, d_item, g = boost._random(200, 40)
        n = [
            np.isin(boost.boost(item, f, d_item, g, lam, 20), d_item).sum()
            for lam in (0, 0.2, 0.5, 1.0, 3.0)
        ]
        assert n == sorted(n) and n[-1] > n[0]

    def test_a_dictionary_does_it_too(self):
        def by_dict(item, f, d_item, g, lam, k):
            more = dict(zip(d_item.tolist(), g.tolist(), strict=True))
            scored = [(f[j] + lam * more.get(i, 0.0), -j, i) for j, i in enumerate(item.tolist())]
            return np.array([i for _, _, i in sorted(scored, reverse=True)[:k]], int)

        reached, message = state(BY_ID["5.7"], by_dict)
        assert reached == CORRECT, message
