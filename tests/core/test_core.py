"""core: tables, candidates, the runner, metrics."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score, roc_auc_score

from reclab.core import metrics
from reclab.core.chance import rng
from reclab.core.errors import ConfigError, DataError, check_float, check_int
from reclab.core.pipeline import run
from reclab.core.stage import StageResult, keep_top, split
from reclab.core.tables import Logs, Table, conform, read_logs, write_logs
from reclab.core.types import Candidates, Request, slates_of


def some_candidates(n: int, n_requests: int, seed: int = 0) -> Candidates:
    chance = rng(seed, "candidates")
    row = np.sort(chance.integers(0, n_requests, n))
    return Candidates(n_requests, row, chance.integers(0, 50, n)).with_columns(
        score=chance.random(n)
    )


class OneSource:
    name = "source"

    def __call__(self, batch: object, candidates: Candidates) -> StageResult:
        found = some_candidates(40, 3)
        return StageResult(found, found.take(np.zeros(0, int)))


class OddFilter:
    name = "odd"

    def __call__(self, batch: object, candidates: Candidates) -> StageResult:
        return split(candidates, candidates.item_row % 2 == 0, "odd")


class Forgetful:
    name = "forgetful"

    def __call__(self, batch: object, candidates: Candidates) -> StageResult:
        return StageResult(candidates.take(np.arange(2)), candidates.take(np.zeros(0, int)))


def test_the_runner_records_sizes_and_every_reason():
    kept, trace = run([OneSource(), OddFilter()], None, 3)
    assert (kept.item_row % 2 == 0).all()
    assert trace.stages[1].n_in == 40
    assert trace.stages[1].reason_counts() == {"odd": 40 - len(kept)}
    lost = trace.stages[1].dropped
    assert trace.why_dropped(int(lost.item_row[0]), int(lost.request_row[0])) == ("odd", "odd")
    assert trace.why_dropped(-1) is None


def test_a_stage_that_loses_candidates_is_reported():
    with pytest.raises(DataError, match="forgetful"):
        run([OneSource(), Forgetful()], None, 3)


@given(st.integers(0, 200), st.integers(1, 5), st.integers(1, 30), st.integers(0, 1000))
def test_keep_top_conserves_candidates_and_keeps_the_best(n, n_requests, k, seed):
    candidates = some_candidates(n, n_requests, seed)
    result = keep_top(candidates, candidates["score"], k, "cut")
    assert len(result.kept) + len(result.dropped) == n
    for row in range(n_requests):
        kept = result.kept["score"][result.kept.request_row == row]
        lost = result.dropped["score"][result.dropped.request_row == row]
        assert len(kept) == min(k, len(kept) + len(lost))
        assert (np.diff(kept) <= 0).all()
        assert not len(lost) or kept.min() >= lost.max()


def test_nan_scores_are_ranked_last():
    candidates = Candidates(1, np.zeros(3, int), np.array([7, 8, 9]))
    result = keep_top(candidates, np.array([np.nan, 0.1, 0.2]), 2, "cut")
    assert result.kept.item_row.tolist() == [9, 8]


def test_rank_by_agrees_with_a_loop():
    candidates = some_candidates(100, 4)
    rank = candidates.rank_by(candidates["score"])
    for row in range(4):
        mine = candidates.request_row == row
        assert sorted(rank[mine]) == list(range(mine.sum()))
        assert candidates["score"][mine][rank[mine] == 0] == candidates["score"][mine].max()


def test_slates_are_cut_to_the_length_asked_for():
    candidates = some_candidates(40, 2)
    slates = slates_of([Request(1, 0, n=3), Request(2, 0, n=5)], candidates, np.arange(50) + 1000)
    assert [len(s) for s in slates] == [3, 5]
    assert (slates[0].item_id == slates[0].item_row + 1000).all()


@pytest.mark.parametrize("n", [0, -1, 101])
def test_a_request_for_no_items_is_refused(n):
    with pytest.raises(DataError, match="Request.n"):
        Request(1, 0, n=n)


def test_tables_survive_parquet_with_tags_and_shuffled_columns(tmp_path):
    users = Table({"user_id": np.arange(3), "interest_tags": np.array([[1, -1], [0, 2], [2, 1]])})
    items = Table({"duration_sec": np.ones(2), "video_id": np.array([5, 6])})
    shown = Table(
        {
            "video_id": np.array([5, 6, 5]),
            "time_ms": np.array([0, 90_000_000, 180_000_000]),
            "user_id": np.array([0, 1, 2]),
            "is_click": np.array([True, False, True]),
        }
    )
    logs = Logs(users, items, shown, tag_names=("猫", "dogs", "cars"))
    write_logs(logs, tmp_path / "logs")
    assert len(list((tmp_path / "logs/interactions").glob("day=*"))) == 3
    back = read_logs(tmp_path / "logs")
    assert back.tag_names == logs.tag_names
    assert back.users["interest_tags"].tolist() == users["interest_tags"].tolist()
    assert back.interactions["video_id"].tolist() == [5, 6, 5]
    assert back.positive.tolist() == [True, False, True]
    assert len(back.between(0, 100_000_000).interactions) == 2


def test_a_missing_column_is_named():
    with pytest.raises(DataError, match="time_ms"):
        conform("interactions", Table({"user_id": np.arange(2), "video_id": np.arange(2)}))


def test_a_corrupt_parquet_file_is_named(tmp_path):
    (tmp_path / "users").mkdir()
    (tmp_path / "users/part.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match="users"):
        read_logs(tmp_path)


def test_a_stored_column_is_read_when_it_is_asked_for_also_of_rows_taken(tmp_path, monkeypatch):
    names = ("user_id", "video_id", "time_ms")
    shown = Table({name: np.arange(6) * 30_000_000 for name in names})
    ids = Table({"user_id": np.arange(1)}), Table({"video_id": np.arange(1)})
    write_logs(Logs(*ids, shown), tmp_path)
    asked: list[str] = []

    class Watched(pq.ParquetFile):
        def read(self, columns):
            asked.extend(columns)
            return super().read(columns=columns)

    monkeypatch.setattr(pq, "ParquetFile", Watched)
    back = read_logs(tmp_path).interactions
    part = back.take(np.array([5, 0]))
    assert (len(back), len(part), list(part), "video_id" in part) == (6, 2, list(back), True)
    assert not asked
    assert part["time_ms"].tolist() == [150_000_000, 0] and set(asked) == {"time_ms"}
    assert back["time_ms"] is back["time_ms"] and len(asked) == 2  # one a day, once
    next((tmp_path / "interactions").rglob("*.parquet")).write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match="interactions"):
        part["video_id"]


def test_columns_of_different_length_are_refused():
    with pytest.raises(DataError, match="equally long"):
        Table({"a": np.arange(2), "b": np.arange(3)})


def test_auc_agrees_with_scikit_learn():
    chance = rng(1, "auc")
    label, score = chance.random(500) < 0.3, chance.integers(0, 20, 500)
    assert metrics.auc(label, score) == pytest.approx(roc_auc_score(label, score))
    assert np.isnan(metrics.auc(np.ones(3), np.arange(3)))


def test_gauc_weights_groups_and_skips_those_of_one_class():
    group = np.array([0, 0, 1, 1, 1, 1, 2])
    label = np.array([1, 0, 1, 0, 0, 1, 1])
    score = np.array([0.9, 0.1, 0.1, 0.9, 0.9, 0.1, 0.5])
    assert metrics.gauc(group, label, score) == pytest.approx((1.0 * 2 + 0.0 * 4) / 6)


def test_reliability_and_ece_agree_with_a_loop_and_leave_unknown_labels_out():
    chance = np.random.default_rng(2)
    p = chance.random(103)
    label = (chance.random(103) < p).astype(float)
    label[::10] = np.nan
    said, was, size = metrics.reliability(label, p, 7)
    known = np.flatnonzero(~np.isnan(label))
    groups = np.array_split(known[np.argsort(p[known])], 7)
    assert size.tolist() == [len(g) for g in groups] and size.sum() == 92
    assert said == pytest.approx([p[g].mean() for g in groups])
    assert was == pytest.approx([label[g].mean() for g in groups])
    apart = sum(len(g) * abs(p[g].mean() - label[g].mean()) for g in groups) / 92
    assert metrics.ece(label, p, 7) == pytest.approx(apart)
    assert metrics.ece(np.ones(5), np.full(5, 0.4)) == pytest.approx(0.6)
    assert np.isnan(metrics.ece(np.full(3, np.nan), np.ones(3)))


def test_ndcg_agrees_with_scikit_learn():
    gain = rng(2, "ndcg").random((5, 8))
    best = -np.sort(-gain, 1)
    ours = metrics.ndcg(gain, best).mean()
    theirs = ndcg_score(gain, np.tile(np.arange(8, 0, -1), (5, 1)))
    assert ours == pytest.approx(theirs)


def test_gini_agrees_with_its_definition():
    x = rng(3, "gini").pareto(1.5, 200)
    pairs = np.abs(x[:, None] - x[None]).sum() / (2 * len(x) ** 2 * x.mean())
    assert metrics.gini(x) == pytest.approx(pairs)
    items, held = metrics.lorenz(x)
    assert 1 - 2 * np.trapezoid(held, items) == pytest.approx(metrics.gini(x), abs=0.02)


def test_chance_does_not_depend_on_the_order_of_calls():
    first = rng(5, "a", 3).random()
    rng(5, "b").random(100)
    assert rng(5, "a", 3).random() == first


def test_config_checks_name_field_value_and_a_good_value():
    with pytest.raises(ConfigError, match=r"X.keep must be >= 1, got 0 \(typical: 100\)"):
        check_int("X.keep", 0, 1, 1000, "100")
    with pytest.raises(ConfigError, match=r"X.lam must be in \[0.0, 1.0\], got nan"):
        check_float("X.lam", float("nan"), 0.0, 1.0, "0.7")
    with pytest.raises(ConfigError, match="whole number"):
        check_int("X.keep", True, 1, 1000, "100")
