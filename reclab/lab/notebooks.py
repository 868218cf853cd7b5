"""Lessons without a browser: execute one, write it as a page, or save it again with its outputs.

`run` executes a lesson and writes a page that opens offline; `refresh` saves the lessons as they
are committed: executed, with static plots, without widget state, machine paths or timings.

Simplified: lessons run one after another, on this machine's kernel.
"""

import argparse
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from tqdm import tqdm
from traitlets.config import Config

from reclab.lab import export

ROOT = Path(__file__).resolve().parents[2]
LIMIT_BYTES = 300_000
CELL_TIMEOUT_S = 900
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_KERNEL_FILE = re.compile(r"[^\s\"'<>()]*ipykernel_\d+[\\/]+\d+\.py")
_MACHINE_PATH = re.compile(
    r"(?<![\w.:/])/(?:home|Users|root|tmp|private|var)/[^\s\"']+|\b[A-Z]:\\\\?\w"
)


class LessonError(Exception):
    """A lesson cannot be found, did not run, or cannot be saved; the message says what to do."""

    def __init__(self, message: str, notebook: NotebookNode | None = None) -> None:
        super().__init__(message)
        self.notebook = notebook  # as far as it came


def find(number: str = "", root: Path = ROOT) -> list[Path]:
    """The lesson with this number or name (``2``, ``02``, ``cascade``), or all of them."""
    folders = sorted(path for path in (root / "notebooks").glob("[0-9][0-9]_*") if path.is_dir())
    lessons = {folder.name: min(folder.glob("*.ipynb"), default=None) for folder in folders}
    found = {name: path for name, path in lessons.items() if path}
    if not number:
        return list(found.values())
    for name, path in found.items():
        digits, _, word = name.partition("_")
        if number in (name, word) or number.zfill(2) == digits:
            return [path]
    known = ", ".join(found) or "none yet"
    raise LessonError(f"no lesson {number!r} under notebooks/ (there are: {known})")


def execute(path: Path) -> NotebookNode:
    """The executed notebook. After a failed cell, `LessonError` carries it as far as it came."""
    nb = nbformat.read(path, as_version=4)
    nb.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    bar = tqdm(total=len(nb.cells), desc=path.stem, unit="cell", leave=False, disable=None)
    failed: dict[str, int] = {}
    client = NotebookClient(
        nb,
        timeout=CELL_TIMEOUT_S,
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
        store_widget_state=False,
        config=Config(KernelManager={"transport_encryption": "auto"}),
        on_cell_start=lambda cell, cell_index: failed.update(index=cell_index),
        on_cell_complete=lambda cell, cell_index: bar.update(cell_index + 1 - bar.n),
    )
    try:
        with bar:
            client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise _failure(path, nb, failed["index"], error) from error
    return nb


def _failure(path: Path, nb: NotebookNode, index: int, error: Exception) -> LessonError:
    cell = nb.cells[index]
    first = next(iter(cell.source.strip().split("\n")))
    if isinstance(error, CellExecutionError):
        said = f"{error.ename}: {error.evalue}"
    else:
        said = f"{type(error).__name__}: {error}"
    traces = [out.traceback for out in cell.get("outputs", []) if out.output_type == "error"]
    trace = _ANSI.sub("", "\n".join(traces[-1])).split("\n")[-14:] if traces else []
    lines = [f"{path.name}: cell {index + 1} of {len(nb.cells)} failed: {said}"]
    lines += [f"  the cell begins: {first}", *(f"    {line}" for line in trace)]
    return LessonError("\n".join(lines), nb)


def summary(nb: NotebookNode) -> str:
    """What the last code cell tagged ``summary`` printed, or an empty string."""
    tagged = [cell for cell in nb.cells if "summary" in cell.metadata.get("tags", [])]
    outputs = tagged[-1].get("outputs", []) if tagged else []
    texts = [out.get("text") or out.get("data", {}).get("text/plain", "") for out in outputs]
    return "\n".join(text.rstrip() for text in texts if text)


def tidy(nb: NotebookNode, root: Path = ROOT) -> NotebookNode:
    """The notebook as it is committed: the same on every machine, and small. Changes ``nb``."""
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    # Without the patch version of Python, which would differ from one machine to the next.
    language = NotebookNode(name="python")
    nb.metadata = NotebookNode(kernelspec=NotebookNode(kernel), language_info=language)
    count = 0
    for cell in nb.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        count += bool(cell.source.strip())
        cell.execution_count = count if cell.source.strip() else None
        cell.outputs = [kept for kept in map(_tidy_output, cell.outputs) if kept]
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
            _hide_paths(output, root)
    return nb


