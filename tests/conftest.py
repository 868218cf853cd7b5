"""What several test folders share."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from reclab.lab import Lab

ROOT = Path(__file__).parents[1]
FIRST = (
    "tests/browser/test_visit_03.py",
    "tests/browser/test_visit_02.py",
    "tests/browser/test_visit_01.py",
    "tests/browser/test_visit_04.py",
    "tests/browser/test_visit_demo.py",
    "tests/cascade/retrieval/test_ml_loo.py",
    "tests/cascade/ranking/test_ml100k.py",
    "tests/cascade/retrieval/test_globo.py",
    "tests/world/test_card.py",
    "tests/cascade/ranking/test_zoo.py",
    "tests/test_house.py",
    "notebooks",
)
"""What takes longest, for several processes: nothing long is left for the end, and the lessons come
when the browser's visits, which run the same cells, have built what they keep in the cache."""


ALONE = (
    "from reclab.lab import open_lab; from reclab.lab.action_values import action_costs; "
    "action_costs(open_lab('laptop'))"
)
"""What lesson 04 says of a surge rests on what actions cost, measured while nothing else runs."""


def pytest_configure(config: pytest.Config) -> None:
    """Processes that share the cores, and all that they start, take one thread each; what has to be
    measured alone is, before they begin."""
    if config.getoption("numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        if not hasattr(config, "workerinput"):
            subprocess.run([sys.executable, "-c", ALONE], check=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, everything else in its order."""

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(ROOT)
        found = (n for n, first in enumerate(FIRST) if path.is_relative_to(first))
        return next(found, len(FIRST))

    items.sort(key=place)


@pytest.fixture(scope="session")
def lab() -> Iterator["Lab"]:
    """The tiny lab, built once a code version and kept in the user's cache."""
    from reclab.lab import open_lab

    lab = open_lab("tiny", progress=False)
    yield lab
    lab.close()
