"""From day to day: planted persistence, luck, answers and leavers are found, and no others."""

import numpy as np
import pytest

from reclab.core.clock import DAY_MS
from reclab.core.errors import ConfigError
from reclab.lab.long_tail import Exposed
from reclab.lab.matthew import creators_answer, persistence, posts_by_day, silence

DAYS, ITEMS = 12, 400


def planted(rate: np.ndarray, seed: int = 0) -> tuple[Exposed, np.ndarray]:
    """A log with ``rate`` (days, items) expected exposures, by 1,000 users."""
    chance = np.random.default_rng(seed)
    count = chance.poisson(rate)
    day, item = np.nonzero(count)
    n = count[day, item]
    item, day = np.repeat(item, n), np.repeat(day, n)
    every = np.ones(len(item), bool)
    publish, creator = np.full(ITEMS, -DAY_MS), np.arange(ITEMS) % 40
    e = Exposed(item, day * DAY_MS, every, every, publish, creator, 40, len(rate))
    return e, chance.integers(0, 1000, len(item))


def test_lasting_fame_is_kept_at_every_lag():
    rate = np.tile(np.where(np.arange(ITEMS) < 20, 400.0, 2.0), (DAYS, 1))
    found = persistence(*planted(rate), top=0.05)
    assert (found.again == 1).all()
    assert found.kept == pytest.approx(np.ones(5), abs=0.03)


def test_where_all_are_alike_winning_was_luck_and_gone_with_the_other_half():
    found = persistence(*planted(np.full((DAYS, ITEMS), 6.0)), top=0.05)
    assert (found.again < 0.12).all()
    assert (found.kept < 0.55).all() and abs(found.kept[0] - found.kept[-1]) < 0.1
    assert (np.abs(found.ranks) < 0.1).all()


def test_fame_of_a_day_is_no_luck_but_does_not_last():
    day, item = np.arange(DAYS)[:, None], np.arange(ITEMS)[None]
    rate = np.where(item // 20 == day, 400.0, 2.0)
    found = persistence(*planted(rate), top=0.05)
    assert found.again[0] == 1 and found.kept[0] == pytest.approx(1, abs=0.03)
    assert (found.kept[1:] < 0.02).all()


def test_in_our_log_winners_are_no_luck_and_last_days_not_weeks(lab):
    exposed = Exposed.of(lab.logs)
    found = persistence(exposed, lab.logs.interactions["user_id"])
    assert found.kept[0] > 0.9
    assert (np.diff(found.kept) < 0).all() and found.kept[-1] < 0.3
    assert found.again[1] > 10 * found.top
    assert len(found.table().splitlines()) == 6


def creators_log(
    answer: float, leavers: int = 0, seed: int = 1, n: int = 40, old: int = 20
) -> Exposed:
    """Creators with about ``old`` old items each; half get nine times the exposure of the
    others; posts follow exposure by the elasticity ``answer``; the first ``leavers`` stop ten days
    before the end."""
    chance, days = np.random.default_rng(seed), 28
    had = np.maximum(1, chance.poisson(old, n))
    seen = np.where(np.arange(n) % 2, 9.0, 1.0)
    posts = chance.poisson(2.0 * (seen / 3) ** answer, (days, n))
    posts[-10:, :leavers] = 0
    day, creator = np.nonzero(posts)
    times = posts[day, creator]
    publish = np.concatenate([np.full(had.sum(), -DAY_MS), np.repeat(day, times) * DAY_MS])
    owner = np.concatenate([np.repeat(np.arange(n), had), np.repeat(creator, times)])
    item = np.repeat(np.cumsum(had) - had, (30 * seen).astype(int))
    shown = np.tile(item, days)
    when = np.repeat(np.arange(days), len(item)) * DAY_MS
    every = np.ones(len(shown), bool)
    return Exposed(shown, when, every, every, publish, owner, n, days)


def test_the_answer_of_creators_is_found_again():
    for answer in (0.0, 0.35):
        found = creators_answer(creators_log(answer, n=400), 4)
        assert found.slope == pytest.approx(answer, abs=0.09)
        assert found.n.sum() <= 3 * 400


def test_a_habit_known_from_few_items_makes_nobody_look_eager():
    found = creators_answer(creators_log(0.0, n=1500, old=3), 5)
    assert found.slope == pytest.approx(0, abs=0.05)
    assert found.posts == pytest.approx(np.ones(5), abs=0.12)


def test_leavers_are_told_from_chance():
    nobody, five = silence(creators_log(0.0)), silence(creators_log(0.0, leavers=5))
    assert nobody.silent == 0 and nobody.n == 40
    assert five.silent == 5 and five.by_chance < 0.1
    assert five.active[-1] == 35 and five.active[6] == 40
    assert "5 of 40" in five.table()


def test_in_our_log_the_well_seen_post_more(lab):
    exposed = Exposed.of(lab.logs)
    found = creators_answer(exposed, 3)
    assert found.posts[-1] > found.posts[0]
    assert 0 < found.slope < 1
    new = exposed.publish_ms >= 0
    assert posts_by_day(exposed).sum() == new.sum()


def test_odd_settings_are_refused(lab):
    exposed = Exposed.of(lab.logs)
    with pytest.raises(ConfigError, match="groups"):
        creators_answer(exposed, 1)
    with pytest.raises(ConfigError, match="top"):
        persistence(exposed, lab.logs.interactions["user_id"], top=0.9)
    with pytest.raises(ConfigError, match="days"):
        silence(exposed, 1000)
