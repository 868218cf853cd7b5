"""The creator side over a trained cascade: its towers, neighbours, follows and exposures, mirrored.

    two_tower  ->  user vectors in an index, item vectors as queries
    item_cf    ->  i2i2u (similar items), i2u2u (the same computation, users and items exchanged)
    follows    ->  fans of the creator

Nothing is trained anew but the ranker, where one is wanted: the user side's models serve both.
Reference: chapter 2, section 2.5, figure 2.10.

Simplified: vectors are those of one moment; industry streams them.
"""

from reclab.cascade.pipeline import Parts
from reclab.core.tables import Logs
from reclab.dualrec.creator_side import CreatorSide, CreatorSideConfig, Scorer
from reclab.dualrec.user_channels import UserChannels, UserChannelsConfig, similar_items
from reclab.dualrec.user_index import UserIndex, tower_vectors
from reclab.dualrec.user_pool import UserPool


def user_channels(
    parts: Parts, logs: Logs, now_ms: int, config: UserChannelsConfig | None = None
) -> UserChannels:
    """i2i2u, i2u2u and fans from the interactions before ``now_ms``; ``update`` them with later
    ones instead of fitting anew."""
    config = config or UserChannelsConfig()
    _, item_vectors = tower_vectors(parts.two_tower, parts.users, now_ms)
    similar = similar_items(parts.item_cf, item_vectors, config.similar)
    return UserChannels(similar, parts.users, config).fit(logs, parts.index, now_ms)


def creator_side(
    parts: Parts,
    pool: UserPool,
    now_ms: int,
    channels: UserChannels | None = None,
    scorer: Scorer | None = None,
    config: CreatorSideConfig | None = None,
) -> CreatorSide:
    """The creator side with all vectors as of ``now_ms``; without ``channels`` by vector alone."""
    user_vectors, item_vectors = tower_vectors(parts.two_tower, parts.users, now_ms)
    ways = {}
    if channels is not None:
        ways = {"i2i2u": channels.i2i2u, "i2u2u": channels.i2u2u, "fans": channels.fans}
    return CreatorSide(
        parts.index, parts.users.user_ids, UserIndex(user_vectors), item_vectors, pool,
        channels=ways, users=parts.users, scorer=scorer, config=config,
    )  # fmt: skip
