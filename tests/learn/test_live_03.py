"""What a reader writes for lesson 03 replaces ours: the same function, the same answers."""

import json
from dataclasses import replace

import numpy as np
import pytest

from reclab.core.clock import HOUR_MS
from reclab.core.errors import DataError
from reclab.core.tables import Table
from reclab.core.types import Request, Slate
from reclab.lab.join_panel_build import join_panel
from reclab.lab.join_study import CONFIG, platform_streams, stream
from reclab.learn import live_03
from reclab.learn.lesson_03 import close_at, handle, pick_rung, take_tokens, watermark
from reclab.offline_online.gateway.gateway import Gateway, GatewayConfig
from reclab.offline_online.gateway.intake import Post
from reclab.offline_online.gateway.rate_limit import RateConfig, TokenBuckets
from reclab.offline_online.join.batch_join import match
from reclab.offline_online.join.sample_join import SampleJoin
from reclab.offline_online.join.window import MINUTE_MS, FixedWindow
from reclab.offline_online.serving.fallback import Cost, Ladder, Rung
from reclab.stores.event_log import open_log
from reclab.stores.forward_index import ForwardIndex


@pytest.fixture(scope="module")
def streams(lab):
    """A few hours of the platform, so that two joins of it take seconds."""
    whole = platform_streams(lab.logs)
    start = whole.impressions["time_ms"]
    shown = whole.impressions.take(start < start[0] + 6 * HOUR_MS)
    told = whole.reports.take(np.isin(whole.reports["req_id"], shown["req_id"]))
    now = match(shown, told, ("session_id",), CONFIG)
    return replace(whole, impressions=shown, reports=told, now=now)


class TestCloseRule:
    def test_a_window_for_everybody_is_the_fixed_window(self, streams):
        def fixed(time_ms, last_ms, n_labels, window_ms, first_ms, quiet_ms):
            return time_ms + window_ms

        mine = live_03.own_join(fixed, streams, window_min=5)
        ours = stream(streams, FixedWindow(5 * MINUTE_MS)).report()
        assert mine.count == ours.count and mine.balanced

    def test_stream_and_batch_close_alike_by_the_readers_rule(self, streams):
        report = live_03.own_join(close_at.close_at, streams, 10, 4, 1)
        front = live_03.own_front(close_at.close_at, streams, 10, 4, [1])
        fixed = stream(streams, FixedWindow(10 * MINUTE_MS)).report()
        assert front.labels[0] == pytest.approx(report.count["on_time"] / fixed.count["on_time"])
        assert front.wait[0] == pytest.approx(report.mean_wait_s / fixed.mean_wait_s)

    def test_its_front_rises_and_another_rule_moves_it(self, streams):
        front = live_03.own_front(close_at.close_at, streams)
        assert (np.diff(front.labels) >= 0).all() and (np.diff(front.wait) > 0).all()
        assert front.labels[-1] > 0.9 and front.wait[0] < 0.5
        idea = next(i for i in close_at.MISCONCEPTIONS if i.name.startswith("quiet_ms also"))
        other = live_03.own_front(idea.computes, streams)
        assert other.labels[0] < front.labels[0]  # gives up before the play has ended

    def test_a_restart_goes_on_with_it(self, streams):
        def rule():
            return live_03.OwnCloseRule(close_at.close_at, 20, 5, 2)

        shown = streams.impressions.take(np.arange(200))
        first = SampleJoin(rule(), live_03.SampleJoinConfig(carry=()))
        first.update(shown)
        again = SampleJoin(rule(), live_03.SampleJoinConfig(carry=())).restore(first.state())
        told = streams.reports.take(np.arange(150))
        for join in (first, again):
            join.update(None, told)
            join.flush()
        assert first.report().count == again.report().count

    @pytest.mark.parametrize(
        "wrong",
        [
            lambda t, *_: t[:1],
            lambda t, last, n, w, f, q: last + 10 * w,
            lambda t, *_: t - 1,
            lambda t, *_: np.full(len(t), np.nan),
            lambda t, *_: None,
        ],
    )
    def test_what_no_join_can_keep_is_refused(self, streams, wrong):
        with pytest.raises(DataError, match="close_at must"):
            live_03.own_front(wrong, streams, quiets_min=[1])


class TestConsumer:
    entries = [(int(i), f"r{i % 7}:v{i % 3}", float(1 + i % 5)) for i in (*range(60), 3, 9, 27, 3)]

    def test_killed_with_9_it_neither_loses_nor_doubles(self):
        found = live_03.own_consumer(handle.handle, self.entries, kills=[7, 20])
        assert found.exact and found.deaths == 2 and found.delivered == 64

    def test_one_that_only_adds_doubles(self):
        idea = next(i for i in handle.MISCONCEPTIONS if i.name == "every delivery is added")
        found = live_03.own_consumer(idea.computes, self.entries, kills=[8])
        assert found.deaths == 1 and sum(found.paid.values()) > sum(found.truth.values())

    def test_one_that_marks_first_loses_what_it_was_killed_over(self):
        idea = next(i for i in handle.MISCONCEPTIONS if i.name == "marked, then added")
        found = live_03.own_consumer(idea.computes, self.entries, kills=[5])
        assert sum(found.paid.values()) < sum(found.truth.values())

    def test_one_that_raises_is_said(self, capfd):
        def raises(store, event, key, money):
            raise ValueError("no")

        with pytest.raises(DataError, match="the consumer failed"):
            live_03.own_consumer(raises, self.entries[:3])


