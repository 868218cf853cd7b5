"""Surges: scenarios, the run's accounts, and what each policy makes of eight times the traffic."""

import gzip
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reclab.core.errors import ConfigError, DataError
from reclab.degradation_dcaf.dcaf_policy import DCAF, DCAFConfig
from reclab.degradation_dcaf.decision import Ladder
from reclab.degradation_dcaf.load_model import LoadConfig, LoadModel
from reclab.degradation_dcaf.policies import ManualCut, Never, Overflow, PowerMix, Thresholds
from reclab.lab import scenarios, surge
from tests.lab.surge_table import table

TABLE = table()
LOAD = LoadConfig(cores=16, model_servers=8)
LADDER = Ladder.of(LOAD, TABLE.costs, usual=7)
PEAK = LADDER.safe_qps
SURGE = scenarios.surge(PEAK, 8.0, minutes=4, before=2, after=2, tick_ms=1000)
TRACES = Path(os.environ.get("RECLAB_SHARED", "../shared")) / "data" / "traffic"


def play(policy, scenario=SURGE, **settings) -> surge.Run:
    return surge.run(policy, scenario, TABLE, LOAD, **settings)


def test_a_day_has_the_platforms_tide():
    day = scenarios.tidal_day(1000.0, 240)
    hour = np.arange(240) / 10
    assert day.qps.max() == pytest.approx(1000) and 20 <= hour[day.qps.argmax()] <= 23
    assert 2.5 <= hour[day.qps.argmin()] <= 5.5
    assert day.qps.max() / day.qps.min() == pytest.approx(22.1 / 2.6, rel=0.05)


def test_a_surge_multiplies_the_tide_and_ends():
    start, end = SURGE.surge
    assert (start, end, len(SURGE)) == (120, 360, 480)
    assert SURGE.qps[200] / SURGE.qps[100] == pytest.approx(8, rel=0.02)
    assert SURGE.qps[end] / SURGE.qps[100] == pytest.approx(1, rel=0.02)
    assert (np.diff(SURGE.qps[start : start + 10]) > 0).all()
    at_once = scenarios.step(1000.0, 3.0, before=1, minutes=1, after=1).qps
    assert at_once[30] / at_once[29] == pytest.approx(3, rel=0.01)
    assert at_once[60] / at_once[59] == pytest.approx(1 / 3, rel=0.01)
    swings = scenarios.flapping(1000.0, 0.1).qps
    assert swings.max() == pytest.approx(1100, rel=0.01) and swings.min() < 910


def test_a_trace_of_counts_and_one_of_requests_are_read(tmp_path):
    counts = "minute,clicks\n" + "".join(
        f"2020-01-01 00:{m:02d}:00,{(m % 10) + 1}\n" for m in range(60)
    )
    with gzip.open(tmp_path / "clicks.csv.gz", "wt") as file:
        file.write(counts)
    told = scenarios.from_trace(tmp_path / "clicks.csv.gz", 500.0, n_ticks=60)
    assert told.name == "clicks" and told.qps.max() == pytest.approx(500)
    assert told.qps[0] == pytest.approx(50)
    lines = ["TIMESTAMP,a,b", *(f"2020-01-01 00:00:{s:02d}.123456789,1,2" for s in [0, 9, 9, 9])]
    (tmp_path / "calls.csv").write_text("\n".join(lines))
    told = scenarios.from_trace(tmp_path / "calls.csv", 300.0, n_ticks=3)
    assert told.qps.tolist() == pytest.approx([100, 0, 300])


@pytest.mark.parametrize("text", ["", "a,b\n", "a,b\nsoon,1\n", "a,b\n2020-01-01,many\n"])
def test_what_is_no_trace_is_refused_by_name(tmp_path, text):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(DataError, match="bad.csv"):
        scenarios.from_trace(tmp_path / "bad.csv", 100.0)
    with pytest.raises(DataError, match=r"gone.csv is no trace"):
        scenarios.from_trace(tmp_path / "gone.csv", 100.0)


@pytest.mark.skipif(not TRACES.is_dir(), reason="needs shared/data/traffic")
def test_real_traces_pass_through():
    for path in sorted(TRACES.glob("*.csv.gz")):
        told = scenarios.from_trace(path, 1.2 * PEAK, n_ticks=200)
        run = play(DCAF(LADDER), told)
        assert told.qps.max() == pytest.approx(1.2 * PEAK) and told.lapse > 1
        assert run.failure_rate < 0.02 and np.isfinite(run.value).all()


