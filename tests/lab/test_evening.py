"""The evening of lesson 04: machines for 20,000 requests a second, and policies going through."""

import numpy as np
import pytest

from reclab.core.errors import ConfigError
from reclab.degradation_dcaf import DCAF, Never, act
from reclab.lab.action_values import action_table
from reclab.lab.evening import POLICIES, SAFE_QPS, Evening, Knobs, how_busy
from reclab.lab.scenarios import flapping
from reclab.learn.lesson_04.choose_action import choose_action
from reclab.learn.live_04 import OwnDecision, own_evening


@pytest.fixture(scope="module")
def evening(lab):
    table = action_table(lab, "held_out", progress=False)
    gain = table.value - table.fallback[:, None]
    return Evening(table, {"learned": gain, "lies": 2 * gain.mean(0) - gain})


def test_the_machines_carry_the_chapters_number_at_the_safe_line(evening):
    assert SAFE_QPS <= evening.ladder().safe_qps <= 1.1 * SAFE_QPS


def test_a_policy_is_run_once_for_what_it_reads(evening):
    once = evening.run("never")
    assert evening.run("never", Knobs(on=0.9, told="lies")) is once
    assert evening.run("never", Knobs(height=4)) is not once
    priced = evening.run("DCAF + MaxPower")
    assert evening.run("DCAF + MaxPower", Knobs(hold_s=5)) is priced
    assert evening.run("DCAF + MaxPower", Knobs(told="lies")) is not priced


def test_equal_settings_give_what_a_fresh_policy_gives(evening):
    again = evening.send(Never(evening.ladder()))
    assert (again.value == evening.run("never").value).all()


def test_every_policy_fails_less_than_doing_nothing_and_a_lie_costs_value(evening):
    runs = {name: evening.run(name) for name in POLICIES}
    worst = runs["never"].failure_rate
    assert worst > 0.5 and all(runs[n].failure_rate < worst / 4 for n in POLICIES[1:])
    lied = evening.run("DCAF + MaxPower", Knobs(told="lies"))
    assert evening.kept(lied) < evening.kept(runs["DCAF + MaxPower"]) - 0.02
    assert lied.failure_rate < 0.01  # MaxPower holds whatever is believed


def test_a_scenario_of_its_own_takes_the_place_of_the_surge(evening):
    calm = flapping(0.5 * evening.ladder().safe_qps, n_ticks=40)
    run = evening.run("thresholds", None, calm)
    assert len(run.qps) == 40 and run.failure_rate == 0
    assert evening.kept(run) == pytest.approx(1.0, abs=0.05)


def test_a_readers_executor_does_what_ours_does(evening):
    ours, yours = evening.run("DCAF + MaxPower"), own_evening(choose_action, evening)
    # the smoke scale's 120 requests stand for 512, and many of them change at one price
    assert evening.kept(yours) == pytest.approx(evening.kept(ours), abs=0.06)


def test_a_readers_executor_decides_at_the_policys_price(evening):
    policy = DCAF(evening.ladder())
    evening.send(policy)
    gain = evening.say["learned"]
    own = OwnDecision(choose_action, policy, policy.cost).decide(10**6, gain)
    assert (own == act(gain, policy.cost, policy.lam)).all() and len(np.unique(own)) > 2


def test_who_is_not_known_is_said(evening):
    with pytest.raises(ConfigError, match=r"'nobody'.*learned, lies"):
        evening.run("DCAF + MaxPower", Knobs(told="nobody"))
    with pytest.raises(ConfigError, match=r"Knobs.gap"):
        Knobs(on=0.5, gap=0.6)


def test_servers_break_at_their_limit_and_not_before(evening):
    busy = how_busy(evening.table.costs, evening.load)
    calm, full = busy.asked < 0.9, busy.asked > 1.1
    assert busy.failure[calm].max() < 1e-6
    assert busy.failure[full] == pytest.approx(1 - 1 / busy.asked[full], abs=0.01)
    assert (np.diff(busy.p99_ms[calm]) >= -1e-9).all()
