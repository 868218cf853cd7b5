"""From the cells of a file to arrays: types, missing values, ranges, and the reason why a row
cannot be used.

A row is kept if every required field has a usable value and every given value is in its range.
All decisions are made on whole columns.

Reference: the ranges are those of the publishers' descriptions.

Simplified: industry writes such rules as a schema beside the table, and checks them at the gate.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reclab.core.errors import DataError
from reclab.core.tables import Array
from reclab.datasets.report import RejectedRows

# Any stamp outside 1990-2100 is an accident; one such row would move the first midnight.
EPOCH_MS = {"low": 631_152_000_000, "high": 4_102_444_800_000}
EPOCH_SEC = {"low": 631_152_000, "high": 4_102_444_800}
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


def clean(
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
        try:
            value, wrong = _values(column, field.kind)
        except pa.ArrowException as error:  # lists, dates, numbers beyond 64 bits
            what = f"cannot be read as {WORD.get(field.kind, 'text')}"
            raise DataError(f"{file}: column {field.name} of type {column.type} {what}") from error
        mark(wrong, f"{field.name} is not {WORD.get(field.kind, 'text')}")
        absent = np.asarray(pc.is_null(value, nan_is_null=field.kind == "float"))
        if field.required:
            mark(absent, f"{field.name} is missing")
        columns[field.name] = values = _filled(value, field.kind)
        present = ~absent
        if field.kind == "float":
            mark(np.isinf(values), f"{field.name} is not finite")
        if field.low is not None:
            mark(present & (values < field.low), f"{field.name} is below {field.low:g}")
        if field.high is not None:
            mark(present & (values > field.high), f"{field.name} is above {field.high:g}")
    for code, reason in enumerate(reasons[1:], start=1):
        hit = np.flatnonzero(why == code)
        rejected.add(file, reason, rows[hit], joined(table.take(pa.array(hit))))
    return columns, why == 0


def _values(column: pa.ChunkedArray, kind: str) -> tuple[pa.ChunkedArray, Array]:
    """(column of the declared type, mask of cells that hold something else)."""
    wrong = np.zeros(len(column), bool)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
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


def joined(table: pa.Table) -> pa.Array:
    """Each row as one comma-separated text."""
    cells = [pc.fill_null(_text(column), "") for column in table.columns]
    return pc.binary_join_element_wise(*cells, ",").combine_chunks()