def _tidy_output(output: NotebookNode) -> NotebookNode | None:
    data = output.get("data")
    if data is None:
        return output
    data.pop(export.WIDGET, None)
    if export.PLOTLY in data:
        data.pop("text/html", None)
    if len(data) > 1:
        data.pop("image/png", None)
    return output if data else None


def _hide_paths(node: Any, root: Path) -> None:
    """Machine paths, in every text below ``node``, become relative to the checkout or the home."""
    for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
        if isinstance(value, str):
            for place, name in ((root, "."), (Path.home(), "~")):
                if place != Path(place.anchor):
                    value = value.replace(str(place), name)
            node[key] = _KERNEL_FILE.sub("cell", value)
        elif isinstance(value, dict | list):
            _hide_paths(value, root)


def _texts(node: Any) -> Iterator[str]:
    """Every string below ``node``."""
    for value in node.values() if isinstance(node, dict) else node:
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict | list):
            yield from _texts(value)


def save(nb: NotebookNode, path: Path) -> int:
    """Write a tidy notebook in place of the old one and return its bytes; refuses what is unfit."""
    for index, cell in enumerate(nb.cells, 1):
        found = _MACHINE_PATH.search("\n".join(_texts(cell.get("outputs", []))))
        if found:
            raise LessonError(
                f"{path.name}: cell {index} shows a path of this machine, {found.group()!r}: "
                "print something that is the same everywhere. Not saved."
            )
    text = nbformat.writes(nb) + "\n"
    size = len(text.encode())
    if size > LIMIT_BYTES:
        sizes = [len(str(cell.get("outputs", ""))) for cell in nb.cells]
        raise LessonError(
            f"{path.name}: {size / 1000:.1f} KB, more than {LIMIT_BYTES // 1000} KB; the largest "
            f"output is that of cell {sizes.index(max(sizes)) + 1} (draw fewer points, or round "
            "them). Not saved."
        )
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
    return size


def run(number: str, out: Path) -> None:
    """Execute one lesson, write ``out/<lesson>.html``, print the lesson's summary table."""
    (path,) = find(number)
    page, started = out / f"{path.stem}.html", time.perf_counter()
    print(f"executing {path.relative_to(ROOT)}", flush=True)
    try:
        nb = execute(path)
    except LessonError as error:
        export.write(error.notebook, page, path.stem)
        raise LessonError(f"{error}\nthe page up to that cell: {page}") from error
    export.write(nb, page, path.stem)
    print(f"executed in {time.perf_counter() - started:.1f} s; page: {page}\n")
    print(summary(nb) or "(the lesson has no cell tagged `summary` that prints)")


def refresh(number: str) -> None:
    """Execute the lesson, or all, and save each with its outputs."""
    for path in find(number):
        started = time.perf_counter()
        print(f"executing {path.relative_to(ROOT)}", flush=True)
        size = save(tidy(execute(path)), path)
        print(f"saved, {size / 1000:.0f} KB, {time.perf_counter() - started:.1f} s", flush=True)


def main(argv: list[str] | None = None) -> int:
    """``run NN [--data PATH] [--scale S]``, ``refresh [NN]`` or ``render``."""
    parser = argparse.ArgumentParser(prog="lab.py", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run", help="execute a lesson, write it as a page")
    one.add_argument("number", metavar="NN", help="the lesson: 02 or cascade")
    one.add_argument("--data", metavar="PATH", help="real logs: a folder or a file")
    one.add_argument("--scale", metavar="S", help="tiny, laptop or full")
    one.add_argument("--out", type=Path, default=ROOT / "out", help="folder of the page")
    commands.add_parser("refresh", help="execute and save").add_argument("number", nargs="?")
    commands.add_parser("render", help="all lessons as pages")
    args = parser.parse_args(argv)
    # Figures as data only: pages and saved notebooks draw from it.
    os.environ["PLOTLY_RENDERER"] = "plotly_mimetype"
    try:
        if args.command == "run":
            if args.data and not Path(args.data).exists():
                raise LessonError(f"--data: there is no file or folder {args.data!r}")
            if args.data:
                os.environ["RECLAB_DATA"] = str(Path(args.data).resolve())
            if args.scale:
                os.environ["RECLAB_SCALE"] = args.scale
            run(args.number, args.out)
        elif args.command == "refresh":
            # What is committed depends on nobody's settings.
            for name in ("RECLAB_DATA", "RECLAB_SCALE", "RECLAB_LANG"):
                os.environ.pop(name, None)
            os.environ["RECLAB_MEASURE"] = "1"  # what waits for a button is measured and shown
            refresh(args.number or "")
        else:
            for path in find():
                run(path.parent.name, ROOT / "out")
    except LessonError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
