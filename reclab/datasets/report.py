"""What a loader says about its work: rows read, kept and rejected by reason, and the logs that
carry the report with them.

``rows read = rows kept + rows rejected`` for every file, always.

Reference: the rule is that of bulk loaders with a bad-records file, such as Hive and Spark's
``badRecordsPath``.

Simplified: industry also raises an alarm when the share of rejected rows jumps from one day to
the next.
"""

import re
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from reclab.core.errors import DataError
from reclab.core.tables import Array, Logs, Table


@dataclass
class RejectedRows:
    """Rows set aside, with file, row number, reason and text. ``add`` and ``write``."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    parts: list[pa.Table] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(self.counts.values())

    def add(self, file: str, reason: str, rows: Array, text: pa.Array) -> None:
        """Set rows aside. ``rows`` (n,) counts from 1 = first row after the header; ``text`` (n,)
        is what the row said."""
        if not len(rows):
            return
        self.counts[file, reason] += len(rows)
        said = {"file": pa.repeat(file, len(rows)), "row": pa.array(rows)}
        said |= {"reason": pa.repeat(reason, len(rows)), "text": text}
        self.parts.append(pa.table(said))

    def of(self, file: str) -> int:
        """How many rows of one file were rejected."""
        return sum(n for (name, _), n in self.counts.items() if name == file)

    def by_reason(self) -> Counter[str]:
        """Rejected rows of all files by reason."""
        total: Counter[str] = Counter()
        for (_, reason), n in self.counts.items():
            total[reason] += n
        return total

    def write(self, path: Path) -> Path:
        """Write the rows as CSV (file, row, reason, text), quoted so that any text survives.

        Raises ``DataError`` where the path cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            pacsv.write_csv(pa.concat_tables(self.parts), path)
        except OSError as error:
            raise DataError(f"cannot write the rejected rows to {path}: {error}") from error
        return path


def default_rejects(source: Path) -> Path:
    """Where rejected rows go when the caller names no file: never in the source folder."""
    name = re.sub(r"[^\w.-]+", "_", "_".join(source.absolute().parts[-3:])).strip("_")
    return Path(tempfile.gettempdir()) / "reclab" / "rejected" / f"{name}.csv"


@dataclass
class LoadReport:
    """What was read from where. Times: ``first_midnight_ms`` is the epoch time, in ms, of the
    first midnight of the log on the source's own clock, ``utc_offset_h`` that clock's distance
    to UTC in hours; a row's epoch time is ``first_midnight_ms + time_ms``."""

    origin: str
    source: Path
    rows_read: dict[str, int] = field(default_factory=dict)
    rejected: RejectedRows = field(default_factory=RejectedRows)
    rejected_path: Path | None = None
    notes: list[str] = field(default_factory=list)
    first_midnight_ms: int | None = None
    utc_offset_h: int = 0

    @property
    def rows_kept(self) -> dict[str, int]:
        """Rows kept by file."""
        return {file: n - self.rejected.of(file) for file, n in self.rows_read.items()}

    def moment(self, time_ms: int) -> str:
        """A log time as date and time of day on the source's own clock."""
        epoch = (self.first_midnight_ms or 0) + int(time_ms) + self.utc_offset_h * 3_600_000
        when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=epoch)
        return when.strftime("%Y-%m-%d %H:%M:%S")

    def __str__(self) -> str:
        kept = self.rows_kept
        lines = [
            f"{self.origin}: {sum(self.rows_read.values()):,} rows read, "
            f"{sum(kept.values()):,} kept, {len(self.rejected):,} rejected"
        ]
        for file, read in _shortened(self.rows_read):
            rest = read - kept.get(file, read)
            lines.append(f"  {file}: {read:,} read" + (f", {rest:,} rejected" if rest else ""))
        lines += [f"  rejected {n:,}: {why}" for why, n in self.rejected.by_reason().most_common()]
        if self.rejected_path is not None:
            lines.append(f"  rejected rows are in {self.rejected_path}")
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])


def _shortened(rows: dict[str, int], most: int = 8) -> list[tuple[str, int]]:
    """The largest files one by one, the others summed: Globo has 385 files."""
    if len(rows) <= most:
        return list(rows.items())
    ranked = sorted(rows.items(), key=lambda pair: -pair[1])
    rest = ranked[most - 1 :]
    return ranked[: most - 1] + [(f"{len(rest)} more files", sum(n for _, n in rest))]


@dataclass(frozen=True)
class LoadedLogs(Logs):
    """The four tables, the report of how they were read, and what the source says beyond the
    declared columns, as small tables keyed by an id (``extra["items"]`` with ``video_id`` and
    ``title``, ``extra["sessions"]`` with ``session_id`` and ``start_epoch_ms``)."""

    report: LoadReport = field(default_factory=lambda: LoadReport("none", Path()))
    extra: Mapping[str, Table] = field(default_factory=dict)


def no_rows(report: LoadReport) -> DataError:
    """The error for a source of which nothing can be used."""
    why = ", ".join(f"{n:,} × {w}" for w, n in report.rejected.by_reason().most_common(3))
    read = sum(report.rows_read.values())
    said = f"{report.source}: none of the {read:,} rows of {report.origin} can be used"
    return DataError(said + (f" ({why})" if why else ""))


def as_rows(rows: list[int]) -> Array:
    """Row numbers as the int64 array that ``RejectedRows.add`` takes."""
    return np.asarray(rows, np.int64)
