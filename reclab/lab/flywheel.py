"""The flywheel (数据飞轮): serve -> log -> join -> train -> index -> serve, day after day, on real parts.

    day      users come; the version of the morning serves; features and reports go into the log
    hourly   the joiner reads both and writes samples
    night    index and trainer read the samples; the new version is published for the morning

It starts cold: nothing is known, every page is drawn at random. A part that is stopped for some
days reads nothing; started again it goes on from its offsets. Runs that differ in what is stopped
are copies of one platform from the morning on when they part.
Reference: chapter 2.3.1, figure 2.3.

Simplified: hundreds of users; one process turns all parts by simulated time.
"""

import copy
import uuid
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import DataError, check, check_float, check_int
from reclab.core.types import Array
from reclab.lab.flywheel_feed import Serving
from reclab.lab.flywheel_parts import IndexPart, JoinPart, TrainPart, over
from reclab.lab.flywheel_platform import FlywheelPlatform, Sent
from reclab.offline_online.feature_log import FeatureLog, Served
from reclab.offline_online.pipeline import EVENTS, FEATURES, SAMPLES, TOPICS, create_topics
from reclab.offline_online.versions import Versions
from reclab.stores.event_log import open_log
from reclab.world.config import WorldConfig

PARTS = ("joiner", "trainer", "index")
READS = (("joiner", FEATURES), ("joiner", EVENTS), ("trainer", SAMPLES), ("index", SAMPLES))
STOPS: dict[str, tuple[str, ...]] = {
    "all running": (),
    "joiner stopped": ("joiner",),
    "trainer stopped": ("trainer",),
    "index stopped": ("index",),
    "frozen": PARTS,
}
"""what is stopped; "frozen" never starts again"""
READ = 5_000  # entries at once
NEW_DAYS = 3  # an item is new for so long
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class FlywheelConfig:
    """Sizes of the simulation, and when parts are stopped."""

    users: int = 400
    """people (100-5000)"""
    items: int = 2_000
    """items at the launch (500-14 000)"""
    posts_per_day: float = 150.0
    """new items a day (0-1000)"""
    days: int = 12
    """simulated days (3-60)"""
    stop: int = 4
    """first day on which a part reads nothing (1-days)"""
    again: int = 8
    """day on which it reads again (stop-days)"""
    retrieve: int = 100
    """candidates of a page, for the ranker (20-500)"""
    explore: float = 0.1
    """share of the slots that are drawn at random (0.02-0.3)"""
    train_rows: int = 60_000
    """latest samples that a model learns from (5000-1 000 000)"""

    def __post_init__(self) -> None:
        check_int("FlywheelConfig.users", self.users, 20, 100_000, "400")
        check_int("FlywheelConfig.items", self.items, 200, 1_000_000, "2000")
        check_float("FlywheelConfig.posts_per_day", self.posts_per_day, 0.0, 1e6, "150")
        check_int("FlywheelConfig.days", self.days, 2, 365, "12")
        check_int("FlywheelConfig.stop", self.stop, 1, self.days, "4")
        check_int("FlywheelConfig.again", self.again, self.stop, self.days, "8")
        check_int("FlywheelConfig.retrieve", self.retrieve, 10, 10_000, "100")
        check_float("FlywheelConfig.explore", self.explore, 0.0, 1.0, "0.1")
        check_int("FlywheelConfig.train_rows", self.train_rows, 1_000, 10**8, "60000")

    def world(self, seed: int) -> WorldConfig:
        """The platform, otherwise as the tiny one."""
        sizes = {"n_users": self.users, "n_items": self.items, "days": max(self.days, 2)}
        return replace(WorldConfig.at("tiny", seed), scale="flywheel",
                       posts_per_day=self.posts_per_day, **sizes)  # fmt: skip


@dataclass(frozen=True)
class Turns:
    """A run, by day (days,): ``quality`` as in ``flywheel_platform``, and what it is made of,
    ``value``, ``oracle`` and ``random``, mean P(long view) of a card; ``long_view`` share of the
    exposures; ``came`` share of the users; ``exposures``; ``new`` share of them on items of the
    last days; entries that ``joiner``, ``trainer`` and ``index`` had not read in the evening;
    ``model`` and ``index_version`` that served; ``refused`` models so far."""

    quality: Array
    value: Array
    oracle: Array
    random: Array
    long_view: Array
    came: Array
    exposures: Array
    new: Array
    joiner: Array
    trainer: Array
    index: Array
    model: Array
    index_version: Array
    refused: Array


