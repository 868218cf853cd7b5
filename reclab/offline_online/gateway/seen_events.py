"""Which events are in the log already (去重): a name each in Redis, claimed, then confirmed.

absent → claimed (for seconds, while it is appended) → seen (for the window). A repetition of a
claimed event is told to come back: only what is in the log is a duplicate, so that a gateway that
dies between the two loses nothing. It may then append an event twice; effects downstream are
idempotent by key.
Reference: chapter 2.3.1; Helland: Idempotence is not a medical condition (CACM 2012).

Simplified: about 100 bytes an event of the window; industry keeps Bloom filters by hour.
"""

import hashlib
import uuid
from collections.abc import Sequence
from typing import Any

from reclab.core.errors import check_float
from reclab.stores.kv import KV

NEW, CLAIMED, SEEN = 0, 1, 2
CLAIM_S = 10.0  # longer than an append may take

_CLAIM = """
local found = {}
for i, key in ipairs(KEYS) do
  if redis.call('SET', key, ARGV[1], 'NX', 'PX', ARGV[2]) then found[i] = 0
  elseif redis.call('GET', key) == 's' then found[i] = 2 else found[i] = 1 end
end
return found
"""
_CONFIRM = """
for _, key in ipairs(KEYS) do redis.call('SET', key, 's', 'PX', ARGV[1]) end
return 0
"""
_RELEASE = """
for _, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[1] then redis.call('DEL', key) end
end
return 0
"""


class SeenEvents:
    """Names of events in a ``KV``, each forgotten after ``window_s``. Raises ``StoreDown``."""

    def __init__(self, kv: KV, window_s: float = 86_520.0) -> None:
        check_float("SeenEvents.window_s", window_s, 1.0, 10.0**7, "86520")
        self.kv, self.window_s = kv, window_s
        self._token = uuid.uuid4().hex  # whose claim it is

    def name(self, app: str, device_id: int, event_id: str) -> str:
        """Key of an event: the device is in it, so that none can suppress another's events."""
        text = f"{app}\0{device_id}\0{event_id}".encode()
        return self.kv.key("seen/" + hashlib.blake2b(text, digest_size=12).hexdigest())

    def _run(self, script: str, names: Sequence[str], *arguments: str | int) -> Any:
        with self.kv.answering():
            return self.kv.redis.eval(script, len(names), *names, *arguments)

    def claim(self, names: Sequence[str]) -> list[int]:
        """``NEW`` (now claimed by us), ``CLAIMED`` (by a request under way) or ``SEEN``, for each
        of different names."""
        if not names:
            return []
        found: list[int] = self._run(_CLAIM, names, self._token, int(CLAIM_S * 1000))
        return found

    def confirm(self, names: Sequence[str]) -> None:
        """They are in the log."""
        if names:
            self._run(_CONFIRM, names, int(self.window_s * 1000))

    def release(self, names: Sequence[str]) -> None:
        """They are not; whoever repeats them is welcome at once."""
        if names:
            self._run(_RELEASE, names, self._token)
