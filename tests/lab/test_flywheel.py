"""lab.flywheel: a few people for a few days, on the real parts."""

import numpy as np
import pytest

from reclab.core.errors import ConfigError
from reclab.core.tables import Table
from reclab.core.types import Candidates
from reclab.lab.flywheel import STOPS, Flywheel, FlywheelConfig, Turns, flywheel, turns
from reclab.lab.flywheel_feed import fill, united
from reclab.lab.flywheel_run import PARTS, Run
from reclab.offline_online.features import feature_log
from reclab.offline_online.join import sample_record
from reclab.offline_online.join.batch_join import batch_join
from reclab.offline_online.join.report_entries import read_reports
from reclab.offline_online.join.sample_join import SampleJoinConfig
from reclab.offline_online.join.sample_topic import EpochFilter
from reclab.offline_online.join.window import FixedWindow
from reclab.offline_online.pipeline import EVENTS, FEATURES, SAMPLES

SMALL = FlywheelConfig(
    users=110, items=700, posts_per_day=60.0, days=6, stop=2, again=4, retrieve=80, train_rows=6000
)
NAMES = ("all running", "joiner stopped", "frozen")


@pytest.fixture(scope="module")
def lived():
    return Flywheel(SMALL, turns(SMALL, 0, NAMES))


def values(run, topic):
    """Entries of a topic; of samples, those that count."""
    found = []
    for p in range(run.log.topics()[topic]):
        entries = run.log.read(topic, p, 0, 100_000).value
        keep = EpochFilter().keep(entries) if topic == SAMPLES else [True] * len(entries)
        found += [value for value, kept in zip(entries, keep, strict=True) if kept]
    return found


# ---- days --------------------------------------------------------------------------------------


def test_from_a_cold_start_quality_rises_and_a_frozen_platform_stays_behind(lived):
    running = lived.runs["all running"]
    assert abs(running.quality[0]) < 0.05  # cold: drawn at random
    assert running.quality[-2:].mean() > 0.1 and running.model[-1] >= 3
    assert lived.stopped("frozen") < lived.stopped("all running") - 0.05
    assert lived.after("frozen") < lived.after("all running") - 0.02
    assert lived.after("frozen", "new") < 0.7 * lived.after("all running", "new")


def test_a_stopped_joiner_stalls_the_model_and_then_everything_is_caught_up(lived):
    running, stopped = lived.runs["all running"], lived.runs["joiner stopped"]
    assert stopped.model[SMALL.again] == stopped.model[SMALL.stop] < running.model[SMALL.again]
    assert (np.diff(stopped.joiner[SMALL.stop : SMALL.again]) > 0).all()
    assert stopped.joiner[SMALL.stop] > 0 and not stopped.joiner[SMALL.again :].any()
    assert stopped.model[-1] > stopped.model[SMALL.again]
    assert lived.stopped("joiner stopped") < lived.stopped("all running") - 0.02
    assert lived.after("joiner stopped") > lived.after("frozen") + 0.03


def test_runs_are_one_platform_until_they_part(lived):
    first, *others = lived.runs.values()
    for run in others:
        for name in ("quality", "long_view", "exposures", "came"):
            assert getattr(run, name)[: SMALL.stop + 1].tolist() == (
                getattr(first, name)[: SMALL.stop + 1].tolist()
            )
    assert not (others[0].quality == first.quality).all()


def test_the_table_has_a_line_a_run(lived):
    lines = lived.table().splitlines()
    assert [line[:17].strip() for line in lines[1:]] == list(NAMES)
    assert len({len(line) for line in lines}) == 1


def test_the_lessons_runs_are_lived_once_and_then_kept(lab):
    said = []
    small = FlywheelConfig(users=30, items=250, posts_per_day=10.0, days=3, stop=1, again=2,
                           retrieve=20)  # fmt: skip
    first = flywheel(lab, lambda fraction, text: said.append(text), small, seed=3)
    n_said = len(said)
    again = flywheel(lab, lambda fraction, text: said.append(text), small, seed=3)
    assert set(first.runs) == set(NAMES) and len(said) == n_said
    for name, run in first.runs.items():
        assert run.quality.tolist() == again.runs[name].quality.tolist()


# ---- the log -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped_run():
    """Two days without a joiner, and a third with it."""
    run = Run(SMALL.world(1), retrieve=40)
    days = [run.day(("joiner",)), run.day(("joiner",)), run.day()]
    yield run, days
    run.close()