class Run:
    """One platform with its log and its parts; ``day(stopped)`` lives the next day."""

    def __init__(self, config: FlywheelConfig, seed: int) -> None:
        self.config, self.today = config, 0
        world = config.world(seed)
        self.platform = FlywheelPlatform(world, config.retrieve, config.explore)
        users = self.platform.users
        columns = {"day": np.zeros(len(users), np.int32), "interest_tags": users.declared}
        self.join, self.train = JoinPart(), TrainPart(config.train_rows, seed)
        self.index = IndexPart(users.profile.with_columns(**columns))
        self.queue = Queue()
        self._serve(Versions(self.index.step([], self.platform.catalogue.table(), 0)))

    def _serve(self, versions: Versions[Serving]) -> None:
        """Serve from these versions, with an empty log."""
        self.versions = self.platform.policy.versions = versions
        self.log = open_log(namespace=f"flywheel-{uuid.uuid4().hex[:8]}")
        create_topics(self.log)

    def copied(self) -> "Run":
        """A run that goes on apart from here. Raises ``DataError`` while entries wait in the log."""
        waiting = self.waiting()
        if any(waiting.values()):
            raise DataError(f"a run is copied when its log has been read: left are {waiting}")
        mine = {id(self.log): None, id(self.versions): None}
        twin = copy.deepcopy(self, mine)  # type: ignore[arg-type]
        twin._serve(Versions(self.versions.current.state))
        return twin

    def close(self) -> None:
        """Drop what the log holds."""
        for topic in TOPICS:
            self.log.trim(topic, dict(enumerate(self.log.stats(topic).end.tolist())))
        self.log.close()

    # -- a day -------------------------------------------------------------------------------

    def day(self, stopped: Sequence[str] = ()) -> dict[str, float]:
        """Live the next day while these parts read nothing; the columns of ``Turns``."""
        day, platform, state = self.today, self.platform, self.versions.current.state
        shown = platform.live(day)
        self.queue.add(platform.sent(day, shown))
        for now in range(day * DAY_MS + HOUR_MS, (day + 1) * DAY_MS + 1, HOUR_MS):
            self._hour(now, stopped)
        waiting = self.waiting()
        self._night((day + 1) * DAY_MS, stopped)
        self.today += 1
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
            **{part: waiting[part] * (part in stopped) for part in PARTS},
            "model": state.model_version,
            "index_version": state.index_version,
            "refused": len(self.train.refused),
        }

    def _hour(self, now_ms: int, stopped: Sequence[str]) -> None:
        """What has come by now goes into the log, and the joiner reads it."""
        requests, events, keys = self.queue.take(now_ms)
        FeatureLog(self.log).append(requests, now_ms)
        self.log.append(EVENTS, events, keys, now_ms)
        if "joiner" not in stopped:
            written = self.join.step(self._read("joiner", FEATURES), self._read("joiner", EVENTS), now_ms)
            self.log.append(SAMPLES, *written, now_ms)

    def _night(self, now_ms: int, stopped: Sequence[str]) -> None:
        """Index and trainer read the samples; what they make serves from the morning on."""
        state = self.versions.current.state
        if "index" not in stopped:
            values = self._read("index", SAMPLES)
            state = self.index.step(values, self.platform.catalogue.table(), now_ms)
        if "trainer" not in stopped:
            self.train.step(self._read("trainer", SAMPLES), state)
        if {"index", "trainer"} <= set(stopped):
            return
        ranker = self.train.ranker and over(self.train.ranker, state.features)
        self.versions.publish(
            replace(state, ranker=ranker, model_version=self.train.number), now_ms=now_ms
        )

    def _read(self, group: str, topic: str) -> list[bytes]:
        """All entries from the group's offsets on; committed."""
        values: list[bytes] = []
        with self.log.consumer(topic, group) as consumer:
            while len(entries := consumer.read(READ)):
                values += entries.value
            consumer.commit()
        return values

    def waiting(self) -> dict[str, int]:
        """Entries that each part has not read."""
        lag = dict.fromkeys(PARTS, 0)
        for part, topic in READS:
            lag[part] += int(self.log.stats(topic, part).lag.sum())
        return lag


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


def turns(
    config: FlywheelConfig,
    seed: int,
    stops: Sequence[str] = tuple(STOPS),
    say: Progress | None = None,
) -> dict[str, Turns]:
    """The same platform with each of ``STOPS``, by name."""
    for name in stops:
        check(name in STOPS, "stops", name, f"be among {', '.join(STOPS)}", "joiner stopped")
    say = say or (lambda fraction, text: None)
    n_days = config.stop + len(stops) * (config.days - config.stop)
    run, common = Run(config, seed), []
    for day in range(config.stop):
        say(day / n_days, f"day {day}")
        common.append(run.day())
    found, done = {}, config.stop
    for name in stops:
        mine, rows = run.copied(), list(common)
        for day in range(config.stop, config.days):
            say(done / n_days, f"{name}, day {day}")
            over_ = day >= config.again and name != "frozen"
            rows.append(mine.day(() if over_ else STOPS[name]))
            done += 1
        mine.close()
        found[name] = Turns(**{k: np.array([row[k] for row in rows]) for k in rows[0]})
    run.close()
    return found
