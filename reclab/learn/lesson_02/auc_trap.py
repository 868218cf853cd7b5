"""Exercise 2.5: the trap of the high AUC.

A ranker trained on exposed items only can reach a high AUC and still build poor lists, and poorer
ones the more candidates it is given. The reader sees the measured table and names the reason.

AUC pools all rows: P(score of a positive > score of a negative). A list compares items for one
user only, most of which were never shown to anybody like them.

Simplified: industry corrects exposure bias with random slots, sampled negatives and propensities.
"""

from collections.abc import Mapping, Sequence

from reclab.learn.choice import Choice
from reclab.learn.exercise import Task

Row = tuple[str, float, Mapping[int, float]]

OPTIONS = {
    "a": "The exposed-only model has overfitted its training rows.",
    "b": "It learned who clicks and what was shown; it never learned to reject what was not shown.",
    "c": "Larger candidate sets contain worse items, so any model must lose value.",
    "d": "The models hardly differ; what the table shows is noise between requests.",
    "e": "The model is too small; more layers would turn its AUC into value.",
}
RIGHT = "b"
REPLIES = {
    "a": "Likely: AUC read as a training number. It was measured on later rows that the model had "
    "not seen, and it is high there. The model does generalise, but to the wrong question: to rows "
    "that the old policy chose to show.",
    "c": "Likely: the candidates blamed for the ranker. A larger set contains the smaller one, so "
    "the best ten in it can only be better. The oracle and the cured model gain with more "
    "candidates; a model that rates the additions too high does not.",
    "d": "Likely: too quick to call it noise. Noise goes up and down; look along the whole row, "
    "and compare the fall with the spread between seeds.",
    "e": "Likely: capacity blamed for the data. The cured models are the same network; what "
    "differs is what they learned from. A larger model fits the same biased rows more closely.",
}
WHY_RIGHT = (
    "Most of its AUC comes from telling busy clickers from idle users, which cannot change the "
    "order within one user's list. And it has only seen items that the old policy chose, so its "
    "score elsewhere is a guess; with more candidates there are more lucky guesses at the top."
)


def trap_table(rows: Sequence[Row]) -> str:
    """Text table of ``(model, AUC, {candidates: value as a share of the oracle's})``.

    >>> print(trap_table([("exposed only", 0.8, {100: 0.31, 1000: 0.24})]))
    model             AUC  value@100  value@1000
    exposed only     0.80       0.31        0.24
    """
    sizes = sorted({size for _, _, values in rows for size in values})
    heads = [f"value@{size}" for size in sizes]
    width = max(14, *(len(model) + 1 for model, _, _ in rows))
    lines = ["  ".join([f"{'model':<{width}}{'AUC':>7}", *(f"{h:>9}" for h in heads)])]
    for model, auc, values in rows:
        cells = (f"{values[size]:.2f}" if size in values else "-" for size in sizes)
        padded = (f"{c:>{max(9, len(h))}}" for c, h in zip(cells, heads, strict=True))
        lines.append("  ".join([f"{model:<{width}}{auc:>7.2f}", *padded]))
    return "\n".join(lines)


def _quote(rows: Sequence[Row]) -> str:
    model, auc, values = rows[0]
    small, large = min(values), max(values)
    return (
        f"In the table: {model} has AUC {auc:.2f}, and {values[small]:.2f} of the oracle's value "
        f"with {small} candidates, {values[large]:.2f} with {large}."
    )


TASK = Task(
    id="2.5",
    title="The trap: high AUC, poor list",
    asked="The table shows the AUC of rankers and the true value of their lists for growing "
    "candidate sets. Which explanation fits the model that was trained on exposed items only?\n"
    + "\n".join(f"({letter}) {text}" for letter, text in OPTIONS.items()),
    starter="answer = None  # one of 'a', 'b', 'c', 'd', 'e'",
    judge=Choice(OPTIONS, RIGHT, REPLIES, WHY_RIGHT, _quote),
    hints=(
        "Which pairs of rows does AUC compare? Are they pairs that ever compete for the same list?",
        "Whose choice were the exposed items? What does the model know of an item that the old "
        "policy never showed to such a user?",
        "Compare with the cured model: same size and architecture, but trained with negatives from "
        "beyond the exposed. What did that add?",
    ),
    solution=f"answer = {RIGHT!r}",
    why=WHY_RIGHT + " The cures: negatives sampled beyond the exposed items, the randomly filled "
    "slots as an unbiased sample, statistics as of the request. Judge by the value of whole lists.",
    limit_s=10.0,
)
