"""The parts of the data path that are processes: a Redis that keeps its address, and consumers.

A Redis writes every append to a file before it answers, so a killed one comes back with all of it,
at the same address: a link to the socket of the server of the moment. A consumer's standard input
is a pipe that its owner holds: when that ends, however it ends, the consumer ends too.

Simplified: industry leaves this to Kubernetes.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from reclab.core.errors import DataError, ReclabError
from reclab.stores.redis_server import RedisServer

PATIENCE_S = 3.0  # a consumer that has not left by then is killed
GUARD = """
import os, runpy, sys, threading
def owned():
    while os.read(0, 1024):
        pass
    os._exit(1)
threading.Thread(target=owned, daemon=True).start()
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


class PartDown(ReclabError, ConnectionError):
    """A part of the data path did not start; the message has its last words."""


class DurableRedis:
    """redis-server, its file in ``folder``; ``address`` stays good over ``kill`` and ``start``."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.link = folder, folder / "redis.sock"
        self.address = f"unix://{self.link}"
        self._server = RedisServer(folder / "redis")
        self._point()

    def _point(self) -> None:
        """The link leads to the server of now, which answers only when it is on the disk."""
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(self._server.socket)
        with self._server.client() as client:
            client.config_set("appendfsync", "always")

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._server.running

    @property
    def pid(self) -> int:
        """Process id."""
        return self._server.pid

    def kill(self) -> None:
        """kill -9, as a power cut would. Raises ``DataError`` when it is dead already."""
        if not self.running:
            raise DataError("redis is not running: restart('redis') first")
        os.kill(self.pid, signal.SIGKILL)
        self._server.stop()  # waits for its end, and takes its folder away

    def start(self) -> None:
        """Start it on what the file holds. Raises ``StoreDown`` with its last words."""
        self._server.start()
        self._point()

    def stop(self) -> None:
        """The end."""
        self._server.stop()
        self.link.unlink(missing_ok=True)


class Consumers:
    """Python modules as processes, by name; what they print goes to ``folder``/NAME.log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, module: str, settings: Mapping[str, object]) -> int:
        """Start ``python -m module --setting value …``; its process id."""
        if self.running(name):
            raise DataError(f"{name} runs already: kill({name!r}) first")
        if name in self._processes:
            self._forget(name, PATIENCE_S)  # it ended by itself
        words = [sys.executable, "-c", GUARD, module]
        for option, value in settings.items():
            words += [f"--{option}", str(value)]
        path = os.pathsep.join([str(Path(__file__).parents[2]), *(p for p in sys.path if p)])
        with self._log(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": path}, process_group=0,
            )  # fmt: skip
        return self._processes[name].pid

    def running(self, name: str) -> bool:
        """Whether the process lives."""
        return name in self._processes and self._processes[name].poll() is None

    def check(self, names: Sequence[str]) -> None:
        """Raise ``PartDown`` with the last words of one that has ended."""
        for name in names:
            if not self.running(name):
                words = self._log(name).read_text(errors="replace").splitlines()[-3:]
                raise PartDown(f"{name} did not start: {' | '.join(words) or 'it said nothing'}")

    def kill(self, name: str) -> int:
        """kill -9; the process id it had."""
        if not self.running(name):
            raise DataError(f"{name} is not running: restart({name!r}) first")
        process = self._processes[name]
        process.kill()
        self._forget(name, 5.0)
        return process.pid

    def stop(self) -> None:
        """Ask all to leave, and kill those that do not."""
        for process in self._processes.values():
            process.terminate()
        until = time.monotonic() + PATIENCE_S
        for name in [*self._processes]:
            self._forget(name, max(until - time.monotonic(), 0.05))

    def _forget(self, name: str, patience_s: float) -> None:
        process = self._processes.pop(name)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin:
            process.stdin.close()

    def _log(self, name: str) -> Path:
        return self.folder / f"{name.replace(' ', '_')}.log"
