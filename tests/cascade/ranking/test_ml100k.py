"""What the ranker reaches on MovieLens-100K: thresholds, and the order that the lesson tells of."""

import pytest

from tests.bench import ml100k, zoo

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(ml100k.data_folder() is None, reason="shared/data/movielens_100k is absent"),
]


@pytest.fixture(scope="module")
def found() -> dict[str, float]:
    return ml100k.measure(seeds=(0, 1, 2))


def test_static_features_reach_what_other_libraries_reach(found):
    """Others' DIN .714, logistic regression .7105; the spread between seeds is .004."""
    assert found["static"] >= 0.711
    assert found["static"] > found["item_mean"] == pytest.approx(0.7055, abs=0.001)


def test_as_of_statistics_beat_any_network_on_static_features(found):
    assert found["as_of"] >= 0.762
    assert found["as_of"] > found["static"] + 0.03


def test_labels_of_the_same_second_look_like_progress(found):
    assert found["leak"] > found["as_of"] + 0.003


def test_a_ranker_of_fields_is_within_004_of_another_library():
    """One seed of a cheap one of the nine; ``python lab.py bench zoo`` measures all of them."""
    table = zoo.measure(["deep_fm"], seeds=1)
    assert table["deep_fm"][0, 1] >= zoo.PEERS["deep_fm"] - 0.004
