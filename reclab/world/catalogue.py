"""The catalogue: every item with its public metadata and its hidden style and quality.

First topic from its creator (85 %) and 0-2 more tags, weights (1, .5, .3) scaled to sum one;
style = unit(.8 creator + .6 noise); quality = .7 creator + .71 N; duration ~ LN(26 s, 1.46) in
3 … 1200 s; a bid for ads, a price for products. Rows are in order of publication, so the items
alive at a time are the first rows.

Reference: durations are KuaiRand's (median 27 s, p90 169 s; Gao et al. 2022, CIKM).
Simplified: an item never changes after publication, and none is taken down.
"""

from dataclasses import dataclass

import numpy as np

from reclab.core.clock import DAY_MS
from reclab.core.errors import check_float
from reclab.core.tables import Table
from reclab.core.types import Array
from reclab.world.creators import Creators
from reclab.world.users import N_STYLE, N_TOPICS, topic_popularity, unit

SHORT_VIDEO, LIVE, PRODUCT, AD, IMAGE_TEXT, CAMPAIGN = range(6)
BUSINESSES = ("short video", "live", "product", "ad", "image-text", "campaign")
TAG_WEIGHTS = np.array([1.0, 0.5, 0.3])
FIRST_VIDEO_ID = 100_000


@dataclass(frozen=True)
class ItemsConfig:
    """Constants of what is posted."""

    business_share: tuple[float, ...] = (0.80, 0.04, 0.05, 0.05, 0.04, 0.02)
    own_topic: float = 0.85  # probability that the first tag is one of its creator's topics
    creator_style: float = 0.8  # weight of the creator in the style; .6 of noise: cosine .8
    creator_quality: float = 0.7  # likewise, in sigmas
    duration_sec: float = 26.0  # median, seconds: KuaiRand shows 27
    duration_spread: float = 1.46  # sigma of ln duration: p90 of 169 s
    live_sec: float = 90.0  # median of a live show's highlight, seconds
    image_sec: float = 10.0  # median reading time of an image-text post, seconds
    age_days: float = 30.0  # mean age of the catalogue at the start, days
    bid: float = 1.0  # median money per click of an ad
    price: float = 40.0  # median money of a product

    def __post_init__(self) -> None:
        check_float("ItemsConfig.own_topic", self.own_topic, 0.0, 1.0, "0.85")
        check_float("ItemsConfig.duration_sec", self.duration_sec, 3.0, 1200.0, "26")
        total = sum(self.business_share)
        check_float("sum of ItemsConfig.business_share", total, 0.999, 1.001, "1")


COLUMNS = {
    "creator": (np.int32, ()),
    "publish_ms": (np.int64, ()),
    "business": (np.int8, ()),
    "tags": (np.int16, (3,)),
    "weights": (np.float32, (N_TOPICS,)),
    "style": (np.float32, (N_STYLE,)),
    "quality": (np.float32, ()),
    "duration_sec": (np.float32, ()),
    "price": (np.float32, ()),
    "bid": (np.float32, ()),
}


