"""Small generated samples of the four tables, to look at before anything is built.

A few users are kept with what they saw and with the items of those rows. CSV, a list cell as
``[1 5]``, flags as 0 and 1. ``python datasets/make_sample.py`` does it for the tiny world.

Reference: the columns are in datasets/README.md.

Simplified: industry samples by a hash of the user id, so that samples of two tables join.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from reclab.core.clock import DAY_MS
from reclab.core.tables import Array, Logs, Table

USERS = 12
ROWS = 400  # per table: all samples together stay under 200 KB


def write_sample(logs: Logs, folder: Path) -> list[Path]:
    """Write users, items, interactions, daily and feedback as CSV; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, table in sample(logs).items():
        path = folder / f"{name}.csv"
        cells = {column: _printable(values) for column, values in table.columns.items()}
        pacsv.write_csv(pa.table(cells), path, pacsv.WriteOptions(quoting_style="needed"))
        written.append(path)
    return written


def sample(logs: Logs, users: int = USERS, rows: int = ROWS) -> dict[str, Table]:
    """The first ``rows`` interactions of the ``users`` most active users, and what belongs to
    them in the other tables."""
    shown = logs.interactions
    ids, counts = np.unique(shown["user_id"], return_counts=True)
    chosen = ids[np.argsort(-counts, kind="stable")[:users]]
    kept = shown.take(np.flatnonzero(np.isin(shown["user_id"], chosen))[:rows])
    last_day = kept["time_ms"].max() // DAY_MS
    tables = {
        "users": logs.users.take(np.isin(logs.users["user_id"], chosen)),
        "items": logs.items.take(np.isin(logs.items["video_id"], kept["video_id"])),
        "interactions": kept,
    }
    if len(logs.daily):
        mine = np.isin(logs.daily["user_id"], chosen) & (logs.daily["day"] <= last_day)
        tables["daily"] = logs.daily.take(np.flatnonzero(mine)[:rows])
    if len(logs.feedback):
        late = np.isin(logs.feedback["req_id"], kept["req_id"])
        tables["feedback"] = logs.feedback.take(np.flatnonzero(late)[:rows])
    return tables


def _printable(values: Array) -> Array:
    if values.ndim == 2:
        return np.array([f"[{' '.join(str(v) for v in row if v != -1)}]" for row in values])
    if values.dtype.kind == "f":
        return np.round(values.astype(np.float64), 3)
    return values.astype(np.int8) if values.dtype == bool else values
