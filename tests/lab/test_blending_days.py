"""lab.blending_days and its feed: a few days of a few people."""

import numpy as np
import pytest

from reclab.core.errors import ConfigError
from reclab.lab.blending_days import COMMON_DAYS, Days, DaysConfig, against, live_days
from reclab.lab.blending_feed import Shown, Till, learn_beliefs
from reclab.world.catalogue import Catalogue
from reclab.world.config import WorldConfig
from reclab.world.creators import make_creators

SMALL = DaysConfig(users=150, days=2, items=1200)


@pytest.fixture(scope="module")
def lived():
    return live_days(SMALL, seed=0, policies=("priced", "revenue greedy", "watch only"))


def test_all_policies_begin_with_the_same_people(lived):
    assert len({float(days.active[0]) for days in lived.values()}) == 1
    assert all(len(days.money) == 2 and days.exposures.min() > 0 for days in lived.values())


def test_the_same_seed_gives_the_same_days(lived):
    again = live_days(SMALL, seed=0, policies=("watch only",))["watch only"]
    assert again.minutes.tolist() == lived["watch only"].minutes.tolist()


def test_greed_shows_more_ads_and_watch_only_shows_none(lived):
    greedy, watch = lived["revenue greedy"], lived["watch only"]
    assert greedy.ad_share.mean() > lived["priced"].ad_share.mean() > 0
    assert not watch.ad_share.any() and not watch.ads.any()
    assert greedy.money.sum() > watch.money.sum() and greedy.minutes.sum() < watch.minutes.sum()


def catalogue():
    config = WorldConfig.at("tiny", 0)
    made = Catalogue(config.items, make_creators(config.creators, 40, 0))
    made.fill(600, np.random.default_rng(0))
    return made


def a_page(item, click):
    shape = np.array(item).shape
    return {
        "item": np.array(item), "click": np.array(click), "seconds": np.ones(shape),
        "affinity": np.zeros(shape),
    }  # fmt: skip


def test_the_till_charges_clicks_on_ads_that_were_shown():
    items = catalogue()
    ads, other = np.flatnonzero(items.business == 3)[:2], np.flatnonzero(items.business == 0)[0]
    payer_of = np.arange(40)
    till = Till(items, payer_of, np.full(40, 0.1), n_users=3)
    shown = np.array([[True, True, True], [True, False, True]])
    page = a_page([[ads[0], ads[1], other], [ads[0], ads[1], other]], [[1, 0, 1], [1, 1, 1]])
    page["click"] = page["click"].astype(bool)
    context = {"user": np.array([0, 1]), "req": np.array([0, 1]), "session": np.array([0, 1])}
    till.add(context, shown, page)
    assert till.spent.sum() == pytest.approx(2 * items.bid[ads[0]])
    assert till.close() == pytest.approx(0.1)  # beyond the budget clicks are free
    assert not till.spent.any()


def test_an_item_seen_today_waits_and_one_never_seen_does_not():
    seen = Shown(2, 5)
    seen.day = 9
    seen.add(np.array([1]), np.array([[3, 4]]), np.array([[True, False]]))
    wait = 9 - seen.last.astype(int)
    assert wait[1, 3] == 0 and wait[1, 4] > 100 and wait[0].min() > 100


def test_dear_products_are_believed_to_sell_less():
    items, chance = catalogue(), np.random.default_rng(1)
    n = 4000
    item = chance.choice(np.flatnonzero(items.business == 2), n)
    price = items.price[item]
    pay = np.where(chance.random(n) < 1 / (1 + price / 10), price, 0.0)
    columns = {
        "item": item, "click": np.ones(n, bool), "long_view": chance.random(n) < 0.5,
        "seconds": np.ones(n), "session": np.arange(n), "time_ms": np.zeros(n),
        "position": np.zeros(n, int),
    }  # fmt: skip
    from reclab.blending.businesses import Money

    beliefs = learn_beliefs(columns, chance.random(n), pay, items, Money(commission=0.1))
    assert beliefs.pay_of[2, 1] < -0.5
    assert beliefs.pay_by_click(items, item).mean() == pytest.approx(0.1 * pay.mean(), rel=0.15)
    assert not beliefs.pay_by_click(items, np.flatnonzero(items.business == 0)).any()


def test_a_policy_against_itself_is_even():
    one = Days(*[np.array([1.0, 2.0])] * 9)
    twice = Days(*[np.array([2.0, 4.0])] * 9)
    found = against({"0/priced": one, "0/greedy": twice}, "greedy")
    assert found.first_money == (1.0, 0.0) and found.money_an_hour == (0.0, 0.0)
    assert against({"0/priced": one}, "priced").last_active == (0.0, 0.0)


def test_bad_settings_are_named():
    with pytest.raises(ConfigError, match="DaysConfig.days"):
        DaysConfig(days=0)
    with pytest.raises(ConfigError, match="free beer"):
        live_days(SMALL, 0, policies=("free beer",))


def test_the_platform_lives_the_common_days_and_the_policys():
    assert SMALL.world(0).days == COMMON_DAYS + SMALL.days
