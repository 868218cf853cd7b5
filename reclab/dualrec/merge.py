"""Merge (融合): what the user side ranked and what the creator side matched become one page.

    boost        f'_i = f_i + lambda g_i  if i in D_u,  else f_i                  (Boost 加权)
    quota        the slots of ``slots`` go to the items of D_u that are most behind their plan,
                 if any is; all other places by f                                 (保量)
    mix, common  f'_i = (1 - w) a(f_i) + w b(g_i)  if i in D_u,  else a(f_i)      (混排)
    mix, weave   of the first t places floor(share t) go to D_u, best g first; the others by f

One contract for B pages at once, on arrays:

    merge(f_scores (B, n), f_items (B, n), d_items (B, m), g_scores (B, m), k, state) -> Merged

The user side has scored every candidate, those of D_u among them: what is in ``d_items`` alone did
not pass the filters, and is left out. Items -1 pad. The page that f alone would give is the one to
compare with (lambda = 0: D_u as candidates only); ``Merged`` tells what differs from it.
Chapter 2, section 2.5; boost: Chen et al. 2025 (DualRec), arXiv 2502.20497.

Simplified: industry sets lambda, w and the slots by user group and learns them from experiments.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from reclab.core.errors import DataError, check, check_float, check_int
from reclab.core.types import Array

HOW = ("common", "weave")
LOW = float(np.finfo(np.float32).min)
"""the f of a candidate to which the ranker gave no finite score: below all others"""


class Merged(NamedTuple):
    """B pages of k cards, -1 padded. ``place`` (B, k) positions among the f_items; ``items``;
    ``from_creator`` (B, k) bool: the card is in D_u; ``injected``: and f alone would not show it.
    ``displaced`` (B, k) cards that f alone would show and that are not on the page, best first, -1
    padded, and their f, ``displaced_score``; ``loss`` (B,) the page's sum of f below f's own."""

    place: Array
    items: Array
    from_creator: Array
    injected: Array
    displaced: Array
    displaced_score: Array
    loss: Array


class Merge(Protocol):
    """A policy. ``scores`` (B, n) to rank by, or None where the places are given out instead;
    ``order`` (B, k) positions of the page's cards, -1 padded. ``f`` (B, n), -inf = no candidate;
    ``g`` (B, n), NaN = not in D_u."""

    name: str

    def scores(self, f: Array, g: Array) -> Array | None: ...
    def order(self, f: Array, g: Array, items: Array, k: int, state: Array | None) -> Array: ...


def merge(
    policy: Merge,
    f_scores: Array,
    f_items: Array,
    d_items: Array,
    g_scores: Array,
    k: int,
    state: Array | None = None,
) -> Merged:
    """Pages by a policy. ``state`` (B, m) beside ``d_items`` is what a quota goes by: exposures
    that each item is behind its plan. Candidates without a finite f come last, an item of
    D_u without a finite g is an ordinary candidate. Raises ``DataError`` where shapes differ."""
    check_int("merge k", k, 1, 1000, "10")
    _fits(f_scores, f_items, d_items, g_scores, state)
    f = known(f_scores, f_items)
    g = beside(f_items, d_items, g_scores)
    wide = None if state is None else beside(f_items, d_items, state)
    order = policy.order(f, g, f_items, k, wide)
    return compared(f, g, f_items, order, top(f, k))


def compared(f: Array, g: Array, items: Array, order: Array, alone: Array) -> Merged:
    """What the pages ``order`` (B, k) changed against ``alone`` (B, k), positions both."""
    real, k = order >= 0, order.shape[1]
    card = np.where(real, _at(items, order), -1)
    on_page, on_other = _marked(order, f.shape), _marked(alone, f.shape)
    mine = real & np.isfinite(_at(g, order))
    new = mine & ~_at(on_other, order)
    out = np.where(on_other & ~on_page, f, -np.inf)
    left = top(out, k)
    left_score = np.where(left >= 0, _at(f, left), np.nan)
    loss = _sum(f, on_other) - _sum(f, on_page)
    gone = np.where(left >= 0, _at(items, left), -1)
    return Merged(order, card, mine, new, gone, left_score, loss)


# ---- the policies ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Boost:
    """f + lambda g for D_u; ``lam`` = 0: D_u are candidates like all others (the control)."""

    lam: float = 0.5
    """weight of the creator side's score, in units of f per unit of g (0-2)"""
    name: str = "boost"

    def __post_init__(self) -> None:
        check_float("Boost.lam", self.lam, 0.0, 1e6, "0-2")

    def scores(self, f: Array, g: Array) -> Array:
        """(B, n) f'."""
        return np.asarray(np.where(np.isnan(g), f, f + self.lam * g))

    def order(self, f: Array, g: Array, items: Array, k: int, state: Array | None) -> Array:
        """The k best by f'."""
        return top(self.scores(f, g), k)


