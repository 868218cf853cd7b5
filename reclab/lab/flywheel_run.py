"""A run of the flywheel: one platform, its event log, its parts, and the hours and nights of a day.

    day      the version of the morning serves; features and reports are queued by their stamps
    hourly   what has come by now goes into the log; the ``Joiner`` reads it and writes samples
    night    index and trainer read the samples; what they make is published for the morning

A part that is stopped leaves its consumer group, and goes on later from the offsets that the group
has committed, the joiner from its snapshots. A copy of a run is a copy of its objects and of what
its log holds in Redis, offsets and snapshots included.

Simplified: parts run in turn in one process, by simulated time.
"""

import copy
import uuid
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.types import Array
from reclab.lab.flywheel_feed import Serving
from reclab.lab.flywheel_parts import IndexPart, TrainPart, over
from reclab.lab.flywheel_platform import FlywheelPlatform, Sent
from reclab.offline_online.features.feature_log import FeatureLog, Served
from reclab.offline_online.join.joiner import CARRY, Joiner, JoinerConfig
from reclab.offline_online.join.sample_join import SampleJoinConfig
from reclab.offline_online.join.sample_topic import SampleReader
from reclab.offline_online.pipeline import EVENTS, FEATURES, SAMPLES, create_topics
from reclab.offline_online.serving.versions import Versions
from reclab.stores.event_log import ConsumerConfig
from reclab.stores.event_log.redis_log import RedisEventLog
from reclab.stores.kv import KV
from reclab.world.config import WorldConfig

PARTS = ("joiner", "trainer", "index")
READS = {"joiner": FEATURES, "trainer": SAMPLES, "index": SAMPLES}
READ = 5_000  # entries at once
NEW_DAYS = 3  # an item is new for so long
# by the platform's time, in which the hour is over when it is joined; snapshots when they are asked
JOINER = JoinerConfig(join=SampleJoinConfig(carry=CARRY), settle_ms=0, snapshot_s=3_600.0,
                      consumer=ConsumerConfig(session_ms=600_000))  # fmt: skip


