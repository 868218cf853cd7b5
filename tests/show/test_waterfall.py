"""The waterfall shows every call where it was, and how it ended, in words."""

import numpy as np
import pytest

from reclab.blending.trace import OUTCOMES, CallTrace, RouterTrace
from reclab.core.types import Candidates, StageTrace, Trace
from reclab.show.waterfall import waterfall

NONE = Candidates(1, np.zeros(0, int), np.zeros(0, int))
STEPS = tuple(
    StageTrace(name, 0, 0, ms, 0, NONE, ()) for name, ms in (("dispatch", 1), ("blend", 3))
)
CALLS = (
    CallTrace("live", 0.5, 20.0, "ok", 20),
    CallTrace("ad", 0.6, 80.0, "late", note="no answer by the deadline"),
    CallTrace("product", 0.7, 40.0, "hedged"),
    CallTrace("product", 25.0, 40.0, "ok", 12, second=True),
    CallTrace("campaign", 0.8, 0.8, "open"),
    CallTrace("short_video", 0.8, 5.0, "failed", note="live at nowhere: unavailable"),
)
TRACE = RouterTrace(Trace(STEPS), CALLS, 84.0, 100.0)


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.delenv("RECLAB_LANG", raising=False)


def test_every_call_is_one_bar_from_its_begin_to_its_end():
    bars = {}
    for bar in waterfall(TRACE).data:
        for y, base, length in zip(bar.y, bar.base, bar.x, strict=True):
            bars[y] = (base, base + length)
    for call in CALLS[:4]:
        row = "product: second call" if call.second else call.business
        assert bars[row] == pytest.approx((call.begin_ms, call.end_ms))
    assert bars["campaign"][1] > bars["campaign"][0]  # seen, though it took no time
    assert bars["dispatch"] == pytest.approx((80, 81)) and bars["blend"] == pytest.approx((81, 84))
    assert len(bars) == len(CALLS) + len(STEPS)


def test_outcomes_are_written_and_colours_differ():
    named = {bar.name: bar for bar in waterfall(TRACE).data[:-1]}
    assert len(named) == len(OUTCOMES)
    assert len({bar.marker.color for bar in named.values()}) == len(OUTCOMES)
    assert named["late"].text == ("late",) and "no answer by" in named["late"].hovertext[0]
    assert named["ok"].hovertext[0] == "19.5 ms, 20 candidates"


def test_rows_stand_in_order_and_the_deadline_is_drawn():
    fig = waterfall(TRACE, "A page")
    rows = fig.layout.yaxis.categoryarray
    assert rows[-1] == "live" and rows[0] == "blend"
    assert fig.layout.shapes[0].x0 == 100 and fig.layout.title.text == "A page"
    assert fig.alt.startswith("waterfall: ok 2, late 1, failed 1, not asked: breaker open 1")


def test_words_are_chinese_where_wanted(monkeypatch):
    monkeypatch.setenv("RECLAB_LANG", "zh")
    fig = waterfall(TRACE)
    assert "短视频" in fig.layout.yaxis.categoryarray and fig.data[1].name == "超时"


def test_a_page_without_calls_can_be_drawn():
    assert len(waterfall(RouterTrace(Trace(()), (), 0.2, 100.0, degraded=True)).data) == 1
