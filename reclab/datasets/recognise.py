"""Which data set is in a folder or file, and loading it.

A file's role is decided by its name (``.gz`` or not, sub-folders included); a single file of
another name by its columns. The data set with the most recognised files wins.

Reference: the publishers' own file names, listed in datasets/README.md.

Simplified: industry would ask a catalogue.
"""

import re
import zlib
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq

from reclab.core.errors import DataError
from reclab.datasets import globo, kuairand, kuairec, movielens
from reclab.datasets.readers import Dialect, header
from reclab.datasets.report import LoadedLogs, LoadReport, default_rejects

SOURCES: dict[str, ModuleType] = {
    "globo": globo,
    "movielens": movielens,
    "kuairec": kuairec,
    "kuairand": kuairand,
}
DEPTH = 3
Roles = dict[str, list[Path]]


def load(
    path: str | Path,
    rejected_to: str | Path | None = None,
    catalogue_only: bool = False,
) -> LoadedLogs:
    """Load a data set from its folder, or from one of its files.

    ``rejected_to``: CSV for rows that were set aside (default: under the temporary folder, see
    ``logs.report.rejected_path``). ``catalogue_only``: users and items alone, for sources or
    excerpts without interactions. Raises ``DataError`` in one sentence for a wrong folder, missing
    interactions, or a damaged file; bad rows raise nothing, they are in ``logs.report``.
    """
    path = Path(path)
    name, roles = recognise(path)
    source = SOURCES[name]
    report = LoadReport(name, path)
    logged = [role for role in source.LOG_ROLES if role in roles]
    if catalogue_only:
        roles = {role: files for role, files in roles.items() if role not in logged}
    elif not logged:
        found = ", ".join(sorted(p.name for files in roles.values() for p in files))
        raise DataError(
            f"{path} is {name} without interactions: expected {source.EXPECTED}, found {found} "
            "(catalogue_only=True loads users and items)"
        )
    try:
        return source.load(roles, report)  # type: ignore[no-any-return]
    finally:
        if len(report.rejected):
            where = Path(rejected_to) if rejected_to else default_rejects(path)
            report.rejected_path = report.rejected.write(where)


def recognise(path: str | Path) -> tuple[str, Roles]:
    """(name of the data set, files by role). Raises ``DataError`` saying what was expected."""
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path} does not exist (expected a folder or file of a data set)")
    files = _files(path)
    by_name = {name: _roles(source, files) for name, source in SOURCES.items()}
    logged = [name for name in SOURCES if _weight(name, by_name[name])[0]]
    if len(logged) > 1:
        raise DataError(
            f"{path} holds several data sets ({', '.join(logged)}); give the folder of one"
        )
    best = max(by_name, key=lambda name: _weight(name, by_name[name]))
    if by_name[best]:
        return best, by_name[best]
    if path.is_file():
        found = _by_columns(path)
        if found is not None:
            return found
    raise DataError(_unknown(path, files))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    inside = (p for depth in range(1, DEPTH + 1) for p in path.glob("/".join("*" * depth)))
    return sorted(p for p in inside if p.is_file())


def _roles(source: ModuleType, files: list[Path]) -> Roles:
    roles: Roles = {}
    for file in files:
        for role, pattern in source.ROLES.items():
            if re.fullmatch(pattern, file.name, re.IGNORECASE):
                roles.setdefault(role, []).append(file)
    return roles


def _weight(name: str, roles: Roles) -> tuple[bool, int]:
    """Interactions count more than catalogues; then the number of roles that are filled."""
    return any(role in roles for role in SOURCES[name].LOG_ROLES), len(roles)


def _by_columns(file: Path) -> tuple[str, Roles] | None:
    """A renamed file, recognised by two telling columns of the log."""
    columns = _columns(file)
    for name, source in SOURCES.items():
        if set(source.MARKS) <= set(columns):
            return name, {source.LOG_ROLES[-1]: [file]}
    return None


def _columns(file: Path) -> list[str]:
    try:
        if file.suffix == ".parquet":
            return list(pq.read_schema(file).names)
        return header(file, Dialect())
    except DataError:
        raise
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        what = str(error).splitlines()[0]
        raise DataError(f"{file} is damaged or not of its kind: {what}") from error


def _unknown(path: Path, files: list[Path]) -> str:
    names = [file.name for file in files]
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    expected = "; ".join(f"{source.EXPECTED} ({name})" for name, source in SOURCES.items())
    return f"{path} is no known data set: expected {expected}; found {shown or 'nothing'}"