class Catalogue:
    """Growing columns: ``catalogue.style`` (n, 8), ``.weights`` (n, 24) tag weights, ``.tags``
    (n, 3), ``.creator`` (n,) row, ``.publish_ms`` (n,) ascending, ``.quality`` …"""

    creator: Array
    publish_ms: Array
    business: Array
    tags: Array
    weights: Array
    style: Array
    quality: Array
    duration_sec: Array
    price: Array
    bid: Array

    def __init__(self, config: ItemsConfig, creators: Creators) -> None:
        self.config, self.creators, self.n = config, creators, 0
        self._room = {name: np.empty((0, *shape), kind) for name, (kind, shape) in COLUMNS.items()}
        self._show()

    def __len__(self) -> int:
        return self.n

    def _show(self) -> None:
        for name, room in self._room.items():
            setattr(self, name, room[: self.n])

    def post(self, creator: Array, publish_ms: Array, chance: np.random.Generator) -> None:
        """Add one item for each entry of ``creator``; times after every earlier item's."""
        publish_ms = np.sort(publish_ms)
        new = self._draw(creator, chance) | {"creator": creator, "publish_ms": publish_ms}
        end = self.n + len(creator)
        for name, room in self._room.items():
            if end > len(room):  # grow by half: amortised constant
                bigger = np.empty((max(end, len(room) * 3 // 2), *room.shape[1:]), room.dtype)
                bigger[: self.n] = room[: self.n]
                self._room[name] = room = bigger
            room[self.n : end] = new[name]
        self.n = end
        self._show()

    def _draw(self, creator: Array, chance: np.random.Generator) -> dict[str, Array]:
        c, made, n = self.config, self.creators, len(creator)
        business = chance.choice(6, n, p=c.business_share)
        tags = self._tags(creator, chance)
        weight = np.where(tags >= 0, TAG_WEIGHTS, 0.0)
        weight /= weight.sum(1, keepdims=True)
        weights = np.zeros((n, N_TOPICS))
        for k in range(3):
            weights[np.arange(n), tags[:, k]] += weight[:, k]
        noise = unit(chance.standard_normal((n, N_STYLE)))
        style = unit(c.creator_style * made.style[creator] + 0.6 * noise)
        quality = c.creator_quality * made.quality[creator]
        quality += np.sqrt(1 - c.creator_quality**2) * chance.standard_normal(n)
        median = np.full(n, c.duration_sec)
        median[business == LIVE], median[business == IMAGE_TEXT] = c.live_sec, c.image_sec
        spread = np.where(np.isin(business, (LIVE, IMAGE_TEXT)), 0.6, c.duration_spread)
        duration = median * np.exp(spread * chance.standard_normal(n))
        price = c.price * np.exp(0.8 * chance.standard_normal(n))
        bid = c.bid * np.exp(0.6 * chance.standard_normal(n))
        return {
            "business": business,
            "tags": tags,
            "weights": weights,
            "style": style,
            "quality": quality,
            "duration_sec": duration.clip(3.0, 1200.0),
            "price": np.where(business == PRODUCT, price, 0.0),
            "bid": np.where(business == AD, bid, 0.0),
        }

    def _tags(self, creator: Array, chance: np.random.Generator) -> Array:
        """(n, 3) distinct tags, -1 = none."""
        n = len(creator)
        p = topic_popularity(self.creators.config.topic_slope)
        own = self.creators.topics[creator, (chance.random(n) < 0.3).astype(int)]
        first = np.where(
            chance.random(n) < self.config.own_topic, own, chance.choice(N_TOPICS, n, p=p)
        )
        more = chance.choice(N_TOPICS, (n, 2), p=p)
        n_more = chance.choice(3, n, p=[0.4, 0.4, 0.2])
        second = np.where((n_more >= 1) & (more[:, 0] != first), more[:, 0], -1)
        third_ok = (n_more == 2) & (second >= 0) & (more[:, 1] != first) & (more[:, 1] != second)
        return np.stack([first, second, np.where(third_ok, more[:, 1], -1)], 1)

    def fill(self, n: int, chance: np.random.Generator) -> None:
        """The catalogue at the first midnight: ``n`` items posted in the weeks before."""
        p = self.creators.productivity / self.creators.productivity.sum()
        creator = chance.choice(len(self.creators), n, p=p)
        age = chance.exponential(self.config.age_days * DAY_MS, n)
        self.post(creator, -1 - age.astype(np.int64), chance)

    def n_alive(self, time_ms: Array) -> Array:
        """How many items are published at each time: rows below it are alive."""
        return np.searchsorted(self.publish_ms, time_ms, side="right")

    def table(self) -> Table:
        """Table 2.2 without the counters: what may be logged of the items."""
        return Table(
            {
                "video_id": FIRST_VIDEO_ID + np.arange(self.n, dtype=np.int64),
                "author_id": self.creators.author_id[self.creator],
                "author_device_id": self.creators.device_id[self.creator],
                "publish_ms": self.publish_ms.copy(),
                "duration_sec": self.duration_sec.copy(),
                "business": self.business.copy(),
                "tags": self.tags.copy(),
                "price": self.price.copy(),
                "bid": self.bid.copy(),
            }
        )
