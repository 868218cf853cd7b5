"""Compliance: age and region against the rules, closed where the user is not known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reclab.cascade.filters.compliance import (
    ComplianceConfig,
    ComplianceFilter,
    TagRule,
    offence,
    verdicts,
)
from reclab.core.errors import ConfigError
from reclab.core.tables import Logs, Table
from reclab.stores.user_features import UserFeatures
from tests.cascade.filters.contract import (
    BARE,
    INDEX,
    ITEMS,
    FilterContract,
    batch_with,
    candidates_of,
    kept_of,
)

NONE = Table({name: np.zeros(0, np.int64) for name in ("user_id", "video_id", "time_ms")})


def users_with(**columns: list[int]) -> UserFeatures:
    held = {name: np.array(values, np.int16) for name, values in columns.items()}
    n = len(next(iter(held.values()), [0, 0, 0, 0]))
    return UserFeatures(Logs(Table({"user_id": np.arange(n) + 11, **held}), ITEMS, NONE))


USERS = users_with(age=[30, 17, 18, -1], region=[5, 6, -1, 7])
RULES = (TagRule(tag=2, min_age=18), TagRule(tag=3, banned_regions=(5, 9)))


class TestComplianceIsAFilter(FilterContract):
    def make(self):
        return ComplianceFilter(ComplianceConfig(RULES), INDEX, USERS)


def answer(users: UserFeatures, user_row: int, index=INDEX) -> list[int]:
    stage = ComplianceFilter(ComplianceConfig(RULES), index, users)
    result = stage(batch_with([[]], user_row=[user_row]), candidates_of([list(range(8))]))
    return kept_of(result)[0]


ADULTS_ONLY, REGIONAL = {3, 4}, {5, 7}  # items with tag 2, with tag 3
ALL = set(range(8))


@pytest.mark.parametrize(
    ("user_row", "lost"),
    [
        (0, REGIONAL),  # an adult in region 5
        (1, ADULTS_ONLY),  # 17 in region 6
        (2, REGIONAL),  # just 18, region unknown: closed
        (3, ADULTS_ONLY),  # age not said: a minor
        (-1, ADULTS_ONLY | REGIONAL),  # nobody we know
    ],
)
def test_each_rule_binds_whom_it_names_and_whoever_is_unknown(user_row, lost):
    assert set(answer(USERS, user_row)) == ALL - lost


def test_profiles_without_the_columns_know_nobodys_age_or_region():
    assert set(answer(users_with(), 0)) == ALL - ADULTS_ONLY - REGIONAL


def test_items_without_tags_are_bound_by_no_rule():
    assert set(answer(USERS, 1, BARE)) == ALL


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.sets(st.integers(0, 4))), max_size=4),
    st.lists(
        st.tuples(
            st.tuples(st.integers(-1, 5), st.integers(-1, 5)),
            st.integers(-1, 25),
            st.integers(-1, 6),
        ),
        max_size=10,
    ),
)
def test_equals_reading_the_rules_one_by_one(rules, cases):
    rules = tuple(TagRule(tag, age, tuple(where)) for tag, (age, where) in enumerate(rules))
    tags = np.array([case[0] for case in cases], np.int16).reshape(-1, 2)
    age, region = (np.array([case[i] for case in cases], np.int64) for i in (1, 2))
    expected = []
    for mine, years, where in cases:
        bound = [rule for rule in rules if rule.tag in mine]
        young = any(rule.min_age > max(years, 0) for rule in bound)
        banned = [rule.banned_regions for rule in bound if rule.banned_regions]
        out = any(where < 0 or where in regions for regions in banned)
        expected.append(0 if young else 1 if out else -1)
    verdict = verdicts(age, region, rules)
    assert offence(np.arange(len(cases)), tags, verdict).tolist() == expected


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: TagRule(tag=-1), "TagRule.tag must be >= 0, got -1"),
        (lambda: TagRule(tag=1, min_age=200), "TagRule.min_age"),
        (lambda: TagRule(tag=1, banned_regions=(-2,)), "TagRule.banned_regions"),
        (lambda: ComplianceConfig((TagRule(1), TagRule(1, 18))), "name each tag once"),
    ],
)
def test_rules_are_checked(make, named):
    with pytest.raises(ConfigError, match=named):
        make()
