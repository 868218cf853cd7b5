"""What a data set holds and what the lessons can do with it, as text.

Each ability is a condition on the columns of the four tables.

Reference: the columns are those of ``reclab/core/tables.py``.

Simplified: industry tracks such profiles over time and compares each day with the one before.
"""

from collections.abc import Callable

from reclab.core.tables import TABLES, Logs, Table
from reclab.datasets.assemble import holds_impressions
from reclab.datasets.report import LoadedLogs

Needs = Callable[[Logs], bool]


def _column(table: str, *names: str) -> Needs:
    return lambda logs: all(name in getattr(logs, table) for name in names)


def _both(name: str) -> Needs:
    """The column is there and says both yes and no."""

    def says(logs: Logs) -> bool:
        shown = logs.interactions
        return name in shown and bool(shown[name].any()) and not bool(shown[name].all())

    return says


ABILITIES: tuple[tuple[str, Needs, str], ...] = (
    ("retrieval from behaviour", lambda logs: bool(logs.positive.any()), "clicks, likes or views"),
    ("next item in a session", _column("interactions", "session_id"), "session_id"),
    ("popularity by impressions", lambda logs: holds_impressions(logs.interactions), "impressions"),
    ("ranking for clicks", _both("is_click"), "is_click, both yes and no"),
    ("ranking for likes", _both("is_like"), "is_like, both yes and no"),
    ("ranking for long views", _both("is_long_view"), "is_long_view, both yes and no"),
    ("ranking for watch time", _column("interactions", "watch_sec"), "watch_sec"),
    ("ranking by stars", _column("interactions", "rating"), "rating"),
    ("unbiased evaluation", _column("interactions", "is_random"), "a random sample, flagged"),
    ("diversity by category", _column("items", "tags"), "tags"),
    ("diversity by creator", _column("items", "author_id"), "author_id"),
    ("freshness of items", _column("items", "publish_ms"), "publish_ms"),
    ("late reports of feedback", _column("feedback", "report_ms"), "report_ms"),
    ("money", _column("interactions", "pay_amount"), "pay_amount"),
)


def abilities(logs: Logs) -> list[tuple[str, bool, str]]:
    """(what a lesson does, whether these logs allow it, what it needs)."""
    shown = bool(len(logs.interactions))
    return [
        (what, (shown or "diversity" in what or "freshness" in what) and needs(logs), why)
        for what, needs, why in ABILITIES
    ]


def describe(logs: LoadedLogs) -> str:
    """Report of reading, tables with present and absent columns, time range, abilities."""
    lines = [str(logs.report), "", f"recognised: {logs.origin}"]
    lines += [_table_line(name, getattr(logs, name)) for name in TABLES]
    if len(logs.interactions):
        when = logs.interactions["time_ms"]
        clock = f"UTC{logs.report.utc_offset_h:+d}" if logs.report.utc_offset_h else "UTC"
        first, last = logs.report.moment(when[0]), logs.report.moment(when[-1])
        lines.append(f"time: {first} to {last} ({clock}); time_ms 0 is {logs.report.moment(0)}")
    lines += [f"beyond the tables: {name} ({', '.join(table)})" for name, table in _extra(logs)]
    lines.append("what lessons can do:")
    for what, able, why in abilities(logs):
        lines.append(f"  {'yes' if able else 'no '} {what}" + ("" if able else f" (needs {why})"))
    return "\n".join(lines)


def _extra(logs: LoadedLogs) -> list[tuple[str, Table]]:
    return sorted(logs.extra.items())


def _table_line(name: str, table: Table) -> str:
    if not len(table):
        return f"{name}: none"
    absent = [column.name for column in TABLES[name] if column.name not in table]
    line = f"{name}: {len(table):,} rows; columns {', '.join(table)}"
    return line + (f"; absent {', '.join(absent)}" if absent else "")
