"""Exercise 1.2: mend a calibration: a score becomes a probability, a curve for each business.

    wanted: P(event | calibrate(score) = p) = p,  and within the business the order as before

judged by the expected calibration error on cards that the fit has not seen, beside the curve that
``blending.calibration`` fits to the same rows, and by what is left of the AUC.
Reference: Zadrozny and Elkan, KDD 2002; Niculescu-Mizil and Caruana, ICML 2005.

Simplified: here every candidate was shown to somebody, once; a log holds only what a policy chose,
and a curve learned there is too high for cards that were chosen because they looked good.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit

from reclab.blending.businesses.make import AD
from reclab.blending.calibration import ScoreCalibration
from reclab.core.chance import rng
from reclab.core.metrics import auc, ece, reliability
from reclab.core.types import Array
from reclab.lab.blending_pool import Pool, padded
from reclab.learn.exercise import Task
from reclab.learn.probe import (
    CORRECT,
    NOT_ATTEMPTED,
    NOT_YET,
    Verdict,
    alike,
    read_array,
    shorten,
    shown,
    unattempted,
)

CLICKED, LONG = (("live", 1), ("ad", AD)), (("short video", 0), ("image-text", 4))
STEEP, SHIFT = 2.5, 1.5  # log odds of the ads' new model: a deviation above, and at, the mean
SLACK = 0.015  # how much worse than our curve still counts
ORDER = 0.02  # of AUC that may be lost to steps


@dataclass(frozen=True)
class ShownCards:
    """One business's cards: ``score`` (n,) and ``label`` (n,) 0 or 1 to learn from, ``held_score``
    and ``held_label`` (m,) to be judged by."""

    business: str
    score: Array
    label: Array
    held_score: Array
    held_label: Array


def claimed(pool: Pool) -> Array:
    """(ads,) click probabilities that the ads' new model claims: in the order of the old one's,
    its expected money a bid, and too sure."""
    mine = pool.candidates["business"] == AD
    rate = pool.candidates["revenue"][mine] / np.maximum(pool.truths.pay[mine], 1e-9)
    odds = logit(np.clip(rate, 1e-4, 1 - 1e-4))
    return np.asarray(expit(STEEP * (odds - odds.mean()) / odds.std() + SHIFT))


def shown_cards(pool: Pool, seed: int = 0) -> list[ShownCards]:
    """First the ads of the new model, then four businesses by the scores of their own: requests in
    turn to learn from and to be judged by. What came is drawn from the platform's truth."""
    c = pool.candidates
    there = padded(c, c.item_row) >= 0
    click = pool.simulator.p_click[there]
    chances = {"click": click, "long": click * pool.simulator.p_long[there]}
    found = [_of(pool, "ad, new model", AD, claimed(pool), click, seed)]
    for event, some in (("long", LONG), ("click", CLICKED)):
        for name, code in some:
            score = c["score"][c["business"] == code]
            found.append(_of(pool, name, code, score, chances[event], seed))
    return found


def _of(pool: Pool, name: str, code: int, score: Array, chance: Array, seed: int) -> ShownCards:
    mine = pool.candidates["business"] == code
    came = rng(seed, "exercise-1.2", code).random(int(mine.sum())) < chance[mine]
    held = pool.candidates.request_row[mine] % 2 == 1
    label, score = came.astype(np.float64), np.asarray(score, np.float64)
    return ShownCards(name, score[~held], label[~held], score[held], label[held])


def calibrate(score, label, new):
    """Scores (n,) and what came of them (n,) 0 or 1, new scores (m,) -> (m,) probabilities."""
    edges = np.unique(np.quantile(score, np.linspace(0, 1, 21)[1:-1]))  # equally large groups
    group = np.searchsorted(edges, score)
    n = len(edges) + 1
    size = np.bincount(group, minlength=n)
    rate = (np.bincount(group, label, n) + label.mean()) / (size + 1)  # one row of the mean each
    rate = np.sort(rate)  # a higher score must not mean less
    return rate[np.searchsorted(edges, new)]


def ours(score: Array, label: Array, new: Array) -> Array:
    """The curve that the blending service fits."""
    made = ScoreCalibration(("any",)).fit(np.zeros(len(score), np.int64), score, label)
    return made.apply(np.zeros(len(new), np.int64), new)


def _as_claimed(score: Array, label: Array, new: Array) -> Array:
    return np.clip(new, 0, 1)


def _mean_for_all(score: Array, label: Array, new: Array) -> Array:
    return np.full(len(new), label.mean())


def _one_factor(score: Array, label: Array, new: Array) -> Array:
    return np.clip(new * label.mean() / score.mean(), 0, 1)


def _scaled(score: Array, label: Array, new: Array) -> Array:
    return np.asarray((new - score.min()) / (score.max() - score.min())).clip(0, 1)


def _ranks(score: Array, label: Array, new: Array) -> Array:
    return np.asarray(np.searchsorted(np.sort(score), new) / len(score))


def _upside_down(score: Array, label: Array, new: Array) -> Array:
    return np.asarray(1 - calibrate(score, label, new))


IDEAS: tuple[tuple[str, Callable[..., Array], str], ...] = (
    (
        "the score as it comes",
        _as_claimed,
        "What a model calls a probability is a score until it was compared with what happened.",
    ),
    (
        "the mean for all",
        _mean_for_all,
        "The mean is calibrated, and says nothing: no card of the business is better than another. "
        "Take the rate among cards with a similar score.",
    ),
    (
        "one factor for all scores",
        _one_factor,
        "A factor mends the mean. The model is too sure: too high for good cards and too low for "
        "poor ones, so the correction has to depend on the score.",
    ),
    (
        "scaled to 0 ... 1",
        _scaled,
        "The largest score seen is no certainty. A probability can only be learned from the label.",
    ),
    (
        "the rank as a probability",
        _ranks,
        "Ranks put the median card at one half, whatever the rate. Use the label: the share of "
        "events among cards with a similar score.",
    ),
    (
        "upside down",
        _upside_down,
        "A higher score must mean a higher probability: yours may be the share without it.",
    ),
)


