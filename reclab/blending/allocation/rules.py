"""Page rules (页面规则): what a page may look like, whoever fills it.

    w_t = stay^t                                      share of the users who see slot t
    value of a page = sum_t w_t v(page_t)
    most paid cards, none before a slot, gaps between them; runs of one business; floors and
    ceilings of each; gaps between two cards of one creator

A page is (slots,) positions of candidates, -1 = empty, and empty slots come last. Candidates carry
the columns ``business`` (code, the place in ``PageRules.businesses``), ``value`` (expected value of
a full exposure, in the one currency), ``creator`` (id, -1 = nobody's) and, where a policy asks for
it, ``score`` (the business's own). A floor asks for no more cards than its business has sent.

Simplified: industry has such rules by user group, by page of the session and by hour.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from reclab.core.errors import DataError, check, check_float, check_int
from reclab.core.types import Array, Candidates

BUSINESSES = ("short video", "live", "product", "ad", "image-text", "campaign")
EMPTY = -1
MOST_SLOTS = 50


@dataclass(frozen=True)
class PageRules:
    """The rules of one kind of page. Tuples have an entry for each of ``businesses``."""

    businesses: tuple[str, ...] = BUSINESSES
    """names, in the order of their codes"""
    slots: int = 10
    """length of a page (cards, 5-30)"""
    stay: float = 0.93
    """of those who see a slot, how many see the next one too (share, 0.8-0.99)"""
    paid: tuple[str, ...] = ("ad",)
    """businesses whose cards are advertising"""
    most_paid: int = 2
    """ad load: paid cards on a page, at most (cards, 0-3)"""
    first_paid: int = 2
    """slots at the top that no paid card takes (slots, 1-3)"""
    paid_gap: int = 3
    """other cards between two paid ones, at least (cards, 2-5)"""
    most_in_a_row: tuple[int, ...] = (10, 2, 2, 1, 2, 1)
    """cards of one business one after the other, at most (cards, 1-slots)"""
    floors: tuple[int, ...] = (2, 0, 0, 0, 0, 0)
    """cards of each business on a page, at least (cards, 0-3)"""
    ceilings: tuple[int, ...] = (10, 3, 3, 2, 3, 1)
    """cards of each business on a page, at most (cards, 1-slots)"""
    creator_gap: int = 3
    """other cards between two of one creator, at least (cards, 0-9)"""

    def __post_init__(self) -> None:
        n = len(self.businesses)
        few = 1 <= n <= 100 and len(set(self.businesses)) == n
        check(few, "PageRules.businesses", self.businesses, "be 1..100 different names", "6 names")
        check_int("PageRules.slots", self.slots, 1, MOST_SLOTS, "10")
        check_float("PageRules.stay", self.stay, 0.1, 1.0, "0.93")
        known = set(self.paid) <= set(self.businesses)
        check(known, "PageRules.paid", self.paid, f"be among {self.businesses}", '("ad",)')
        for name, typical in (("most_paid", "2"), ("first_paid", "2"), ("paid_gap", "3")):
            check_int(f"PageRules.{name}", getattr(self, name), 0, MOST_SLOTS, typical)
        check_int("PageRules.creator_gap", self.creator_gap, 0, MOST_SLOTS, "3")
        for name, low in (("most_in_a_row", 1), ("floors", 0), ("ceilings", 0)):
            values = getattr(self, name)
            rule = f"have {n} entries, one a business"
            check(len(values) == n, f"PageRules.{name}", values, rule, "the default")
            for business, value in zip(self.businesses, values, strict=True):
                check_int(f"PageRules.{name} of {business}", value, low, MOST_SLOTS, "1-10")

    @property
    def weights(self) -> Array:
        """(slots,) share of the users who see each slot, falling."""
        return np.asarray(self.stay ** np.arange(self.slots))

    @property
    def is_paid(self) -> Array:
        """(businesses,) bool."""
        return np.array([name in self.paid for name in self.businesses])


class Violation(NamedTuple):
    """A broken rule: of which request's page, which rule, at which slot (-1 = the whole page), and
    what is wrong."""

    request_row: int
    rule: str
    slot: int
    said: str


def check_candidates(candidates: Candidates, rules: PageRules) -> None:
    """Raise ``DataError`` for a business code without rules; values may be anything."""
    business = candidates["business"]
    bad = (business < 0) | (business >= len(rules.businesses))
    if bad.any():
        raise DataError(
            f"{int(bad.sum())} of {len(business)} candidates have a business outside "
            f"0..{len(rules.businesses) - 1}, the first is {business[bad][0]}"
        )


def supply(candidates: Candidates, rules: PageRules) -> Array:
    """(B, businesses) candidates that each business has sent and that have a finite value."""
    usable = np.isfinite(candidates["value"])
    n = len(rules.businesses)
    code = candidates.request_row[usable] * n + candidates["business"][usable]
    return np.bincount(code, minlength=candidates.n_requests * n).reshape(-1, n)


def page_value(pages: Array, candidates: Candidates, rules: PageRules) -> Array:
    """(B,) values of pages (B, slots) or of one page (slots,)."""
    pages = np.atleast_2d(pages)
    value = np.append(candidates["value"], 0.0)[pages]  # -1 is the last
    return np.asarray(value @ rules.weights[: pages.shape[1]])


def exposures(pages: Array, candidates: Candidates, rules: PageRules) -> Array:
    """(B, businesses) expected exposures: the weights of the slots that each business holds."""
    pages = np.atleast_2d(pages)
    n = len(rules.businesses)
    held = np.append(candidates["business"], n)[pages]
    code = np.arange(len(pages))[:, None] * (n + 1) + held
    weight = np.broadcast_to(rules.weights[: pages.shape[1]], pages.shape)
    sums = np.bincount(code.ravel(), weight.ravel(), len(pages) * (n + 1))
    return sums.reshape(-1, n + 1)[:, :n]


def violations(pages: Array, candidates: Candidates, rules: PageRules) -> list[Violation]:
    """Every rule that pages (B, slots), or one page (slots,), break, and where.

    >>> rules = PageRules(("video", "ad"), slots=3, paid=("ad",), first_paid=1,
    ...                   most_in_a_row=(3, 1), floors=(0, 0), ceilings=(3, 1))
    >>> columns = {"business": np.array([1, 0, 0]), "value": np.ones(3), "creator": np.arange(3)}
    >>> candidates = Candidates(1, np.zeros(3, int), np.arange(3), columns)
    >>> [(v.rule, v.slot) for v in violations(np.array([0, 1, 2]), candidates, rules)]
    [('first_paid', 0)]
    """
    check_candidates(candidates, rules)
    had = supply(candidates, rules)
    found: list[Violation] = []
    for row, page in enumerate(np.atleast_2d(pages)):
        wrong = _not_a_page(row, page, candidates, rules) or _broken(page, candidates, rules)
        if not any(rule == "page" for rule, _, _ in wrong):
            wrong += _under_floors(page, candidates, rules, had[row])
        found += [Violation(row, *what) for what in wrong]
    return found


def _not_a_page(
    row: int, page: Array, candidates: Candidates, rules: PageRules
) -> list[tuple[str, int, str]]:
    """What no rules are needed for: real candidates of this request, each once, no holes."""
    wrong = []
    if page.shape != (rules.slots,):
        return [("page", -1, f"has shape {page.shape}, not ({rules.slots},)")]
    held = page != EMPTY
    for t in np.flatnonzero(held):
        if not 0 <= page[t] < len(candidates):
            wrong.append(("page", int(t), f"position {page[t]} of {len(candidates)} candidates"))
        elif candidates.request_row[page[t]] != row:
            wrong.append(("page", int(t), "a candidate of another request"))
        elif (page[:t] == page[t]).any():
            wrong.append(("page", int(t), f"candidate {page[t]} for the second time"))
        elif not held[:t].all():
            wrong.append(("page", int(t), "after an empty slot"))
        elif not np.isfinite(candidates["value"][page[t]]):
            wrong.append(("page", int(t), "a candidate whose value is not a number"))
    return wrong


def _broken(page: Array, candidates: Candidates, rules: PageRules) -> list[tuple[str, int, str]]:
    """Hard rules broken by a page of real candidates, empty slots last."""
    wrong: list[tuple[str, int, str]] = []
    cards = page[page != EMPTY]
    business, creator = candidates["business"][cards], candidates["creator"][cards]
    ads = np.flatnonzero(rules.is_paid[business])
    for n, t in enumerate(ads.tolist()):
        if t < rules.first_paid:
            wrong.append(("first_paid", t, f"paid, before slot {rules.first_paid}"))
        if n >= rules.most_paid:
            wrong.append(("most_paid", t, f"paid card {n + 1} of at most {rules.most_paid}"))
        if n and t - ads[n - 1] - 1 < rules.paid_gap:
            wrong.append(("paid_gap", t, f"{t - ads[n - 1] - 1} cards after a paid one"))
    for b, name in enumerate(rules.businesses):
        mine = np.flatnonzero(business == b)
        most = rules.most_in_a_row[b]
        for t in mine[rules.ceilings[b] :].tolist():
            wrong.append(("ceilings", t, f"more than {rules.ceilings[b]} of {name}"))
        for t in mine[most:][mine[most:] - mine[:-most] == most].tolist():
            wrong.append(("most_in_a_row", t, f"more than {most} of {name} in a row"))
    for t in range(len(cards)):
        near = creator[max(0, t - rules.creator_gap) : t]
        if creator[t] >= 0 and (near == creator[t]).any():
            wrong.append(("creator_gap", t, f"creator {creator[t]} again"))
    return wrong


def _under_floors(
    page: Array, candidates: Candidates, rules: PageRules, had: Array
) -> list[tuple[str, int, str]]:
    """Floors that are not met although the business has sent enough."""
    held = np.bincount(candidates["business"][page[page != EMPTY]], minlength=len(had))
    wanted = np.minimum(rules.floors, had)
    return [
        ("floors", -1, f"{held[b]} of {rules.businesses[b]}, at least {wanted[b]}")
        for b in np.flatnonzero(held < wanted)
    ]
