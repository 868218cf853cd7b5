"""The contract of every ranker, and what they share: inputs, embeddings, training, saving.

    predict(batch, candidates) -> {p_click, p_long_view, watch_sec, p_like, …}, each (n,)

A ranker is one network: ``forward(inputs) -> (n, targets)``, logits beyond the base rates. Which
targets it learns is ``config.train.targets``, and how, watch time included, stands in targets.py.
Reference: Covington, Adams, Sargin, Deep Neural Networks for YouTube Recommendations, RecSys 2016.

Simplified: industry feeds several such networks from one embedding service.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reclab.cascade.batch import Batch
from reclab.cascade.ranking.features import FeatureBuilder, Features
from reclab.cascade.ranking.layers import Embeddings, Standardise
from reclab.cascade.ranking.targets import TARGETS, Objective, main_target, teachable
from reclab.cascade.ranking.training import (
    History,
    OneThread,
    Progress,
    Samples,
    TrainConfig,
    hide_users,
    train,
    training_samples,
)
from reclab.cascade.ranking.watch_time import WatchTime
from reclab.core.chance import rng
from reclab.core.errors import DataError, NotBuilt
from reclab.core.metrics import auc
from reclab.core.tables import Logs
from reclab.core.types import Array, Candidates

BLOCK = 512  # candidates scored at a time: what a network makes of them stays in the cache


@dataclass(frozen=True)
class NetShape:
    """What a network must know of its inputs and outputs."""

    n_user_codes: int
    n_item_codes: int
    item_scale: tuple[float, ...]
    user_fields: int
    history: int
    request_width: int
    pair_width: int
    n_targets: int

    @classmethod
    def of(cls, features: FeatureBuilder, n_targets: int) -> Self:
        words = features.vocabulary
        scale = tuple(float(s) for s in words.item_scale)
        request, pair = len(features.names["request"]), len(features.names["pair"])
        codes = words.n_user_codes, words.n_item_codes
        length = features.config.history
        return cls(*codes, scale, words.n_user_fields, length, request, pair, n_targets)


@dataclass(frozen=True)
class Inputs:
    """``Features`` as tensors."""

    user: Tensor
    request: Tensor
    history: Tensor
    request_row: Tensor
    item_row: Tensor
    pair: Tensor

    @classmethod
    def of(cls, features: Features) -> Self:
        f = features
        arrays = (f.user, f.request, f.history, f.request_row, f.item_row, f.pair)
        return cls(*(torch.from_numpy(a) for a in arrays))


class RankerNet(nn.Module):
    """Embeddings and scales; subclasses add ``forward(inputs) -> (n, targets)`` and ``macs``, and
    may leave a further loss of the last forward pass in ``extra``."""

    macs: int
    base: Tensor
    extra: Tensor | None = None

    def __init__(self, shape: NetShape, dim: int) -> None:
        super().__init__()
        self.embed = Embeddings(shape.n_user_codes, shape.n_item_codes, shape.item_scale, dim)
        self.request_scale = Standardise(shape.request_width)
        self.pair_scale = Standardise(shape.pair_width)
        self.register_buffer("base", torch.zeros(shape.n_targets))
        self.codes = torch.zeros((1, len(shape.item_scale)), dtype=torch.int64)
        self.vectors: Tensor | None = None

    def __call__(self, x: Inputs) -> Tensor:
        """(n, targets): what ``forward`` says beyond the base rates, and those."""
        out: Tensor = super().__call__(x) + self.base
        return out

    def set_items(self, codes: Array) -> None:
        """Take the catalogue's codes (n_items + 1, Fi), the last row for "no item"."""
        self.codes, self.vectors = torch.tensor(codes), None

    def items(self, rows: Tensor) -> Tensor:
        """(…) item rows, -1 = none -> (…, dim). In serving they are computed once and looked up."""
        if self.training:  # an item stands in many places of a minibatch: sum its fields once
            some, place = rows.unique(return_inverse=True)
            return F.embedding(place, self.embed.item_vector(self.codes[some]))
        if self.vectors is None:
            with torch.no_grad():  # in parts: the fields of a million items at once take gigabytes
                parts = [self.embed.item_vector(part) for part in self.codes.split(65_536)]
                self.vectors = torch.cat(parts)
        return self.vectors[rows]

    def train(self, mode: bool = True) -> Self:
        self.vectors = None
        return super().train(mode)

    def learn_scales(self, features: Features) -> None:
        """Mean and spread of the numbers of the training rows."""
        self.request_scale.learn(features.request)
        self.pair_scale.learn(features.pair)


