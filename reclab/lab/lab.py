"""``open_lab``: the platform, its logs, stores and models, built once a scale and seed.

Two cached folders: the platform (logs and hidden truth, or real logs converted), and what was
learned from the logs. The models learn from everything before the tuning requests, so that both
the requests a reader tunes on and the held-out ones are unseen.

Simplified: industry builds these nightly, by a scheduler, and versions every one of them.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from reclab import datasets, world
from reclab.cascade.pipeline import Cascade
from reclab.cascade.ranking.din import DIN, DINConfig
from reclab.cascade.ranking.features import FeatureBuilder, FeatureConfig
from reclab.cascade.ranking.training import TrainConfig
from reclab.core.clock import DAY_MS
from reclab.core.errors import DataError
from reclab.core.tables import Logs, read_logs, write_logs
from reclab.core.types import Request
from reclab.lab.cache import built, code_version
from reclab.lab.judge import ClickJudge, Judge, TruthJudge
from reclab.lab.latency import LatencyModel, measure_latency
from reclab.lab.panel import Panel, make_panel
from reclab.stores.exposures import RecentExposures
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.kv import KV
from reclab.stores.user_features import UserFeatures

SCALES = ("tiny", "laptop", "full")
BAR = "{l_bar}{bar}| {elapsed}{postfix}"
PANEL_REQUESTS = {"tiny": 60, "full": 40}
# The trap of lesson 02: ids, profile, tags and history, without counters.
TRAP = {
    "exposed only": TrainConfig(
        epochs=2, max_rows=250_000, learning_rate=6e-3, negatives="exposed"
    ),
    "sampled negatives": TrainConfig(
        epochs=2, max_rows=250_000, learning_rate=6e-3, negatives="sampled", n_sampled=3
    ),
}
STATIC = FeatureConfig(with_statistics=False)
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Stores:
    """The state that outlives a request."""

    items: ForwardIndex
    users: UserFeatures
    kv: KV
    exposures: RecentExposures


@dataclass
class Lab:
    """Everything a lesson drives. Parts are loaded when first asked for."""

    scale: str
    seed: int
    platform_folder: Path
    models_folder: Path
    origin: str = "world"
    data: str = ""
    _open: list[KV] = field(default_factory=list)

    def __repr__(self) -> str:
        what = f"scale {self.scale!r}, seed {self.seed}" if self.has_truth else f"data {self.data}"
        n_users = len(np.unique(self.logs.users["user_id"]))
        sizes = f"{n_users:,} users, {len(self.logs.items):,} items"
        return f"Lab({self.origin}: {what}; {sizes}, {len(self.logs.interactions):,} interactions)"

    @property
    def has_truth(self) -> bool:
        """True on the simulated platform, False on real logs."""
        return self.origin == "world"

    @cached_property
    def logs(self) -> Logs:
        """The four log tables and the late reports."""
        return read_logs(self.platform_folder / "logs")

    @cached_property
    def world(self) -> world.World:
        """The simulated platform with its hidden truth. Raises ``DataError`` on real logs."""
        if not self.has_truth:
            raise DataError(
                f"lab.world: these are real logs ({self.origin}), their truth is hidden"
            )
        truth = world.Truth.load(self.platform_folder / "truth")
        return world.World(world.WorldConfig.at(self.scale, self.seed), truth, self.logs)

    @cached_property
    def stores(self) -> Stores:
        """Feature stores over the logs, and a Redis of this process."""
        kv = KV()
        self._open.append(kv)
        parts = self.trained.parts
        return Stores(parts.index, parts.users, kv, RecentExposures(kv))

    @cached_property
    def trained(self) -> Cascade:
        """The cascade as it was trained, without a memory of what it shows."""
        return Cascade.load(self.models_folder / "cascade")

    @cached_property
    def cascade(self) -> Cascade:
        """The live cascade: it asks Redis what each user was shown since the log ended."""
        return self.trained.with_parts(exposures=self.stores.exposures)

    @cached_property
    def static_rankers(self) -> dict[str, DIN]:
        """The trap and its first cure: the ranker's network without as-of counters, trained on
        exposed rows only, and with sampled negatives."""
        p, folder = self.trained.parts, self.models_folder / "static"
        static = FeatureBuilder.load(folder, p.index, p.users)
        return {
            name: DIN.load(folder / train.negatives, static, DINConfig(train=train))
            for name, train in TRAP.items()
        }

    @cached_property
    def judge(self) -> Judge:
        """Who says what a list was worth: the hidden truth, or the clicks that followed."""
        if self.has_truth:
            return TruthJudge(self.world.truth)
        return ClickJudge(self.logs, self.trained.parts.index)

    @cached_property
    def panel(self) -> Panel:
        """The explorer's requests (the tuning split), scored in advance."""
        return Panel.load(self.models_folder / "panel.npz")

    @cached_property
    def latency(self) -> LatencyModel:
        """Milliseconds by stage, measured on this machine when first asked for (seconds)."""
        return measure_latency(self.trained, self.requests(20))

    def requests(self, n: int = 100, split: str = "tuning") -> list[Request]:
        """Requests that no model has seen: ``tuning`` to turn knobs on, ``held_out`` to report."""
        return self.judge.requests(split, n)

    def close(self) -> None:
        """Close the connections of this lab."""
        while self._open:
            self._open.pop().close()


