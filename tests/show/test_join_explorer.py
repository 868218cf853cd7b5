"""The control room of the sample join at the smoke scale: what it draws is what the panel joins."""

from time import process_time

import numpy as np
import pytest

from reclab.lab.join_panel import FATES, RULES, JoinKnobs
from reclab.show.join_explorer import JoinExplorer, delay_words

N = 1500


@pytest.fixture(scope="module")
def explorer(lab):
    return JoinExplorer(lab, N, progress=False)


@pytest.fixture(autouse=True)
def as_it_opens(explorer):
    explorer.reset()


def now(explorer, name):
    return explorer.figure.data[explorer.index[name][0]]


def pinned(explorer, name):
    return explorer.figure.data[explorer.index[name][1]]


MOVES = {
    "window_min": 1, "rule": "hazard", "gap_min": 2, "chance": 0.1, "worth_min": 10, "median": 8.0,
    "tail": 1.5, "loss": 0.3, "copies": 0.3, "skew_s": -60, "skewed": 0.5, "forgive_s": 60,
    "disorder_s": 120, "allowed_s": 60,
}  # fmt: skip
TOGETHER = {  # what a knob needs to matter
    "copies": {"loss": 0.3}, "skewed": {"skew_s": -60}, "forgive_s": {"skew_s": -60},
}  # fmt: skip


@pytest.mark.parametrize("name", MOVES)
def test_every_knob_changes_what_is_drawn(explorer, name):
    def drawn():
        shown = (now(explorer, one) for one in explorer.index)
        return [np.array([*t.x, *t.y], object).tolist() for t in shown]

    explorer.set(**TOGETHER.get(name, {}))
    before, start = drawn(), process_time()
    explorer.set(**{name: MOVES[name]})
    print(f"{name}: {1e3 * (process_time() - start):.0f} ms of compute and drawing")
    assert str(drawn()) != str(before)


def test_what_is_drawn_is_the_panels_and_the_baseline_stays(explorer):
    start = explorer.result
    explorer.set(window_min=2, rule="priced", loss=0.1)
    day = explorer.panel.serve(JoinKnobs(window_min=2, rule="priced", loss=0.1))
    assert now(explorer, "join.reports").y == pytest.approx(day.shares)
    assert now(explorer, "join.here").y[0] == day.quality.auc
    at = RULES.index("priced")
    assert now(explorer, "join.chosen").y[0] == day.points[at, 1] == day.shares[0]
    assert pinned(explorer, "join.reports").y == pytest.approx(start.shares)
    assert pinned(explorer, "join.here").y[0] == start.quality.auc
    assert len(now(explorer, "join.missed").y) == len(delay_words()) == 13


def test_the_baseline_has_open_symbols(explorer):
    for name in ("join.here", "join.fixed", "join.priced"):
        symbol = now(explorer, name).marker.symbol
        assert pinned(explorer, name).marker.symbol == f"{symbol}-open"
    assert len({now(explorer, f"join.{rule}").marker.symbol for rule in RULES}) == 4


def test_every_step_of_every_slider_repaints_even_where_the_day_stays(explorer):
    title = explorer.figure.layout.title
    assert title.text == "as pinned"
    explorer.set(copies=0.01)  # nothing is lost, so copies change nothing
    assert title.text == "reports sent twice 0.01"
    explorer.set(copies=0.0, skew_s=10, window_min=5)
    assert title.text == "longest wait 5 min; wrong clocks are off by 10 s"
    explorer.pin()
    assert title.text == "as pinned"


def test_the_table_says_what_is_watched_beside_what_happened(explorer):
    text = explorer.set(loss=0.3).summary()
    assert "join rate as it is watched (%)" in text and "lost on the way (%)" in text
    assert "AUC of the model" in text and "nan" not in text.split()
    day = explorer.result
    assert day.join_rate > day.shares[0] + 0.2  # the watched number does not move


def test_the_grey_path_is_the_fixed_windows(explorer):
    grey = next(t for t in explorer.figure.data if t.name == "fixed windows, undisturbed")
    assert grey.y[list(grey.x).index(20)] == explorer.result.quality.auc


def test_labels_are_in_the_readers_language(lab, monkeypatch):
    monkeypatch.setenv("RECLAB_LANG", "zh")
    other = JoinExplorer(lab, N, progress=False)
    assert "关窗规则" in other.summary() and "固定窗口" in other.summary()
    assert list(now(other, "join.reports").x)[0] == "及时" and len(FATES) == 6
