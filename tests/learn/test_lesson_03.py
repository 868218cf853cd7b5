"""Every exercise: starter -> not attempted, solution -> correct, each wrong idea -> its message."""

import numpy as np
import pytest

from reclab.core.metrics import auc
from reclab.lab.leaky_columns import LEAK, STALE, leaky_table
from reclab.learn.exercise import exercise, progress
from reclab.learn.lesson_03 import EXERCISES, find_leak, handle, machines, take_tokens
from reclab.learn.probe import CORRECT, NOT_YET
from reclab.offline_online.gateway.rate_limit import RateConfig, TokenBuckets
from tests.learn.exercise_contract import ExerciseContract, state

BY_ID = {task.id: task for task in EXERCISES}


class TestExercises(ExerciseContract):
    exercises = EXERCISES
    fewest = 4
    no_arrays = ("3.3",)


def test_the_lesson_has_its_own_progress():
    assert [row[0] for row in progress(3).rows] == [f"3.{n}" for n in range(1, 9)]
    assert exercise("3.1") is exercise("3.1")


class TestJoin:
    task = BY_ID["3.2"]

    def test_a_dict_and_a_loop_are_correct_too(self):
        def sample_join(key, time_ms, event, told_key, told_ms, window_ms):
            row, first = {int(k): i for i, k in enumerate(key)}, {}
            for name, k, stamp in zip(event, told_key, told_ms, strict=True):
                first[int(name)] = min(first.get(int(name), (1 << 62, 0)), (int(stamp), int(k)))
            found = np.zeros(len(key), int)
            for stamp, k in first.values():
                if k in row and 0 <= stamp - time_ms[row[k]] <= window_ms:
                    found[row[k]] += 1
            return found

        reached, message = state(self.task, sample_join)
        assert reached == CORRECT, message

    def test_searchsorted_beyond_the_end_shows_its_error(self):
        def careless(key, time_ms, event, told_key, told_ms, window_ms):
            order = np.argsort(key)
            row = order[np.searchsorted(key[order], told_key)]
            good = (told_ms >= time_ms[row]) & (told_ms <= time_ms[row] + window_ms)
            return np.bincount(row[good], minlength=len(key))

        reached, message = state(self.task, careless)
        assert reached == NOT_YET and "an event sent twice" in message


class TestHandle:
    task = BY_ID["3.3"]

    def test_an_effect_that_bears_repetition_is_correct_too(self):
        def keeps_events(store, event, key, money):
            record = store.get(key, {"paid": 0.0, "by_event": {}})
            by_event = {**record["by_event"], str(event): money}
            store.put(key, {"paid": sum(by_event.values()), "by_event": by_event})

        reached, message = state(self.task, keeps_events)
        assert reached == CORRECT, message

    def test_a_list_that_is_changed_in_place_before_the_put_is_no_record(self):
        def forgets_to_put(store, event, key, money):
            record = store.get(key, {"paid": 0.0})
            record["paid"] += money

        reached, message = state(self.task, forgets_to_put)
        assert reached == NOT_YET and "yours 0, expected 8" in message

    def test_the_store_dies_right_after_the_write_that_was_named(self):
        store = handle.Store([2])
        store.put("a", {"x": 1})
        with pytest.raises(handle.Died):
            store.put("b", {"x": 2})
        assert store.get("b") == {"x": 2} and store.get("c", 5) == 5

    def test_ours_is_exact_for_every_single_death(self):
        entries = [(1, "a", 5.0), (2, "a", 3.0), (1, "a", 5.0), (3, "b", 4.0), (2, "a", 3.0)]
        for dies in [[], *([k] for k in range(1, 6)), list(range(1, 8))]:
            assert handle.replay(handle.handle, entries, dies) == handle.once(entries, dies)


@pytest.fixture(scope="module")
def table(lab):
    return leaky_table(lab, 5000)


