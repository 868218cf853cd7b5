"""What a reader sees of a lesson: as saved, after Run All, and while turning every knob, in both
themes. The same rules hold for the demonstration notebook, so that they are tested without one."""

import json
import shutil
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PLOTLY = "application/vnd.plotly.v1+json"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
THEMES = ("light", "dark")


@dataclass
class Visit:
    """One reader's visit, recorded; what depends on the theme is kept by theme."""

    saved_cells: list[dict[str, Any]]
    saved_plots: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    saved_errors: list[str] = field(default_factory=list)
    finished: bool = False
    failed_cells: list[str] = field(default_factory=list)
    cells: list[dict[str, Any]] = field(default_factory=list)
    plots: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    moves: dict[str, list[list[Any]]] = field(default_factory=dict)
    narrow_plots: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def _read(reader: Any, visit: Visit, name: str) -> None:
    """Look at the notebook as it was saved."""
    for theme in THEMES:
        reader.theme(theme)
        visit.saved_plots[theme] = reader.screens(f"{name}_saved_{theme}")
    visit.saved_errors = list(reader.errors)


def _run(reader: Any, visit: Visit, name: str) -> None:
    """Run it, turn every knob in both themes, make the window narrower."""
    visit.finished = reader.run_all(1500)  # on a new machine it builds the lab first
    visit.failed_cells, visit.cells = reader.error_cells(), reader.cells()
    # in the second theme a few knobs must do: what they draw is the same
    for theme, every in zip(THEMES, (1, 6), strict=True):
        reader.theme(theme)
        visit.moves[theme] = [
            [reader.move(handle, key) for key in ("ArrowRight", "ArrowLeft")]
            for n, handle in enumerate(reader.explorer_handles())
            if n % every == 0
        ]
        visit.plots[theme] = reader.screens(f"{name}_run_{theme}")
    reader.page.set_viewport_size({"width": 1000, "height": 900})
    reader.page.wait_for_timeout(1500)
    visit.narrow_plots = reader.screens(f"{name}_narrow")
    reader.page.set_viewport_size({"width": 1440, "height": 1000})
    visit.errors = list(reader.errors)


def _outputs(cells: list[dict[str, Any]], *mimes: str) -> int:
    """How many outputs have all these forms."""
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return sum(all(mime in output.get("data", {}) for mime in mimes) for output in outputs)


@pytest.mark.browser
@pytest.mark.slow
class Visits:
    """A lesson's visit and what must be true of it; a subclass names the ``notebook``. Each has a
    file of its own, so that several processes can share them."""

    notebook: str

    @pytest.fixture(scope="class")
    @classmethod
    def visit(cls, request: pytest.FixtureRequest) -> Visit:
        path = Path(cls.notebook)
        folder: Path = request.getfixturevalue("notebooks")
        reader = request.getfixturevalue("reader")
        copy = path.with_name(f"copy_of_{path.name}")  # JupyterLab saves what is open by itself
        shutil.copy(folder / path, folder / copy)
        reader.open(copy.as_posix())
        visit = Visit(reader.cells())
        _read(reader, visit, path.stem)
        _run(reader, visit, path.stem)
        reader.close_kernel()
        if reader.shots:
            ms = {m[0].label: [round(x.ms) for x in m if x.ms] for m in visit.moves["light"]}
            (reader.shots / f"{path.stem}_latency_ms.json").write_text(json.dumps(ms))
        return visit

    def test_every_saved_plot_is_drawn_without_running_anything(self, visit: Visit) -> None:
        for plots in visit.saved_plots.values():
            drawn = [p for p in plots if p["marks"] and p["width"] > 300 and p["height"] > 100]
            assert len(drawn) == _outputs(visit.saved_cells, PLOTLY) > 0
            assert not any(plot["live"] for plot in drawn)
        assert _outputs(visit.saved_cells, WIDGET_VIEW) == 0
        assert visit.saved_errors == []

    def test_run_all_finishes_without_a_failed_cell_or_console_error(self, visit: Visit) -> None:
        assert visit.finished
        assert visit.failed_cells == []
        assert visit.errors == []

    def test_an_explorer_is_shown_live_and_only_once(self, visit: Visit) -> None:
        for plots in visit.plots.values():
            live = [plot for plot in plots if plot["live"]]
            assert len(live) == _outputs(visit.cells, WIDGET_VIEW, PLOTLY) > 0
            assert len(plots) == _outputs(visit.cells, PLOTLY)
            assert {plot["plots_in_output"] for plot in live} == {1}
            assert all(plot["marks"] for plot in live)

    def test_plots_fill_their_box_also_when_the_window_changes(self, visit: Visit) -> None:
        for plot in [*visit.plots["light"], *visit.narrow_plots]:
            assert plot["width"] > 300, plot
            assert abs(plot["width"] - plot["box"]) <= 24, plot
        wide, narrow = ({p["box"] for p in ps} for ps in (visit.plots["light"], visit.narrow_plots))
        assert wide.isdisjoint(narrow)

    def test_no_plot_offers_to_upload_itself(self, visit: Visit) -> None:
        for plot in visit.saved_plots["light"] + visit.plots["light"]:
            words = " ".join(filter(None, plot["buttons"])).lower()
            assert "zoom" in words
            assert not any(word in words for word in ("share", "cloud", "lasso", "plotly"))

    @pytest.mark.parametrize("theme", THEMES)
    def test_words_of_plots_stand_out_from_the_page(self, visit: Visit, theme: str) -> None:
        for plot in visit.saved_plots[theme] + visit.plots[theme]:
            assert plot["contrast"] >= 4, (plot["words"], plot["contrast"])

    @pytest.mark.parametrize("theme", THEMES)
    def test_sliders_move_their_number_and_repaint_by_key(self, visit: Visit, theme: str) -> None:
        sliders = visit.moves[theme]
        assert sliders
        for moves in sliders:
            assert any(m.before != m.after for m in moves), moves[0]
            assert all(m.ms is not None for m in moves if m.before != m.after), moves
            assert all(move.label for move in moves), "a slider without a name"
        medians = [statistics.median(m.ms for m in moves if m.ms is not None) for moves in sliders]
        print(f"median ms from key to repaint, by slider: {[round(m) for m in medians]}")
