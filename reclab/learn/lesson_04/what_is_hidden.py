"""Exercise 4.7: what a headline leaves out: "cost down by a quarter at equal revenue".

An allocation is solved for one value, Q. What is not in Q is not protected: computing is taken
where it earns least of Q, whatever else it earned there.

The numbers quoted are those that the DCAF paper reports of its own test, at equal revenue: cost
-25 %, RPM (revenue per mille) +0.24 %, CTR -0.57 %.
Reference: Jiang et al., DCAF, 2020 (arXiv 2006.09684).

Simplified: industry keeps such other numbers as guard rails, which stop a launch when they fall.
"""

from collections.abc import Sequence

from reclab.learn.choice import Choice
from reclab.learn.exercise import Task

Row = tuple[str, float]

OPTIONS = {
    "a": "Nothing: revenue is what the platform lives on, and it did not fall.",
    "b": "The cost of solving the allocation itself, which eats most of what is saved.",
    "c": "What was not in Q: computing left the requests that earn little, and whatever else those "
    "users got from it, clicks among it, fell unseen.",
    "d": "That a random choice of requests would have saved as much.",
    "e": "That a quarter less cost means a quarter fewer servers, so the next surge will fail.",
}
RIGHT = "c"
REPLIES = {
    "a": "Likely: one number taken for all. In the same table the paper reports CTR -0.57 % at "
    "equal revenue. Users who click less come back less; that is in no revenue of today.",
    "b": "Likely: the solver taken for dear. A price for a million requests is found in about a "
    "second, and choosing an action at a price takes microseconds, against milliseconds saved.",
    "d": "Likely: the gain taken for noise. The paper reports that a random policy at its cheaper "
    "cost loses 36.8 % of the value; which requests are served less is the whole point.",
    "e": "Likely: cost and capacity mixed up. Less cost for the same traffic leaves more room in a "
    "surge, not less. What a surge breaks is the price, which was solved for usual traffic.",
}
WHY_RIGHT = (
    "An allocation protects the value it is solved for and pays with everything else. At equal "
    "revenue the paper reports cost -25 % and CTR -0.57 %: half a per cent of all clicks was the "
    "price, and the headline does not say so. Ask of each saving: equal in what, and what moved?"
)


def _quote(rows: Sequence[Row]) -> str:
    fell = [f"{what} {change:+.1f} %" for what, change in rows if change < 0]
    every = ", ".join(f"{what} {change:+.1f} %" for what, change in rows)
    if not fell:
        return f"On our platform: {every}. Nothing that was measured fell."
    return f"On our platform: {every}. What fell: {', '.join(fell)}."


TASK = Task(
    id="4.7",
    title="What is hidden in a headline",
    asked="A report says: the same revenue for 25 % less computing. What does it leave out?\n"
    + "\n".join(f"({letter}) {text}" for letter, text in OPTIONS.items()),
    starter="answer = None  # one of 'a', 'b', 'c', 'd', 'e'",
    judge=Choice(OPTIONS, RIGHT, REPLIES, WHY_RIGHT, _quote),
    hints=(
        "Equal in what? An allocation is solved for one value Q. Name two things that a request "
        "gives to the platform or its user and that are not revenue.",
        "Where was the computing taken from? Think of the users of those requests, and of what the "
        "longer list had given them.",
        "The paper's own table has a line for the click rate. What sign do you expect there?",
    ),
    solution=f"answer = {RIGHT!r}",
    why=WHY_RIGHT + " The cures: put what matters into Q, or hold it by a constraint of its own, "
    "and print every number that moved beside the one that was meant to.",
    limit_s=10.0,
)
