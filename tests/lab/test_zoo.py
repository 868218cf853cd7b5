"""lab.zoo: nine rankers trained once, measured on rows they have not seen, and put to work."""

import math

import numpy as np
import pytest

from reclab.cascade.ranking.zoo import RANKERS
from reclab.lab import zoo as module
from reclab.lab.zoo import rankers, unseen, zoo

pytestmark = pytest.mark.slow  # trained once a code version: about 10 s


@pytest.fixture(scope="module")
def table(lab):
    return zoo(lab, progress=False)


def test_every_ranker_has_a_whole_row(table):
    assert list(table) == [model.name for model in RANKERS]
    for row in table.values():
        assert all(math.isfinite(value) for value in vars(row).values())
        assert row.us_per_candidate > 0 and row.train_sec > 0 and 0 < row.share <= 1
        assert 0.5 < row.gauc < row.auc < 1  # most of the AUC is telling users apart


def test_the_table_is_of_the_rankers_that_are_kept(lab, table, monkeypatch):
    def refuse(*_):
        raise AssertionError("must not train again")

    monkeypatch.setattr(module, "train_all", refuse)
    kept = rankers(lab, ["dcn", "din"], progress=False)
    assert set(kept) == {"dcn", "din"}
    again = module.measure(lab, kept, lambda fraction, text: None)
    for name, row in again.items():
        for number in ("auc", "gauc", "log_loss", "n_weights", "share"):
            assert getattr(row, number) == pytest.approx(getattr(table[name], number), rel=1e-3)


def test_a_kept_ranker_serves_in_the_cascade(lab):
    ranker = rankers(lab, ["mmoe"], progress=False)["mmoe"]
    slate, trace = lab.trained.with_parts(ranker=ranker).recommend(lab.requests(1)[0])
    assert len(slate.item_row) == 10


def test_rows_of_the_measure_are_later_than_those_of_the_training(lab):
    rows, user = unseen(lab, most=500)
    assert len(rows) == len(user) > 100
    log, p = lab.logs.interactions, lab.trained.parts
    assert (log["time_ms"][np.isin(log["user_id"], user)] >= p.until_ms).any()
    first = min(request.time_ms for request in lab.requests(1000))
    assert first >= p.until_ms
