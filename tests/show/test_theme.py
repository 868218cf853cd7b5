"""Rules of the look: small, readable on both themes, nothing that uploads or fetches."""

import json
import re

import numpy as np
import plotly.graph_objects as go
import pytest
from IPython.core.interactiveshell import InteractiveShell

from reclab.show.labels import add_labels, label, text_table, text_width
from reclab.show.slate import COLOURS
from reclab.show.theme import CONFIG, PALETTE, TEXT, Series, add_pairs, figure, panels, template

PLOTLY = "application/vnd.plotly.v1+json"
WHITE, DARK = "#FFFFFF", "#111111"  # page colours of JupyterLab Light and Dark


def contrast(one: str, two: str) -> float:
    """WCAG 2's ratio of two hex colours."""

    def light(colour: str) -> float:
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    high, low = sorted((light(one), light(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def shown(thing: object) -> dict[str, object]:
    """What IPython would send to the page for an object."""
    return InteractiveShell.instance().display_formatter.format(thing)[0]


def test_the_template_is_a_sixth_of_plotlys_own() -> None:
    assert len(json.dumps(template().to_plotly_json())) < 1200


def test_contrast_is_the_known_one() -> None:
    assert contrast(WHITE, "#000000") == pytest.approx(21)
    assert contrast(WHITE, "#767676") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("page", [WHITE, DARK])
def test_text_and_colours_read_on_both_themes(page: str) -> None:
    assert contrast(TEXT, page) > 4.2
    assert all(contrast(colour, page) > 2.4 for colour in PALETTE)
    assert all(contrast(colour, page) >= 3 for colour in COLOURS)


def test_white_words_read_on_every_business_colour() -> None:
    assert all(contrast(WHITE, colour) >= 4.5 for colour in COLOURS)


def test_palette_stays_apart_for_readers_without_red_or_green_cones() -> None:
    # Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB: protan, deutan
    protan = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
              [-0.003882, -0.048116, 1.051998]]  # fmt: skip
    deutan = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
              [-0.011820, 0.042940, 0.968881]]  # fmt: skip
    rgb = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in PALETTE[:6]]) / 255
    for matrix in (protan, deutan):
        seen = np.clip((rgb**2.2) @ np.array(matrix).T, 0, 1) ** (1 / 2.2)
        apart = np.linalg.norm(seen[:, None] - seen[None], axis=2)
        assert apart[np.triu_indices(6, 1)].min() > 0.1


def test_a_figure_displays_as_plotly_json_and_text_only() -> None:
    fig = figure(go.Bar(x=["a"], y=[1.0]), title="T", x="group", y="share")
    bundle = shown(fig)
    assert set(bundle) == {PLOTLY, "text/plain"}
    assert bundle["text/plain"] == "plot: T, share against group"
    assert figure(alt="a flat line")._repr_mimebundle_()["text/plain"] == "a flat line"


def test_nothing_uploads_selects_or_names_an_address() -> None:
    bundle = shown(figure(go.Scatter(x=[1, 2], y=[3, 4])))[PLOTLY]
    removed = bundle["config"]["modeBarButtonsToRemove"]
    assert {"sendChartToCloud", "lasso2d", "select2d"} <= set(removed)
    assert bundle["config"] == CONFIG and CONFIG["displaylogo"] is False
    assert not re.search(r"https?:|plot\.ly", json.dumps(bundle))


def test_the_same_figure_is_the_same_json_every_time() -> None:
    def make() -> str:
        return json.dumps(shown(figure(go.Scatter(x=[1, 2], y=[3, 4], uid="random")))[PLOTLY])

    assert make() == make() and "uid" not in make()


def test_panels_carry_their_titles_and_units() -> None:
    fig = panels(["A", "B", "C"], ["x1", "x2", "x3"], ["y1", "y2", "y3"], columns=2, height=200)
    assert [a.text for a in fig.layout.annotations] == ["A", "B", "C"]
    assert fig.layout.xaxis3.title.text == "x3" and fig.layout.yaxis2.title.text == "y2"
    assert fig.layout.height == 400


def test_every_trace_has_a_ghost_that_colour_alone_does_not_tell_apart() -> None:
    fig = panels(["A", "B"], ["", ""], ["", ""])
    line = go.Scatter(x=[1, 2], mode="lines+markers")
    index = add_pairs(fig, [Series("bar", go.Bar(x=["a"])), Series("line", line, col=2)])
    assert index == {"bar": (0, 1), "line": (2, 3)}
    bar, bar_ghost, now, ghost = fig.data
    assert bar.offsetgroup == bar_ghost.offsetgroup  # over one another, not side by side
    assert bar_ghost.marker.color == "rgba(0,0,0,0)" and bar_ghost.marker.line.width > 0
    assert (now.line.dash, ghost.line.dash) == (None, "dot")
    assert ghost.marker.symbol == "circle-open" and ghost.line.color == now.line.color
    assert [t.showlegend for t in fig.data] == [False, True, False, False]
    assert ghost.xaxis == now.xaxis == "x2"
    assert line.name is None  # the caller's trace is left as it was


def test_two_series_in_one_panel_are_named_in_the_legend() -> None:
    fig = panels(["A"], [""], [""], columns=1)
    add_pairs(fig, [Series("one", go.Scatter()), Series("two", go.Scatter())])
    assert [t.name for t in fig.data if t.showlegend is not False] == ["one", "pinned", "two"]


def test_labels_change_with_the_language(monkeypatch: pytest.MonkeyPatch) -> None:
    add_labels({"test recall": ("recall", "召回")})
    monkeypatch.delenv("RECLAB_LANG", raising=False)
    assert label("test recall") == "recall"
    monkeypatch.setenv("RECLAB_LANG", "zh_CN")
    assert label("test recall") == "召回" and label("pin") == "设为基线"
    assert label("no such key") == "no such key"


def test_text_tables_align_chinese_words() -> None:
    lines = text_table([("召回", "1"), ("rank", "100")]).splitlines()
    assert [text_width(line) for line in lines] == [9, 9]
    assert lines == ["召回    1", "rank  100"]
