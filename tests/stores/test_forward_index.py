"""forward_index and the row lookup under it, against a plain dict."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reclab.core.errors import DataError
from reclab.core.tables import Table
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.row_lookup import RowLookup

whole = st.integers(-(2**63), 2**63 - 1)
ids = st.lists(st.one_of(st.integers(-20, 20), whole), unique=True, max_size=30)


@given(ids, ids, st.lists(whole, max_size=9))
def test_rows_agree_with_a_dict_for_compact_and_sparse_ids(first, second, asked):
    lookup = RowLookup(np.array(first, np.int64))
    second = [i for i in second if i not in first]
    lookup.add(np.array(second, np.int64))
    plain = {key: row for row, key in enumerate(first + second)}
    asked = asked + first + second + list(range(-25, 25))
    got = lookup.rows(np.array(asked, np.int64))
    assert got.tolist() == [plain.get(key, -1) for key in asked]


@pytest.mark.parametrize(("stride", "dense"), [(1, True), (3, True), (10**6, False)])
def test_compact_ids_take_a_dense_array_and_sparse_ones_do_not(stride, dense):
    lookup = RowLookup(np.arange(5000) * stride + 10**12)
    assert lookup.dense == dense
    assert lookup.rows(np.array([10**12 + 7 * stride, 0, 2**62])).tolist() == [7, -1, -1]


@given(st.lists(st.dictionaries(st.integers(0, 9), st.integers(-9, 9), min_size=1), max_size=8))
def test_puts_agree_with_a_dict(puts):
    index = ForwardIndex(Table({"video_id": np.array([3]), "likes": np.array([0])}))
    plain = {3: 0}
    for put in puts:
        index.put(np.array(list(put)), likes=np.array(list(put.values())))
        plain.update(put)
    assert index.version == len(puts)
    assert index.ids.tolist() == list(plain)
    assert index["likes"].tolist() == list(plain.values())
    asked = np.arange(-1, 11)
    got = index.get(index.rows(asked), ["likes"])["likes"]
    assert got.tolist() == [plain.get(key, -1) for key in asked.tolist()]


def items(n):
    return Table(
        {
            "video_id": np.arange(n) + 5,
            "tags": np.arange(2 * n, dtype=np.int16).reshape(n, 2),
            "price": np.linspace(1, 2, n, dtype=np.float32),
        }
    )


def test_a_matrix_of_rows_reads_a_matrix_of_features():
    found = ForwardIndex(items(4)).get(np.array([[0, -1], [3, 3]]))
    assert found["video_id"].tolist() == [[5, -1], [8, 8]]
    assert found["tags"].shape == (2, 2, 2)
    assert found["price"][0].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("row", [4, -2])
def test_a_row_that_does_not_exist_is_refused(row):
    with pytest.raises(DataError, match=r"rows must lie in -1\.\.3"):
        ForwardIndex(items(4)).get(np.array([row]))


def test_an_unknown_feature_is_named_with_those_there_are():
    with pytest.raises(DataError, match="no feature 'colour' .*video_id, tags, price"):
        ForwardIndex(items(4)).get(np.array([0]), ["colour"])


def test_the_same_id_twice_is_refused():
    table = items(3).with_columns(video_id=np.array([1, 2, 1]))
    with pytest.raises(DataError, match="video_id must be unique: 1 occurs twice"):
        ForwardIndex(table)


def test_gaps_in_a_catalogue_are_reported_until_they_are_filled():
    price = np.array([1, np.nan, np.inf, 2], np.float32)
    index = ForwardIndex(items(4).with_columns(price=price))
    assert index.missing == {"price": 2}
    index.put(index.ids[1:2], price=np.array([5.0]))
    assert index.missing == {"price": 1}
    index.put(index.ids[2:3], price=np.array([5.0]))
    assert index.missing == {}


def test_a_new_feature_for_every_item_is_welcome():
    index = ForwardIndex(items(4))
    index.put(index.ids[::-1], quality=np.array([3, 2, 1, 0], np.float32))
    assert index["quality"].tolist() == [0, 1, 2, 3]
    assert "quality" in index


def test_an_empty_catalogue_answers_unknown():
    index = ForwardIndex(items(0))
    assert len(index) == 0
    assert index.get(index.rows(np.array([5])))["price"].tolist() == [0.0]


def test_columns_read_whole_cannot_be_written_by_accident():
    index = ForwardIndex(items(4))
    with pytest.raises(ValueError, match="read-only"):
        index["price"][0] = 7
