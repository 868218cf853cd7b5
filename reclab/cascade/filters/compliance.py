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


def offence(tags: Array, age: Array, region: Array, rules: tuple[TagRule, ...]) -> Array:
    """(n,) int8: which of REASONS forbids the item, -1 = none. ``tags`` (n, w), -1 = none;
    ``age`` years and ``region`` (n,) of the request's user, negative = unknown."""
    bound = max((rule.tag for rule in rules), default=-1)
    of_tag = np.zeros(bound + 2, np.int64)  # 0 = the rule that forbids nothing
    for number, rule in enumerate(rules, 1):
        of_tag[rule.tag] = number
    rule_of = of_tag[np.where((tags >= 0) & (tags <= bound), tags, -1)]
    min_age = np.array([0, *(rule.min_age for rule in rules)])
    named = np.unique([0, *(r for rule in rules for r in rule.banned_regions)])
    banned = np.zeros((len(rules) + 1, len(named) + 2), bool)  # last two: elsewhere, unknown
    for number, rule in enumerate(rules, 1):
        banned[number, np.searchsorted(named, np.array(rule.banned_regions, np.int64))] = True
        banned[number, -1] = bool(rule.banned_regions)
    place = np.minimum(np.searchsorted(named, region), len(named) - 1)
    column = np.where(region < 0, -1, np.where(named[place] == region, place, -2))
    too_young = min_age[rule_of].max(1, initial=0) > np.maximum(age, 0)
    why = np.where(banned[rule_of, column[:, None]].any(1), 1, -1)
    return np.where(too_young, 0, why).astype(np.int8)


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
        who = batch.user_row[candidates.request_row]
        age, region = self._profile("age", who), self._profile("region", who)
        tags = self.index.get(candidates.item_row, ["tags"])["tags"]
        return drop_because(candidates, offence(tags, age, region, self.config.rules), REASONS)

    def _profile(self, column: str, user_row: Array) -> Array:
        """What the profiles say, -1 where they do not."""
        profiles = self.users.profiles
        if column not in profiles:
            return np.full(len(user_row), -1)
        return profiles.get(user_row, [column])[column]
