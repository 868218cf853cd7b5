"""The calibration card: every measurement of real platforms that the world claims to follow, the
value it obtains, and the range it must stay in; and, said openly, what it does not follow.

Sources: KuaiRand-27K (322,278,385 exposures; Gao et al. 2022), a day of Globo's clicks (de Souza
Pereira Moreira et al. 2018), KuaiRec's captions (Gao et al. 2022), as measured on the data.
Simplified: marginal figures, not joint distributions.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from reclab.core.clock import HOUR_MS
from reclab.core.metrics import gini, top_share
from reclab.core.tables import Table
from reclab.core.types import Array
from reclab.world.content import captions
from reclab.world.generate import World
from reclab.world.traffic import hour_share

N_CAPTIONS = 8_512  # captions judged, as many as KuaiRec has labelled


@dataclass(frozen=True)
class Line:
    """One measurement: ``target`` elsewhere (NaN: none was measured), ``obtained`` here, and the
    range allowed. Without a range the figure is shown and not claimed; ``note`` says why."""

    name: str
    target: float
    obtained: float
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def ok(self) -> bool:
        """Within its range, or not claimed."""
        if self.low is None or self.high is None:
            return True
        return self.low <= self.obtained <= self.high

    def __str__(self) -> str:
        if self.low is None:
            verdict = "not claimed: " + self.note
        else:
            verdict = f"{'ok ' if self.ok else 'OUT'} {self.low:g} … {self.high:g}"
        target = "-" if np.isnan(self.target) else f"{self.target:.4g}"
        return f"{self.name:<52}{target:>9}{self.obtained:>10.4g}  {verdict}"


def near(name: str, target: float, obtained: float, tolerance: float) -> Line:
    """A line that may differ from its target by a share ``tolerance``."""
    low, high = target * (1 - tolerance), target * (1 + tolerance)
    return Line(name, target, float(obtained), float(f"{low:.3g}"), float(f"{high:.3g}"))


def card(world: World) -> list[Line]:
    """All lines for a world at laptop scale (smaller scales are not calibrated)."""
    shown = world.logs.interactions
    parts = (_policies(shown), _users(shown), _items(world), _clock(shown), _lateness(world))
    return [line for part in parts for line in part] + list(_captions(world))


def _policies(shown: Table) -> Iterator[Line]:
    random = shown["is_random"]
    usual = ~random
    click, long_view, watch = shown["is_click"], shown["is_long_view"], shown["watch_sec"]
    yield near("click rate, standard policy", 0.379, click[usual].mean(), 0.08)
    yield near("click rate, uniformly random slots", 0.176, click[random].mean(), 0.10)
    yield near("long-view rate, standard policy", 0.276, long_view[usual].mean(), 0.08)
    yield near("long-view rate, uniformly random slots", 0.100, long_view[random].mean(), 0.12)
    yield near("mean play, standard policy (s)", 19.7, watch[usual].mean(dtype=float), 0.12)
    yield near("mean play, uniformly random slots (s)", 7.8, watch[random].mean(dtype=float), 0.18)
    yield near("median play (s)", 2.9, np.median(watch), 0.10)


def _users(shown: Table) -> Iterator[Line]:
    _, row, count = np.unique(shown["user_id"], return_inverse=True, return_counts=True)
    rate = np.bincount(row, shown["is_click"]) / count
    rate = rate[count >= 20]  # a rate of a handful of impressions is noise
    p50, p90 = np.percentile(rate, [50, 90])
    yield near("users' click rate, median", 0.47, p50, 0.07)
    yield near("users' click rate, p90", 0.72, p90, 0.05)


def _items(world: World) -> Iterator[Line]:
    shown, items = world.logs.interactions, world.logs.items
    p50, p90 = np.percentile(items["duration_sec"], [50, 90])
    yield near("duration, median (s)", 27.0, p50, 0.06)
    yield near("duration, p90 (s)", 169.0, p90, 0.10)
    count = np.bincount(np.searchsorted(items["video_id"], shown["video_id"]))
    count = count[count > 0]
    yield near("exposures held by the top 10 % of items", 0.799, top_share(count, 0.10), 0.15)
    yield near("Gini of exposures over items", 0.827, gini(count), 0.07)
    bound = 0.01 * len(count) * len(world.logs.users) / len(shown)
    why = f"nobody sees an item twice, so {bound:.2f} is the most that is possible"
    yield Line("exposures held by the top 1 % of items", 0.441, top_share(count, 0.01), note=why)
    why = "32 million real videos; here every item is tried"
    yield Line("items shown exactly once", 17.3 / 32.0, float((count == 1).mean()), note=why)


def _clock(shown: Table) -> Iterator[Line]:
    hour = shown["time_ms"] // HOUR_MS % 24
    share = np.bincount(hour, minlength=24) / len(hour)
    yield near("busiest hour / quietest hour", 8.45, share.max() / share.min(), 0.20)
    match = np.corrcoef(share, hour_share())[0, 1]
    yield Line("correlation of the 24 hourly shares with the real", 1.0, float(match), 0.98, 1.0)
    order = np.lexsort((shown["position"], shown["req_id"], shown["time_ms"], shown["user_id"]))
    user, time_ms = shown["user_id"][order], shown["time_ms"][order]
    same = (np.diff(time_ms) == 0)[np.diff(user) == 0]
    yield near("consecutive exposures of a user at the same time", 267 / 322, same.mean(), 0.05)


def _lateness(world: World) -> Iterator[Line]:
    late = click_lateness_min(world)
    yield near("clicks > 10 min after their session's start", 0.349, (late > 10).mean(), 0.10)
    yield near("clicks > 1 h after their session's start", 0.086, (late > 60).mean(), 0.20)
    yield near("clicks > 6 h after their session's start", 0.0115, (late > 360).mean(), 0.25)
    yield near("clicks > 1 day after their session's start", 0.0025, (late > 1440).mean(), 0.60)


def click_lateness_min(world: World) -> Array:
    """(clicks,) minutes between the start of the session and each click in it."""
    shown, told = world.logs.interactions, world.logs.feedback
    clicks = told["kind"] == 0
    n = int(shown["session_id"].max()) + 1
    start = np.full(n, np.iinfo(np.int64).max)
    np.minimum.at(start, shown["session_id"], shown["time_ms"])
    session = np.zeros(int(shown["req_id"].max()) + 1, np.int64)
    session[shown["req_id"]] = shown["session_id"]
    late = told["event_ms"][clicks] - start[session[told["req_id"][clicks]]]
    return np.asarray(late / 60_000.0)


def _captions(world: World) -> Iterator[Line]:
    """Content: how well a plain text model finds the first topic from the caption."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # heavy, and only needed here
    from sklearn.metrics import f1_score
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    text = captions(world.truth, world.config.seed)[-N_CAPTIONS:]
    label = world.logs.items["tags"][-N_CAPTIONS:, 0]
    grams = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3))
    guess = cross_val_predict(make_pipeline(grams, LinearSVC()), text, label, cv=5)
    macro = f1_score(label, guess, average="macro")
    yield near("topic from caption, linear SVM, accuracy", 0.452, (guess == label).mean(), 0.10)
    why = "24 topics of similar size here, 38 very unequal categories there"
    yield Line("topic from caption, linear SVM, macro F1", 0.368, float(macro), note=why)
