"""One suite for every store: what is put is read, in chunks or at once, kept and opened again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reclab.core.chance import rng
from reclab.core.errors import ConfigError, DataError
from reclab.core.tables import Logs, Table
from reclab.stores import arrays
from reclab.stores.as_of import AsOfSums
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.kv import KV, KVConfig
from reclab.stores.redis_server import own_server
from reclab.stores.user_features import KINDS, UserFeatures
from reclab.stores.vector_index import VectorIndex

Array = np.ndarray[Any, np.dtype[Any]]
N = 120


class StoreContract:
    """Subclasses say how to make a store, put some rows of its data, and read all of it."""

    def empty(self) -> Any:
        raise NotImplementedError

    def put(self, store: Any, rows: Array) -> None:
        """Put the rows (positions in 0 … N - 1, in order of arrival) of the test's data."""
        raise NotImplementedError

    def read(self, store: Any) -> dict[str, Array]:
        """All that can be read, of known and of unknown keys."""
        raise NotImplementedError

    def unknown(self, store: Any) -> list[tuple[Any, Any]]:
        """Pairs (what an unknown key reads, what it should)."""
        raise NotImplementedError

    def bad_puts(self, store: Any) -> list[tuple[Callable[[], object], str]]:
        """Puts that must be refused, each with words of its message."""
        raise NotImplementedError

    def keep(self, store: Any, folder: Path) -> Any:
        """Save the store, forget it, and open it again."""
        store.save(folder)
        return type(store).load(folder)

    def filled(self) -> Any:
        store = self.empty()
        self.put(store, np.arange(N))
        return store

    def same(self, one: Any, other: Any) -> None:
        first, second = self.read(one), self.read(other)
        assert first.keys() == second.keys()
        for name in first:
            np.testing.assert_array_equal(first[name], second[name], err_msg=name)

    @pytest.mark.parametrize("seed", range(4))
    def test_random_chunks_equal_one_batch(self, seed: int) -> None:
        cuts = np.sort(rng(seed, "cuts").integers(0, N, 1 + 4 * seed))
        store = self.empty()
        for rows in np.split(np.arange(N), cuts):
            self.put(store, rows)
        self.same(store, self.filled())

    def test_what_is_put_changes_what_is_read(self) -> None:
        half, whole = self.empty(), self.filled()
        self.put(half, np.arange(N // 2))
        one, other = self.read(half), self.read(whole)
        assert any(not np.array_equal(one[name], other[name]) for name in one)

    def test_reading_changes_nothing(self) -> None:
        store = self.filled()
        self.read(store)
        self.same(store, self.filled())

    def test_unknown_keys_read_as_blanks_and_never_fail(self) -> None:
        for store in (self.empty(), self.filled()):
            for got, expected in self.unknown(store):
                np.testing.assert_array_equal(got, expected)

    @pytest.fixture(params=[0, 1 << 30], ids=["mapped", "read"])
    def files(self, request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Files are mapped, as large ones are, or read, as small ones are."""
        monkeypatch.setattr(arrays, "MAPPED", request.param)

    @pytest.mark.usefixtures("files")
    def test_kept_and_opened_again_it_reads_the_same(self, tmp_path: Path) -> None:
        store = self.filled()
        before = self.read(store)
        again = self.keep(store, tmp_path / "kept")
        after = self.read(again)
        for name in before:
            np.testing.assert_array_equal(before[name], after[name], err_msg=name)

    @pytest.mark.usefixtures("files")
    def test_opened_again_it_takes_more(self, tmp_path: Path) -> None:
        half = self.empty()
        self.put(half, np.arange(N // 2))
        again = self.keep(half, tmp_path / "kept")
        self.put(again, np.arange(N // 2, N))
        self.same(again, self.filled())

    def test_bad_input_is_named_and_nothing_is_stored(self) -> None:
        store = self.filled()
        before = self.read(store)
        for put, words in self.bad_puts(store):
            with pytest.raises((DataError, ConfigError), match=words):
                put()
        after = self.read(store)
        for name in before:
            np.testing.assert_array_equal(before[name], after[name], err_msg=name)


class TestForwardIndex(StoreContract):
    stride = 3

    @property
    def data(self) -> Table:
        chance = rng(1, "items")
        return Table(
            {
                "video_id": 50 + self.stride * chance.permutation(N),
                "duration_sec": chance.random(N).astype(np.float32),
                "tags": chance.integers(-1, 9, (N, 3)).astype(np.int16),
                "is_new": chance.random(N) < 0.5,
            }
        )

    def empty(self) -> ForwardIndex:
        return ForwardIndex(self.data.take(np.zeros(0, np.int64)))

    def put(self, store: ForwardIndex, rows: Array) -> None:
        part = dict(self.data.take(rows).columns)
        store.put(part.pop("video_id"), **part)

    def read(self, store: ForwardIndex) -> dict[str, Array]:
        asked = np.append(self.data["video_id"], [-5, 10**12])
        return {"row": store.rows(asked), **store.get(store.rows(asked))}

    def unknown(self, store: ForwardIndex) -> list[tuple[Any, Any]]:
        found = store.get(store.rows(np.array([-7, 10**15])))
        return [
            (found["video_id"], [-1, -1]),
            (found["duration_sec"], [0, 0]),
            (found["tags"], -np.ones((2, 3))),
            (found["is_new"], [False, False]),
        ]

    def bad_puts(self, store: ForwardIndex) -> list[tuple[Callable[[], object], str]]:
        one = self.data["video_id"][:1]
        new = np.array([10**6])
        tags, nan = np.zeros((1, 3), np.int16), np.array([np.nan], np.float32)
        good = {"duration_sec": np.ones(1), "tags": tags, "is_new": np.ones(1, bool)}
        return [
            (lambda: store.put(one, duration_sec=nan), "duration_sec.*1 of 1"),
            (lambda: store.put(new, **{**good, "duration_sec": nan}), "duration_sec"),
            (lambda: store.put(new, duration_sec=np.ones(1)), "lack the features tags, is_new"),
            (lambda: store.put(one, tags=tags[:, :2]), "'tags' has width"),
            (lambda: store.put(one, is_new=np.ones(2, bool)), "2 values for 1 ids"),
            (lambda: store.put(one, price=np.ones(1)), "'price' must be given for all"),
            (lambda: store.put(np.repeat(new, 2), **_twice(good)), "occurs twice"),
        ]


def _twice(columns: dict[str, Array]) -> dict[str, Array]:
    return {name: np.concatenate([values, values]) for name, values in columns.items()}


class TestForwardIndexOfSparseIds(TestForwardIndex):
    stride = 10**9


class TestAsOfSums(StoreContract):
    @property
    def events(self) -> tuple[Array, Array, Array]:
        chance = rng(2, "events")
        keys = chance.integers(0, 9, N) * 10**10
        return keys, np.sort(chance.integers(0, 60, N)), chance.integers(0, 5, (N, 2))

    def empty(self) -> AsOfSums:
        none = np.zeros(0, np.int64)
        return AsOfSums(none, none, np.zeros((0, 2)))

    def put(self, store: AsOfSums, rows: Array) -> None:
        store.append(*(column[rows] for column in self.events))

    def read(self, store: AsOfSums) -> dict[str, Array]:
        keys, times = np.arange(-1, 10)[:, None] * 10**10, np.arange(62)[None]
        count, total = store.read(keys, times)
        recent, recent_total = store.read(keys, times, times - 7)
        return {"count": count, "sum": total, "recent": recent, "recent_sum": recent_total}

    def unknown(self, store: AsOfSums) -> list[tuple[Any, Any]]:
        count, total = store.read(np.array([77]), np.array([10**9]))
        return [(count, [0]), (total, [[0, 0]])]

    def bad_puts(self, store: AsOfSums) -> list[tuple[Callable[[], object], str]]:
        key, ok = np.array([0]), np.ones((1, 2))
        return [
            (lambda: store.append(key, np.array([5]), ok * np.nan), "NaN"),
            (lambda: store.append(key, np.array([-5]), ok), "times must be ms"),
            (lambda: store.append(key, np.array([1 << 41]), ok), "times must be ms"),
            (lambda: store.append(key + 5, np.array([-5]), ok), "times must be ms"),
        ]


def some_logs(n: int = N, n_users: int = 6, n_items: int = 15, seed: int = 3) -> Logs:
    """Logs with pages (several events of one user at one time) and every feedback."""
    chance = rng(seed, "logs")
    day = 86_400_000
    page = np.sort(chance.integers(0, 1 + n // 4, n))
    time_ms = np.sort(chance.integers(0, 40 * day, 1 + n // 4))[page]
    shown = {
        "user_id": 100 + 2 * chance.integers(0, n_users, 1 + n // 4)[page],
        "video_id": 7 * chance.integers(0, n_items, n),
        "time_ms": time_ms,
        "watch_sec": chance.integers(0, 40, n).astype(np.float32),
        "pay_amount": (chance.random(n) < 0.2) * chance.integers(1, 9, n).astype(np.float32),
    }
    for name in ("click", "long_view", "like", "comment", "share", "forward", "follow"):
        shown[f"is_{name}"] = chance.random(n) < 0.4
    users = Table({"user_id": 100 + 2 * np.arange(n_users), "age": np.arange(n_users) + 20})
    items = Table(
        {
            "video_id": 7 * np.arange(n_items),
            "tags": chance.integers(-1, 5, (n_items, 2)).astype(np.int16),
            "business": chance.integers(0, 4, n_items).astype(np.int8),
        }
    )
    return Logs(users, items, Table(shown), tag_names=("a", "b", "c", "d", "e"))


class TestUserFeatures(StoreContract):
    def empty(self) -> UserFeatures:
        return UserFeatures(some_logs())

    def put(self, store: UserFeatures, rows: Array) -> None:
        store.append(some_logs().interactions.take(rows))

    def read(self, store: UserFeatures) -> dict[str, Array]:
        times = np.append(some_logs().interactions["time_ms"][::3], 1 << 39)
        user_row = np.repeat(np.arange(-1, 6), len(times))
        time_ms = np.tile(times, 7)
        found = {kind: store.history(user_row, time_ms, 10, kind) for kind in KINDS}
        found["since"] = store.since(user_row, time_ms, 3, 20, "click")
        found["seen_starts"], found["seen"] = store.seen(user_row, time_ms)
        found["long_term"] = store.long_term(user_row, time_ms)
        return {**found, **store.statistics(user_row, time_ms, 5), **store.profile(user_row)}

    def unknown(self, store: UserFeatures) -> list[tuple[Any, Any]]:
        row, late = store.rows(np.array([101])), np.array([1 << 39])
        return [
            (row, [-1]),
            (store.history(row, late, 3), [[-1, -1, -1]]),
            (store.since(row, late, n=2), [[-1, -1]]),
            (store.seen(row, late)[0], [0, 0]),
            (store.statistics(row, late)["impressions"], [0]),
            (store.statistics(row, late)["watch_sec"], [0]),
            (store.long_term(row, late), np.full((1, 5), 0.2, np.float32)),
            (store.profile(row)["age"], [-1]),
        ]

    def bad_puts(self, store: UserFeatures) -> list[tuple[Callable[[], object], str]]:
        events = some_logs().interactions.take(np.arange(2))
        before = events.with_columns(time_ms=np.array([-1, 5]))
        nan = events.with_columns(watch_sec=np.array([1.0, np.nan], np.float32))
        return [
            (lambda: store.append(before), "times must be ms"),
            (lambda: store.append(nan), "watch_sec.*1 of 2"),
            (lambda: store.append(Table({"user_id": np.arange(2)})), "no column 'video_id'"),
            (lambda: store.history(np.zeros(1, int), np.zeros(1), kind="wink"), "kind must be one"),
            (lambda: store.history(np.zeros(1, int), np.zeros(1), n=0), "n must be >= 1"),
        ]


class TestFlatVectorIndex(StoreContract):
    kind = "flat"

    @property
    def data(self) -> tuple[Array, Array]:
        chance = rng(4, "vectors")
        return chance.permutation(N) * 10, chance.normal(size=(N, 8)).astype(np.float32)

    def empty(self) -> VectorIndex:
        return VectorIndex(8, self.kind)

    def put(self, store: VectorIndex, rows: Array) -> None:
        ids, vectors = self.data
        store.add(ids[rows], vectors[rows])

    def read(self, store: VectorIndex) -> dict[str, Array]:
        scores, ids = store.search(self.data[1][:20], 5)
        return {"ids": ids, "scores": scores.round(4), "held": np.sort(store.ids)}

    def unknown(self, store: VectorIndex) -> list[tuple[Any, Any]]:
        scores, ids = store.search(np.ones((1, 8)), N + 3)
        found = len(store)
        if self.kind != "flat":
            found = int((ids >= 0).sum())
        return [
            (ids[0, found:], np.full(N + 3 - found, -1)),
            (scores[0, found:], np.full(N + 3 - found, -np.inf)),
            (store.remove(np.array([3, -1])), 0),
        ]

    def bad_puts(self, store: VectorIndex) -> list[tuple[Callable[[], object], str]]:
        new = np.array([10**6])
        return [
            (lambda: store.add(new, np.full((1, 8), np.nan)), "NaN"),
            (lambda: store.add(new, np.ones((1, 7))), r"shape \(n, 8\), got \(1, 7\)"),
            (lambda: store.add(new, np.ones((2, 8))), "1 ids for 2 vectors"),
            (lambda: store.add(np.repeat(new, 2), np.ones((2, 8))), "occurs twice"),
            (lambda: store.search(np.ones((1, 8)), 0), "k must be >= 1"),
        ]


class TestGraphVectorIndex(TestFlatVectorIndex):
    kind = "hnsw"


class TestKV(StoreContract):
    """On a server of our own, with a folder, so that it can be opened again."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path):
        self.folder = tmp_path
        self.opened = 0
        yield
        for folder in self.folder.glob("aof*"):
            own_server(folder).stop()

    @property
    def data(self) -> list[bytes | str | int | float | bool | Array]:
        chance = rng(5, "values")
        kinds = (
            lambda i: bytes([i, 0, 255]),
            lambda i: f"值 {i}",
            lambda i: i - 7,
            lambda i: i / 3,
            lambda i: bool(i % 2),
            lambda i: chance.normal(size=(i % 3, 2)).astype(np.float32),
        )
        return [kinds[i % 6](i) for i in range(N)]

    def empty(self) -> KV:
        self.opened += 1
        return KV(config=KVConfig(folder=self.folder / f"aof{self.opened}", batch=50))

    def put(self, store: KV, rows: Array) -> None:
        data = self.data
        store.mput({f"k{i}": data[i] for i in rows})

    def read(self, store: KV) -> dict[str, Array]:
        names = [f"k{i}" for i in range(N + 1)]
        assert [str(v) for v in store.mget(names)] == [str(store.get(name)) for name in names]
        return {
            "values": np.array([repr(v) for v in store.mget(names)]),
            "names": np.array(store.names()),
        }

    def unknown(self, store: KV) -> list[tuple[Any, Any]]:
        return [
            (store.get("nobody") is None, True),
            (store.mget(["nobody"]) == [None], True),
            (store.mget([]), []),
            (store.delete("nobody"), 0),
            (store.expire("nobody", 5), False),
            (store.ttl_s("nobody") is None, True),
        ]

    def bad_puts(self, store: KV) -> list[tuple[Callable[[], object], str]]:
        objects = np.array([object()])
        return [
            (lambda: store.put("k0", {"a": 1}), "got dict"),  # type: ignore[arg-type]
            (lambda: store.mput({"k0": 1, "k1": objects}), "array of object"),
            (lambda: store.put("k0", 1, ttl_s=0), "ttl_s must be in"),
        ]

    def keep(self, store: KV, folder: Path) -> KV:
        store.close()
        own_server(store.config.folder).stop()
        return KV(config=store.config)


class TestKVByAddress(TestKV):
    """Clients of one server that share nothing but its address and a namespace."""

    def empty(self) -> KV:
        self.opened += 1
        return KV(own_server().address, f"test-{id(self)}-{self.opened}", KVConfig(batch=50))

    def keep(self, store: KV, folder: Path) -> KV:
        store.close()
        return KV(store.address, store.namespace, store.config)
