"""What every action would be worth to a request: each of ten settings really run, and judged.

    value_ij  = sum of P(long view) of the page that action j gives request i     (hidden truth)
    told_ij   = the same sum as the ranker itself predicts it: known to whoever ran action j
    drawn_ij  = long views of one draw; a card shown by several actions has one outcome in it

Run for the tuning requests (what a value model may learn from) and the held-out ones (what is
reported), beside the page of the degraded path and the context known before the decision. A further
table of logged requests has no outcomes, only what the ranker told: that costs computing but no
traffic, so there are more of them.

Simplified: industry sees one action a request, and explores the others with a per cent of traffic.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from types import ModuleType

import numpy as np

from reclab.cascade.batch import read_batch
from reclab.core.chance import rng
from reclab.core.errors import DataError
from reclab.core.tables import Table
from reclab.core.types import Array, Request
from reclab.degradation_dcaf import actions, request_context
from reclab.degradation_dcaf.actions import ACTIONS, Action, Costs, measure_costs
from reclab.degradation_dcaf.request_context import context_names, context_of
from reclab.lab.action_pages import K, answers, fallback_pages, logged_requests, outcomes
from reclab.lab.cache import built
from reclab.lab.judge import TruthJudge
from reclab.lab.kept import cache_name
from reclab.lab.lab import Lab, Progress, progress_bar
from reclab.lab.panel import exposure_groups

N_REQUESTS = {"tiny": 120, "laptop": 2000}
"""requests of a split by scale; elsewhere all that the platform kept"""
N_LOGGED = {"tiny": 120, "laptop": 2000}
MOST_LOGGED = 4000
"""logged requests, without outcomes, that are run beside"""
TAIL = 2  # group of the long tail


@dataclass(frozen=True)
class ActionTable:
    """n requests x m actions, cheapest first.

    ``names`` of the actions and ``features`` of the context ``x`` (n, f); ``value``, ``clicks``,
    ``revenue`` (n, m) expected long views, clicks and money of the page, ``tail`` its share of
    long-tail cards; ``told``, ``told_revenue`` (n, m) the sums that the ranker predicts;
    ``fallback``, ``fallback_clicks``, ``fallback_revenue``, ``fallback_tail`` (n,) of the degraded
    path's page, and ``cached`` (n,) whether that came from a cache; ``lists`` (n, m, K) item rows,
    -1 = empty, with their ``p_click``, ``p_long``, ``p_pay`` and the ``money`` of one payment;
    ``user_row``, ``time_ms`` (n,); ``costs`` measured when the table was made."""

    names: tuple[str, ...]
    features: tuple[str, ...]
    x: Array
    value: Array
    clicks: Array
    revenue: Array
    tail: Array
    told: Array
    told_revenue: Array
    fallback: Array
    fallback_clicks: Array
    fallback_revenue: Array
    fallback_tail: Array
    cached: Array
    lists: Array
    p_click: Array
    p_long: Array
    p_pay: Array
    money: Array
    user_row: Array
    time_ms: Array
    costs: Costs

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: Array) -> "ActionTable":
        """The table of these requests (positions or a mask)."""
        same = {"names", "features", "costs"}
        held = {f.name: getattr(self, f.name) for f in fields(self)}
        return ActionTable(**{k: v if k in same else v[rows] for k, v in held.items()})

    @cached_property
    def _cards(self) -> tuple[Array, Array]:
        """(n m K,) for each card the number of its (request, item) pair, and how many pairs."""
        owner = np.arange(len(self))[:, None, None]
        key = owner * (int(self.lists.max(initial=0)) + 2) + self.lists + 1
        pairs, which = np.unique(key.ravel(), return_inverse=True)
        return which, np.array(len(pairs))


@dataclass(frozen=True)
class Drawn:
    """What came of every page in one draw: long views and money (n, m)."""

    value: Array
    revenue: Array


def draws(table: ActionTable, seed: int) -> Drawn:
    """Draw the users' answers to all pages; one answer a request and item, whoever shows it."""
    which, n_pairs = table._cards
    chance = rng(seed, "outcomes of actions")
    click, long, pay = (
        chance.random(int(n_pairs))[which].reshape(table.lists.shape) for _ in "abc"
    )
    clicked = click < table.p_click
    given = np.maximum(table.p_click, 1e-9)
    watched = clicked & (long < table.p_long / given)
    paid = clicked & (pay < table.p_pay / given)
    return Drawn(watched.sum(2).astype(np.float32), (paid * table.money).sum(2).astype(np.float32))


# ---- made once -----------------------------------------------------------------------------


def action_table(lab: Lab, split: str = "tuning", progress: bool | Progress = True) -> ActionTable:
    """The table of a split ("tuning", "held_out"), made when first asked for (minutes) and kept
    beside the models. Raises ``DataError`` on real logs, whose truth is hidden."""
    judge = _truth_judge(lab)

    def build(folder: Path) -> None:
        costs = action_costs(lab, progress)
        n = N_REQUESTS.get(lab.scale, 10**6)
        with progress_bar(f"actions on {split} requests", progress) as say:
            _save(
                make_table(lab, judge.table(split, n), judge.requests(split, n), costs, say), folder
            )

    return _load(built(f"actions_{split}-{lab.scale}-{lab.seed}", table_version(lab), build))


