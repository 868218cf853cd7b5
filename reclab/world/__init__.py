"""The simulated platform: a seeded world with a hidden truth. Recommenders see only its logs.

users.py ──────┐                     ┌── behaviour.py   what a user does with a page
creators.py ───┤                     ├── visits.py      sessions and how they feel
catalogue.py ──┼── platform.py ──────┼── logging_policy.py   who was shown what
traffic.py ────┘   one day           ├── records.py ──> logs    tables 2.1-2.3, late reports
config.py          generate.py       └── truth.py   ──> truth   for evaluation only
                   all days
warehouse.py    the logs as Parquet by day       content.py   captions and frames
card.py, phenomena.py, ``python -m reclab.world``   is it like a real platform?
checkerboard.py a world whose answer is known
"""

from reclab.world.checkerboard import checkerboard
from reclab.world.config import WorldConfig
from reclab.world.generate import World, generate
from reclab.world.truth import Truth
from reclab.world.warehouse import write

__all__ = ["Truth", "World", "WorldConfig", "checkerboard", "generate", "write"]
