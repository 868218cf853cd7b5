"""stores.arrays: mapped or read, what was written comes back, and the files stay as they were."""

import numpy as np
import pytest

from reclab.core.errors import DataError
from reclab.stores import arrays
from reclab.stores.arrays import Arrays, save_arrays

HELD = {
    "numbers": np.arange(100.0).reshape(20, 5),
    "none": np.zeros((0, 3), np.int64),
    "one": np.array(7),
    "names": np.array(["短视频", "b"]),
    "by.column": np.array(list("Fortran")).reshape(7, 1).T,
}


@pytest.fixture(params=[0, 1 << 30], ids=["mapped", "read"])
def held(request, tmp_path, monkeypatch) -> Arrays:
    monkeypatch.setattr(arrays, "MAPPED", request.param)
    save_arrays(tmp_path, HELD)
    return Arrays(tmp_path)


def test_what_was_saved_comes_back(held):
    assert set(held) == set(HELD) and len(held) == len(HELD)
    assert "none" in held and "nothing" not in held
    for name, values in HELD.items():
        assert held[name].dtype == values.dtype
        np.testing.assert_array_equal(held[name], values)
        assert type(held[name]) is np.ndarray


def test_writing_in_place_leaves_the_file_alone(held):
    mine = held["numbers"]
    mine[3] = -1
    assert (mine[3] == -1).all() and (held["numbers"] == HELD["numbers"]).all()


@pytest.mark.parametrize("left", [0, 1, 50, 200])
def test_a_shortened_file_is_named(held, left):
    file = held.folder / "numbers.npy"
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(DataError, match=r"numbers\.npy"):
        held["numbers"]


def test_a_missing_file_is_named_and_code_is_never_unpickled(held):
    with pytest.raises(DataError, match=r"nothing\.npy"):
        held["nothing"]
    np.save(held.folder / "objects.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(DataError, match=r"objects\.npy"):
        Arrays(held.folder)["objects"]
