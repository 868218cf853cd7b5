"""The training table with a leak: what was served cannot see its own clicks, what leaks can."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from reclab.cascade.ranking.features import FeatureBuilder
from reclab.core.clock import DAY_MS
from reclab.lab import Lab
from reclab.lab.lab import train_until
from reclab.lab.leaky_columns import COLUMNS, LEAK, STALE, leaky_table


def test_flipping_the_clicks_of_a_page_moves_its_leak_and_nothing_that_was_served(lab: Lab):
    p, shown = lab.trained.parts, lab.logs.interactions
    day = lab.world.config.days - 2
    some = np.flatnonzero(shown["time_ms"] // DAY_MS == day)[500]
    page = shown["req_id"] == shown["req_id"][some]
    clicks = np.where(page, ~shown["is_click"], shown["is_click"])
    logs = replace(lab.logs, interactions=shown.with_columns(is_click=clicks))
    builder = FeatureBuilder(p.features.config).fit(logs, p.index, p.users, train_until(lab))
    parts = SimpleNamespace(parts=SimpleNamespace(features=builder))
    other = SimpleNamespace(world=lab.world, logs=logs, trained=parts)
    before, after = leaky_table(lab, 10**6), leaky_table(other, 10**6)  # type: ignore[arg-type]
    today = shown["time_ms"] // DAY_MS == day
    mine = page[today]
    assert mine.sum() == (before.clicked != after.clicked).sum() > 0
    for name in (*COLUMNS, "position"):
        pairs = ((t.served[name][mine], t.training[name][mine]) for t in (before, after))
        (served, told), (served_now, told_now) = pairs
        np.testing.assert_allclose(served, served_now, atol=1e-6, err_msg=name)
        assert np.allclose(told, told_now, atol=1e-6) == (name != LEAK), name


def test_the_stale_column_is_that_of_midnight(lab: Lab):
    table = leaky_table(lab, 3000)
    assert len(table.clicked) <= 3300 and set(table.training) == set(table.served)
    differ = {n for n in table.training if (table.training[n] != table.served[n]).any()}
    assert differ == {LEAK, STALE}
