"""Determinantal point process (DPP, 行列式点过程): the list whose vectors span the most volume.

    P(list) ~ det L_list,   L = diag(q) S diag(q),   q_i = exp(alpha score_i)
    S_ij = cosine of i and j,   S_ii = 1 + eps
    log det L_list = 2 alpha sum of scores + log det S_list         (relevance plus diversity)

Greedy: next = argmax_i of what i adds, 2 alpha score_i + log r_i. r_i is the part of i that the
chosen cards do not span, kept by one Cholesky row c a step:  c_i = (S_ji - sum c_t,j c_t,i) / sqrt
r_j,  r_i -= c_i^2.  O(k n (d + k)) instead of a determinant a candidate. eps keeps r_i >= eps where
the kernel degenerates: for twins, and after as many cards as there are tags.
Reference: Kulesza and Taskar 2012; fast greedy MAP, Chen, Zhang, Zhou, NeurIPS 2018.
Simplified: industry learns S from lists that users took as a whole (Wilhelm et al. 2018).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from reclab.cascade.re_ranking.mmr import HOPELESS, Lists, MMRStage, Windows, mended
from reclab.cascade.re_ranking.windows import Rule
from reclab.core.errors import check_float
from reclab.core.types import Array

JITTER = 1e-3  # eps
LAST = -1000.0  # score of a candidate without a finite score: no volume makes up for it


@dataclass(frozen=True)
class DPPConfig:
    """Relevance against diversity."""

    theta: float = 0.95
    """weight of the scores, 1 - theta that of the volume; alpha = theta / (2 (1 - theta)), so that
    a list's worth is theta sum of scores + (1 - theta) log det S (0.8 … 0.99)"""

    def __post_init__(self) -> None:
        check_float("DPPConfig.theta", self.theta, 0.0, 0.999, "0.8-0.99")

    @property
    def alpha(self) -> float:
        """alpha of the formula above."""
        return self.theta / (2 * (1 - self.theta))


def dpp(score: Array, vectors: Array, k: int, alpha: float) -> Array:
    """Order (min(k, n),) by greedy MAP of candidates with ``score`` (n,) and unit ``vectors``
    (n, d).

    >>> twins = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    >>> dpp(np.array([1.0, 0.9, 0.5]), twins, 2, alpha=1.0).tolist()
    [0, 2]
    """
    order = dpp_batch(score[None], vectors[None], k, alpha).order[0]
    return np.asarray(order[order >= 0])


def dpp_batch(
    score: Array, vectors: Array, k: int | Array, alpha: float, rules: Sequence[Rule] = ()
) -> Lists:
    """Greedy MAP for B requests at once: ``score`` (B, n), -inf = no candidate, ``vectors``
    (B, n, d) of unit length, or zero: unlike every other; ``k`` cards for all requests or (B,) for
    each.

    ``value`` is what a card added to log det L. Windows hold wherever they can, as in MMR.
    """
    (n_requests, n), every = score.shape, np.arange(len(score))
    wanted = np.broadcast_to(np.asarray(k, np.int64), n_requests)
    k = min(int(wanted.max(initial=0)), n)
    worth = (2 * alpha * np.where(score > -np.inf, score, 0)).astype(np.float32)
    worth[score == -np.inf] = -np.inf
    rest = np.full(score.shape, 1 + JITTER, np.float32)
    rows = np.zeros((n_requests, k, n), np.float32)  # the Cholesky rows of the chosen cards
    order, value = np.full((n_requests, k), -1), np.zeros((n_requests, k), np.float32)
    pushed, broke = np.zeros(score.shape, bool), np.zeros((n_requests, k), bool)
    windows = Windows(rules, n_requests)
    for t in range(k):
        marginal = worth + np.log(rest)
        pick = marginal.argmax(1)
        if rules:
            turned, best, breaks = windows.place(pick, marginal)
            broke[turned, t] = breaks
            pushed[turned, best] |= (best != pick[turned]) & (t < wanted[turned])
        order[:, t], value[:, t] = pick, marginal[every, pick]
        if t == k - 1:
            break
        rows[:, t] = _row(vectors, rows[:, :t], rest, pick)
        # never below eps but by rounding, of which the logarithm must not hear
        rest = np.maximum(rest - np.square(rows[:, t]), np.float32(JITTER))
        worth[every, pick] = -np.inf
    lists = _lists(order, value, pushed, broke, wanted)
    for b, cards in mended(lists, score, wanted, rules):
        lists.value[b, : len(cards)] = _gains(score[b, cards], vectors[b, cards], alpha)
    return lists


def _gains(score: Array, vectors: Array, alpha: float) -> Array:
    """(k,) what each card of a list adds to log det L, given the cards before it: the squared
    diagonal of the Cholesky factor is the r of the cards."""
    similar = (vectors @ vectors.T).astype(np.float64)
    np.fill_diagonal(similar, 1 + JITTER)
    rest = np.square(np.diag(np.linalg.cholesky(similar)))
    return np.asarray(2 * alpha * score + np.log(rest), np.float32)


def _row(vectors: Array, rows: Array, rest: Array, pick: Array) -> Array:
    """(B, n) the next Cholesky row: likeness to the card picked (B,), less what the ``rows``
    (B, t, n) before it explain."""
    every = np.arange(len(pick))
    alike = np.matmul(vectors, vectors[every, pick][:, :, None])[:, :, 0]
    before = rows[every, :, pick][:, None, :]
    alike -= np.matmul(before, rows)[:, 0]
    return np.asarray(alike / np.sqrt(rest[every, pick])[:, None])


def _lists(order: Array, value: Array, pushed: Array, broke: Array, wanted: Array) -> Lists:
    """The lists cut to the length that each request wants, where there are candidates."""
    real = (value > -np.inf) & (np.arange(order.shape[1]) < wanted[:, None])
    order, value = np.where(real, order, -1), np.where(real, value, 0)
    pushed[np.nonzero(real)[0], order[real]] = False
    return Lists(order, value, pushed, (broke & real).sum(1))


@dataclass(frozen=True)
class DPPStage(MMRStage):
    """Re-rank by DPP: length, windows and score as ``MMRStage`` has them, its ``lam`` unused.
    ``with_parts(re_ranker=DPPStage)``, or ``partial(DPPStage, dpp=DPPConfig(theta=0.9))``."""

    dpp: DPPConfig = field(default_factory=DPPConfig)

    def _choose(
        self, score: Array, vectors: Array, wanted: Array, rules: Sequence[Rule]
    ) -> tuple[Lists, float]:
        score = np.where(score == HOPELESS, np.float32(LAST), score)
        lists = dpp_batch(score, vectors, wanted, self.dpp.alpha, rules)
        k = lists.order.shape[1]
        return lists, score.size * (vectors.shape[2] + k / 2) * k / 1e6
