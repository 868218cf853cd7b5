"""The decision service: what every policy must keep, and what each does."""

import numpy as np
import pytest

from reclab.core.errors import ConfigError, DataError
from reclab.core.protocols import Degradation
from reclab.core.types import Request
from reclab.degradation_dcaf.actions import Costs
from reclab.degradation_dcaf.dcaf import act
from reclab.degradation_dcaf.dcaf_policy import DCAF, TIES, DCAFConfig
from reclab.degradation_dcaf.decision import DecisionConfig, DecisionService, Ladder, Measured
from reclab.degradation_dcaf.load_model import LoadConfig, LoadModel
from reclab.degradation_dcaf.policies import (
    ManualCut,
    Never,
    Overflow,
    PowerMix,
    Quality,
    ThresholdConfig,
    Thresholds,
)
from reclab.degradation_dcaf.price import PriceConfig
from reclab.degradation_dcaf.quality_factor import QualityFactorConfig
from reclab.degradation_dcaf.rl import Learned, LearnedPolicy, LearningConfig, train

NAN = float("nan")
COSTS = Costs(np.ones(5), np.array([0.2, 0.8, 1.5, 2.5, 4.0]), np.full(5, 0.5), 0.2)
LOAD = LoadConfig(cores=16, model_servers=10)
LADDER = Ladder.of(LOAD, COSTS, usual=3)
SAFE = LADDER.safe_qps

POLICIES = {
    "never": lambda: Never(LADDER),
    "manual": lambda: ManualCut(LADDER, 0.4),
    "thresholds": lambda: Thresholds(LADDER, ThresholdConfig(share=0.9)),
    "overflow": lambda: Overflow(LADDER),
    "quality": lambda: Quality(LADDER),
    "power": lambda: PowerMix(LADDER),
    "dcaf": lambda: DCAF(LADDER),
    "dcaf, actions capped": lambda: DCAF(LADDER, DCAFConfig(cut="action")),
    "dcaf, price alone": lambda: DCAF(LADDER, DCAFConfig(cut="none")),
    "learned": lambda: LearnedPolicy(LADDER, learned()),
}


def learned() -> Learned:
    """A short training."""
    if not hasattr(learned, "made"):
        mean = gains(2000).mean(0)
        learned.made = train(LADDER, LOAD, COSTS, mean, 1.0, LearningConfig(steps=40_000))
    return learned.made


def gains(n: int, seed: int = 0) -> np.ndarray:
    """(n, 5) concave gains, float32."""
    chance = np.random.default_rng(seed)
    half = 0.1 + 0.3 * chance.random((n, 1))
    gain = chance.gamma(1, 1, (n, 1)) * np.log1p((LADDER.cost - LADDER.degraded) / half)
    return gain.astype(np.float32)


def measured(now_s: float, load: float = 1.0, **other: float) -> Measured:
    """A quiet minute at ``load`` times what the safe line carries."""
    told = {"cpu": 0.3, "gpu": 0.75 * load, "qps": load * SAFE, "p50_ms": 5.0, "p99_ms": 12.0}
    return Measured(int(now_s * 1000), **(told | {"failure": 0.0} | other))


def closed(policy, loads: list[float], model: LoadModel | None = None) -> list[Measured]:
    """The policy and the load model, around each other."""
    model, told, gain = model or LoadModel(LOAD, COSTS), [], gains(400)
    for second, load in enumerate(loads):
        action = policy.decide(1000 * second, gain)
        counts = np.bincount(action + 1, minlength=6) / len(gain) * load * SAFE
        tick = model.tick(counts[1:], float(counts[0]))
        failure = (tick.failed + counts[0] * tick.degraded_lost) / max(load * SAFE, 1e-9)
        seen = (tick.cpu, tick.gpu, load * SAFE, tick.p50_ms, tick.p99_ms, float(failure))
        told.append(Measured(1000 * (second + 1), *seen))
        policy.observe(told[-1])
    return told


@pytest.fixture(params=POLICIES)
def policy(request):
    return POLICIES[request.param]()


