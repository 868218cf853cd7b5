"""The dials of the platform: three scales, one seed, and the constants of each part.

Volumes a user are 6-23 times smaller than KuaiRand's, on purpose: a lesson has to run on a laptop.
"""

from dataclasses import dataclass, field, replace

from reclab.core.errors import ConfigError, check_float, check_int
from reclab.world.behaviour import BehaviourConfig
from reclab.world.catalogue import ItemsConfig
from reclab.world.creators import CreatorsConfig
from reclab.world.logging_policy import PolicyConfig
from reclab.world.traffic import TrafficConfig
from reclab.world.users import UsersConfig


@dataclass(frozen=True)
class WorldConfig:
    """Sizes, seed and constants. Use ``WorldConfig.at("tiny" | "laptop" | "full", seed)``.

    >>> WorldConfig.at("laptop").n_users
    5000
    """

    scale: str = "laptop"  # name of the scale, printed on the card
    seed: int = 0  # everything random follows from it
    n_users: int = 5_000
    n_items: int = 14_000  # items at the first midnight
    n_creators: int = 1_500
    days: int = 28
    posts_per_day: float = 240.0  # items a day at the creators' habit
    page_size: int = 6  # items a request: 5/6 of consecutive exposures share the second
    users: UsersConfig = field(default_factory=UsersConfig)
    creators: CreatorsConfig = field(default_factory=CreatorsConfig)
    items: ItemsConfig = field(default_factory=ItemsConfig)
    behaviour: BehaviourConfig = field(default_factory=BehaviourConfig)
    traffic: TrafficConfig = field(default_factory=TrafficConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)

    def __post_init__(self) -> None:
        check_int("WorldConfig.seed", self.seed, 0, 2**32 - 1, "0")
        check_int("WorldConfig.n_users", self.n_users, 2, 1_000_000, "5000")
        check_int("WorldConfig.n_items", self.n_items, 10, 10_000_000, "14000")
        check_int("WorldConfig.n_creators", self.n_creators, 2, 1_000_000, "1500")
        check_int("WorldConfig.days", self.days, 2, 365, "28")
        check_float("WorldConfig.posts_per_day", self.posts_per_day, 0.0, 1e7, "240")
        check_int("WorldConfig.page_size", self.page_size, 1, 50, "6")

    @staticmethod
    def at(scale: str, seed: int = 0) -> "WorldConfig":
        """The platform at a named scale. Raises ``ConfigError`` naming the good names."""
        if scale not in SCALES:
            good = ", ".join(SCALES)
            raise ConfigError(f"scale must be one of {good}, got {scale!r} (typical: 'laptop')")
        return replace(SCALES[scale], seed=seed)


SCALES = {
    # A smoke scale: the catalogue is nearly exhausted and nothing is calibrated.
    "tiny": WorldConfig(
        "tiny", n_users=500, n_items=2_000, n_creators=200, days=14, posts_per_day=40.0
    ),
    "laptop": WorldConfig("laptop"),
    # For performance: a million items, few days.
    "full": WorldConfig(
        "full", n_items=1_000_000, n_creators=100_000, days=7, posts_per_day=20_000.0
    ),
}
