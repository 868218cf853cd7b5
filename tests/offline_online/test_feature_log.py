"""Feature log: what was served is what is logged, bit for bit."""

from dataclasses import replace

import numpy as np
import pytest

from reclab.cascade.batch import read_batch
from reclab.core.errors import DataError
from reclab.core.types import Candidates
from reclab.offline_online.features.feature_log import FeatureLog, pack, read_ids, served, unpack
from reclab.offline_online.pipeline import FEATURES, create_topics
from reclab.stores.event_log import TopicConfig, open_log, partition_of
from tests.offline_online.served_pages import bits, pages


def test_features_at_serving_equal_those_logged_bit_for_bit(lab):
    parts, requests = lab.cascade.parts, lab.requests(40)
    slates, _ = lab.cascade.recommend_batch(requests)
    batch = read_batch(requests, parts.users, parts.index)
    owner = np.repeat(np.arange(len(slates)), [len(s.item_row) for s in slates])
    rows = np.concatenate([slate.item_row for slate in slates])
    features = parts.features.for_batch(batch, Candidates(len(slates), owner, rows))
    columns = {name: np.array([getattr(r, name) for r in requests])
               for name in ("req_id", "user_id", "time_ms", "network")}  # fmt: skip
    shown = parts.index.ids[rows], np.concatenate([np.arange(len(s.item_row)) for s in slates])
    asked = served(features, columns["req_id"], columns["user_id"], columns["req_id"] // 2,
                   columns["time_ms"], columns["network"], *shown, versions=(3, 4))  # fmt: skip
    with open_log(namespace="feature-log") as log:
        create_topics(log, TopicConfig(partitions=3))
        where = FeatureLog(log).append(asked)
        for at, one in enumerate(asked):
            p, offset = int(where.partition[at]), int(where.offset[at])
            assert p == partition_of(str(one.req_id).encode(), 3)
            (back,) = unpack(log.read(FEATURES, p, offset, 1).value)
            assert bits(back.features) == bits(features.take(np.array([at])))
            assert back.video_id.tolist() == slates[at].item_id.tolist()
            same = {"features": None, "video_id": None, "position": None}
            assert replace(back, **same) == replace(one, **same)
    again = lab.cascade.parts.ranker.score_features(back.features)
    assert again["p_click"].tobytes() == slates[-1].columns["p_click"].tobytes()


def test_ids_of_many_entries_are_those_of_each():
    asked = pages(300)
    ids = read_ids([pack(one) for one in asked])
    assert not ids.bad
    for at in (0, 7, 299):
        mine, one = ids.entry == at, asked[at]
        assert ids.card[mine].tolist() == list(range(len(one.video_id)))
        assert ids.columns["video_id"][mine].tolist() == one.video_id.tolist()
        for name in ("req_id", "user_id", "session_id", "time_ms", "network"):
            assert set(ids.columns[name][mine].tolist()) == {getattr(one, name)}


def test_damaged_entries_are_left_out_and_named():
    good = [pack(one) for one in pages(4)]
    values = [good[0], b"", good[1][:-1], b"{}" * 80, good[2] + b"x", good[3]]
    ids = read_ids(values)
    no, damaged = "no entry of the feature log", "a damaged entry of the feature log"
    assert ids.bad == {1: no, 2: damaged, 3: no, 4: damaged}
    assert set(ids.entry.tolist()) == {0, 5}
    with pytest.raises(DataError, match="value 1 of 2 is a damaged entry"):
        list(unpack([good[0], good[1][:-1]]))


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("request", lambda x: x.astype(float), "float32"),
        ("user", lambda x: x + (1 << 40), "32 bits"),
        ("user", lambda x: np.repeat(x, 2, 0), "features of 2 requests"),
    ],
)
def test_what_could_not_come_back_is_refused(part, change, words):
    one = pages(1)[0]
    changed = replace(one.features, **{part: change(getattr(one.features, part))})
    with pytest.raises(DataError, match=words):
        pack(replace(one, features=changed))
