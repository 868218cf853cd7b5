"""Is everything installed and answering? Each line says OK, or gives the command that mends it.

The text is the same on every healthy machine, so that a lesson can be compared; what differs from
machine to machine (threads, free disk, fonts) is in `Report.facts`, which `python lab.py doctor`
prints too.
"""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from packaging.requirements import Requirement

DISTRIBUTION = "reclab-workbook"
MIN_FREE_GB = 2
SET_UP = "python lab.py"


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, what is expected, and (if not met) what is wrong and to do."""

    name: str
    expected: str
    wrong: str = ""
    mend: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.wrong

    def __str__(self) -> str:
        state = "OK" if self.ok else f"NOT OK: {self.wrong}; mend with: {self.mend}"
        return f"{self.name:<9} {self.expected:<40} {state}"


@dataclass(frozen=True)
class Report:
    """All checks; ``facts`` are the numbers that differ between healthy machines."""

    checks: tuple[Check, ...]
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)

    def text(self, facts: bool = False) -> str:
        """The report as lines; with ``facts``, this machine's numbers below them."""
        lines = [str(check) for check in self.checks]
        lines.append("all is well" if self.ok else "not ready yet: see the lines above")
        if facts:
            lines += [f"  {name}: {value}" for name, value in self.facts.items()]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self.text())}</pre>"


def doctor() -> Report:
    """Look at Python, packages, torch, Redis, chance and the disk; nothing is changed.

    Never raises: what fails becomes a line.
    """
    looks = (_python, _packages, _torch, _redis, _chance, _disk)
    return Report(tuple(look() for look in looks), _facts())


def _attempt(name: str, expected: str, act: Callable[[], str], mend: str) -> Check:
    """``act`` says what is wrong, or nothing. Anything it raises is the finding, not a crash."""
    try:
        wrong = act()
    except Exception as error:  # a doctor reports every illness, also the unforeseen
        first_line = (str(error).strip() or "no message").split("\n")[0]
        wrong = f"{type(error).__name__}: {first_line}"
    return Check(name, expected, wrong, mend if wrong else "")


def _python() -> Check:
    found = "" if sys.version_info >= (3, 11) else f"this is {platform.python_version()}"
    mend = "install Python 3.11 or newer, then run it on lab.py"
    return Check("python", "3.11 or newer", found, mend)


def _packages() -> Check:
    def compare() -> str:
        wrong = []
        for line in importlib.metadata.requires(DISTRIBUTION) or []:
            need = Requirement(line)
            if need.marker and not need.marker.evaluate({"extra": ""}):
                continue
            try:
                found = importlib.metadata.version(need.name)
            except importlib.metadata.PackageNotFoundError:
                wrong.append(f"{need.name} is missing")
                continue
            if not need.specifier.contains(found, prereleases=True):
                wrong.append(f"{need.name} is {found}, not {need.specifier}")
        return ", ".join(wrong)

    return _attempt("packages", "all present, versions in range", compare, SET_UP)


def _torch() -> Check:
    def multiply() -> str:
        import torch

        total = int((torch.ones(8, 8) @ torch.ones(8, 8)).sum())
        return "" if total == 512 else f"8 x 8 ones squared sum to {total}, not 512"

    return _attempt("torch", "multiplies matrices", multiply, SET_UP)


def _redis() -> Check:
    def ping() -> str:
        from reclab.stores.kv import KV

        kv = KV()
        try:
            return "" if kv.ping() else "it does not answer"
        finally:
            kv.close()

    mend = f"{SET_UP}, or start a Redis and set RECLAB_REDIS_URL=redis://HOST:PORT"
    return _attempt("redis", "starts and answers", ping, mend)


def _chance() -> Check:
    def draw() -> str:
        from reclab.core.chance import rng

        drawn = rng(0, "doctor").integers(1000, size=3).tolist()
        return "" if drawn == [103, 557, 982] else f"draws {drawn}"

    return _attempt("seed 0", "draws the same numbers everywhere", draw, SET_UP)


def _disk() -> Check:
    free = _free_gb()
    wrong = "" if free >= MIN_FREE_GB else f"{free:.1f} GB are free"
    return Check("disk", f"at least {MIN_FREE_GB} GB free", wrong, f"free {MIN_FREE_GB} GB")


def _free_gb() -> float:
    return shutil.disk_usage(Path.home()).free / 1e9


def _facts() -> dict[str, str]:
    facts = {
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "processors": str(os.cpu_count()),
        "free disk": f"{_free_gb():.0f} GB",
        "Chinese fonts": _chinese_fonts(),
    }
    try:
        import torch
    except ImportError:
        return facts
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU"
    facts["torch"] = f"{torch.__version__} ({build} build), {torch.get_num_threads()} threads"
    return facts


def _chinese_fonts() -> str:
    """Wanted only for labels in Chinese (RECLAB_LANG=zh)."""
    if platform.system() in ("Darwin", "Windows"):
        return "come with the system"
    if not shutil.which("fc-list"):
        return "cannot tell (no fc-list)"
    listed = subprocess.run(["fc-list", ":lang=zh"], capture_output=True, check=False).stdout
    return "present" if listed.strip() else "none (optional): install fonts-noto-cjk"


def main() -> int:
    """Print the report with this machine's numbers; 0 if all is well."""
    report = doctor()
    print(report.text(facts=True))
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
