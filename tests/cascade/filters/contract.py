"""What every filter must hold: mix ``FilterContract`` into a test class and make one.

Subclasses give ``make()``; the rules run on eight hand-made items and two users.
"""

from typing import Any

import numpy as np

from reclab.cascade.batch import Batch
from reclab.core.tables import Table
from reclab.core.types import Candidates, Request
from reclab.stores.forward_index import ForwardIndex


def batch_with(
    seen: list[list[int]],
    time_ms: int = 0,
    user_row: list[int] | None = None,
    user_id: list[int] | None = None,
    network: list[int] | None = None,
) -> Batch:
    """A request for each list of items shown before."""
    n = len(seen)
    starts = np.cumsum([0, *map(len, seen)])
    rows = np.array([row for one in seen for row in one], np.int64)
    none = np.zeros(n, np.int64)
    requests = tuple(Request(user, time_ms) for user in user_id or [7] * n)
    user = np.array(user_row, np.int64) if user_row else none
    net = np.array(network, np.int8) if network else none.astype(np.int8)
    return Batch(requests, user, none + time_ms, net, np.full((n, 5), -1), starts, rows)


def candidates_of(rows: list[list[int]]) -> Candidates:
    """The candidates of each request by item row."""
    request = np.repeat(np.arange(len(rows)), list(map(len, rows)))
    return Candidates(len(rows), request, np.array([r for one in rows for r in one], np.int64))


def kept_of(result: Any) -> list[list[int]]:
    """Item rows that are left of each request."""
    kept = result.kept
    return [kept.item_row[kept.request_row == b].tolist() for b in range(kept.n_requests)]


ITEMS = Table(
    {
        "video_id": np.arange(100, 108),
        "author_id": np.array([1, 1, 2, 2, 3, 3, -1, 4]),
        "duration_sec": np.array([5, 5, 30, 60, 200, 900, 20, 20], np.float32),
        "tags": np.array(
            [[0, 1], [0, 1], [1, -1], [2, 1], [2, -1], [3, 0], [-1, -1], [3, -1]], np.int16
        ),
    }
)
INDEX = ForwardIndex(ITEMS)
BARE = ForwardIndex(Table({"video_id": np.arange(100, 108)}))  # items of which nothing is known


class FilterContract:
    """Nothing vanishes, order stays, a batch answers as each request alone, twice is once."""

    def make(self) -> Any:
        raise NotImplementedError

    def cases(self) -> tuple[Batch, Candidates]:
        chance = np.random.default_rng(0)
        rows = [chance.permutation(8).tolist(), [], chance.permutation(8)[:5].tolist()]
        return self.batch([0, 1, -1]), candidates_of(rows).with_columns(tag=np.arange(13))

    def batch(self, user: list[int]) -> Batch:
        ids = [11 + row if row >= 0 else 99 for row in user]
        return batch_with([[]] * len(user), 0, user, ids, [row % 2 for row in user])

    def test_every_candidate_is_kept_in_order_or_has_a_reason(self):
        batch, given = self.cases()
        result = self.make()(batch, given)
        everything = np.concatenate([result.kept["tag"], result.dropped["tag"]])
        assert sorted(everything.tolist()) == list(range(13))
        assert (np.diff(result.kept["tag"]) > 0).all() and (
            np.diff(result.dropped["tag"]) > 0
        ).all()
        assert set(np.unique(result.dropped["reason"])) <= set(range(len(result.reasons)))
        assert len(result.dropped), "these cases lose some"

    def test_a_batch_answers_as_each_request_alone(self):
        batch, given = self.cases()
        stage = self.make()
        together = kept_of(stage(batch, given))
        for b, user in enumerate([0, 1, -1]):
            mine = given.take(given.request_row == b)
            one = Candidates(1, mine.request_row * 0, mine.item_row)
            assert kept_of(stage(self.batch([user]), one))[0] == together[b]

    def test_what_is_left_passes_again(self):
        batch, given = self.cases()
        stage = self.make()
        once = stage(batch, given).kept
        assert not len(stage(batch, once).dropped)

    def test_nothing_in_nothing_out(self):
        result = self.make()(self.batch([0, 1]), Candidates.empty(2))
        assert not len(result.kept) and not len(result.dropped) and not result.notes