def test_values_costs_and_shares_are_those_of_the_actions_taken():
    """Everyone gets the usual action at a load that never waits."""
    quiet = scenarios.tidal_day(0.3 * PEAK, 50)
    run = play(Never(LADDER), quiet)
    rows = surge.Sample.of(TABLE).rows
    assert run.value / run.qps == pytest.approx(np.full(50, TABLE.value[rows, 7].mean()))
    assert run.cost / run.qps == pytest.approx(np.full(50, TABLE.costs.total_ms[7] / 1000))
    assert run.tail == pytest.approx(np.full(50, TABLE.tail[rows, 7].mean()))
    assert (run.share[:, 8] == 1).all() and run.failure_rate < 1e-9
    assert run.total_value == pytest.approx(run.value.sum() * 2)
    cut = play(ManualCut(LADDER), quiet)
    assert cut.value / cut.qps == pytest.approx(np.full(50, TABLE.fallback[rows].mean()))
    assert (cut.share[:, 0] == 1).all() and np.isnan(cut.p99_ms).all() and (cut.tail == 0).all()


def test_a_request_that_fails_is_worth_nothing_and_costs_nothing():
    run = play(Never(LADDER))
    inside = slice(200, 340)
    lost = run.failure[inside]
    assert lost.min() > 0.75
    rows = surge.Sample.of(TABLE).rows
    each = TABLE.value[rows, 7].mean() * (1 - lost)
    assert run.value[inside] / run.qps[inside] == pytest.approx(each)
    assert run.failure_rate == pytest.approx((run.failure * run.qps).sum() / run.qps.sum())
    assert run.worst_minute >= run.failure_rate


def test_the_same_seed_runs_the_same_and_another_does_not():
    a, b, c = (play(DCAF(LADDER), seed=seed) for seed in (1, 1, 2))
    assert (a.value == b.value).all() and (a.qps != c.qps).any()
    assert len(a.seconds) == len(a.value) == len(a.cap) == len(SURGE)


def test_asking_only_when_the_policy_has_moved_changes_nothing(monkeypatch):
    for make in (lambda: Thresholds(LADDER), lambda: DCAF(LADDER, DCAFConfig(cut="none"))):
        lazy = play(make())
        with monkeypatch.context() as patch:
            patch.setattr(surge, "ASK", 1)
            eager = play(make())
        assert lazy.total_value == pytest.approx(eager.total_value, rel=0.01)
        assert lazy.failure_rate == pytest.approx(eager.failure_rate, abs=0.003)


def test_in_a_surge_dcaf_keeps_failures_low_and_loses_least():
    runs = {
        "never": Never(LADDER),
        "all by hand": ManualCut(LADDER),
        "overflow": Overflow(LADDER),
        "power": PowerMix(LADDER),
        "price alone": DCAF(LADDER, DCAFConfig(cut="none")),
        "dcaf": DCAF(LADDER),
    }
    told = {name: play(policy) for name, policy in runs.items()}
    assert told["never"].failure_rate > 0.5
    assert told["price alone"].failure_rate > 0.01  # for as long as the price is old
    assert told["dcaf"].failure_rate < 0.005
    safe = [name for name, run in told.items() if run.failure_rate < 0.005 and name != "dcaf"]
    assert len(safe) >= 3
    assert told["dcaf"].total_value > 1.1 * max(told[name].total_value for name in safe)


def test_after_a_surge_dcaf_recovers_within_seconds_and_it_does_not_swing():
    run = play(DCAF(LADDER))
    assert run.recovery_s <= 30
    assert run.swings[0] <= 2 and run.swings[1] < 0.1
    assert np.isnan(play(DCAF(LADDER), scenarios.tidal_day(PEAK)).recovery_s)
    assert np.isnan(play(ManualCut(LADDER, 0.0), replace(SURGE, surge=(0, len(SURGE)))).recovery_s)


def test_turns_are_counted_beyond_a_least_swing():
    wave = np.sin(np.arange(200) / 5)
    assert surge.turns(wave, 0.5) == 12 and surge.turns(wave, 0.0) == 13  # the last is small
    assert surge.turns(0.1 * wave, 0.5) == 0 and surge.turns(np.ones(9), 0.0) == 0
    assert surge.turns(np.arange(9.0), 0.5) == 0


def test_an_estimator_that_says_nothing_leaves_the_rule_of_chance():
    silent = replace(TABLE, told=np.full_like(TABLE.told, np.nan))
    run = surge.run(DCAF(LADDER), SURGE, silent, LOAD)
    rule = surge.run(Overflow(LADDER), SURGE, silent, LOAD)
    assert run.total_value == pytest.approx(rule.total_value, rel=0.02)


def test_no_traffic_at_all_is_no_error():
    run = play(DCAF(LADDER), scenarios.Scenario("night", np.zeros(20)))
    assert run.total_value == 0 and run.failure_rate == 0 and run.worst_minute == 0
    with pytest.raises(ConfigError, match="Scenario.qps"):
        scenarios.Scenario("bad", np.array([1.0, np.nan]))


def test_the_load_model_of_a_run_has_the_scenarios_tick():
    seen = {}

    class Spy(LoadModel):
        def __init__(self, config, costs):
            seen["tick_ms"] = config.tick_ms
            super().__init__(config, costs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(surge, "LoadModel", Spy)
        play(Never(LADDER), scenarios.tidal_day(PEAK, 10, tick_ms=500))
    assert seen["tick_ms"] == 500
