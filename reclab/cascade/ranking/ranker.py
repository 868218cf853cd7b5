"""The contract of every ranker, and what they share: inputs, embeddings, training, saving.

    predict(batch, candidates) -> {p_click, p_long_view, watch_sec}, each (n,)

A ranker is one network: ``forward(inputs) -> (n, targets)`` logits, and ln(1 + seconds) for the
watch time. Seconds grow with the length of a video, liked or not (duration bias): the logarithm
keeps one long video from outweighing many short ones, and the item's duration is a feature, so that
a fusion can ask for more than the usual for that length. Undone by exp - 1, the prediction is a
geometric mean, below the arithmetic one.
Reference: Covington, Adams, Sargin, Deep Neural Networks for YouTube Recommendations, RecSys 2016.

Simplified: industry predicts watch time by quantiles within groups of equal duration.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from reclab.cascade.batch import Batch
from reclab.cascade.ranking.features import FeatureBuilder, Features
from reclab.cascade.ranking.layers import Embeddings, Standardise
from reclab.cascade.ranking.training import (
    TARGETS,
    History,
    OneThread,
    Progress,
    Samples,
    TrainConfig,
    hide_users,
    target_loss,
    train,
    training_samples,
)
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
    extra: Tensor | None = None

    def __init__(self, shape: NetShape, dim: int) -> None:
        super().__init__()
        self.embed = Embeddings(shape.n_user_codes, shape.n_item_codes, shape.item_scale, dim)
        self.request_scale = Standardise(shape.request_width)
        self.pair_scale = Standardise(shape.pair_width)
        self.codes = torch.zeros((1, len(shape.item_scale)), dtype=torch.int64)
        self.vectors: Tensor | None = None

    def set_items(self, codes: Array) -> None:
        """Take the catalogue's codes (n_items + 1, Fi), the last row for "no item"."""
        self.codes, self.vectors = torch.from_numpy(codes), None

    def items(self, rows: Tensor) -> Tensor:
        """(…) item rows, -1 = none -> (…, dim). In serving they are computed once and looked up."""
        if self.training:
            return self.embed.item_vector(self.codes[rows])
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
        self.history = History()

    def build(self, shape: NetShape) -> RankerNet:
        """The untrained network."""
        return self.Net(shape, self.config)

    def choose(self, known: Iterable[str]) -> tuple[str, ...]:
        """The targets to be learned, of those that the logs have."""
        return tuple(name for name in TARGETS if name in known)

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
        """Learn from prepared rows. Raises ``DataError`` when a feature holds NaN."""
        config: TrainConfig = self.config.train
        samples.check(features.names)
        learn, valid = (samples, valid) if valid else samples.split(config.valid_share)
        self.targets = self.choose(samples.targets)
        self._start(features, config.seed)
        self.net.learn_scales(learn.features)
        main = main_target(self.targets)

        chance = rng(config.seed, "hidden users")

        def loss_of(requests: Array) -> Tensor:
            rows = hide_users(learn.take(requests), config.hide_user, chance)
            loss = target_loss(self.net(Inputs.of(rows.features)), rows, self.targets)
            return loss if self.net.extra is None else loss + self.net.extra

        def validate() -> float:
            score = self.score_features(valid.features)[main]
            return auc(valid.targets[main] > 0.5, score)

        n = len(learn.features.user)
        self.history = train(self.net, n, len(learn), loss_of, validate, config, progress)
        return self

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
        return {name: _undo(name, out[:, i]) for i, name in enumerate(self.targets)}

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
        """Write the weights and the names of the targets."""
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.net.state_dict(), folder / f"{self.name}.pt")
        about = {"targets": self.targets, "history": asdict(self.history)}
        (folder / f"{self.name}.json").write_text(json.dumps(about), encoding="utf-8")

    def restore(self, folder: Path, features: FeatureBuilder) -> Self:
        """Read what ``save`` wrote, for the same config. ``DataError`` if it does not fit."""
        try:
            about = json.loads((folder / f"{self.name}.json").read_text(encoding="utf-8"))
            state = torch.load(folder / f"{self.name}.pt", weights_only=True)
            self.targets = tuple(about["targets"])
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


def main_target(names: Iterable[str]) -> str:
    """What a model is validated on: the long view where it is logged, else the click."""
    return "p_long_view" if "p_long_view" in names else "p_click"


def _undo(name: str, out: Array) -> Array:
    if name == "watch_sec":
        return np.expm1(np.clip(out, 0.0, 9.0)).astype(np.float32)
    return (1.0 / (1.0 + np.exp(-np.clip(out, -30, 30)))).astype(np.float32)
