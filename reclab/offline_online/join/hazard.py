"""Join hazard: rules that stop waiting when what may still come is not worth the wait.

    closes at min(r + q(state, age), t + W),  r = the latest label or t
    Hazard:      q = the shortest quiet after which P(another label before t + W) <= threshold
    PricedWait:  q minimises E[waiting + price · labels lost], by policy iteration
State = kinds that have come and how many; age = r - t. Both are learned from logs that are over.
Reference: Chapelle 2014 (KDD) for the delay of feedback; Howard 1960 for policy iteration.

Simplified: the state has no user, item or predicted click rate; each would sharpen it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from reclab.core.errors import DataError, NotBuilt, check_float, check_int
from reclab.core.types import Array
from reclab.offline_online.join.window import LONGEST_MS, MINUTE_MS, NEVER, Stateless

N_STATES, MANY = 1 << 10, 3  # states of Hazard: kinds so far and number of labels, 3 = or more


@dataclass(frozen=True)
class HazardConfig:
    """``threshold``: chance of another label at which a sample stops waiting (.001-.1);
    ``max_wait_ms``: W; ``ages_ms``: edges between the ages that have quiet times of their own;
    ``n_least``: fewest cases from which a quiet time is learned (30-1,000)."""

    threshold: float = 0.01
    max_wait_ms: int = 20 * MINUTE_MS
    ages_ms: tuple[int, ...] = (15_000, 60_000, 150_000, 300_000, 600_000)
    n_least: int = 50

    def __post_init__(self) -> None:
        check_float("HazardConfig.threshold", self.threshold, 0.0, 1.0, "0.01")
        check_int("HazardConfig.max_wait_ms", self.max_wait_ms, 1, LONGEST_MS, "1200000")
        check_int("HazardConfig.n_least", self.n_least, 1, 10**9, "50")
        if list(self.ages_ms) != sorted(self.ages_ms):
            raise DataError(f"HazardConfig.ages_ms must rise, got {self.ages_ms}")


class Hazard(Stateless):
    """State of a row: which kinds have come and how many labels; its age at the latest of them.
    ``fit`` on logs that are over; without enough cases of a state a row waits for W."""

    on_label = True

    def __init__(self, config: HazardConfig | None = None) -> None:
        self.config = config or HazardConfig()
        self.max_wait_ms = self.config.max_wait_ms
        self._quiet_ms: Array | None = None  # (N_STATES, ages + 1)

    def fit(self, time_ms: Array, row: Array, stamp_ms: Array, kind: Array) -> "Hazard":
        """Learn quiet times from rows (n,) and their reports (m,): ``row`` -1 = of no row."""
        wait = stamp_ms - time_ms[row]
        inside = np.flatnonzero((row >= 0) & (wait >= 0) & (wait <= self.max_wait_ms))
        order = inside[np.lexsort((stamp_ms[inside], row[inside]))]
        row, age = row[order], wait[order]
        labels, count = _so_far(row, np.int64(1) << kind[order].astype(np.int64))
        n, none = len(time_ms), np.zeros(len(time_ms), np.int64)
        # one case a row when it opens, and one a label: what came next, and how much later
        begins = np.flatnonzero(np.diff(row, prepend=-1))
        total = np.bincount(row, minlength=n)
        after = np.arange(n + 1, n + len(row) + 1)
        after[np.append(begins[1:], len(row))[: len(begins)] - 1] = -1
        first = np.full(n, -1)
        first[row[begins]] = n + begins
        every, age = np.append(first, after), np.append(none, age)
        gap = np.where(every >= 0, age[every] - age, NEVER)
        cell = self._cell(age, np.append(none, labels), np.append(none, count))
        left = np.append(total, total[row] - count)
        self._quiet_ms = self._learned(Cases(cell, gap, every, left, self.max_wait_ms - age))
        return self

    def _cell(self, age_ms: Array, labels: Array, count: Array) -> Array:
        """(n,) state and age as one number."""
        state = (labels * (MANY + 1) + np.minimum(count, MANY)) & (N_STATES - 1)
        return np.asarray(state * (len(self.config.ages_ms) + 1)
                          + np.searchsorted(self.config.ages_ms, age_ms, "right"))  # fmt: skip

    def _learned(self, cases: "Cases") -> Array:
        """Shortest quiet of each cell after which a next label is rarer than the threshold.

        With gaps sorted, after the i-th of m gaps among n cases the chance is (m-i)/(n-i)."""
        quiet = self._whole_wait()
        for cell, which in cases.by_cell(self.config.n_least):
            gaps, n = np.sort(cases.gap_ms[which]), len(which)
            m = int(np.searchsorted(gaps, NEVER))
            gone = np.arange(m + 1)
            low = (m - gone) <= self.config.threshold * np.maximum(n - gone, 1)
            i = int(np.argmax(low))
            quiet[cell] = gaps[i - 1] if i else 0
        return quiet

    def _whole_wait(self) -> Array:
        n_cells = N_STATES * (len(self.config.ages_ms) + 1)
        return np.full(n_cells, self.max_wait_ms, np.int64)

    def _after(self, stamp_ms: Array, time_ms: Array, labels: Array, count: Array) -> Array:
        if self._quiet_ms is None:
            raise NotBuilt("Hazard has no quiet times yet: call fit(...) on past logs")
        quiet = self._quiet_ms[self._cell(stamp_ms - time_ms, labels, count)]
        return np.asarray(np.minimum(stamp_ms + quiet, time_ms + self.max_wait_ms))

    def opened(self, time_ms: Array, columns: Mapping[str, Array]) -> tuple[Array, Array]:
        """Nothing has come, age 0."""
        none = np.zeros(len(time_ms), np.int64)
        return self._after(time_ms, time_ms, none, none), none

    def told(self, stamp_ms: Array, time_ms: Array, labels: Array, count: Array) -> Array:
        """Quiet counts from this label on."""
        return self._after(stamp_ms, time_ms, labels.astype(np.int64), count.astype(np.int64))

    def closes(
        self, time_ms: Array, columns: Mapping[str, Array], row: Array, stamp_ms: Array, kind: Array
    ) -> Array:
        """The k-th reports of all rows at once, for k = 1, 2, …; one too late ends a row."""
        close = self.opened(time_ms, columns)[0]
        order = np.lexsort((stamp_ms, row))
        row, stamp_ms = row[order], stamp_ms[order]
        labels, count = _so_far(row, np.int64(1) << kind[order].astype(np.int64))
        ended = np.zeros(len(time_ms), bool)
        for turn in _turns(count):
            at, stamp = row[turn], stamp_ms[turn]
            ended[at] |= stamp > close[at]
            turn = turn[~ended[at]]
            at, stamp = row[turn], stamp_ms[turn]
            close[at] = self._after(stamp, time_ms[at], labels[turn], count[turn])
        return close

    def state(self) -> dict[str, Array]:
        """The quiet times, so that a restart goes on by the same law."""
        return {} if self._quiet_ms is None else {"quiet_ms": self._quiet_ms}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take a ``state``."""
        self._quiet_ms = state.get("quiet_ms")


