"""The join panel: what a knob shows is what the real join makes of the same entries."""

from dataclasses import replace
from time import process_time

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from reclab.core.errors import ConfigError, DataError
from reclab.core.metrics import auc
from reclab.lab import Lab
from reclab.lab.click_model import L2, ClickModel
from reclab.lab.join_panel import FATES, RULES, JoinKnobs, JoinPanel
from reclab.lab.join_panel_build import join_panel
from reclab.lab.join_study import platform_streams
from reclab.offline_online.join.batch_join import batch_join
from reclab.offline_online.join.records import KINDS, is_label
from reclab.offline_online.join.sample_join import SampleJoin, SampleJoinConfig

N = 600
ROUGH = JoinKnobs(loss=0.15, copies=0.3, skew_s=-20, skewed=0.4, forgive_s=10, median=2.0, tail=1.1)


@pytest.fixture(scope="module")
def panel(lab: Lab) -> JoinPanel:
    return join_panel(lab, N, progress=False)


def entries(panel: JoinPanel, knobs: JoinKnobs):
    """Impressions and reports, copies and all, in the order in which they are read."""
    sent, told, shown = panel.sent(knobs), panel.told, panel.shown
    copy, at = np.nonzero(sent.there)
    reports = {"event_id": told["event_id"][at], "event_ms": sent.event_ms[at]}
    reports |= {name: told[name][at] for name in ("req_id", "video_id", "kind", "value")}
    reports["report_ms"] = sent.stamp[copy, at]
    n = len(shown["time_ms"])
    order = np.argsort(np.concatenate([shown["time_ms"], sent.read[copy, at]]), kind="stable")
    return shown, reports, n, order


def by_entry(panel: JoinPanel, knobs: JoinKnobs) -> SampleJoin:
    """The streaming join, one entry at a time, with its samples."""
    shown, reports, n, order = entries(panel, knobs)
    remember = 2 * 86_400_000  # so that late is told from unknown
    config = SampleJoinConfig(knobs.allowed_s * 1000, knobs.forgive_s * 1000, remember, ())
    join = SampleJoin(panel.rule(knobs), config)
    join.given = []
    for i in order.tolist():
        part, k = (shown, i) if i < n else (reports, i - n)
        one = {name: column[k : k + 1] for name, column in part.items()}
        found = join.update(one) if i < n else join.update(None, one)
        if len(found.samples):
            join.given.append(found.samples)
    join.given.append(join.flush().samples)
    return join


@pytest.mark.parametrize(
    "knobs",
    [
        ROUGH,
        replace(ROUGH, rule="session", disorder_s=60, window_min=5),
        replace(ROUGH, disorder_s=90, allowed_s=30, window_min=2),
        replace(ROUGH, rule="hazard", disorder_s=60),
        replace(ROUGH, rule="priced", disorder_s=90, allowed_s=20, window_min=60),
        replace(ROUGH, rule="priced", disorder_s=60, allowed_s=60),
    ],
    ids=lambda k: f"{k.rule}-{k.disorder_s}-{k.allowed_s}",
)
def test_it_joins_what_the_streaming_join_joins_entry_by_entry(panel: JoinPanel, knobs: JoinKnobs):
    day, join = panel.serve(knobs), by_entry(panel, knobs)
    count, fates = join.report().count, np.bincount(day.fate, minlength=len(FATES))
    assert join.report().balanced
    assert count["on_time"] == fates[0] and count["late"] == fates[1] + fates[2]
    assert count["early"] == fates[3] and count["duplicate_reports"] == day.doubled > 0
    assert day.join_rate == pytest.approx(join.report().join_rate)
    keys = [np.concatenate([part[name] for part in join.given]) for name in ("req_id", "video_id")]
    order = np.lexsort(keys[::-1])
    clicked = np.concatenate([is_label(part, "click") for part in join.given])[order]
    closes = np.concatenate([part["close_ms"] for part in join.given])[order]
    mine = np.lexsort((panel.shown["video_id"], panel.shown["req_id"]))
    assert (day.clicked[mine] == clicked).all() and (day.close_ms[mine] == closes).all()


