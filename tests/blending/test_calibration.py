"""From scores that cannot be compared to probabilities, to one currency, to a page."""

import numpy as np
import pytest

from reclab.blending.allocation import (
    DualPrices,
    PageRules,
    PricedPage,
    Quotas,
    RatioWeave,
    WeightedSum,
    violations,
)
from reclab.blending.calibration import (
    CalibrateStage,
    ScoreCalibration,
    ScoreCalibrationConfig,
)
from reclab.blending.currency import Currency, Outcomes, ValueStage
from reclab.blending.service import BlendingService
from reclab.core.errors import ConfigError, DataError, NotBuilt
from reclab.core.metrics import auc, ece
from reclab.core.types import Candidates
from tests.blending.pages import random_pages

NAMES = ("video", "live", "ad")
SCALE = np.array([1.0, 300.0, 0.001])  # of each business's scores
SHIFT = np.array([0.0, 5000.0, -3.0])


def shown(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Business, score, label and the true probability of shown cards: a logistic curve in the
    score, of another scale and level in each business."""
    chance = np.random.default_rng(seed)
    business = chance.integers(0, 3, n)
    inner = chance.normal(np.array([-1.0, -2.0, -3.0])[business], 1.0)
    p = 1 / (1 + np.exp(-inner))
    return business, inner * SCALE[business] + SHIFT[business], chance.random(n) < p, p


@pytest.mark.parametrize("kind", ["isotonic", "platt"])
def test_scores_of_every_business_become_probabilities_and_keep_their_order(kind):
    made = ScoreCalibration(NAMES, ScoreCalibrationConfig(kind)).fit(*shown(12_000, 1)[:3])
    business, score, label, truth = shown(12_000, 2)
    p = made.apply(business, score)
    report = made.report(business, score, label)
    for b, name in enumerate(NAMES):
        mine = business == b
        assert report[name]["ece"] < 0.03
        assert np.abs(p[mine] - truth[mine]).mean() < 0.02
        order = np.argsort(score[mine])
        assert (np.diff(p[mine][order]) >= -1e-12).all()
    assert auc(label, p) > auc(label, score) + 0.1  # across businesses the raw scores mislead


def test_platt_learns_from_few_rows_what_isotonic_cannot():
    few, many = shown(400, 3)[:3], shown(20_000, 4)
    errors = {}
    for kind in ("isotonic", "platt"):
        made = ScoreCalibration(NAMES, ScoreCalibrationConfig(kind)).fit(*few)
        errors[kind] = np.abs(made.apply(many[0], many[1]) - many[3]).mean()
    assert errors["platt"] < errors["isotonic"]


def test_a_business_with_few_labels_gets_its_rate_and_is_named():
    business, score, label, _ = shown(3000, 5)
    rare = (business != 2) | (np.cumsum(business == 2) <= 30)
    label = np.where(business == 2, np.cumsum(business == 2) <= 3, label)
    made = ScoreCalibration(NAMES).fit(business[rare], score[rare], label[rare])
    assert made.left_out == {"ad": "3 of 30 labels are positive"}
    assert made.apply(np.array([2, 2]), np.array([0.0, 9e9])) == pytest.approx(4 / 32)
    empty = ScoreCalibration(NAMES).fit(business[:0], score[:0], label[:0])
    assert empty.apply(np.array([0]), np.array([1.0])) == pytest.approx(0.5)


@pytest.mark.parametrize("turn", [0.0, -1.0])
def test_a_score_that_says_nothing_or_the_opposite_becomes_the_rate(turn):
    business, score, label, _ = shown(3000, 6)
    made = ScoreCalibration(NAMES, ScoreCalibrationConfig("platt"))
    made.fit(business, turn * score, label)
    for b in range(3):
        rate = label[business == b].mean()
        assert made.apply(np.array([b]), np.array([1.0])) == pytest.approx(rate, abs=1e-6)


def test_unknown_labels_do_not_count_and_scores_that_are_no_numbers_give_none():
    business, score, label, _ = shown(3000, 7)
    half = np.where(np.arange(3000) % 2, label.astype(float), np.nan)
    whole = ScoreCalibration(NAMES).fit(business[1::2], score[1::2], label[1::2])
    made = ScoreCalibration(NAMES).fit(business, score, half)
    assert (made.apply(business, score) == whole.apply(business, score)).all()
    p = made.apply(np.zeros(3, int), np.array([np.nan, np.inf, 0.0]))
    assert np.isnan(p).tolist() == [True, True, False]


def test_misuse_is_named():
    business, score, label, _ = shown(300, 8)
    with pytest.raises(NotBuilt, match="before fit"):
        ScoreCalibration(NAMES).apply(business, score)
    with pytest.raises(DataError, match="1 of 300 scores of shown cards are NaN"):
        ScoreCalibration(NAMES).fit(business, np.append(np.nan, score[1:]), label)
    with pytest.raises(DataError, match="business 7 has no curve .there are 0..2"):
        ScoreCalibration(NAMES).fit(business, score, label).apply(np.array([7]), np.ones(1))
    with pytest.raises(ConfigError, match="kind must be isotonic or platt, got 'beta'"):
        ScoreCalibrationConfig("beta")


def test_what_an_exposure_brings_is_learned_with_its_event_and_without():
    business, label = np.array([0, 0, 0, 1, 1]), np.array([1, 1, 0, 1, 0])
    made = Outcomes(("video", "ad")).fit(
        business, label, {"watch_sec": np.array([40.0, 60, 4, 10, 2]), "revenue": label * business}
    )
    found = made.expected(np.array([0, 1]), np.array([0.5, 0.25]))
    assert found["watch_sec"].tolist() == [0.5 * 50 + 0.5 * 4, 0.25 * 10 + 0.75 * 2]
    assert found["revenue"].tolist() == [0.0, 0.25]
    with pytest.raises(DataError, match="1 of 5 amounts of revenue are NaN"):
        made.fit(business, label, {"revenue": np.array([1, 2, 3, np.nan, 5])})
    with pytest.raises(NotBuilt):
        Outcomes().expected(business, label)


def test_weights_make_one_value_and_a_missing_objective_is_named():
    currency = Currency({"watch_sec": 0.5, "revenue": 2.0})
    value = currency.value({"watch_sec": np.array([4.0, np.nan]), "revenue": np.ones(2)})
    assert value[0] == 4.0 and np.isnan(value[1])
    with pytest.raises(DataError, match="nothing is expected of revenue .there are: watch_sec"):
        currency.value({"watch_sec": np.ones(1)})
    with pytest.raises(ConfigError, match="Currency.weights of revenue must be in"):
        Currency({"revenue": np.nan})
    with pytest.raises(ConfigError, match="Currency.weights must name objectives"):
        Currency({})


def test_an_objective_that_a_candidate_carries_is_not_predicted_over():
    outcomes = Outcomes(("ad",)).fit(np.zeros(2, int), np.array([0, 1]), {"revenue": np.ones(2)})
    columns = {"business": np.zeros(2, int), "p": np.array([0.5, 0.5])}
    cards = Candidates(1, np.zeros(2, int), np.arange(2), columns)
    stage = ValueStage(outcomes, Currency({"revenue": 1.0}))
    assert stage(None, cards).kept["value"].tolist() == [1.0, 1.0]
    own = cards.with_columns(revenue=np.array([0.3, np.nan]))
    result = stage(None, own)
    assert result.kept["value"].tolist() == [0.3] and result.dropped.item_row.tolist() == [1]


def service(policy) -> BlendingService:
    """A calibrated service for candidates whose scores grow tenfold from business to business."""
    candidates = random_pages(400, seed=1)
    business, score = candidates["business"], candidates["score"]
    chance = np.random.default_rng(2)
    label = chance.random(len(score)) < np.clip(candidates["value"] / 5, 0, 1)
    calibration = ScoreCalibration().fit(business, score, label)
    outcomes = Outcomes().fit(business, label, {"watch_sec": 60.0 * label})
    return BlendingService(calibration, outcomes, Currency({"watch_sec": 1 / 12}), policy)


def test_the_service_blends_businesses_whose_scores_cannot_be_compared():
    candidates = random_pages(50, seed=3)
    truth, columns = candidates["value"], dict(candidates.columns)
    del columns["value"]
    sent = Candidates(50, candidates.request_row, candidates.item_row, columns)
    blended = service(PricedPage())
    kept, trace = blended.blend(sent)
    assert [stage.name for stage in trace.stages] == [
        "candidates", "calibration", "value", "allocation"
    ]  # fmt: skip
    assert len(kept) == 500 and kept["slot"][:10].tolist() == list(range(10))
    pages = np.searchsorted(candidates.item_row, kept.item_row).reshape(50, 10)
    assert violations(pages, candidates, blended.policy.rules) == []
    raw = WeightedSum(blended.policy.rules).allocate(candidates)
    assert truth[kept.item_row].sum() > 1.15 * truth[raw].sum()


def test_what_the_service_showed_moves_its_prices():
    prices = DualPrices(Quotas(high=(1, 0.05, 1, 1, 1, 1)), PageRules(), np.ones(24))
    blended = service(PricedPage(prices=prices))
    kept, _ = blended.blend(random_pages(30, seed=5))
    blended.observe(kept, now_ms=0)
    assert prices.pages == 30
    assert prices.exposures.sum() == pytest.approx(30 * PageRules().weights.sum())
    assert prices.get().business[1] > 0  # too much of live was shown
    with pytest.raises(DataError, match="RatioWeave learns nothing"):
        service(RatioWeave()).observe(kept, now_ms=0)


def test_scores_that_are_no_numbers_leave_with_a_reason():
    candidates = random_pages(1, seed=4)
    broken = candidates.with_columns(score=np.where(candidates["business"] == 1, np.nan, 1.0))
    result = CalibrateStage(service(PricedPage()).calibration)(None, broken)
    assert len(result.kept) == 50 and (result.dropped["business"] == 1).all()
    assert result.reasons == ("its score is not a number",)
    assert ece(np.array([0, 1]), result.kept["p"][:2]) >= 0