class TestLeak:
    task = BY_ID["3.4"]

    def test_the_column_with_its_gap_is_correct_and_told_what_it_costs(self, table):
        training, served = table.aucs()[LEAK]
        reached, message = state(self.task, (LEAK, training - served), table)
        assert reached == CORRECT and "the next day" in message
        reported, live, mended = table.consequence()
        assert reported > mended > live  # flattered, and worse than without
        assert f"{reported:.3f}" in message and f"{live:.3f}" in message

    def test_the_shown_solution_finds_it(self, table, capsys):
        space = {"table": table}
        exec(find_leak.SOLUTION, space)
        assert state(self.task, space["answer"], table)[0] == CORRECT
        assert LEAK in capsys.readouterr().out

    def test_only_the_leak_is_wiser_in_training(self, table):
        aucs = table.aucs()
        assert aucs[LEAK][0] > aucs[LEAK][1] + 0.05 and aucs[STALE][0] <= aucs[STALE][1] + 0.01
        same = [n for n in aucs if np.allclose(table.training[n], table.served[n])]
        assert sorted({*aucs} - {*same}) == sorted([LEAK, STALE])
        assert aucs["user_rate"][0] == auc(table.clicked, table.served["user_rate"])

    def test_each_trap_has_its_own_reply(self, table):
        aucs = table.aucs()
        gap = aucs[LEAK][0] - aucs[LEAK][1]
        strongest = max(aucs, key=lambda name: aucs[name][0])
        for answer, said in (
            ((strongest, 0.1), "the strongest taken for the leak"),
            ((STALE, 0.1), "skew taken for a leak"),
            (("position", 0.0), "nothing can have leaked here"),
            (("clicks", 0.1), "There is no column 'clicks'"),
            ((LEAK, -gap), "The sign"),
            ((LEAK, aucs[LEAK][0]), "is its AUC in training"),
            ((LEAK, aucs[LEAK][1]), "is its AUC as served"),
            ((LEAK, 0.9), "The column is right"),
            ((LEAK, "much"), "expected a column and a difference"),
            (LEAK, "expected a column and a difference"),
            ((LEAK, np.nan), "expected a column and a difference"),
        ):
            reached, message = state(self.task, answer, table)
            assert reached == NOT_YET and said in message, (answer, message)

    def test_without_the_table_it_is_asked_for(self):
        assert "Give the table too" in state(self.task, (LEAK, 0.1))[1]


class TestMachines:
    task = BY_ID["3.5"]

    def test_the_share_that_waits_is_what_a_simulated_queue_shows(self):
        chance = np.random.default_rng(3)
        qps, service_ms, servers, limit_ms, n = 100.0, 25.0, 3, 20.0, 200_000
        came = np.cumsum(chance.exponential(1000 / qps, n))
        takes = chance.exponential(service_ms, n)
        free, waited = [0.0] * servers, np.zeros(n)
        for i in range(n):
            k = free.index(min(free))
            begins = max(free[k], came[i])
            waited[i], free[k] = begins - came[i], begins + takes[i]
        told = machines.ErlangC()(qps, service_ms, servers, limit_ms)
        assert (waited > limit_ms).mean() == pytest.approx(told, abs=0.02)

    def test_one_machine_less_breaks_the_promise(self):
        late = machines.ErlangC()
        for case in machines.CASES[:7]:
            qps, service_ms, cores, limit_ms, spare, _ = case.args
            n = machines.machines(*case.args) - spare
            assert late(qps.max(), service_ms, n * cores, limit_ms) <= machines.SHARE
            assert n == 1 or late(qps.max(), service_ms, (n - 1) * cores, limit_ms) > 0.01
            busy = machines.utilisation(qps, service_ms, cores, n)
            assert busy.max() < 1 and busy.argmax() == qps.argmax()

    def test_bisection_is_correct_too(self):
        def by_halves(qps, service_ms, cores, limit_ms, spare, late):
            low, high = 0, 1
            while late(qps.max(), service_ms, high * cores, limit_ms) > 0.01:
                high *= 2
            while high - low > 1:
                middle = (low + high) // 2
                fine = late(qps.max(), service_ms, middle * cores, limit_ms) <= 0.01
                low, high = (low, middle) if fine else (middle, high)
            return high + spare

        reached, message = state(self.task, by_halves)
        assert reached == CORRECT, message


def test_the_bucket_is_the_gateways_own():
    """Ten thousand requests of some devices through our buckets and through the function."""
    chance = np.random.default_rng(8)
    config = RateConfig(per_s=5.0, burst=30.0, slots=1 << 16)
    ours, tokens, last, now = TokenBuckets(config), np.full(50, 30.0), np.zeros(50), 10_000
    for _ in range(200):
        now += int(chance.integers(-50, 600))
        devices = chance.permutation(50)[:40]
        n = chance.integers(1, 12, 40)
        passed, left = take_tokens.take_tokens(
            tokens[devices], (now - last[devices]) / 1000, n, 5.0, 30.0
        )
        assert (passed == ours.take(devices, n, now)).all()
        tokens[devices], last[devices] = left, np.maximum(last[devices], now)
