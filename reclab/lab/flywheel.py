"""The flywheel (数据飞轮): serve -> log -> join -> train -> index -> serve, on real parts.

    day      users come; the version of the morning serves; features and reports go into the log
    hourly   the joiner reads both and writes samples
    night    index and trainer read the samples; the new version is published for the morning

It starts cold: nothing is known, every page is drawn at random. A part that is stopped for some
days reads nothing; started again it goes on from its offsets. Runs that differ in what is stopped
are copies of one platform from the morning on when they part.
After a stop of the index the first days can be better than without one: the best of what was
posted meanwhile is still unseen.
Reference: chapter 2.3.1, figure 2.3.

Simplified: hundreds of users; one process turns all parts by simulated time.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from reclab.core.errors import check, check_float, check_int
from reclab.core.types import Array
from reclab.lab.flywheel_run import PARTS, Run
from reclab.lab.kept import kept
from reclab.lab.lab import Lab, Progress, progress_bar
from reclab.world.config import WorldConfig

STOPS: dict[str, tuple[str, ...]] = {
    "all running": (),
    "joiner stopped": ("joiner",),
    "trainer stopped": ("trainer",),
    "index stopped": ("index",),
    "frozen": PARTS,
}
"""what is stopped; "frozen" never starts again"""
LESSON = ("all running", "joiner stopped", "frozen")


@dataclass(frozen=True)
class FlywheelConfig:
    """Sizes of the simulation, and when parts are stopped."""

    users: int = 300
    """people (100-5000)"""
    items: int = 2_000
    """items at the launch (500-14 000)"""
    posts_per_day: float = 120.0
    """new items a day (0-1000)"""
    days: int = 12
    """simulated days (3-60)"""
    stop: int = 4
    """first day on which a part reads nothing (1-days)"""
    again: int = 8
    """day on which it reads again (stop-days)"""
    retrieve: int = 150
    """candidates of a page, for the ranker (20-500)"""
    explore: float = 0.1
    """share of the slots that are drawn at random (0.02-0.3)"""
    train_rows: int = 40_000
    """latest samples that a model learns from (5000-1 000 000)"""

    def __post_init__(self) -> None:
        check_int("FlywheelConfig.users", self.users, 20, 100_000, "300")
        check_int("FlywheelConfig.items", self.items, 200, 1_000_000, "2000")
        check_float("FlywheelConfig.posts_per_day", self.posts_per_day, 0.0, 1e6, "120")
        check_int("FlywheelConfig.days", self.days, 2, 365, "12")
        check_int("FlywheelConfig.stop", self.stop, 1, self.days, "4")
        check_int("FlywheelConfig.again", self.again, self.stop, self.days, "8")
        check_int("FlywheelConfig.retrieve", self.retrieve, 10, 10_000, "150")
        check_float("FlywheelConfig.explore", self.explore, 0.0, 1.0, "0.1")
        check_int("FlywheelConfig.train_rows", self.train_rows, 1_000, 10**8, "40000")

    def world(self, seed: int) -> WorldConfig:
        """The platform, otherwise as the tiny one."""
        return replace(
            WorldConfig.at("tiny", seed),
            scale="flywheel",
            n_users=self.users,
            n_items=self.items,
            days=self.days,
            posts_per_day=self.posts_per_day,
        )


@dataclass(frozen=True)
class Turns:
    """A run, by day (days,): ``quality`` as in ``flywheel_platform``, and what it is made of,
    ``value``, ``oracle`` and ``random``, mean P(long view) of a card; ``long_view`` share of the
    exposures; ``came`` share of the users; ``exposures``; ``new`` share of them on items of the
    last days; entries that ``joiner``, ``trainer`` and ``index`` had not read in the evening;
    ``model`` and ``index_version`` that served; ``refused`` models so far."""

    quality: Array
    value: Array
    oracle: Array
    random: Array
    long_view: Array
    came: Array
    exposures: Array
    new: Array
    joiner: Array
    trainer: Array
    index: Array
    model: Array
    index_version: Array
    refused: Array


@dataclass(frozen=True)
class Flywheel:
    """Runs of one platform by name (those of ``STOPS``), and the settings they had.

    A version is made at night, so stopped parts are felt from the day after ``stop`` to the day
    ``again``, and what was caught up from the day after that."""

    config: FlywheelConfig
    runs: Mapping[str, Turns]

    def stopped(self, name: str, column: str = "quality") -> float:
        """Mean of a column over the days on which a stop is felt."""
        return self._mean(name, column, slice(self.config.stop + 1, self.config.again + 1))

    def after(self, name: str, column: str = "quality") -> float:
        """Mean over the days after it."""
        return self._mean(name, column, slice(self.config.again + 1, None))

    def _mean(self, name: str, column: str, days: slice) -> float:
        return float(getattr(self.runs[name], column)[days].mean())

    def table(self) -> str:
        """A line a run: quality on the first day and before the stop, while it is felt, after;
        share of users who come and of new items while it is felt; most entries that waited."""
        c = self.config
        head = f"{'run':<17}{'day 0':>7}{'day ' + str(c.stop):>7}{'stopped':>9}{'after':>7}"
        lines = [head + f"{'users':>8}{'new items':>11}{'waiting':>9}{'models':>8}"]
        for name, run in self.runs.items():
            waiting = max(int(getattr(run, part).max()) for part in PARTS)
            felt = f"{self.stopped(name):>9.2f}{self.after(name):>7.2f}"
            shares = f"{self.stopped(name, 'came'):>8.0%}{self.stopped(name, 'new'):>11.0%}"
            lines.append(
                f"{name:<17}{run.quality[0]:>7.2f}{run.quality[c.stop]:>7.2f}{felt}{shares}"
                f"{waiting:>9}{int(run.model[-1]):>8}"
            )
        return "\n".join(lines)


def flywheel(
    lab: Lab, show: bool | Progress = True, config: FlywheelConfig | None = None, seed: int = 0
) -> Flywheel:
    """The lesson's runs (``LESSON``), lived once for a lab (about a minute) and then kept."""
    config = config or FlywheelConfig()

    def compute() -> dict[str, Turns]:
        with progress_bar("flywheel", show) as say:
            return turns(config, seed, LESSON, say)

    kind = f"flywheel_{config.users}_{config.days}_{config.stop}_{config.again}_{seed}"
    return Flywheel(config, kept(lab, kind, Turns, compute))


def turns(
    config: FlywheelConfig,
    seed: int,
    stops: Sequence[str] = tuple(STOPS),
    say: Progress | None = None,
) -> dict[str, Turns]:
    """The same platform with each of ``STOPS``, by name."""
    for name in stops:
        check(name in STOPS, "stops", name, f"be among {', '.join(STOPS)}", "joiner stopped")
    say = say or (lambda fraction, text: None)
    n_days = config.stop + len(stops) * (config.days - config.stop)
    found, done = {}, config.stop
    settings = config.retrieve, config.explore, config.train_rows
    with closing(Run(config.world(seed), *settings)) as run:
        common = []
        for day in range(config.stop):
            say(day / n_days, f"day {day}")
            common.append(run.day())
        for name in stops:
            rows = list(common)
            with closing(run.copied()) as mine:
                for day in range(config.stop, config.days):
                    say(done / n_days, f"{name}, day {day}")
                    runs_again = day >= config.again and name != "frozen"
                    rows.append(mine.day(() if runs_again else STOPS[name]))
                    done += 1
            found[name] = Turns(**{k: np.array([row[k] for row in rows]) for k in rows[0]})
    return found
