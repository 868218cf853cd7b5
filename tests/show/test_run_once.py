"""A long measurement behind a button: told before, run once, shown after."""

import pytest

from reclab.show.explorer import WIDGET_VIEW
from reclab.show.run_once import RunOnce
from reclab.show.theme import figure

PLOTLY = "application/vnd.plotly.v1+json"


def made(known=None, fails=False):
    calls = []

    def compute(progress):
        calls.append(1)
        progress(0.5, "half")
        if fails:
            raise ValueError("no <rows>")
        return {"a": 1.0}

    def plot(result):
        return figure({"type": "bar", "x": list(result), "y": list(result.values())})

    once = RunOnce("Train", "2 minutes", compute, plot, lambda r: f"a is {r['a']}", known)
    return once, calls


def test_before_the_run_there_is_a_button_and_what_it_will_take():
    once, calls = made()
    bundle = once._repr_mimebundle_()
    assert WIDGET_VIEW in bundle and PLOTLY not in bundle
    assert "2 minutes" in bundle["text/plain"] and not once.done and not calls


def test_a_known_result_is_a_static_plot_and_nothing_is_computed():
    once, calls = made(known={"a": 3.0})
    bundle = once._repr_mimebundle_()
    assert bundle[PLOTLY]["data"][0]["y"] == [3.0] and WIDGET_VIEW not in bundle
    assert once.run() == {"a": 3.0} and not calls and str(once) == "a is 3.0"


def test_the_button_computes_once_and_shows_plot_and_table():
    once, calls = made()
    _ = once.box
    once.button.click()
    plot, table = once._place.children
    assert list(plot.data[0].y) == [1.0] and "a is 1.0" in table.value
    assert once._bar.value == 50 and once.button.disabled
    once.run()
    assert len(calls) == 1


def test_a_failure_is_said_and_the_button_comes_back():
    once, _ = made(fails=True)
    _ = once.box
    with pytest.raises(ValueError):
        once._press()
    assert "no &lt;rows&gt;" in once._message.value
    assert not once.button.disabled and not once.done


def test_a_lesson_that_is_saved_does_not_wait_for_the_button(monkeypatch):
    monkeypatch.setenv("RECLAB_MEASURE", "1")
    once, calls = made()
    assert once.done and len(calls) == 1
