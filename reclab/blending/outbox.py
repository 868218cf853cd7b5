"""The outbox (发件箱): clicks on their way to the business they belong to, kept until it has heard
them. Who puts them in does not wait, and does not learn of errors.

    put -> waiting -> one report of all that wait -> heard: forgotten
                                                  -> failed: sent again, pauses p, 2p, 4p ... most

At least once: a report whose answer was lost is sent again, so the business must know what it has
heard (``businesses/ledger.py``). What it refuses for good is counted and dropped, and when more
than ``keep`` clicks wait, the oldest are.
Reference: Kleppmann, Designing Data-Intensive Applications (2017), ch. 11, on idempotence.

Simplified: industry writes them to the event log, which outlives the Router too.
"""

from collections import deque
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Condition, Thread

import numpy as np

from reclab.blending.contract import CallFailed, CallRefused, Clicks
from reclab.blending.messages import encode_clicks
from reclab.blending.rpc import Client
from reclab.core.errors import check_float, check_int

AT_ONCE = 5000  # clicks of one report at most: far below the size of a message


@dataclass(frozen=True)
class OutboxConfig:
    """How long it tries."""

    timeout_ms: float = 1000.0
    """of one report (100-5000 ms)"""
    pause_ms: float = 100.0
    """p, before the second attempt (50-1000 ms)"""
    most_ms: float = 2000.0
    """longest pause (500-60 000 ms)"""
    keep: int = 100_000
    """clicks that wait at most (1000-10 000 000)"""

    def __post_init__(self) -> None:
        check_float("OutboxConfig.timeout_ms", self.timeout_ms, 1.0, 1e6, "1000")
        check_float("OutboxConfig.pause_ms", self.pause_ms, 1.0, 1e6, "100")
        check_float("OutboxConfig.most_ms", self.most_ms, self.pause_ms, 1e7, "2000")
        check_int("OutboxConfig.keep", self.keep, 1, 10**9, "100000")


class Outbox:
    """``put`` from any thread; a thread of its own sends. ``lost`` counts clicks that nobody will
    hear of."""

    def __init__(self, client: Client, config: OutboxConfig | None = None) -> None:
        self.client, self.config, self.lost = client, config or OutboxConfig(), 0
        self._waiting: deque[np.ndarray] = deque()  # a row a click
        self._changed = Condition()
        self._sender: Thread | None = None
        self._closed = False

    def put(self, clicks: Clicks) -> None:
        """Take clicks for sending."""
        with self._changed:
            self._waiting.extend(clicks.table())
            while len(self._waiting) > self.config.keep:
                self._waiting.popleft()
                self.lost += 1
            if self._sender is None:  # most businesses never get one
                self._sender = Thread(target=self._send, name="outbox", daemon=True)
                self._sender.start()
            self._changed.notify_all()

    def empty(self, within_s: float = 10.0) -> bool:
        """Wait until all has been heard, or for so long; whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, within_s)

    def close(self) -> None:
        """Send no more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _send(self) -> None:
        pause_ms = self.config.pause_ms
        while rows := self._next():
            error = self._attempt(rows)
            if error is None or isinstance(error, CallRefused):
                pause_ms = self.config.pause_ms
                self._done(rows, refused=error is not None)
                continue
            with self._changed:
                self._changed.wait_for(lambda: self._closed, pause_ms / 1000)
            pause_ms = min(2 * pause_ms, self.config.most_ms)

    def _next(self) -> list[np.ndarray]:
        """The oldest that wait; they stay until they are heard. None when the outbox is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return [] if self._closed else [*self._waiting][:AT_ONCE]

    def _attempt(self, rows: list[np.ndarray]) -> CallFailed | None:
        came: SimpleQueue[CallFailed | None] = SimpleQueue()
        left_ms = self.config.timeout_ms
        try:
            self.client.tell(encode_clicks(Clicks.of(np.array(rows))), left_ms, came.put)
            return came.get(timeout=left_ms / 1000 + 0.1)
        except Empty:
            return CallFailed("no answer")
        except Exception as error:  # a client that is closed: its business may come back
            return CallFailed(str(error))

    def _done(self, rows: list[np.ndarray], refused: bool) -> None:
        with self._changed:
            self.lost += len(rows) if refused else 0
            for row in rows:  # unless the outbox has overflowed meanwhile
                if self._waiting and self._waiting[0] is row:
                    self._waiting.popleft()
            self._changed.notify_all()
