"""Run the platform for all its days and keep what is logged apart from what is true.

Reference: Ie et al. 2019 (RecSim) and Shi et al. 2019 (AAAI, Virtual Taobao) for such platforms.
Simplified: one month, one application, one logging policy.
"""

from collections.abc import Callable
from dataclasses import dataclass

from reclab.core.tables import Logs
from reclab.world.config import WorldConfig
from reclab.world.platform import Platform
from reclab.world.truth import Truth

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class World:
    """A finished platform: ``logs`` for recommenders, ``truth`` for evaluation only."""

    config: WorldConfig
    truth: Truth
    logs: Logs


def generate(config: WorldConfig, progress: Progress | None = None) -> World:
    """Simulate ``config.days`` days. ``progress(fraction, text)`` is called once a day.

    The same config gives the same world on any machine, whatever the number of threads.
    """
    say = progress or (lambda fraction, text: None)
    platform = Platform(config)
    for day in range(config.days):
        say(day / (config.days + 3), f"day {day + 1} of {config.days}")
        platform.live(day)
    say(config.days / (config.days + 3), "writing the logs")
    truth = platform.truth()
    world = World(config, truth, platform.logs())
    say(1.0, "the platform is ready")
    return world
