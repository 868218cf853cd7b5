"""Context: the network, and what is usually left of a session, by hand."""

import numpy as np
import pytest

from reclab.cascade.filters.context import ContextConfig, ContextFilter, usual_left_sec
from reclab.core.errors import ConfigError
from reclab.core.tables import Logs, Table
from reclab.stores.user_features import UserFeatures
from tests.cascade.filters.contract import (
    BARE,
    INDEX,
    ITEMS,
    FilterContract,
    batch_with,
    candidates_of,
    kept_of,
)

# Users 11 and 12; 13 never came. User 11: a session with requests at 0 s, 100 s and 160 s, two
# cards a page, the last page watched for 40 s in all: 200, 100 and 40 s left. User 12: one page.
SHOWN = Table(
    {
        "session_id": np.array([1, 1, 1, 1, 1, 1, 2, 2]),
        "time_ms": np.array([0, 0, 100, 100, 160, 160, 50, 50]) * 1000,
        "user_id": np.array([11] * 6 + [12] * 2),
        "video_id": np.arange(100, 108),
        "watch_sec": np.array([5, 5, 5, 5, 30, 10, 7, 3], np.float32),
    }
)
USERS = UserFeatures(Logs(Table({"user_id": np.array([11, 12, 13])}), ITEMS, SHOWN))
LEFT = np.array([100.0, 10.0, 70.0, 70.0])  # median of all: of 10, 40, 100, 200


class TestContextIsAFilter(FilterContract):
    def make(self):
        return ContextFilter(INDEX, LEFT, ContextConfig(max_mobile_sec=100))


def test_what_is_left_is_the_median_over_the_users_requests():
    assert usual_left_sec(SHOWN, USERS, min_requests=1).tolist() == [100, 10, 70, 70]
    assert usual_left_sec(SHOWN, USERS, min_requests=3).tolist() == [100, 70, 70, 70]
    mixed = np.random.default_rng(0).permutation(8)
    assert usual_left_sec(SHOWN.take(mixed), USERS, min_requests=1).tolist() == LEFT.tolist()


def test_what_comes_later_is_not_known_yet():
    assert usual_left_sec(SHOWN, USERS, until_ms=60_000, min_requests=1)[0] == 10
    early = usual_left_sec(SHOWN, USERS, until_ms=150_000, min_requests=1)
    assert early[0] == (110 + 10) / 2, "the middle of two"


def test_users_without_a_profile_count_among_all_only():
    strangers = SHOWN.with_columns(user_id=np.where(SHOWN["user_id"] == 11, 99, 12))
    assert usual_left_sec(strangers, USERS, min_requests=1).tolist() == [70, 10, 70, 70]


def test_without_sessions_or_rows_nothing_is_too_long():
    bare = Table({name: SHOWN[name] for name in SHOWN if name != "session_id"})
    assert np.isinf(usual_left_sec(bare, USERS)).all()
    assert np.isinf(usual_left_sec(SHOWN, USERS, until_ms=0)).all()


def test_without_watch_times_a_session_ends_with_its_last_request():
    bare = Table({name: SHOWN[name] for name in SHOWN if name != "watch_sec"})
    assert usual_left_sec(bare, USERS, min_requests=1)[:2].tolist() == [60, 0]


@pytest.mark.parametrize("network, left", [(0, [4, 5, 3]), (1, [3])])
def test_long_items_leave_on_mobile_data_only(network, left):
    stage = ContextFilter(INDEX, config=ContextConfig(max_mobile_sec=60))
    result = stage(batch_with([[]], network=[network]), candidates_of([[4, 5, 3]]))
    assert kept_of(result) == [left]


def test_items_longer_than_what_is_left_leave_but_short_ones_always_stay():
    """Durations 200, 900, 60, 30; user 11 has 2 x 100 s left, user 12 has 20 and gets 60."""
    stage = ContextFilter(INDEX, LEFT)
    result = stage(batch_with([[], []], user_row=[0, 1]), candidates_of([[4, 5, 3, 2]] * 2))
    assert kept_of(result) == [[4, 3, 2], [3, 2]]
    assert {result.reasons[r] for r in result.dropped["reason"]} == {"longer than is usually left"}


def test_rules_can_be_switched_off_and_unknown_durations_stay():
    free = ContextConfig(max_mobile_sec=float("inf"), ratio=float("inf"))
    for stage in (ContextFilter(INDEX, LEFT * 0, free), ContextFilter(BARE, LEFT)):
        result = stage(batch_with([[]], network=[1]), candidates_of([[4, 5, 3]]))
        assert kept_of(result) == [[4, 5, 3]]


def test_settings_are_checked():
    with pytest.raises(ConfigError, match="ContextConfig.ratio must be in"):
        ContextConfig(ratio=0.0)
    with pytest.raises(ConfigError, match="ContextConfig.max_mobile_sec"):
        ContextConfig(max_mobile_sec=-1.0)
