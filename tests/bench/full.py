"""A million items beside the laptop scale: p50 of a request, and memory.

Each scale is opened and asked in a process of its own, from the cache (built first if need be), so
that memory is what serving takes, not what building took.
"""

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import reclab
from tests.bench.request import measure as request_times


def peak_gb() -> float:
    """Most memory this process has held. Linux lets a child inherit its parent's maximum, so there
    the kernel's own mark is read."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) / 1e6  # type: ignore[index]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def of(scale: str) -> dict[str, float]:
    """p50 (ms) and the peak of memory (GB) of a process that serves this scale."""
    reclab.open(scale).close()  # builds, in this process
    argv = [sys.executable, "-m", "tests.bench.full", "--serve", scale]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def main() -> None:
    """Print p50 and memory at both scales, and the ratio."""
    if "--serve" in sys.argv:
        p50 = request_times(reclab.open(sys.argv[-1], progress=False), 60)["p50 ms"]
        peak = peak_gb()
        print(json.dumps({"p50": p50, "peak": peak}))
        return
    laptop, full = of("laptop"), of("full")
    building = peak_gb()
    rows = {
        f"{k} {scale}": v[k]
        for k in ("p50", "peak")
        for scale, v in (("laptop", laptop), ("full", full))
    }
    rows |= {"p50 full / laptop": full["p50"] / laptop["p50"], "peak while building": building}
    for name, value in rows.items():
        print(f"{name:<28}{value:>9.2f}")


if __name__ == "__main__":
    main()
