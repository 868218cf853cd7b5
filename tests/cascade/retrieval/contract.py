"""What every retrieval channel must hold: mix ``ChannelContract`` into a test class and make one.

Subclasses give ``make()``, an unfitted channel; the rules run on the checkerboard.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from reclab.cascade.batch import Batch
from reclab.core.clock import DAY_MS
from reclab.core.errors import NotBuilt
from reclab.core.tables import Logs, Table
from reclab.core.types import Array
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.user_features import UserFeatures
from reclab.world.checkerboard import checkerboard

N_USERS, N_ITEMS = 40, 20
END = 2 * DAY_MS
LOGS = checkerboard(N_USERS, N_ITEMS, seed=3)
INDEX = ForwardIndex(LOGS.items)
USERS = UserFeatures.build(LOGS)


def batch_of(user_row: Array, time_ms: Array | int = END, history: Array | None = None) -> Batch:
    """Requests of these users, with the histories of the log as of the time."""
    user_row = np.asarray(user_row)
    when = np.broadcast_to(np.asarray(time_ms, np.int64), user_row.shape)
    past = USERS.history(user_row, when, n=50) if history is None else history
    starts, seen = USERS.seen(user_row, when)
    return Batch((), user_row, when, np.zeros(len(user_row), np.int8), past, starts, seen)


def rows_of(batch: Batch, b: int) -> Batch:
    """Request ``b`` alone."""
    one = slice(b, b + 1)
    seen = batch.seen_rows[batch.seen_starts[b] : batch.seen_starts[b + 1]]
    starts = np.array([0, len(seen)])
    return Batch(
        (), batch.user_row[one], batch.time_ms[one], batch.network[one], batch.history[one],
        starts, seen,
    )  # fmt: skip


def check_answer(item_row: Array, score: Array, shape: tuple[int, int], n_items: int) -> None:
    """Shapes, dtypes, padding, no row twice, no unknown row, best first."""
    assert item_row.shape == score.shape == shape
    assert item_row.dtype == np.int64 and score.dtype == np.float32
    real = item_row >= 0
    assert (item_row[~real] == -1).all() and item_row.max(initial=-1) < n_items
    assert (real[:, 1:] <= real[:, :-1]).all(), "padding comes last"
    for rows, scores in zip(item_row, score, strict=True):
        rows, scores = rows[rows >= 0], scores[rows >= 0]
        assert len(set(rows.tolist())) == len(rows)
        assert np.isfinite(scores).all() and (np.diff(scores) <= 0).all(), "best first"


class ChannelContract:
    """Rules for all channels. ``logs``: the checkerboard, with what else a channel reads."""

    logs = LOGS

    def make(self) -> Any:
        raise NotImplementedError

    def fitted(self, logs: Logs | None = None, until_ms: int = END) -> Any:
        logs = self.logs if logs is None else logs
        return self.make().fit(logs, ForwardIndex(logs.items), until_ms)

    @pytest.mark.parametrize("k", [1, 7, 500])
    def test_answers_are_best_first_padded_and_known(self, k):
        batch = batch_of(np.arange(N_USERS))
        check_answer(*self.fitted().retrieve(batch, k), (N_USERS, k), N_ITEMS)

    def test_finds_something_for_users_with_a_history(self):
        item_row, _ = self.fitted().retrieve(batch_of(np.arange(N_USERS)), 5)
        assert (item_row[:, 0] >= 0).all()

    def test_unknown_user_and_empty_history_get_an_answer_and_no_error(self):
        batch = batch_of(np.array([-1, 0]), history=np.full((2, 50), -1))
        check_answer(*self.fitted().retrieve(batch, 5), (2, 5), N_ITEMS)

    def test_no_requests_no_answers(self):
        batch = batch_of(np.zeros(0, np.int64))
        check_answer(*self.fitted().retrieve(batch, 5), (0, 5), N_ITEMS)

    def test_empty_catalogue_answers_nothing(self):
        none = np.zeros(0, np.int64)
        logs = self.logs
        empty = replace(
            logs, items=logs.items.take(none), interactions=logs.interactions.take(none)
        )
        batch = batch_of(np.array([-1, 3]), history=np.full((2, 50), -1))
        item_row, _ = self.fitted(empty).retrieve(batch, 4)
        assert item_row.shape == (2, 4) and (item_row == -1).all()

    def test_items_that_are_all_alike_do_no_harm(self):
        """One author, one tag, one time, and everybody liked everything."""
        items, n = dict(self.logs.items.columns), len(self.logs.items)
        items |= {"author_id": np.full(n, 1000), "tags": np.zeros((n, 1), np.int16)}
        shown = dict(self.logs.interactions.columns)
        shown["is_click"] = np.ones_like(shown["is_click"])
        same = replace(self.logs, items=Table(items), interactions=Table(shown))
        history = np.full((2, 50), -1)
        history[0, -3:] = 1, 2, 3
        check_answer(*self.fitted(same).retrieve(batch_of(np.array([4, -1]), history=history), 30),
                     (2, 30), n)  # fmt: skip

    def test_one_user_alone_gets_an_answer_and_no_error(self):
        shown = self.logs.interactions
        alone = replace(
            self.logs,
            users=self.logs.users.take(self.logs.users["user_id"] == 0),
            interactions=shown.take(shown["user_id"] == 0),
        )
        batch = batch_of(np.array([0, -1]), history=np.array([[-1, 2, 4], [-1, -1, 6]]))
        check_answer(*self.fitted(alone).retrieve(batch, 30), (2, 30), N_ITEMS)

    def test_items_that_the_log_never_shows_do_no_harm(self):
        """Half of the catalogue has no impression, and stands in histories all the same."""
        shown = self.logs.interactions
        seen = shown["video_id"] < N_ITEMS // 2
        channel = self.fitted(replace(self.logs, interactions=shown.take(seen)))
        history = np.array([[N_ITEMS - 1, N_ITEMS - 2], [3, N_ITEMS - 1]])
        check_answer(*channel.retrieve(batch_of(np.array([0, 1]), history=history), 30),
                     (2, 30), N_ITEMS)  # fmt: skip

    def test_a_batch_equals_its_requests_one_by_one(self):
        channel, batch = self.fitted(), batch_of(np.array([5, -1, 0, 39, 12]), END - 7_000_000)
        item_row, score = channel.retrieve(batch, 9)
        for b in range(5):
            one_row, one_score = channel.retrieve(rows_of(batch, b), 9)
            assert one_row[0].tolist() == item_row[b].tolist()
            np.testing.assert_allclose(one_score[0], score[b], rtol=1e-6)

    def test_fit_does_not_look_past_its_time(self):
        batch, until = batch_of(np.arange(N_USERS), DAY_MS), DAY_MS
        whole, cut = self.fitted(until_ms=until), self.fitted(self.logs.between(0, until), until)
        for a, b in zip(whole.retrieve(batch, 6), cut.retrieve(batch, 6), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_what_was_saved_answers_the_same(self, tmp_path):
        channel, batch = self.fitted(), batch_of(np.arange(N_USERS))
        channel.save(tmp_path)
        again = type(channel).load(tmp_path)
        for a, b in zip(channel.retrieve(batch, 6), again.retrieve(batch, 6), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_asked_before_it_is_fitted_it_says_so(self):
        with pytest.raises(NotBuilt, match="fit"):
            self.make().retrieve(batch_of(np.array([0])), 3)