def _same(values: Array) -> Array:
    return values


@dataclass(frozen=True)
class Mix:
    """A common score of both sides, or cards of both in turn."""

    how: str = "common"
    """"common" or "weave\""""
    weight: float = 0.3
    """w: weight of the creator side in the common score (0-1)"""
    share: float = 0.2
    """share of the places that D_u gets when woven (0-0.5)"""
    a: Callable[[Array], Array] = _same
    """user side's score -> common unit, e.g. probability of a long view: a fitted, rising curve"""
    b: Callable[[Array], Array] = _same
    """creator side's score -> the same unit"""
    name: str = "mix"

    def __post_init__(self) -> None:
        check(self.how in HOW, "Mix.how", self.how, f"be one of {', '.join(HOW)}", "common")
        check_float("Mix.weight", self.weight, 0.0, 1.0, "0.3")
        check_float("Mix.share", self.share, 0.0, 1.0, "0.2")

    def scores(self, f: Array, g: Array) -> Array | None:
        """(B, n) the common score."""
        if self.how == "weave":
            return None
        real, both = np.isfinite(f), np.isfinite(g) & np.isfinite(f)
        out = np.array(f, np.float64)
        out[real] = self.a(f[real])
        out[both] = (1 - self.weight) * out[both] + self.weight * self.b(g[both])
        return out

    def order(self, f: Array, g: Array, items: Array, k: int, state: Array | None) -> Array:
        """The k best by the common score, or the woven list."""
        score = self.scores(f, g)
        if score is not None:
            return top(score, k)
        due = np.floor(self.share * np.arange(k + 1) + 1e-9)
        slots = np.flatnonzero(np.diff(due) > 0)
        best = top(np.where(np.isfinite(f) & np.isfinite(g), g, -np.inf), len(slots))
        return in_slots(f, best, slots, k)


@dataclass(frozen=True)
class Quota:
    """Guaranteed exposures: slots reserved for what is behind its plan (``pacing.Pacer``)."""

    slots: tuple[int, ...] = (2, 6)
    """places of a page that may be reserved, 0 = the first card (one to three of ten)"""
    name: str = "quota"

    def __post_init__(self) -> None:
        for slot in self.slots:
            check_int("Quota.slots", slot, 0, 999, "2, 6")
        rising = all(a < b for a, b in zip(self.slots, self.slots[1:], strict=False))
        check(rising, "Quota.slots", self.slots, "rise", "(2, 6)")

    def scores(self, f: Array, g: Array) -> None:
        """None: places are given out, not scores."""
        return None

    def order(self, f: Array, g: Array, items: Array, k: int, state: Array | None) -> Array:
        """The pages; ``state`` (B, n) exposures behind the plan, NaN = not in D_u. Of one batch an
        item gets no more reserved slots than it is behind, what f alone shows counted too."""
        if state is None:
            raise DataError("Quota needs state: exposures that each item of D_u is behind its plan")
        alone = top(f, k)
        shown = _marked(alone, f.shape)
        open_to = np.isfinite(f) & np.isfinite(g) & np.isfinite(state)
        picks = _most_behind(np.where(open_to, state, 0.0), items, shown & open_to, len(self.slots))
        return in_slots(f, picks, np.array(self.slots, np.int64), k)


@dataclass(frozen=True)
class SamePlaces:
    """Control: the creator side gets the very places that another policy gave it, whatever it
    brings. With D_u of shuffled users that is untargeted injection of the same volume."""

    places: Array
    """(B, k) bool: ``Merged.injected`` of the policy that is imitated"""
    name: str = "same places"

    def scores(self, f: Array, g: Array) -> None:
        """None: places are given out, not scores."""
        return None

    def order(self, f: Array, g: Array, items: Array, k: int, state: Array | None) -> Array:
        """The pages; where D_u has too few, the user side's cards follow."""
        alone = _marked(top(f, k), f.shape)
        some = np.where(np.isfinite(f) & np.isfinite(g) & ~alone, g, -np.inf)
        best = top(some, k)
        nth = np.cumsum(self.places, 1) - 1
        picks = np.where(self.places, _at(best, nth), -1)
        return in_slots(f, picks, np.arange(k), k)


# ---- arrays ---------------------------------------------------------------------------------


def top(score: Array, k: int) -> Array:
    """(B, k) positions of the k best, best first, ties by position, -1 padded; -inf = none."""
    order = np.argsort(-score, axis=1, kind="stable")[:, :k]
    order = np.where(_at(score, order) > -np.inf, order, -1)
    short = k - order.shape[1]
    return np.pad(order, ((0, 0), (0, short)), constant_values=-1) if short > 0 else order