def test_an_action_for_every_request_and_none_for_none(policy):
    for second in range(40):
        action = policy.decide(1000 * second, gains(64, second))
        assert action.shape == (64,) and action.dtype == np.int16
        assert action.min() >= -1 and action.max() < 5
        policy.observe(measured(second, 1.0 + second % 7))
    empty = policy.decide(99_000, np.zeros((0, 5), np.float32))
    assert empty.shape == (0,) and empty.dtype == np.int16


def test_what_was_not_measured_and_clocks_that_jump_leave_a_good_state(policy):
    for second in range(30):
        policy.decide(1000 * second, gains(64, second))
        policy.observe(measured(second, 3.0, gpu=1.0))
    before = policy.cap, policy.lam
    policy.observe(Measured(30_000, NAN, NAN, NAN, NAN, NAN, NAN))
    assert (policy.cap, policy.lam) == pytest.approx(before, nan_ok=True)
    for now_s in (31, 10**6, 32, -5, 33):
        action = policy.decide(int(now_s * 1000), gains(64))
        policy.observe(measured(now_s, 3.0, cpu=NAN, p99_ms=NAN))
        assert action.min() >= -1 and 0 <= policy.cap <= 2 and not policy.lam < 0


@pytest.mark.parametrize("name", ["overflow", "power", "dcaf", "dcaf, actions capped", "learned"])
def test_failures_end_within_seconds_of_a_surge(name: str):
    told = closed(POLICIES[name](), [0.8] * 40 + [5.0] * 60 + [0.8] * 60)
    assert sum(m.failure for m in told[48:]) < 0.05
    assert np.mean([m.gpu for m in told[-20:]]) == pytest.approx(
        np.mean([m.gpu for m in told[20:40]]), rel=0.1
    )


def test_never_fails_in_a_surge():
    assert closed(POLICIES["never"](), [5.0] * 10)[-1].failure > 0.5


def test_a_cut_by_hand_neither_sees_nor_ends():
    cut = ManualCut(LADDER, 0.4)
    closed(cut, [0.1] * 5 + [8.0] * 5)
    assert np.mean(cut.decide(0, gains(1000)) == -1) == pytest.approx(0.4, abs=0.002)
    assert (ManualCut(LADDER).decide(0, gains(10)) == -1).all()


def test_overflow_routes_away_what_is_beyond_capacity_whoever_it_is():
    overflow, gain = Overflow(LADDER), gains(4000)
    for load in (0.5, 1.0, 2.0, 8.0):
        overflow.observe(measured(1, load))
        action = overflow.decide(1000, gain)
        spend = np.where(action < 0, LADDER.degraded, LADDER.cost[3]).mean() * load * SAFE / 1000
        assert spend == pytest.approx(min(load, 1.0) * LADDER.safe, rel=0.01)
    live = action >= 0
    spread = gain[:, 3].std() / np.sqrt(live.sum())
    assert abs(gain[live, 3].mean() - gain[:, 3].mean()) < 3 * spread


def test_thresholds_do_not_flap_around_the_line():
    """CPU swings by a tenth around the line: with one line and no hold it flaps, with two not."""
    line = [0.85 + 0.06 * np.sin(second / 3) for second in range(300)]

    def switches(config: ThresholdConfig) -> int:
        rule, states = Thresholds(LADDER, config), []
        for second, cpu in enumerate(line):
            rule.observe(measured(second, 0.5, cpu=cpu))
            states.append(rule.degraded)
        return int(np.abs(np.diff(states)).sum())

    naked = {"on": {"cpu": 0.85}, "off": {"cpu": 0.85}, "hold_s": 0.0}
    assert switches(ThresholdConfig(**naked)) > 20
    assert switches(ThresholdConfig(**naked | {"off": {"cpu": 0.75}})) <= 1
    assert switches(ThresholdConfig(**naked | {"hold_s": 60.0})) <= 10


def test_thresholds_that_see_only_what_they_have_relieved_go_on_and_off_with_the_hold():
    """CPU and GPU fall as soon as all is degraded; the traffic does not."""
    surge = [0.9] * 10 + [4.0] * 200

    def switches(names: tuple[str, ...]) -> int:
        lines = {name: ThresholdConfig().on[name] for name in names}
        off = {name: ThresholdConfig().off[name] for name in names}
        rule, states = Thresholds(LADDER, ThresholdConfig(on=lines, off=off, hold_s=20)), []
        for second in range(len(surge)):
            states.append(rule.degraded)
            live = 0.0 if rule.degraded else 1.0
            rule.observe(measured(second, surge[second], gpu=min(live * surge[second], 1.0)))
        return int(np.abs(np.diff(states)).sum())

    assert switches(("cpu", "gpu")) > 6
    assert switches(("cpu", "gpu", "qps")) == 1


