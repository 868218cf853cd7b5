"""Reading the publishers' files: typed and threaded where the file is sound, a second careful
pass where it is not, so that one bad line neither stops nor spoils the rest.

Fast pass: pyarrow's CSV reader with declared types. If it meets a line that does not fit, the
careful pass reads every cell as text on one thread, keeps line numbers, and decides cell by cell
(still on whole columns). A row is kept if every required field has a usable value in range.

Reference: RFC 4180 for quoting; Apache Arrow's CSV reader.

Simplified: industry declares such schemas once, in a catalogue, for all readers.
"""

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
from reclab.datasets.report import LoadReport, RejectedRows, as_rows

NULLS = ["", "NaN", "nan", "NULL", "null", "None", "NA", "\\N"]
TYPES = {"int": pa.int64(), "float": pa.float64(), "text": pa.string()}
WORD = {"int": "a whole number", "float": "a number"}
PATTERN = {
    "int": r"^[+-]?\d{1,18}(\.0*)?$",
    "float": r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$",
}


@dataclass(frozen=True)
class Field:
    """One column of a source: name, kind (int, float, text), range. A required column must exist
    and have a usable value in each row; elsewhere a missing value becomes -1, NaN or ''."""

    name: str
    kind: str = "int"
    required: bool = True
    low: float | None = None
    high: float | None = None


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
        columns, good = _clean(table, fields, path.name, rows, report.rejected)
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
    if not dialect.quoted and dialect.encoding == "utf8":
        try:
            return _parse(path, names, wanted, types, dialect), as_rows([])
        except pa.ArrowInvalid:
            pass  # some line does not fit: look at each with care
    return _careful_csv(path, names, wanted, dialect, rejected)


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
    if dialect.quoted and _swallowed(data, table, dialect):
        bad.clear()
        data = _blank_unbalanced(data, first, dialect, bad)
        table = _parse(pa.BufferReader(data), names, wanted, types, dialect, keep)
    for reason in {why for _, why, _ in bad}:
        rows = [(number, text) for number, why, text in bad if why == reason]
        text = pa.array([t for _, t in rows], pa.string())
        rejected.add(path.name, reason, as_rows([n for n, _ in rows]), text)
    return table, as_rows(sorted(number for number, _, _ in bad))


def _swallowed(data: bytes, table: pa.Table, dialect: Dialect) -> bool:
    """Has a stray quote eaten lines? Quotes come in pairs, and a cell that holds a line break
    followed by a number and a delimiter has most likely eaten the start of another row."""
    if data.count(b'"') % 2:
        return True
    pattern = r"\n\d+" + re.escape(dialect.delimiter)
    hits = (pc.any(pc.match_substring_regex(column, pattern)).as_py() for column in table.columns)
    return any(hits)


def _blank_unbalanced(
    data: bytes, first: int, dialect: Dialect, bad: list[tuple[int, str, str]]
) -> bytes:
    """Replace lines with an odd number of quotes by a line with too many fields, so that they
    are rejected in their place and the others keep their row numbers."""
    lines = data.split(b"\n")
    for at, line in enumerate(lines):
        if line.count(b'"') % 2:
            lines[at] = line.replace(b'"', b"'") + dialect.delimiter.encode() * 1000
    return b"\n".join(lines)


def _clean(
    table: pa.Table, fields: Sequence[Field], file: str, rows: Array, rejected: RejectedRows
) -> tuple[dict[str, Array], Array]:
    """(columns as arrays, mask of usable rows); the others are set aside with the first reason."""
    why = np.zeros(table.num_rows, np.int16)
    reasons = [""]
    columns: dict[str, Array] = {}

    def mark(mask: Array, reason: str) -> None:
        if mask.any():
            reasons.append(reason)
            why[(why == 0) & mask] = len(reasons) - 1

    for field in (f for f in fields if f.name in table.column_names):
        column = table.column(field.name)
        if not len(column):
            columns[field.name] = np.zeros(
                0, {"int": np.int64, "float": float}.get(field.kind, "O")
            )
            continue
        value, wrong = _values(column, field.kind)
        mark(wrong, f"{field.name} is not {WORD.get(field.kind, 'text')}")
        absent = np.asarray(pc.is_null(value, nan_is_null=field.kind == "float"))
        if field.required:
            mark(absent, f"{field.name} is missing")
        columns[field.name] = values = _filled(value, field.kind)
        present = ~absent
        if field.low is not None:
            mark(present & (values < field.low), f"{field.name} is below {field.low:g}")
        if field.high is not None:
            mark(present & (values > field.high), f"{field.name} is above {field.high:g}")
    for code, reason in enumerate(reasons[1:], start=1):
        hit = np.flatnonzero(why == code)
        rejected.add(file, reason, rows[hit], _joined(table.take(pa.array(hit))))
    return columns, why == 0


