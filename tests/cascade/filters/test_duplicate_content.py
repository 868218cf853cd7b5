"""The same content under two ids counts once; what is not known is not the same."""

import numpy as np
import pytest

from reclab.cascade.filters.duplicate_content import (
    ContentConfig,
    DuplicateContentFilter,
    content_key,
)
from reclab.core.errors import ConfigError
from reclab.core.tables import Table
from reclab.stores.forward_index import ForwardIndex
from tests.cascade.filters.contract import (
    BARE,
    INDEX,
    ITEMS,
    FilterContract,
    batch_with,
    candidates_of,
    kept_of,
)


class TestDuplicateContentIsAFilter(FilterContract):
    def make(self):
        return DuplicateContentFilter(INDEX)


def test_of_equal_content_the_first_named_stays_whatever_its_id():
    stage = DuplicateContentFilter(INDEX)  # items 0 and 1 are one video
    result = stage(batch_with([[], []]), candidates_of([[1, 4, 0], [0]]))
    assert kept_of(result) == [[1, 4], [0]] and result.reasons == ("same content",)


@pytest.mark.parametrize("name", ["author_id", "duration_sec", "tags"])
def test_one_differing_column_makes_different_content(name):
    changed = ITEMS[name].copy()
    changed[1] = changed[3]
    index = ForwardIndex(ITEMS.with_columns(**{name: changed}))
    assert content_key(index).tolist() == list(range(8))


@pytest.mark.parametrize("name", ["author_id", "tags", "text"])
def test_what_is_unknown_equals_nothing(name):
    text = np.array(["same"] * 8)
    items = ITEMS.with_columns(text=text)
    blank = items[name].copy()
    blank[:2] = "" if name == "text" else -1
    assert content_key(ForwardIndex(items))[1] == 0
    assert content_key(ForwardIndex(items.with_columns(**{name: blank})))[1] == 1


def test_text_tells_items_apart_and_long_text_is_read_to_its_end():
    text = np.array(["a" * 40 + str(i // 2) for i in range(8)])
    columns = {"video_id": np.arange(8), "text": text}
    config = ContentConfig(columns=("text",), at_least=1)
    expected = [0, 0, 2, 2, 4, 4, 6, 6]
    assert content_key(ForwardIndex(Table(columns)), config).tolist() == expected


def test_items_of_which_too_little_is_known_all_stay():
    result = DuplicateContentFilter(BARE)(batch_with([[]]), candidates_of([[0, 1]]))
    assert kept_of(result) == [[0, 1]] and not len(result.dropped)


def test_an_item_put_later_is_compared_too():
    index = ForwardIndex(ITEMS)
    stage = DuplicateContentFilter(index)
    copy = {name: ITEMS[name][2:3] for name in ("author_id", "duration_sec", "tags")}
    index.put(np.array([999]), **copy)
    assert kept_of(stage(batch_with([[]]), candidates_of([[2, 8]]))) == [[2]]


def test_settings_are_checked():
    with pytest.raises(ConfigError, match="ContentConfig.at_least must be >= 1, got 0"):
        ContentConfig(at_least=0)
