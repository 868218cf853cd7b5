"""The data path of figure 2.3, alive: phones, gateway, event log, label consumer, joiners.

    with data_path(lab) as path:          # everything is started, two hours are replayed in 12 s
        path.watch(4)                     # rates and lag by topic and group
        path.kill("joiner"); path.watch(3); path.restart("joiner")
        path.check().table()              # lost, doubled, wrong

The gateway and the phones are threads of this process, Redis and the consumers processes of their
own: all of them end with it. Every part is the one of ``offline_online``; only time is lapsed.
Reference: chapter 2.3.1, figure 2.3.

Simplified: one machine; the platform's time runs some hundred times as fast as ours.
"""

import atexit
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from reclab.core.errors import DataError, check_float, check_int
from reclab.lab import data_path_hostile as hostile
from reclab.lab.data_path_check import PathCheck, compare
from reclab.lab.data_path_hostile import DEVICE, Happened
from reclab.lab.data_path_processes import Consumers, DurableRedis, PartDown
from reclab.lab.data_path_replay import APP, KEY, Phones, PlatformClock, Replay
from reclab.lab.data_path_traffic import traffic
from reclab.lab.data_path_watch import Watch, Watched
from reclab.lab.lab import Lab, Progress, progress_bar
from reclab.offline_online.features.feature_log import FeatureLog, Served
from reclab.offline_online.gateway.gateway import GatewayConfig, run_gateway
from reclab.offline_online.labels.label_store import LabelStore
from reclab.offline_online.pipeline import EVENTS, FEATURES, SAMPLES, create_topics
from reclab.stores.event_log import EventLog, TopicConfig, open_log, partition_of
from reclab.stores.kv import KV

NAMESPACE = "log"  # of the log on its own Redis
DISORDER_MS = 10_000
START_S = 20.0  # a part that is not there by then has failed
IDLE_S = 8.0  # samples that do not come for so long will not come


@dataclass(frozen=True)
class DataPathConfig:
    """Sizes of the replay and of the path."""

    minutes: float = 120.0
    """of the platform's evening (10-240)"""
    seconds: float = 12.0
    """that they are replayed in (5-60)"""
    requests: int = 500
    """of so many requests at most; fewer users come where there are more (50-5000)"""
    window_min: float = 20.0
    """the joiner's fixed window, in the platform's minutes (1-60)"""
    joiners: int = 2
    """processes (1-4)"""
    partitions: int = 4
    """of each topic (1-16)"""

    def __post_init__(self) -> None:
        check_float("DataPathConfig.minutes", self.minutes, 1.0, 1_440.0, "120")
        check_float("DataPathConfig.seconds", self.seconds, 0.5, 600.0, "12")
        check_int("DataPathConfig.requests", self.requests, 1, 1_000_000, "500")
        check_float("DataPathConfig.window_min", self.window_min, 0.1, 240.0, "20")
        check_int("DataPathConfig.joiners", self.joiners, 1, 8, "2")
        check_int("DataPathConfig.partitions", self.partitions, 1, 64, "4")


def data_path(
    lab: Lab, config: DataPathConfig | None = None, show: bool | Progress = True
) -> "DataPath":
    """Start all of it; seconds, so with a progress bar. Close it, or use it in ``with``."""
    with progress_bar("data path", show) as say:
        return DataPath(lab, config, say)


