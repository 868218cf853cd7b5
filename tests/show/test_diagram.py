"""Rules of the drawing: files and numbers come from the live stages and their trace."""

import re
from dataclasses import dataclass

import numpy as np
import pytest

from reclab.cascade.filters import DuplicateFilter
from reclab.core.pipeline import run
from reclab.core.stage import StageResult, keep_top
from reclab.core.types import Candidates
from reclab.show.diagram import Box, Diagram, diagram


@dataclass
class Source:
    """Twelve candidates, two of them twice."""

    name: str = "retrieval"
    keep: int = 12
    channels: tuple = (DuplicateFilter(),)  # any object of the package has a file

    def __call__(self, batch, candidates):
        rows = np.r_[np.arange(10), 3, 4]
        return StageResult(Candidates(1, np.zeros(12, int), rows), candidates, ())


@dataclass
class Top:
    """The best three."""

    name: str = "ranking <top>"
    model: object = DuplicateFilter()

    def __call__(self, batch, candidates):
        return keep_top(candidates, candidates.item_row.astype(float), 3, "low & late")


STAGES = [Source(), DuplicateFilter(), Top()]


@pytest.fixture
def drawn() -> Diagram:
    _, trace = run(STAGES, None, 1)
    return diagram(STAGES, trace, catalogue=2500)


def test_numbers_between_the_boxes_are_the_traces(drawn: Diagram) -> None:
    assert drawn.counts() == ["2,500", "12", "10", "3"]
    text = re.sub("<[^>]+>", " ", drawn.html())
    assert re.findall(r"([\d,]+)\s+(?:catalogue\s+)?⟶", text) == ["2,500", "12", "10", "3"]
    for form in (str(drawn), text):
        assert "dropped 2: duplicate" in form


def test_counts_of_a_batch_are_given_a_request() -> None:
    _, trace = run(STAGES, None, 1)
    assert diagram(STAGES, trace, n_requests=4).counts() == ["3", "3", "2.5", "0.8"]


def test_boxes_are_named_by_the_file_of_the_stage_or_of_its_model(drawn: Diagram) -> None:
    assert [box.file for box in drawn.boxes[1:]] == ["reclab/cascade/filters/duplicates.py"] * 2
    assert drawn.boxes[0].inside == ["reclab/cascade/filters/duplicates.py"]
    assert drawn.html().count('href="../../reclab/cascade/filters/duplicates.py"') == 3
    assert drawn.boxes[1].about == "Keep the first mention of an item in each request."


def test_a_stage_of_the_notebook_itself_is_drawn_by_its_name(drawn: Diagram) -> None:
    class Mine:
        name = "mine"

    Mine.__module__ = "__main__"
    box = diagram([Mine()]).boxes[0]
    assert box.file == "" and "mine" in diagram([Mine()]).html()


def test_sizes_are_read_from_the_stage(drawn: Diagram) -> None:
    assert drawn.boxes[0].sizes == "keep 12" and drawn.boxes[1].sizes == ""


def test_without_a_trace_there_are_no_numbers() -> None:
    plain = diagram(STAGES)
    assert plain.counts() == ["", "", "", ""]
    assert "dropped" not in str(plain) and "retrieval" in str(plain)


def test_a_trace_of_other_stages_is_refused() -> None:
    _, trace = run(STAGES, None, 1)
    with pytest.raises(ValueError, match="the trace is of stages"):
        diagram(STAGES[:2], trace)


def test_every_box_is_a_link_and_names_are_escaped(drawn: Diagram) -> None:
    html = drawn.html()
    assert "ranking &lt;top&gt;" in html and "low &amp; late" in html
    hostile = Diagram([Box('"><script>', 'x"onclick="y', '"><script>')]).html()
    assert "<script" not in hostile and '"onclick' not in hostile


def test_notes_of_the_trace_are_kept() -> None:
    assert "fell back" in str(Diagram([Box("a", "")], notes=("fell back",)))
    assert "<p>fell back</p>" in Diagram([Box("a", "")], notes=("fell back",)).html()
