"""What a reader writes for lesson 04 replaces ours: the same function, the same answers."""

from dataclasses import replace

import numpy as np
import pytest

from reclab.core.errors import DataError
from reclab.degradation_dcaf import DegradationCache, DegradedPath, act
from reclab.degradation_dcaf.max_power import MaxPowerConfig
from reclab.learn import live_04
from reclab.learn.lesson_04 import choose_action, hysteresis, leftovers, pid_step, tune
from reclab.stores.exposures import RecentExposures
from reclab.stores.kv import KV

COST = np.array([1.0, 2.0, 4.0, 8.0])


@pytest.fixture(scope="module")
def gain():
    chance = np.random.default_rng(4)
    return chance.lognormal(0, 1, (500, 1)) * COST ** chance.uniform(0.2, 0.9, (500, 1))


class TestDecision:
    def test_the_right_executor_takes_the_same_actions_as_ours(self, gain):
        for lam, most in ((0.3, np.inf), (1.0, np.inf), (0.3, 2.0)):
            mine = live_04.own_actions(choose_action.choose_action, gain, COST, lam, most)
            assert mine.tolist() == act(gain, COST, lam, most).tolist()

    def test_its_front_rises_and_keeps_to_the_budgets(self, gain):
        front = live_04.own_front(choose_action.choose_action, gain, COST)
        free = np.where(act(gain, COST, 0.0) >= 0, COST[act(gain, COST, 0.0)], 0).mean()
        assert (front.cost <= np.array(live_04.SHARES) * free + 1e-9).all()
        assert (np.diff(front.cost) > 0).all() and (np.diff(front.gain) > 0).all()

    def test_an_executor_that_ignores_the_price_moves_the_plot(self, gain):
        blind = live_04.own_front(lambda g, c, lam, most: g.argmax(1), gain, COST)
        assert np.ptp(blind.cost) == 0 and blind.cost[0] == 8.0

    def test_a_prediction_is_judged_by_the_truth(self, gain):
        noisy = gain * np.random.default_rng(5).lognormal(0, 1, gain.shape)
        ours = choose_action.choose_action
        predicted = live_04.own_front(ours, noisy, COST, gain)
        known = live_04.own_front(ours, gain, COST)
        value = np.interp(0.4 * known.cost[-1], predicted.cost, predicted.gain)
        assert value < np.interp(0.4 * known.cost[-1], known.cost, known.gain)

    @pytest.mark.parametrize(
        "wrong",
        [
            lambda g, *_: g[:, 0],
            lambda g, *_: np.zeros(3, int),
            lambda g, *_: np.full(len(g), 4),
            lambda g, *_: np.full(len(g), -2),
        ],
    )
    def test_what_is_no_action_is_refused(self, gain, wrong):
        with pytest.raises(DataError, match="500 whole numbers from -1 to 3"):
            live_04.own_actions(wrong, gain, COST, 0.3)

    def test_in_a_running_policy_it_goes_by_the_policys_price_and_the_cap(self, gain):
        class Policy:
            cap, lam, seen = 1.0, float("nan"), []

            def decide(self, now_ms, gain):
                self.seen.append(now_ms)
                return np.full(len(gain), -1, np.int16)

            def observe(self, load):
                self.lam = load

        policy = Policy()
        mine = live_04.OwnDecision(choose_action.choose_action, policy, COST, lambda: 2.0)
        assert (mine.decide(1, gain) == -1).all()  # no price yet: the policy's own
        mine.observe(0.3)
        assert mine.decide(2, gain).tolist() == act(gain, COST, 0.3, 2.0).tolist()
        assert policy.seen == [1, 2] and (mine.lam, mine.cap) == (0.3, 1.0)
        assert len(mine.decide(3, gain[:0])) == 0


