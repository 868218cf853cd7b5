"""A live pipeline as a drawing: one box per stage, named by its file, and between the boxes the
number of candidates that a trace counted.

The file and the sentence in each box come from the module and class of the stage, or of the model
that it holds, so the drawing cannot say what the code does not. A stage with channels names their
files too. It is plain HTML with inline style: it wraps on a narrow page,
reads on both themes, its boxes are links (Tab and Enter), and it shows in an untrusted notebook.

Simplified: an observability tool draws such maps from the calls it sees between services.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from reclab.core.types import StageTrace, Trace
from reclab.show.labels import label
from reclab.show.theme import PALETTE


@dataclass(frozen=True)
class Box:
    """One stage: its name, the file it lives in (relative to the checkout), its first sentence,
    its sizes in words ("keep 500"), what it counted when there is a trace, and the files of the
    channels inside it."""

    name: str
    file: str
    about: str = ""
    sizes: str = ""
    counted: StageTrace | None = None
    inside: Sequence[str] = ()


@dataclass(frozen=True)
class Diagram:
    """Boxes in order; displays as HTML, and as text where there is no HTML. ``n_requests``
    divides the counts (a batch's trace); ``root`` leads from the notebook to the checkout."""

    boxes: Sequence[Box]
    n_requests: int = 1
    catalogue: int = 0
    root: str = "../../"
    notes: Sequence[str] = ()

    def counts(self) -> list[str]:
        """Candidates a request before the first box, between the boxes, after the last; without
        a trace, empty texts."""
        seen = [box.counted for box in self.boxes]
        if not all(seen):
            return [_number(self.catalogue)] + [""] * len(seen)
        first = self.catalogue or seen[0].n_in / self.n_requests
        return [_number(first), *(_number(s.n_kept / self.n_requests) for s in seen)]

    def __str__(self) -> str:
        counts = self.counts()
        lines = [f"{label('candidates')}: {counts[0]}"] if counts[0] else []
        for box, count in zip(self.boxes, counts[1:], strict=True):
            sizes = f" ({box.sizes})" if box.sizes else ""
            lines.append(f"  -> [{box.name}] {box.file}{sizes}" + (f" -> {count}" if count else ""))
            lines += [f"       {file}" for file in box.inside]
            lines += [f"       {why}" for why in _losses(box, self.n_requests)]
        return "\n".join([*lines, *self.notes])

    def html(self) -> str:
        """The drawing as self-contained HTML; every text in it is escaped."""
        counts = self.counts()
        parts = [_count(counts[0], label("catalogue") if self.catalogue else "")]
        for place, (box, count) in enumerate(zip(self.boxes, counts[1:], strict=True)):
            parts += [_box(box, place, self.root, self.n_requests), _count(count, "")]
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return (
            '<div style="display:flex;flex-wrap:wrap;align-items:center;gap:3px;line-height:1.35">'
            f"{''.join(parts)}</div>{notes}"
        )

    def _repr_mimebundle_(self, *args: Any, **kwargs: Any) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": str(self)}


def diagram(
    stages: Sequence[Any],
    trace: Trace | None = None,
    n_requests: int = 1,
    catalogue: int = 0,
    root: str = "../../",
) -> Diagram:
    """Draw the stages of a live pipeline, with the counts of ``trace`` where one is given.

    A stage is any object with ``.name``; sizes are the whole numbers named ``keep``, ``k``, ``n``
    or ``n_…`` of the stage or its ``config``. Raises ``ValueError`` for a trace of other stages.
    """
    counted: Sequence[StageTrace | None] = [None] * len(stages)
    if trace is not None:
        names, traced = [s.name for s in stages], [t.name for t in trace.stages]
        if names != traced:
            raise ValueError(f"the trace is of stages {traced}, the drawing of {names}")
        counted = trace.stages
    boxes = [_box_of(stage, trace) for stage, trace in zip(stages, counted, strict=True)]
    return Diagram(boxes, n_requests, catalogue, root, trace.notes if trace else ())


def _box_of(stage: Any, counted: StageTrace | None) -> Box:
    core = getattr(stage, "model", stage)  # a thin stage is drawn as the model that it holds
    inside = [_file(channel) for channel in getattr(stage, "channels", ())]
    about = _about(core) or _about(stage)
    return Box(stage.name, _file(core), about, _sizes(stage), counted, [f for f in inside if f])


def _file(part: Any) -> str:
    """``reclab/cascade/batch.py``: the path from the folder that holds the package."""
    kind = part if inspect.isfunction(part) else type(part)
    try:
        path = Path(inspect.getfile(kind))
    except (OSError, TypeError):  # a class of the notebook itself has no file
        return ""
    depth = len(kind.__module__.split("."))
    return "/".join(path.parts[-depth:]) if path.suffix == ".py" and depth > 1 else ""


def _about(part: Any) -> str:
    words = (inspect.getdoc(type(part)) or "").split("\n\n")[0]
    return " ".join(words.split())


def _sizes(stage: Any) -> str:
    found: dict[str, int] = {}
    for holder in (stage, getattr(stage, "config", None)):
        for name, value in getattr(holder, "__dict__", {}).items():
            if type(value) is int and (name in ("k", "keep", "n") or name.startswith("n_")):
                found.setdefault(name, value)
    return ", ".join(f"{name} {value:,}" for name, value in found.items())


def _number(value: float) -> str:
    if not value:
        return ""
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _losses(box: Box, n_requests: int) -> list[str]:
    counts = box.counted.reason_counts() if box.counted else {}
    return [f"{label('dropped')} {_number(n / n_requests)}: {why}" for why, n in counts.items()]


def _count(number: str, words: str) -> str:
    above = f'<b style="font-size:13px">{escape(number)}</b><br>'
    above += f"{escape(words)}<br>" if words else ""
    arrow = '<span style="color:#7a7a7a">⟶</span>'
    return f'<span style="text-align:center;min-width:40px">{above if number else ""}{arrow}</span>'


def _link(file: str, words: str, root: str, about: str = "") -> str:
    if not file:
        return escape(words)
    return f'<a href="{escape(root + file)}" title="{escape(about)}">{escape(words)}</a>'


def _box(box: Box, place: int, root: str, n_requests: int) -> str:
    small = '<div style="font-size:11px">'
    lines = [f'<div style="font-size:12px">{escape(box.name)}</div>']
    lines += [f'<div style="font-size:12px">{escape(box.sizes)}</div>'] if box.sizes else []
    lines += [f"{small}{_link(f, _last(f), root)}</div>" for f in box.inside]
    lines += [f"{small}{escape(why)}</div>" for why in _losses(box, n_requests)]
    head = _link(box.file, _last(box.file) or box.name, root, box.about)
    return (
        f'<div title="{escape(box.about)}" style="border:1px solid rgba(128,128,128,0.45);'
        f"border-top:4px solid {PALETTE[place % (len(PALETTE) - 1)]};border-radius:8px;"
        f'padding:5px 8px;max-width:122px"><b>{head}</b>{"".join(lines)}</div>'
    )


def _last(file: str) -> str:
    return file.rpartition("/")[2]
