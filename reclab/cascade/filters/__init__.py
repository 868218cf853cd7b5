"""Filters (过滤): candidates that must not be shown leave before anything dear is computed.

published.py          publish_ms <= now
duplicates.py         first mention of an item in its request
duplicate_content.py  first mention of its content: one video under two ids
exposed.py            not shown to this user before (exact)
exposed_bloom.py      the same from a Bloom filter: little memory, a few wrong drops

Each is a stage that gives its reason; section 2.2 (1).
"""

from reclab.cascade.filters.duplicate_content import (
    ContentConfig,
    DuplicateContentFilter,
    content_key,
)
from reclab.cascade.filters.duplicates import DuplicateFilter, first_mention
from reclab.cascade.filters.exposed import SeenFilter, seen_before
from reclab.cascade.filters.exposed_bloom import (
    BloomConfig,
    SeenBloom,
    SeenBloomFilter,
    false_positive_rates,
)
from reclab.cascade.filters.published import PublishedFilter
from reclab.cascade.filters.reasons import drop, drop_because

__all__ = [
    "BloomConfig",
    "SeenBloom",
    "SeenBloomFilter",
    "false_positive_rates",
    "ContentConfig",
    "DuplicateContentFilter",
    "content_key",
    "DuplicateFilter",
    "PublishedFilter",
    "SeenFilter",
    "drop",
    "drop_because",
    "first_mention",
    "seen_before",
]
