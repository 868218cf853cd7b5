"""The leak in the ranker's own features. On the tiny platform it only flatters: a day has too few
rows for a network to learn how to use it, so what the next day loses is asserted at scale laptop,
where RECLAB_LAPTOP=1 asks for it."""

import os

import numpy as np
import pytest

from reclab.lab import Lab, open_lab
from reclab.lab.ranker_leakage import _samples, ranker_leakage


def test_features_read_at_label_time_flatter_the_ranker(lab: Lab):
    found = ranker_leakage(lab, progress=False)
    assert found.offline[1] > found.offline[0] + 0.03
    assert found.offline[1] - found.next_day[1] > 0.02 > found.offline[0] - found.next_day[0]
    assert "at label time" in found.table()


def test_what_leaks_is_the_click_itself(lab: Lab):
    day = lab.trained.parts.until_ms // 86_400_000 - 2
    served, late = (_samples(lab, day, wait_ms) for wait_ms in (0, 1_200_001))
    a, b = served.features, late.features
    assert (a.user == b.user).all() and (a.item_row == b.item_row).all()
    assert all(np.array_equal(served.targets[k], late.targets[k], True) for k in served.targets)
    clicked = served.targets["p_click"] == 1
    own = [(f.history[f.request_row] == f.item_row[:, None]).any(1) for f in (a, b)]
    assert own[1][clicked].mean() > 0.9 > 0.1 > own[0][clicked].mean()
    assert own[1][~clicked].mean() < 0.1


@pytest.mark.skipif(os.environ.get("RECLAB_LAPTOP") != "1", reason="RECLAB_LAPTOP=1 asks for it")
def test_at_scale_laptop_the_next_day_pays_for_it():
    found = ranker_leakage(open_lab("laptop", progress=False), progress=False)
    assert found.offline[1] > found.offline[0] + 0.08
    assert found.next_day[1] < found.next_day[0] - 0.03
