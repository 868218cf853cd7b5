"""The simulated platform: a seeded world with a hidden truth. Recommenders see only its logs."""

from reclab.world.checkerboard import checkerboard
from reclab.world.config import WorldConfig
from reclab.world.generate import World, generate
from reclab.world.truth import Truth
from reclab.world.warehouse import write

__all__ = ["Truth", "World", "WorldConfig", "checkerboard", "generate", "write"]
