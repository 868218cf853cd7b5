"""Lessons without a browser: executed, written as a page that fetches nothing, saved tidily."""

import os
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from reclab.lab import export, notebooks

HOME = str(Path.home())
FIGURE = {"data": [{"y": [1, 3, 2]}], "layout": {"title": {"text": "a plot"}}, "config": {}}
SHOW = f"from IPython.display import display\ndisplay({{{export.PLOTLY!r}: {FIGURE!r}}}, raw=True)"


def lesson(root: Path, name: str, *sources: str, tags: tuple[str, ...] = ("summary",)) -> Path:
    """A lesson with one code cell a source; the last one is tagged."""
    cells = [new_markdown_cell("# Title\n\n$\\lambda$ and\n\n$$\\sum_i x_i$$")]
    cells += [new_code_cell(source) for source in sources]
    cells[-1].metadata.tags = list(tags)
    path = root / "notebooks" / name / f"{name}.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(new_notebook(cells=cells), path)
    return path


@pytest.fixture
def root(tmp_path: Path, monkeypatch) -> Path:
    """A checkout of its own; the user's environment is left as it was."""
    names = ("RECLAB_DATA", "RECLAB_SCALE", "RECLAB_LANG", "RECLAB_MEASURE", "PLOTLY_RENDERER")
    for name in names:
        monkeypatch.setenv(name, "")  # so that what main() sets is undone
    find, tidy = notebooks.find, notebooks.tidy
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    monkeypatch.setattr(notebooks, "find", lambda number="": find(number, tmp_path))
    monkeypatch.setattr(notebooks, "tidy", lambda nb: tidy(nb, tmp_path))
    return tmp_path


