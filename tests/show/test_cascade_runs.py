"""What the buttons of lesson 02 show: tables with a row a model, plots with a dot a model."""

import numpy as np
import pytest

from reclab.core.errors import DataError
from reclab.lab.calibration_study import Calibration
from reclab.lab.kept import kept, known
from reclab.lab.pre_ranking import PreRanked
from reclab.lab.zoo import Row
from reclab.show import cascade_runs as runs


def test_the_zoo_has_a_row_and_a_dot_for_each_ranker():
    found = {
        name: Row(0.8, 0.7, 0.5, 1000, us, 3.0, 0.7) for name, us in (("din", 9.0), ("ple", 5.0))
    }
    lines = runs.zoo_table(found).splitlines()
    assert [line.split()[0] for line in lines] == ["ranker", "DIN", "PLE"]
    plot = runs.zoo_plot(found)
    assert [trace.name for trace in plot.data] == ["DIN", "PLE"]
    assert plot.data[0].x == (9.0,) and plot.data[0].y == (0.7,)


def test_targets_are_listed_with_their_honesty():
    points = (np.array([0.1, 0.5]), np.array([0.1, 0.4]), np.array([9, 9]))
    how = ("raw", "isotonic", "platt")
    told, ece = dict.fromkeys(how, 0.21), dict.fromkeys(how, 0.01)
    one = {"p_click": Calibration(0.2, 100, told, ece, 0.002, dict.fromkeys(how, points))}
    found = runs.Targets({"exposed": one, "random": one}, {"p_click": 0.8}, None)
    assert "clicks" in runs.targets_table(found) and "0.800" in runs.targets_table(found)
    assert len(runs.reliability_plot(found).data) == 1 + 2 * 2


def test_results_are_computed_once_and_read_as_they_were(lab):
    calls = []

    def compute():
        calls.append(1)
        return {"a": PreRanked(0.9, 0.7, 0.6, 33, 0.5)}

    first = kept(lab, "test-of-kept", PreRanked, compute)
    again = kept(lab, "test-of-kept", PreRanked, compute)
    assert first == again == known(lab, "test-of-kept", PreRanked) and len(calls) <= 1
    assert known(lab, "never-measured", PreRanked) is None


def test_a_measurement_that_fails_keeps_nothing(lab):
    def compute():
        raise DataError("no rows")

    with pytest.raises(DataError):
        kept(lab, "test-of-failing", PreRanked, compute)
    assert known(lab, "test-of-failing", PreRanked) is None


def test_the_buttons_say_what_they_take_before_anything_is_measured(lab):
    for run in (runs.pre_rankers_run, runs.zoo_run, runs.targets_run, runs.re_rankers_run):
        once = run(lab)
        assert once.done or "minute" in str(once)
