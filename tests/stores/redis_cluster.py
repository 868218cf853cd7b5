"""A Redis Cluster of three nodes without replicas, for tests: started, joined, and stopped."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import redis

from reclab.stores.redis_server import find_binary

SLOTS, NODES, START_S = 16_384, 3, 30.0


def _free_port() -> int:
    """A port whose cluster bus, 10,000 above, fits below 65,536."""
    while True:
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            if (port := probe.getsockname()[1]) < 55_000:
                return port


def _start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    folder.mkdir()
    settings = {"port": port, "bind": "127.0.0.1", "dir": folder, "save": "", "appendonly": "no",
                "cluster-enabled": "yes", "cluster-node-timeout": 2000,
                "cluster-require-full-coverage": "no"}  # fmt: skip
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    quiet = subprocess.DEVNULL
    return subprocess.Popen([str(find_binary()), *words], stdout=quiet, stderr=quiet)


@contextmanager
def redis_cluster() -> Iterator[str]:
    """The address of a cluster whose nodes know each other and share all slots."""
    folder = Path(tempfile.mkdtemp(prefix="cluster-"))
    ports = sorted({_free_port() for _ in range(20)})[:NODES]
    nodes = [_start(folder / str(port), port) for port in ports]
    clients = [redis.Redis(port=port) for port in ports]
    try:
        _join(clients, ports)
        yield f"redis+cluster://127.0.0.1:{ports[0]}"
    finally:
        for client, node in zip(clients, nodes, strict=True):
            client.close()
            node.kill()
            node.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _join(clients: list[redis.Redis], ports: list[int]) -> None:
    until = time.monotonic() + START_S
    for i, client in enumerate(clients):
        while time.monotonic() < until:
            with suppress(redis.ConnectionError):
                client.ping()
                break
            time.sleep(0.02)
        first, stop = (SLOTS * n // len(clients) for n in (i, i + 1))
        client.execute_command("CLUSTER ADDSLOTS", *range(first, stop))
        client.execute_command("CLUSTER SET-CONFIG-EPOCH", i + 1)
    for port in ports[1:]:
        clients[0].execute_command("CLUSTER MEET", "127.0.0.1", port)
    while not all(_whole(client) for client in clients):
        assert time.monotonic() < until, "the nodes of the cluster did not find each other"
        time.sleep(0.05)


def _whole(client: redis.Redis) -> bool:
    told = client.cluster("info")
    complete = int(told["cluster_slots_assigned"]) == SLOTS  # else the client is sent around
    return told["cluster_state"] == "ok" and complete and int(told["cluster_known_nodes"]) == NODES
