"""Every exercise: starter -> not attempted, solution -> correct, each wrong idea -> its message."""

import dataclasses
from itertools import combinations

import numpy as np
import pytest

from reclab.blending.allocation import PageRules, conflicts, violations
from reclab.blending.allocation.slot_operations import WeaveBySource
from reclab.blending.auction import sell_slots
from reclab.blending.breaker import BreakerConfig
from reclab.core.errors import ConfigError
from reclab.core.types import Candidates
from reclab.learn.exercise import exercise, progress
from reclab.learn.lesson_01 import (
    EXERCISES,
    breaker_size,
    calibrate,
    conflict,
    overbidder,
    page_check,
    vcg_payment,
    weave,
)
from reclab.learn.probe import CORRECT, NOT_YET
from tests.learn.exercise_contract import ExerciseContract, Hostile, as_shown, state

BY_ID = {task.id: task for task in EXERCISES}


@pytest.fixture(scope="module")
def cards(pool):
    return calibrate.shown_cards(pool)


@pytest.fixture(scope="module")
def books(pool):
    return overbidder.the_books(overbidder.rounds_of(pool))


class TestExercises(ExerciseContract):
    exercises = EXERCISES
    fewest = 8


def test_the_lesson_has_its_own_progress():
    assert [row[0] for row in progress(1).rows] == [f"1.{n}" for n in range(1, 9)]
    assert exercise("1.1") is exercise("1.1")


class TestWeave:
    def test_it_is_the_order_of_the_blending_service(self):
        for case in weave.CASES:
            business, ratios, n_slots = case.args
            n = len(business)
            listed = Candidates(1, np.zeros(n, int), np.arange(n), {"business": business})
            ours = WeaveBySource(tuple(ratios))(None, listed).kept.item_row[:n_slots]
            assert weave.weave(*case.args).tolist() == ours.tolist()

    def test_every_beginning_holds_each_share_give_or_take_one(self):
        ratios = np.array([3.0, 2.0, 1.0])
        order = weave.weave(np.repeat([0, 1, 2], 60), ratios, 90)
        held = np.cumsum(np.repeat([0, 1, 2], 60)[order][:, None] == np.arange(3), 0)
        due = np.arange(1, 91)[:, None] * ratios / ratios.sum()
        assert np.abs(held - due).max() < 1


class TestCalibrate:
    task = BY_ID["1.2"]

    def test_the_solution_as_it_is_shown_is_correct(self, cards):
        reached, message = state(self.task, as_shown(self.task), cards)
        assert reached == CORRECT, message
        assert "short video 0.0" in message

    def test_our_own_curve_is_correct_and_goes_live(self, cards):
        assert state(self.task, calibrate.ours, cards)[0] == CORRECT
        assert exercise("1.2").or_ours(calibrate.ours, cards) is calibrate.ours
        assert exercise("1.2").or_ours(lambda *_: 0, cards) is calibrate.calibrate

    @pytest.mark.parametrize(
        ("name", "idea", "message"), calibrate.IDEAS, ids=[i[0] for i in calibrate.IDEAS]
    )
    def test_each_wrong_idea_gets_its_own_message(self, cards, name, idea, message):
        reached, told = state(self.task, idea, cards)
        assert reached == NOT_YET
        assert f"Likely: {name}. {message}" in told and "expected at" in told

    def test_the_cards_are_asked_for(self):
        for cards in ((), ("cards",), ([1],), (Hostile(),)):
            assert "Give the cards too" in state(self.task, calibrate.calibrate, *cards)[1]

    @pytest.mark.parametrize(
        ("function", "said"),
        [
            (lambda s, y, new: new[:3] * 0, "one probability for each new score"),
            (lambda s, y, new: new * np.nan, "are no probabilities"),
            (lambda s, y, new: 1e9 * new, "are no probabilities"),
            (lambda s, y, new: "high", "expected an array of numbers"),
            (lambda s, y, new: 1 / 0, "it raised ZeroDivisionError"),
        ],
    )
    def test_what_is_no_probability_is_told(self, cards, function, said):
        reached, message = state(self.task, function, cards)
        assert reached == NOT_YET
        assert said in message and "ad, new model" in message

    def test_an_answer_that_changes_its_input_is_told(self, cards):
        def in_place(score, label, new):
            found = calibrate.calibrate(score, label, new)
            label[:] = 0
            return found

        assert "changes its input" in state(self.task, in_place, cards)[1]

    @pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, RecursionError])
    def test_whatever_the_answer_raises_is_told(self, cards, error):
        def raises(*_):
            raise error("from the answer")

        for answer in (raises, Hostile(), lambda *_: Hostile(), Hostile):
            assert state(self.task, answer, cards)[0] == NOT_YET
        assert error.__name__ in state(self.task, raises, cards)[1]

    def test_a_loop_without_end_is_stopped(self, cards):
        def for_ever(*_):
            while True:
                pass

        task = dataclasses.replace(self.task, limit_s=0.2)
        assert "Too slow" in state(task, for_ever, cards)[1]

    def test_the_new_model_is_too_sure_and_keeps_the_order(self, pool, cards):
        new = calibrate.claimed(pool)
        mine = pool.candidates["business"] == 3
        rate = pool.candidates["revenue"][mine] / pool.truths.pay[mine]
        assert (np.diff(new[np.argsort(rate, kind="stable")]) >= 0).all()
        assert new.mean() > 1.3 * cards[0].label.mean()


