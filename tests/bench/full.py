"""A million items beside the laptop scale: time of a request, and memory.

Each scale is served by a process of its own, from the cache (built first if need be), so that
memory is what serving takes, not what building took. The two are asked in turns, some requests
each, so that both see the same machine; quoted are medians, and the ratio of the medians.
"""

import json
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import reclab

ROUNDS, A_ROUND, QUIET = 12, 25, 40
MEMORY = {"own": "RssAnon", "mapped": "RssFile", "peak": "VmHWM"}


def memory_gb() -> dict[str, float]:
    """What this process holds of its own, the pages of files that it has mapped (the system may
    take those back), and the most it has ever held of both. Only Linux tells them apart."""
    status = Path("/proc/self/status")
    if not status.exists():
        return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}
    told = dict(re.findall(r"(\w+):\s+(\d+) kB", status.read_text()))
    return {name: int(told[key]) / 1e6 for name, key in MEMORY.items()}


def serve(scale: str) -> None:
    """Answer requests when asked on the standard input: a line of JSON for each line read."""
    began = time.perf_counter()
    lab = reclab.open(scale, progress=False)
    cascade, requests = lab.trained, lab.requests(QUIET + ROUNDS * A_ROUND)
    cascade.recommend(requests[0])
    first_s = time.perf_counter() - began
    for request in requests[:QUIET]:
        cascade.recommend(request)
    print(json.dumps({"first_s": first_s, "items": len(lab.logs.items)}), flush=True)
    todo = iter(requests[QUIET:])
    for _ in sys.stdin:
        wall, cpu = [], []
        for request in (next(todo) for _ in range(A_ROUND)):
            at, at_cpu = time.perf_counter_ns(), time.process_time_ns()
            cascade.recommend(request)
            wall.append((time.perf_counter_ns() - at) / 1e6)
            cpu.append((time.process_time_ns() - at_cpu) / 1e6)
        print(json.dumps({"wall": wall, "cpu": cpu, **memory_gb()}), flush=True)


class Server:
    """The process that serves one scale."""

    def __init__(self, scale: str) -> None:
        argv = [sys.executable, "-m", "tests.bench.full", "--serve", scale]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True)
        self.about = self.read()
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.held: dict[str, float] = {}

    def read(self) -> dict:
        """The next line of JSON; the stores may say a word before it."""
        for line in self.process.stdout:  # type: ignore[union-attr]
            if line.startswith("{"):
                return json.loads(line)  # type: ignore[no-any-return]
        raise RuntimeError("the serving process ended")

    def ask(self) -> None:
        """One round of requests."""
        self.process.stdin.write("go\n")  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]
        told = self.read()
        self.wall += told.pop("wall")
        self.cpu += told.pop("cpu")
        for name, gb in told.items():
            self.held[name] = max(gb, self.held.get(name, 0.0))

    def close(self) -> None:
        """Let the process end."""
        self.process.stdin.close()  # type: ignore[union-attr]
        self.process.wait()


def measure() -> dict[str, float]:
    """p50 and p99 (ms), memory (GB) and the ratios."""
    found = {}
    for scale in ("laptop", "full"):
        began = time.process_time()
        reclab.open(scale).close()
        found[f"cpu s to open or build {scale}"] = time.process_time() - began
    found["peak GB of that"] = memory_gb()["peak"]
    servers = {scale: Server(scale) for scale in ("laptop", "full")}
    for _ in range(ROUNDS):
        for server in servers.values():
            server.ask()
    p50 = {}
    for scale, server in servers.items():
        server.close()
        found[f"{scale}: items"] = server.about["items"]
        found[f"{scale}: s to the first answer"] = server.about["first_s"]
        for what, spent in (("ms", server.wall), ("cpu ms", server.cpu)):
            p50[scale, what] = float(np.median(spent))
            found[f"{scale}: p50 {what}"] = p50[scale, what]
            found[f"{scale}: p99 {what}"] = float(np.percentile(spent, 99))
        found |= {f"{scale}: {name} GB": gb for name, gb in server.held.items()}
    for what in ("ms", "cpu ms"):
        found[f"p50 full / laptop, {what}"] = p50["full", what] / p50["laptop", what]
    return found


def main() -> None:
    """Print the table."""
    if "--serve" in sys.argv:
        serve(sys.argv[-1])
        return
    for name, value in measure().items():
        print(f"{name:<34}{value:>12,.2f}")


if __name__ == "__main__":
    main()
