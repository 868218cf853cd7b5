"""Exercise 1.8: wishes that no page can fulfil: which of them contradict each other?

    a conflict = a smallest set of rules that have no page together: without any one of them, the
    rest of the set has one

The check asks ``blending.allocation.conflicts``, which tries the rules on the best supply there
could be. The rules are the reader's to change and to try.
Reference: Chinneck and Dravnieks 1991 (smallest infeasible sets).

Simplified: industry asks such a question of thousands of rules, by user group and hour.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from reclab.blending.allocation import PageRules, conflicts
from reclab.learn.exercise import Task
from reclab.learn.probe import CORRECT, NOT_ATTEMPTED, NOT_YET, Verdict, shown

SLOTS = 10
WISHES: dict[str, dict[str, Any]] = {
    "a": {"floors": {"ad": 3}},
    "b": {"ceilings": {"short video": 4}},
    "c": {"first_paid": 3},
    "d": {"paid_gap": 3},
    "e": {"creator_gap": 5},
    "f": {"most_in_a_row": {"short video": 2}},
    "g": {"floors": {"live": 2}},
}
SAID = {
    "a": "sales: at least 3 ads on every page",
    "b": "editors: at most 4 short videos",
    "c": "product: no ad in the first 3 slots",
    "d": "product: at least 3 other cards between two ads",
    "e": "creators' care: 5 other cards between two of one creator",
    "f": "editors: no more than 2 short videos in a row",
    "g": "live: at least 2 live cards",
}


def rules_with(letters: str) -> PageRules:
    """A page of ten with these wishes and no other rule.

    >>> rules_with("cd").first_paid, rules_with("cd").paid_gap, rules_with("d").first_paid
    (3, 3, 0)
    """
    n = len(PageRules().businesses)
    rules = PageRules(
        slots=SLOTS, most_paid=SLOTS, first_paid=0, paid_gap=0, creator_gap=0,
        most_in_a_row=(SLOTS,) * n, floors=(0,) * n, ceilings=(SLOTS,) * n,
    )  # fmt: skip
    for letter in letters:
        for field, value in WISHES[letter].items():
            rules = replace(rules, **{field: _entry(rules, field, value)})
    return rules


def _entry(rules: PageRules, field: str, value: Any) -> Any:
    """A number as it is; {business: number} within the tuple of all."""
    if not isinstance(value, Mapping):
        return value
    return tuple(
        value.get(name, old)
        for name, old in zip(rules.businesses, getattr(rules, field), strict=True)
    )


def possible(letters: str) -> bool:
    """Whether some page fulfils all these wishes."""
    return not conflicts(rules_with(letters))


def judge(answer: Any) -> Verdict:
    """The letters of a smallest set of wishes that no page fulfils together."""
    if answer is None or answer is ...:
        return Verdict(NOT_ATTEMPTED)
    letters = _read(answer)
    if len(letters) < 1 or not set(letters) <= set(WISHES):
        every = ", ".join(WISHES)
        return Verdict(NOT_YET, (f"Got {shown(answer)}, expected some of the letters {every}.",))
    if possible(letters):
        return Verdict(NOT_YET, _fits_together(letters))
    spare = [letter for letter in letters if not possible(letters.replace(letter, ""))]
    if spare:
        return Verdict(NOT_YET, _too_many(letters, spare))
    told = ", ".join(f"({letter}) {SAID[letter]}" for letter in letters)
    names = ", ".join(conflicts(rules_with(letters)))
    return Verdict(
        CORRECT,
        (
            f"No page of {SLOTS} fulfils {told}; without any one of them there is one. The service "
            f"refuses to start with these rules and names them: {names}.",
        ),
    )


def _read(answer: Any) -> str:
    """The letters in order, '' for what is none."""
    if isinstance(answer, str):
        found = [c for c in answer.casefold() if c.isalpha()]
    elif isinstance(answer, (list, tuple, set, frozenset)):
        found = [c.strip(" ()").casefold() if isinstance(c, str) else "?" for c in answer]
    else:
        found = []
    return "".join(sorted(set(found))) if all(len(c) == 1 for c in found) else ""


def _fits_together(letters: str) -> tuple[str, ...]:
    """Why wishes that can be fulfilled together were likely chosen."""
    told = f"Yours, {', '.join(letters)}, can be fulfilled together, expected a set that cannot."
    if len(letters) == 1:
        return ("Likely: one wish blamed. Alone, each has a page; it takes several to clash.", told)
    if set("ad") <= set(letters):
        return (
            "Likely: one wish short. Three ads with three cards between each span 1 + 4 + 4 = 9 "
            f"slots, and {SLOTS} hold them. What else takes slots from them?",
            told,
        )
    if set("ac") <= set(letters):
        return (
            "Likely: one wish short. Seven slots are left for three ads, enough if they may stand "
            "close. What keeps them apart?",
            told,
        )
    if set("bf") & set(letters):
        return (
            "Likely: short videos blamed. There are five other businesses to fill the page, so "
            "four videos, two in a row, are no trouble.",
            told,
        )
    return (
        "Likely: what sounds strict taken for what clashes. Count slots: who asks for them, and "
        "who forbids them to whom?",
        told,
    )


def _too_many(letters: str, spare: list[str]) -> tuple[str, ...]:
    named = ", ".join(f"({letter}) {SAID[letter]}" for letter in spare)
    return (
        "Likely: a bystander accused. Yours cannot be fulfilled together, but neither can it "
        f"without: {named}. Expected: a set of which every wish is needed for the clash.",
    )


TASK = Task(
    id="1.8",
    title="Wishes that no page can fulfil",
    asked=f"Seven wishes for a page of {SLOTS} cards, from people who did not ask each other. Each "
    "can be fulfilled; all together cannot. Give a smallest set that cannot: leave any one of it "
    "away, and the rest has a page.\n"
    + "\n".join(f"({letter}) {text}" for letter, text in SAID.items()),
    starter='answer = None  # letters, for example "bf"',
    judge=judge,
    hints=(
        "Which wishes ask for slots, and which forbid slots? A clash needs both kinds.",
        "Only one business has a floor, a gap and a place where it may not stand. Draw its cards "
        "as early as they may stand, and as close as they may follow.",
        "First ad at slot 3 (the fourth), then 7, then 11. How many slots has the page?",
    ),
    solution="from itertools import combinations\n"
    "from reclab.learn.lesson_01.conflict import WISHES, possible\n\n"
    'sets = ("".join(some) for n in range(1, 8) for some in combinations(WISHES, n))\n'
    "answer = next(some for some in sets if not possible(some))  # the first is a smallest one\n",
    why="Each wish is harmless and comes from a different desk, so nobody sees the clash until "
    "pages come out short, for some users only. A solver that is asked before serving, on the best "
    "supply there could be, says no at once, and a smallest set says to whom: any one of them can "
    "mend it, and nobody else needs to be asked.",
    limit_s=10.0,
)
