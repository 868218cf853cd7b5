"""The visit log against counting by hand, and its past against its future."""

import numpy as np
import pytest

from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import DataError
from reclab.core.tables import Logs, Table
from reclab.dualrec import visit_log
from reclab.dualrec.visit_log import FEATURES, WINDOWS, VisitLog, pages_of
from reclab.lab import Lab


@pytest.fixture(scope="module")
def log(lab: Lab) -> VisitLog:
    return VisitLog.build(lab.logs)


def by_hand(lab: Lab, log: VisitLog, user: int, t: int, horizon: int) -> dict[str, float]:
    """A user's features by plain loops over the tables."""
    shown, told = lab.logs.interactions, lab.logs.feedback
    mine = (shown["user_id"] == log.user_ids[user]) & (shown["time_ms"] < t)
    pages = sorted(
        {
            (int(w), int(r), int(s))
            for w, r, s in zip(
                *(shown[n][mine] for n in ("time_ms", "req_id", "session_id")), strict=True
            )
        }
    )
    times = [w for w, _, _ in pages]
    starts = sorted({s: w for w, _, s in reversed(pages)}.values())
    days = sorted({w // DAY_MS: w for w in reversed(times)}.values())
    mine = (told["user_id"] == log.user_ids[user]) & (told["report_ms"] < t)
    clicks = told["report_ms"][mine & (told["kind"] == 0)]
    watch, value = (told[n][mine & (told["kind"] == 1)] for n in ("report_ms", "value"))
    since = (times[0] if times else t) if log.new[user] else log.start_ms
    known = max((t - since) / DAY_MS, 0)
    found = {"known_days": min(known, 30), "hour": t % DAY_MS / HOUR_MS}
    for k in WINDOWS:
        many = min(max(known, 1), k)
        for name, events in (("pages", times), ("sessions", starts), ("days", days)):
            found[f"{name}_{k}"] = sum(w >= t - k * DAY_MS for w in events) / many
    for k in (7, 30):
        many = min(max(known, 1), k)
        found[f"clicks_{k}"] = (clicks >= t - k * DAY_MS).sum() / many
        found[f"watch_{k}"] = value[watch >= t - k * DAY_MS].sum() / 60 / many
    found["liked"] = (value[watch >= t - 30 * DAY_MS] >= 18).sum() / max(
        1, (watch >= t - 30 * DAY_MS).sum()
    )
    today = value[watch >= (days[-1] // DAY_MS * DAY_MS if days else t)]
    found["gain"] = (today >= 18).mean() - found["liked"] if len(today) else 0
    found["since_page"] = np.log1p((t - times[-1] if times else 30 * DAY_MS) / HOUR_MS)
    came = {w // DAY_MS for w in times}
    day = t // DAY_MS if t // DAY_MS in came else t // DAY_MS - 1
    found["streak"] = 0
    while day in came:
        found["streak"], day = found["streak"] + 1, day - 1
    width = horizon / HOUR_MS
    ahead = [max(0.0, (w // HOUR_MS - t / HOUR_MS + 1) % 24) for w in starts]
    if t % HOUR_MS == 0:  # whole hours only: the share between them is a straight line
        found["coming_hours"] = (sum(0 < a <= width for a in ahead) + width / 24) / (
            len(starts) + 1
        )
    found["session_pages"] = sum(w >= starts[-1] for w in times) if starts else 0
    found["session_clicks"] = int((clicks >= starts[-1]).sum()) if starts else 0
    found["session_min"] = np.log1p((t - starts[-1]) / 60_000) if starts else 0
    return found


def test_features_are_what_loops_over_the_tables_count(lab: Lab, log: VisitLog):
    chance = np.random.default_rng(0)
    row, when = log.moments(3 * DAY_MS, 13 * DAY_MS)
    some = chance.choice(len(row), 15, replace=False)
    row = np.r_[row[some], chance.integers(0, len(log), 25)]
    when = np.r_[when[some], chance.integers(0, 13 * 24, 25) * HOUR_MS]
    x = log.features(row, when, 3 * HOUR_MS)
    for i in range(len(row)):
        told = by_hand(lab, log, int(row[i]), int(when[i]), 3 * HOUR_MS)
        got = {name: x[i, FEATURES.index(name)] for name in told}
        assert got == pytest.approx(told, rel=1e-4, abs=1e-4), (row[i], when[i])


def test_what_comes_later_changes_nothing(lab: Lab, log: VisitLog):
    t = 9 * DAY_MS + 5 * HOUR_MS
    pages = pages_of(lab.logs.interactions)
    later = np.where(pages["time_ms"] >= t, pages["time_ms"] + 2 * HOUR_MS, pages["time_ms"])
    told = lab.logs.feedback
    late = np.where(told["report_ms"] >= t, told["report_ms"] + DAY_MS, told["report_ms"])
    moved = VisitLog(log.user_ids, log.new, log.start_ms)
    moved.append(pages.with_columns(time_ms=later))
    moved.report(told.with_columns(report_ms=late))
    everyone = np.arange(len(log))
    assert (moved.features(everyone, t, DAY_MS) == log.features(everyone, t, DAY_MS)).all()
    assert (moved.registered(everyone, t) == log.registered(everyone, t)).all()
    assert (moved.came(everyone, t, t + HOUR_MS) != log.came(everyone, t, t + HOUR_MS)).any()


def test_pages_that_stream_in_give_what_a_build_of_all_gives(lab: Lab, log: VisitLog):
    pages = pages_of(lab.logs.interactions)
    streamed = VisitLog(log.user_ids, log.new, log.start_ms)
    for rows in np.array_split(np.arange(len(pages)), 40):
        streamed.append(pages.take(rows))
    streamed.report(lab.logs.feedback)
    row, when = log.moments(11 * DAY_MS, 13 * DAY_MS)
    assert (streamed.features(row, when, HOUR_MS) == log.features(row, when, HOUR_MS)).all()
    assert (streamed.asks_again(row, when, HOUR_MS) == log.asks_again(row, when, HOUR_MS)).all()


def test_many_questions_are_answered_as_few_are(log: VisitLog, monkeypatch: pytest.MonkeyPatch):
    row, when = log.moments(10 * DAY_MS, 11 * DAY_MS)
    whole = log.features(row, when, HOUR_MS, weekday=True)
    assert whole.shape == (len(row), len(FEATURES) + 1) and (whole[:, -1] == 3).all()
    monkeypatch.setattr(visit_log, "CHUNK", 100)
    assert (log.features(row, when, HOUR_MS, weekday=True) == whole).all()


def test_the_next_page_is_of_the_session_or_not(lab: Lab, log: VisitLog):
    pages = pages_of(lab.logs.interactions)
    mine = pages["user_id"] == log.user_ids[7]
    when, session = pages["time_ms"][mine], pages["session_id"][mine]
    again = log.asks_again(np.full(len(when), 7), when + 1, HOUR_MS)
    soon = when[1:] - when[:-1] <= HOUR_MS
    assert again.tolist() == [*((session[1:] == session[:-1]) & soon).tolist(), False]
    ever = log.asks_again(np.full(len(when), 7), when + 1, 14 * DAY_MS)
    assert ever.sum() == len(when) - len(np.unique(session)) > again.sum()


def test_bad_input_is_named(lab: Lab, log: VisitLog):
    with pytest.raises(DataError, match="unknown user"):
        log.features(np.array([0, -1]), DAY_MS, DAY_MS)
    with pytest.raises(DataError, match="without any"):
        VisitLog.build(Logs(lab.logs.users, lab.logs.items, Table()))
    fresh = VisitLog(np.array([5, 6]))
    page = {"user_id": np.array([5, 9]), "time_ms": np.array([70, 70])}
    fresh.append(Table({**page, "session_id": np.array([1, 2])}))
    assert fresh.n_unknown == 1 and fresh.registered(np.array([0, 1]), 71).tolist() == [True, False]
    with pytest.raises(DataError, match="order of time: user 5"):
        fresh.append(Table({"user_id": page["user_id"][:1], "time_ms": np.array([60]),
                            "session_id": np.array([1])}))  # fmt: skip
