"""The service over the real cascade of the tiny lab: whatever is down or however many come, ten
valid cards in time.

Times are those of a machine that other programs share. What it stood still is measured beside the
answers (``Heartbeat``), and no answer may be later than the deadline, that, and ``SLACK_MS``.
"""

import threading
import time

import numpy as np
import pytest

from reclab.core.errors import ConfigError
from reclab.lab.served import served
from reclab.lab.serving_drill import CALLERS, DOWN, EVERYTHING, broken_cascade, drill
from reclab.lab.serving_load import one_a_user, overload
from reclab.offline_online.serving.fallback import (
    CACHED,
    EDITORS,
    FRESH,
    HOT,
    NOT_RANKED,
    GateConfig,
)
from reclab.offline_online.serving.latency_budget import BudgetConfig
from reclab.offline_online.serving.serving import ServingConfig

SLACK_MS = 50.0


@pytest.mark.parametrize("down", DOWN)
def test_with_a_dependency_down_every_request_gets_ten_valid_cards_in_time(lab, down):
    told = drill(lab, down, n=40)
    assert told.whole == told.asked == 40
    assert told.worst_ms <= 200 + SLACK_MS + told.stall_ms
    assert told.late <= 2 or told.stall_ms > SLACK_MS
    least = told.rungs
    if down == "retrieval raises":
        assert not least[FRESH] and not least[NOT_RANKED]
    if down in ("retrieval raises", "vector index hangs"):
        assert least[CACHED] > 0
    if down.startswith("feature store"):
        assert least[HOT] == 40
    if down.startswith("ranker"):
        assert not least[FRESH] and least[NOT_RANKED] > 0
    if down.startswith("Redis"):
        assert not least[CACHED]
    if down in ("hot pool empty", EVERYTHING):
        assert least[EDITORS] == 40


def test_what_hangs_holds_up_no_more_workers_than_its_gate_allows(lab):
    told = drill(lab, "vector index hangs", n=40)
    assert 0 < told.left_behind <= 4 + CALLERS  # two a rung, and those already inside
    assert told.p50_ms < 150 + told.stall_ms  # most never meet it


def test_an_index_that_hangs_is_left_out_and_the_fresh_cascade_comes_back(lab):
    release, config = threading.Event(), ServingConfig(BudgetConfig(200.0))
    broken = broken_cascade(lab.trained, "vector index hangs", release)
    with served(lab, config, cascade=broken, gate=GateConfig(retry_ms=300.0)) as online:
        request = lab.requests(1)[0]
        answers, until = [online.serving.answer(request)], time.monotonic() + 15
        while answers[-1].rung != FRESH and time.monotonic() < until:
            time.sleep(0.02)
            answers.append(online.serving.answer(request))
        release.set()
    assert answers[0].rung != FRESH and answers[-1].rung == FRESH
    assert all(len(answer.slate) == 10 for answer in answers)


def test_at_three_times_the_capacity_nobody_waits_beyond_the_deadline(lab):
    usual, crowd = overload(lab, (0.5, 3.0), seconds=1.5)
    for load in (usual, crowd):
        assert load.whole == len(load.ms)
        assert load.ms.max() <= load.deadline_ms + SLACK_MS + load.stall_ms
        assert load.late <= 0.01 * len(load.ms) or load.stall_ms > SLACK_MS
    shares = crowd.shares()
    assert shares[FRESH] < 0.9 and shares[FRESH] + shares[NOT_RANKED] > 0.02  # busy, and not all
    assert usual.shares()[FRESH] > shares[FRESH]


def test_every_answer_says_why_no_better_rung_gave_it(lab):
    with served(lab, ServingConfig()) as online:
        request = lab.requests(1)[0]
        first = online.serving.answer(request, 1e4)
        assert first.rung == FRESH and first.reasons() == "-" and first.stages["ranking"] > 0
        online.ladder[FRESH].on = online.ladder[NOT_RANKED].on = False
        online.writer.flush()
        second = online.serving.answer(request)
        assert second.rung == CACHED and second.reasons().count("switched off") == 2
        assert not np.isin(second.slate.item_id, first.slate.item_id).any()  # ranks 11 to 20
        none = online.serving.answer(request, 0.0)
        assert none.rung == HOT and [a.rung for a in none.why] == [FRESH, NOT_RANKED, CACHED]
    assert sum(online.serving.answered.values()) == 3


def test_an_unknown_dependency_is_named(lab):
    with pytest.raises(ConfigError, match="vector index hangs"):
        drill(lab, "the moon")
    assert one_a_user(lab, 5) != []
