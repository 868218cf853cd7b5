"""Write the samples of the four tables into datasets/sample: ``python datasets/make_sample.py``.

They are generated from the tiny world with a fixed seed; no third-party data is among them.
"""

from pathlib import Path

from reclab.datasets.sample import write_sample
from reclab.world import WorldConfig, generate

if __name__ == "__main__":
    logs = generate(WorldConfig.at("tiny", seed=7)).logs
    for path in write_sample(logs, Path(__file__).parent / "sample"):
        print(f"{path.name}: {path.stat().st_size:,} bytes")
