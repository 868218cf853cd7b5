"""Hit rates without and with a prediction, on the tiny platform."""

import numpy as np
import pytest

from reclab.core.clock import DAY_MS
from reclab.core.errors import DataError
from reclab.core.metrics import reliability
from reclab.dualrec.activity import ActivityConfig
from reclab.lab import Lab
from reclab.lab.activity_study import (
    ActivityRow,
    ActivityStudyConfig,
    kept_activity,
    own_chance,
    study,
    table,
)


@pytest.fixture(scope="module")
def rows(lab: Lab) -> dict[str, ActivityRow]:
    small = ActivityConfig(trees=40, most_rows=5000)
    return kept_activity(lab, ActivityStudyConfig(items=20, activity=small), progress=False)


def test_the_ceiling_is_the_chance_that_the_world_drew_with(lab: Lab):
    p, shown = own_chance(lab), lab.logs.interactions
    row = np.searchsorted(np.unique(lab.logs.users["user_id"]), shown["user_id"])
    came = np.zeros(p.shape, bool)
    came[shown["time_ms"] // DAY_MS, row] = True
    joined = np.where(came.any(0), came.argmax(0), len(p))
    # the midnight's guests of the day before are a few; first days are certain
    asked = np.arange(len(p))[:, None] > joined
    said, was, n = reliability(came[asked], p[asked], 8)
    assert np.abs(said - was).max() < 4 * np.sqrt(0.25 / n.min())


def test_predicted_users_come_more_often_than_everybody(rows: dict[str, ActivityRow]):
    base = rows["day/everybody/all"]
    assert base.share.tolist() == [1, 1, 1] and base.covers.tolist() == [1, 1, 1]
    for pool in ("50%", "25%"):
        assert rows[f"day/trees/{pool}"].matched.mean() > base.matched.mean() + 0.03
        assert rows[f"day/trees/{pool}"].hit.mean() > base.hit.mean() + 0.03
        assert rows[f"day/ceiling/{pool}"].hit.mean() > rows[f"day/trees/{pool}"].hit.mean()
        hour = rows[f"hour/trees/{pool}"].hit.mean()
        assert hour > rows["hour/everybody/all"].hit.mean()
    assert rows["day/ceiling/50%"].auc.mean() > rows["day/trees/50%"].auc.mean()


def test_covers_is_hit_times_share_over_the_base_rate(rows: dict[str, ActivityRow]):
    for name in ("day/trees/25%", "hour/logistic/50%", "session/usual length/50%"):
        row, base = rows[name], rows[name.split("/")[0] + "/everybody/all"].hit
        assert row.covers == pytest.approx(row.hit * row.share / base)


def test_the_table_shows_every_row_with_its_spread(rows: dict[str, ActivityRow]):
    lines = table(rows).splitlines()
    assert len(lines) == len(rows) + 1 and "±" in lines[1]


def test_a_short_log_is_refused(lab: Lab):
    with pytest.raises(DataError, match="needs 15 days"):
        study(lab, ActivityStudyConfig(days=10))
    with pytest.raises(ValueError, match="hours"):
        ActivityStudyConfig(hours=(23,))
