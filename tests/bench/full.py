"""A million items beside the laptop scale: p50 of a request, and memory."""

import resource

import reclab
from tests.bench.request import measure as request_times


def main() -> None:
    """Print p50 at both scales, their ratio, and the peak of memory."""
    laptop = request_times(reclab.open("laptop"), 60)["p50 ms"]
    full = request_times(reclab.open("full"), 60)["p50 ms"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{'p50 laptop ms':<28}{laptop:>9.2f}\n{'p50 full ms':<28}{full:>9.2f}")
    print(f"{'full / laptop':<28}{full / laptop:>9.2f}\n{'peak memory GB':<28}{peak:>9.2f}")


if __name__ == "__main__":
    main()
