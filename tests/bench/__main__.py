"""``python lab.py bench [NAME …]``: speed beside bare kernels and peers, quality on real data.

Everything is measured here and now; speeds are quoted as ratios of one run.
"""

import argparse
import importlib
import platform
import time

BENCHES = {
    "open": "from a fresh process to the first answer: seconds and memory by step",
    "request": "a request beside its bare kernels; p99 beside p50",
    "explorer": "compute time of every slider move",
    "join_explorer": "compute time of every slider move of the sample join's control room",
    "quality": "value by policy and by stage size on the simulated platform, three seeds",
    "targets": "seven targets: watch time, calibration, fronts, rare ones (minutes)",
    "re_ranking": "re-rankers: us a request, and the value of their lists",
    "full": "a million items beside the laptop scale (minutes, 5 GB)",
    "ann": "recall and time of vector indexes, up to a million items (minutes)",
    "pre_ranking": "pre-rankers, their teachers, precisions and traffic duties (minutes)",
    "globo": "next clicks on a day of a news portal (needs the data)",
    "ml_loo": "each user's last film on MovieLens-100K (needs the data)",
    "ml100k": "AUC on MovieLens-100K (needs the data)",
    "dcaf_world": "value against cost of DCAF on the platform, three seeds (minutes)",
    "allocation": "pages and days of blending beside HiGHS, and what bids earn (minutes)",
    "dcaf": "the price of computing beside HiGHS, up to a million requests",
    "training_modes": "streaming, hourly, daily batch: drift and a bad hour, three seeds (minutes)",
    "surge": "degradation policies in a surge, a day, real traces; the load model beside a queue",
    "join": "the sample join beside a dictionary with a heap: 1,000,000 impressions (minutes)",
    "end_to_end": "requests and reports through the embedded Redis to samples: events/s",
    "regroup": "what D_u adds to a request: reading, merging; matches a second",
    "router": "200 concurrent pages on real processes: faults, recovery; overhead in one process",
    "joiner": "the joiner through the embedded Redis: impressions and reports a second, its state",
    "joiner_kills": "1,000,000 impressions, gateway, joiners and Redis killed 20 times (minutes)",
    "labels": "the label consumer through the embedded Redis, beside a dictionary",
    "gateway": "tracking events over HTTP into the log: events/s, p99, killed consumers",
    "features": "feature stores: versions, micro-batches, rebuilds, skew, drift",
    "serving": "each dependency down, three times the capacity, waits beside the capacity model",
    "flywheel": "every part of the flywheel stopped in turn, three seeds (minutes)",
    "matching": "items to users beside the bare searches, up to a million users (minutes)",
    "zoo": "nine rankers on MovieLens-100K (needs the data, half an hour)",
    "train_speed": "training beside another library's models (needs it and the data)",
    "blending_world": "six businesses: fronts of four policies, conflicts, 28 days (minutes)",
    "dualrec_days": "28 days with and without a creator side, and how to measure it (minutes)",
    "sequence": "what the behaviour sequence is worth on the simulated platform, three seeds",
}


def main() -> None:
    """Run the named benches, or all of them."""
    listed = "\n".join(f"  {name:<12}{about}" for name, about in BENCHES.items())
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("bench", epilog=listed, formatter_class=shape)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which (default: all)")
    names = parser.parse_args().names or list(BENCHES)
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        parser.error(f"no bench {', '.join(unknown)} (there are: {', '.join(BENCHES)})")
    print(f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}")
    for name in names:
        print(f"\n== {name}: {BENCHES[name]}", flush=True)
        began = time.perf_counter()
        importlib.import_module(f"tests.bench.{name}").main()
        print(f"({time.perf_counter() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
