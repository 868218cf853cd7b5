"""The parts of the flywheel that learn; each reads samples from its own group's offsets.

    trainer   its latest samples -> weights, guarded            ``Trainer.retrain``, every night
    index     samples + new items -> index, sequences, statistics, channels

They hold no connection: records in, a state out, so that a run can be copied. The model learns from
the features as they were served, whatever the statistics have become since.

Simplified: the index is rebuilt by batch each night. Users and the items of the launch have ids
that a model learns; later items are known by author, tags and statistics alone.
"""

from collections.abc import Sequence
from copy import copy, deepcopy

import numpy as np

from reclab.cascade.ranking.deep_fm import DeepFM
from reclab.cascade.ranking.features import FeatureBuilder, FeatureConfig
from reclab.cascade.ranking.fields import NetConfig
from reclab.cascade.ranking.ranker import Ranker
from reclab.cascade.ranking.statistics import StatisticsConfig
from reclab.cascade.ranking.training import Samples, TrainConfig
from reclab.cascade.ranking.vocabulary import Vocabulary
from reclab.cascade.retrieval.content import ContentChannel
from reclab.cascade.retrieval.item_cf import ItemCFChannel
from reclab.cascade.retrieval.popular import PopularChannel
from reclab.core.tables import Logs, Table
from reclab.core.types import Array
from reclab.lab.flywheel_feed import TARGET, Serving
from reclab.offline_online.join import sample_record
from reclab.offline_online.training.model_version import Guard, GuardConfig, ModelVersion
from reclab.offline_online.training.trainer import Trainer
from reclab.offline_online.training.trainer_state import join_samples
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.user_features import UserFeatures

CHANNELS = (PopularChannel, ItemCFChannel, ContentChannel)
FIRST_ROWS = 1_500  # samples without which no first model is made
GUARD = GuardConfig(
    labels=2.0
)  # in its first days a platform gets better by more than 30 % a night


def how_to_learn(seed: int) -> NetConfig:
    """A small DeepFM: one day is some thousand rows."""
    train = TrainConfig(epochs=2, batch_rows=512, learning_rate=4e-3, weight_decay=1e-5,
                        negatives="exposed", targets=("p_click", TARGET), seed=seed)  # fmt: skip
    return NetConfig(dim=8, hidden=(48,), train=train)


class TrainPart:
    """Learns anew each night from its latest ``rows`` samples."""

    def __init__(self, rows: int, seed: int) -> None:
        self.rows, self.config = rows, how_to_learn(seed)
        self.ranker: Ranker | None = None
        self.number = 0
        self.refused: list[str] = []
        self.auc = float("nan")
        self._kept: list[Samples] = []

    def step(self, values: Sequence[bytes], serving: Serving) -> None:
        """New records of topic samples; ``ranker`` is then the one that may serve."""
        if not values:
            return
        records = sample_record.unpack(values)
        self._kept.append(sample_record.to_samples(records, serving.index))
        while sum(map(len, self._kept[1:])) >= self.rows:
            self._kept.pop(0)
        samples = join_samples(self._kept)
        if len(samples) < FIRST_ROWS:
            return
        until_ms = int(records.head["time_ms"].max())
        if self.ranker is None:
            self.ranker = DeepFM(self.config).fit_samples(samples, serving.features)
            self.number = 1
            return
        trainer = Trainer(over(self.ranker, serving.features), guard=Guard(GUARD))
        trainer.retrain(samples, until_ms)
        told = trainer.publish()
        if isinstance(told, ModelVersion):
            self.ranker, self.number = trainer.ranker, self.number + 1
            self.auc = told.validation[TARGET].auc
        else:
            self.refused.append(told.reason)


def over(ranker: Ranker, features: FeatureBuilder) -> Ranker:
    """The same ranker on the features of another version, which has other items."""
    made = copy(ranker)
    made.features, made.net = features, deepcopy(ranker.net)
    made.net.set_items(features.item_codes)
    return made


class IndexPart:
    """Rebuilds what serving reads from the catalogue and all samples so far."""

    def __init__(self, users: Table) -> None:
        self.users, self.number = users, 0
        self._events: list[Table] = []
        self._words: Vocabulary | None = None

    def step(self, values: Sequence[bytes], items: Table, now_ms: int) -> Serving:
        """New records of topic samples, and the items there are; a state without a ranker."""
        index = ForwardIndex(items)
        if values:
            self._events.append(_events(values, index))
        events = _nothing() if not self._events else _joined(self._events)
        self._events = [events]
        logs = Logs(self.users, items, events)
        users = UserFeatures.build(logs)
        config = FeatureConfig(statistics=StatisticsConfig(n_snapshots=1))
        features = FeatureBuilder(config).fit(logs, index, users, now_ms)
        if self._words is None:
            everybody, everything = np.arange(len(users)), np.arange(len(index))
            self._words = Vocabulary.learn(users.profiles, index, everybody, everything)
        features.vocabulary = self._words  # codes must mean the same in every logged feature
        features.refresh()
        kinds = CHANNELS if len(events) else ()
        channels = tuple(kind().fit(logs, index, now_ms) for kind in kinds)
        self.number += 1
        return Serving(index, users, features, channels, index_version=self.number)


def _events(values: Sequence[bytes], index: ForwardIndex) -> Table:
    """Samples as rows of the interactions."""
    records = sample_record.unpack(values)
    told, table = sample_record.targets_of(records, index), records.table()
    long = np.nan_to_num(told[TARGET]) > 0.5
    names = ("req_id", "user_id", "time_ms", "video_id", "position", "network", "watch_sec")
    columns: dict[str, Array] = {name: table[name] for name in names}
    return Table({**columns, "is_click": told["p_click"] > 0.5, "is_long_view": long})


def _joined(parts: Sequence[Table]) -> Table:
    """All rows in order of time."""
    table = Table({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    return table.take(np.argsort(table["time_ms"], kind="stable"))


def _nothing() -> Table:
    whole = ("req_id", "user_id", "time_ms", "video_id", "position", "network")
    columns = {name: np.zeros(0, np.int64) for name in whole}
    columns["watch_sec"] = np.zeros(0, np.float32)
    return Table({**columns, "is_click": np.zeros(0, bool), "is_long_view": np.zeros(0, bool)})
