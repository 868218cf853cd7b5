"""The checkerboard: a world whose answer is known. Even users like even items, odd users odd ones.

User u and item i: liked exactly when u + i is even. Every pair is shown once except the diagonal
(u, u mod n_items), which is liked and withheld: a recommender that learns anything puts it first.

Reference: the block model of Holland et al. 1983 with two blocks.
Simplified: no noise at all, so that a test may demand the exact answer.
"""

import numpy as np

from reclab.core.chance import rng
from reclab.core.clock import DAY_MS
from reclab.core.errors import check, check_int
from reclab.core.tables import Logs, Table, conform

PAGE = 4


def checkerboard(n_users: int = 40, n_items: int = 20, seed: int = 0) -> Logs:
    """Logs of the checkerboard: impressions of every pair but the diagonal, in random order, over
    two days; clicked exactly when user and item are both even or both odd.

    >>> logs = checkerboard(6, 4)
    >>> len(logs.interactions), int(logs.positive.sum())
    (18, 6)
    """
    check_int("checkerboard n_users", n_users, 2, 100_000, "40")
    check_int("checkerboard n_items", n_items, 4, 100_000, "20")
    check(n_items % 2 == 0, "checkerboard n_items", n_items, "be even", "20")
    interactions = _impressions(n_users, n_items, rng(seed, "checkerboard"))
    items = {
        "video_id": np.arange(n_items),
        "author_id": 1000 + np.arange(n_items),
        "publish_ms": np.full(n_items, -1),
        "duration_sec": np.full(n_items, 20.0),
        "tags": (np.arange(n_items) % 2)[:, None],
    }
    return Logs(
        users=conform("users", Table({"user_id": np.arange(n_users)})),
        items=conform("items", Table(items)),
        interactions=conform("interactions", interactions),
        tag_names=("even", "odd"),
        origin="checkerboard",
    )


def _impressions(n_users: int, n_items: int, chance: np.random.Generator) -> Table:
    """Every pair but the diagonal, each user's items in an order of their own, sorted by time."""
    item = np.argsort(chance.random((n_users, n_items)), axis=1).ravel()
    user, turn = np.repeat(np.arange(n_users), n_items), np.tile(np.arange(n_items), n_users)
    page, n_pages = turn // PAGE, -(-n_items // PAGE)
    time_ms = page * 2 * DAY_MS // n_pages + user * 1000
    like = (user + item) % 2 == 0
    rows = {
        "req_id": user * n_pages + page,
        "session_id": user * 2 + time_ms // DAY_MS,
        "time_ms": time_ms,
        "user_id": user,
        "video_id": item,
        "author_id": 1000 + item,
        "position": turn % PAGE,
        "is_random": np.ones(len(user), bool),
        "watch_sec": np.where(like, 20.0, 1.0),
        "is_click": like,
        "is_long_view": like,
    }
    shown = np.flatnonzero(item != user % n_items)
    return Table(rows).take(shown[np.lexsort((turn[shown], user[shown], time_ms[shown]))])
