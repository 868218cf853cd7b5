"""The glossary: reads GLOSSARY.md, where each term has its Chinese name, one line and a section.

Simplified: an exact or near match of words; no stemming and no search by meaning.
"""

import difflib
import functools
import re
from dataclasses import dataclass
from pathlib import Path

from reclab.core.errors import DataError
from reclab.learn.card import Card

PATH = Path(__file__).resolve().parents[2] / "GLOSSARY.md"


@dataclass(frozen=True)
class Term:
    """One row of the table."""

    name: str
    chinese: str
    line: str
    section: str

    def names(self) -> set[str]:
        """What it may be asked by: the whole name, without its brackets, the brackets' words, the
        Chinese name and its single words."""
        outside, _, inside = self.name.casefold().rstrip(")").partition(" (")
        return {self.name.casefold(), outside, inside, self.chinese, *self.chinese.split()} - {""}

    def __str__(self) -> str:
        return f"{self.name} · {self.chinese} · {self.line} (§{self.section})"


def read_glossary(path: Path = PATH) -> tuple[Term, ...]:
    """All terms of a Markdown table ``| term | 中文 | in one line | § |``.

    Raises ``DataError`` when the file is missing or a row has not four filled cells.
    """
    if not path.is_file():
        raise DataError(f"{path.name} is not beside the package: it comes with the full checkout")
    rows = [line for line in path.read_text("utf-8").splitlines() if line.startswith("| ")]
    terms = []
    for row in rows[1:]:  # the first is the heading
        cells = [cell.strip() for cell in row.strip("| ").split(" | ")]
        if len(cells) != 4 or not all(cells):
            raise DataError(f"{path.name}: expected four cells, got {len(cells)} in {row!r}")
        terms.append(Term(*cells))
    return tuple(terms)


@functools.cache
def _terms() -> tuple[Term, ...]:
    return read_glossary()


def glossary(word: str) -> Card:
    """The line of a term, by its English or Chinese name; near ones when there is none.

    >>> "粗排" in repr(glossary("pre-ranking"))
    True
    """
    asked = str(word).strip().casefold()
    terms = _terms()
    exact = [t for t in terms if asked in t.names()]
    whole = [t for t in terms if asked and re.search(rf"\b{re.escape(asked)}\b", t.name.casefold())]
    parts = [t for t in terms if asked and asked in f"{t.name.casefold()} {t.chinese}"]
    found = exact or whole or parts
    if found:
        return Card(f"Glossary · {word}", tuple(str(term) for term in found))
    by_name = {t.name.casefold(): t.name for t in terms}
    near = [by_name[n] for n in difflib.get_close_matches(asked, list(by_name), 3, 0.5)]
    told = f"There is no such term. Near it: {', '.join(near)}." if near else "No such term."
    return Card(f"Glossary · {word}", (told,), "wait")