class TestPageCheck:
    def test_it_marks_what_the_blending_service_calls_violations(self):
        chance = np.random.default_rng(1)
        for _ in range(60):
            rules = PageRules(
                ("video", "ad"), slots=12, paid=("ad",), most_in_a_row=(12, 12), floors=(0, 0),
                ceilings=(12, 12), first_paid=int(chance.integers(0, 4)),
                most_paid=int(chance.integers(0, 5)), paid_gap=int(chance.integers(0, 5)),
                creator_gap=int(chance.integers(0, 6)),
            )  # fmt: skip
            business, creator = chance.integers(0, 2, 12), chance.integers(-1, 5, 12)
            columns = {"business": business, "creator": creator, "value": np.ones(12)}
            page = Candidates(1, np.zeros(12, int), np.arange(12), columns)
            told = {v.slot for v in violations(np.arange(12), page, rules)}
            args = (rules.first_paid, rules.most_paid, rules.paid_gap, rules.creator_gap)
            mine = page_check.page_check(business == 1, creator, *args)
            assert set(np.flatnonzero(mine)) == told


class TestOverbidder:
    task = BY_ID["1.5"]

    def test_the_shown_solution_reads_it_off_the_books(self, books):
        space = {"books": books}
        exec(self.task.solution, space)
        reached, message = state(self.task, space["answer"], books)
        assert reached == CORRECT
        assert "Crow bids 1.35 times its worth" in message

    def test_the_books_give_everybodys_factor(self, books):
        found = [overbidder.factor_in(b) for b in books]
        np.testing.assert_allclose(found, overbidder.FACTORS, rtol=1e-9)

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            (("Eel", 0.6), "a profit taken for too much"),
            (("Crow", 1 / 1.35), "upside down"),
            (("crow", 0.35), "how much more instead of how many times"),
            (("Crow", 3.0), "expected 1.31 to 1.39"),
            (("Wolf", 1.5), "Nobody is called"),
            ("Crow", "expected (name, factor)"),
            (("Crow", "1.35"), "expected (name, factor)"),
            (("Crow", np.nan), "expected (name, factor)"),
        ],
    )
    def test_other_answers_are_told_what_is_wrong(self, books, answer, said):
        reached, message = state(self.task, answer, books)
        assert reached == NOT_YET
        assert said in message

    def test_each_trap_of_the_table_has_its_own_reply(self):
        def book(name, bid, exposures, price, profit, own):
            return overbidder.Books(name, bid, exposures, price, profit, 1.0, own)

        books = [
            book("Ant", 9.0, 10, 0.5, 5, 0), book("Bee", 1.0, 90, 0.5, 5, 0),
            book("Crow", 1.0, 20, 0.9, 5, 0), book("Deer", 1.0, 20, 0.5, 1, 0),
            book("Eel", 1.0, 20, 0.5, 5, -10.0), book("Fox", 1.0, 20, 0.5, 5, 0),
        ]  # fmt: skip
        for name, said in (
            ("Ant", "the highest bid"), ("Bee", "the most wins"), ("Crow", "the highest price"),
            ("Deer", "the smallest profit"), ("Fox", "an honest bidder gain exactly nothing"),
        ):  # fmt: skip
            assert said in state(self.task, (name, 1.5), books)[1]
        assert "expected 1.94 to 2.06" in state(self.task, ("Eel", 1.5), books)[1]
        assert state(self.task, ("Eel", 2.0), books)[0] == CORRECT

    def test_without_the_books_they_are_asked_for(self):
        for books in ((), ("books",), ([1],), (Hostile(),)):
            assert "Give the books too" in state(self.task, ("Crow", 1.35), *books)[1]

    def test_the_truth_is_the_best_bid_under_vcg_and_not_where_one_pays_ones_bid(self, pool):
        rounds, factors = overbidder.rounds_of(pool), [0.6, 0.8, 1.0, 1.3, 1.8]
        for name in ("Ant", "Deer"):
            vcg = overbidder.profit_by_factor(rounds, name, factors)
            own = overbidder.profit_by_factor(rounds, name, factors, "first_price")
            assert vcg.argmax() == 2
            assert own.argmax() < 2 and abs(own[2]) < 1e-9 and own[3] < 0

    def test_the_table_as_text(self, books):
        lines = overbidder.books_table(books).splitlines()
        assert len(lines) == 8 and len({len(line) for line in lines[1:]}) == 1
        assert lines[4].split()[0] == "Crow"


