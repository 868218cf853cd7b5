"""Key-value store: put and get of bytes, text, numbers and arrays in Redis, embedded or by address.

value -> one tag byte and the plain bytes (an array: dtype, shape, then its memory; no pickle).
Without an address each process has a Redis of its own, so two notebooks never meet. With one (the
argument, or RECLAB_REDIS_URL) they share a server, and a namespace before every key keeps them
apart: a private one unless you name one, in which every key is forgotten after a day.
Reference: chapter 2.3.1 (labels, features), 2.4 (degradation cache), 2.5 (D_u): all live here.

Simplified: industry replicates every shard; by the address of a cluster the keys are sharded here.
"""

import os
import struct
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import numpy as np
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from reclab.core.errors import ConfigError, DataError, check, check_float, check_int
from reclab.core.types import Array
from reclab.stores.redis_server import (
    CONNECTIONS,
    URL_SETTING,
    WAIT_S,
    RedisServer,
    StoreDown,
    own_server,
)

__all__ = ["KV", "KVConfig", "StoreDown", "pack", "unpack"]

CLUSTER = "redis+cluster://"  # one node of a Redis Cluster: the client learns of the others
BROKEN = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.RedisClusterException,  # no node of a cluster answers
    ConnectionError,
    TimeoutError,
)
Value = bytes | str | int | float | bool | Array
DAY_S = 86_400


