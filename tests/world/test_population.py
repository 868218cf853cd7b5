"""Users, creators and the catalogue: shapes, ranges, and how they move."""

import numpy as np
import pytest

from reclab.core.chance import rng
from reclab.core.clock import DAY_MS
from reclab.core.errors import ConfigError
from reclab.world.catalogue import AD, LIVE, PRODUCT, Catalogue, ItemsConfig
from reclab.world.creators import CreatorsConfig, choose_follows, make_creators
from reclab.world.traffic import NEVER, TrafficConfig, hour_share, session_starts, start_share
from reclab.world.users import UsersConfig, drift, make_users


def catalogue(n: int = 3000) -> Catalogue:
    made = Catalogue(ItemsConfig(), make_creators(CreatorsConfig(), 200, 0))
    made.fill(n, rng(0, "fill"))
    return made


def test_tastes_are_distributions_and_drift_slowly():
    users = make_users(UsersConfig(), 500, 28, start_share(TrafficConfig()), 0)
    assert users.theta.sum(1) == pytest.approx(1.0)
    moved = drift(UsersConfig(), users.theta, rng(0, "night"))
    assert moved.sum(1) == pytest.approx(1.0)
    change = np.abs(moved - users.theta).sum(1)
    assert np.median(change) < 0.05
    assert 0 < (change > 0.2).sum() < 25  # about one in a hundred found a new topic


def test_age_and_gender_say_something_about_taste():
    users = make_users(UsersConfig(), 4000, 28, start_share(TrafficConfig()), 0)
    age, gender = users.profile["age"], users.profile["gender"]
    group = users.theta[(age < 20) & (gender == 0)].mean(0)
    other = users.theta[(age > 45) & (gender == 1)].mean(0)
    assert np.abs(group - other).sum() > 0.3


def test_rows_of_the_catalogue_are_in_order_of_publication():
    items = catalogue()
    items.post(np.zeros(50, int), rng(0, "times").integers(0, DAY_MS, 50), rng(0, "post"))
    assert len(items) == 3050
    assert (np.diff(items.publish_ms) >= 0).all()
    assert items.n_alive(np.array([-1, DAY_MS])).tolist() == [3000, 3050]


def test_tags_are_distinct_and_their_weights_sum_to_one():
    items = catalogue()
    assert (items.tags[:, 0] >= 0).all()
    for tags, weights in zip(items.tags, items.weights, strict=True):
        used = tags[tags >= 0]
        assert len(set(used)) == len(used) == (weights > 0).sum()
    assert items.weights.sum(1) == pytest.approx(1.0, abs=1e-6)


def test_items_resemble_their_creator():
    items = catalogue()
    made = items.creators
    cosine = (items.style * made.style[items.creator]).sum(1)
    assert cosine.mean() == pytest.approx(0.8, abs=0.02)
    assert np.corrcoef(items.quality, made.quality[items.creator])[0, 1] > 0.6
    own = (items.tags[:, :1] == made.topics[items.creator]).any(1)
    assert own.mean() == pytest.approx(0.86, abs=0.04)


def test_only_products_have_prices_and_only_ads_have_bids():
    items = catalogue()
    assert ((items.price > 0) == (items.business == PRODUCT)).all()
    assert ((items.bid > 0) == (items.business == AD)).all()
    assert items.duration_sec.min() >= 3 and items.duration_sec.max() <= 1200
    assert (items.business == LIVE).any()


def test_creators_who_are_seen_post_more_and_the_starved_leave():
    creators = make_creators(CreatorsConfig(patience=0.5), 100, 0)
    n_items = np.full(100, 10)
    assert (creators.answer(n_items) == 1).all()  # before anything is known
    shown = np.zeros(100)
    shown[:50] = 1000
    creators.see_exposure(shown)
    answer = creators.answer(n_items)
    assert (answer[:50] > 1.2).all() and (answer[50:] == creators.config.answer_low).all()
    chance = rng(0, "posts")
    posts = [creators.posts(500.0, n_items, chance) for _ in range(12)]
    assert not creators.gone[:50].any() and creators.gone[50:].sum() > 40
    assert (posts[-1] < 50).mean() > 0.9


def test_people_follow_whom_they_like_once_each():
    creators = make_creators(CreatorsConfig(), 300, 0)
    users = make_users(UsersConfig(), 400, 28, start_share(TrafficConfig()), 0)
    follows, since = choose_follows(creators, users.theta, users.style, 16, 0)
    for row in follows:
        kept = row[row >= 0]
        assert len(set(kept)) == len(kept)
    used = follows >= 0
    assert (since[used] == -1).all() and used.any()
    taste = np.sqrt(np.take_along_axis(users.theta, creators.topics[follows, 0], 1))
    assert taste[used].mean() > 1.3 * np.sqrt(users.theta).mean()


def test_sessions_are_in_order_within_the_day_and_on_the_curve():
    n = 40_000
    chance = rng(0, "starts")
    config = TrafficConfig(own_hour=0.0)
    active = np.arange(n) % 4 != 0
    starts = session_starts(config, 2, active, np.zeros(n), np.zeros(n), chance)
    assert (starts[~active] == NEVER).all() and (starts[active, 0] < NEVER).all()
    assert (np.diff(starts, axis=1) >= 0).all()
    hour = (starts[starts < NEVER] - 2 * DAY_MS) // (DAY_MS // 24)
    share = np.bincount(hour, minlength=24) / len(hour)
    assert np.abs(share - start_share(config)).max() < 0.005
    assert hour_share().argmax() == 21 and hour_share().argmin() == 4


def test_a_business_mix_that_does_not_sum_to_one_is_refused():
    with pytest.raises(ConfigError, match="sum of ItemsConfig.business_share"):
        ItemsConfig(business_share=(0.5, 0.1, 0.0, 0.0, 0.0, 0.0))
