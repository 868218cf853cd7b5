"""Maximal marginal relevance (MMR, 多样性重排): the list grows by the card that is good and new.

    next = argmax over candidates i of  lam * score_i - (1 - lam) * max over chosen j of sim(i, j)

score scaled to 0 ... 1 within the request, sim the cosine of tag vectors, and windows (``windows``)
on category and creator. Reference: Carbonell and Goldstein 1998.
Simplified: industry learns the trade-off per user, or the list as a whole (list-wise, DPP).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.re_ranking.windows import Rule, broken, can_fit, search
from reclab.core.errors import check_float, check_int
from reclab.core.stage import StageResult
from reclab.core.types import Array, Candidates
from reclab.stores.forward_index import ForwardIndex

HOPELESS = -10.0  # scaled score of a candidate without a finite score: below all that have one


@dataclass(frozen=True)
class MMRConfig:
    """Relevance against diversity, the length of the list, and the windows."""

    lam: float = 0.9
    """weight of the score; 1 = score alone, 0 = diversity alone (0.5-0.95)"""
    keep: int = 10
    """length of the list (5-30); a request that asks for more gets more"""
    category_window: int = 5
    """cards in a row that the category rule looks at; 0 = no rule"""
    max_per_category: int = 3
    """most cards of one category (first tag) in the window"""
    creator_window: int = 10
    """cards in a row that the creator rule looks at; 0 = no rule"""
    max_per_creator: int = 3
    """most cards of one creator in the window"""

    def __post_init__(self) -> None:
        check_float("MMRConfig.lam", self.lam, 0.0, 1.0, "0.5-0.95")
        check_int("MMRConfig.keep", self.keep, 1, 1000, "10")
        check_int("MMRConfig.category_window", self.category_window, 0, 1000, "5")
        check_int("MMRConfig.max_per_category", self.max_per_category, 1, 1000, "3")
        check_int("MMRConfig.creator_window", self.creator_window, 0, 1000, "10")
        check_int("MMRConfig.max_per_creator", self.max_per_creator, 1, 1000, "3")


class Lists(NamedTuple):
    """``order`` (B, k) positions of the chosen candidates, -1 padded; ``value`` (B, k) float32
    marginal relevance when chosen; ``pushed`` (B, n) bool: was best once, but a window forbade it;
    ``relaxed`` (B,) cards that break a window because nothing else was left."""

    order: Array
    value: Array
    pushed: Array
    relaxed: Array


def mmr(score: Array, vectors: Array, k: int, lam: float) -> Array:
    """Order (min(k, n),) by MMR of candidates with ``score`` (n,) and unit ``vectors`` (n, d).

    >>> twins = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    >>> mmr(np.array([1.0, 0.9, 0.5]), twins, 2, lam=0.5).tolist()
    [0, 2]
    """
    order = mmr_batch(score[None], vectors[None], k, lam).order[0]
    return np.asarray(order[order >= 0])


def mmr_batch(
    score: Array, vectors: Array, k: int | Array, lam: float, rules: Sequence[Rule] = ()
) -> Lists:
    """MMR for B requests at once: ``score`` (B, n), -inf = no candidate, ``vectors`` (B, n, d),
    ``k`` cards for all requests or (B,) for each.

    Windows hold wherever they can: a request whose greedy list breaks one is searched for an
    order that breaks none, and only if there is none is the least bad list kept.
    """
    wanted = np.broadcast_to(np.asarray(k, np.int64), len(score))
    lists = _greedy(score, vectors, wanted, lam, rules)
    for b, cards in mended(lists, score, wanted, rules):
        lists.value[b, : len(cards)] = _values(score[b, cards], vectors[b, cards], lam)
    return lists


def mended(
    lists: Lists, score: Array, wanted: Array, rules: Sequence[Rule]
) -> Iterator[tuple[int, Array]]:
    """Search an order that breaks no window for the requests whose list breaks one, put it into
    ``lists``, and give request and cards. ``score`` (B, n), ``wanted`` (B,)."""
    for b in np.flatnonzero(lists.relaxed):
        real = np.flatnonzero(score[b] > -np.inf)
        mine = [(rule.group[b, real], rule.window, rule.cap) for rule in rules]
        length = min(int(wanted[b]), len(real))
        if not all(can_fit(group, length, window, cap) for group, window, cap in mine):
            continue
        order = search(score[b, real], mine, length)
        if order is not None:
            lists.order[b, :length], lists.relaxed[b] = real[order], 0
            yield int(b), real[order]


def _greedy(
    score: Array, vectors: Array, wanted: Array, lam: float, rules: Sequence[Rule]
) -> Lists:
    """One card at a time for all requests together; the requests whose best card breaks a window
    take their best of the least broken."""
    (n_requests, n), every = score.shape, np.arange(len(score))
    k = min(int(wanted.max(initial=0)), n)
    gain = np.full_like(score, -np.inf)
    np.multiply(score, np.float32(lam), out=gain, where=score > -np.inf)
    marginal, likest = gain.copy(), np.zeros(0, np.float32)
    windows = Windows(rules, n_requests)
    order, value = np.full((n_requests, k), -1), np.zeros((n_requests, k), np.float32)
    pushed, broke = np.zeros(score.shape, bool), np.zeros((n_requests, k), bool)
    for t in range(k):
        pick = marginal.argmax(1)
        if rules:
            rows, best, breaks = windows.place(pick, marginal)
            if len(rows):
                broke[rows, t] = breaks
                pushed[rows, best] |= (best != pick[rows]) & (t < wanted[rows])
        order[:, t], value[:, t] = pick, marginal[every, pick]
        if t == k - 1:
            break
        gain[every, pick] = -np.inf
        alike = np.matmul(vectors, vectors[every, pick][:, :, None])[:, :, 0]
        likest = alike if t == 0 else np.maximum(likest, alike, out=likest)
        np.multiply(likest, np.float32(1 - lam), out=marginal)
        np.subtract(gain, marginal, out=marginal)
    real = (value > -np.inf) & (np.arange(k) < wanted[:, None])
    order, value = np.where(real, order, -1), np.where(real, value, 0)
    if pushed.any():
        pushed[np.nonzero(real)[0], order[real]] = False
    return Lists(order, value, pushed, (broke & real).sum(1))


class Windows:
    """The groups of the cards placed so far, by rule and request. Plain lists: a window is short,
    and one request must not pay for arrays."""

    def __init__(self, rules: Sequence[Rule], n_requests: int) -> None:
        self.rules = rules
        self.every = np.arange(n_requests)
        self.recent: list[list[list[int]]] = [[[] for _ in range(n_requests)] for _ in rules]

    def place(self, pick: Array, marginal: Array) -> tuple[Array, Array]:
        """Card ``pick`` (B,) takes the next place, or, where it would break a rule, the next best
        one, which is put into ``pick``. Returns those requests (V,), what they had picked, and
        whether what they got breaks a rule too."""
        now = [rule.group[self.every, pick].tolist() for rule in self.rules]
        full: set[int] = set()
        for rule, recent, groups in zip(self.rules, self.recent, now, strict=True):
            if len(recent[0]) >= (cap := rule.cap):
                pairs = enumerate(zip(groups, recent, strict=True))
                full.update(b for b, (g, near) in pairs if g >= 0 and near.count(g) >= cap)
        rows = np.array([b for b in sorted(full) if marginal[b, pick[b]] > -np.inf], np.int64)
        best, broke = pick[rows], np.zeros(len(rows), bool)
        if len(rows):
            pick[rows], broke = self.next_best(rows, marginal[rows])
            for rule, groups in zip(self.rules, now, strict=True):
                for b, g in zip(rows.tolist(), rule.group[rows, pick[rows]].tolist(), strict=True):
                    groups[b] = g
        for rule, recent, groups in zip(self.rules, self.recent, now, strict=True):
            for near, g in zip(recent, groups, strict=True):
                near.append(g)
                if len(near) >= rule.window:
                    del near[0]  # it leaves the window of the next place
        return rows, best, broke

    def next_best(self, rows: Array, marginal: Array) -> tuple[Array, Array]:
        """For the requests ``rows`` (V,) with ``marginal`` (V, n): the best of the candidates that
        break the fewest rules, and whether it breaks one."""
        breaks = np.zeros(marginal.shape, np.int8)
        for rule, recent in zip(self.rules, self.recent, strict=True):
            near = [recent[b] for b in rows]
            full = [[g for g in set(r) if g >= 0 and r.count(g) >= rule.cap] for r in near]
            for groups in zip_longest(*full, fillvalue=-2):  # a full group of each request
                breaks += rule.group[rows] == np.array(groups)[:, None]
        free = np.where(breaks, -np.inf, marginal)
        pick = free.argmax(1)
        broke = free[np.arange(len(rows)), pick] == -np.inf
        if broke.any():
            least = np.where(marginal > -np.inf, breaks, len(self.rules)).min(1, keepdims=True)
            pick = np.where(breaks == least, marginal, -np.inf).argmax(1)
        return pick, broke


def _values(score: Array, vectors: Array, lam: float) -> Array:
    """(k,) marginal relevance of each card of a list, given the cards before it."""
    alike = np.where(np.tri(len(score), k=-1, dtype=bool), vectors @ vectors.T, -np.inf)
    likest = alike.max(1)
    likest[0] = 0
    return np.asarray(lam * score - (1 - lam) * likest, np.float32)


@dataclass(frozen=True)
class MMRStage:
    """Re-rank each request's candidates into a list; the kept ones come in list order and carry
    ``rerank_score``, their marginal relevance when chosen."""

    config: MMRConfig
    index: ForwardIndex
    score: str = "rank_score"
    name: str = "re_ranking"

    def __call__(self, batch: Batch, candidates: Candidates) -> StageResult:
        c = self.config
        wanted = np.array([max(c.keep, request.n) for request in batch.requests], np.int64)
        table = dense(candidates)
        score = scaled(candidates[self.score], table)
        held = [name for name in ("tags", "author_id") if name in self.index]
        item = self.index.get(candidates.item_row, held)
        tags = item.get("tags", np.full((len(candidates), 1), -1))
        vectors = tag_vectors(tags, table)
        rules = self._rules(tags[:, 0], item.get("author_id"), table)
        lists, cost = self._choose(score, vectors, wanted, rules)
        return _result(candidates, table, lists, _notes(lists, rules), cost)

    def _choose(
        self, score: Array, vectors: Array, wanted: Array, rules: Sequence[Rule]
    ) -> tuple[Lists, float]:
        """The lists, and what they cost in millions of multiply-adds."""
        lists = mmr_batch(score, vectors, wanted, self.config.lam, rules)
        return lists, score.size * vectors.shape[2] * lists.order.shape[1] / 1e6

    def _rules(self, category: Array, creator: Array | None, table: Array) -> list[Rule]:
        """The windows that are switched on and whose column the items have."""
        c, rules = self.config, []
        if c.max_per_category < c.category_window:
            rules.append(Rule(_spread(category, table, -1), c.category_window, c.max_per_category))
        if c.max_per_creator < c.creator_window and creator is not None:
            rules.append(Rule(_spread(creator, table, -1), c.creator_window, c.max_per_creator))
        return rules


def dense(candidates: Candidates) -> Array:
    """(B, n) positions of the candidates of each request, -1 padded; n = the most of any."""
    if candidates.n_requests == 1 and len(candidates):
        return np.arange(len(candidates))[None]
    counts, starts = candidates.counts(), candidates.starts()
    place = np.arange(max(1, counts.max(initial=0)))
    return np.where(place < counts[:, None], starts[:-1, None] + place, -1)


def _spread(values: Array, table: Array, blank: float) -> Array:
    """Values (n,) of the candidates laid out as ``table`` (B, n)."""
    if len(values) == table.size:  # nothing is padded
        return values.reshape(table.shape)
    if not len(values):
        return np.full(table.shape, blank, values.dtype)
    return np.where(table >= 0, values[table], values.dtype.type(blank))


def scaled(score: Array, table: Array) -> Array:
    """(B, n) float32 scores scaled to 0 ... 1 within each request; -inf where there is none."""
    wide = _spread(score.astype(np.float32), table, np.nan)
    finite = np.isfinite(wide)
    if finite.all():
        low = wide.min(1, keepdims=True)
        span = wide.max(1, keepdims=True) - low
        return np.asarray((wide - low) / np.where(span > 0, span, 1))
    low = np.where(finite, wide, np.inf).min(1, keepdims=True)
    high = np.where(finite, wide, -np.inf).max(1, keepdims=True)
    span = np.where(high > low, high - low, 1)
    out = np.where(finite, (np.where(finite, wide, 0) - np.where(finite, low, 0)) / span, HOPELESS)
    return np.where(table >= 0, out, -np.inf).astype(np.float32)


def tag_vectors(tags: Array, table: Array) -> Array:
    """(B, n, d) float32 unit vectors of tags (n, width), -1 = none; d = the tags that occur."""
    used = np.zeros(int(tags.max(initial=0)) + 2, np.int64)
    used[tags] = 1
    used[-1] = 1  # where -1 points: the column of "none", last, and emptied
    column = used.cumsum().take(tags, mode="wrap")
    width = max(int(used.sum()), 2)
    vectors = np.zeros((len(tags) + 1, width), np.float32)  # last row: no candidate
    vectors.reshape(-1)[(np.arange(len(tags)) * width - 1)[:, None] + column] = 1.0
    vectors = vectors[:, :-1]
    norm = np.sqrt(vectors.sum(1, keepdims=True))
    vectors = vectors / np.maximum(norm, 1)
    if len(tags) == table.size:  # nothing is padded
        return np.asarray(vectors[:-1].reshape(*table.shape, -1))
    return np.asarray(vectors[table])


def _notes(lists: Lists, rules: Sequence[Rule]) -> tuple[str, ...]:
    """Say where windows had to be relaxed."""
    if not lists.relaxed.any():
        return ()
    bad, every = np.zeros(lists.order.shape, bool), np.arange(len(lists.order))[:, None]
    for rule in rules:
        group = np.where(lists.order >= 0, rule.group[every, lists.order], -1)
        bad |= broken(group, rule.window, rule.cap)
    rows = np.flatnonzero(bad.any(1))
    named = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
    many = f"{int(bad.sum())} cards of {len(rows)} requests"
    return (f"windows relaxed for {many}, nothing else was left: request {named}",)


def _result(
    candidates: Candidates, table: Array, lists: Lists, notes: tuple[str, ...], cost: float
) -> StageResult:
    """Split the candidates into the lists and the rest, which was pushed out or came too late."""
    request, place = np.nonzero(lists.order >= 0)
    chosen = table[request, lists.order[request, place]]
    kept = candidates.take(chosen).with_columns(rerank_score=lists.value[request, place])
    left = np.ones(len(candidates), bool)
    left[chosen] = False
    pushed = np.zeros(len(candidates), np.int16)
    pushed[table[lists.pushed]] = 1
    dropped = candidates.take(left).with_columns(reason=pushed[left])
    return StageResult(kept, dropped, ("beyond the list", "window"), cost, notes)
