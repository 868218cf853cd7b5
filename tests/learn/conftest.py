"""What the tests of the lessons share."""

import pytest

from reclab.lab.blending_pool import Pool, make_pool
from tests.learn.exercise_contract import ExerciseContract


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The exercises of a lesson's own class, by what a test of the contract asks for."""
    if metafunc.cls is None or not issubclass(metafunc.cls, ExerciseContract):
        return
    for name in {"task", "written", "changing", "wrong"} & set(metafunc.fixturenames):
        cases = metafunc.cls.cases(name)
        ids = [f"{c[0].id}-{c[1].name}" if isinstance(c, tuple) else c.id for c in cases]
        metafunc.parametrize(name, cases, ids=ids)


@pytest.fixture(scope="session")
def pool(lab) -> Pool:
    """Requests of the held-out day of the tiny lab, with all businesses' candidates."""
    return make_pool(lab, "held_out", 120)