def judge(answer: Any, cards: Sequence[ShownCards] | None = None) -> Verdict:
    """``answer(score, label, new)``; ``cards`` are those of ``shown_cards(pool)``."""
    if unattempted(answer):
        return Verdict(NOT_ATTEMPTED)
    if not callable(answer):
        asked = "Hand over the function itself, ex.check(calibrate, cards), not a result of it."
        return Verdict(NOT_YET, (f"{asked} Got {shown(answer)}.",))
    if not _are_cards(cards):
        asked = "Give the cards too: ex.check(calibrate, cards), with cards = shown_cards(pool)."
        return Verdict(NOT_YET, (asked,))
    told = []
    for some in cards or ():
        fault = _fault(answer, some)
        if isinstance(fault, tuple):
            return Verdict(NOT_YET, fault)
        told.append(f"{some.business} {fault:.3f}")
    said = "Expected calibration error on cards that it has not seen: " + ", ".join(told) + "."
    return Verdict(CORRECT, (said,))


def _are_cards(cards: Any) -> bool:
    return isinstance(cards, (list, tuple)) and all(isinstance(c, ShownCards) for c in cards)


def _fault(answer: Callable[..., Any], cards: ShownCards) -> tuple[str, ...] | float:
    """Its calibration error, or what is wrong, in words."""
    args = (cards.score, cards.label, cards.held_score)
    copies = tuple(arg.copy() for arg in args)
    where = f"On the cards of “{cards.business}”"
    try:
        with np.errstate(all="ignore"):
            value = answer(*copies)
    except Exception as error:
        return (f"{where}: it raised {type(error).__name__}: {shorten(str(error))}.",)
    p = read_array(value)
    if isinstance(p, str):
        return (f"{where}: {p}",)
    if p.shape != cards.held_score.shape:
        asked = f"expected {cards.held_score.shape}: one probability for each new score"
        return (f"{where}: shape {p.shape}, {asked}.",)
    outside = ~((p >= 0) & (p <= 1))
    if outside.any():
        bad = f"{int(outside.sum())} of {len(p)} results are no probabilities"
        return (*_likely(p, args), f"{where}: {bad}, the first is {p[outside][0]:.4g}.")
    if not all(alike(a, b) for a, b in zip(args, copies, strict=True)):
        return ("It changes its input in place: the next stage reads it too. Use a copy.",)
    return _measured(p, args, cards, where)


def _measured(
    p: Array, args: tuple[Array, ...], cards: ShownCards, where: str
) -> tuple[str, ...] | float:
    """Judged by its two numbers: how far from the rate, and how much order is left."""
    error, good = ece(cards.held_label, p), ece(cards.held_label, ours(*args))
    most = 1.25 * good + SLACK
    order = auc(cards.held_label, p)
    least = auc(cards.held_label, cards.held_score) - ORDER
    if error > most:
        fault = f"calibration error {error:.3f}, expected at most {most:.3f} (ours {good:.3f})"
    elif order < least:
        fault = f"its AUC is {order:.3f}, expected at least {least:.3f}: the order is lost"
    else:
        return error
    mean = f"Its mean is {p.mean():.2f}, and {cards.held_label.mean():.2f} of the cards came true."
    said, was, _ = reliability(cards.held_label, p)
    worst = int(np.abs(said - was).argmax())
    where_off = f"Where yours says {said[worst]:.2f}, {was[worst]:.2f} came true."
    return (*_likely(p, args), f"{where}: {fault}.", f"{mean} {where_off}")


def _likely(p: Array, args: tuple[Array, ...]) -> tuple[str, ...]:
    for name, idea, message in IDEAS:
        with np.errstate(all="ignore"):
            if alike(p, idea(*args)):
                return (f"Likely: {name}. {message}",)
    return ()


TASK = Task(
    id="1.2",
    title="Mend a calibration",
    asked="Write calibrate(score, label, new): scores (n,) of cards that were shown, label (n,) 1 "
    "where the event came, new (m,) scores of cards not yet shown. Return (m,) probabilities. Some "
    "scores are no probabilities at all, some are claimed ones that are too sure. On cards it has "
    f"not seen its calibration error may be 1.25 times our curve's, plus {SLACK:g}; at most "
    f"{ORDER:g} of AUC may be lost. Check with ex.check(calibrate, cards).",
    starter="def calibrate(score, label, new):\n"
    '    """(n,) scores, (n,) 0 or 1, (m,) new scores -> (m,) probabilities."""\n    ...',
    judge=judge,
    hints=(
        "Sort the shown cards into groups of similar score. Which share of a group came true? That "
        "is the probability of a new card whose score falls into it.",
        "np.quantile gives edges of equally large groups, np.searchsorted(edges, score) the group "
        "of a score, two np.bincount the rate of each group.",
        "Small groups are noisy and may fall where they should rise: take 15 to 40 groups and "
        "np.sort their rates. IsotonicRegression of sklearn finds the groups by itself.",
    ),
    solution=calibrate,
    why="Only what happened can say what a score means, so the curve is learned from labels, and "
    "business by business. It must rise, because within a business the model's order is all there "
    "is. Few groups lose order, many groups are noise; isotonic regression puts neighbours into "
    "one group exactly where their rates would fall.",
    when_slow="A rate for every card among all others costs n times m. Use groups.",
    limit_s=20.0,
)
