"""The choice: judges a letter, and tells the owner of a wrong one why it is wrong.

Simplified: one letter is right; a course platform would shuffle them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reclab.learn.probe import CORRECT, NOT_ATTEMPTED, NOT_YET, Verdict, shown


@dataclass(frozen=True)
class Choice:
    """``options`` and ``replies`` by letter, the ``right`` one and ``why``; ``quote`` puts the rows
    of a measured table into a sentence."""

    options: Mapping[str, str]
    right: str
    replies: Mapping[str, str]
    why: str
    quote: Callable[[Sequence[Any]], str]

    def __call__(self, answer: Any, rows: Sequence[Any] = ()) -> Verdict:
        """The verdict on a letter; ``rows``, if given, are quoted beside it."""
        if answer is None or answer is ...:
            return Verdict(NOT_ATTEMPTED)
        letter = answer.strip().lower().strip("().") if isinstance(answer, str) else ""
        if letter not in self.options:
            letters = ", ".join(self.options)
            told = f"Got {shown(answer)}, expected one of the letters {letters}."
            return Verdict(NOT_YET, (told,))
        seen = (self.quote(rows),) if rows else ()
        if letter == self.right:
            return Verdict(CORRECT, (self.why, *seen))
        chosen = f"You chose {letter}: {self.options[letter]}"
        return Verdict(NOT_YET, (chosen, self.replies[letter], *seen))
