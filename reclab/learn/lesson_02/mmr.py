"""Exercise 2.2: maximal marginal relevance, a list that does not repeat itself.

next = argmax_i  lam * score_i - (1 - lam) * max_{j chosen} similarity_ij, the max over nothing = 0.
Source: Carbonell and Goldstein, SIGIR 1998.

Simplified: industry adds windows (no two of one creator in a row) and learns lam per user.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe, shown

SLACK = 1e-5


def mmr(score: np.ndarray, similarity: np.ndarray, k: int, lam: float) -> list[int]:
    """(n,) scores and (n, n) similarities -> the k chosen positions, in the order chosen."""
    chosen: list[int] = []
    nearest = np.zeros(len(score), np.float32)  # to the closest one chosen so far
    for _ in range(min(k, len(score))):
        gain = lam * score - (1 - lam) * nearest
        gain[chosen] = -np.inf
        best = int(np.argmax(gain))
        chosen.append(best)
        nearest = np.maximum(nearest, similarity[best])
    return chosen


def _greedy(score: Array, k: int, lam: float, penalty: Callable[[list[int]], Array]) -> list[int]:
    """Greedy selection with another idea of the penalty, for the misconceptions."""
    chosen: list[int] = []
    for _ in range(min(k, len(score))):
        gain = lam * score - (1 - lam) * (penalty(chosen) if chosen else 0 * score)
        gain[chosen] = -np.inf
        chosen.append(int(np.argmax(gain)))
    return chosen


def _swapped(score: Array, similarity: Array, k: int, lam: float) -> list[int]:
    return mmr(score, similarity, k, 1 - lam)


def _mean(score: Array, similarity: Array, k: int, lam: float) -> list[int]:
    return _greedy(score, k, lam, lambda chosen: similarity[chosen].mean(0))


def _sum(score: Array, similarity: Array, k: int, lam: float) -> list[int]:
    return _greedy(score, k, lam, lambda chosen: similarity[chosen].sum(0))


def _last_only(score: Array, similarity: Array, k: int, lam: float) -> list[int]:
    return _greedy(score, k, lam, lambda chosen: similarity[chosen[-1]])


def _first_only(score: Array, similarity: Array, k: int, lam: float) -> list[int]:
    return _greedy(score, k, lam, lambda chosen: similarity[chosen[0]])


def _rewards_similarity(score: Array, similarity: Array, k: int, lam: float) -> list[int]:
    return _greedy(score, k, lam, lambda chosen: -similarity[chosen].max(0))


def _top_scores(score: Array, similarity: Array, k: int, lam: float) -> list[int]:
    return [int(i) for i in np.argsort(-score, kind="stable")[:k]]


def _repeats(score: Array, similarity: Array, k: int, lam: float) -> list[int]:
    chosen: list[int] = []
    for _ in range(min(k, len(score))):
        nearest = similarity[chosen].max(0) if chosen else 0 * score
        chosen.append(int(np.argmax(lam * score - (1 - lam) * nearest)))
    return chosen


def _sorted(score: Array, similarity: Array, k: int, lam: float) -> list[int]:
    return sorted(mmr(score, similarity, k, lam))


MISCONCEPTIONS = (
    Misconception(
        "lam is on the wrong side",
        _swapped,
        "lam weighs the score and 1 - lam the similarity. With them swapped, the slider moves the "
        "list the wrong way: lam = 1 must give the plain top scores.",
    ),
    Misconception(
        "the similarity is not used",
        _top_scores,
        "These are the k best scores. MMR chooses one at a time and, before each choice, lowers "
        "what resembles the ones already chosen.",
    ),
    Misconception(
        "the mean similarity instead of the largest",
        _mean,
        "A near copy of one chosen card hides behind the average over many different ones. "
        "Take the largest similarity to any chosen card.",
    ),
    Misconception(
        "the sum of similarities instead of the largest",
        _sum,
        "A sum grows with the list, so that late places care for difference only and scores no "
        "longer count. Take the largest similarity to any chosen card.",
    ),
    Misconception(
        "compared with the last card only",
        _last_only,
        "Then the list alternates: basketball, cooking, basketball, cooking. Compare with every "
        "card chosen so far.",
    ),
    Misconception(
        "compared with the first card only",
        _first_only,
        "The second and later choices must count too: compare with every card chosen so far.",
    ),
    Misconception(
        "the similarity is added, not subtracted",
        _rewards_similarity,
        "This rewards what resembles the chosen cards: the list becomes more uniform. Subtract it.",
    ),
    Misconception(
        "chosen cards stay in the race",
        _repeats,
        "The same position comes twice. Take a card out of the running once it is chosen, for "
        "example by setting its gain to -inf.",
    ),
    Misconception(
        "the right cards in the wrong order",
        _sorted,
        "You return the positions in ascending order. The order of choice is the order on the "
        "screen: best first.",
    ),
)


def list_difference(
    value: Any, expected: Any, score: Array, similarity: Array, k: int, lam: float
) -> str:
    """'' if each choice is a best one at its turn (ties may go either way), else a sentence."""
    if value is None:
        return "It returns nothing (None): is the `return` missing?"
    try:
        places = [int(i) for i in value]
        whole = all(float(i) == int(i) for i in value)
    except (TypeError, ValueError, OverflowError):
        return f"It returns {shown(value)}, expected a list of positions."
    if not whole or any(not 0 <= i < len(score) for i in places):
        return f"Yours {places}: expected positions between 0 and {len(score) - 1}."
    if len(places) != len(expected):
        return f"Yours has {len(places)} positions, expected {len(expected)}."
    if len(set(places)) < len(places):
        return f"Yours {places} names a position twice."
    return _worse_choice(places, expected, score, similarity, lam)


def _worse_choice(
    places: list[int], expected: list[int], score: Array, similarity: Array, lam: float
) -> str:
    nearest = np.zeros(len(score), np.float64)
    for turn, place in enumerate(places):
        gain = lam * score - (1 - lam) * nearest
        gain[places[:turn]] = -np.inf
        if gain[place] < gain.max() - SLACK:
            return (
                f"Yours {places}, expected {list(expected)}. At choice {turn + 1} position {place} "
                f"is worth {gain[place]:.3f}, position {int(gain.argmax())} {gain.max():.3f}."
            )
        nearest = np.maximum(nearest, similarity[place])
    return ""


def _random(n: int) -> tuple[Array, Array]:
    chance = rng(2, "exercise-2.2", n)
    vectors = np.abs(chance.normal(size=(n, 4)))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return chance.random(n).astype(np.float32), (vectors @ vectors.T).astype(np.float32)


_TWINS = np.array([[1, 0.95, 0.1], [0.95, 1, 0.1], [0.1, 0.1, 1]], np.float32)
_SCORE = np.array([0.9, 0.85, 0.5], np.float32)
CASES = (
    Case("two near copies and a third card", (_SCORE, _TWINS, 2, 0.7)),
    Case("lam = 1: scores only", (_SCORE, _TWINS, 3, 1.0)),
    Case("12 cards, lam = 0.3", (*_random(12), 6, 0.3)),
    Case("60 cards, lam = 0.5", (*_random(60), 10, 0.5)),
    Case("more places than cards", (_SCORE, _TWINS, 5, 0.6)),
    Case("no cards", (np.zeros(0, np.float32), np.zeros((0, 0), np.float32), 3, 0.5)),
    Case("400 cards, 50 places", (*_random(400), 50, 0.6)),
)

TASK = Task(
    id="2.2",
    title="MMR: choose a list, not ten items",
    asked="Write mmr(score, similarity, k, lam): score (n,), similarity (n, n) in 0…1. Choose one "
    "position at a time: the one with the largest lam * score - (1 - lam) * (largest similarity "
    "to any already chosen; 0 before the first). Return the k chosen positions in the order of "
    "choice, all of them when there are fewer than k.",
    starter='def mmr(score, similarity, k, lam):\n    """(n,) scores, (n, n) similarities -> k '
    'positions, in the order chosen."""\n    ...',
    judge=Probe(
        mmr,
        CASES,
        MISCONCEPTIONS,
        list_difference,
        praise="The live cascade can now re-rank with your function: move λ and watch the slate.",
    ),
    hints=(
        "It is greedy: a loop over min(k, n) places. What has to be remembered from one turn to "
        "the next?",
        "Keep an array `nearest` (n,): the largest similarity of each card to the chosen ones, "
        "zero at the start. After each choice: nearest = np.maximum(nearest, similarity[best]).",
        "gain = lam * score - (1 - lam) * nearest; gain[chosen] = -np.inf; "
        "best = int(np.argmax(gain)); chosen.append(best).",
    ),
    solution=mmr,
    why="The value of a card depends on the cards above it, so no score computed card by card can "
    "give this list. Remembering only the nearest chosen card makes a turn cost n instead of "
    "n × chosen. lam = 1 is the plain ranking, and smaller values pay score for variety.",
    when_slow="Comparing each card with each chosen card anew at every turn costs n × k² steps. "
    "Keep the running maximum: nearest = np.maximum(nearest, similarity[best]).",
    limit_s=10.0,
)
