"""``python -m reclab.world [--scale laptop] [--seed 0] [--brief]``: the calibration card.

Prints every line that the world follows, the target, what it obtains and whether that is in its
range, then the phenomena of the world. Exit status 1 when a line is out of its range.
"""

import argparse
import sys
import time
from collections.abc import Iterable

from reclab.world import phenomena
from reclab.world.card import Line, card
from reclab.world.config import SCALES, WorldConfig
from reclab.world.generate import generate


def show(title: str, lines: Iterable[Line]) -> bool:
    """Print a section; True when every line is in its range."""
    print(f"\n{title:<52}{'target':>9}{'obtained':>10}")
    good = True
    for line in lines:
        print(line, flush=True)
        good &= line.ok
    return good


def main(arguments: list[str] | None = None) -> int:
    """Print the card; 0 when all of it holds."""
    parser = argparse.ArgumentParser(prog="python -m reclab.world", description=__doc__)
    parser.add_argument("--scale", choices=list(SCALES), default="laptop")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--brief", action="store_true", help="the card only, no phenomena")
    asked = parser.parse_args(arguments)
    start = time.perf_counter()
    world = generate(WorldConfig.at(asked.scale, asked.seed))
    logs = world.logs
    print(
        f"scale {asked.scale}, seed {asked.seed}: {len(logs.users):,} users, {len(logs.items):,} "
        f"items, {world.config.days} days, {len(logs.interactions):,} impressions, "
        f"{len(logs.feedback):,} reports, in {time.perf_counter() - start:.1f} s"
    )
    if asked.scale != "laptop":
        print(f"{asked.scale} is not calibrated: its figures are shown, none is claimed.")
    good = show("Calibration: real platforms against this world", card(world))
    if not asked.brief:
        good &= show("Lists of ten on the last day (target: prototype)", phenomena.lists(world))
        for title, section in phenomena.SECTIONS.items():
            good &= show(title, section(asked.seed))
        print("\nMeasured later, where the models are trained:", *phenomena.LATER, sep="\n  ")
    return 0 if good or asked.scale != "laptop" else 1


if __name__ == "__main__":
    sys.exit(main())
