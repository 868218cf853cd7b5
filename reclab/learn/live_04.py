"""The reader's own component in lesson 04: their function in, a decision or a page out.

    own_front(choose_action, gain, cost)              # exercise 4.2: value against cost, for a plot
    own_evening(choose_action, evening)               # the same in the running decision policy
    own_surge(pid_step, height=8)                     # exercise 4.3: a cap through a surge
    OwnDegradedPath(leftovers, path).recommend(…)     # exercise 4.5: serves pages
    own_threshold(hysteresis, demand)                 # exercise 4.6: in a loop that it changes

Simplified: read, decide, write back: two requests of a user at the same moment can be handed the
same items here. Our path claims them in one script inside Redis.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.filters import DuplicateFilter, SeenFilter
from reclab.core.errors import DataError
from reclab.core.stage import Stage, StageResult
from reclab.core.types import Array, Candidates
from reclab.degradation_dcaf.cache import Cached, DegradationCache
from reclab.degradation_dcaf.dcaf import NONE, solve_lambda
from reclab.degradation_dcaf.dcaf_policy import DCAF
from reclab.degradation_dcaf.max_power import MaxPowerConfig
from reclab.degradation_dcaf.pipeline import DegradedPath
from reclab.lab.evening import Evening
from reclab.lab.surge import Run
from reclab.learn.lesson_04.tune import Surge, through_a_surge
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.kv import StoreDown

# ---- 4.2: the decision ----------------------------------------------------------------------

ChooseAction = Callable[[Array, Array, float, float], Array]
SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


def own_actions(
    function: ChooseAction, gain: Array, cost: Array, lam: float, most: float = np.inf
) -> Array:
    """(n,) int16 what the reader's executor takes. Raises ``DataError`` for what is no action."""
    found = np.asarray(function(gain, cost, lam, most))
    n, m = gain.shape
    whole = found.shape == (n,) and found.dtype.kind in "iu"
    if not whole or (n and not (found.min() >= NONE and found.max() < m)):
        raise DataError(f"choose_action must return {n} whole numbers from -1 to {m - 1}")
    return found.astype(np.int16)


@dataclass(frozen=True)
class Front:
    """One point a budget: the price ``lam``, and the mean ``cost`` and ``gain`` of a request."""

    lam: Array
    cost: Array
    gain: Array


def own_front(
    function: ChooseAction,
    gain: Array,
    cost: Array,
    truth: Array | None = None,
    shares: Sequence[float] = SHARES,
) -> Front:
    """Value against cost with the reader's executor: for each share of what computing for all would
    cost, the price is solved on ``gain`` (n, m), actions are chosen by it, and ``truth`` (n, m), or
    ``gain`` itself, says what they were worth."""
    truth = gain if truth is None else truth
    points, rows = [], np.arange(len(gain))
    free = solve_lambda(gain, cost, float(len(gain) * np.max(cost))).cost
    for share in shares:
        lam = solve_lambda(gain, cost, share * free).lam
        action = own_actions(function, gain, cost, lam)
        taken = action >= 0
        won = np.where(taken, truth[rows, action], 0.0).mean()
        points.append((lam, np.where(taken, cost[action], 0.0).mean(), won))
    return Front(*np.array(points).T)


class PricedPolicy(Protocol):
    """A decision policy that goes by a price."""

    cap: float
    lam: float

    def decide(self, now_ms: int, gain: Array) -> Array: ...

    def observe(self, load: Any) -> None: ...


class OwnDecision:
    """A running policy whose actions the reader's executor takes: the policy keeps its price up to
    date, ``most()`` is the cap on an action's cost at the moment (None = no cap)."""

    def __init__(
        self,
        function: ChooseAction,
        policy: PricedPolicy,
        cost: Array,
        most: Callable[[], float] | None = None,
    ) -> None:
        self.function, self.policy, self.cost = function, policy, cost
        self.most = most or (lambda: np.inf)

    @property
    def lam(self) -> float:
        """The policy's price."""
        return self.policy.lam

    @property
    def cap(self) -> float:
        """The policy's cap."""
        return self.policy.cap

    def decide(self, now_ms: int, gain: Array) -> Array:
        """(n,) int16 action of each request; the policy's own while it has no price."""
        ours = self.policy.decide(now_ms, gain)
        if not np.isfinite(self.policy.lam) or not len(gain):
            return ours
        return own_actions(self.function, gain, self.cost, self.policy.lam, self.most())

    def observe(self, load: Any) -> None:
        """The policy takes the measurement."""
        self.policy.observe(load)


def own_evening(function: ChooseAction, evening: Evening) -> Run:
    """The reader's executor in the place of DCAF's, through lesson 04's evening: price and MaxPower
    stay, the function takes the actions."""
    policy = DCAF(evening.ladder())
    return evening.send(OwnDecision(function, policy, policy.cost))


# ---- 4.3: the cap ---------------------------------------------------------------------------

PidStep = Callable[..., tuple[float, float]]


