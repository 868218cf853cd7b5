"""The shared real data: every row accounted for."""

import numpy as np
import pytest

from reclab.core.errors import DataError
from reclab.datasets import load


@pytest.mark.parametrize(
    ("name", "users", "items", "rows"),
    [
        ("globo", 76_850, 6_789, 276_207),
        ("movielens_100k", 943, 1_682, 100_000),
        ("kuairand_pure", 4, 7_583, 211),
    ],
)
def test_shared_logs_load_whole(shared, name, users, items, rows):
    logs = load(shared(name))
    assert (len(logs.users), len(logs.items), len(logs.interactions)) == (users, items, rows)
    assert len(logs.report.rejected) == 0
    sums = {"globo": "clicks", "movielens_100k": "like_cnt", "kuairand_pure": "impressions"}
    expected = rows if name != "movielens_100k" else int(logs.positive.sum())
    assert logs.daily[sums[name]].sum() == expected


def test_shared_catalogues_load_on_request(shared):
    logs = load(shared("kuairand_pure"), catalogue_only=True)
    assert (len(logs.users), len(logs.items)) == (27_285, 7_583)
    logs = load(shared("kuairec"), catalogue_only=True)
    assert (len(logs.users), len(logs.items)) == (7_176, 8_544)
    assert len(logs.report.rejected) == 0
    assert logs.tag_names[8] == "颜值"
    with pytest.raises(DataError, match="kuairec without interactions"):
        load(shared("kuairec"))


def test_statistics_of_a_third_party_are_no_log(shared):
    with pytest.raises(DataError, match="no known data set"):
        load(shared("kuairand_27k"))


def test_a_share_of_the_users_likes_in_movielens_is_that_of_the_split(shared):
    logs = load(shared("movielens_100k"))
    assert logs.positive.mean() == pytest.approx(0.55375)
    assert np.isin(logs.interactions["rating"], [1, 2, 3, 4, 5]).all()
