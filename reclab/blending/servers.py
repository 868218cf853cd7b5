"""Servers: the businesses as processes, started and stopped with one call, none left behind.

    with Servers(("live", "ads"), "mypackage.businesses:open") as servers:
        router = Router(servers.clients(), ...)
        servers.kill("live")                      # kill -9: what an operator never plans

Each process listens on a free port of this machine and keeps it when it is started again, so that
the Router's address stays good. A process ends with its owner: its standard input is a pipe that
the owner holds, and a stopped one is hung up by the system, because it shares the owner's session.
What a process prints is kept in a log file as long as the servers are open.

Simplified: industry leaves this to Kubernetes.
"""

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from reclab.blending.rpc import Remote
from reclab.core.errors import DataError, ReclabError, check

STOP_S = 3.0  # a server that has not left by then is killed


class ServerDown(ReclabError, ConnectionError):
    """A business's process did not come up; the message has its last words."""


class Servers:
    """One process a business. ``factory``: ``module:function`` that this process can import too,
    called in the new process with the business's name; ``environment``: variables that the new
    processes have beside this one's."""

    def __init__(
        self,
        names: Sequence[str],
        factory: str,
        *,
        start_s: float = 60.0,
        workers: int = 4,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        check(len({*names}) == len(names) > 0, "Servers.names", names, "be different", "live, ads")
        self.names, self.factory = tuple(names), factory
        self.start_s, self.workers = start_s, workers
        self.environment = dict(environment or {})
        self.folder = Path(tempfile.mkdtemp(prefix="reclab-servers-"))
        self.ports: dict[str, int] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._log_at: dict[str, int] = {}  # where the words of the latest start begin
        self._clients: list[Remote] = []
        atexit.register(self.stop)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    # ---- what a lesson does to them ------------------------------------------------------------

    def start(self, *names: str, factory: str = "") -> None:
        """Start these (default: all), at the same time, and wait until they answer. Another
        ``factory`` is another release of the business."""
        names = self._known(names)
        for name in names:
            self._launch(name, factory or self.factory)
        until = time.monotonic() + self.start_s
        for name in names:
            self.ports[name] = self._await(name, until)

    def kill(self, name: str) -> None:
        """kill -9: the process has no time for a last word."""
        self._end(*self._known((name,)), patience_s=0.0)

    def hang(self, name: str) -> None:
        """Stop the process where it stands (SIGSTOP): connected, and silent."""
        self._process(name).send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Let a hung process go on."""
        self._process(name).send_signal(signal.SIGCONT)

    def restart(self, name: str, factory: str = "") -> None:
        """Kill the process if it lives, and start it again on its port."""
        self.kill(name)
        self.start(name, factory=factory)

    def stop(self) -> None:
        """End all processes and remove their logs. Twice does no harm."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        for process in self._processes.values():
            process.send_signal(signal.SIGCONT)  # a hung one hears nothing
            process.terminate()
        for name in [*self._processes]:
            self._end(name, patience_s=STOP_S)
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.stop)

    # ---- what one wants to know ----------------------------------------------------------------

    def clients(self) -> list[Remote]:
        """A client for each, in their order; closed when the servers are."""
        made = [Remote(name, f"127.0.0.1:{self.ports[name]}") for name in self.names]
        self._clients += made
        return made

    def pid(self, name: str) -> int:
        """Process id."""
        return self._process(name).pid

    def running(self, name: str) -> bool:
        """Whether the process lives (a hung one does)."""
        process = self._processes.get(name)
        return process is not None and process.poll() is None

    def log(self, name: str) -> str:
        """What the process has printed since the servers were opened."""
        path = self.folder / f"{name}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    # ---- how ------------------------------------------------------------------------------------

    def _known(self, names: Sequence[str]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in self.names]
        if unknown:
            raise DataError(f"no server {unknown[0]!r} (there are: {', '.join(self.names)})")
        return tuple(names) or self.names

    def _process(self, name: str) -> "subprocess.Popen[bytes]":
        self._known((name,))
        if not self.running(name):
            raise DataError(f"server {name!r} is not running: Servers.start({name!r}) first")
        return self._processes[name]

    def _launch(self, name: str, factory: str) -> None:
        if self.running(name):
            raise DataError(f"server {name!r} runs already: Servers.restart({name!r})")
        command = [sys.executable, "-m", "reclab.blending.serve", name, "--owned"]
        command += ["--factory", factory, "--workers", str(self.workers)]
        command += ["--port", str(self.ports.get(name, 0))]
        # what this process can import, the new one can
        path = os.pathsep.join([str(Path(__file__).parents[2]), *(p for p in sys.path if p)])
        with (self.folder / f"{name}.log").open("ab") as log:
            self._log_at[name] = log.tell()
            self._processes[name] = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": path, **self.environment},
                # interrupting the notebook's kernel must not interrupt the servers
                process_group=0,
            )

    def _await(self, name: str, until: float) -> int:
        """The port, once the process has said that it is ready."""
        process, ended = self._processes[name], False
        while not ended and time.monotonic() < until:
            ended = process.poll() is not None
            for line in self._latest_words(name):
                said, _, port = line.rpartition(" ")
                if said == f"ready {name}" and not ended:
                    return int(port)
            time.sleep(0.01)
        why = f"left with code {process.poll()}" if ended else f"is not ready in {self.start_s} s"
        said = " | ".join(self._latest_words(name)[-3:]) or "it said nothing"
        self._end(name, patience_s=0.0)
        raise ServerDown(f"the server of business {name!r} {why}: {said}")

    def _latest_words(self, name: str) -> list[str]:
        words = (self.folder / f"{name}.log").read_bytes()[self._log_at[name] :]
        return words.decode(errors="replace").splitlines()

    def _end(self, name: str, patience_s: float) -> None:
        process = self._processes.pop(name, None)
        if process is None:
            return
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin:
            process.stdin.close()