def own_surge(
    function: PidStep, height: float = 8.0, delay: int = 1, config: MaxPowerConfig | None = None
) -> Surge:
    """The reader's step in the place of MaxPower's, through the surge of exercise 4.4: it is told
    the worst of the three loads as a multiple of its set point, 1 = as loaded as wanted."""
    c, total = config or MaxPowerConfig(), 0.0
    cap = c.top

    def control(now_ms: int, utilisation: float, response_ms: float, failure: float) -> float:
        nonlocal total, cap
        load = max(utilisation / c.utilisation, response_ms / c.response_ms, failure / c.failure)
        if load == load:  # NaN: nothing was measured yet
            found = function(total, load, 1.0, 1.0, c.top, c.least, c.proportional, c.integral)
            total, cap = (float(value) for value in found)
        return cap

    return through_a_surge(control, cap, height, delay)


# ---- 4.5: the degraded path ------------------------------------------------------------------

Leftovers = Callable[[Array, Array, int, Array], tuple[Array, Array]]


@dataclass(frozen=True)
class OwnLeftovers:
    """The first stage of the path: each user's list goes through the reader's function; what it
    gives is the page, what stays is written back."""

    function: Leftovers
    cache: DegradationCache
    index: ForwardIndex
    name: str = "own_leftovers"

    def __call__(self, batch: Batch, candidates: Candidates) -> StageResult:
        users = [request.user_id for request in batch.requests]
        try:
            lists = self.cache.peek(users)
            pages = [self._page(batch, b, held) for b, held in enumerate(lists)]
        except StoreDown as error:
            none = Candidates.empty(len(batch)).with_columns(rank_score=np.zeros(0))
            return StageResult(none, none, notes=(f"no cached answers: {error}",))
        given, rest = self._found([page for page, _ in pages]), self._found([r for _, r in pages])
        rest = rest.with_columns(reason=np.zeros(len(rest), np.int16))
        return StageResult(given, rest, ("stays in the cache, or barred",))

    def _found(self, lists: Sequence[Cached]) -> Candidates:
        """Candidates of those items that the index knows."""
        owner = np.repeat(np.arange(len(lists)), [len(some.item_id) for some in lists])
        item_row = self.index.rows(np.concatenate([some.item_id for some in lists]))
        score = np.concatenate([some.score for some in lists])
        known = item_row >= 0
        found = Candidates(len(lists), owner[known], item_row[known])
        return found.with_columns(rank_score=score[known])

    def _page(self, batch: Batch, b: int, held: Cached) -> tuple[Cached, Cached]:
        """What the function gives of a user's list, and all else; the list becomes what stays. The
        score that it sees is the place: re-ranking chose the order, the model's score would undo
        it."""
        seen = batch.seen_rows[batch.seen_starts[b] : batch.seen_starts[b + 1]]
        request = batch.requests[b]
        barred = self.index.ids[seen]
        place = -np.arange(len(held.item_id), dtype=np.float64)
        given, stays = self.function(held.item_id.copy(), place, request.n, barred)
        score = dict(zip(held.item_id.tolist(), held.score.tolist(), strict=True))
        self.cache.put(request.user_id, *_scored(stays, score))
        page = _scored(given, score)
        other = ~np.isin(held.item_id, page.item_id)
        return page, Cached(held.item_id[other], held.score[other])


def _scored(item_ids: Array, score: dict[int, float]) -> Cached:
    """Items with the scores that they were kept with; what was not kept is left out."""
    ids = [int(i) for i in np.asarray(item_ids).ravel() if int(i) in score]
    return Cached(np.array(ids, np.int64), np.array([score[i] for i in ids], np.float64))


class OwnDegradedPath(DegradedPath):
    """The degraded path with the reader's ``leftovers`` in the place of cached retrieval and
    truncation: the same cache, filters and hot pool."""

    def __init__(self, function: Leftovers, path: DegradedPath) -> None:
        super().__init__(**vars(path))
        object.__setattr__(self, "function", function)

    def stages(self) -> list[Stage]:
        """The boxes, in order."""
        own = OwnLeftovers(self.function, self.cache, self.index)
        return [own, DuplicateFilter(), SeenFilter(), *self.filters]


# ---- 4.6: the threshold ----------------------------------------------------------------------

Threshold = Callable[[Array, float, float, int], Array]


@dataclass(frozen=True)
class Flapping:
    """A run: ``load`` (n,) as measured, ``degraded`` (n,) bool, how often it changed."""

    load: Array
    degraded: Array

    @property
    def switches(self) -> int:
        """Changes of the state."""
        return int((np.diff(self.degraded.astype(np.int8)) != 0).sum())


def own_threshold(
    function: Threshold,
    demand: Array,
    on_line: float = 0.85,
    off_line: float = 0.75,
    hold: int = 10,
    relief: float = 0.5,
) -> Flapping:
    """The reader's rule in a loop that it changes: ``demand`` (n,) is the load if nobody were
    degraded; while the rule is on, only ``relief`` of it is left. Each measurement goes to the rule
    with all those before it."""
    load = np.zeros(len(demand))
    degraded, state = np.zeros(len(demand), bool), False
    for t, wanted in enumerate(demand):
        load[t] = wanted * (relief if state else 1.0)
        told = np.asarray(function(load[: t + 1].copy(), on_line, off_line, hold))
        degraded[t] = state = bool(told[-1])
    return Flapping(load, degraded)