class Ranker:
    """Fit, predict, save and load; a subclass names itself, its ``Config`` and its ``Net``, made
    as ``Net(shape, config)``."""

    name: str
    Config: type
    Net: type[RankerNet]
    config: Any

    def __init__(self, config: Any = None) -> None:
        self.config = config or self.Config()
        self.targets: tuple[str, ...] = ()
        self.objective = Objective(())
        self.history = History()

    def build(self, shape: NetShape) -> RankerNet:
        """The untrained network."""
        return self.Net(shape, self.config)

    def choose(self, known: Iterable[str]) -> tuple[str, ...]:
        """The targets to be learned, of those that the logs have; raises ``DataError`` if they
        have none of them."""
        known, wanted = tuple(known), self.config.train.targets
        if not set(known) & set(wanted):
            has, asked = ", ".join(known) or "nothing", ", ".join(wanted)
            raise DataError(f"none of the targets {asked} is in these logs (they have {has})")
        return tuple(name for name in TARGETS if name in wanted)

    def fit(
        self,
        logs: Logs,
        features: FeatureBuilder,
        until_ms: int | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Learn from the interactions before ``until_ms`` (None = all)."""
        samples = training_samples(logs, features, self.config.train, until_ms)
        return self.fit_samples(samples, features, progress)

    def fit_samples(
        self,
        samples: Samples,
        features: FeatureBuilder,
        progress: Progress | None = None,
        valid: Samples | None = None,
    ) -> Self:
        """Learn from prepared rows. A target that these cannot teach (absent, unknown, or all
        alike, unless it is the main one) is left out, and ``history.left_out`` says why. Raises
        ``DataError`` when a feature holds NaN, or a label is not in its range."""
        config: TrainConfig = self.config.train
        samples.check(features.names)
        learn, valid = (samples, valid) if valid else samples.split(config.valid_share)
        wanted = self.choose(samples.targets)
        main = main_target(name for name in wanted if name in learn.targets)
        self.targets, left_out = teachable(wanted, learn.targets, main)
        self._start(features, config.seed)
        self.net.learn_scales(learn.features)
        learn = self._set_objective(learn)

        chance = rng(config.seed, "hidden users")

        def loss_of(requests: Array) -> Tensor:
            return self.loss(hide_users(learn.take(requests), config.hide_user, chance))

        def validate() -> float:
            score, label = self.score_features(valid.features)[main], valid.targets[main]
            known = ~np.isnan(label)
            middle = np.median(label[known]) if main == "watch_sec" and known.any() else 0.5
            return auc(label[known] > middle, score[known])

        n = len(learn.features.user)
        self.history = train(self.net, n, len(learn), loss_of, validate, config, progress)
        self.history.left_out = left_out
        return self

    def loss(self, encoded: Samples) -> Tensor:
        """What a step descends on: the loss of rows whose targets are ``encoded``."""
        out = self.net(Inputs.of(encoded.features))
        loss = self.objective(out, encoded.targets, encoded.weight)
        return loss if self.net.extra is None else loss + self.net.extra

    def encoded(self, samples: Samples) -> Samples:
        """The rows with the targets as this ranker learns them; absent ones are unknown."""
        none = np.full(len(samples), np.nan, np.float32)
        targets = {name: samples.targets.get(name, none) for name in self.targets}
        duration = self.durations(samples.features.item_row)
        return replace(samples, targets=self.objective.encode(targets, duration))

    def _set_objective(self, learn: Samples) -> Samples:
        """Take base rates and the groups of the watch time from the rows; and the rows, encoded."""
        config, duration = self.config.train, self.durations(learn.features.item_row)
        how = config.rare_weight, config.watch, config.watch_groups
        self.objective = Objective.learn(self.targets, learn.targets, learn.weight, duration, *how)
        start = [self.objective.start[name] for name in self.targets]
        self.net.base.copy_(torch.tensor(start))
        return self.encoded(learn)

    def durations(self, item_row: Array) -> Array:
        """(n,) seconds of the videos, NaN where the catalogue does not say."""
        if "duration_sec" not in self.features.index:
            return np.full(len(item_row), np.nan, np.float32)
        found = self.features.index.get(item_row, ["duration_sec"])["duration_sec"]
        return np.where(item_row < 0, np.nan, found).astype(np.float32)

    def _start(self, features: FeatureBuilder, seed: int) -> None:
        self.features = features
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.net = self.build(NetShape.of(features, len(self.targets)))
        self.net.set_items(features.item_codes)

    def score_features(self, features: Features) -> dict[str, Array]:
        """Predictions (n,) for prepared features; NaN features count as the training mean."""
        if not self.targets:
            raise NotBuilt(f"{type(self).__name__}.predict before fit or load")
        with OneThread(), torch.inference_mode():
            parts = [self.net(Inputs.of(part)) for part in features.blocks(BLOCK)]
            out = (parts[0] if len(parts) == 1 else torch.cat(parts)).numpy()
        return self.objective.decode(out, self.durations(features.item_row))

    def predict(self, batch: Batch, candidates: Candidates) -> dict[str, Array]:
        """Predictions of every target for every candidate, each (n,) float32."""
        if not self.targets:
            raise NotBuilt(f"{type(self).__name__}.predict before fit or load")
        if len(self.net.codes) != len(self.features.item_codes):
            self.net.set_items(self.features.item_codes)
        return self.score_features(self.features.for_batch(batch, candidates))

    @property
    def macs_per_candidate(self) -> int:
        """Multiply-adds spent on one candidate."""
        return self.net.macs

    def save(self, folder: Path) -> None:
        """Write the weights, the names of the targets and how seconds were learned."""
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.net.state_dict(), folder / f"{self.name}.pt")
        watch = self.objective.watch
        about = {"targets": self.targets, "history": asdict(self.history)}
        about["watch"] = watch.as_lists() if watch else None
        about["weight"] = self.objective.weight
        (folder / f"{self.name}.json").write_text(json.dumps(about), encoding="utf-8")

    def restore(self, folder: Path, features: FeatureBuilder) -> Self:
        """Read what ``save`` wrote, for the same config. ``DataError`` if it does not fit."""
        try:
            about = json.loads((folder / f"{self.name}.json").read_text(encoding="utf-8"))
            state = torch.load(folder / f"{self.name}.pt", weights_only=True)
            self.targets = tuple(about["targets"])
            watch = WatchTime.from_lists(about["watch"]) if about["watch"] else None
            self.objective = Objective(self.targets, about.get("weight", {}), watch=watch)
            self._start(features, self.config.train.seed)
            self.net.load_state_dict(state)
        except (OSError, RuntimeError, KeyError, ValueError, UnpicklingError) as error:
            raise DataError(f"cannot load {self.name} from {folder}: {error}") from error
        self.history = History(**about["history"])
        self.net.eval()
        return self

    @classmethod
    def load(cls, folder: Path, features: FeatureBuilder, config: Any = None) -> Self:
        """A trained ranker, on the features (``FeatureBuilder``) that it was trained with."""
        return cls(config).restore(folder, features)