class TestPayment:
    def test_it_is_what_the_auction_charges(self):
        for case in vcg_payment.CASES:
            ours = sell_slots(*case.args).payment
            np.testing.assert_allclose(vcg_payment.vcg_payment(*case.args), ours, atol=1e-12)

    def test_it_is_what_the_others_lose(self):
        chance, weights = np.random.default_rng(2), np.array([1.0, 0.7, 0.4])

        def welfare(total):
            return np.sort(total)[::-1][:3] @ weights

        for _ in range(50):
            worth, bid = np.zeros(6), chance.lognormal(0, 1, 6)
            payment = vcg_payment.vcg_payment(worth, bid, weights)
            held = sell_slots(worth, bid, weights).weight
            for card in range(6):
                lost = welfare(np.delete(bid, card)) - (welfare(bid) - held[card] * bid[card])
                assert payment[card] == pytest.approx(lost, abs=1e-12)


class TestBreaker:
    task = BY_ID["1.7"]

    def test_the_solution_is_correct_and_told_with_its_numbers(self):
        answer = {"failure": 0.8, "in_a_row": 8, "open_ms": 900}
        reached, message = state(self.task, answer)
        assert reached == CORRECT
        assert "pages waited for the dead one" in message

    def test_the_shown_search_holds_a_correct_answer(self, capsys):
        space = {"bad_hour": breaker_size.bad_hour}
        exec(breaker_size.SOLUTION, space)
        assert state(self.task, space["knobs"])[0] == CORRECT
        assert len(capsys.readouterr().out.splitlines()) == 5

    @pytest.mark.parametrize(
        ("knobs", "said"),
        [
            ((0.5, 8, 900), "With failure out of the game it would be 0.0%"),
            ((0.8, 3, 900), "With in_a_row out of the game it would be 0.0%"),
            ((1.0, 500, 900), "too patient. It opened after"),
            ((0.8, 8, 200), "asked again too soon"),
            ((0.8, 8, 5000), "it waits too long before it asks again"),
            ((0, 8, 900), "failure must be a number from 0.01 to 1"),
            ((0.8, 2.5, 900), "in_a_row counts calls"),
            ((0.8, 8, np.nan), "open_ms must be a number"),
            ((0.8, "8", 900), "in_a_row must be a number"),
        ],
    )
    def test_other_knobs_are_told_what_is_wrong(self, knobs, said):
        answer = dict(zip(breaker_size.KNOBS, knobs, strict=True))
        reached, message = state(self.task, answer)
        assert reached == NOT_YET
        assert said in message

    def test_the_worst_case_of_the_return_is_the_breakers_own(self):
        knobs = {"failure": 0.8, "in_a_row": 8, "open_ms": 900}
        worst = BreakerConfig(**knobs).recovery_ms(breaker_size.DEADLINE_MS)
        for seed in range(4, 9):
            assert breaker_size.bad_hour(knobs, seed).back_ms <= worst + 60

    def test_knobs_out_of_range_are_refused_by_the_breaker(self):
        with pytest.raises(ConfigError, match="open_ms"):
            breaker_size.bad_hour({"failure": 0.8, "in_a_row": 8, "open_ms": 0})


class TestConflict:
    task = BY_ID["1.8"]

    def test_there_is_one_smallest_set_and_the_shown_search_finds_it(self):
        space = {}
        exec(self.task.solution, space)
        assert state(self.task, space["answer"])[0] == CORRECT
        three = ("".join(some) for some in combinations(conflict.WISHES, 3))
        assert [some for some in three if not conflict.possible(some)] == ["acd"]

    def test_any_writing_will_do(self):
        for answer in ("acd", "D, A, C", ["a", "(c)", "d"], {"a", "c", "d"}):
            assert state(self.task, answer)[0] == CORRECT

    def test_the_service_names_the_same_rules(self):
        told = conflicts(conflict.rules_with("abcdefg"))
        assert set(told) == {"first_paid", "paid_gap", "floor of ad"}

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            ("a", "one wish blamed"),
            ("ad", "1 + 4 + 4 = 9 slots"),
            ("ac", "What keeps them apart?"),
            ("bf", "short videos blamed"),
            ("eg", "what sounds strict"),
            ("acdg", "neither can it without: (g)"),
            ("xyz", "expected some of the letters"),
            (["a", 3], "expected some of the letters"),
        ],
    )
    def test_other_sets_are_told_what_is_wrong(self, answer, said):
        reached, message = state(self.task, answer)
        assert reached == NOT_YET
        assert said in message