def _values(column: pa.ChunkedArray, kind: str) -> tuple[pa.ChunkedArray, Array]:
    """(column of the declared type, mask of cells that hold something else)."""
    wrong = np.zeros(len(column), bool)
    of_number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if kind == "text":
        return _text(column), wrong
    if of_number and kind == "float":
        return column.cast(pa.float64()), wrong
    if pa.types.is_integer(column.type):
        return column.cast(pa.int64()), wrong
    if of_number:  # whole numbers held as floats, because some were missing
        held = column.cast(pa.float64())
        whole = pc.equal(pc.floor(held), held)
        inside = pc.and_(whole, pc.less(pc.abs(held), 2.0**53))
        good = pc.fill_null(inside, False)
        value = pc.if_else(good, held, None).cast(pa.int64())
        return value, ~np.asarray(good) & ~np.asarray(pc.is_null(held, nan_is_null=True))
    said = pc.utf8_trim(pc.utf8_trim_whitespace(_text(column)), characters='"')
    said = pc.if_else(pc.is_in(said, value_set=pa.array(NULLS)), None, said)
    good = pc.fill_null(pc.match_substring_regex(said, PATTERN[kind]), False)
    number = pc.if_else(good, said, None)
    if kind == "int":
        number = pc.replace_substring_regex(number, r"^\+|\.0*$", "")
    return number.cast(TYPES[kind]), ~np.asarray(good) & np.asarray(pc.is_valid(said))


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """As text; bytes that are no UTF-8 become the replacement sign."""
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        cells = column.to_pylist()
        said = [None if cell is None else cell.decode("utf8", "replace") for cell in cells]
        return pa.chunked_array([pa.array(said, pa.string())])


def _filled(column: pa.ChunkedArray, kind: str) -> Array:
    empty = {"int": -1, "float": float("nan"), "text": ""}[kind]
    if column.null_count:
        column = pc.fill_null(column, empty)
    return np.asarray(column.to_numpy())


def _joined(table: pa.Table) -> pa.Array:
    """Each row as one comma-separated text."""
    cells = [pc.fill_null(_text(column), "") for column in table.columns]
    return pc.binary_join_element_wise(*cells, ",").combine_chunks()


def repeated(columns: dict[str, Array], names: Sequence[str]) -> Array:
    """(n,) bool: rows that repeat an earlier row in the named columns.

    Rows are sorted by a 64-bit mix of their values, and neighbours of equal mix compared value by
    value, so that a clash of mixes never makes two different rows equal.
    """
    mix = np.zeros(len(columns[names[0]]), np.uint64)
    with np.errstate(over="ignore"):
        for name in names:
            values = columns[name]
            if values.dtype == object:
                values = np.unique(values.astype(str), return_inverse=True)[1]
            bits = np.ascontiguousarray(values).astype("f8" if values.dtype.kind == "f" else "i8")
            mix = (mix ^ bits.view(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
            mix ^= mix >> np.uint64(29)
    order = np.argsort(mix, kind="stable")
    near = mix[order]
    later = np.flatnonzero(near[1:] == near[:-1]) + 1
    same = np.ones(len(later), bool)
    for name in names:
        now, before = columns[name][order[later]], columns[name][order[later - 1]]
        equal = now == before
        same &= equal | ((now != now) & (before != before)) if now.dtype.kind == "f" else equal
    twice = np.zeros(len(mix), bool)
    twice[order[later[same]]] = True
    return twice


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
            rejected.add(file, reason, rows[hit], _joined(table))
        start += len(rows)
