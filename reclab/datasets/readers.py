"""Reading the publishers' files: typed and threaded where the file is sound, a second careful
pass where it is not, so that one bad line neither stops nor spoils the rest.

Fast pass: pyarrow's CSV reader with declared types. If it meets a line that does not fit, the
careful pass reads every cell as text on one thread, keeps line numbers, and decides cell by cell
(still on whole columns). A row is kept if every required field has a usable value in range.

Reference: RFC 4180 for quoting; Apache Arrow's CSV reader.

Simplified: industry declares such schemas once, in a catalogue, for all readers.
"""

import csv
import gzip
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from reclab.core.errors import DataError
from reclab.core.tables import Array
from reclab.datasets.cells import NULLS, TYPES, Field, clean, joined
from reclab.datasets.keys import repeated
from reclab.datasets.report import LoadReport, RejectedRows, as_rows


@dataclass(frozen=True)
class Dialect:
    """How a file is written. ``quoted``: cells may be in quotes and hold delimiters and newlines.
    ``names``: the columns of a file without a header."""

    delimiter: str = ","
    quoted: bool = False
    names: tuple[str, ...] = ()
    encoding: str = "utf8"


def read_rows(
    paths: Sequence[Path],
    fields: Sequence[Field],
    report: LoadReport,
    dialect: Dialect | None = None,
    key: str = "",
) -> dict[str, Array]:
    """Read files with the same columns into arrays; reject what cannot be used.

    Exact duplicates are rejected after the first; with ``key``, so is every later row of the same
    key. Columns that the files lack are absent from the result. Raises ``DataError`` for a damaged
    file, an empty one (if alone) or a missing required column.
    """
    parts: list[dict[str, Array]] = []
    sources: list[tuple[str, Array]] = []
    for path in paths:
        if path.stat().st_size == 0 and len(paths) > 1:
            report.notes.append(f"{path.name} is empty")
            continue
        table, rows = _read_file(path, fields, dialect or Dialect(), report)
        columns, good = clean(table, fields, path.name, rows, report.rejected)
        parts.append({name: values[good] for name, values in columns.items()})
        sources.append((path.name, rows[good]))
    if not parts:
        raise DataError(f"{paths[0].parent}: all {len(paths)} files are empty")
    shared = [name for name in parts[0] if all(name in part for part in parts)]
    whole = {name: np.concatenate([part[name] for part in parts]) for name in shared}
    extra_rows = repeated(whole, [key] if key else list(whole))
    if extra_rows.any():
        reason = f"second row of the same {key}" if key else "exact duplicate of an earlier row"
        _set_aside(whole, extra_rows, sources, reason, report.rejected)
        whole = {name: values[~extra_rows] for name, values in whole.items()}
    return whole


def _read_file(
    path: Path, fields: Sequence[Field], dialect: Dialect, report: LoadReport
) -> tuple[pa.Table, Array]:
    """(table of the declared columns, row number of each of its rows)."""
    try:
        if path.name.lower().endswith(".parquet"):
            table, skipped = _parquet(path, fields), as_rows([])
        else:
            table, skipped = _csv(path, fields, dialect, report.rejected)
    except (OSError, EOFError, zlib.error, pa.ArrowException, UnicodeError) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path} is damaged or not of its kind: {what}") from error
    total = table.num_rows + len(skipped)
    report.rows_read[path.name] = report.rows_read.get(path.name, 0) + total
    rows = np.arange(1, total + 1)
    return table, rows[~np.isin(rows, skipped)] if len(skipped) else rows


def _wanted(path: Path, names: Sequence[str], fields: Sequence[Field]) -> list[str]:
    missing = [f.name for f in fields if f.required and f.name not in names]
    if missing:
        raise DataError(
            f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)} "
            f"(it has: {', '.join(names)[:300]})"
        )
    return [f.name for f in fields if f.name in names]


def _parquet(path: Path, fields: Sequence[Field]) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return file.read(columns=_wanted(path, file.schema_arrow.names, fields))


def header(path: Path, dialect: Dialect) -> list[str]:
    """The column names of a text file; RecBole's ``name:type`` becomes ``name``."""
    if dialect.names:
        return list(dialect.names)
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        first = file.readline(100_000)
    text = first.decode(dialect.encoding, errors="replace").removeprefix("\ufeff").strip("\r\n")
    if not text:
        raise DataError(f"{path} is empty")
    return [name.strip().strip('"').split(":")[0] for name in text.split(dialect.delimiter)]


