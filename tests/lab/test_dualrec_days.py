"""lab.dualrec_days, its feed, its platform and its front: a few days of a few people."""

from dataclasses import replace

import numpy as np
import pytest

from reclab.core.errors import ConfigError
from reclab.lab.dualrec_days import (
    ALONE,
    COMMON_DAYS,
    ITEM_REACH,
    SETTINGS,
    UNTARGETED,
    VOLUME_OF,
    DualDaysConfig,
    TwoSidedDays,
    common_days,
    live,
    live_days,
)
from reclab.lab.dualrec_feed import CREATOR, FRESH, TwoSidedFeed, UserSideConfig
from reclab.lab.dualrec_front import Front, change, front, levels
from reclab.lab.dualrec_sides import CreatorSideConfig

SMALL = DualDaysConfig(users=150, days=2)


@pytest.fixture(scope="module")
def morning():
    return common_days(SMALL, 0)


@pytest.fixture(scope="module")
def lived():
    names = (ALONE, "boost 0", VOLUME_OF, "boost 0.5", UNTARGETED)
    return live_days(SMALL, 0, names)


def test_the_same_seed_gives_the_same_days_and_the_platform_is_left_as_it_was(morning, lived):
    platform, comes = morning
    n_items = len(platform.catalogue)
    again = live(platform, comes, SMALL, None).days
    assert again.value.tolist() == lived[ALONE].value.tolist()
    assert len(platform.catalogue) == n_items and not isinstance(platform.policy, TwoSidedFeed)


def test_all_settings_begin_with_the_same_people(lived):
    assert len({float(days.came[0]) for days in lived.values()}) == 1
    assert len({float(days.posts[0]) for days in lived.values()}) == 1


def test_a_larger_weight_gives_the_creator_side_more_exposures(lived):
    shares = [lived[name].creator_share.mean() for name in ("boost 0", VOLUME_OF, "boost 0.5")]
    assert shares == sorted(shares) and shares[-1] > shares[0]
    assert not lived[ALONE].creator_share.any()


def test_the_control_injects_about_as_many(lived):
    wanted, got = lived[VOLUME_OF].creator_share.sum(), lived[UNTARGETED].creator_share.sum()
    assert got == pytest.approx(wanted, rel=0.35)  # two days of 150 people


def test_reach_falls_with_the_threshold_and_grows_with_the_days(lived):
    for days in lived.values():
        assert days.reach.shape == (2, len(ITEM_REACH))
        assert (np.diff(days.reach, axis=1) <= 0).all()
        assert (np.diff(days.creator_reach, axis=0) >= 0).all()
        assert days.lorenz[0, 0] == 0 and days.lorenz[0, -1] == pytest.approx(1)


def test_what_is_counted_adds_up(morning):
    platform, comes = morning
    one = live(platform, comes, SMALL, CreatorSideConfig(weight=0.5))
    total = one.days.total.sum()
    assert one.cards.sum() == one.exposures.sum() == total
    assert one.visits.sum() == one.days.sessions.sum()
    assert one.worth.sum() == pytest.approx((one.days.value * one.days.sessions).sum())
    assert one.posts.sum() == one.days.posts.sum() == len(one.item_exposures)
    assert one.days.sizes.max() <= 10


def test_the_worth_of_what_was_shown_is_the_rate_of_long_views():
    platform, _ = common_days(replace(SMALL, users=400), 1)
    shown = platform.live(COMMON_DAYS)
    rate, worth = shown["long_view"].mean(), shown["worth"].mean()
    error = np.sqrt((shown["worth"] * (1 - shown["worth"])).sum()) / len(shown["worth"])
    assert abs(rate - worth) < 4 * error


def test_nobody_is_shown_an_item_twice_or_before_it_exists(morning):
    import copy

    from reclab.lab.dualrec_days import everybody
    from reclab.lab.dualrec_sides import CreatorSide

    platform, comes = morning
    mine, arms = copy.deepcopy(platform), everybody(platform.config)
    side = CreatorSide(CreatorSideConfig(weight=0.5), comes, arms.helped, arms.served)
    mine.policy = TwoSidedFeed(mine.policy, mine.follows, arms.groups, UserSideConfig(), side)
    shown = mine.live(COMMON_DAYS)
    pair = shown["user"].astype(np.int64) << 32 | shown["item"]
    assert len(np.unique(pair)) == len(pair)
    assert (mine.catalogue.publish_ms[shown["item"]] <= shown["time_ms"]).all()
    assert (shown["channel"] == CREATOR).any() and (shown["channel"] == FRESH).any()
    counts = np.bincount(shown["item"], minlength=len(mine.catalogue))
    assert (mine.policy.seen.counts[: len(counts)] >= counts).all()


def test_a_setting_against_itself_is_even(lived):
    days = {f"0/{name}": found for name, found in lived.items()}
    same = change(days, ALONE)
    assert same.value == (0.0, 0.0) and same.reach == (0.0, 0.0)
    told = front(days, ("boost 0", "boost 0.5"))
    assert told.table().count("\n") == 2 and levels(days, (ALONE,)).count("\n") == 1


def test_the_front_knows_what_is_dominated_and_what_a_loss_allows():
    nothing = {name: (0.0, 0.0) for name in vars(some_change("x", 0, 0)) if name != "name"}
    assert nothing  # the fields are pairs
    rows = (some_change("good", -0.005, 0.2), some_change("bad", -0.02, 0.1))
    found = Front((*rows, some_change("dear", -0.05, 0.3)))
    assert [row.name for row in found.within(0.01)] == ["good"]
    assert found.dominated() == ("bad",)


def some_change(name, value, reach):
    from dataclasses import fields

    from reclab.lab.dualrec_front import Change

    pairs = {field.name: (0.0, 0.0) for field in fields(Change)[1:]}
    return Change(name, **(pairs | {"value": (value, 0.0), "reach": (reach, 0.0)}))


def test_bad_settings_are_named():
    with pytest.raises(ConfigError, match="DualDaysConfig.days"):
        DualDaysConfig(days=0)
    with pytest.raises(ConfigError, match="free for all"):
        live_days(SMALL, 0, ("free for all",))
    with pytest.raises(ConfigError, match="untargeted"):
        live_days(SMALL, 0, (UNTARGETED,))
    assert set(SETTINGS) >= {ALONE, UNTARGETED, VOLUME_OF}


def test_days_survive_being_kept(lived, tmp_path):
    import json
    from dataclasses import asdict

    from reclab.lab.kept import _read

    text = json.dumps({"a": asdict(lived[VOLUME_OF])}, default=lambda array: array.tolist())
    (tmp_path / "rows.json").write_text(text)
    back = _read(tmp_path, TwoSidedDays)["a"]
    assert back.reach.tolist() == lived[VOLUME_OF].reach.tolist()
