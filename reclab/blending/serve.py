"""``python -m reclab.blending.serve NAME --port N``: one business as a server process of its own.

``--factory MODULE:FUNCTION`` names who is called with the name and returns the business; without it
that is the lab's, over the platform of ``RECLAB_SCALE``. When the server answers it prints
``ready NAME PORT``; it leaves on SIGTERM, and with ``--owned`` also when its standard input ends,
which it does when the process that started it dies, however it dies.

Simplified: industry runs it in a container, with health checks and metrics beside it.
"""

import argparse
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread

import grpc

from reclab.blending.blending_pb2_grpc import add_BusinessServicer_to_server
from reclab.blending.contract import Business
from reclab.blending.rpc import OPTIONS, Servicer
from reclab.core.errors import ConfigError, check_int

LAB = "reclab.lab.blending:open_business"  # by name only: this package knows nothing of the lab
GRACE_S = 0.2  # for calls under way when the server is asked to leave


def load_factory(where: str) -> Callable[[str], Business]:
    """The function that ``module:function`` names."""
    module, _, function = where.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"--factory must name a function, as in package.module:open_business, "
            f"got {where!r} ({error})"
        ) from error


def start_server(business: Business, port: int = 0, workers: int = 4) -> tuple[grpc.Server, int]:
    """A running gRPC server of one business on this machine, and its port (0 = a free one)."""
    check_int("port", port, 0, 65_535, "0 = any free one")
    pool = ThreadPoolExecutor(workers, thread_name_prefix=f"serve-{business.name}")
    server = grpc.server(pool, options=OPTIONS)
    add_BusinessServicer_to_server(Servicer(business), server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, bound


def _leave_with_owner(leave: Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):  # not sys.stdin.read: it holds a lock at the exit
        pass
    leave.set()
    time.sleep(2.0)
    os._exit(0)  # still opening the business, or hung: nobody waits for it any more


def main() -> None:
    """Serve until told to leave."""
    parser = argparse.ArgumentParser("reclab.blending.serve", description=__doc__)
    parser.add_argument("name", help="the business, as the factory knows it")
    parser.add_argument("--factory", default=LAB, help=f"module:function (default {LAB})")
    parser.add_argument("--port", type=int, default=0, help="0 = a free one (default)")
    parser.add_argument("--workers", type=int, default=4, help="calls at once (default 4)")
    parser.add_argument("--owned", action="store_true", help="leave when standard input ends")
    given = parser.parse_args()
    leave = Event()
    signal.signal(signal.SIGTERM, lambda *_: leave.set())
    if given.owned:
        Thread(target=_leave_with_owner, args=(leave,), daemon=True).start()
    business = load_factory(given.factory)(given.name)
    server, port = start_server(business, given.port, given.workers)
    print(f"ready {given.name} {port}", flush=True)
    leave.wait()
    server.stop(GRACE_S).wait()


if __name__ == "__main__":
    main()