def test_without_disorder_it_is_the_batch_join_with_its_own_matching(panel: JoinPanel):
    for rule in RULES:
        knobs = replace(ROUGH, rule=rule)
        shown, reports, _, _ = entries(panel, knobs)
        config = SampleJoinConfig(0, knobs.forgive_s * 1000, carry=())
        samples = batch_join(shown, reports, panel.rule(knobs), config)
        mine = np.lexsort((panel.shown["video_id"], panel.shown["req_id"]))
        assert (panel.serve(knobs).clicked[mine] == is_label(samples, "click")).all()


def test_as_it_opens_it_is_the_days_own_log(lab: Lab, panel: JoinPanel):
    whole = join_panel(lab, 10**6, progress=False)
    day = whole.serve(JoinKnobs())
    now = platform_streams(lab.logs, day=lab.world.config.days - 2).now
    today = now.shown["time_ms"] < now.shown["time_ms"][0] // 86_400_000 * 86_400_000 + 86_400_000
    delay = now.delay_ms[today[now.row]]
    refused = day.shares[4]  # the gateway's: more than a day old
    assert refused == pytest.approx((delay > 86_400_000 + 1_800_000).mean(), abs=1e-3)
    assert day.shares[0] == pytest.approx((delay <= 1_200_000).mean())
    assert whole.in_day == 1.0 and panel.in_day > 5


def test_the_refit_is_the_full_fit(panel: JoinPanel):
    model, day = panel.model, panel.serve(replace(ROUGH, window_min=1))
    told = LogisticRegression(C=1 / L2, max_iter=2000, tol=1e-8)
    told.fit(model.x[:, :-1], day.clicked)
    w = model.fit(day.clicked)
    assert w[:-1] == pytest.approx(told.coef_[0], abs=2e-3)
    assert w[-1] == pytest.approx(told.intercept_[0], abs=2e-3)
    theirs = told.predict_proba(model.judged[:, :-1])[:, 1]
    assert day.quality.auc == pytest.approx(auc(model.truth, theirs), abs=2e-4)
    assert day.quality.said == pytest.approx(theirs.sum() / model.truth.sum(), rel=1e-3)


def test_late_labels_cost_quality_and_lost_ones_only_the_level(lab: Lab):
    panel = join_panel(lab, 10**6, progress=False)
    whole, short, lossy = (
        panel.serve(JoinKnobs(**k)).quality for k in ({}, {"window_min": 1}, {"loss": 0.35})
    )
    assert short.auc < whole.auc - 0.02 and short.said < 0.7  # late is not at random
    assert abs(lossy.auc - whole.auc) < 0.01 and lossy.said < 0.7  # lost is


def test_one_class_of_labels_has_an_end(panel: JoinPanel):
    w = panel.model.fit(np.zeros(len(panel.model.x), bool))
    assert np.isfinite(w).all() and panel.model.quality(w).said < 0.01
    with pytest.raises(DataError, match="with a click"):
        ClickModel(panel.model.x, np.zeros(len(panel.model.x)), panel.model.judged, [0, 1])


def test_knobs_out_of_range_are_refused():
    for wrong in ({"rule": "none"}, {"window_min": 7}, {"loss": 1.5}, {"disorder_s": 500}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            JoinKnobs(**wrong)


def test_fates_and_delays_add_up(panel: JoinPanel):
    day = panel.serve(replace(ROUGH, disorder_s=120, window_min=1))
    assert day.shares.sum() == pytest.approx(1) and (day.shares > 0).sum() >= 5
    share, lost = day.lost_by_delay
    assert (share * np.nan_to_num(lost)).sum() == pytest.approx(1 - day.shares[0])
    assert day.points[0, 1] == pytest.approx(day.shares[0])
    assert KINDS[0] == "click" and day.clicked.sum() < len(day.clicked)


def test_a_move_takes_milliseconds(panel: JoinPanel):
    panel.serve(ROUGH)
    start = process_time()
    for window in (1, 5, 20, 240):
        panel.serve(replace(ROUGH, window_min=window, disorder_s=120))
    print(f"{250 * (process_time() - start):.1f} ms a move of {len(panel.row)} reports")
