"""Rules of the control room, without a browser: what turning a knob does to figure and table."""

from collections.abc import Iterator
from dataclasses import dataclass

import ipywidgets as widgets
import numpy as np
import plotly.graph_objects as go
import pytest

from reclab.core.errors import ConfigError
from reclab.show.controls import Check, Choice, Slider, knobs_of
from reclab.show.explorer import WIDGET_VIEW, Explorer, shrinking
from reclab.show.live import LiveFigure
from reclab.show.readout import Row, cells, message_html, rows_html, rows_text
from reclab.show.theme import Series, panels


@dataclass(frozen=True)
class Sizes:
    """What the small explorer computes."""

    sizes: np.ndarray
    ms: float


class Small(Explorer):
    """Two sizes, a switch and a choice; counts its computations."""

    title = "Small"
    declared = (
        Slider("retrieve", 100, "after retrieval", "items", (50, 100, 200, 500)),
        Slider("rank", 20, "after ranking", values=(10, 20, 50, 100)),
        Slider("lam", 0.5, "λ", low=0.0, high=1.0, step=0.1),
        Check("popular", True, "popular items"),
        Choice("model", ("DIN", "tower"), "DIN", "model"),
    )
    funnel = ("retrieve", "rank")
    computed = 0

    def compute(self, params):
        self.computed += 1
        if not params["popular"]:
            raise ZeroDivisionError("no <channel>")
        if params["model"] == "tower":
            raise ConfigError("tower is not fitted")
        return Sizes(np.array([params["retrieve"], params["rank"]]), 0.1 * params["lam"])

    def figure_of(self):
        return panels(["Funnel"], ["stage"], ["items"], columns=1)

    def traces(self):
        return [Series("sizes", go.Bar(x=["retrieval", "ranking"]))]

    def series(self, result):
        return {"sizes": {"y": result.sizes}}

    def rows(self, result):
        total = float(result.sizes.sum())
        return [Row("candidates", total, 0), Row("time", result.ms, 2, "ms", measured=True)]


@pytest.fixture
def small() -> Iterator[Small]:
    yield Small()
    widgets.Widget.close_all()


def heights(explorer: Explorer) -> list[list[float]]:
    """The bars now and pinned."""
    return [list(trace.y) for trace in explorer.figure.data]


def test_controls_are_found_by_name_and_moving_one_redraws(small: Small) -> None:
    assert list(small.controls) == ["retrieve", "rank", "lam", "popular", "model"]
    small.controls["retrieve"].value = 200
    assert heights(small) == [[200, 20], [100, 20]]
    assert "candidates  220     120        +100" in small.summary()


