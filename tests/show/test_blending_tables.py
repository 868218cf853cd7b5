"""The tables say what was measured, a line each, and nothing else."""

import numpy as np
import pytest

from reclab.blending.allocation import BUSINESSES
from reclab.lab.blending import Point
from reclab.lab.blending_compared import Compared
from reclab.lab.blending_pool import make_pool
from reclab.show.blending_tables import policies_table, scores_table


@pytest.fixture(scope="module")
def pool(lab):
    return make_pool(lab, "tuning", 20)


def test_a_line_a_business_with_its_own_scores(pool):
    head, *lines = scores_table(pool).splitlines()
    assert "median score" in head and len(lines) == len(BUSINESSES)
    c = pool.candidates
    for code, line in enumerate(lines):
        mine = c["business"] == code
        assert line.startswith(BUSINESSES[code])
        assert f"{np.median(c['score'][mine]):,.1f}" in line
        assert f"{np.median(c['value'][mine]):.2f}" in line


def test_a_line_a_policy():
    row = Compared(Point("weave", 28.47, 6.06, 0.725, ()), 0.862, 1820.1, 3)
    head, line = policies_table({"weave": row}).splitlines()
    assert head.split()[0] == "pages"
    assert line.split() == ["weave", "86.20%", "28.5", "6.06", "72.5%", "3", "1,820"]
