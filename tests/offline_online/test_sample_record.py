"""Sample records: nothing changes on the way into the topic and out again."""

import numpy as np
import pytest

from reclab.cascade.ranking.targets import known_targets
from reclab.core.errors import DataError
from reclab.core.tables import Table
from reclab.offline_online.features import feature_log
from reclab.offline_online.features.feature_log import served
from reclab.offline_online.join import sample_record
from reclab.offline_online.join.batch_join import batch_join
from reclab.offline_online.join.sample_join import SampleJoinConfig
from reclab.offline_online.join.window import FixedWindow
from tests.offline_online.served_pages import bits, pages

DAYS = 86_400_000


def labels_of(n: int, close_ms: np.ndarray) -> Table:
    chance = np.random.default_rng(0)
    return Table({
        "close_ms": close_ms,
        "labels": chance.integers(0, 256, n).astype(np.uint16),
        "n_labels": chance.integers(0, 9, n).astype(np.uint16),
        "watch_sec": chance.random(n, np.float32),
        "pay_amount": chance.random(n),
    })  # fmt: skip


def test_records_of_some_cards_keep_their_features_and_labels():
    asked = pages(60, cards=6)
    chance = np.random.default_rng(3)
    cards = [np.flatnonzero(chance.random(len(one.video_id)) < 0.7) for one in asked]
    kept = [at for at, some in enumerate(cards) if len(some)]
    n_cards = np.array([len(cards[at]) for at in kept])
    close = np.repeat(np.arange(len(kept)) + 10**9, n_cards)
    labels = labels_of(len(close), close)
    entries = [feature_log.pack(asked[at]) for at in kept]
    some = np.concatenate([cards[at] for at in kept])
    values = sample_record.pack(entries, n_cards, some, labels, epoch=5)
    found = sample_record.unpack([*values, b"x"])
    assert found.bad == {len(values): "no record of samples"}
    assert set(found.head["epoch"].tolist()) == {5}
    table, row = found.table(), 0
    for b, at in enumerate(kept):
        one, mine = asked[at], found.features.take(np.array([b]))
        whole = bits(one.features)
        assert bits(mine)[:3] == whole[:3]
        assert mine.pair.tobytes() == one.features.pair[cards[at]].tobytes()
        assert mine.item_row.tolist() == one.features.item_row[cards[at]].tolist()
        rows = slice(row, row + len(cards[at]))
        assert table["video_id"][rows].tolist() == one.video_id[cards[at]].tolist()
        assert table["position"][rows].tolist() == one.position[cards[at]].tolist()
        assert set(table["time_ms"][rows].tolist()) == {one.time_ms}
        row = rows.stop
    for name in labels:
        assert table[name].tobytes() == labels[name].tobytes()
    pairs = sample_record.identities(values)
    assert pairs.tolist() == np.stack([table["req_id"], table["video_id"]], 1).tolist()


def test_a_damaged_entry_is_refused():
    value = feature_log.pack(pages(1)[0])
    with pytest.raises(DataError, match="sample 0 are a damaged entry"):
        sample_record.pack(
            [value[:-4]], np.ones(1, int), np.zeros(1, int), labels_of(1, np.ones(1))
        )


def test_samples_joined_without_a_limit_teach_what_the_whole_log_teaches(lab):
    logs, parts = lab.logs, lab.cascade.parts
    first = np.flatnonzero(logs.interactions["time_ms"] < 2 * DAYS)
    first = first[
        np.lexsort((logs.interactions["video_id"][first], logs.interactions["req_id"][first]))
    ]
    log = logs.interactions.take(first)
    told = logs.feedback.with_columns(event_id=np.arange(len(logs.feedback)))
    joined = batch_join(log, told, FixedWindow(20 * DAYS), SampleJoinConfig(carry=()))
    assert joined["video_id"].tolist() == log["video_id"].tolist()
    new = np.ones(len(log), bool)
    new[1:] = log["req_id"][1:] != log["req_id"][:-1]
    at, n_cards = np.flatnonzero(new), np.diff(np.append(np.flatnonzero(new), len(log)))
    users = parts.users.rows(log["user_id"][at])
    built = parts.features.build(users, log["time_ms"][at], log["network"][at],
                                 np.cumsum(new) - 1, parts.index.rows(log["video_id"]))  # fmt: skip
    ids = (log[name][at] for name in ("req_id", "user_id", "session_id", "time_ms", "network"))
    asked = served(built, *ids, log["video_id"], log["position"], versions=(0, 0))
    cards = np.arange(len(log)) - np.repeat(at, n_cards)
    values = sample_record.pack([*map(feature_log.pack, asked)], n_cards, cards, joined)
    samples = sample_record.to_samples(sample_record.unpack(values), parts.index)
    assert bits(samples.features) == bits(built)
    truth = known_targets(logs, first, parts.index)
    assert samples.targets.keys() == truth.keys()
    for name, values in truth.items():
        known = ~np.isnan(samples.targets[name])
        assert known.mean() > 0.99, (name, known.mean())
        np.testing.assert_array_equal(samples.targets[name][known], values[known], name)
