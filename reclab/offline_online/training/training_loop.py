"""Training loop: reads the topic of samples, trains, publishes, and can be killed at any moment.

    file = offsets of the next entries + the trainer's state, replaced in one step (rename)
    start: restore, seek to those offsets;   save: file, then commit;   publish: save, then tell

What a dead trainer had read after its last file is read again by a trainer that has not learned it:
nothing is lost, nothing is learned twice. Of one partition the batches come out the same too, and
so do the weights, unless a guard rolls back: versions are cut where a read happened to end.
Reference: chapter 2.3.1; Chandy and Lamport 1985 (snapshots of state and channel together).

Simplified: one trainer for all partitions; a second one in the group would take some of them away.
"""

import json
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from reclab.cascade.ranking.training import Samples
from reclab.core.errors import DataError, check_int
from reclab.offline_online.pipeline import SAMPLES
from reclab.offline_online.training.model_version import ModelVersion, Refused
from reclab.offline_online.training.trainer import Trainer
from reclab.stores.event_log import Consumer, ConsumerConfig, Entries, EventLog
from reclab.stores.event_log.contract import Partitions

FILE = "trainer.state"
Convert = Callable[[Entries], tuple[Samples | None, int]]
"""entries -> samples (None = not one good row) and when the newest of their requests was served"""


@dataclass(frozen=True)
class TrainingLoopConfig:
    """``publish_every_ms``: time of requests between two versions (1 min - 1 day); ``max_entries``:
    read at once (1-10 000); ``save_every``: reads between two files (1-1000); ``wait_ms``: for new
    entries (0-1000); ``session_ms``: silence after which a dead trainer's partitions are free
    (1000-60 000); ``group``: whose lag is watched."""

    publish_every_ms: int = 600_000
    max_entries: int = 500
    save_every: int = 20
    wait_ms: int = 100
    session_ms: int = 10_000
    group: str = "trainer"

    def __post_init__(self) -> None:
        for name, low, typical in (("publish_every_ms", 1, "600000"), ("max_entries", 1, "500"),
                                   ("save_every", 1, "20"), ("wait_ms", 0, "100"),
                                   ("session_ms", 300, "10000")):  # fmt: skip
            check_int(f"TrainingLoopConfig.{name}", getattr(self, name), low, 10**9, typical)


class TrainingLoop:
    """``TrainingLoop(log, trainer, convert, folder, tell).run(more)``. ``n_read``: entries read;
    ``refused``: the latest version that the guard refused."""

    def __init__(
        self,
        log: EventLog,
        trainer: Trainer,
        convert: Convert,
        folder: Path,
        tell: Callable[[ModelVersion], object],
        config: TrainingLoopConfig | None = None,
    ) -> None:
        """``folder`` holds the state: if there is one, the trainer goes on from it and its serving
        version is told again, so ``tell`` must bear to be told twice. Raises ``DataError`` when
        the state is damaged."""
        self.log, self.trainer, self.convert, self.tell = log, trainer, convert, tell
        self.folder, self.config = folder, config or TrainingLoopConfig()
        self.n_read = self._reads = 0
        self.refused: Refused | None = None
        self._offsets: dict[int, int] = {}
        self._consumer: Consumer
        if (folder / FILE).exists():
            self._offsets, state = _read(folder / FILE)
            trainer.restore(state)
            tell(trainer.serving)
        self._due = trainer.until_ms // self.config.publish_every_ms + 1

    def run(self, more: Callable[[], bool]) -> None:
        """Train as long as entries come or ``more()``. Raises ``StoreDown`` when the log does not
        answer, ``PartitionLost`` when another trainer has joined the group; in both cases the
        state in the folder is good to go on from."""
        c = self.config
        reads = ConsumerConfig(session_ms=c.session_ms, heartbeat_ms=c.session_ms // 3)
        consumer = self.log.consumer(SAMPLES, c.group, reads, on_assign=lambda p: self._seek(p))
        with consumer:
            self._consumer = consumer
            while True:
                entries = consumer.read(c.max_entries, c.wait_ms)
                if len(entries):
                    self._learn(entries)
                    continue
                if self._reads:
                    self.save()
                if not more():
                    return

    def _seek(self, partitions: Partitions) -> None:
        for partition in partitions:
            if partition in self._offsets:
                self._consumer.seek(partition, self._offsets[partition])

    def _learn(self, entries: Entries) -> None:
        samples, until_ms = self.convert(entries)
        if samples is not None:
            self.trainer.learn(samples, until_ms)
        self._offsets |= dict(
            zip(entries.partition.tolist(), (entries.offset + 1).tolist(), strict=True)
        )
        self.n_read, self._reads = self.n_read + len(entries), self._reads + 1
        if self.trainer.until_ms >= self._due * self.config.publish_every_ms:
            self._publish()
        elif self._reads >= self.config.save_every:
            self.save()

    def _publish(self) -> None:
        self._due = self.trainer.until_ms // self.config.publish_every_ms + 1
        told = self.trainer.publish()
        self.save()
        if isinstance(told, Refused):
            self.refused = told
        else:
            self.tell(told)

    def save(self) -> None:
        """Keep offsets and weights in one step, then let the group's offset follow."""
        _write(self.folder / FILE, self._offsets, self.trainer.state())
        self._reads = 0
        self._consumer.commit(self._offsets)


def _write(file: Path, offsets: Mapping[int, int], state: bytes) -> None:
    head = {"offsets": {str(k): v for k, v in offsets.items()}, "crc": zlib.crc32(state)}
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".draft")
    with draft.open("wb") as out:
        out.write(json.dumps(head).encode() + b"\n" + state)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)


def _read(file: Path) -> tuple[dict[int, int], bytes]:
    first, _, state = file.read_bytes().partition(b"\n")
    try:
        head = json.loads(first)
        offsets = {int(k): int(v) for k, v in head["offsets"].items()}
        good = head["crc"] == zlib.crc32(state)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file} is not a trainer's state: {error}") from error
    if not good:
        raise DataError(f"{file} is damaged: remove it to train from the oldest samples kept")
    return offsets, state
