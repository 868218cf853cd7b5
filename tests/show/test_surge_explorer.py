"""The control room of lesson 04 at the smoke scale: what it draws is what the policies do."""

import numpy as np
import pytest

from reclab.lab.action_values import action_table
from reclab.lab.evening import POLICIES, Evening, Knobs
from reclab.show.surge_explorer import SHOWN, THIN, SurgeExplorer


@pytest.fixture(scope="module")
def explorer(lab):
    table = action_table(lab, "held_out", progress=False)
    gain = table.value - table.fallback[:, None]
    return SurgeExplorer(Evening(table, {"learned": gain, "lies": -gain}))


@pytest.fixture(autouse=True)
def as_it_opens(explorer):
    explorer.reset()


def line(explorer, name, panel):
    return explorer.figure.data[explorer._lines[name, panel]]


def test_lines_are_those_of_the_policies_shown(explorer):
    for name in POLICIES:
        assert line(explorer, name, 0).visible == (name in SHOWN)
    explorer.set(height=6.0)
    run = explorer.evening.run("thresholds", Knobs(height=6.0))
    drawn = line(explorer, "thresholds", 3)
    assert drawn.y == pytest.approx(np.maximum(run.cpu, run.gpu)[::THIN])
    dots = explorer.figure.data[explorer.index["all"][0]]
    assert len(dots.x) == len(SHOWN)


def test_a_switch_adds_its_policy_to_plots_and_table_also_of_the_baseline(explorer):
    explorer.set(overflow=True, never=False)
    assert line(explorer, "overflow", 2).visible and not line(explorer, "never", 2).visible
    text = explorer.summary()
    assert "random overflow: value kept" in text and "never: value kept" not in text
    assert "nan" not in text.split()


def test_a_knob_moves_the_policy_that_reads_it_and_no_other(explorer):
    before = explorer.result
    after = explorer.set(on=0.95).result
    assert after.run("thresholds") is not before.run("thresholds")
    assert after.run("quality factor") is before.run("quality factor")
    assert explorer.set(told="lies").result.kept("DCAF + MaxPower") < before.kept("DCAF + MaxPower")


def test_what_cannot_be_is_said_and_the_last_plot_stays(explorer):
    before = explorer.result
    explorer.set(**dict.fromkeys(POLICIES, False))
    assert "at least one policy" in explorer.message and explorer.result is before
    explorer.reset()
    assert not explorer.message
