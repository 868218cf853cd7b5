"""Forks share arrays until one is written, and a frozen state never changes."""

import numpy as np
import pytest
import scipy.sparse as sp

from reclab.core.tables import Table
from reclab.lab import Lab
from reclab.offline_online.serving.versions import SHALLOW, SHARED
from reclab.stores.as_of import AsOfSums
from reclab.stores.fork import arrays_in, fork, freeze, nbytes
from reclab.stores.forward_index import ForwardIndex


def index_of(n: int) -> ForwardIndex:
    ids = np.arange(n)
    return ForwardIndex(Table({"video_id": ids, "a": ids * 1.0, "b": ids * 2.0}))


def test_a_fork_copies_only_the_column_that_is_written():
    index = index_of(1000)
    freeze(index)
    mine = fork(index)
    assert nbytes(index, mine) == nbytes(index)
    mine.put(np.array([3, 2000]), a=np.array([9.0, 8.0]), b=np.array([7.0, 6.0]))
    assert len(index) == 1000 and index.version == 0
    assert index["a"][3] == 3.0 and mine["a"][3] == 9.0 and mine["a"][1000] == 8.0
    other = fork(index)
    other.put(np.array([3]), a=np.array([5.0]))
    a_column = 8 * 1001
    assert nbytes(index, other) == nbytes(index) + a_column


def test_a_frozen_array_refuses_whoever_forgets_to_own_it():
    index = index_of(10)
    freeze(index)
    for array in arrays_in(index):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_late_events_of_a_fork_stay_out_of_the_original():
    sums = AsOfSums(np.array([1, 2]), np.array([10, 10]), np.array([1.0, 1.0]))
    sums.append(np.array([1]), np.array([20]), np.array([1.0]))  # there is room for more now
    freeze(sums)
    mine = fork(sums)
    mine.append(np.array([1, 3]), np.array([5, 5]), np.array([4.0, 2.0]))
    keys, when = np.array([1, 2, 3]), np.array([99])
    assert sums.read(keys, when)[1].tolist() == [2.0, 1.0, 0.0]
    assert mine.read(keys, when)[1].tolist() == [6.0, 1.0, 2.0]


def test_references_among_objects_and_containers_survive():
    index = index_of(3)
    held = {"both": (index, [index]), "matrix": sp.csr_matrix(np.eye(2))}
    mine = fork(held)
    one, (two,) = mine["both"]
    assert one is two and one is not index
    mine["matrix"].data = mine["matrix"].data * 3
    mine["matrix"].resize((2, 5))
    assert held["matrix"].shape == (2, 2) and held["matrix"].data.tolist() == [1.0, 1.0]


def test_a_forked_cascade_learns_alone(lab: Lab):
    requests = lab.requests(8)
    cascade = fork(lab.trained, SHARED, SHALLOW)
    freeze(cascade, SHARED + SHALLOW)
    before = [slate.item_id.tolist() for slate in cascade.recommend_batch(requests)[0]]
    mine = fork(cascade, SHARED, SHALLOW)
    p = mine.parts
    assert p.ranker.features is p.features and p.features.users is p.users
    assert p.ranker.net is not cascade.parts.ranker.net
    log = lab.logs.interactions
    news = log.take(np.arange(len(log) - 2000, len(log)))
    who = np.resize([request.user_id for request in requests], 2000)
    early = np.full(2000, min(request.time_ms for request in requests) - 60_000)
    mine.update(news.with_columns(user_id=who, time_ms=early))
    again = [slate.item_id.tolist() for slate in cascade.recommend_batch(requests)[0]]
    other = [slate.item_id.tolist() for slate in mine.recommend_batch(requests)[0]]
    assert again == before and other != before
