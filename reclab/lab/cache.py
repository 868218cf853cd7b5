"""The cache: what takes long to build is built once, kept on disk, and checked before it is used.

A build happens in a folder of its own that is renamed when it is whole, under a lock, so that two
kernels opening at once build once and no reader ever meets a half-written folder. ``manifest.json``
holds size and CRC-32 of each file. Every opening compares all of them, bit by bit, at 1-2 GB/s a
core: what is mapped or read later was whole then, and a damaged folder is built again. Extra files
are not looked for, and damage done while a lab is open is found at the next opening.

Simplified: industry keeps such artefacts in a model registry with versions and owners.
"""

import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_dir

MANIFEST = "manifest.json"
KEEP = 3  # folders of one kind that are kept: today's, and those of two earlier versions


def cache_root() -> Path:
    """The user's cache folder, or ``RECLAB_CACHE``."""
    return Path(os.environ.get("RECLAB_CACHE") or user_cache_dir("reclab-workbook"))


def code_version(packages: Sequence[str]) -> str:
    """Eight hex digits that change when a source file of the named sub-packages changes."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for package in packages:
        for file in sorted((root / package).rglob("*.py")):
            digest.update(str(file.relative_to(root)).encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:8]


def _crc(file: Path) -> int:
    crc = 0
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc


def seal(folder: Path) -> None:
    """Write the manifest of a finished folder."""
    files = [f for f in sorted(folder.rglob("*")) if f.is_file() and f.name != MANIFEST]
    sums = {str(f.relative_to(folder)): [f.stat().st_size, _crc(f)] for f in files}
    (folder / MANIFEST).write_text(json.dumps(sums, indent=0), encoding="utf-8")


def damage(folder: Path) -> str | None:
    """What is wrong with a cached folder in a few words, or None when it is whole."""
    try:
        sums = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "it has no manifest"
    except (OSError, ValueError) as error:
        return f"its manifest cannot be read ({error})"
    for name, (size, _) in sums.items():
        file = folder / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != size:
            return f"{name} is damaged"
    with ThreadPoolExecutor() as pool:  # zlib lets other threads run
        found = pool.map(_crc, (folder / name for name in sums))
        for (name, (_, crc)), now in zip(sums.items(), found, strict=True):
            if now != crc:
                return f"{name} is damaged"
    return None


def _prune(root: Path, kind: str) -> None:
    """Drop all but the newest folders of one kind."""
    mine = [f for f in root.glob(f"{kind}-*") if (f / MANIFEST).is_file()]
    for old in sorted(mine, key=lambda f: (f / MANIFEST).stat().st_mtime)[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)


def whole(kind: str, version: str) -> Path | None:
    """The folder ``kind-version`` of the cache if it is there and undamaged; builds nothing."""
    folder = cache_root() / f"{kind}-{version}"
    return folder if folder.exists() and damage(folder) is None else None


def built(
    kind: str, version: str, build: Callable[[Path], None], say: Callable[[str], None] = print
) -> Path:
    """The folder ``kind-version`` of the cache; ``build(folder)`` fills it when it is not there.

    Raises what ``build`` raises, and then leaves nothing behind.
    """
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    folder = root / f"{kind}-{version}"
    with FileLock(root / f"{kind}.lock"):
        wrong = damage(folder) if folder.exists() else "new"
        if wrong is None:
            return folder
        if wrong != "new":
            say(f"The cached {folder.name} is not usable ({wrong}): building it again.")
            shutil.rmtree(folder)
        for left in root.glob(f".{kind}-*"):  # an interrupted build of an earlier process
            shutil.rmtree(left, ignore_errors=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{kind}-", dir=root))
        try:
            build(draft)
            seal(draft)
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        _prune(root, kind)
    return folder
