"""newcomers: what a channel does for new items and new users, at the smoke scale."""

import numpy as np

from reclab.cascade.batch import read_batch
from reclab.lab.newcomers import new_items, new_users


def test_without_content_fewer_of_the_best_new_items_are_retrieved(lab):
    found = new_items(lab, n=40)
    assert set(found) == {"all channels", "without content", "without social", "without both"}
    assert found["all channels"].recall > found["without both"].recall + 0.1
    for measured in found.values():
        assert measured.n == 40 and 0 < measured.value < 1 and 0 <= measured.shown <= 1


def test_new_users_are_those_with_few_positives_and_nobody_is_counted_twice(lab):
    requests, p = lab.requests(100_000), lab.trained.parts
    counts = (read_batch(requests, p.users, p.index).history >= 0).sum(1)
    few = int(np.sort(counts)[min(30, len(counts) - 1)])
    found = new_users(lab, few=few)
    assert found["all channels"].n == (counts[:4000] <= few).sum() > 0
    assert 0 < found["all channels"].value < 1
    assert new_users(lab, few=-1)["all channels"].n == 0