def _csv(
    path: Path, fields: Sequence[Field], dialect: Dialect, rejected: RejectedRows
) -> tuple[pa.Table, Array]:
    """(table, numbers of the rows that had a wrong number of fields)."""
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty")
    names = header(path, dialect)
    wanted = _wanted(path, names, fields)
    types = {f.name: TYPES[f.kind] for f in fields}
    if dialect.encoding == "utf8":
        try:
            table = _parse(path, names, wanted, types, dialect)
            if not dialect.quoted or table.num_rows == _lines(path) - (not dialect.names):
                return table, as_rows([])  # and no quote reaches beyond its line
        except pa.ArrowInvalid:
            pass  # some line does not fit: look at each with care
    return _careful_csv(path, names, wanted, dialect, rejected)


def _lines(path: Path, chunk: int = 1 << 22) -> int:
    """Lines of a text file; the last one may lack its line break."""
    count, last = 0, b"\n"
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        while block := file.read(chunk):
            count += block.count(b"\n")
            last = block[-1:]
    return count + (last != b"\n")


def _parse(source, names, wanted, types, dialect, on_invalid=None):  # type: ignore[no-untyped-def]
    return pacsv.read_csv(
        source,
        read_options=pacsv.ReadOptions(
            column_names=names,
            skip_rows=0 if dialect.names else 1,
            use_threads=on_invalid is None,
            block_size=1 << 23,
        ),
        parse_options=pacsv.ParseOptions(
            delimiter=dialect.delimiter,
            quote_char='"' if dialect.quoted else False,
            newlines_in_values=dialect.quoted,
            invalid_row_handler=on_invalid,
        ),
        convert_options=pacsv.ConvertOptions(
            column_types={name: types[name] for name in wanted},
            include_columns=list(wanted),
            null_values=NULLS,
            strings_can_be_null=True,
        ),
    )


def _careful_csv(
    path: Path, names: list[str], wanted: list[str], dialect: Dialect, rejected: RejectedRows
) -> tuple[pa.Table, Array]:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if dialect.encoding != "utf8":
        data = data.decode(dialect.encoding).encode()
    bad: list[tuple[int, str, str]] = []
    first = 0 if dialect.names else 1

    def keep(row: pacsv.InvalidRow) -> str:
        reason = f"{row.actual_columns} fields instead of {row.expected_columns}"
        bad.append((row.number - first, reason, row.text))
        return "skip"

    types = dict.fromkeys(wanted, pa.binary())
    table = _parse(pa.BufferReader(data), names, wanted, types, dialect, keep)
    if dialect.quoted and _swallowed(data, table, bad, dialect):
        bad.clear()
        table = _line_by_line(data, names, wanted, dialect, bad)
    for reason in {why for _, why, _ in bad}:
        rows = [(number, text) for number, why, text in bad if why == reason]
        text = pa.array([t for _, t in rows], pa.string())
        rejected.add(path.name, reason, as_rows([n for n, _ in rows]), text)
    return table, as_rows(sorted(number for number, _, _ in bad))


def _swallowed(
    data: bytes, table: pa.Table, bad: list[tuple[int, str, str]], dialect: Dialect
) -> bool:
    """Has a stray quote eaten lines? Quotes come in pairs, no bad row spans lines, and a cell with
    a line break before a number and a delimiter has most likely eaten the start of a row."""
    if data.count(b'"') % 2 or any("\n" in text.strip() for _, _, text in bad):
        return True
    pattern = r"\n\d+" + re.escape(dialect.delimiter)
    hits = (pc.any(pc.match_substring_regex(column, pattern)).as_py() for column in table.columns)
    return any(hits)


def _line_by_line(
    data: bytes,
    names: Sequence[str],
    wanted: Sequence[str],
    dialect: Dialect,
    bad: list[tuple[int, str, str]],
) -> pa.Table:
    """Read a file with broken quotes one line at a time, so that no quote reaches beyond its
    line; rows that do span lines are lost with the broken ones, and are reported like them."""
    lines = data.decode("utf8", "replace").split("\n")
    lines = [line.rstrip("\r") for line in lines if line.strip("\r")][0 if dialect.names else 1 :]
    good: list[list[str]] = []
    for number, line in enumerate(lines, start=1):
        try:
            cells = next(csv.reader([line], delimiter=dialect.delimiter, strict=True))
        except csv.Error:
            bad.append((number, "a quote is not closed", line))
            continue
        if len(cells) == len(names):
            good.append(cells)
        else:
            bad.append((number, f"{len(cells)} fields instead of {len(names)}", line))
    columns = list(zip(*good, strict=True)) if good else [()] * len(names)
    return pa.table({n: pa.array(columns[names.index(n)], pa.string()) for n in wanted})


def _set_aside(
    whole: dict[str, Array],
    mask: Array,
    sources: Sequence[tuple[str, Array]],
    reason: str,
    rejected: RejectedRows,
) -> None:
    start = 0
    for file, rows in sources:
        hit = np.flatnonzero(mask[start : start + len(rows)])
        if len(hit):
            table = pa.table({name: values[start + hit] for name, values in whole.items()})
            rejected.add(file, reason, rows[hit], joined(table))
        start += len(rows)
