"""The batch: what every stage needs to know of its requests, read once from the stores.

What a user was shown is in two places: in the log, exactly, up to its last write; and in Redis, for
the pages shown since. If Redis is down the batch says so and goes on with the log alone
(fail open: a repeated item is a smaller harm than no page).

Simplified: industry reads profile, history and exposures by parallel RPCs with their own deadlines.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reclab.core.types import Array, Request
from reclab.stores.exposures import RecentExposures
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.kv import StoreDown
from reclab.stores.user_features import UserFeatures

HISTORY = 50  # latest positives kept for the models (chapter 2.3.1: the last 50)


@dataclass(frozen=True)
class Batch:
    """B requests as columns. ``user_row`` -1 = unknown user; ``history`` (B, L) item rows of the
    user's latest positives, newest last, padded with -1 at the left; the items already shown to
    request b are ``seen_rows[seen_starts[b]:seen_starts[b + 1]]``; ``notes`` on fallbacks."""

    requests: tuple[Request, ...]
    user_row: Array
    time_ms: Array
    network: Array
    history: Array
    seen_starts: Array
    seen_rows: Array
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.requests)


def read_batch(
    requests: Sequence[Request],
    users: UserFeatures,
    index: ForwardIndex,
    exposures: RecentExposures | None = None,
) -> Batch:
    """Read profile rows, histories and exposures as of each request's time.

    A request that carries its own ``history`` (an anonymous session) is taken at its word.
    """
    user_row = users.rows(np.array([r.user_id for r in requests], np.int64))
    time_ms = np.array([r.time_ms for r in requests], np.int64)
    history = users.history(user_row, time_ms, n=HISTORY)
    for b, request in enumerate(requests):
        if request.history is not None:
            history[b] = -1
            rows = index.rows(np.array(request.history, np.int64))
            rows = rows[rows >= 0][-HISTORY:]
            history[b, HISTORY - len(rows) :] = rows
    starts, seen = users.seen(user_row, time_ms)
    notes: tuple[str, ...] = ()
    if exposures is not None:
        try:
            lately = exposures.get([r.user_id for r in requests])
            starts, seen = _join(starts, seen, [index.rows(ids) for ids in lately])
        except StoreDown as error:
            notes = (f"recent exposures unknown, the log's are used alone: {error}",)
    network = np.array([r.network for r in requests], np.int8)
    return Batch(tuple(requests), user_row, time_ms, network, history, starts, seen, notes)


def _join(starts: Array, rows: Array, more: list[Array]) -> tuple[Array, Array]:
    """Ragged rows with each request's further rows at its end; unknown items (-1) are left out."""
    more = [extra[extra >= 0] for extra in more]
    if not any(len(extra) for extra in more):
        return starts, rows
    parts = [
        part for b, extra in enumerate(more) for part in (rows[starts[b] : starts[b + 1]], extra)
    ]
    added = np.cumsum([0, *(len(extra) for extra in more)])
    return starts + added, np.concatenate(parts)
