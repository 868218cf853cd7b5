"""redis_server: no server outlives its owner for long, and owners do not meet.

Every test works with real processes in a folder of its own.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow

OPEN = """
import sys, time
from pathlib import Path
from reclab.stores.kv import KV, KVConfig
folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
kv = KV(config=KVConfig(folder=folder))
"""
FORK = """
import os
from reclab.stores.kv import KV
kv = KV()
kv.put('x', 'parent')
child = os.fork()
if child == 0:
    own = KV()
    found = own.get('x')
    kv._server.stop(), own._server.stop()
    os._exit(0 if found is None else 1)
print(os.waitpid(child, 0)[1], kv.get('x'))
"""
HOLD = OPEN + "kv.put('x', 'first'); print(kv._server.pid, flush=True); time.sleep(60)"
LOOK = OPEN + "print(kv.get('x'), flush=True)"


@pytest.fixture
def home():
    """A folder for sockets (their paths are limited to about 100 letters) and data."""
    with tempfile.TemporaryDirectory(prefix="rl") as folder:
        yield Path(folder)
        for pid_file in Path(folder).rglob("redis.pid"):  # only a failed test leaves one
            orphan = psutil.Process(int(pid_file.read_text()))
            if any(folder in word for word in orphan.cmdline()):
                orphan.kill()


def start(home, code, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "TMPDIR": str(home), "RECLAB_REDIS_URL": ""},
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def answer(process):
    """First line that the process prints."""
    line = process.stdout.readline().strip()
    assert line, "the process printed nothing"
    return line


def finish(process):
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out.strip()


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)


def gone(pid, within_s=5.0):
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def run_folders(home):
    return list(home.glob("reclab-redis-*/*"))


def test_at_exit_the_server_leaves_with_its_folder(home):
    process = start(home, OPEN + "kv.put('x', 1); print(kv._server.pid)")
    pid = int(finish(process))
    assert gone(pid, 1.0)
    assert run_folders(home) == []


def test_a_killed_owner_leaves_a_server_that_the_next_start_reaps(home):
    owner = start(home, HOLD)
    pid = int(answer(owner))
    kill(owner)
    assert psutil.pid_exists(pid)  # nobody was left to stop it
    assert finish(start(home, LOOK)) == "None"
    assert gone(pid)
    assert run_folders(home) == []


def test_a_hung_orphan_is_killed(home):
    owner = start(home, HOLD)
    pid = int(answer(owner))
    os.kill(pid, signal.SIGSTOP)
    kill(owner)
    assert finish(start(home, LOOK)) == "None"
    assert gone(pid)


def test_a_process_that_got_the_number_of_an_orphan_is_not_hit(home):
    owner = start(home, HOLD)
    pid = int(answer(owner))
    (folder,) = run_folders(home)
    os.kill(pid, signal.SIGKILL)
    kill(owner)
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (folder / "redis.pid").write_text(str(bystander.pid))
    assert finish(start(home, LOOK)) == "None"
    assert not folder.exists()
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_two_notebooks_open_at_once_do_not_meet(home):
    one = start(home, HOLD)
    pid = int(answer(one))
    assert finish(start(home, LOOK)) == "None"
    assert psutil.Process(pid).status() != psutil.STATUS_ZOMBIE  # a living owner is left alone
    assert len(run_folders(home)) == 1
    kill(one)
    finish(start(home, LOOK))
    assert gone(pid)


def test_what_a_killed_owner_wrote_to_its_folder_is_read_by_the_next(home):
    owner = start(home, HOLD, home / "data")
    pid = int(answer(owner))
    kill(owner)
    assert finish(start(home, LOOK, home / "data")) == "first"
    assert gone(pid)


def test_a_folder_open_in_a_living_process_is_named_with_it(home):
    owner = start(home, HOLD, home / "data")
    answer(owner)
    code = OPEN.replace("kv = KV", "from reclab.stores.kv import StoreDown\ntry: KV")
    other = start(home, code + "\nexcept StoreDown as error: print(error)", home / "data")
    assert f"is open in process {owner.pid}" in finish(other)
    kill(owner)
    assert finish(start(home, LOOK, home / "data")) == "first"


def test_a_folder_whose_owner_was_killed_opens_even_if_temporary_files_moved(home):
    owner = start(home, HOLD, home / "data")
    pid = int(answer(owner))
    kill(owner)
    (home / "moved").mkdir()
    assert finish(start(home / "moved", LOOK, home / "data")) == "first"
    assert gone(pid)


def test_a_forked_child_has_its_own_server_and_leaves_its_parents_alone(home):
    assert finish(start(home, FORK)) == "0 parent"
    assert run_folders(home) == []


def test_interrupting_the_owner_does_not_interrupt_the_server(home):
    code = (
        OPEN
        + """
kv.put('x', 'first')
try:
    print('ready', flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.5)  # a server that was interrupted takes its time to leave
    print(kv.get('x'), flush=True)
"""
    )
    owner = start(home, code, start_new_session=True)
    answer(owner)
    os.killpg(owner.pid, signal.SIGINT)  # what a notebook's stop button does
    assert finish(owner) == "first"
