"""What a reader sees of a lesson: as saved, after Run All, and while turning every knob, in both
themes. The same rules hold for the demonstration notebook, so that they are tested without one."""

import json
import shutil
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]
NOTEBOOKS = ("demo/demo.ipynb", "notebooks/02_cascade/02_cascade.ipynb")
PLOTLY = "application/vnd.plotly.v1+json"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
MOVES = 5


@dataclass
class Visit:
    """One reader's visit, recorded."""

    saved_plots: list[dict[str, Any]]
    saved_cells: list[dict[str, Any]]
    saved_errors: list[str]
    finished: bool = False
    failed_cells: list[str] = field(default_factory=list)
    plots: list[dict[str, Any]] = field(default_factory=list)
    cells: list[dict[str, Any]] = field(default_factory=list)
    moves: list[list[Any]] = field(default_factory=list)
    narrow_plots: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@pytest.fixture(
    scope="module",
    params=[(name, theme) for name in NOTEBOOKS for theme in ("light", "dark")],
    ids=lambda param: f"{Path(param[0]).stem}-{param[1]}",
)
def visit(request: pytest.FixtureRequest) -> Iterator[Visit]:
    path, theme = request.param
    folder: Path = request.getfixturevalue("notebooks")
    if not (folder / path).is_file():
        pytest.skip(f"{path} does not exist yet")
    reader = request.getfixturevalue("reader")
    name = f"{Path(path).stem}_{theme}"
    copy = Path(path).with_name(f"{name}.ipynb")  # JupyterLab saves what is open by itself
    shutil.copy(folder / path, folder / copy)
    reader.open(copy.as_posix())
    reader.theme(theme)
    visit = Visit(reader.screens(f"{name}_saved"), reader.cells(), list(reader.errors))
    visit.finished = reader.run_all(600)
    visit.failed_cells = reader.error_cells()
    visit.plots, visit.cells = reader.screens(f"{name}_run"), reader.cells()
    for handle in reader.explorer_handles():
        keys = ["ArrowRight", "ArrowLeft"] * MOVES
        visit.moves.append([reader.move(handle, key) for key in keys[:MOVES]])
    reader.screens(f"{name}_moved")
    reader.page.set_viewport_size({"width": 1000, "height": 900})
    visit.narrow_plots = reader.screens(f"{name}_narrow")
    reader.page.set_viewport_size({"width": 1440, "height": 1000})
    visit.errors = list(reader.errors)
    if reader.shots:
        ms = {m[0].label: [round(x.ms) for x in m if x.ms is not None] for m in visit.moves}
        (reader.shots / f"{name}_latency_ms.json").write_text(json.dumps(ms, ensure_ascii=False))
    reader.close_kernel()
    yield visit


def _outputs(cells: list[dict[str, Any]], mime: str) -> int:
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return sum(mime in output.get("data", {}) for output in outputs)


def test_every_saved_plot_is_drawn_without_running_anything(visit: Visit) -> None:
    drawn = [p for p in visit.saved_plots if p["marks"] and p["width"] > 300 and p["height"] > 100]
    assert len(drawn) == _outputs(visit.saved_cells, PLOTLY) > 0
    assert not any(plot["live"] for plot in drawn)
    assert _outputs(visit.saved_cells, WIDGET_VIEW) == 0
    assert visit.saved_errors == []


def test_run_all_finishes_without_a_failed_cell_or_console_error(visit: Visit) -> None:
    assert visit.finished
    assert visit.failed_cells == []
    assert visit.errors == []


def test_an_explorer_is_shown_live_and_only_once(visit: Visit) -> None:
    live = [plot for plot in visit.plots if plot["live"]]
    assert len(live) == _outputs(visit.cells, WIDGET_VIEW) > 0
    assert len(visit.plots) == _outputs(visit.cells, PLOTLY)
    assert {plot["plots_in_output"] for plot in live} == {1}
    assert all(plot["marks"] for plot in live)


def test_plots_fill_their_box_when_drawn_and_when_the_window_changes(visit: Visit) -> None:
    for plot in visit.plots + visit.narrow_plots:
        assert plot["width"] > 300, plot
        assert abs(plot["width"] - plot["box"]) <= 24, plot
    assert {p["box"] for p in visit.plots}.isdisjoint(p["box"] for p in visit.narrow_plots)


def test_no_plot_offers_to_upload_itself(visit: Visit) -> None:
    for plot in visit.saved_plots + visit.plots:
        words = " ".join(filter(None, plot["buttons"])).lower()
        assert "zoom" in words
        assert not any(word in words for word in ("share", "cloud", "lasso", "plotly"))


def test_the_words_of_every_plot_stand_out_from_the_page(visit: Visit) -> None:
    for plot in visit.saved_plots + visit.plots:
        assert plot["contrast"] >= 4, (plot["words"], plot["contrast"])


def test_each_slider_moves_its_number_and_repaints_by_keyboard(visit: Visit) -> None:
    assert visit.moves
    for moves in visit.moves:
        assert any(m.before != m.after for m in moves), moves[0]
        assert all(m.ms is not None for m in moves if m.before != m.after), moves
        assert all(move.label for move in moves), "a slider without a name"
    medians = [statistics.median(m.ms for m in moves if m.ms is not None) for moves in visit.moves]
    print(f"median ms from key to repaint, by slider: {[round(m) for m in medians]}")