def in_slots(f: Array, picks: Array, slots: Array, k: int) -> Array:
    """(B, k) positions: ``picks`` (B, R) at ``slots`` (R,), -1 = slot not used, the others by f
    around them. A short list closes its gaps."""
    page = np.full((len(f), k), -1)
    inside = slots < k
    page[:, slots[inside]] = picks[:, inside]
    rest = top(np.where(_marked(page, f.shape), -np.inf, f), k)
    free = page < 0
    row, at = np.nonzero(free)
    page[row, at] = rest[row, (np.cumsum(free, 1) - 1)[row, at]]
    if (page[:, -1] >= 0).all():
        return page
    return _at(page, np.argsort(page < 0, axis=1, kind="stable"))


def known(f_scores: Array, f_items: Array) -> Array:
    """(B, n) float64 scores to rank by: -inf where there is no item, and below all others where
    the score is not finite."""
    f = np.where(np.isfinite(f_scores), f_scores.astype(np.float64), LOW)
    return np.where(f_items >= 0, f, -np.inf)


def beside(f_items: Array, d_items: Array, values: Array) -> Array:
    """(B, n) float64 values of the items that are in D_u, NaN for the others."""
    out = np.full(f_items.shape, np.nan)
    row, at, nth = np.nonzero(f_items[:, :, None] == d_items[:, None, :])
    row, at, nth = row[::-1], at[::-1], nth[::-1]  # of an item named twice the first counts
    found = values[row, nth]
    good = (f_items[row, at] >= 0) & np.isfinite(found)
    out[row[good], at[good]] = found[good]
    return out


def _most_behind(behind: Array, items: Array, shown: Array, n_slots: int) -> Array:
    """(B, n_slots) positions of the items most behind, one round a slot, none above its room."""
    if len(items) == 1:  # no other page to share with
        return top(np.where((behind > 0) & ~shown, behind, -np.inf), n_slots)
    late = np.flatnonzero((behind > 0).any(0))
    if len(late) < behind.shape[1]:
        some = _most_behind(behind[:, late], items[:, late], shown[:, late], n_slots)
        return np.where(some >= 0, np.append(late, -1)[some], -1)
    ids, code = np.unique(items, return_inverse=True)
    code = code.reshape(items.shape)
    room = np.zeros(len(ids))
    np.maximum.at(room, code, behind)
    room = np.ceil(room - 1e-9) - np.bincount(code[shown], minlength=len(ids))
    want = np.where(shown, 0.0, behind)
    picks = np.full((len(items), n_slots), -1)
    for r in range(n_slots):
        want = np.where(room[code] > 0, want, 0.0)
        while (want > 0).any():
            pages = np.flatnonzero((picks[:, r] < 0) & (want > 0).any(1))
            if not len(pages):
                break
            best = want[pages].argmax(1)
            item = code[pages, best]
            nth = _nth_of_its_kind(item)
            won = nth < room[item]
            picks[pages[won], r] = best[won]
            want[pages[won], best[won]] = 0.0
            room -= np.bincount(item[won], minlength=len(ids))
            want = np.where(room[code] > 0, want, 0.0)
    return picks


def _nth_of_its_kind(kind: Array) -> Array:
    """(n,) how many equal ones stand before each.

    >>> _nth_of_its_kind(np.array([5, 2, 5, 5, 2])).tolist()
    [0, 0, 1, 2, 1]
    """
    order = np.argsort(kind, kind="stable")
    new = np.ones(len(kind), bool)
    new[1:] = kind[order][1:] != kind[order][:-1]
    at = np.arange(len(kind))
    nth = np.empty(len(kind), np.int64)
    nth[order] = at - np.maximum.accumulate(np.where(new, at, 0))
    return nth


def _marked(order: Array, shape: tuple[int, ...]) -> Array:
    mark = np.zeros(shape, bool)
    row, at = np.nonzero(order >= 0)
    mark[row, order[row, at]] = True
    return mark


def _at(values: Array, order: Array) -> Array:
    if not values.shape[1]:
        return np.zeros(order.shape, values.dtype)
    return np.asarray(values[np.arange(len(order))[:, None], np.maximum(order, 0)])


def _sum(f: Array, mark: Array) -> Array:
    """(B,) sum of the marked scores that the ranker gave."""
    given = mark & (f > LOW)
    return np.asarray(np.where(given, f, 0.0).sum(1))


def _fits(f: Array, items: Array, d_items: Array, g: Array, state: Array | None) -> None:
    same = f.ndim == 2 and f.shape == items.shape and d_items.shape == g.shape
    same = same and d_items.ndim == 2 and len(f) == len(d_items)
    if not same or (state is not None and state.shape != g.shape):
        sizes = [x.shape for x in (f, items, d_items, g)]
        raise DataError(f"merge: f and f_items (B, n), d_items and g_scores (B, m); got {sizes}")