def logged_table(lab: Lab, progress: bool | Progress = True) -> ActionTable:
    """Further requests of the tuning day and the day before it, as they were logged: contexts and
    what the ranker told. Outcomes are not known (NaN)."""
    _truth_judge(lab)

    def build(folder: Path) -> None:
        costs = action_costs(lab, progress)
        requests = logged_requests(lab, N_LOGGED.get(lab.scale, MOST_LOGGED))
        with progress_bar("actions on logged requests", progress) as say:
            _save(make_table(lab, None, requests, costs, say), folder)

    return _load(built(f"actions_logged-{lab.scale}-{lab.seed}", table_version(lab), build))


def action_costs(lab: Lab, progress: bool | Progress = True) -> Costs:
    """Measured on this machine when first asked for, and kept, so that all tables share them."""

    def build(folder: Path) -> None:
        with progress_bar("what actions cost", progress) as say:
            say(0.0, "measuring")
            few = lab.scale == "tiny"
            costs = measure_costs(lab.trained, lab.requests(16 if few else 128), ACTIONS, 5)
        held = {k: np.asarray(v).tolist() for k, v in asdict(costs).items()}
        (folder / "costs.json").write_text(json.dumps(held), encoding="utf-8")

    return _costs(built(f"action_costs-{lab.scale}-{lab.seed}", table_version(lab), build))


def table_version(lab: Lab, *modules: ModuleType) -> str:
    """Changes with the lab's models, and with the code of the actions, of the context and of
    ``modules``: of all this chapter's code only these change the numbers."""
    digest = hashlib.sha256()
    for module in (actions, request_context, *modules):
        digest.update(Path(module.__file__ or "").read_bytes())
    return f"{cache_name(lab, '')[1]}-{digest.hexdigest()[:8]}"


def _costs(folder: Path) -> Costs:
    held = json.loads((folder / "costs.json").read_text(encoding="utf-8"))
    return Costs(**{k: np.array(v) if isinstance(v, list) else v for k, v in held.items()})


def _truth_judge(lab: Lab) -> TruthJudge:
    if not isinstance(lab.judge, TruthJudge):
        raise DataError(f"actions are judged by the platform's truth; {lab.origin} has none")
    return lab.judge


def _save(table: ActionTable, folder: Path) -> None:
    held = {f.name: getattr(table, f.name) for f in fields(table) if f.name != "costs"}
    held["names"], held["features"] = np.array(table.names), np.array(table.features)
    np.savez(folder / "table.npz", **held)
    costs = {k: np.asarray(v).tolist() for k, v in asdict(table.costs).items()}
    (folder / "costs.json").write_text(json.dumps(costs), encoding="utf-8")


def _load(folder: Path) -> ActionTable:
    with np.load(folder / "table.npz") as arrays:
        held = {name: arrays[name] for name in arrays.files}
    for name in ("names", "features"):
        held[name] = tuple(str(text) for text in held[name])
    return ActionTable(**held, costs=_costs(folder))


# ---- how -----------------------------------------------------------------------------------


def make_table(
    lab: Lab,
    held: Table | None,
    requests: Sequence[Request],
    costs: Costs,
    say: Progress,
    actions: Sequence[Action] = ACTIONS,
) -> ActionTable:
    """Run every action on all requests, in batches, and judge the pages by the truth of ``held``,
    the same requests with the state of their session; None = unknown, all outcomes are NaN."""
    lists, told, told_revenue = answers(lab, requests, actions, lambda f: say(0.9 * f, "answers"))
    say(0.9, "degraded answers")
    cached, spare = np.zeros(len(requests), bool), np.full((len(requests), K), -1, np.int32)
    if held is not None:
        cached, spare = fallback_pages(lab, requests)
    say(0.95, "outcomes")
    pages = np.concatenate([lists, spare[:, None]], 1)
    p_click, p_long, p_pay, money = outcomes(lab, held, pages)
    there = pages >= 0
    tail = (exposure_groups(lab.trained)[pages] == TAIL) & there
    tail = tail.sum(2) / np.maximum(there.sum(2), 1)
    value, clicks, revenue = p_long.sum(2), p_click.sum(2), (p_pay * money).sum(2)
    p = lab.trained.parts
    parts = [requests[at : at + 500] for at in range(0, len(requests), 500)]
    batches = [read_batch(part, p.users, p.index) for part in parts]
    return ActionTable(
        names=tuple(action.name for action in actions),
        features=context_names(lab.trained),
        x=np.concatenate([context_of(lab.trained, batch) for batch in batches]),
        value=value[:, :-1], clicks=clicks[:, :-1], revenue=revenue[:, :-1],
        tail=tail[:, :-1].astype(np.float32), told=told, told_revenue=told_revenue,
        fallback=value[:, -1], fallback_clicks=clicks[:, -1], fallback_revenue=revenue[:, -1],
        fallback_tail=tail[:, -1].astype(np.float32), cached=cached, lists=lists,
        p_click=p_click[:, :-1], p_long=p_long[:, :-1], p_pay=p_pay[:, :-1], money=money[:, :-1],
        user_row=np.concatenate([batch.user_row for batch in batches]),
        time_ms=np.array([request.time_ms for request in requests]),
        costs=costs,
    )  # fmt: skip