def test_one_change_is_one_computation_and_one_message_to_the_page(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[object] = []
    monkeypatch.setattr(LiveFigure, "_send_update_msg", lambda self, *a, **k: sent.append(a))
    for other in ("restyle", "relayout"):
        monkeypatch.setattr(
            LiveFigure, f"_send_{other}_msg", lambda *a, **k: pytest.fail("not in the batch")
        )
    before = small.computed
    small.controls["retrieve"].value = 500
    assert small.computed == before + 1 and len(sent) == 1


def test_settings_seen_before_are_not_computed_again(small: Small) -> None:
    for value in (200, 100, 200, 100):
        small.controls["retrieve"].value = value
    assert small.computed == 2


def test_the_cache_forgets_the_oldest(small: Small) -> None:
    small.cache_size = 2
    for value in (200, 500, 100):
        small.controls["retrieve"].value = value
    assert small.computed == 4


def test_pin_makes_the_current_result_the_baseline(small: Small) -> None:
    small.controls["rank"].value = 50
    small.pin()
    assert heights(small) == [[100, 50], [100, 50]]
    small.controls["rank"].value = 10
    assert heights(small) == [[100, 10], [100, 50]]
    assert small.baseline.sizes[1] == 50 and small.result.sizes[1] == 10


def test_reset_brings_back_controls_and_baseline(small: Small) -> None:
    first = small.summary()
    small.set(retrieve=500, rank=100, lam=0.9)
    small.pin()
    small.controls["popular"].value = True
    small.reset()
    assert small.summary() == first and heights(small) == [[100, 20], [100, 20]]


def test_several_controls_are_set_with_one_computation(small: Small) -> None:
    before = small.computed
    assert small.set(retrieve=50, rank=50) is small
    assert small.computed == before + 1
    with pytest.raises(KeyError, match="no control 'keep'.*retrieve, rank"):
        small.set(keep=3)


def test_sizes_that_grow_are_said_beside_the_controls_and_nothing_is_raised(small: Small) -> None:
    small.controls["retrieve"].value = 50
    small.controls["rank"].value = 100
    said = small._message.value
    assert "“after ranking” (100) must not be larger than “after retrieval” (50)" in said
    assert 'role="alert"' in said and small.summary().startswith("These settings")
    assert heights(small)[0] == [50, 20]  # the last that worked
    small.controls["rank"].value = 50
    assert small.message == "" and small._message.value == "" and heights(small)[0] == [50, 50]


def test_an_error_that_the_package_raises_on_purpose_is_a_message(small: Small) -> None:
    small.controls["model"].value = "tower"
    assert "tower is not fitted" in small.message


def test_any_other_exception_is_shown_with_its_details_and_raised(small: Small) -> None:
    with pytest.raises(ZeroDivisionError):
        small.controls["popular"].value = False
    said = small._message.value
    assert "ZeroDivisionError: no &lt;channel&gt;" in said and "<details>" in said
    small.controls["popular"].value = True
    assert small.message == ""


def test_summary_is_text_without_what_the_machine_decides(small: Small) -> None:
    text = small.summary()
    assert "time" not in text and "after retrieval  100 items  100 items" in text
    assert "time (ms)" in small._table.value and "<table" in small._table.value


def test_the_bundle_has_a_live_a_static_and_a_text_form(small: Small) -> None:
    small.controls["retrieve"].value = 200
    bundle = small._repr_mimebundle_()
    assert set(bundle) == {WIDGET_VIEW, "application/vnd.plotly.v1+json", "text/plain"}
    assert bundle[WIDGET_VIEW]["model_id"] == small.box.model_id
    assert len(bundle["application/vnd.plotly.v1+json"]["data"]) == 2
    assert bundle["text/plain"] == small.summary()


def test_a_page_loaded_again_gets_the_figure_as_it_is_now(small: Small) -> None:
    small.controls["retrieve"].value = 500
    state = small.figure.get_state()
    assert list(state["_widget_data"][0]["y"]) == [500, 20]


def test_typing_in_the_number_box_goes_to_the_nearest_place(small: Small) -> None:
    _, box = small.knobs["retrieve"].box.children
    box.value = 180
    assert small.controls["retrieve"].value == box.value == 200
    small.controls["retrieve"].value = 500
    assert box.value == 500
    _, lam = small.knobs["lam"].box.children
    lam.value = 0.8
    assert small.params["lam"] == pytest.approx(0.8)


def test_every_slider_has_a_label_and_a_number_box(small: Small) -> None:
    for name in ("retrieve", "rank", "lam"):
        slider, box = small.knobs[name].box.children
        assert slider.description and box.tooltip == slider.description
    assert small.controls["retrieve"].description == "after retrieval (items)"


def test_labels_and_messages_are_chinese_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECLAB_LANG", "zh")
    explorer = Small()
    assert "当前" in explorer.summary() and "设为基线" in explorer._buttons["pin"].description
    explorer.controls["rank"].value = 100
    explorer.controls["retrieve"].value = 50
    assert "不能大于" in explorer.message
    widgets.Widget.close_all()


def test_a_slow_explorer_waits_for_its_button_and_shows_progress() -> None:
    steps: list[tuple[int, str]] = []

    class Slow(Small):
        slow = True

        def compute(self, params, progress):
            progress(0.5, "half way")
            steps.append((self._bar.value, self._bar.description))
            return super().compute(params)

    slow = Slow()
    slow.controls["retrieve"].value = 200
    assert slow.computed == 1 and "press Run" in slow.message
    assert heights(slow)[0] == [100, 20]
    slow._buttons["run"].click()
    assert slow.computed == 2 and heights(slow)[0] == [200, 20] and slow.message == ""
    assert steps[-1] == (50, "half way") and slow._bar.layout.visibility == "hidden"
    assert slow._buttons["run"].disabled is False
    widgets.Widget.close_all()


def test_functions_make_an_explorer_without_a_class() -> None:
    explorer = Explorer(
        [Slider("n", 2, low=1, high=9, step=1)],
        compute=lambda params: params["n"] ** 2,
        rows=lambda result: [Row("square", result, 0)],
    )
    explorer.controls["n"].value = 5
    assert "square    25       4         +21" in explorer.summary()
    with pytest.raises(TypeError, match="draws"):
        Explorer([], compute=len, draws=print)
    widgets.Widget.close_all()


def test_a_threshold_line_moves_inside_the_same_update() -> None:
    class Line(Small):
        def figure_of(self):
            line = {"type": "line", "x0": 0.5, "x1": 0.5, "y0": 0, "y1": 1, "yref": "paper"}
            return super().figure_of().add_shape(line)

        def draw(self, figure, result, baseline):
            super().draw(figure, result, baseline)
            figure.layout.shapes[0].x0 = figure.layout.shapes[0].x1 = float(result.sizes[0])

    line = Line()
    line.controls["retrieve"].value = 200
    assert line.figure.layout.shapes[0].x0 == 200
    widgets.Widget.close_all()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: Slider("k", 3, values=(1, 2)), "value must be a place, got 3"),
        (lambda: Slider("k", 2, values=(2, 1)), "values must ascend"),
        (lambda: Slider("k", 5, low=0, high=1), r"must be in \[0, 1\], got 5"),
        (lambda: Slider("k", 1, low=1, high=1), "high must be > low"),
        (lambda: Slider("k", 0, low=0, high=1, step=0), "step must be > 0"),
        (lambda: Choice("m", ("a", "b"), "c"), "must be one, got 'c'"),
        (lambda: knobs_of([Check("a"), Check("a")]), "got twice: a"),
    ],
)
def test_a_wrong_declaration_says_field_and_value(wrong, words) -> None:
    with pytest.raises(ConfigError, match=words):
        wrong()