class Run:
    """One platform with its log and its parts; ``day(stopped)`` lives the next day."""

    def __init__(
        self, world: WorldConfig, retrieve: int = 150, explore: float = 0.1, rows: int = 40_000
    ) -> None:
        """``retrieve``, ``explore``: as in ``FlywheelFeed``; ``rows``: as in ``TrainPart``."""
        self.today = 0
        self.platform = FlywheelPlatform(world, retrieve, explore)
        users = self.platform.users
        columns = {"day": np.zeros(len(users), np.int32), "interest_tags": users.declared}
        self.train = TrainPart(rows, world.seed)
        self.index = IndexPart(users.profile.with_columns(**columns))
        self.queue = Queue()
        self._serve(Versions(self.index.step([], self.platform.catalogue.table(), 0)))

    def _serve(self, versions: Versions[Serving]) -> None:
        """Serve from these versions, with an empty log."""
        self.versions = self.platform.policy.versions = versions
        self.name = f"flywheel-{uuid.uuid4().hex[:8]}"
        self.log, self.kv = RedisEventLog(None, self.name), KV(namespace=f"{self.name}-joiner")
        self.joiner: Joiner | None = None
        create_topics(self.log)

    def copied(self) -> "Run":
        """A run that goes on from here, apart."""
        self._stop_joiner()
        twin = copy.deepcopy(self, {id(x): None for x in (self.log, self.kv, self.versions)})
        twin._serve(Versions(self.versions.current.state))
        redis, length = self.kv.redis, len(self.name)
        for key in redis.scan_iter(f"{self.name}*"):
            redis.copy(key, twin.name + key.decode()[length:], replace=True)
        return twin

    def close(self) -> None:
        """Drop what the log holds."""
        self._stop_joiner()
        for key in self.kv.redis.scan_iter(f"{self.name}*"):
            self.kv.redis.delete(key)
        self.log.close()
        self.kv.close()

    def _stop_joiner(self) -> None:
        if self.joiner:
            self.joiner.close()
        self.joiner = None

    # -- a day -------------------------------------------------------------------------------

    def day(self, stopped: Sequence[str] = ()) -> dict[str, float]:
        """Live the next day while these parts read nothing; the columns of ``Turns``."""
        day, state = self.today, self.versions.current.state
        shown = self.platform.live(day)
        self.queue.add(self.platform.sent(day, shown))
        for now in range(day * DAY_MS + HOUR_MS, (day + 1) * DAY_MS + 1, HOUR_MS):
            self._hour(now, stopped)
        waiting = self.waiting()
        self._night((day + 1) * DAY_MS, stopped)
        self.today += 1
        numbers = {part: waiting[part] * (part in stopped) for part in PARTS}
        numbers |= {"model": state.model_version, "index_version": state.index_version}
        return {**self._told(day, shown), **numbers, "refused": len(self.train.refused)}

    def _told(self, day: int, shown: dict[str, Array]) -> dict[str, float]:
        """The day as its users saw it."""
        platform = self.platform
        value, oracle, random = platform.quality()
        posted = platform.catalogue.publish_ms[shown["item"]]
        here = (platform.users.join_day <= day).sum()
        return {
            "quality": (value - random) / (oracle - random),
            "value": value,
            "oracle": oracle,
            "random": random,
            "long_view": shown["long_view"].mean(),
            "came": len(np.unique(shown["user"])) / here,
            "exposures": len(shown["item"]),
            "new": (posted >= (day - NEW_DAYS) * DAY_MS).mean(),
        }

    def _hour(self, now_ms: int, stopped: Sequence[str]) -> None:
        """What has come by now goes into the log, and the joiner reads it."""
        requests, events, keys = self.queue.take(now_ms)
        FeatureLog(self.log).append(requests, now_ms)
        self.log.append(EVENTS, events, keys, now_ms)
        if "joiner" in stopped:
            return self._stop_joiner()
        joiner = self.joiner = self.joiner or Joiner(self.log, self.kv, JOINER)
        n = self.log.topics()[FEATURES]
        while joiner.step(now_ms) or len(joiner.consumer.assigned) < n:
            pass  # after a stop there is much to read

    def _night(self, now_ms: int, stopped: Sequence[str]) -> None:
        """Index and trainer read the samples; what they make serves from the morning on."""
        state = self.versions.current.state
        if "index" not in stopped:
            values = self._read("index")
            state = self.index.step(values, self.platform.catalogue.table(), now_ms)
        if "trainer" not in stopped:
            self.train.step(self._read("trainer"), state)
        if {"index", "trainer"} <= set(stopped):
            return
        ranker = self.train.ranker and over(self.train.ranker, state.features)
        self.versions.publish(
            replace(state, ranker=ranker, model_version=self.train.number), now_ms=now_ms
        )

    def _read(self, group: str) -> list[bytes]:
        """All samples from the group's offsets on; committed."""
        values: list[bytes] = []
        reader = SampleReader(self.log, group)
        while sum(self.log.stats(SAMPLES, group).end) > sum(reader.consumer.position().values()):
            values += reader.read(READ).value
        reader.commit()
        reader.close()
        return values

    def waiting(self) -> dict[str, int]:
        """Entries that each part has not read."""
        if self.joiner:
            self.joiner.save()
        lag = {part: self.log.stats(topic, part).lag for part, topic in READS.items()}
        return {part: int(entries.sum()) for part, entries in lag.items()}


class Queue:
    """What has been served and reported, and is not yet in the log by its stamp."""

    def __init__(self) -> None:
        self._requests: list[Served] = []
        self._events: list[tuple[int, str, bytes]] = []

    def add(self, sent: Sent) -> None:
        """A day's entries; some of them belong to the days after."""
        self._requests += sent.requests
        self._events += zip(sent.report_ms.tolist(), sent.keys, sent.events, strict=True)
        self._requests.sort(key=lambda one: one.time_ms)
        self._events.sort(key=lambda one: one[0])

    def take(self, now_ms: int) -> tuple[list[Served], list[bytes], list[str]]:
        """Requests, events and the events' keys, stamped before ``now_ms``, in order."""
        n = bisect_left(self._requests, now_ms, key=lambda one: one.time_ms)
        m = bisect_left(self._events, now_ms, key=lambda one: one[0])
        requests, self._requests = self._requests[:n], self._requests[n:]
        events, self._events = self._events[:m], self._events[m:]
        return requests, [value for _, _, value in events], [key for _, key, _ in events]