class TestCap:
    gains = {"proportional": 0.3, "integral": 0.25}

    def test_the_right_step_moves_the_cap_as_max_power_does(self):
        mine = live_04.own_surge(pid_step.pid_step, config=MaxPowerConfig(**self.gains))
        np.testing.assert_allclose(mine.cap, tune.surge(self.gains).cap, rtol=1e-9)

    def test_without_a_set_point_the_cap_never_comes_back(self):
        mine = live_04.own_surge(pid_step.without_set_point)
        assert mine.cap[-1] == 1.0 and mine.cap[:30].min() < 10.0

    def test_without_the_clamp_above_a_quiet_time_delays_the_answer(self):
        idea = next(i for i in pid_step.MISCONCEPTIONS if i.name == "the integral grows above 0")
        config = MaxPowerConfig(**self.gains)
        late = live_04.own_surge(idea.computes, config=config)
        assert late.failing_s > live_04.own_surge(pid_step.pid_step, config=config).failing_s


class TestDegradedPath:
    @pytest.fixture
    def path(self, lab):
        kv, p = KV(namespace="test-live-04"), lab.trained.parts
        yield DegradedPath(
            DegradationCache(kv),
            p.index,
            p.users,
            lambda batch: p.popular.retrieve(batch, 200)[0],
            RecentExposures(kv),
        )
        kv.delete(*kv.names())
        kv.close()

    @pytest.fixture
    def requests(self, lab, path):
        by_user = {request.user_id: replace(request, n=30) for request in lab.requests(40)}
        slates, _ = lab.trained.recommend_batch(list(by_user.values())[:8])
        for slate in slates:
            path.cache.remember(slate)
        return [replace(slate.request, n=10) for slate in slates]

    def pages(self, path, requests, n=3):
        return [path.recommend_batch(requests)[0] for _ in range(n)]

    def test_the_right_function_serves_the_same_pages_as_ours(self, path, requests):
        kept = path.cache.peek([request.user_id for request in requests])
        ours = self.pages(path, requests)
        for request, held in zip(requests, kept, strict=True):
            path.cache.put(request.user_id, *held)
        mine = self.pages(live_04.OwnDegradedPath(leftovers.leftovers, path), requests)
        for one, other in zip(ours, mine, strict=True):
            assert [s.item_id.tolist() for s in one] == [s.item_id.tolist() for s in other]

    def test_a_function_that_keeps_what_it_gave_shows_the_same_page_again(self, path, requests):
        def forgets(item, score, k, barred):
            given, stays = leftovers.leftovers(item, score, k, barred)
            return given, np.concatenate([given, stays])

        first, second, _ = self.pages(live_04.OwnDegradedPath(forgets, path), requests)
        assert [s.item_id.tolist() for s in first] == [s.item_id.tolist() for s in second]

    def test_what_was_shown_since_is_barred(self, path, requests):
        request = requests[0]
        held = path.cache.peek([request.user_id])[0].item_id
        path.exposures.put(request.user_id, held[:5])
        slate, trace = live_04.OwnDegradedPath(leftovers.leftovers, path).recommend(request)
        assert slate.item_id.tolist() == held[5:15].tolist()
        assert sum(len(stage.dropped) for stage in trace.stages) + len(slate) == 20

    def test_a_page_is_full_whatever_the_function_gives_and_when_redis_is_gone(
        self, path, requests
    ):
        def nonsense(item, score, k, barred):
            return np.array([-5, -5]), item[:0]

        slate, trace = live_04.OwnDegradedPath(nonsense, path).recommend(requests[0])
        assert len(slate) == 10 and "10 from the hot pool" in trace.notes[-1]
        path.cache.kv.redis.shutdown(nosave=True)
        slate, trace = live_04.OwnDegradedPath(leftovers.leftovers, path).recommend(requests[1])
        assert len(slate) == 10 and any("no cached answers" in note for note in trace.notes)
        path.cache.kv.reconnect()
        assert live_04.OwnDegradedPath(nonsense, path).recommend_batch([])[0] == []


class TestThreshold:
    demand = 0.85 + 0.1 * np.sin(np.arange(300) / 50)

    def test_two_lines_and_a_hold_switch_less_than_one_line(self):
        one = live_04.own_threshold(lambda load, on, off, hold: load > on, self.demand)
        mine = live_04.own_threshold(hysteresis.hysteresis, self.demand)
        assert one.switches > 5 * mine.switches > 0

    def test_the_load_falls_while_it_is_on(self):
        mine = live_04.own_threshold(hysteresis.hysteresis, self.demand)
        after = np.flatnonzero(mine.degraded[:-1]) + 1
        np.testing.assert_allclose(mine.load[after], 0.5 * self.demand[after])
