"""The saved lessons: executed, small, without machine traces, in the fixed order of parts."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("*/*.ipynb"))
LIMIT_BYTES = 300_000
MOST_LINES, USUAL_LINES = 15, 7
PARTS = ("Set-up", "The diagram", "The explorer", "Break it", "Key point")
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
ELSEWHERE = re.compile(r"(?:src|href)=[\"'](?:https?:)?//")


def lines_of(source: str | list[str]) -> str:
    return source if isinstance(source, str) else "".join(source)


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem)
def lesson(request) -> Path:
    return request.param


@pytest.fixture
def cells(lesson) -> list[dict]:
    return json.loads(lesson.read_text(encoding="utf-8"))["cells"]


@pytest.fixture
def code(cells) -> list[dict]:
    return [cell for cell in cells if cell["cell_type"] == "code"]


def outputs(code: list[dict]):
    for cell in code:
        yield from cell["outputs"]


def test_there_is_a_lesson_named_like_its_folder_with_a_readme():
    assert LESSONS
    for path in LESSONS:
        assert path.stem == path.parent.name
        assert (path.parent / "README.md").is_file()


def test_it_is_small_and_says_which_kernel(lesson):
    notebook = json.loads(lesson.read_text(encoding="utf-8"))
    assert lesson.stat().st_size < LIMIT_BYTES
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert "widgets" not in notebook["metadata"]


def test_it_was_run_from_top_to_bottom_without_an_error(code):
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not [o for o in outputs(code) if o["output_type"] == "error"]
    assert not [o for o in outputs(code) if o.get("name") == "stderr"]


def test_checked_cells_have_text_to_compare_and_no_figures(code):
    checked = [c for c in code if "nbval-check-output" in c["metadata"].get("tags", [])]
    assert len(checked) >= 5
    for cell in checked:
        assert cell["outputs"], lines_of(cell["source"])
        for output in cell["outputs"]:
            assert output["output_type"] == "stream", lines_of(cell["source"])


def test_no_widget_state_pictures_or_addresses_are_saved(code):
    for output in outputs(code):
        data = output.get("data", {})
        assert WIDGET_VIEW not in data and "image/png" not in data
        assert not ELSEWHERE.search(lines_of(data.get("text/html", "")))


def test_no_path_of_a_machine_is_saved(lesson):
    text = lesson.read_text(encoding="utf-8")
    assert not re.findall(r"(?<![\w.:/])/(?:home|Users|root|tmp|private|work)/\w+", text)


def test_the_parts_come_in_order(cells):
    heads = [
        line.lstrip("# ")
        for cell in cells
        if cell["cell_type"] == "markdown"
        for line in lines_of(cell["source"]).splitlines()
        if line.startswith("#")
    ]
    assert "·" in heads[0]
    places = [next((i for i, h in enumerate(heads) if h.startswith(p)), -1) for p in PARTS]
    assert -1 not in places, dict(zip(PARTS, places, strict=True))
    assert places == sorted(places)
    assert sum(h.startswith("Modify") for h in heads) >= 3
    levels = [
        len(line) - len(line.lstrip("#"))
        for cell in cells
        if cell["cell_type"] == "markdown"
        for line in lines_of(cell["source"]).splitlines()
        if re.match(r"#+ ", line)
    ]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))


def test_code_cells_are_short_and_define_no_classes(code):
    sources = [lines_of(cell["source"]) for cell in code]
    sizes = sorted(len(source.splitlines()) for source in sources)
    assert sizes[-1] <= MOST_LINES
    assert sizes[len(sizes) // 2] <= USUAL_LINES
    assert not [source for source in sources if re.search(r"^class ", source, re.M)]


def test_every_cell_says_what_it_is_on_a_slide(cells):
    kinds = {"slide", "subslide", "fragment", "skip", "notes"}
    for cell in cells:
        assert cell["metadata"].get("slideshow", {}).get("slide_type") in kinds


def test_one_cell_is_the_summary_and_the_teacher_has_notes(cells):
    tags = [tag for cell in cells for tag in cell["metadata"].get("tags", [])]
    assert tags.count("summary") == 1
    assert "teacher" in tags


def test_every_prediction_is_revealed(code):
    text = "\n".join(lines_of(cell["source"]) for cell in code)
    assert text.count("predict(") <= text.count(".reveal(")