def saved(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def test_a_lesson_is_found_by_number_or_name(tmp_path: Path):
    path = lesson(tmp_path, "02_cascade", "1")
    lesson(tmp_path, "03_offline_online", "1")
    for number in ("2", "02", "cascade", "02_cascade"):
        assert notebooks.find(number, tmp_path) == [path]
    assert len(notebooks.find("", tmp_path)) == 2
    with pytest.raises(notebooks.LessonError, match="there are: 02_cascade, 03_offline_online"):
        notebooks.find("07", tmp_path)


@pytest.mark.slow
def test_run_writes_a_page_that_fetches_nothing_and_prints_the_summary(root: Path, capsys):
    environment = "import os\nprint('on', os.environ['RECLAB_SCALE'], os.environ['RECLAB_DATA'])"
    lesson(root, "02_cascade", SHOW, "print('value', 1)", environment)
    (root / "logs").mkdir()
    argv = ["run", "2", "--data", str(root / "logs"), "--scale", "tiny", "--out", str(root / "out")]
    assert notebooks.main(argv) == 0
    assert capsys.readouterr().out.endswith(f"\n\non tiny {root / 'logs'}\n")
    page = (root / "out" / "02_cascade.html").read_text(encoding="utf-8")
    assert export.fetched(page) == []
    assert 'Plotly.newPlot(                        "plot-1-0"' in page.replace("\n", "")
    assert page.count("<math") == 2 and "plotly.js v" in page


@pytest.mark.slow
def test_a_failed_cell_is_named_and_the_page_up_to_it_is_kept(root: Path, capsys):
    lesson(root, "02_cascade", "print('before')", "# this one\n1 / 0", "print('after')")
    assert notebooks.main(["run", "2", "--out", str(root / "out")]) == 1
    said = capsys.readouterr().err
    assert "02_cascade.ipynb: cell 3 of 4 failed: ZeroDivisionError: division by zero" in said
    assert "the cell begins: # this one" in said and "\x1b" not in said
    page = (root / "out" / "02_cascade.html").read_text(encoding="utf-8")
    assert "before" in page and "ZeroDivisionError" in page


@pytest.mark.slow
def test_refresh_saves_what_is_the_same_on_every_machine(root: Path, monkeypatch):
    monkeypatch.setenv("RECLAB_SCALE", "full")
    here = "import os\nprint(os.getcwd(), os.environ.get('RECLAB_SCALE'))"
    path = lesson(root, "02_cascade", here, "", SHOW, "41 + 1")
    assert notebooks.main(["refresh", "cascade"]) == 0
    first, nb = path.read_text(encoding="utf-8"), saved(path)
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [1, None, 2, 3]
    assert code[0].outputs[0].text == os.path.join(".", "notebooks", "02_cascade") + " None\n"
    assert code[3].outputs[0].execution_count == 3
    assert nb.metadata.kernelspec.name == "python3"
    assert notebooks.main(["refresh"]) == 0
    assert path.read_text(encoding="utf-8") == first


def test_a_path_that_is_not_there_is_one_sentence(root: Path, capsys):
    assert notebooks.main(["run", "2", "--data", "no/such"]) == 1
    assert capsys.readouterr().err == "--data: there is no file or folder 'no/such'\n"


def test_tidy_drops_widget_state_and_copies_of_plots(tmp_path: Path):
    rich = {
        export.PLOTLY: FIGURE,
        export.WIDGET: {"model_id": "1"},
        "text/html": "a copy",
        "image/png": "aGk=",
        "text/plain": "Figure",
    }
    cell = new_code_cell("show()", execution_count=9)
    cell.outputs = [
        new_output("execute_result", rich, execution_count=9),
        new_output("display_data", {export.WIDGET: {"model_id": "2"}}),
        new_output("display_data", {"image/png": "aGk="}),
        new_output("stream", name="stderr", text=f"{HOME}/x {tmp_path}/y ipykernel_7/12.py:3: oh"),
    ]
    cell.metadata.execution = {"iopub.execute_input": "2020"}
    nb = new_notebook(cells=[cell], metadata={"widgets": {"state": {}}, "other": 1})
    tidy = notebooks.tidy(nb, tmp_path)
    assert set(tidy.metadata) == {"kernelspec", "language_info"}
    result, picture, stream = tidy.cells[0].outputs
    assert set(result.data) == {export.PLOTLY, "text/plain"} and result.execution_count == 1
    assert set(picture.data) == {"image/png"}, "a picture that stands for itself stays"
    assert stream.text == "~/x ./y cell:3: oh"
    assert "execution" not in tidy.cells[0].metadata


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x" * notebooks.LIMIT_BYTES, r"300\.\d KB, more than 300 KB; .* that of cell 2"),
        ("made in /ho" + "me/ann/lab", "cell 2 shows a path of this machine"),
    ],
)
def test_what_is_unfit_is_refused_and_the_old_file_stays(tmp_path: Path, text: str, reason: str):
    path = tmp_path / "a.ipynb"
    path.write_text("old")
    cell = new_code_cell("1", outputs=[new_output("stream", text=text)])
    nb = new_notebook(cells=[new_markdown_cell("in /ho" + "me words are free"), cell])
    with pytest.raises(notebooks.LessonError, match=reason):
        notebooks.save(nb, path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_the_summary_is_that_of_the_last_tagged_cell():
    def tagged(text: str) -> NotebookNode:
        return new_code_cell(
            "s", metadata={"tags": ["summary"]}, outputs=[new_output("stream", text=text)]
        )

    assert notebooks.summary(new_notebook(cells=[new_code_cell("1")])) == ""
    nb = new_notebook(cells=[tagged("first\n"), tagged("last\n"), new_code_cell("1")])
    assert notebooks.summary(nb) == "last"


def test_a_formula_that_cannot_be_read_stays_as_written():
    assert export.mathml(r"x^2").startswith("<math")
    assert export.mathml(r"a < \frac{") == r"<code>a &lt; \frac{</code>"


def test_a_fetched_script_is_noticed():
    page = '<script src="https://cdn.example/a.js"></script><img src="data:x"><a href="http://b">'
    assert export.fetched(page) == ["https://cdn.example/a.js"]