# ---- open ----------------------------------------------------------------------------------


def open_lab(
    scale: str | None = None,
    seed: int = 0,
    *,
    data: str | Path | None = None,
    progress: bool = True,
) -> Lab:
    """Build (once) or load the lab of a scale (tiny, laptop, full) and seed, or of real logs.

    ``RECLAB_SCALE`` and ``RECLAB_DATA`` overrule the arguments (that is how
    ``python lab.py run 02 --data PATH`` gives a lesson other logs). Raises ``ConfigError`` for an
    unknown scale, ``DataError`` for a folder that holds no known data set.
    """
    scale = os.environ.get("RECLAB_SCALE") or scale or "laptop"
    data = os.environ.get("RECLAB_DATA") or data
    if data:
        return _open_data(Path(data), seed, progress)
    config = world.WorldConfig.at(scale, seed)
    platform = code_version(["core", "world"])

    def build_platform(folder: Path) -> None:
        with progress_bar(f"platform ({scale}, seed {seed})", progress) as say:
            made = world.generate(config, say)
            world.write(made, folder / "logs")
            made.truth.save(folder / "truth")

    where = built(f"platform-{scale}-{seed}", platform, build_platform)
    return _with_models(Lab(scale, seed, where, where), platform, progress)


def _open_data(path: Path, seed: int, progress: bool) -> Lab:
    """A lab over real logs: converted once, keyed by the files' names, sizes and times."""
    files = sorted(f for f in (path.rglob("*") if path.is_dir() else [path]) if f.is_file())
    facts = [f"{f.resolve()} {f.stat().st_size} {f.stat().st_mtime_ns}" for f in files]
    key = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]
    version = code_version(["core", "datasets"])

    def convert(folder: Path) -> None:
        with progress_bar(f"reading {path.name}", progress) as say:
            say(0.0, "reading")
            logs = datasets.load(path)
            write_logs(logs, folder / "logs")
            (folder / "report.txt").write_text(str(logs.report), encoding="utf-8")

    where = built(f"data-{key}", version, convert)
    print((where / "report.txt").read_text(encoding="utf-8"))
    origin = (where / "logs/origin.txt").read_text(encoding="utf-8")
    lab = Lab(f"data-{key}", seed, where, where, origin, str(path))
    ClickJudge(lab.logs, ForwardIndex(lab.logs.items))  # too few rows are said before training
    return _with_models(lab, version, progress)


def _with_models(lab: Lab, platform: str, progress: bool) -> Lab:
    """The lab with its trained models, built if need be."""
    name = f"{lab.scale}, seed {lab.seed}" if lab.has_truth else lab.origin
    version = f"{platform}-{code_version(['stores', 'cascade', 'lab'])}"

    def build_models(folder: Path) -> None:
        new = replace(lab)  # what it reads for the building is forgotten with it
        with progress_bar(f"models ({name})", progress) as say:
            cascade = Cascade().fit(new.logs, train_until(new), lambda f, text: say(0.6 * f, text))
            cascade.save(folder / "cascade")
            say(0.6, "rankers for the experiment on training data")
            p = cascade.parts
            static = FeatureBuilder(STATIC).fit(new.logs, p.index, p.users, p.until_ms)
            static.save(folder / "static")
            for train in TRAP.values():
                ranker = DIN(DINConfig(train=train)).fit(new.logs, static, p.until_ms)
                ranker.save(folder / "static" / train.negatives)
            n = PANEL_REQUESTS.get(lab.scale, 100)
            new.trained = cascade
            panel = make_panel(
                cascade, new.judge, "tuning", n, lambda f, text: say(0.8 + 0.2 * f, text)
            )
            panel.save(folder / "panel.npz")

    folder = built(f"models-{lab.scale}-{lab.seed}", version, build_models)
    return replace(lab, models_folder=folder)


def train_until(lab: Lab) -> int:
    """Time (ms) before which the models may learn: where the tuning requests begin."""
    if lab.has_truth:
        return (lab.world.config.days - 2) * DAY_MS
    return int(np.quantile(lab.logs.interactions["time_ms"], 0.8))


@contextmanager
def progress_bar(title: str, show: bool | Progress) -> Iterator[Progress]:
    """A progress bar in per cent, whose text says what is being done; or whoever is to be told
    instead."""
    if callable(show):
        yield show
        show(1.0, "done")
        return
    bar = tqdm(
        total=100, desc=title, disable=not show, bar_format="{l_bar}{bar}| {elapsed}{postfix}"
    )

    def say(fraction: float, text: str) -> None:
        bar.n = round(100 * min(max(fraction, 0.0), 1.0))
        bar.set_postfix_str(text)

    with bar:
        yield say
        say(1.0, "done")
