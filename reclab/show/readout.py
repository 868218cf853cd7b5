"""The numbers of an explorer as tables: text for terminals and comparison, HTML for the page.

difference = now - pinned, both rounded first, so that the three numbers of a row always agree. A
number that does not exist (of empty lists, or of what the logs do not tell) is a dash, and a row of
two dashes is left out.

Simplified: a dashboard adds an interval to each difference; the lessons do that where they test.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite

from reclab.show.labels import label, text_table


@dataclass(frozen=True)
class Row:
    """One number: what it is, its value, digits after the point, and unit. ``measured`` marks
    what depends on the machine (times): shown on the page, left out of the compared text."""

    words: str
    value: float
    digits: int = 3
    unit: str = ""
    measured: bool = False


def cells(now: Row, then: Row) -> tuple[str, str, str, str]:
    """Words, current value, baseline and signed difference of one row, rounded.

    >>> cells(Row("NDCG@10", 0.4126, 3), Row("NDCG@10", 0.4, 3))
    ('NDCG@10', '0.413', '0.400', '+0.013')
    >>> cells(Row("Gini", 0.9, 1), Row("Gini", float("nan"), 1))
    ('Gini', '0.9', '–', '–')
    """
    name = label(now.words) + (f" ({label(now.unit)})" if now.unit else "")
    one, two = round(float(now.value), now.digits), round(float(then.value), now.digits)
    step = round(one - two, now.digits) + 0.0  # + 0.0: no "-0"
    shown = [f"{x:,.{now.digits}f}" if isfinite(x) else "–" for x in (one + 0.0, two + 0.0)]
    apart = f"{step:+,.{now.digits}f}" if step else "0"
    return name, shown[0], shown[1], apart if isfinite(step) else "–"


def _table(now: Sequence[Row], then: Sequence[Row], measured: bool) -> list[tuple[str, ...]]:
    head = tuple(label(key) for key in ("measure", "now", "pinned", "difference"))
    pairs = [
        (one, two)
        for one, two in zip(now, then, strict=True)
        if (measured or not one.measured) and (isfinite(one.value) or isfinite(two.value))
    ]
    body = [cells(one, two) for one, two in pairs]
    return [head, *body] if body else []


def rows_text(now: Sequence[Row], then: Sequence[Row]) -> str:
    """The table as text, without measured rows."""
    return text_table(_table(now, then, measured=False))


def rows_html(now: Sequence[Row], then: Sequence[Row]) -> str:
    """The table as HTML, all rows; colours come from the page, so both themes read."""
    table = _table(now, then, measured=True)
    if not table:
        return ""
    style = "padding:1px 14px 1px 0;text-align:"
    head = "".join(
        f'<th scope="col" style="{style}{"right" if i else "left"}">{escape(cell)}</th>'
        for i, cell in enumerate(table[0])
    )
    body = "".join(
        f'<tr><th scope="row" style="{style}left;font-weight:normal">{escape(row[0])}</th>'
        + "".join(f'<td style="{style}right">{escape(cell)}</td>' for cell in row[1:])
        + "</tr>"
        for row in table[1:]
    )
    return (
        '<table style="border-collapse:collapse;font-variant-numeric:tabular-nums;line-height:1.5">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def message_html(what: str, why: str = "", details: str = "") -> str:
    """A message to the reader beside the controls; ``details`` (a traceback) folds away."""
    if not what:
        return ""
    more = f"<details><summary>details</summary><pre>{escape(details)}</pre></details>"
    return (
        '<div role="alert" style="border-left:4px solid #D0552B;padding:2px 10px;line-height:1.5">'
        f"<b>{escape(what)}</b>{': ' if why else ''}{escape(why)}{more if details else ''}</div>"
    )