def pack(value: Value) -> bytes:
    """Bytes of a value. Raises ``DataError`` for anything but the types of ``Value``.

    >>> unpack(pack("猫")), unpack(pack(0.5)), unpack(pack(np.arange(3))).tolist()
    ('猫', 0.5, [0, 1, 2])
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        return b"b" + value
    if isinstance(value, str):
        return b"s" + value.encode()
    if isinstance(value, bool):
        return b"t" if value else b"n"
    if isinstance(value, int):
        return b"i" + str(value).encode()
    if isinstance(value, float):
        return b"f" + struct.pack("<d", value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufcSUmM":
        return _pack_array(value)
    kind = f"array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
    raise DataError(f"KV holds bytes, str, numbers and plain NumPy arrays, got {kind}")


def _pack_array(value: Array) -> bytes:
    """Tag, length of the header, header "dtype shape", padding, memory in C order."""
    head = f"{value.dtype.str} {','.join(map(str, value.shape))}".encode()
    head += b" " * (-(len(head) + 3) % 16)  # the memory starts aligned, so a view needs no copy
    return b"a" + struct.pack("<H", len(head)) + head + np.ascontiguousarray(value).tobytes()


def unpack(data: bytes) -> Value:
    """The value that ``pack`` packed; an array is a read-only view of ``data``."""
    tag, body = data[:1], data[1:]
    if tag == b"a":
        start = 3 + struct.unpack_from("<H", data, 1)[0]
        dtype, shape = data[3:start].decode().rstrip().partition(" ")[::2]
        flat = np.frombuffer(data, np.dtype(dtype), offset=start)
        return flat.reshape([int(n) for n in shape.split(",") if n])
    if tag == b"f":
        return float(struct.unpack("<d", body)[0])
    plain: dict[bytes, Callable[[bytes], Value]] = {
        b"b": bytes,
        b"s": bytes.decode,
        b"i": int,
        b"t": lambda _: True,
        b"n": lambda _: False,
    }
    if tag not in plain:
        raise DataError(f"these bytes were not written by KV: {data[:20]!r}…")
    return plain[tag](body)


@dataclass(frozen=True)
class KVConfig:
    """``timeout_s``: longest wait for an answer by address (0.05-60); ``batch``: keys sent in one
    go by mget and mput (100-10,000); ``folder``: where an embedded Redis keeps what was written
    (None = only in memory)."""

    timeout_s: float = 2.0
    batch: int = 1000
    folder: Path | None = None

    def __post_init__(self) -> None:
        check_float("KVConfig.timeout_s", self.timeout_s, 0.01, 600.0, "2")
        check_int("KVConfig.batch", self.batch, 1, 1_000_000, "1000")


class KV:
    """A store of named values; ``.redis`` is the client, for what this class does not offer.

    ``url``: redis://HOST:PORT/DB, rediss://…, unix://PATH, or redis+cluster://HOST:PORT for a Redis
    Cluster by one of its nodes; None = RECLAB_REDIS_URL, else a server of our own. Raises
    ``StoreDown`` when the server does not answer.
    """

    def __init__(
        self, url: str | None = None, namespace: str | None = None, config: KVConfig | None = None
    ) -> None:
        self.config = config or KVConfig()
        url = url or os.environ.get(URL_SETTING) or None
        self._url = url
        self._private = url is not None and namespace is None
        self.namespace = namespace or (f"private-{uuid.uuid4().hex[:12]}" if url else "reclab")
        check(
            ":" not in self.namespace and "*" not in self.namespace,
            "KV.namespace",
            self.namespace,
            "have no ':' or '*'",
            "lesson02",
        )
        self._server: RedisServer | None = None
        self._connect()

    def _connect(self) -> None:
        if self._url is None:
            self._server = own_server(self.config.folder)
            self.address, self.redis = self._server.address, self._server.client()
        else:
            self.address = _without_password(self._url)
            try:
                with self.answering():
                    self.redis = _client(self._url, self.config.timeout_s)
            except ValueError as error:
                good = "redis://localhost:6379/0"
                raise ConfigError(
                    f"{self._url!r} is not a Redis address ({error}): {good}"
                ) from error
        with self.answering():
            self.redis.ping()

    @property
    def is_cluster(self) -> bool:
        """Whether the keys are spread over a Redis Cluster: one command then asks one slot."""
        return isinstance(self.redis, redis.RedisCluster)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """``with kv.answering(): kv.redis…`` turns a broken connection into ``StoreDown``, which
        says where and what to do."""
        try:
            yield
        except BROKEN as error:
            if self._server is None:
                mend = f"start it, or set {URL_SETTING} to another address; then call reconnect()"
            elif self.config.folder:
                mend = "call reconnect(): a new server reads back what was written"
            else:
                mend = "call reconnect(): it starts a new server, empty"
            raise StoreDown(f"Redis at {self.address} does not answer ({error}): {mend}") from error

    def key(self, name: str) -> str:
        """The full key of a name, for use with ``.redis``."""
        return f"{self.namespace}:{name}"

    def _life_ms(self, ttl_s: float | None) -> int | None:
        if ttl_s is None:
            return DAY_S * 1000 if self._private else None
        check_float("ttl_s", ttl_s, 0.001, 10.0**9, "3600")
        return round(ttl_s * 1000)

    # -- put and get --------------------------------------------------------------------------

    def put(self, name: str, value: Value, ttl_s: float | None = None) -> None:
        """Store one value; forgotten after ``ttl_s`` seconds (None = kept)."""
        data, life = pack(value), self._life_ms(ttl_s)
        with self.answering():
            self.redis.set(self.key(name), data, px=life)

    def get(self, name: str) -> Value | None:
        """The value, None when there is none."""
        with self.answering():
            data = self.redis.get(self.key(name))
        return None if data is None else unpack(_bytes(data))

    def mput(self, values: Mapping[str, Value], ttl_s: float | None = None) -> None:
        """Store many, in few round trips. After a ``StoreDown`` a part may have been stored."""
        life = self._life_ms(ttl_s)
        packed = [(self.key(name), pack(value)) for name, value in values.items()]
        for part in _batches(packed, self.config.batch):
            with self.answering(), self.redis.pipeline(transaction=False) as pipe:
                for key, data in part:
                    pipe.set(key, data, px=life)
                pipe.execute()

    def mget(self, names: Iterable[str]) -> list[Value | None]:
        """The values in the order of the names, None where there is none."""
        found: list[Value | None] = []
        for part in _batches([self.key(name) for name in names], self.config.batch):
            with self.answering():
                held: Any = (
                    self.redis.mget_nonatomic(part)  # type: ignore[attr-defined]
                    if self.is_cluster
                    else self.redis.mget(part)
                )
            found += [None if data is None else unpack(_bytes(data)) for data in held]
        return found

    def delete(self, *names: str) -> int:
        """Forget names; returns how many were there."""
        deleted = 0
        for part in _batches([self.key(name) for name in names], self.config.batch):
            with self.answering():
                deleted += int(self.redis.delete(*part))
        return deleted

    def expire(self, name: str, ttl_s: float) -> bool:
        """Forget a name in ``ttl_s`` seconds; False when there is none."""
        life = self._life_ms(ttl_s)
        with self.answering():
            return bool(self.redis.pexpire(self.key(name), life or 1))

    def ttl_s(self, name: str) -> float | None:
        """Seconds until a name is forgotten; None when it is kept or not there."""
        with self.answering():
            left = int(self.redis.pttl(self.key(name)))
        return left / 1000 if left >= 0 else None

    def names(self) -> list[str]:
        """All names in this namespace, sorted. Walks the server: not for a request's path."""
        with self.answering():
            keys = list(self.redis.scan_iter(self.key("*"), count=1000))
        return sorted(_bytes(key).decode()[len(self.namespace) + 1 :] for key in keys)

    # -- life ---------------------------------------------------------------------------------

    def ping(self) -> bool:
        """True when the server answers; raises ``StoreDown`` when it does not."""
        with self.answering():
            return bool(self.redis.ping())

    def reconnect(self) -> None:
        """Connect again: an own server that died is started anew; one by address must answer."""
        self.redis.close()
        self._connect()

    def close(self) -> None:
        """Close the connection; keys of a private namespace are deleted first. The own server
        stays for others in this process and leaves with it."""
        if self._private:
            try:
                self.delete(*self.names())
            except StoreDown:
                pass  # the server is gone, or forgets them by itself within a day
        self.redis.close()

    def __enter__(self) -> "KV":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _client(url: str, timeout_s: float) -> "redis.Redis":
    """A client of one server or of a cluster; a cluster's takes the same commands."""
    patience: dict[str, Any] = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    if url.startswith(CLUSTER):
        # not by `from_url`: what that opens is not closed by close()
        plain = url.replace(CLUSTER, "redis://", 1)
        node: dict[str, Any] = dict(redis.connection.parse_url(plain))  # type: ignore[no-untyped-call]
        if "host" not in node:
            raise ValueError("it names no node")
        cluster = redis.RedisCluster(max_connections=CONNECTIONS, **node, **patience)
        return cast("redis.Redis", cluster)
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=WAIT_S,
        retry=Retry(NoBackoff(), 1),
        **patience,
    )
    return redis.Redis.from_pool(pool)


def _bytes(data: Any) -> bytes:
    if not isinstance(data, bytes):
        raise DataError("KV needs a client without decode_responses (remove it from the address)")
    return data


def _batches(values: Sequence[Any], size: int) -> Iterator[Any]:
    for at in range(0, len(values), size):
        yield values[at : at + size]


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":…@")).geturl()