class DataPath:
    """``watch``, ``kill``, ``restart``, ``double_send``, ``garbage``, ``skew_clock``, ``check``.
    ``url`` is the gateway's, ``parts`` the names for ``kill``; ``config``. Raises ``PartDown`` or
    ``StoreDown`` when a part does not start."""

    def __init__(
        self, lab: Lab, config: DataPathConfig | None = None, say: Progress | None = None
    ) -> None:
        self.config = config or DataPathConfig()
        say = say or (lambda fraction, text: None)
        say(0.0, "features of what is replayed")
        self.window_ms = int(60_000 * self.config.window_min)
        self.what = traffic(lab, self.config.minutes, self.config.requests)
        self._open = ExitStack()
        atexit.register(self.close)
        try:
            self._start(say)
        except BaseException:
            self.close()
            raise

    def _start(self, say: Progress) -> None:
        c, leave = self.config, self._open
        say(0.4, "Redis")
        self.folder = Path(tempfile.mkdtemp(prefix="reclab-path-"))
        leave.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.redis = DurableRedis(self.folder)
        leave.callback(self.redis.stop)
        self.log = leave.enter_context(self._log())
        create_topics(self.log, TopicConfig(partitions=c.partitions))
        say(0.5, "consumers")
        self.consumers = Consumers(self.folder)
        leave.callback(self.consumers.stop)
        self.joiners = tuple(f"joiner {n + 1}" for n in range(c.joiners))
        self.parts = (*self.joiners, "labels", "redis")
        for name in (*self.joiners, "labels"):
            self._launch(name)
        say(0.6, "gateway")
        self.clock = PlatformClock(self.what.begin_ms, 60 * c.minutes / c.seconds)
        settings = GatewayConfig(partitions=c.partitions, good_ms=int(60_000 * self.clock.speed))
        log, kv = leave.enter_context(self._log()), KV(self.redis.address, "gateway")
        leave.callback(kv.close)
        self.gateway = leave.enter_context(run_gateway(log, {APP: KEY}, settings, kv, self.clock))
        self.url = self.gateway.url
        self.phones = Phones(self.url, self.clock, self.what.n_reports)
        leave.callback(self.phones.close)
        say(0.8, "joiners")
        self._await(lambda: self._n_claimed() >= c.partitions, (*self.joiners, "labels"))
        self._watch = Watch(leave.enter_context(self._log()), self.what.n_reports)
        leave.callback(self._watch.stop)
        self.replay = Replay(self.what, self.phones, leave.enter_context(self._log()), self.clock)
        leave.callback(self.replay.stop)
        self.replay.start()

    def _log(self) -> EventLog:
        return open_log(self.redis.address, namespace=NAMESPACE)

    def _launch(self, name: str) -> int:
        """Start a consumer; its process id."""
        if name == "labels":
            module, own = (
                "labels.label_consumer",
                {"labels": self.redis.address, "session-ms": 1_500},
            )
        else:
            module = "join.joiner"
            own = {"window-ms": self.window_ms, "disorder-ms": DISORDER_MS, "session-ms": 1_500,
                   "remember-ms": self.window_ms, "snapshot-s": 0.5}  # fmt: skip
        settings = {"address": self.redis.address, **own}
        return self.consumers.start(name, f"reclab.offline_online.{module}", settings)

    def _n_claimed(self) -> int:
        """Entries by which joiners have taken partitions."""
        return int(self.log.stats(SAMPLES).end.sum())

    def _await(self, true: Callable[[], bool], parts: Sequence[str] = ()) -> float:
        """Wait for it, while these parts live; seconds it took. Raises ``PartDown``."""
        began = time.monotonic()
        while not true():
            self.consumers.check(parts)
            if time.monotonic() - began > START_S:
                raise PartDown(f"{', '.join(parts) or 'the path'} is not ready in {START_S:g} s")
            time.sleep(0.02)
        return time.monotonic() - began

    # ---- watch ------------------------------------------------------------------------------

    def watch(self, seconds: float) -> Watched:
        """Let it run for so long; all that has been seen since it was started."""
        check_float("watch.seconds", seconds, 0.0, 3_600.0, "4")
        time.sleep(seconds)
        return self._watch.seen()

    def running(self) -> dict[str, bool]:
        """Which parts live."""
        lives = {name: self.consumers.running(name) for name in self.parts if name != "redis"}
        return {**lives, "redis": self.redis.running}

    def _happened(self, what: str, **told: float | str) -> Happened:
        self._watch.mark(what)
        return Happened(what, round(self._watch.now_s(), 1), told)

    # ---- break it ---------------------------------------------------------------------------

    def kill(self, name: str) -> Happened:
        """kill -9 of "joiner" (the first that lives), "joiner 2", "labels" or "redis"."""
        name = self._named(name, alive=True)
        if name == "redis":
            pid = self.redis.pid
            self.redis.kill()
        else:
            pid = self.consumers.kill(name)
        left = [part for part, lives in self.running().items() if lives]
        return self._happened(f"killed {name}", pid=pid, left=", ".join(left))

    def restart(self, name: str) -> Happened:
        """Start a dead part again ("joiner": the first dead one); it goes on where it was."""
        name, began = self._named(name, alive=False), time.monotonic()
        if name == "redis":
            self.redis.start()
            self.log.reconnect()
        else:
            self._launch(name)
            time.sleep(0.3)
            self.consumers.check((name,))
        return self._happened(f"restarted {name}", seconds=round(time.monotonic() - began, 2))

    def _named(self, name: str, alive: bool) -> str:
        lives = self.running()
        if name == "joiner":
            fit = [joiner for joiner in self.joiners if lives[joiner] == alive]
            name = fit[0] if fit else self.joiners[0]
        if name not in lives:
            raise DataError(f"no part {name!r} (there are: {', '.join(self.parts)})")
        if lives[name] != alive:
            how = "is not running: restart" if alive else "runs already: kill"
            raise DataError(f"{name} {how}({name!r}) first")
        return name

    def double_send(self) -> Happened:
        """Phones send their latest posts once more."""
        return self._happened("sent twice", **hostile.double_send(self.phones))

    def garbage(self, n: int = 50) -> Happened:
        """``n`` malformed and hostile requests."""
        return self._happened("garbage", **hostile.garbage(self.phones, n))

    def skew_clock(self, seconds: float = 300.0) -> Happened:
        """Events from phones whose clocks are ahead (or, below 0, behind) by so many seconds."""
        told = hostile.skew_clock(self.phones, seconds)
        return self._happened(f"clocks off by {seconds:g} s", **told)

    # ---- check ------------------------------------------------------------------------------

    def check(self) -> PathCheck:
        """Let the replay end, start what is dead, close all windows, and compare: what was lost,
        what was doubled? Raises ``DataError`` if the replay cannot end."""
        for name, lives in self.running().items():
            if not lives and name == "redis":
                self.restart(name)
        for name, lives in self.running().items():
            if not lives:
                self.restart(name)
        if not self.replay.wait(3 * self.config.seconds + IDLE_S):
            raise DataError("the replay does not end: is the gateway answering?")
        self._beat()
        self._settle()
        labels = LabelStore(self.redis.address)
        try:
            accepted = frozenset(self.phones.accepted)
            n_cards = sum(len(one.video_id) for one in self.what.requests)
            until = self.window_ms, self.what.end_ms, self.clock()
            return compare(self.log, labels, n_cards, accepted, *until)
        finally:
            labels.close()

    def _beat(self) -> None:
        """A heartbeat in every partition of both streams, stamped when all windows have ended: the
        watermark passes them. Its own request is after the end."""
        self.clock.jump(self.what.end_ms + self.window_ms + DISORDER_MS + 1_000)
        n, found = self.config.partitions, dict[int, Served]()
        for req_id in range(1 << 40, (1 << 40) + 100 * n):
            one = replace(self.what.requests[0], req_id=req_id, time_ms=self.clock())
            found.setdefault(partition_of(str(req_id).encode(), n), one)
        FeatureLog(self.log).append([*found.values()], self.clock())
        for one in found.values():
            event = {"event_id": f"beat-{one.req_id}", "req_id": one.req_id, "user_id": one.user_id,
                     "video_id": int(one.video_id[0]), "kind": "like",
                     "event_ms": self.clock()}  # fmt: skip
            self.phones.insist(DEVICE, [event])

    def _settle(self) -> None:
        """Wait until consumers have read all, and no more samples come."""
        before, since = -1, time.monotonic()
        while time.monotonic() - since < IDLE_S:
            stats = self.log.stats(EVENTS, "labels"), self.log.stats(FEATURES, "joiner")
            read = all(not s.lag.sum() for s in stats)
            end = self._n_claimed()
            if end != before:
                before, since = end, time.monotonic()
            if read and time.monotonic() - since > 1.0:
                return
            time.sleep(0.05)

    # ---- end --------------------------------------------------------------------------------

    def close(self) -> None:
        """End everything that was started. Twice does no harm."""
        self._open.close()
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