@pytest.fixture(scope="module")
def panel(lab):
    return join_panel(lab, 1500, progress=False)


class TestWatermark:
    def test_the_minimum_loses_nothing_and_the_newest_does(self, panel):
        ours = live_03.own_watermark(watermark.watermark, panel)
        whole = panel.told["report_ms"] - panel.shown["time_ms"][panel.row]
        assert ours.balanced and ours.count["on_time"] == (whole <= 20 * MINUTE_MS).sum()
        newest = next(i for i in watermark.MISCONCEPTIONS if i.name.startswith("the newest"))
        fast = live_03.own_watermark(newest.computes, panel, window_min=1.0)
        slow = live_03.own_watermark(watermark.watermark, panel, window_min=1.0)
        assert fast.balanced and fast.count["on_time"] < 0.95 * slow.count["on_time"]

    def test_other_things_than_stamps_are_refused(self, panel):
        for wrong in (lambda *a: a[1][:5], lambda *a: None, lambda *a: a[1] * 0.5):
            with pytest.raises(DataError, match="whole numbers"):
                live_03.own_watermark(wrong, panel)


INDEX = ForwardIndex(Table({"video_id": np.arange(100, 120)}))
REQUEST = Request(1, 0, n=2)


def page():
    return Slate(REQUEST, INDEX.ids[:2], np.arange(2))


class TestLadder:
    def ladder(self, *fails):
        names = ("fresh", "cached", "pool")

        def ask(name):
            def asked(request, left_ms):
                if name in fails:
                    raise ConnectionError("no route")
                return page(), {}

            return asked

        costs = {"fresh": 40.0, "cached": 5.0, "pool": 0.5}
        rungs = [Rung(n, ask(n), Cost(costs[n]), in_memory=n == "pool") for n in names]
        return Ladder(rungs, INDEX)

    def test_time_decides_the_rung(self):
        for left, name in ((500.0, "fresh"), (20.0, "cached"), (2.0, "pool"), (0.0, "pool")):
            slate, rung, tried = live_03.own_rung(
                pick_rung.pick_rung, self.ladder(), REQUEST, left, lambda: 0.0
            )
            assert rung == name and len(slate) == 2 and len(tried) == 1

    def test_what_is_off_or_fails_is_passed_by(self):
        ladder = self.ladder("cached")
        ladder["fresh"].on = False
        slate, rung, tried = live_03.own_rung(
            pick_rung.pick_rung, ladder, REQUEST, 500.0, lambda: 0.0
        )
        assert rung == "pool" and [a.rung for a in tried] == ["cached", "pool"]

    def test_a_picker_without_a_clock_takes_what_is_too_dear(self):
        idea = next(i for i in pick_rung.MISCONCEPTIONS if i.name == "time is not asked for")
        _, rung, _ = live_03.own_rung(idea.computes, self.ladder(), REQUEST, 2.0, lambda: 0.0)
        assert rung == "fresh"

    def test_no_rung_is_refused(self):
        for wrong in (lambda *a: np.array([7]), lambda *a: np.array([-1]), lambda *a: None):
            with pytest.raises(DataError, match="from 0 to 2"):
                live_03.own_rung(wrong, self.ladder(), REQUEST, 50.0, lambda: 0.0)


class TestBuckets:
    config = RateConfig(per_s=2.0, burst=10.0)

    def test_the_right_function_lets_the_same_requests_pass(self):
        chance = np.random.default_rng(1)
        ours, mine = (
            TokenBuckets(self.config),
            live_03.OwnBuckets(take_tokens.take_tokens, self.config),
        )
        now = 1000
        for _ in range(100):
            now += int(chance.integers(0, 900))
            asks = chance.integers(0, 5, 6), chance.integers(1, 8, 6)
            assert (ours.take(*asks, now) == mine.take(*asks, now)).all()

    def test_in_the_gateways_intake_it_decides_who_is_sent_away(self):
        with open_log(namespace="live-03") as log:
            gateway = Gateway(log, {"app": b"a key for the tests only, 32 byte"}, GatewayConfig())
            body = {"device_id": "d7a3b2c1", "events": [self.event(i) for i in range(6)]}
            post = Post("app", json.dumps(body).encode())
            gateway.intake.buckets = live_03.OwnBuckets(take_tokens.take_tokens, self.config)
            told = [gateway.intake.take([post], 10_000)[0].status for _ in range(3)]
            assert told == [200, 429, 429]
            greedy = replace(self.config, burst=100.0)
            gateway.intake.buckets = live_03.OwnBuckets(take_tokens.take_tokens, greedy)
            assert gateway.intake.take([post], 10_000)[0].status == 200

    def event(self, i):
        return {"event_id": f"live-03-{i:04d}", "req_id": "r1", "video_id": f"v{i}",
                "user_id": 5, "kind": "like", "event_ms": 9_000}  # fmt: skip

    def test_other_things_than_answers_are_refused(self):
        for wrong in (lambda *a: (a[0] > 0, a[0][:0]), lambda *a: (a[0], a[0])):
            with pytest.raises(DataError, match="bools"):
                live_03.OwnBuckets(wrong, self.config).take(np.array([1]), np.array([1]), 5)
