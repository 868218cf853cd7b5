"""Exercise 4.8: hindsight against what can be known: which saving may a platform expect?

hindsight   Q as it turned out: it knows which clicks will happen, and serves those
knowable    the expectation of Q given all that is true before the request is answered: no model,
            however good, can do better
predicted   what a model reaches today, on requests it has not seen

The reader reads two numbers off the measured table; the traps are its other rows.

Simplified: a company sees neither of the first two; it has only its model and a live test.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from reclab.learn.exercise import Task
from reclab.learn.probe import CORRECT, NOT_ATTEMPTED, NOT_YET, Verdict, shown

Row = tuple[str, float]

NEAR = 0.006  # a saving counts as a row's when it is as near as this: two digits were copied
KINDS = ("hindsight", "knowable", "predicted")
TRAPS = {
    "hindsight": "Likely: hindsight. This row knows how each request turned out, chance included. "
    "Nobody knows that before: part of what it saves is luck that was seen in advance.",
    "predicted": "Likely: today's model taken for the bound. A better model could save more; how "
    "much more at most is what another row says.",
    "other": "This row is a policy to compare with, not a bound on what can be reached.",
}


def saved_table(rows: Sequence[Row]) -> str:
    """Text table of ``(name, saved)``, the saving as a share of the cost at equal value.

    >>> print(saved_table([("hindsight Q", 0.5), ("knowable Q", 0.25)]))
    policy             saved
    hindsight Q      +50.0 %
    knowable Q       +25.0 %
    """
    width = max(14, *(len(name) for name, _ in rows))
    lines = [f"{name:<{width}}{100 * saved:>+8.1f} %" for name, saved in rows]
    return "\n".join([f"{'policy':<{width}}{'saved':>10}", *lines])


def kind_of(name: str) -> str:
    """hindsight, knowable, predicted or other, by the row's name."""
    told = name.casefold().replace("learned", "predicted").replace("estimated", "predicted")
    return next((kind for kind in KINDS if kind in told), "other")


def judge(answer: Any, rows: Sequence[Row] = ()) -> Verdict:
    """``answer``: (the most that any model could save, what today's best model saves)."""
    if answer is None or answer is ...:
        return Verdict(NOT_ATTEMPTED)
    pair = _read(answer)
    if isinstance(pair, str):
        return Verdict(NOT_YET, (pair,))
    savings = {kind: [row for row in rows if kind_of(row[0]) == kind] for kind in KINDS}
    if not all(savings.values()):
        asked = "Give the table too: ex.check(answer, rows), with a hindsight, a knowable and a "
        return Verdict(NOT_YET, (f"{asked}predicted row.",))
    bound = savings["knowable"][0]
    today = max(savings["predicted"], key=lambda row: row[1])
    wrong = _bound(pair[0], bound, rows) or _today(pair[1], today, rows)
    if wrong:
        return Verdict(NOT_YET, (wrong,))
    seen = savings["hindsight"][0][1]
    part = f", {today[1] / bound[1]:.0%} of the bound" if bound[1] > 0 else ""
    luck = (
        f"Hindsight shows {seen:.0%}, of which {seen - bound[1]:.0%} of the cost is luck that "
        f"nobody can know. No model can pass {bound[1]:.0%}; today's saves {today[1]:.0%}{part}."
    )
    return Verdict(CORRECT, (luck,))


def _read(answer: Any) -> tuple[float, float] | str:
    """Two savings, or a sentence that says what is wrong with them."""
    try:
        pair = tuple(float(saving) for saving in answer)
    except (TypeError, ValueError, OverflowError):
        pair = ()
    if isinstance(answer, (str, bytes)) or len(pair) != 2 or not np.isfinite(pair).all():
        return (
            f"Got {shown(answer)}, expected two savings: (at most, today), for example (0.3, 0.1)."
        )
    if max(abs(saving) for saving in pair) > 1.5:
        return f"Got {pair}: savings are shares of the cost, 0.25 for 25 %."
    return pair[0], pair[1]


def _row_near(saving: float, rows: Sequence[Row]) -> Row | None:
    near = min(rows, key=lambda row: abs(row[1] - saving))
    return near if abs(near[1] - saving) <= NEAR else None


def _bound(saving: float, bound: Row, rows: Sequence[Row]) -> str:
    """'' when the first number is the knowable row's."""
    if abs(saving - bound[1]) <= NEAR:
        return ""
    found = _row_near(saving, rows)
    if found is None:
        return f"At most {saving:.1%}: no row of the table has this saving. Which row is a bound?"
    trap = TRAPS.get(kind_of(found[0]), TRAPS["other"])
    return f"At most {found[1]:.1%} is the row “{found[0]}”. {trap}"


def _today(saving: float, today: Row, rows: Sequence[Row]) -> str:
    """'' when the second number is the best predicted row's."""
    if abs(saving - today[1]) <= NEAR:
        return ""
    found = _row_near(saving, rows)
    if found is None:
        return f"Today {saving:.1%}: no row of the table has this saving. Which rows are models?"
    if kind_of(found[0]) == "predicted":
        return (
            f"Today {found[1]:.1%} is the row “{found[0]}”: a model, but not the best of them. "
            f"Another saves {today[1]:.1%}."
        )
    return (
        f"Today {found[1]:.1%} is the row “{found[0]}”, which is no model that runs. Likely: the "
        "bound, or a comparison, taken for what is reached. A platform gets what its model "
        "predicts well enough."
    )


TASK = Task(
    id="4.8",
    title="Hindsight, knowable, predicted",
    asked="The table (rows) says what share of the cost each policy saves at equal value. Give "
    "answer = (at most, today): the most that the best possible model could ever save, and what "
    "the best of today's models saves. Both as shares, 0.25 for 25 %. Check with "
    "ex.check(answer, rows).",
    starter="answer = None  # (at most, today), two savings of the table",
    judge=judge,
    hints=(
        "Which row knows something that will only happen after the answer was sent? No model can "
        "have that.",
        "What can be known at best is the expectation: how this request turns out on average over "
        "the chance that is still open. Which row has that?",
        "Today's number is a row of a model that was trained on logs and judged on requests it "
        "had not seen. Take the best of them.",
    ),
    solution="saved = dict(rows)\n"
    'at_most = next(s for name, s in rows if "knowable" in name)\n'
    'today = max(s for name, s in rows if "predicted" in name or "learned" in name)\n'
    "answer = (at_most, today)\n",
    why="Solving with the values that turned out pays for luck: among equally promising requests "
    "it picks those that happened to click. An offline study on logged outcomes shows that number, "
    "and no live test will. The expectation is the honest bound, and a model gets a part of it.",
    limit_s=10.0,
)