@dataclass(frozen=True)
class PricedWaitConfig(HazardConfig):
    """Also ``label_s``: seconds of one sample's waiting that a label is worth (1 min - 10 h);
    ``rounds``: improvements of the policy (3-8). ``threshold`` is not used."""

    label_s: float = 3_600.0
    rounds: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_float("PricedWaitConfig.label_s", self.label_s, 0.0, 1e9, "3600")
        check_int("PricedWaitConfig.rounds", self.rounds, 1, 100, "5")


class PricedWait(Hazard):
    """Hazard's states, but the quiet that costs least: waiting, and labels lost at a price. A
    label lost takes all later ones of its row with it, which a chance of the next one ignores."""

    config: PricedWaitConfig

    def __init__(self, config: PricedWaitConfig | None = None) -> None:
        super().__init__(config or PricedWaitConfig())

    def _learned(self, cases: "Cases") -> Array:
        """Policy iteration on the cases themselves, from waiting for W everywhere."""
        price, quiet = self.config.label_s * 1000, self._whole_wait()
        cells = list(cases.by_cell(self.config.n_least))
        # a case comes before its row's next one, so from the last labels back to the openings
        depth = _turns(cases.left + 1)
        for _ in range(self.config.rounds):
            cost = np.zeros(len(cases.cell))
            for which in depth:
                wait = np.minimum(quiet[cases.cell[which]], cases.room_ms[which])
                gap, after = cases.gap_ms[which], cases.after[which]
                met = gap <= wait
                cost[which] = np.where(met, gap + cost[after], wait + price * cases.left[which])
            for cell, which in cells:
                quiet[cell] = _cheapest(cases, which, cost, price, self.max_wait_ms)
        return quiet


def _cheapest(cases: "Cases", which: Array, cost: Array, price: float, longest: int) -> int:
    """Quiet of least total cost for the cases of one cell: 0, or as long as one of their gaps.

    total(q) = Σ_{gap <= q} (gap + cost of what follows) + Σ_{gap > q} (min(q, room) + price left)
    """
    order = which[np.argsort(cases.gap_ms[which])]
    m = int(np.searchsorted(cases.gap_ms[order], NEVER))
    some, never = order[:m], np.sort(cases.room_ms[order[m:]])
    gaps = cases.gap_ms[some]
    quiet = np.append(0, gaps)
    met = np.append(0.0, np.cumsum(gaps + cost[cases.after[some]]))
    lost = price * np.append(np.cumsum(cases.left[some][::-1])[::-1], 0.0)
    full = np.searchsorted(never, quiet)
    room = np.append(0.0, np.cumsum(never))
    idle = room[full] + quiet * (len(never) - full) + quiet * np.arange(m, -1, -1)
    best = int(np.argmin(met + lost + idle))
    return min(int(quiet[best]), longest)


@dataclass(frozen=True)
class Cases:
    """Moments after which a row is quiet: its opening and its labels. ``cell`` (n,) state and age;
    ``gap_ms`` to the next label within W, or NEVER; ``after``: that label's case, or -1; ``left``:
    labels still to come within W; ``room_ms``: until W is over."""

    cell: Array
    gap_ms: Array
    after: Array
    left: Array
    room_ms: Array

    def by_cell(self, n_least: int) -> Iterator[tuple[int, Array]]:
        """Cells with enough cases, and their cases."""
        order = np.argsort(self.cell, kind="stable")
        for which in np.split(order, np.flatnonzero(np.diff(self.cell[order])) + 1):
            if len(which) >= max(n_least, 1):
                yield int(self.cell[which[0]]), which


def _so_far(row: Array, bits: Array) -> tuple[Array, Array]:
    """Of reports sorted by row: bits of the row's reports up to each, and how many they are."""
    begins = np.flatnonzero(np.diff(row, prepend=-1))
    count = np.arange(len(row)) - np.repeat(begins, np.diff(begins, append=len(row))) + 1
    labels = bits.copy()
    for turn in _turns(count)[1:]:
        labels[turn] |= labels[turn - 1]
    return labels, count


def _turns(count: Array) -> list[Array]:
    """Positions of all first reports, of all second ones, …"""
    order = np.argsort(count, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(count[order])) + 1) if len(order) else []
