"""The rules of the house, and that each of them can fail."""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

FIVE = ("blending", "offline_online", "degradation_dcaf", "dualrec", "logs_llm")
CHAPTERS = ("cascade", *FIVE)
BELOW_LAB = {"core", "stores", "world", "datasets", *CHAPTERS}
# What each package may import besides itself: core <- stores, world, datasets <- cascade <- the
# other five <- lab <- learn, show. Only notebooks import show; recommenders never see the world.
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "stores": {"core"},
    "world": {"core"},
    "datasets": {"core"},
    "cascade": {"core", "stores"},
    **{chapter: {"core", "stores", "cascade"} for chapter in FIVE},
    "lab": BELOW_LAB,
    "learn": BELOW_LAB | {"lab"},
    "show": BELOW_LAB | {"lab"},
    "": {"lab"},  # reclab/__init__.py: `reclab.open` and `reclab.doctor`
}
MAY_SEE_TRUTH = {"world", "lab", "learn", "show"}
MAX_CORE_CODE_LINES = 600
MAX_MODULE_LINES = 350

# In halves, so that this file does not break its own rule.
UNWANTED = re.compile(
    "|".join(
        [
            r"(?<![\w.~-])/(?:wo" + r"rk|ro" + r"ot|ho" + r"me|Us" + r"ers)/\w",
            r"[A-Z]:\\\\?Us" + r"ers",
            r"\b(?:Cla" + r"ude|Anth" + r"ropic|ChatG" + r"PT|Copi" + r"lot)\b",
            r"pypi\.o" + r"rg|pythonhos" + r"ted|deb\.deb" + r"ian|npmj" + r"s\.org",
            r"download\.pyto" + r"rch",
        ]
    )
)


def modules(root: Path) -> list[Path]:
    """The package's sources, generated protobuf code left out."""
    return sorted(p for p in (root / "reclab").rglob("*.py") if "_pb2" not in p.name)


def package_of(path: Path, root: Path) -> str:
    """``stores`` for reclab/stores/kv.py, ``""`` for reclab/__init__.py."""
    parts = path.relative_to(root / "reclab").parts
    return parts[0] if len(parts) > 1 else ""


def imported(path: Path, root: Path) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of all that a module imports, lazily or for types too."""
    here = ["reclab", *path.relative_to(root / "reclab").parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) + 1 - node.level] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in ("import_module", "__import__"):
                yield node.lineno, str(node.args[0].value)


def import_faults(root: Path) -> list[str]:
    """Imports against the one direction."""
    faults = []
    for path in modules(root):
        package, place = package_of(path, root), path.relative_to(root)
        if package not in MAY_IMPORT:
            faults.append(f"{place}: package {package!r} has no place in the layout")
            continue
        for line, name in imported(path, root):
            head, _, rest = name.partition(".")
            target = rest.partition(".")[0]
            known = target in MAY_IMPORT and target != package
            if head == "reclab" and known and target not in MAY_IMPORT[package]:
                faults.append(f"{place}:{line}: {package or 'reclab'} must not import {name}")
    return faults


def truth_faults(root: Path) -> list[str]:
    """Uses of the world's hidden truth by those who recommend, also through an object."""
    faults = []
    for path in modules(root):
        if package_of(path, root) in MAY_SEE_TRUTH:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        seen = [
            n.lineno for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr == "truth"
        ]
        seen += [line for line, name in imported(path, root) if name.startswith("reclab.world")]
        faults += [f"{path.relative_to(root)}:{line}: sees the world" for line in seen]
    return faults


def diagram_faults(root: Path) -> list[str]:
    """Chapters without pipeline.py, without a diagram, or whose diagram names what is not there."""
    faults = []
    for folder in (root / "reclab" / name for name in CHAPTERS):
        if not folder.is_dir() or not any(folder.rglob("*.py")):
            continue  # not begun
        place, init = folder.relative_to(root), folder / "__init__.py"
        if not (folder / "pipeline.py").exists():
            faults.append(f"{place}: no pipeline.py")
        text = init.read_text(encoding="utf-8") if init.exists() else ""
        drawn = ast.get_docstring(ast.parse(text)) or ""
        named = set(re.findall(r"[\w/]+\.py\b", drawn))
        if len(named) < 3 or not re.search(r"[─│→↓▼┌]|->|--|\|", drawn):
            faults.append(f"{place}/__init__.py: no diagram with a file name in each box")
        gone = sorted(name for name in named if not (folder / name).exists())
        faults += [
            f"{place}/__init__.py: the diagram names {name}, which is not there" for name in gone
        ]
    return faults


def code_lines(path: Path) -> int:
    """Lines that carry code: neither blank, nor comment, nor docstring."""
    source = path.read_text(encoding="utf-8")
    quiet = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in quiet and token.type != tokenize.ENDMARKER:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            if isinstance(node.value.value, str):
                lines.difference_update(range(node.lineno, (node.end_lineno or 0) + 1))
    return len(lines)


def size_faults(root: Path) -> list[str]:
    """A core that is no longer read in one sitting, and modules that want to be two."""
    core = sum(code_lines(path) for path in modules(root) if package_of(path, root) == "core")
    faults = [f"reclab/core: {core} code lines"] if core >= MAX_CORE_CODE_LINES else []
    for path in modules(root):
        n_lines = len(path.read_text(encoding="utf-8").splitlines())
        if n_lines > MAX_MODULE_LINES:
            faults.append(f"{path.relative_to(root)}: {n_lines} lines")
    return faults


def word_faults(root: Path, files: list[str]) -> list[str]:
    """Places of one machine and addresses of registries, which no committed file may name."""
    faults = []
    for name in files:
        path = root / name
        if not path.is_file() or b"\0" in path.read_bytes()[:8000]:
            continue
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
            if found := UNWANTED.search(line):
                faults.append(f"{name}:{number}: {found.group()}")
    return faults


