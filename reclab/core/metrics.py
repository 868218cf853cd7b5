"""Metrics of a model (AUC, GAUC, log loss, ECE), of a list (hit rate, NDCG), of who is seen (Gini).

AUC = P(score of a positive > score of a negative), ties half. NDCG@k = DCG of the list / DCG of
the best possible list, DCG = sum_r gain_r / log2(r + 2). Gini = 0 for equal shares, 1 for one
winner. ECE = sum_b n_b / n |mean prediction - rate| over groups b of like predictions. Sources:
Fawcett 2006; Järvelin and Kekäläinen 2002; Gini 1912; Guo et al. 2017.
"""

import numpy as np

from reclab.core.types import Array


def auc(label: Array, score: Array) -> float:
    """Area under the ROC curve; NaN when one class is missing. Shapes (n,), (n,).

    >>> auc(np.array([0, 1, 1]), np.array([.1, .2, .1]))
    0.75
    """
    from scipy.stats import rankdata  # half a second that who only recommends need not wait

    label = np.asarray(label, bool)
    n_pos = int(label.sum())
    n_neg = len(label) - n_pos
    if not n_pos or not n_neg:
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[label].sum() - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg))


def gauc(group: Array, label: Array, score: Array) -> float:
    """AUC within each group (user), weighted by the group's rows; groups of one class are left
    out. NaN when none is left."""
    order = np.argsort(group, kind="stable")
    cuts = np.flatnonzero(np.diff(group[order])) + 1
    total, weight = 0.0, 0
    for rows in np.split(order, cuts):
        value = auc(label[rows], score[rows])
        if value == value:
            total, weight = total + value * len(rows), weight + len(rows)
    return total / weight if weight else float("nan")


def log_loss(label: Array, p: Array) -> float:
    """Mean negative log likelihood, probabilities clipped to [1e-6, 1 - 1e-6]."""
    p = np.clip(np.asarray(p, np.float64), 1e-6, 1 - 1e-6)
    return float(-np.mean(np.where(np.asarray(label, bool), np.log(p), np.log1p(-p))))


def reliability(label: Array, p: Array, bins: int = 10) -> tuple[Array, Array, Array]:
    """(b,) mean prediction, mean label and rows of up to ``bins`` equally large groups of rows, by
    rising prediction: the points of a reliability plot. Rows whose label is NaN are left out.

    >>> [x.tolist() for x in reliability(np.array([0, 1, 1, 1]), np.array([.2, .2, .9, .9]), 2)]
    [[0.2, 0.9], [0.5, 1.0], [2, 2]]
    """
    label, p = np.asarray(label, np.float64), np.asarray(p, np.float64)
    known = ~np.isnan(label)
    label, p = label[known], p[known]
    order = np.argsort(p, kind="stable")
    groups = np.array_split(order, max(1, min(bins, len(p))))
    size = np.array([len(rows) for rows in groups])
    means = [[x[rows].sum() / max(1, len(rows)) for rows in groups] for x in (p, label)]
    return np.array(means[0]), np.array(means[1]), size


def ece(label: Array, p: Array, bins: int = 10) -> float:
    """Expected calibration error: mean distance of prediction and rate over the groups of
    ``reliability``, in the unit of the label; NaN without rows. Never 0 on finite data: a perfect
    model's is about the noise of a group's rate."""
    said, was, size = reliability(label, p, bins)
    return float((np.abs(said - was) * size).sum() / size.sum()) if size.sum() else float("nan")


def dcg(gain: Array) -> Array:
    """(…, k) gains in list order -> (…,) discounted sums."""
    discount = 1.0 / np.log2(np.arange(gain.shape[-1]) + 2.0)
    return np.asarray((gain * discount).sum(-1))


def ndcg(gain: Array, best_gain: Array) -> Array:
    """(…, k) gains of lists and of the best possible lists -> (…,); 0 where nothing can be won."""
    best = dcg(best_gain)
    return np.asarray(np.divide(dcg(gain), best, out=np.zeros_like(best), where=best > 0))


def gini(exposure: Array) -> float:
    """Inequality of exposures, 0 … 1; NaN without any exposure.

    >>> round(gini(np.array([1, 1, 1, 1])), 2), round(gini(np.array([0, 0, 0, 4])), 2)
    (0.0, 0.75)
    """
    x = np.sort(np.asarray(exposure, np.float64))
    total = x.sum()
    if not total:
        return float("nan")
    n = len(x)
    return float(((2 * np.arange(1, n + 1) - n - 1) * x).sum() / (n * total))


def top_share(exposure: Array, fraction: float) -> float:
    """Share of all exposures that the most exposed ``fraction`` of the items got."""
    x = np.sort(np.asarray(exposure, np.float64))[::-1]
    n = max(1, round(fraction * len(x)))
    return float(x[:n].sum() / x.sum()) if x.sum() else float("nan")


def lorenz(exposure: Array, points: int = 101) -> tuple[Array, Array]:
    """Lorenz curve: shares of items (poorest first) and the share of exposures they hold."""
    x = np.concatenate([[0.0], np.cumsum(np.sort(np.asarray(exposure, np.float64)))])
    items = np.linspace(0, 1, points)
    held = np.interp(items, np.linspace(0, 1, len(x)), x / x[-1] if x[-1] else x)
    return items, held


def share_by_group(rows: Array, group: Array, n_groups: int) -> Array:
    """(n_groups,) share of the shown ``rows`` that falls in each group of items."""
    counts = np.bincount(group[rows], minlength=n_groups)
    return np.asarray(counts / max(1, counts.sum()))


def head_middle_tail(exposure: Array, head: float = 0.01, middle: float = 0.20) -> Array:
    """(n_items,) 0 = head (the most exposed 1 %), 1 = middle (to 20 %), 2 = tail, by past
    exposure."""
    place = np.empty(len(exposure), np.int64)
    place[np.argsort(-np.asarray(exposure, np.float64), kind="stable")] = np.arange(len(exposure))
    return np.digitize(place / len(exposure), [head, middle])


def mean_and_spread(values: Array) -> tuple[float, float]:
    """Mean and half range over seeds, the spread that lessons quote."""
    values = np.asarray(values, np.float64)
    return float(values.mean()), float((values.max() - values.min()) / 2)