def test_a_threshold_holds_while_a_signal_is_missing():
    rule = Thresholds(LADDER)
    rule.observe(measured(0, 3.0))
    assert rule.degraded
    for second in range(1, 100):
        rule.observe(measured(second, 0.5, cpu=NAN))
    assert rule.degraded
    rule.observe(measured(101, 0.5, p99_ms=NAN))  # nothing live was answered, nothing failed
    assert not rule.degraded


def test_the_quality_factor_gives_all_the_same_and_two_levels_at_most():
    quality = Quality(LADDER, QualityFactorConfig(step=0.01))
    for second in range(5):
        quality.observe(measured(second, 2.0, p50_ms=150.0, p99_ms=300.0))
    action = quality.decide(6000, gains(1000))
    levels = np.unique(action)
    assert len(levels) <= 2 and np.ptp(levels) <= 1 and quality.cap < 1
    spent = np.append(LADDER.degraded, LADDER.cost)[action + 1].mean()
    wanted = max(quality.cap * LADDER.cost[3], LADDER.degraded)
    assert spent == pytest.approx(wanted, rel=0.01)


def test_dcaf_acts_at_its_price_and_gives_more_to_those_who_gain_more():
    dcaf = DCAF(LADDER, DCAFConfig(cut="none"))
    for second in range(30):
        dcaf.decide(1000 * second, gains(64, second))
        dcaf.observe(measured(second, 3.0))
    gain = gains(3000, 7)
    action = dcaf.decide(31_000, gain)
    low, high = (act(gain, dcaf.cost, dcaf.lam * (1 + off)) for off in (-TIES / 2, TIES / 2))
    sure = low == high  # requests whose action is the same for a price a little apart
    assert sure.mean() > 0.9 and (action[sure] == low[sure]).all()
    spend = np.append(LADDER.degraded, LADDER.cost)[action + 1].mean()
    assert spend == pytest.approx(LADDER.budget(3 * SAFE), rel=0.12)  # 400 rows solved it
    assert gain[action == -1, 3].mean() < gain[action >= 0, 3].mean() / 2


def test_where_the_same_is_told_of_everybody_lots_decide_and_the_servers_stay_busy_and_safe():
    """There is no price at which some act and others do not."""
    dcaf, alike = DCAF(LADDER), np.tile(gains(1000, 7).mean(0), (500, 1)).astype(np.float32)
    used = []
    for second in range(120):
        action = dcaf.decide(1000 * second, alike)
        spend = np.append(LADDER.degraded, LADDER.cost)[action + 1].mean()
        used.append(2 * SAFE * spend / 1000)
        dcaf.observe(measured(second, 2.0, cpu=used[-1], gpu=min(used[-1], 1.0)))
    last = np.array(used[60:])
    assert dcaf.price.alike and last.max() < 0.9 and last.min() > 0.6
    assert len(np.unique(action)) == 2 and np.ptp(action) == 1  # two levels that lie side by side


@pytest.mark.parametrize("cut", ["price", "action"])
def test_max_power_brings_all_down_to_the_degraded_path_if_it_must(cut: str):
    slow = DCAFConfig(cut=cut, price=PriceConfig(refresh_s=1000))
    dcaf = DCAF(LADDER, slow)
    closed(dcaf, [0.9] * 10)
    shares = []
    for second in range(10, 40):
        action = dcaf.decide(1000 * second, gains(500))
        shares.append(np.mean(action >= 0))
        dcaf.observe(measured(second, 0.9, gpu=1.0, failure=0.3))
    assert shares[0] > 0.6 and shares[-1] < 0.1
    assert (np.diff(shares) <= 0.01).all()  # but for the lots of those near the price
    for second in range(40, 120):
        dcaf.observe(measured(second, 0.9, gpu=0.5))
    assert np.mean(dcaf.decide(120_000, gains(500)) >= 0) >= shares[0] - 0.01