def test_samples_after_a_stop_are_those_of_the_batch_join(stopped_run):
    run, _ = stopped_run
    served = feature_log.read_ids(values(run, FEATURES))
    names = ("req_id", "video_id", "user_id", "time_ms")
    told, _ = read_reports(values(run, EVENTS))
    config = SampleJoinConfig(carry=("user_id",))
    shown = Table({name: served.columns[name] for name in names})
    truth = batch_join(shown, told, FixedWindow(), config)
    now_ms = 3 * 86_400_000
    truth = truth.take(truth["close_ms"] < now_ms)  # later ones are still open
    got = sample_record.unpack(values(run, SAMPLES)).table()
    got = got.take(np.lexsort((got["video_id"], got["req_id"])))
    for name in ("req_id", "video_id", "labels", "n_labels", "watch_sec", "user_id"):
        assert got[name].tolist() == truth[name].tolist(), name


def test_samples_carry_the_features_as_they_were_served_bit_for_bit(stopped_run):
    run, _ = stopped_run
    logged = {one.req_id: one for one in feature_log.unpack(values(run, FEATURES))}
    records = sample_record.unpack(values(run, SAMPLES))
    assert len(records.head) > 300
    for at in range(0, len(records.head), 7):
        mine, was = records.features.take(np.array([at])), logged[int(records.head["req_id"][at])]
        for name in ("user", "request", "history", "item_row", "pair"):
            assert getattr(mine, name).tobytes() == getattr(was.features, name).tobytes(), name


def test_entries_wait_for_a_stopped_part_and_none_for_a_running_one(stopped_run):
    run, days = stopped_run
    assert 0 < days[0]["joiner"] < days[1]["joiner"] and days[2]["joiner"] == 0
    assert run.waiting() == dict.fromkeys(PARTS, 0)
    assert days[2]["model"] == 0 and run.versions.current.state.model_version == 1


def test_a_copy_goes_on_like_its_original_and_apart_from_it(stopped_run):
    run, _ = stopped_run
    twin = run.copied()
    ends = run.log.stats(SAMPLES).end.tolist()
    theirs = twin.day()
    assert run.log.stats(SAMPLES).end.tolist() == ends
    assert run.day() == theirs
    assert sorted(values(run, SAMPLES)) == sorted(values(twin, SAMPLES))
    names = twin.kv.redis.keys(f"{twin.name}*")
    twin.close()
    assert names and not run.kv.redis.exists(*names)


def test_a_copy_has_what_waits_in_the_log():
    run = Run(FlywheelConfig(users=30, items=300).world(2), retrieve=20)
    run.day(("joiner",))
    twin = run.copied()
    assert twin.waiting() == run.waiting() and run.waiting()["joiner"] > 0
    assert twin.day() == run.day() and twin.waiting() == dict.fromkeys(PARTS, 0)
    run.close()
    twin.close()


# ---- pages -------------------------------------------------------------------------------------


def test_pages_are_the_best_found_with_drawn_items_where_slots_explore():
    chance = np.random.default_rng(0)
    for _ in range(50):
        n, size = 5, 4
        parts = []
        for lot in (6, 8):
            pairs = [
                (b, i) for b in range(n) for i in chance.permutation(12)[: chance.integers(0, lot)]
            ]
            owner, item = (np.array([p[k] for p in pairs], np.int64) for k in (0, 1))
            parts.append(Candidates(n, owner, item))
        both, score = united(*parts), None
        score = chance.permutation(len(both)).astype(np.float32)
        explore = chance.random((n, size)) < 0.4
        rows = fill(both, score, explore)
        for b in range(n):
            assert rows[b].tolist() == by_hand(both, score, explore[b], b)


def by_hand(both, score, explore, b):
    mine = [at for at in range(len(both)) if both.request_row[at] == b]
    found = sorted((at for at in mine if both["drawn"][at] < 0), key=lambda at: -score[at])
    drawn = sorted((at for at in mine if both["drawn"][at] >= 0), key=lambda at: both["drawn"][at])
    page = []
    for slot in explore.tolist():
        queue = drawn if slot or not found else found
        page.append(queue.pop(0) if queue else -1)
    return page


def test_settings_out_of_range_are_named():
    with pytest.raises(ConfigError, match="FlywheelConfig.again"):
        FlywheelConfig(stop=5, again=3)
    with pytest.raises(ConfigError, match="joiner stopped"):
        turns(SMALL, 0, ("nothing",))
    assert set(STOPS) >= set(NAMES)
    empty = {name: np.zeros(6) for name in Turns.__dataclass_fields__}
    assert Flywheel(SMALL, {"all running": Turns(**empty)}).after("all running") == 0.0
