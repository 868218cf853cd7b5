"""Compliance (合规过滤): what the law forbids at the user's age or in the user's region.

    keep = for every tag t of the item:  age >= min_age(t)  and  region not in banned(t)

Fails closed: who has not said an age counts as a minor, and an unknown region counts as every
region at once. An item without tags is bound by no rule.
Simplified: industry reads rules from a service of its legal department, checks ages, takes the
region from the network address, and keeps a record of each decision.
"""

from dataclasses import dataclass

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.filters.reasons import drop_because, keep_all
from reclab.core.errors import check, check_int
from reclab.core.stage import StageResult
from reclab.core.types import Array, Candidates
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.user_features import UserFeatures

ALLOWED = np.uint8(2)
REASONS = ("below the age for it", "banned in the region")


@dataclass(frozen=True)
class TagRule:
    """What holds for items with one tag."""

    tag: int
    """tag number"""
    min_age: int = 0
    """years from which it may be shown (0 = any age, 18 = adults)"""
    banned_regions: tuple[int, ...] = ()
    """region numbers where it may not be shown"""

    def __post_init__(self) -> None:
        check_int("TagRule.tag", self.tag, 0, 32_767, "the number of a tag")
        check_int("TagRule.min_age", self.min_age, 0, 120, "18")
        for region in self.banned_regions:
            check_int("TagRule.banned_regions", region, 0, 32_767, "numbers of regions")


@dataclass(frozen=True)
class ComplianceConfig:
    """``rules``, at most one a tag."""

    rules: tuple[TagRule, ...] = ()

    def __post_init__(self) -> None:
        tags = [rule.tag for rule in self.rules]
        once = len(set(tags)) == len(tags)
        check(once, "ComplianceConfig.rules", tags, "name each tag once", "one TagRule a tag")


def verdicts(age: Array, region: Array, rules: tuple[TagRule, ...]) -> Array:
    """(B, t) uint8: which of REASONS forbids each tag 0 … t - 1 to each user, ALLOWED = none; the
    last column, of tags without a rule, is all ALLOWED. ``age`` years and ``region`` (B,),
    negative = unknown."""
    found = np.full((len(age), max((rule.tag for rule in rules), default=-1) + 2), ALLOWED)
    for rule in rules:
        if rule.banned_regions:
            banned = (region[:, None] == np.array(rule.banned_regions)).any(1)
            found[banned | (region < 0), rule.tag] = 1
        found[np.maximum(age, 0) < rule.min_age, rule.tag] = 0
    return found


def offence(request_row: Array, tags: Array, verdict: Array) -> Array:
    """(n,) int8: which of REASONS forbids the candidate, -1 = none. ``request_row`` (n,), ``tags``
    (n, w), -1 = none, ``verdict`` (B, t) by request."""
    width = verdict.shape[1]
    column = np.minimum(tags.T, width - 1).astype(np.int64)  # a tag's place first: faster to reduce
    column[column < 0] = width - 1
    column += request_row * width
    worst = verdict.ravel().take(column).min(0, initial=ALLOWED)
    return np.where(worst == ALLOWED, -1, worst).astype(np.int8)


@dataclass(frozen=True)
class ComplianceFilter:
    """Drop what the rules forbid for the request's user, as the profile has age and region,
    which are unknown where it has no such column; a no-op where items have no tags."""

    config: ComplianceConfig
    index: ForwardIndex
    users: UserFeatures
    name: str = "compliance"

    def __call__(self, batch: Batch, candidates: Candidates) -> StageResult:
        if "tags" not in self.index or not self.config.rules:
            return keep_all(candidates, *REASONS)
        age, region = (self._profile(name, batch.user_row) for name in ("age", "region"))
        verdict = verdicts(age, region, self.config.rules)
        tags = self.index.get(candidates.item_row, ["tags"])["tags"]
        return drop_because(candidates, offence(candidates.request_row, tags, verdict), REASONS)

    def _profile(self, column: str, user_row: Array) -> Array:
        """What the profiles say, -1 where they do not."""
        profiles = self.users.profiles
        if column not in profiles:
            return np.full(len(user_row), -1)
        return profiles.get(user_row, [column])[column]