def test_a_new_price_takes_over_what_max_power_has_cut():
    dcaf = DCAF(LADDER, DCAFConfig(price=PriceConfig(refresh_s=20)))
    told = closed(dcaf, [0.9] * 30 + [6.0] * 60)
    assert dcaf.cap > 0.9  # MaxPower is back
    assert np.std([m.gpu for m in told[60:]]) < 0.05  # and nothing jumped


@pytest.mark.parametrize("cut", ["price", "action", "none"])
def test_gains_below_zero_are_never_taken_however_loaded(cut: str):
    dcaf, gain = DCAF(LADDER, DCAFConfig(cut=cut)), -gains(200)
    for second in range(40):
        action = dcaf.decide(1000 * second, gain)
        dcaf.observe(measured(second, 3.0, gpu=1.0 if second % 9 < 4 else 0.2))
    assert (action == -1).all() and 0 <= dcaf.lam < np.inf


def test_new_rows_move_the_price_though_traffic_is_the_same():
    dcaf = DCAF(LADDER, DCAFConfig(price=PriceConfig(refresh_s=10, keep_s=20)))
    for second in range(60):
        dcaf.decide(1000 * second, gains(64, second) * (1 if second < 30 else 3))
        dcaf.observe(measured(second, 2.0, gpu=0.75))
        if second == 29:
            before = dcaf.lam
    assert dcaf.lam == pytest.approx(3 * before, rel=0.2)


def test_in_quiet_hours_requests_cost_no_more_than_the_usual_on_average():
    for most in (1.0, 0.6):
        dcaf = DCAF(LADDER, DCAFConfig(most=most))
        closed(dcaf, [0.1] * 60)
        spent = np.append(LADDER.degraded, LADDER.cost)[dcaf.decide(61_000, gains(400)) + 1]
        assert spent.mean() == pytest.approx(most * LADDER.cost[3], rel=0.03)
        assert dcaf.cap == 1.0  # and MaxPower has not wound up


def test_a_request_of_which_nothing_is_known_is_treated_by_the_rule():
    dcaf = DCAF(LADDER)
    for second in range(30):
        dcaf.decide(1000 * second, gains(64, second))
        dcaf.observe(measured(second, 2.0))
    gain = gains(1000, 3)
    gain[::2] = NAN
    gain[1, 0] = NAN  # of this one the rest is known
    action = dcaf.decide(31_000, gain)
    assert (action[1::2] == act(gain[1::2], dcaf.cost, dcaf.lam)).all()
    assert set(action[::2].tolist()) == {-1, 3}
    assert np.mean(action[::2] == 3) == pytest.approx(LADDER.live_share(2 * SAFE), abs=0.05)


def test_a_constant_value_model_still_fills_the_budget_no_further():
    dcaf = DCAF(LADDER, DCAFConfig(cut="none"))
    for second in range(30):
        dcaf.decide(1000 * second, np.ones((64, 5), np.float32))
        dcaf.observe(measured(second, 3.0))
    action = dcaf.decide(31_000, np.ones((64, 5), np.float32))
    assert np.append(0, dcaf.cost)[action + 1].mean() <= LADDER.budget(3 * SAFE)


# ---- the service ---------------------------------------------------------------------------


def service(policy=None, **settings) -> DecisionService:
    return DecisionService(policy or Never(LADDER), LADDER, config=DecisionConfig(**settings))


def test_the_flag_is_one_where_nothing_is_computed():
    asked = [Request(user_id=user, time_ms=1000) for user in range(50)]
    flags = service(ManualCut(LADDER, 0.5)).flags(asked)
    assert flags.sum() == pytest.approx(25, abs=1)
    router_sees: Degradation = service(ManualCut(LADDER, 1.0))
    assert router_sees.flags(asked[:1]).tolist() == [1]
    assert not service().flags(asked).any() and service().flags([]).shape == (0,)


