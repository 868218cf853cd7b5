"""A business's recommender (业务推荐): a small cascade over its own items, by its own objective.

    own channels -> published -> duplicates -> seen -> own filters -> pre-ranking -> objective -> k

The trained models are the cascade's; what differs is what may be found, what may not be shown, and
what "best" means. Every offer carries, beside the score in the business's unit, what the business
itself expects of a full exposure: ``watch_sec``; ``revenue``, money to the platform; ``payer`` and
``spend``, who pays it (-1 = nobody) and how much.

Simplified: in industry each business has models, features and a team of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from reclab.blending.contract import Clicks, Deadline, Listener, Offers
from reclab.cascade.batch import Batch, read_batch
from reclab.cascade.filters import DuplicateFilter, PublishedFilter, SeenFilter
from reclab.cascade.pipeline import Parts
from reclab.cascade.ranking.ranker import Ranker
from reclab.cascade.retrieval.merge import Channel, MergeStage
from reclab.cascade.stages import PreRankStage
from reclab.core.errors import DataError, check_int
from reclab.core.pipeline import run
from reclab.core.stage import Stage, StageResult, keep_top
from reclab.core.types import Array, Candidates, Request
from reclab.stores.forward_index import ForwardIndex

CHUNK = 64  # requests between two looks at the deadline
EXPECTED = ("watch_sec", "revenue", "payer", "spend")


class Objective(Protocol):
    """What a business wants. Candidates carry the ranker's predictions."""

    unit: str

    def __call__(self, batch: Batch, candidates: Candidates) -> Mapping[str, Array]:
        """(n,) ``score``, and whichever of ``EXPECTED`` the business knows better."""
        ...


@dataclass(frozen=True)
class ObjectiveStage:
    """Ranking by the objective: the ``keep`` best."""

    ranker: Ranker
    objective: Objective
    keep: int
    name: str = "objective"

    def __call__(self, batch: Batch, candidates: Candidates) -> StageResult:
        scored = judged(self.ranker, self.objective, batch, candidates)
        cost = len(candidates) * self.ranker.macs_per_candidate / 1e6
        return keep_top(scored, scored["score"], self.keep, "low for the business", cost)


def judged(
    ranker: Ranker, objective: Objective, batch: Batch, candidates: Candidates
) -> Candidates:
    """Candidates with predictions, ``score`` and all of ``EXPECTED``."""
    told = candidates.with_columns(**ranker.predict(batch, candidates))
    n = len(told)
    usual = {"revenue": np.zeros(n), "payer": np.full(n, -1), "spend": np.zeros(n)}
    if "watch_sec" not in told.columns:
        usual["watch_sec"] = np.zeros(n)
    found = {**usual, **objective(batch, told)}
    columns = {name: np.asarray(values, np.float32) for name, values in found.items()}
    return told.with_columns(**columns)


class Recommender:
    """One business. ``offer`` is the contract; ``score`` says what it thinks of given items."""

    def __init__(
        self,
        name: str,
        parts: Parts,
        channels: Sequence[Channel],
        objective: Objective,
        filters: Sequence[Stage] = (),
        retrieve: int = 300,
        pre_rank: int = 100,
        listener: Listener | None = None,
    ) -> None:
        check_int(f"{name}: retrieve", retrieve, 1, 100_000, "100-1000")
        check_int(f"{name}: pre_rank", pre_rank, 1, retrieve, "50-300, at most retrieve")
        self.name, self.parts, self.objective = name, parts, objective
        self.channels, self.filters = tuple(channels), tuple(filters)
        self.retrieve, self.pre_rank, self.listener = retrieve, pre_rank, listener

    def stages(self, k: int) -> list[Stage]:
        """The boxes, in order."""
        p = self.parts
        return [
            MergeStage(self.channels, self.retrieve),
            PublishedFilter(p.index),
            DuplicateFilter(),
            SeenFilter(),
            *self.filters,
            PreRankStage(p.pre_ranker, keep=max(self.pre_rank, k)),
            ObjectiveStage(p.ranker, self.objective, keep=k),
        ]

    def offer(self, requests: Sequence[Request], k: int, deadline: Deadline) -> Offers:
        """At most ``k`` candidates a request; nothing for requests that the deadline overtakes."""
        check_int("offer: k", k, 0, 10_000, "10")
        p, found, counts = self.parts, [], np.zeros(len(requests), np.int64)
        for at in range(0, len(requests) if k else 0, CHUNK):
            if deadline.over:
                break
            some = requests[at : at + CHUNK]
            batch = read_batch(some, p.users, p.index, p.exposures)
            kept, _ = run(self.stages(k), batch, len(some))
            counts[at : at + len(some)] = kept.counts()
            found.append(kept)
        names = ("score", *EXPECTED)
        none = np.zeros(0, np.float32)
        rows = np.concatenate([np.zeros(0, np.int64), *(kept.item_row for kept in found)])
        columns = {n: np.concatenate([none, *(kept[n] for kept in found)]) for n in names}
        return Offers(counts, p.index.ids[rows], columns.pop("score"), columns)

    def hear(self, clicks: Clicks) -> int:
        """How many of the clicks on its cards are news to it; none where it does not listen."""
        return self.listener.hear(clicks) if self.listener else 0

    def score(self, batch: Batch, candidates: Candidates) -> Candidates:
        """The business's numbers for any of its items, whoever found them."""
        return judged(self.parts.ranker, self.objective, batch, candidates)


def cards_of(candidates: Candidates, index: ForwardIndex) -> Candidates:
    """Candidates as the allocation wants them: with ``creator``, and ``payer`` a whole number.
    What a business did not send is 0, nobody's."""
    author = index.get(candidates.item_row, ["author_id"])["author_id"]
    columns = {"creator": author.astype(np.int64)}
    for name, usual in (("revenue", 0.0), ("spend", 0.0), ("payer", -1)):
        if name in candidates.columns:
            columns[name] = np.nan_to_num(candidates[name], nan=usual)
    if "payer" in columns:
        columns["payer"] = columns["payer"].astype(np.int64)
    return candidates.with_columns(**columns)


def need(index: ForwardIndex, *names: str) -> None:
    """Raise ``DataError`` for columns of the catalogue that a business cannot do without."""
    missing = [name for name in names if name not in index]
    if missing:
        raise DataError(
            f"businesses need the items' columns {', '.join(missing)} (these logs have: "
            f"{', '.join(index)}); use the simulated platform, or add them to the catalogue"
        )
