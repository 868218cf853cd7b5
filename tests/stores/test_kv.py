"""kv: values as they were put, namespaces, time to live, and what happens when Redis is gone."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from reclab.core.errors import ConfigError, DataError
from reclab.stores import redis_server
from reclab.stores.kv import KV, KVConfig, StoreDown, pack, unpack
from reclab.stores.redis_server import CONNECTIONS, RedisServer
from tests.stores.redis_cluster import redis_cluster

plain = st.one_of(st.binary(), st.text(), st.integers(), st.booleans(), st.floats(allow_nan=False))
dtypes = st.one_of(
    st_numpy.boolean_dtypes(),
    st_numpy.integer_dtypes(endianness="?"),
    st_numpy.floating_dtypes(endianness="?"),
    st_numpy.complex_number_dtypes(),
    st_numpy.datetime64_dtypes(),
    st_numpy.unicode_string_dtypes(max_len=5),
)
arrays = st_numpy.arrays(dtypes, st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0))


@pytest.fixture
def server():
    """A server of this test alone, which it may kill."""
    server = RedisServer()
    yield server
    server.stop()


def kill(server):
    os.kill(server.pid, signal.SIGKILL)
    server._process.wait()


@given(plain)
def test_plain_values_come_back_with_their_type(value):
    back = unpack(pack(value))
    assert back == value
    assert type(back) is type(value)


@given(arrays)
def test_arrays_come_back_bit_for_bit_with_dtype_and_shape(value):
    back = unpack(pack(value))
    assert back.dtype == value.dtype and back.shape == value.shape
    assert back.tobytes() == value.tobytes()


def test_arrays_come_back_aligned_and_without_a_copy():
    back = unpack(pack(np.arange(1000.0)[::-2]))
    assert back.flags.aligned and back.tolist() == np.arange(1000.0)[::-2].tolist()
    assert not back.flags.owndata


def test_numpy_scalars_are_stored_as_numbers():
    assert unpack(pack(np.float32(0.5))) == 0.5
    assert unpack(pack(np.int64(7))) == 7


def test_bytes_of_others_are_not_guessed_at():
    with pytest.raises(DataError, match="not written by KV"):
        unpack(b"\x80\x04pickle")


def test_time_to_live_is_kept_and_ends():
    with KV(namespace="ttl") as kv:
        kv.put("short", 1, ttl_s=0.05)
        kv.mput({"long": 2, "longer": 3}, ttl_s=100)
        kv.put("kept", 4)
        assert 99 < kv.ttl_s("long") <= 100
        assert kv.ttl_s("kept") is None
        assert kv.expire("kept", 50) and 49 < kv.ttl_s("kept") <= 50
        time.sleep(0.1)
        assert kv.mget(["short", "long", "longer"]) == [None, 2, 3]


@settings(deadline=None, max_examples=20)
@given(st.dictionaries(st.text(min_size=1, max_size=5), plain, max_size=30), st.integers(1, 7))
def test_many_at_once_agree_with_a_dict(values, batch):
    with KV(namespace="many", config=KVConfig(batch=batch)) as kv:
        kv.redis.flushdb()
        kv.mput(values)
        names = [*values, "nobody"]
        assert kv.mget(names) == [*values.values(), None]
        assert kv.names() == sorted(values)
        assert kv.delete(*names) == len(values)
        assert kv.names() == []


def test_namespaces_do_not_see_each_other():
    with KV(namespace="one") as one, KV(namespace="two") as two:
        one.put("x", 1)
        assert two.get("x") is None
        two.put("x", 2)
        assert one.get("x") == 1
        assert one.redis.get(two.key("x")) is not None


def test_a_namespace_that_could_reach_into_another_is_refused():
    with pytest.raises(ConfigError, match="KV.namespace must have no ':'"):
        KV(namespace="one:two")


def test_by_address_two_notebooks_get_private_namespaces_that_clean_up(server):
    one, two = KV(server.address), KV(server.address)
    one.put("x", 1)
    assert two.get("x") is None and one.namespace != two.namespace
    assert 86_000 < one.ttl_s("x") <= 86_400
    one.close()
    assert two.redis.dbsize() == 0
    two.close()


def test_the_address_may_come_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("RECLAB_REDIS_URL", server.address)
    with KV(namespace="shared") as kv, server.client() as client:
        kv.put("x", 1)
        assert kv.address == server.address
        assert client.exists("shared:x")


def test_own_servers_are_not_reachable_by_others(server):
    assert server.folder.stat().st_mode & 0o077 == 0
    assert server.folder.parent.stat().st_mode & 0o077 == 0


def test_redis_gone_is_an_error_that_names_address_and_mending(server):
    kv = KV(server.address, "test")
    kv.put("x", 1)
    kill(server)
    operations = [
        lambda: kv.get("x"),
        lambda: kv.put("x", 1),
        lambda: kv.mget(["x"]),
        lambda: kv.mput({"x": 1}),
        lambda: kv.delete("x"),
        lambda: kv.names(),
        lambda: kv.ping(),
        lambda: kv.expire("x", 1),
    ]
    for operation in operations:
        with pytest.raises(StoreDown) as caught:
            operation()
        assert server.address in str(caught.value)
        assert "RECLAB_REDIS_URL" in str(caught.value) and "reconnect()" in str(caught.value)
    kv.close()


def test_redis_killed_in_the_middle_of_an_operation_is_that_error(server):
    kv = KV(server.address, "test", KVConfig(batch=50))
    killer = threading.Timer(0.1, kill, [server])
    killer.start()
    with pytest.raises(StoreDown, match="does not answer"):
        while True:
            kv.mput({f"k{i}": np.zeros(500) for i in range(500)})
            kv.mget([f"k{i}" for i in range(500)])
    killer.join()
    kv.close()


def test_a_server_that_hangs_is_given_up_after_the_timeout(server):
    kv = KV(server.address, "test", KVConfig(timeout_s=0.2))
    os.kill(server.pid, signal.SIGSTOP)
    try:
        start = time.monotonic()
        with pytest.raises(StoreDown, match="does not answer"):
            kv.get("x")
        assert time.monotonic() - start < 5
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert kv.get("x") is None
    kv.close()


def test_by_address_it_reconnects_by_itself_when_redis_is_back(tmp_path):
    path = tmp_path / "s"
    server = RedisServer()
    path.symlink_to(server.socket)  # a fixed address for servers that come and go
    kv = KV(f"unix://{path}", "test")
    kv.put("x", 1)
    kill(server)
    with pytest.raises(StoreDown):
        kv.get("x")
    server.stop()
    server.start()
    path.unlink()
    path.symlink_to(server.socket)
    assert kv.get("x") is None
    kv.put("x", 2)
    assert kv.get("x") == 2
    kv.close()
    server.stop()


def test_an_own_server_that_died_is_started_anew_by_reconnect_with_what_it_kept(tmp_path):
    kept = KV(config=KVConfig(folder=tmp_path / "data"))
    kept.put("x", np.arange(3))
    kept.redis.execute_command("WAIT", 0, 0)
    kill(kept._server)
    with pytest.raises(StoreDown, match="reads back what was written"):
        kept.get("x")
    kept.reconnect()
    assert kept.get("x").tolist() == [0, 1, 2]
    kept.close()
    kept._server.stop()
    assert not (tmp_path / "data" / "in_use").is_symlink()


def test_a_folder_in_use_is_not_opened_twice(tmp_path):
    server = RedisServer(tmp_path / "data")
    with pytest.raises(StoreDown, match=f"is open in process {os.getpid()}"):
        RedisServer(tmp_path / "data")
    server.stop()
    RedisServer(tmp_path / "data").stop()


def test_nobody_at_the_address_is_named_without_the_password():
    with pytest.raises(StoreDown) as caught:
        KV("redis://me:secret@localhost:1/0", config=KVConfig(timeout_s=0.5))
    assert "redis://me:…@localhost:1/0" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_address_that_is_none_is_refused_with_a_good_one():
    with pytest.raises(ConfigError, match="not a Redis address.*redis://localhost:6379/0"):
        KV("localhost:6379")


def test_without_an_embedded_redis_one_sentence_names_the_address_setting(monkeypatch):
    monkeypatch.setattr(redis_server.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(redis_server.shutil, "which", lambda name: None)
    with pytest.raises(StoreDown, match="no embedded Redis.*RECLAB_REDIS_URL=redis://"):
        RedisServer()


def test_a_server_that_cannot_start_says_why(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "appendonly.aof").write_bytes(b"*3\r\nnonsense, not a log of commands\r\n" * 9)
    with pytest.raises(StoreDown, match="did not start: .*Bad file format"):
        RedisServer(data)


def test_a_client_that_decodes_is_refused(server):
    with server.client() as client:
        client.set("test:x", b"i5")
    with KV(f"{server.address}?decode_responses=true", "test") as kv:
        with pytest.raises(DataError, match="decode_responses"):
            kv.get("x")


def test_other_errors_of_redis_are_not_hidden(server):
    with KV(server.address, "test") as kv:
        kv.redis.lpush(kv.key("list"), "a")
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            kv.get("list")


def test_more_threads_than_connections_wait_for_their_turn():
    with KV(namespace="test-crowd") as kv, ThreadPoolExecutor(4 * CONNECTIONS) as crowd:
        gate = threading.Barrier(4 * CONNECTIONS)

        def ask(number: int) -> object:
            gate.wait()
            kv.put(f"n{number}", number)
            return kv.get(f"n{number}")

        asked = range(4 * CONNECTIONS)
        assert list(crowd.map(ask, asked)) == list(asked)
        kv.delete(*(f"n{number}" for number in asked))


def test_a_server_that_is_still_on_its_way_out_is_replaced():
    with KV(namespace="test-leaving") as kv:
        pid, socket = kv._server.pid, kv._server.socket
        os.kill(pid, signal.SIGSTOP)  # it lives, and answers nobody
        socket.unlink()
        kv.reconnect()
        kv.put("a", 1)
        assert kv.get("a") == 1 and kv._server.pid != pid


def test_a_cluster_takes_the_same_calls_with_keys_on_several_nodes():
    with redis_cluster() as address, KV(address) as kv:
        values = {f"r{i}:v{i}": np.full(3, i) for i in range(300)}
        kv.mput(values)
        found = kv.mget([*values, "nobody"])
        assert found.pop() is None
        assert all((one == want).all() for one, want in zip(found, values.values(), strict=True))
        assert len({kv.redis.get_node_from_key(kv.key(name)).port for name in values}) == 3
        kv.put("one", 1, ttl_s=60)
        assert kv.get("one") == 1 and 59 < kv.ttl_s("one") <= 60
        assert kv.names() == sorted([*values, "one"])
        assert kv.delete(*values) == 300 and kv.names() == ["one"]


def test_a_cluster_that_does_not_answer_and_one_without_a_node_are_named():
    with pytest.raises(StoreDown, match="127.0.0.1:1"):
        KV("redis+cluster://127.0.0.1:1")
    with pytest.raises(ConfigError, match="names no node"):
        KV("redis+cluster://")
