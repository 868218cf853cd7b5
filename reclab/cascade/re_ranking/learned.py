"""The learned re-rankers' one contract: ``fit``, ``lists``, ``save``, ``load``; and their stage.

``LearnedStage`` is ``MMRStage`` with a model in the place of the formula: it lays the candidates
out, asks the model for lists under the same windows, and says why each other candidate was dropped.
``with_parts(re_ranker=partial(LearnedStage, model=model))``.
Reference: chapter 2, section 2.2 (4).
Simplified: industry calls such a model on another machine, within a deadline.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import nn

from reclab.cascade.batch import Batch
from reclab.cascade.re_ranking.cards import Cards
from reclab.cascade.re_ranking.mmr import (
    Lists,
    MMRStage,
    _notes,
    _result,
    _spread,
    dense,
    tag_vectors,
)
from reclab.cascade.re_ranking.windows import Rule
from reclab.core.errors import ConfigError, DataError, NotBuilt, check_int
from reclab.core.stage import StageResult
from reclab.core.types import Array, Candidates


class ListModel(Protocol):
    """Candidates in, lists out."""

    def lists(self, cards: Cards, wanted: Array, rules: Sequence[Rule] = ()) -> Lists:
        """Lists of ``wanted`` (B,) cards; ``value`` is what the model said of a card in its place.
        Windows hold wherever they can; candidates without a finite score come last."""
        ...

    def macs(self, n: int, k: int) -> int:
        """Multiply-adds of one list of ``k`` out of ``n``."""
        ...


class Saved:
    """A model with a ``net``: builds it by its seed, saves it, loads it. A subclass names itself
    and its ``Config``, and says in ``build`` what the untrained network is."""

    name: str
    Config: type
    config: Any

    def __init__(self, config: Any = None) -> None:
        self.config = config or self.Config()
        self._net: nn.Module | None = None
        self.learned: list[float] = []

    def build(self) -> nn.Module:
        """The untrained network."""
        raise NotImplementedError

    @property
    def net(self) -> Any:
        """The network. Raises ``NotBuilt`` before ``fit`` or ``load``."""
        if self._net is None:
            raise NotBuilt(f"{type(self).__name__}: call fit or load first")
        return self._net

    def start(self) -> nn.Module:
        """A fresh network, the same for the same seed."""
        with torch.random.fork_rng():
            torch.manual_seed(self.config.seed)
            self._net = self.build()
        return self._net

    def save(self, folder: Path) -> None:
        """Write ``<name>.pt`` and ``<name>.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.net.state_dict(), folder / f"{self.name}.pt")
        about = {"config": asdict(self.config), "learned": self.learned}
        (folder / f"{self.name}.json").write_text(json.dumps(about), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote. Raises ``DataError`` when it is damaged."""
        try:
            about = json.loads((folder / f"{cls.name}.json").read_text(encoding="utf-8"))
            state = torch.load(folder / f"{cls.name}.pt", weights_only=True)
            model = cls(cls.Config(**about["config"]))
            model.start().load_state_dict(state)
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, UnpicklingError) as error:
            raise DataError(f"cannot load {cls.name} from {folder}: {error}") from error
        model.learned = about["learned"]
        model.net.eval()
        return model


def cut(order: Array, value: Array, pushed: Array, broke: Array, wanted: Array) -> Lists:
    """Lists cut to the length that each request wants, where ``order`` (B, k) has a card."""
    real = (order >= 0) & (np.arange(order.shape[1]) < wanted[:, None])
    order, value = np.where(real, order, -1), np.where(real, value, 0).astype(np.float32)
    pushed[np.nonzero(real)[0], order[real]] = False
    return Lists(order, value, pushed, (broke & real).sum(1))


@dataclass(frozen=True)
class LearnedStage(MMRStage):
    """Re-rank by a learned model: length, windows and score as ``MMRStage`` has them, its ``lam``
    unused. Of each request the model reads the ``read`` best candidates, or as many as cards are
    wanted: who compares every two of them takes four times as long for twice as many."""

    model: ListModel | None = None
    read: int = 100
    """candidates of the best scores that the model sees (20 … 500)"""

    def __post_init__(self) -> None:
        if self.model is None:
            raise ConfigError("LearnedStage.model must be a fitted re-ranker, got None")
        check_int("LearnedStage.read", self.read, 1, 100_000, "100")

    def __call__(self, batch: Batch, candidates: Candidates) -> StageResult:
        assert self.model is not None
        wanted = np.array([max(self.config.keep, r.n) for r in batch.requests], np.int64)
        best = self._best(candidates, max(self.read, int(wanted.max(initial=0))))
        seen = candidates.take(best) if len(best) < len(candidates) else candidates
        table = dense(seen)
        held = [name for name in ("tags", "author_id") if name in self.index]
        item = self.index.get(seen.item_row, held)
        tags = item.get("tags", np.full((len(seen), 1), -1))
        rules = self._rules(tags[:, 0], item.get("author_id"), table)
        cards = cards_of(seen[self.score], tags, item.get("author_id"), table)
        lists = self.model.lists(cards, wanted, rules)
        cost = len(table) * self.model.macs(table.shape[1], lists.order.shape[1]) / 1e6
        if seen is not candidates:
            table = np.where(table >= 0, best[table], -1)
        return _result(candidates, table, lists, _notes(lists, rules), cost)

    def _best(self, candidates: Candidates, n: int) -> Array:
        """Positions of each request's ``n`` best by score; those without a finite one last."""
        if candidates.counts().max(initial=0) <= n:
            return np.arange(len(candidates))
        score = candidates[self.score].astype(np.float32)
        sure = np.where(np.isfinite(score), score, np.float32(-np.inf))
        return np.flatnonzero(candidates.rank_by(sure) < n)


def cards_of(score: Array, tags: Array, creator: Array | None, table: Array) -> Cards:
    """The candidates (n,) with ``tags`` (n, width), laid out as ``table`` (B, n)."""
    worth = score.astype(np.float32)
    worth = np.where(np.isfinite(worth), worth, np.nan)  # -inf is kept for "no candidate"
    made = np.full(len(score), -1) if creator is None else creator
    return Cards(
        _spread(worth, table, -np.inf),
        _spread(tags[:, 0], table, -1),
        _spread(made, table, -1),
        tag_vectors(tags, table),
    )
