"""Exercise 2.7: the target attention of DIN: what of the past matters depends on the candidate.

v = sum over the real items h_l of the past of  weigh(h_l, t, h_l - t, h_l * t) h_l,  0 without any.

``weigh`` is the small network that DIN has learned; no softmax, so the length of v says how strong
the interest is. Source: Zhou et al., KDD 2018.

Simplified: industry attends over thousands of past items, and searches the nearest ones first.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.learn.exercise import Task
from reclab.learn.probe import Case, Misconception, Probe

Weigh = Callable[[Array, Array, Array, Array], Array]


def target_attention(past, mask, target, weigh):
    """past (n, L, d), mask (n, L) true where there is an item, target (n, d) -> (n, d)."""
    t = np.broadcast_to(target[:, None], past.shape)  # the candidate beside each past item
    weight = weigh(past, t, past - t, past * t) * mask  # (n, L), padding counts nothing
    return (weight[:, :, None] * past).sum(axis=1)


def _told(past: Array, target: Array, weigh: Weigh) -> Array:
    """(n, L) what the small network says of every place, padding too."""
    t = np.broadcast_to(target[:, None], past.shape)
    return np.asarray(weigh(past, t, past - t, past * t))


def _pool(weight: Array, past: Array) -> Array:
    return np.asarray((weight[:, :, None] * past).sum(1))


def _softmax(logit: Array) -> Array:
    power = np.exp(logit - logit.max(1, keepdims=True, initial=-1e9))
    return np.asarray(power / power.sum(1, keepdims=True))


def _no_mask(past: Array, mask: Array, target: Array, weigh: Weigh) -> Array:
    return _pool(_told(past, target, weigh), past)


def _softmax_over_padding(past: Array, mask: Array, target: Array, weigh: Weigh) -> Array:
    return _pool(_softmax(_told(past, target, weigh)), past)


def _softmax_then_mask(past: Array, mask: Array, target: Array, weigh: Weigh) -> Array:
    return _pool(_softmax(_told(past, target, weigh)) * mask, past)


def _masked_softmax(past: Array, mask: Array, target: Array, weigh: Weigh) -> Array:
    return _pool(_softmax(np.where(mask, _told(past, target, weigh), -1e9)), past)


def _mean_of_the_past(past: Array, mask: Array, target: Array, weigh: Weigh) -> Array:
    return np.asarray(_pool(mask, past) / np.maximum(mask.sum(1), 1)[:, None])


def _sum_of_the_past(past: Array, mask: Array, target: Array, weigh: Weigh) -> Array:
    return _pool(mask, past)


def _divided_by_the_count(past: Array, mask: Array, target: Array, weigh: Weigh) -> Array:
    count = np.maximum(mask.sum(1), 1)[:, None]
    return np.asarray(target_attention(past, mask, target, weigh) / count)


def _divided_by_the_length(past: Array, mask: Array, target: Array, weigh: Weigh) -> Array:
    return np.asarray(target_attention(past, mask, target, weigh) / past.shape[1])


def _dot_product(past: Array, mask: Array, target: Array, weigh: Weigh) -> Array:
    return _pool((past @ target[:, :, None])[:, :, 0] * mask, past)


def _weighs_the_target(past: Array, mask: Array, target: Array, weigh: Weigh) -> Array:
    weight = _told(past, target, weigh) * mask
    return np.asarray(weight.sum(1, keepdims=True) * target)


def _sides_swapped(past: Array, mask: Array, target: Array, weigh: Weigh) -> Array:
    t = np.broadcast_to(target[:, None], past.shape)
    return _pool(weigh(t, past, t - past, t * past) * mask, past)


def _difference_swapped(past: Array, mask: Array, target: Array, weigh: Weigh) -> Array:
    t = np.broadcast_to(target[:, None], past.shape)
    return _pool(weigh(past, t, t - past, past * t) * mask, past)


def _wrong_axis(past: Array, mask: Array, target: Array, weigh: Weigh) -> Array:
    weight = _told(past, target, weigh) * mask
    return np.asarray((weight[:, :, None] * past).sum(2))


def _not_summed(past: Array, mask: Array, target: Array, weigh: Weigh) -> Array:
    return np.asarray((_told(past, target, weigh) * mask)[:, :, None] * past)


def _infinite(past: Array, mask: Array, target: Array, weigh: Weigh) -> Array:
    return _pool(np.where(mask, _told(past, target, weigh), -np.inf), past)


_SOFTMAX = (
    "With a softmax the weights always sum to 1, so a past with one weak match looks as interested "
    "as one with twenty strong ones. DIN leaves the weights as they are, on purpose."
)
_PADDING = (
    "Short histories are padded to length L. A padded place has a vector too, and the network "
    "gives it a weight: multiply the weights by the mask before the sum."
)
MISCONCEPTIONS = (
    Misconception("padding takes part", _no_mask, _PADDING),
    Misconception(
        "a softmax, over the padding too",
        _softmax_over_padding,
        f"Two things at once. {_PADDING} {_SOFTMAX}",
    ),
    Misconception("a softmax over the past", _softmax_then_mask, _SOFTMAX),
    Misconception("a softmax over the past", _masked_softmax, _SOFTMAX),
    Misconception(
        "the mean of the past, whatever the candidate",
        _mean_of_the_past,
        "This vector is the same for every candidate: the past is averaged, and football drowns in "
        "cooking. The weights must come from weigh(...), which looks at each pair.",
    ),
    Misconception(
        "the sum of the past, whatever the candidate",
        _sum_of_the_past,
        "This vector is the same for every candidate. The weights must come from weigh(...), which "
        "looks at each past item beside the candidate.",
    ),
    Misconception(
        "divided by the number of items",
        _divided_by_the_count,
        "A weighted mean forgets how much there was: ten matches count as much as one. Asked for "
        "is the sum.",
    ),
    Misconception(
        "divided by the length of the sequence",
        _divided_by_the_length,
        "mean(axis=1) divides by L, padding included, so a short past fades. Asked for is the sum.",
    ),
    Misconception(
        "a dot product instead of the small network",
        _dot_product,
        "h · t can only say how alike the two are. weigh(h, t, h - t, h * t) is learned and can "
        "say more: that two alike items are enough, or that one has just been seen.",
    ),
    Misconception(
        "the candidate is weighted, not the past",
        _weighs_the_target,
        "The sum runs over the past: weight times h. Weighted copies of the candidate say nothing "
        "of what was liked.",
    ),
    Misconception(
        "past and candidate have changed sides",
        _sides_swapped,
        "The network was trained with the past item first: weigh(h, t, h - t, h * t).",
    ),
    Misconception(
        "t - h instead of h - t",
        _difference_swapped,
        "A network has learned what each input means, sign included: the third is h - t.",
    ),
    Misconception(
        "summed along the wrong axis",
        _wrong_axis,
        "past is (n, L, d): axis 1 runs over the past, axis 2 over the numbers of one vector. The "
        "result is one vector of length d for each candidate.",
    ),
    Misconception(
        "the sum is missing",
        _not_summed,
        "You return a weighted vector for every past item, (n, L, d). Sum over the past, axis 1.",
    ),
    Misconception(
        "minus infinity without a softmax",
        _infinite,
        "-inf closes a place inside a softmax, where exp(-inf) = 0. Here the weight itself "
        "multiplies: a padded place needs the weight 0.",
    ),
)


class SmallNet:
    """The small network of a case: one hidden layer with fixed random weights."""

    def __init__(self, dim: int) -> None:
        chance = rng(2, "exercise-2.7", dim)
        self.inner = chance.normal(size=(4 * dim, 5)) / np.sqrt(4 * dim)
        self.outer = chance.normal(size=5)

    def __call__(self, h: Array, t: Array, difference: Array, product: Array) -> Array:
        """Four arrays (…, d) -> (…) weights."""
        pair = np.concatenate([h, t, difference, product], axis=-1)
        return np.asarray(np.maximum(pair @ self.inner, -0.1 * (pair @ self.inner)) @ self.outer)

    def __repr__(self) -> str:
        return "a small network: four arrays (n, L, d) -> (n, L)"


def _random(n: int, length: int, dim: int, filled: float = 0.6) -> tuple[Any, ...]:
    chance = rng(2, "exercise-2.7 past", n)
    past, target = chance.normal(size=(n, length, dim)), chance.normal(size=(n, dim))
    real = chance.random(n) * filled * 2 * length
    mask = np.arange(length)[None, ::-1] < real[:, None]  # padding lies at the left
    return past, mask, target, SmallNet(dim)


_PAST = np.array([[[5, 5], [1, 0], [0, 1]]], float)
CASES = (
    Case(
        "two items and a padded place, one candidate",
        (_PAST, np.array([[False, True, True]]), np.array([[1.0, 0.5]]), SmallNet(2)),
    ),
    Case("a full past", (_PAST, np.ones((1, 3), bool), np.array([[0.3, 1.0]]), SmallNet(2))),
    Case(
        "the same past for two candidates",
        (
            _PAST.repeat(2, 0),
            np.ones((2, 3), bool),
            np.array([[1.0, 0.0], [0.0, 1.0]]),
            SmallNet(2),
        ),
    ),
    Case(
        "nothing liked yet: all padding",
        (_PAST, np.zeros((1, 3), bool), np.array([[1.0, 0.5]]), SmallNet(2)),
    ),
    Case("as many items as numbers in a vector", _random(3, 4, 4)),
    Case("one past item", _random(2, 1, 3, 2.0)),
    Case("no candidates", _random(0, 4, 3)),
    Case("300 candidates, 20 past items", _random(300, 20, 24)),
)

TASK = Task(
    id="2.7",
    title="The target attention of DIN",
    asked="Write target_attention(past, mask, target, weigh): past (n, L, d) holds the vectors of "
    "L past items for each of n candidates, mask (n, L) is True where there is an item and False "
    "at padded places, target (n, d) holds the candidates. weigh(h, t, h - t, h * t) is the small "
    "trained network: four (n, L, d) arrays in, (n, L) weights out. Return (n, d): for each "
    "candidate the sum of its real past items, each times its weight. No softmax.",
    starter="def target_attention(past, mask, target, weigh):\n"
    '    """past (n, L, d), mask (n, L), target (n, d), weigh -> (n, d) interest."""\n    ...',
    judge=Probe(
        target_attention,
        CASES,
        MISCONCEPTIONS,
        praise="The live ranker can now look back at the past with your function.",
    ),
    hints=(
        "weigh wants both sides in one shape. How do you put the candidate (n, d) beside each of "
        "its L past items? target[:, None] has shape (n, 1, d).",
        "t = np.broadcast_to(target[:, None], past.shape), then weight = weigh(past, t, past - t, "
        "past * t) is (n, L). What do the padded places need before they are added?",
        "weight * mask silences the padding. Then weight[:, :, None] * past is (n, L, d), and the "
        "sum goes over the past: .sum(axis=1).",
    ),
    solution=target_attention,
    why="Each candidate asks the past its own question, so one user has as many interest vectors "
    "as candidates, all from the same few vectors. The mask matters because most pasts are shorter "
    "than L, and without a softmax the length of the result says how strong the interest is.",
    when_slow="A Python loop over candidates and past items asks the network one pair at a time. "
    "Give it whole arrays: it takes (n, L, d) at once.",
    limit_s=10.0,
)
