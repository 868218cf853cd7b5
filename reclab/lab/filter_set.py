"""Six filters for the live cascade, fitted on the logs: duplicate content, already exposed by a
Bloom filter, risk, block list of the user, compliance, context.

    strict = lab.cascade.with_parts(filters=six_filters(lab, requests))

Simplified: a platform's rules come from law and from people who look at what users report.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reclab.cascade.filters import (
    BlockList,
    BlockListFilter,
    BloomConfig,
    ComplianceConfig,
    ComplianceFilter,
    ContextConfig,
    ContextFilter,
    DuplicateContentFilter,
    RiskConfig,
    RiskFilter,
    SeenBloom,
    SeenBloomFilter,
    TagRule,
    left_at_once,
    usual_left_sec,
)
from reclab.core.clock import DAY_MS
from reclab.core.stage import Stage
from reclab.core.tables import Table
from reclab.core.types import Request
from reclab.lab.lab import Lab

FOR_ADULTS, NOT_EVERYWHERE = 2, 3  # topics under a rule of age, and of region
REGIONS = tuple(range(0, 30, 3))


def six_filters(
    lab: Lab, requests: Sequence[Request], blocked_creator: int | None = None
) -> tuple[Stage, ...]:
    """In the order of their price. The first request's user has blocked a creator, if one is named;
    two topics stand under rules that are made up here."""
    p, shown = lab.trained.parts, _lately(lab)
    blocks = BlockList()
    if blocked_creator is not None:
        blocks.block(requests[0].user_id, creator=blocked_creator)
    rules = (TagRule(FOR_ADULTS, min_age=18), TagRule(NOT_EVERYWHERE, banned_regions=REGIONS))
    left = usual_left_sec(shown, p.users)
    return (
        DuplicateContentFilter(p.index),
        SeenBloomFilter(bloom_of(lab, requests), p.index),
        RiskFilter(left_at_once(shown, p.index), RiskConfig(threshold=0.3)),
        BlockListFilter(blocks, p.index),
        ComplianceFilter(ComplianceConfig(rules), p.index, p.users),
        ContextFilter(p.index, left, ContextConfig(max_mobile_sec=120)),
    )


def _lately(lab: Lab, days: int = 3) -> Table:
    """The last interactions before the training ended."""
    shown = lab.logs.interactions
    end = lab.trained.parts.until_ms or int(shown["time_ms"][-1]) + 1
    first, stop = np.searchsorted(shown["time_ms"], [end - days * DAY_MS, end])
    return shown.take(np.arange(first, stop))


def bloom_of(lab: Lab, requests: Sequence[Request], p: float = 0.01) -> SeenBloom:
    """What the users of these requests were shown in training time, at a false-positive rate of
    ``p``."""
    users = np.unique([request.user_id for request in requests])
    shown = lab.logs.interactions
    end = lab.trained.parts.until_ms or int(shown["time_ms"][-1]) + 1
    mine = np.isin(shown["user_id"], users) & (shown["time_ms"] < end)
    pairs = shown.take(np.flatnonzero(mine))
    bloom = SeenBloom(BloomConfig(n=max(1, len(pairs)), p=p))
    bloom.add(pairs["user_id"], pairs["video_id"])
    return bloom


@dataclass(frozen=True)
class BloomReport:
    """Share of pairs never shown that the filter takes for shown: measured, and by the formula;
    bytes of the filter and of the exact set of pairs."""

    measured: float
    formula: float
    n_bytes: int
    exact_bytes: int

    def __str__(self) -> str:
        times = self.exact_bytes / self.n_bytes
        return (
            f"wrongly taken for shown: {self.measured:.2%} (by the formula {self.formula:.2%}); "
            f"memory: a {times:.0f}th of the exact set"
        )


def bloom_report(lab: Lab, requests: Sequence[Request]) -> BloomReport:
    """Ask the filter for every item of the catalogue, for each user, beside the exact set."""
    bloom, p = bloom_of(lab, requests), lab.trained.parts
    end = p.until_ms or 2**39
    wrong = never = exact = 0
    for user in np.unique([request.user_id for request in requests]):
        seen = p.users.seen(p.users.rows(np.array([user])), np.array([end]))[1]
        new = np.ones(len(p.index), bool)
        new[seen] = False
        wrong += int(bloom.contains(user, p.index.ids[new]).sum())
        never, exact = never + int(new.sum()), exact + len(np.unique(seen))
    n_bytes = -(-bloom.config.n_bits // 8)
    return BloomReport(wrong / never, bloom.expected_rate(), n_bytes, 16 * exact)
