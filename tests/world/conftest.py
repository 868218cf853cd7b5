"""A small world, lived once for all tests of the folder."""

import pytest

from reclab.world import World, WorldConfig, generate


@pytest.fixture(scope="session")
def tiny() -> World:
    return generate(WorldConfig.at("tiny", 3))
