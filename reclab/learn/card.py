"""The card: a short message as plain text and as a small piece of HTML, for any colour theme.

The words carry the meaning; the mark and the colour only repeat it. Both forms are the same on
every run, so a notebook can be compared with its saved outputs.

Simplified: no styling of its own beyond a border; a course platform would have a stylesheet.
"""

import textwrap
from dataclasses import dataclass
from html import escape

WIDTH = 88
# Each reaches a contrast of 3:1 on white and on JupyterLab's dark background.
BORDER = {"good": "#0b8a6a", "wait": "#b86e00", "idle": "#767676", "info": "#3b7dd8"}
MARK = {"good": "✓", "wait": "○", "idle": "–", "info": "·"}


class Code(str):
    """A paragraph that keeps its line breaks: code, or an array."""


@dataclass(frozen=True)
class Card:
    """A title and paragraphs; ``tone`` is good, wait, idle or info.

    >>> Card("Hint 1 of 3", ("Start from the counts.",), "info")
    · Hint 1 of 3
      Start from the counts.
    """

    title: str
    body: tuple[str, ...] = ()
    tone: str = "info"

    def __repr__(self) -> str:
        lines = [f"{MARK[self.tone]} {self.title}"]
        for part in self.body:
            lines.extend(f"  {line}".rstrip() for line in _lines(part))
        return "\n".join(lines)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        style = (
            f"border-left:4px solid {BORDER[self.tone]};padding:.4em .9em;margin:.3em 0;"
            "max-width:56em;background:rgba(127,127,127,.08);"
            "color:var(--jp-ui-font-color1,inherit)"
        )
        head = f'<strong><span aria-hidden="true">{MARK[self.tone]}</span> {escape(self.title)}'
        return f'<div role="status" style="{style}">{head}</strong>{self._paragraphs()}</div>'

    def _paragraphs(self) -> str:
        quiet = "margin:.35em 0;background:transparent;color:inherit;overflow-x:auto"
        return "".join(
            f'<pre style="{quiet}" tabindex="0">{escape(part)}</pre>'
            if isinstance(part, Code)
            else f'<p style="margin:.35em 0">{escape(part)}</p>'
            for part in self.body
        )


def _lines(part: str) -> list[str]:
    if isinstance(part, Code):
        return part.splitlines()
    return textwrap.wrap(part, WIDTH, break_on_hyphens=False, break_long_words=False)
