"""lab.co_diverted: three ways to split, beside a truth that is known."""

import numpy as np
import pytest

from reclab.core.errors import ConfigError
from reclab.lab.co_diverted import (
    DESIGNS,
    OUTCOMES,
    CoDivertedConfig,
    Effect,
    Experiments,
    estimate,
    experiment,
    halves,
    in_pairs,
    parts,
)
from reclab.lab.dualrec_days import DualDaysConfig, common_days, live
from reclab.lab.dualrec_sides import CreatorSideConfig

SMALL = CoDivertedConfig(DualDaysConfig(users=120, days=1), resamples=50)


@pytest.fixture(scope="module")
def morning():
    return common_days(SMALL.days, 0)


def made_by(platform):
    return np.bincount(platform.catalogue.creator, minlength=len(platform.creators))


def test_pairs_are_alike_and_halves_are_even():
    like = np.random.default_rng(0).pareto(1.3, 1000)
    gap = []
    for seed in range(200):
        mine = in_pairs(like, np.random.default_rng(seed))
        assert mine.sum() == 500
        gap.append(like[mine].sum() / like.sum() - 0.5)
    loose = [np.random.default_rng(s).permutation(like)[:500].sum() / like.sum() for s in range(99)]
    assert abs(np.mean(gap)) < 0.01 and np.std(gap) < np.std(loose) / 2


@pytest.mark.parametrize("design", DESIGNS)
def test_who_takes_part(morning, design):
    platform, comes = morning
    arms, users, creators = halves(platform.config, design, comes, made_by(platform))
    assert arms.served.all() == (design == "creators")
    assert arms.helped.all() == (design == "users")
    assert arms.groups.n == (2 if design == "both" else 1)
    if design != "creators":
        assert (arms.served == users).all()
    if design != "users":
        assert (arms.helped == creators).all()


def test_arms_that_are_diverted_together_never_meet(morning):
    import copy

    from reclab.lab.dualrec_days import COMMON_DAYS
    from reclab.lab.dualrec_feed import CREATOR, TwoSidedFeed, UserSideConfig
    from reclab.lab.dualrec_sides import CreatorSide

    platform, comes = morning
    arms, users, creators = halves(platform.config, "both", comes, made_by(platform))
    mine = copy.deepcopy(platform)
    side = CreatorSide(CreatorSideConfig(weight=0.5), comes, arms.helped, arms.served)
    mine.policy = TwoSidedFeed(mine.policy, mine.follows, arms.groups, UserSideConfig(), side)
    shown = mine.live(COMMON_DAYS)
    treated_creator = creators[mine.catalogue.creator[shown["item"]]]
    assert (users[shown["user"]] == treated_creator).all()
    matched = shown["channel"] == CREATOR
    assert matched.any() and users[shown["user"][matched]].all()


def test_a_user_split_matches_only_its_half(morning):
    platform, comes = morning
    arms, users, _ = halves(platform.config, "users", comes, made_by(platform))
    lived = live(platform, comes, SMALL.days, CreatorSideConfig(weight=0.5), arms)
    assert 0 < lived.days.creator_share[0] < 1 and lived.cards[~users].sum() > 0


def test_the_interval_holds_a_known_effect_as_often_as_it_says():
    held = 0
    for seed in range(200):
        chance = np.random.default_rng(seed)
        treated = chance.permutation(400) < 200
        size = 1 + chance.pareto(3.0, 400)
        top = chance.poisson(5 * size * np.where(treated, 1.2, 1.0))
        held += estimate(top, size, treated, 200, chance).holds(0.2)
    assert 0.9 <= held / 200 <= 0.99


def test_rows_of_one_user_do_not_make_the_interval_narrow():
    """The same rows, as if each were a unit of its own, would claim far too much."""
    chance = np.random.default_rng(0)
    level = chance.random(200)
    treated = np.arange(200) % 2 == 0
    by_unit = estimate(level * 100, np.full(200, 100.0), treated, 300, chance)
    rows = (chance.random((200, 100)) < level[:, None]).astype(float).ravel()
    alone = estimate(rows, np.ones(20_000), np.repeat(treated, 100), 100, chance)
    assert by_unit.high - by_unit.low > 3 * (alone.high - alone.low)


def test_an_experiment_tells_every_outcome_of_every_design(morning):
    found = experiment(SMALL, 0)
    assert set(found) == {f"{d}/{o}" for d in (*DESIGNS, "truth") for o in OUTCOMES}
    bounded = [f for f in found.values() if np.isfinite(f.low)]
    assert len(bounded) >= 3 and all(f.low <= f.high for f in bounded)
    told = Experiments({f"0/{name}": effect for name, effect in found.items()}).table()
    assert told.count("\n") == len(OUTCOMES)


def test_a_control_without_anything_has_no_effect_to_tell():
    treated = np.arange(40) < 20
    found = estimate(treated * 1.0, np.ones(40), treated, 50, np.random.default_rng(0))
    assert np.isnan(found.effect) and np.isnan(found.low) and not found.holds(0.0)


def test_parts_are_counts_over_counts(morning):
    platform, comes = morning
    lived, made = live(platform, comes, SMALL.days, None), made_by(platform)
    for outcome in OUTCOMES:
        top, bottom = parts(lived, made, outcome)
        assert top.shape == bottom.shape and (top >= 0).all() and bottom.sum() > 0
    assert (parts(lived, made, "creators active")[0] <= 1).all()


def test_coverage_counts_intervals_that_hold_the_mean_truth():
    found = {
        "0/truth/posts": Effect(0.1, np.nan, np.nan), "1/truth/posts": Effect(0.3, np.nan, np.nan),
        "0/both/posts": Effect(0.2, 0.1, 0.3), "1/both/posts": Effect(0.0, -0.1, 0.1),
    }  # fmt: skip
    told = Experiments(found)
    assert told.covered("both", "posts") == 1
    assert told.width("both", "posts") == pytest.approx(0.2)
    assert told.mean("truth", "posts") == (pytest.approx(0.2), pytest.approx(0.1))


def test_bad_settings_are_named(morning):
    platform, comes = morning
    with pytest.raises(ConfigError, match="CoDivertedConfig.resamples"):
        CoDivertedConfig(resamples=1)
    with pytest.raises(ConfigError, match="everyone"):
        halves(platform.config, "everyone", comes, made_by(platform))