def test_gains_reach_the_policy_through_the_flag():
    def gain_of(requests):
        return np.outer([request.user_id for request in requests], np.ones(5)).astype(np.float32)

    dcaf = DCAF(LADDER)
    asks = DecisionService(dcaf, LADDER, gain_of)
    for second in range(60):
        asks.flags([Request(user, second * 1000) for user in range(64)])
        asks.observe(measured(second, 4.0))
    flags = asks.flags([Request(user, 60_000) for user in range(64)])
    assert flags[0] == 1 and flags[-1] == 0 and (np.diff(flags) <= 0).all()


def test_without_measurements_the_service_counts_by_itself():
    asks = service(stale_s=10.0)
    asks.observe(measured(0))
    beyond = int(4 * SAFE)
    for second in range(15):
        action = asks.decide(1000 * second, gains(beyond))
    assert np.mean(action == 3) == pytest.approx(LADDER.live_share(beyond), abs=0.01)
    asks.observe(Measured(15_000, NAN, NAN, NAN, NAN, NAN, NAN))  # that is none
    assert (asks.decide(15_000, gains(beyond)) == -1).any()
    asks.observe(measured(16))
    assert (asks.decide(16_000, gains(beyond)) == 3).all()


def test_a_clock_that_jumps_forward_is_safe_and_one_that_goes_back_begins_anew():
    asks = service()
    asks.observe(measured(100))
    assert (asks.decide(10**12, gains(50)) == 3).all()  # counts: fifty are no surge
    assert (asks.decide(5_000, gains(50)) == 3).all()
    assert asks._since_ms == 5_000


def test_gains_of_another_shape_are_refused():
    with pytest.raises(DataError, match=r"gain must be \(n, 5\)"):
        service().decide(0, np.zeros((3, 4)))


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Ladder(np.array([2.0, 1.0]), 0.1, 0), "Ladder.cost"),
        (lambda: Ladder(np.zeros(0), 0.1, 0), "Ladder.cost"),
        (lambda: Ladder(np.array([1.0, 2.0]), 1.5, 0), "Ladder.degraded"),
        (lambda: Ladder(np.array([1.0, 2.0]), 0.1, 2), "Ladder.usual"),
        (lambda: ManualCut(LADDER, 1.5), "ManualCut.share"),
        (lambda: ThresholdConfig(on={"disk": 0.5}, off={"disk": 0.4}), "ThresholdConfig.on"),
        (lambda: ThresholdConfig(on={"cpu": 0.5}, off={"cpu": 0.6}), "ThresholdConfig.off"),
        (lambda: DecisionConfig(stale_s=NAN), "DecisionConfig.stale_s"),
        (lambda: DCAFConfig(cut="users"), "DCAFConfig.cut"),
        (lambda: LearningConfig(gamma=1.0), "LearningConfig.gamma"),
    ],
)
def test_wrong_settings_are_named(make, named):
    with pytest.raises(ConfigError, match=named):
        make()


# ---- the learned policy --------------------------------------------------------------------


def test_it_learns_to_cut_more_the_more_comes():
    policy, caps = LearnedPolicy(LADDER, learned()), []
    for load in (0.5, 1.2, 3.0, 8.0):
        closed(policy, [load] * 8)
        caps.append(policy.cap)
    assert caps[0] >= 0.8 and caps[-1] < 0.3
    assert (np.diff(caps) <= 0.15).all()


def test_the_same_seed_learns_the_same_and_a_file_brings_it_back(tmp_path):
    few = LearningConfig(steps=500)
    a, b = (train(LADDER, LOAD, COSTS, np.arange(5.0), 1.0, few) for _ in range(2))
    assert (a.q == b.q).all() and a.visits.sum() == 500
    a.save(tmp_path / "learned.npz")
    back = Learned.load(tmp_path / "learned.npz")
    assert (back.q == a.q).all() and (back.visits == a.visits).all()
    (tmp_path / "other.npz").write_bytes(b"no")
    with pytest.raises(DataError, match="other.npz holds no learned policy"):
        Learned.load(tmp_path / "other.npz")


def test_a_load_it_never_saw_is_treated_by_the_rule():
    blank = train(LADDER, LOAD, COSTS, np.arange(5.0), 1.0, LearningConfig(steps=1))
    policy = LearnedPolicy(LADDER, blank)
    policy.observe(measured(0, 5.0))
    assert policy.cap == pytest.approx(LADDER.live_share(5 * SAFE))
