"""Exercise 3.4: which column leaks (特征穿越): the training table beside what was served.

leak    the column knows something that was not known at the request, the label in particular:
        AUC in training far above AUC as served
skew    the column differs, but looks back only: older or coarser, never wiser
strong  the column is good on both sides: that is what a feature is for

Reference: Kaufman et al. 2012 (leakage in data mining); point-in-time joins of feature stores.

Simplified: the table is small, and what was served was logged; without that log the only sign is a
model that is better offline than live.
"""

from typing import Any

import numpy as np

from reclab.lab.leaky_columns import LeakyTable
from reclab.learn.exercise import Task
from reclab.learn.probe import CORRECT, NOT_ATTEMPTED, NOT_YET, Verdict, shown

NEAR = 0.006  # an AUC counts as the right one when it is as near as this: two digits were copied


def judge(answer: Any, table: LeakyTable | None = None) -> Verdict:
    """``answer``: (name of the column, its AUC in training minus its AUC as served)."""
    if answer is None or answer is ...:
        return Verdict(NOT_ATTEMPTED)
    pair = _read(answer)
    if isinstance(pair, str):
        return Verdict(NOT_YET, (pair,))
    if not isinstance(table, LeakyTable):
        return Verdict(NOT_YET, ("Give the table too: ex.check(answer, table).",))
    name, gap = pair
    aucs = table.aucs()
    if name not in aucs:
        return Verdict(NOT_YET, (f"There is no column {name!r}; there are {', '.join(aucs)}.",))
    leak = max(aucs, key=lambda one: aucs[one][0] - aucs[one][1])
    wrong = _column(name, leak, table) or _evidence(gap, *aucs[name])
    if wrong:
        return Verdict(NOT_YET, (wrong,))
    reported, live, mended = table.consequence()
    return Verdict(
        CORRECT,
        (
            f"{name} says {aucs[name][0]:.3f} in training and {aucs[name][1]:.3f} when it serves: "
            "it was read when the sample closed, and has seen the clicks that it is to predict.",
            f"A model on this table reports an AUC of {reported:.3f} and has {live:.3f} the next "
            f"day. The same model on what was served has {mended:.3f}: the leak did not only "
            "flatter it, it made it worse.",
        ),
    )


def _read(answer: Any) -> tuple[str, float] | str:
    """Column and gap, or a sentence that says what is wrong with them."""
    wanted = 'expected a column and a difference of AUCs, for example ("position", 0.05)'
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        return f"Got {shown(answer)}, {wanted}."
    name, gap = answer
    number = isinstance(gap, (int, float, np.number)) and not isinstance(gap, bool)
    if not isinstance(name, str) or not number or not np.isfinite(gap):
        return f"Got {shown(answer)}, {wanted}."
    return name.strip(), float(gap)


def _column(name: str, leak: str, table: LeakyTable) -> str:
    """'' when the column is the one that leaks."""
    if name == leak:
        return ""
    aucs = table.aucs()
    training, served = aucs[name]
    numbers = f"{name}: AUC {training:.3f} in training, {served:.3f} as served."
    same = np.allclose(table.training[name], table.served[name])
    if same and training >= max(one[0] for one in aucs.values()):
        return (
            f"{numbers} Likely: the strongest taken for the leak. It holds the same values on both "
            "sides, so it knows nothing that serving did not know. A good feature is no leak."
        )
    if same:
        return f"{numbers} It holds the same values on both sides: nothing can have leaked here."
    return (
        f"{numbers} Likely: skew taken for a leak. The values differ, but in training they are no "
        "better: this column is older there. It costs quality and deceives nobody. A leak makes "
        "training look better than serving."
    )


def _evidence(gap: float, training: float, served: float) -> str:
    """'' when the number is the difference of the two AUCs."""
    good = training - served
    if abs(gap - good) <= NEAR:
        return ""
    if abs(gap + good) <= NEAR:
        return f"The sign: yours {gap:.3f}. AUC in training minus AUC as served is {good:.3f}."
    for value, what in ((training, "in training"), (served, "as served")):
        if abs(gap - value) <= NEAR:
            return (
                f"The column is right; {gap:.3f} is its AUC {what}. Asked is the difference, "
                "training minus served."
            )
    return (
        f"The column is right. Yours {gap:.3f}, expected its AUC in training minus its AUC as "
        f"served, {good:.3f} ± {NEAR:g}."
    )


SOLUTION = """from reclab.core.metrics import auc

for name in table.training:
    print(name, auc(table.clicked, table.training[name]), auc(table.clicked, table.served[name]))

aucs = table.aucs()
gap = {name: training - served for name, (training, served) in aucs.items()}
leak = max(gap, key=gap.get)
answer = (leak, gap[leak])
"""

TASK = Task(
    id="3.4",
    title="Find the leak",
    asked="table.training[name] holds what the training table says of each impression, "
    "table.served[name] what the recommender had when it answered, table.clicked the label. One "
    "column of the training table was read too late and knows what it should predict. Give answer "
    "= (its name, its AUC in training minus its AUC as served), and check with ex.check(answer, "
    "table). auc(label, score) is in reclab.core.metrics.",
    starter='answer = None  # ("column", AUC in training minus AUC as served)',
    judge=judge,
    hints=(
        "A leak is not a strong column, and not every column that differs leaks. What must be true "
        "of the two AUCs of one that does?",
        "Two columns differ between training and serving. In one of them training is wiser, in the "
        "other it is only older.",
        "auc(table.clicked, table.training[name]) - auc(table.clicked, table.served[name]) for "
        "each name; the largest one leaks.",
    ),
    solution=SOLUTION,
    why="The join knows the label when it writes the sample, so every feature that is read at that "
    "moment may have seen it: a counter that includes this click, an average that includes this "
    "watch. Offline metrics then rise, and serving falls, because the model leans on what it will "
    "not have. The cure is to log the features as served, and to compare the two sides by column.",
    limit_s=20.0,
)
