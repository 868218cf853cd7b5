"""What several test folders share."""

import pytest

from reclab.lab import Lab, open_lab


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The tiny lab, built once a code version and kept in the user's cache."""
    lab = open_lab("tiny", progress=False)
    yield lab
    lab.close()