def tracked(root: Path) -> list[str]:
    """Every file under version control."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout, or no git")
    return [name for name in listed.stdout.decode().split("\0") if name]


def test_imports_point_one_way():
    assert import_faults(ROOT) == []


def test_recommenders_never_see_the_truth():
    assert truth_faults(ROOT) == []


def test_every_chapter_has_its_pipeline_and_a_diagram_of_files_that_exist():
    assert diagram_faults(ROOT) == []


def test_core_is_read_in_one_sitting_and_no_module_is_long():
    assert size_faults(ROOT) == []


def test_no_file_names_a_machine_or_a_registry():
    assert word_faults(ROOT, tracked(ROOT)) == []


def test_code_is_clean_and_formatted():
    for arguments in (["check", "--output-format=concise"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *arguments, "--quiet", "."]
        done = subprocess.run(ruff, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_core_and_stores_are_fully_typed():
    mypy = [sys.executable, "-m", "mypy"]
    done = subprocess.run(mypy, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# The rules themselves, on a tree small enough to see through.


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A house that follows every rule."""
    files = {
        "__init__.py": "def open():\n    from reclab.lab import open_lab\n",
        "core/types.py": "import numpy\n",
        "stores/kv.py": "from reclab.core.types import Request\n",
        "world/truth.py": "from reclab.core import types\n",
        "cascade/__init__.py": '"""merge.py -> rank.py -> pipeline.py"""\n',
        "cascade/merge.py": "from . import rank\nfrom ..core import types\n",
        "cascade/rank.py": "import reclab.stores.kv\n",
        "cascade/pipeline.py": "",
        "dualrec/__init__.py": '"""pool.py | merge.py | pipeline.py"""\n',
        "dualrec/pool.py": "from reclab.cascade.rank import Ranker\n",
        "dualrec/merge.py": "",
        "dualrec/pipeline.py": "",
        "lab/__init__.py": "from reclab.world.truth import Truth\n",
        "show/theme.py": "from reclab.lab import open_lab\n",
    }
    for name, text in files.items():
        path = tmp_path / "reclab" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_the_small_house_is_sound(tree: Path):
    faults = import_faults(tree) + truth_faults(tree) + diagram_faults(tree) + size_faults(tree)
    assert faults == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("core/types.py", "import reclab.stores"),
        ("core/types.py", "from reclab import stores"),
        ("core/types.py", "from ..stores import kv"),
        ("stores/kv.py", "from reclab.world import World"),
        ("world/truth.py", "from reclab.stores.kv import KV"),
        ("cascade/rank.py", "def f():\n    from reclab.dualrec import pool"),
        ("cascade/rank.py", "import importlib\nimportlib.import_module('reclab.lab')"),
        ("dualrec/pool.py", "from reclab.blending.router import Router"),
        ("dualrec/pool.py", "from reclab.world import traffic"),
        ("lab/__init__.py", "from reclab.show import theme"),
        ("lab/__init__.py", "from reclab import learn"),
        ("learn/card.py", "from reclab.show import theme"),
        ("__init__.py", "import reclab.cascade"),
        ("helpers/__init__.py", ""),
    ],
)
def test_an_import_against_the_direction_is_found(tree: Path, name: str, text: str):
    path = tree / "reclab" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    assert len(import_faults(tree)) == 1


@pytest.mark.parametrize(
    "text", ["from reclab.world import truth", "def f(w):\n    return w.truth"]
)
@pytest.mark.parametrize("name", ["stores/kv.py", "cascade/rank.py", "dualrec/pool.py"])
def test_a_look_at_the_truth_is_found(tree: Path, name: str, text: str):
    (tree / "reclab" / name).write_text(text)
    assert len(truth_faults(tree)) == 1


def test_a_chapter_without_pipeline_or_diagram_is_found(tree: Path):
    chapter = tree / "reclab" / "cascade"
    (chapter / "merge.py").rename(chapter / "blend.py")
    assert diagram_faults(tree) == [
        "reclab/cascade/__init__.py: the diagram names merge.py, which is not there"
    ]
    (chapter / "__init__.py").write_text('"""The cascade."""')
    (chapter / "pipeline.py").unlink()
    assert len(diagram_faults(tree)) == 2


def test_only_code_counts_as_code(tree: Path):
    path = tree / "reclab" / "core" / "types.py"
    path.write_text(
        '"""Words.\n\nMore."""\n\n# why\nx = """a\nb"""\n\n\ndef f():\n    "Doc."\n    return x\n'
    )
    assert code_lines(path) == 4


def test_a_large_core_and_a_long_module_are_found(tree: Path):
    (tree / "reclab" / "core" / "types.py").write_text("x = 1\n" * MAX_CORE_CODE_LINES)
    (tree / "reclab" / "show" / "theme.py").write_text("\n" * (MAX_MODULE_LINES + 1))
    assert [fault.split(":")[0] for fault in size_faults(tree)] == [
        "reclab/core",
        "reclab/core/types.py",
        "reclab/show/theme.py",
    ]


def test_machine_paths_and_registries_are_found(tree: Path):
    bad = ["/ho" + "me/ann/x", "open('/wo" + "rk/main')", "https://pypi.o" + "rg/simple"]
    good = ["https://example.com/home/a", "~/home/a", "reclab/work/a", "/tmp/a", "/workbook"]
    (tree / "README.md").write_text("\n".join(bad + good))
    assert [fault.split(":")[1] for fault in word_faults(tree, ["README.md"])] == ["1", "2", "3"]