def test_a_slider_yields_whole_numbers_when_all_it_was_given_are_whole() -> None:
    knobs = knobs_of(
        [Slider("k", 2, values=(1, 2)), Slider("x", 0.5), Slider("y", 1, values=(1, 2.5))]
    )
    assert [type(knob.value) for knob in knobs.values()] == [int, float, int]
    assert [knob.control.whole for knob in knobs.values()] == [True, False, False]
    widgets.Widget.close_all()


def test_rows_agree_after_rounding_and_never_say_minus_zero() -> None:
    assert cells(Row("a", 0.0449, 2), Row("a", 0.035, 2)) == ("a", "0.04", "0.04", "0")
    assert cells(Row("a", -0.001, 1), Row("a", 0.0, 1))[1:] == ("0.0", "0.0", "0")
    assert cells(Row("t", 12345.6, 0, "ms"), Row("t", 1.0, 0))[:2] == ("t (ms)", "12,346")
    assert rows_text([], []) == rows_html([], []) == ""


def test_messages_and_rows_are_escaped() -> None:
    hostile = "<script>alert(1)</script>"
    assert "<script" not in message_html(hostile, hostile, hostile)
    assert "<script" not in rows_html([Row(hostile, 1)], [Row(hostile, 1)])


def test_shrinking_accepts_equal_sizes() -> None:
    assert shrinking({"a": 5, "b": 5, "c": 1}, ["a", "b", "c"]) is None
