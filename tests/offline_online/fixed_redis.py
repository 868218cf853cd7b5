"""A Redis that may be killed and comes back at the same address with all it had acknowledged."""

import os
import signal
import subprocess
import time
from pathlib import Path

import redis

from reclab.stores.redis_server import find_binary


class FixedRedis:
    """redis-server on a socket in ``folder``; every write is on the disk before it is answered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"unix://{folder / 'redis.sock'}"
        self.start()

    def start(self) -> None:
        """Start it on what the folder holds, and wait until it answers."""
        settings = {"port": "0", "unixsocket": str(self.folder / "redis.sock"), "save": "",
                    "dir": str(self.folder), "appendonly": "yes",
                    "appendfsync": "always"}  # fmt: skip
        words = [str(find_binary())]
        for name, value in settings.items():
            words += [f"--{name}", value]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(words, stdin=quiet, stdout=quiet, stderr=quiet)
        client, until = redis.Redis.from_url(self.address), time.monotonic() + 60
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:  # also while it reads its file back
                assert time.monotonic() < until and self.process.poll() is None
                time.sleep(0.02)
        client.close()

    def kill(self) -> None:
        """As a power cut would."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
