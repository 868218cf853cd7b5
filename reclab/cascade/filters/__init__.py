"""Filters (过滤): candidates that must not be shown leave before anything dear is computed.

published.py   publish_ms <= now
duplicates.py  first mention of an item in its request
exposed.py     not shown to this user before (exact)

Each is a stage that gives its reason; section 2.2 (1).
"""

from reclab.cascade.filters.duplicates import DuplicateFilter, first_mention
from reclab.cascade.filters.exposed import SeenFilter, seen_before
from reclab.cascade.filters.published import PublishedFilter
from reclab.cascade.filters.reasons import drop, drop_because

__all__ = [
    "DuplicateFilter",
    "PublishedFilter",
    "SeenFilter",
    "drop",
    "drop_because",
    "first_mention",
    "seen_before",
]
