"""What the tests of the lessons share."""

import pytest

from reclab.lab.blending_pool import Pool, make_pool


@pytest.fixture(scope="session")
def pool(lab) -> Pool:
    """Requests of the held-out day of the tiny lab, with all businesses' candidates."""
    return make_pool(lab, "held_out", 120)
