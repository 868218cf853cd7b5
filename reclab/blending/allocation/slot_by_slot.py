"""The fast solver: pages written slot by slot, a few of the best beginnings kept at each slot.

    gain of a card = w_t v,  the best card of each business that its creator's gap lets through
    keep the ``beam`` beginnings with the highest sums                        (beam search)

What the rules say of businesses (runs, ad load, gaps, no ad first) is a finite automaton: its state
is the last business and its run, the cards since the last ad, and the ads so far. Its tables are
made once, so that a slot costs a look-up for all beginnings of all requests together. Broken rules
are not among the moves, so no page breaks one. A beginning that can no longer meet a floor, or that
must end early, loses more than any card could win: such a page is made only where nothing better
is found, and a wider beam has looked too. It may still miss what a proof would find, where the best
card of a business must make room for another one of its business because of their creators.
Reference: Lowerre 1976 (beam search); Pesant 2004 (rules on sequences as automata).

Simplified: industry writes the same loop in C++, and one page in some 50 microseconds.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from reclab.blending.allocation.grid import Grid, grid_of
from reclab.blending.allocation.rules import EMPTY, PageRules
from reclab.core.types import Array, Candidates

BLOCK = 256  # requests at a time: their beginnings stay in the processor's cache
WIDER = 16  # times the beam, for a page that misses something
NEVER = np.int8(127)  # a cell that is used is free again at no slot


def below_floor(rules: PageRules) -> float:
    """What a card short of a floor costs, with values of at most 1: more than any page is worth."""
    return 4.0 * (rules.slots + 1)


def short_of_page(rules: PageRules) -> float:
    """What an empty slot costs: more than all floors together."""
    return below_floor(rules) * (1 + sum(rules.floors))


def write_pages(
    candidates: Candidates, value: Array, rules: PageRules, beam: int = 16
) -> tuple[Array, Array]:
    """Pages (B, slots) of the most ``value`` (n,) found under the rules, and (B,) what they miss:
    cards short of floors that were sent + empty slots, as a cost of ``below_floor`` each.

    ``beam`` beginnings are kept; 1 = take the best card at every slot. NaN values are left out.
    """
    if not candidates.n_requests:
        return np.zeros((0, rules.slots), np.int64), np.zeros(0)
    grid = grid_of(candidates, value, rules)
    pages = np.empty((candidates.n_requests, rules.slots), np.int64)
    lost = np.empty(candidates.n_requests)
    for at in range(0, len(pages), BLOCK):
        part = slice(at, at + BLOCK)
        block = Grid(*(column[part] for column in grid))
        pages[part], lost[part] = _search(block, rules, beam)
    if beam > 1 and lost.any():
        for row in np.flatnonzero(lost > _sure_to_miss(grid.supply, rules)):
            alone = Grid(*(column[row : row + 1] for column in grid))
            again, less = _search(alone, rules, WIDER * beam)
            if less[0] < lost[row]:
                pages[row], lost[row] = again[0], less[0]
    return pages, lost


def _sure_to_miss(supply: Array, rules: PageRules) -> Array:
    """(B,) what every page misses, by ``supply`` (B, businesses) alone: its empty slots."""
    most = np.minimum(supply, rules.ceilings)
    gaps = -(-(rules.slots - rules.first_paid) // (rules.paid_gap + 1))
    paid = np.minimum(most[:, rules.is_paid].sum(1), min(rules.most_paid, max(0, gaps)))
    paid = np.minimum(paid, np.where(most[:, ~rules.is_paid].sum(1) >= rules.first_paid, paid, 0))
    room = most * ~rules.is_paid
    others = room.sum(1, keepdims=True) - room + paid[:, None]
    room = np.minimum(room, (others + 1) * rules.most_in_a_row)
    length = np.minimum(room.sum(1) + paid, rules.slots)
    return (rules.slots - length) * short_of_page(rules)


class Tables(NamedTuple):
    """For each slot, state and business taken (the last one: the slot stays empty): ``cost``
    (slots, states, n + 1) 0 or -inf, or of an empty slot; ``then`` (states, n + 1) the next state;
    ``reach`` [(members (n + 1,), most (slots, states, n + 1))]: of a group of businesses with a
    floor that the automaton may bar, the most cards that can still follow."""

    cost: Array
    then: Array
    reach: list[tuple[Array, Array]]


@lru_cache(maxsize=64)
def tables_of(rules: PageRules) -> Tables:
    """The automaton of the rules."""
    n, paid = len(rules.businesses), rules.is_paid
    free = min(rules.paid_gap, rules.slots)
    states: dict[tuple[int, int, int, int], int] = {(-1, 0, free, 0): 0}
    rows: list[list[int]] = []
    for last, run, since, ads in (todo := list(states)):  # grows while it is read
        row = []
        for b in range(n):
            if (b == last and run >= rules.most_in_a_row[b]) or (
                paid[b] and (since < free or ads >= rules.most_paid)
            ):
                row.append(EMPTY)
                continue
            longer = min(run + 1, rules.slots) if b == last else 1
            if rules.most_in_a_row[b] >= rules.slots:
                longer = 1  # no run can be too long: not worth a state
            state = (b, longer, 0 if paid[b] else min(free, since + 1), ads + int(paid[b]))
            if state not in states:
                states[state] = len(states)
                todo.append(state)
            row.append(states[state])
        rows.append(row)
    end = len(rows)  # the state behind the last card
    then = np.full((end + 1, n + 1), end)
    then[:end, :n] = np.array(rows).reshape(end, n)
    barred = then == EMPTY
    barred[end, :n] = True
    then[barred] = end
    cost = np.where(barred, -np.inf, 0.0)
    cost[:, n] = -short_of_page(rules)
    cost = np.repeat(cost[None], rules.slots, 0)
    cost[: rules.first_paid, :, np.flatnonzero(paid)] = -np.inf
    return Tables(cost, then, _reach(rules, cost, then))


def _reach(rules: PageRules, cost: Array, then: Array) -> list[tuple[Array, Array]]:
    """How many cards of each group can still follow, for the groups whose floor may be barred."""
    n, paid, floors = len(rules.businesses), rules.is_paid, np.array(rules.floors)
    groups = [
        np.arange(n + 1) == b
        for b in range(n)
        if floors[b] and (paid[b] or rules.most_in_a_row[b] < floors[b])
    ]
    if (paid & (floors > 0)).sum() > 1:
        groups.append(np.append(paid, False))
    found = []
    for members in groups:
        after = np.zeros((rules.slots + 1, len(then)), np.int8)
        for t in range(rules.slots - 1, -1, -1):
            counted = after[t + 1][then] + members
            after[t] = np.where(cost[t] > -np.inf, counted, -1).max(1)
        found.append((members, after[1:, then]))
    return found


def _search(grid: Grid, rules: PageRules, beam: int) -> tuple[Array, Array]:
    """Beam search on a block of requests: pages and what they miss."""
    beginnings = Beginnings(grid, rules, beam)
    for t in range(rules.slots):
        beginnings.grow(t)
    return beginnings.best()


class Beginnings:
    """``beam`` beginnings of a page for each of B requests: rows = B * beam."""

    def __init__(self, grid: Grid, rules: PageRules, beam: int) -> None:
        self.grid, self.rules, self.beam = grid, rules, beam
        self.tables, self.weights, self.miss = tables_of(rules), rules.weights, below_floor(rules)
        (requests, n, width), rows = grid.value.shape, len(grid.value) * beam
        self.shape, self.cells = (rows, n, width), n * width
        self.value, self.creator = grid.value.ravel(), grid.creator.ravel()
        self.creators = grid.creator.reshape(requests, 1, self.cells)
        self.page_cell = np.arange(requests).repeat(beam) * self.cells
        self.first_cell = self.page_cell[:, None] + np.arange(n) * width
        self.first_move = np.arange(requests)[:, None] * (beam * n)
        self.row_cell, self.row_move = np.arange(rows) * self.cells, np.arange(rows) * n
        self.most = np.append(rules.ceilings, NEVER).astype(np.int8)
        self.score = np.full(rows, -np.inf)
        self.score[::beam] = 0.0  # all start from the one empty page
        self.state, self.used = np.zeros(rows, np.int64), np.zeros((rows, n), np.int8)
        self.ready = np.zeros((rows, self.cells), np.int8)  # first slot a cell may be taken at
        floors = np.minimum(rules.floors, grid.supply).astype(np.int8)
        self.need = np.append(floors, np.zeros((requests, 1), np.int8), 1).repeat(beam, 0)
        self.owed = self.need.sum(1, dtype=np.int64)  # cards that floors still ask for
        self.owing = bool(self.owed.any())
        self.charged = [np.zeros(rows) for _ in self.tables.reach]
        self.steps: list[tuple[Array, Array]] = []

    def grow(self, t: int) -> None:
        """Put a card into slot ``t`` of the beginnings that are kept."""
        cell, gain, charges = self._moves(t)
        requests, n = len(self.first_move), self.shape[1]
        gain, cut = gain.reshape(requests, self.beam * n), self.beam * (n - 1)
        kept = gain.argpartition(cut, 1)[:, cut:] if self.beam > 1 else gain.argmax(1)[:, None]
        kept = (kept + self.first_move).ravel()
        self.score = gain.ravel().take(kept)
        row, took = np.divmod(kept, n)
        cell = cell.ravel().take(kept)
        self.steps.append((cell, row))
        self.charged = [charge.ravel().take(kept) for charge in charges]
        self._advance(t, row, took, cell)

    def _moves(self, t: int) -> tuple[Array, Array, list[Array]]:
        """(rows, n) the cell of each business that comes next, and the sum with it."""
        cell = (self.ready.reshape(self.shape) <= t).argmax(2)
        cell += self.first_cell
        gain = self.value.take(cell)
        gain *= self.weights[t]
        gain += self.tables.cost[t].take(self.state, 0)
        gain += self.score[:, None]
        gain[self.used == self.most] = -np.inf
        if not self.owing:
            return cell, gain, []
        late = self.owed >= self.rules.slots - t
        if late.any():
            gain -= self.miss * (late[:, None] & (self.need <= 0))
        charges = []
        for (members, reach), before in zip(self.tables.reach, self.charged, strict=True):
            need = np.maximum(self.need, 0) * members
            left = need.sum(1)[:, None] - (need > 0) - reach[t].take(self.state, 0)
            charge = np.maximum(np.maximum(left, 0), before[:, None])
            gain -= self.miss * (charge - before[:, None])
            charges.append(charge)
        return cell, gain, charges

    def _advance(self, t: int, row: Array, took: Array, cell: Array) -> None:
        """What holds after ``took`` (rows,) and its ``cell`` have been added to ``row``."""
        n, gap = self.shape[1], self.rules.creator_gap
        self.state = self.tables.then.ravel().take(self.state.take(row) * n + took)
        at = self.row_move + took
        self.used = self.used.take(row, 0)
        self.used.ravel()[at] += 1
        if self.owing:
            self.need = self.need.take(row, 0)
            self.owed = self.owed.take(row) - (self.need.ravel().take(at) > 0)
            self.need.ravel()[at] -= 1
        if t == self.rules.slots - 1:
            return
        self.ready = self.ready.take(row, 0)
        if gap:
            same = self.creators == self.creator.take(cell).reshape(len(self.first_move), -1, 1)
            wait = same.reshape(self.ready.shape) * np.int8(min(t + gap + 1, NEVER - 1))
            np.maximum(self.ready, wait, out=self.ready)
        self.ready.ravel()[cell - self.page_cell + self.row_cell] = NEVER

    def best(self) -> tuple[Array, Array]:
        """The best page of each request, (B, slots) positions, and (B,) what it misses."""
        score = self.score.reshape(-1, self.beam)
        row = score.argmax(1) + np.arange(len(score)) * self.beam
        last = self.shape[1] - 1
        lost = self.owed[row] * self.miss + self.used[row, last] * short_of_page(self.rules)
        pages = np.empty((len(row), self.rules.slots), np.int64)
        position = self.grid.position.ravel()
        for t in range(self.rules.slots - 1, -1, -1):
            cell, parent = self.steps[t]
            pages[:, t] = position.take(cell.take(row))
            row = parent.take(row)
        return pages, lost
