"""The traffic split: stable, salted, balanced; and the hedge's budget."""

import numpy as np
import pytest

from reclab.blending.experiment import Arm, Experiment
from reclab.blending.hedge import Hedge, HedgeConfig
from reclab.core.errors import ConfigError

USERS = np.arange(200_000)


def split(salt: str, *shares: float) -> np.ndarray:
    return Experiment(salt, [Arm(f"arm {n}", s) for n, s in enumerate(shares)]).arm_of(USERS)


def test_a_user_is_always_in_the_same_arm_alone_or_among_others():
    arms = split("a", 0.5, 0.5)
    one = Experiment("a", [Arm("x", 0.5), Arm("y", 0.5)])
    assert [int(one.arm_of(np.array([user]))[0]) for user in range(50)] == arms[:50].tolist()
    # a constant of the code: another machine or release must deal the same
    assert "".join(map(str, arms[:24])) == KNOWN


KNOWN = "000001110011010001101101"


@pytest.mark.parametrize("salt", ["a", "weave-2", "2026-11", ""])
def test_arms_have_their_shares(salt: str):
    shares = np.array([0.7, 0.2, 0.1])
    counts = np.bincount(split(salt, *shares), minlength=3)
    expected = shares * len(USERS)
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert chi2 < 13.8  # 0.999 quantile, two degrees of freedom


def test_another_salt_deals_independently():
    both = split("a", 0.5, 0.5) * 2 + split("b", 0.5, 0.5)
    counts = np.bincount(both, minlength=4)
    assert ((counts - len(USERS) / 4) ** 2 / (len(USERS) / 4)).sum() < 16.3  # 3 d.o.f.


def test_neighbouring_ids_are_not_dealt_alike():
    arms = split("a", 0.5, 0.5)
    agree = (arms[1:] == arms[:-1]).mean()
    assert abs(agree - 0.5) < 0.005


def test_a_growing_arm_keeps_its_users():
    small, large = split("a", 0.1, 0.9) == 0, split("a", 0.3, 0.7) == 0
    assert (large[small]).all() and large.sum() > small.sum()


def test_negative_and_large_ids_have_arms():
    ids = np.array([-1, 0, 2**62, -(2**62)])
    assert set(Experiment("a", [Arm("x", 1.0)]).arm_of(ids)) == {0}
    assert Experiment("a", [Arm("x", 0.0), Arm("y", 1.0)]).arm_of(ids).tolist() == [1] * 4
    assert Experiment("a", [Arm("x", 1.0)]).arm_of(np.zeros(0)).tolist() == []


@pytest.mark.parametrize(
    ("arms", "words"),
    [
        ([], "at least one arm"),
        ([Arm("a", 0.5), Arm("b", 0.4)], "sum of Arm.share must be 1, got 0.9"),
        ([Arm("a", 0.5), Arm("a", 0.5)], "differ from arm to arm"),
        ([Arm("a", 1.5), Arm("b", -0.5)], r"Arm\('a'\).share"),
    ],
)
def test_arms_that_do_not_add_up_are_refused(arms: list[Arm], words: str):
    with pytest.raises(ConfigError, match=words):
        Experiment("a", arms)


def test_second_calls_stay_within_their_share_also_when_all_calls_are_slow():
    hedge, spent = Hedge(HedgeConfig(share=0.05)), 0
    for _ in range(2000):
        spent += hedge.spend()
        hedge.learn(100.0)
    assert 90 <= spent <= 100
    assert hedge.after_ms == 100.0


def test_a_second_call_is_due_when_most_would_have_answered():
    hedge = Hedge(HedgeConfig(quantile=0.9, window=64))
    for n in range(640):
        hedge.learn(float(n % 64))
    assert hedge.after_ms == pytest.approx(np.quantile(np.arange(64), 0.9))


def test_without_a_share_there_is_never_a_second_call():
    hedge = Hedge(HedgeConfig(share=0.0))
    for _ in range(200):
        hedge.learn(5.0)
    assert hedge.after_ms == float("inf") and not hedge.spend()
    with pytest.raises(ConfigError, match="HedgeConfig.quantile"):
        HedgeConfig(quantile=1.0)
