"""Filters (过滤): candidates that must not be shown leave before anything dear is computed.

published.py          publish_ms <= now
duplicates.py         first mention of an item in its request
duplicate_content.py  first mention of its content: one video under two ids
exposed.py            not shown to this user before (exact)
exposed_bloom.py      the same from a Bloom filter: little memory, a few wrong drops
risk.py               harm that is likely: a score by item, or who left at once
block_list.py         creators and tags that the user has blocked
compliance.py         age and region against a table of rules
context.py            network and the time that is left, against the duration

Each is a stage that gives its reason; section 2.2 (1). The cascade always runs published,
duplicates and (unless switched off) exposed; the others join by ``with_parts(filters=(...))``.
"""

from reclab.cascade.filters.block_list import BlockList, BlockListFilter
from reclab.cascade.filters.compliance import ComplianceConfig, ComplianceFilter, TagRule
from reclab.cascade.filters.context import ContextConfig, ContextFilter, usual_left_sec
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
from reclab.cascade.filters.risk import RiskConfig, RiskFilter, left_at_once

__all__ = [
    "BlockList",
    "BlockListFilter",
    "BloomConfig",
    "ComplianceConfig",
    "ComplianceFilter",
    "ContentConfig",
    "ContextConfig",
    "ContextFilter",
    "DuplicateContentFilter",
    "DuplicateFilter",
    "PublishedFilter",
    "RiskConfig",
    "RiskFilter",
    "SeenBloom",
    "SeenBloomFilter",
    "SeenFilter",
    "TagRule",
    "content_key",
    "drop",
    "drop_because",
    "false_positive_rates",
    "first_mention",
    "left_at_once",
    "seen_before",
    "usual_left_sec",
]
