"""Activity study: how many of the users that items are matched with come, without and with a
prediction of who will, on held-out days.

    hit rate = share of matches (item, user) whose user asks for a page within the horizon

New items ask for the users nearest to their tags: among all registered users, or among those in
the pool of a predictor. Pools of one size compare predictors; the paper prints no size. Every day
is predicted by models that learned from the days before it. The world's own
probability that a user comes (its hidden activity and the satisfaction of the days before) is the
ceiling: nobody can know more.

Reference: Chen et al. 2025 (DualRec): next-day hit rate 49 -> 82 %.
Simplified: matched by interests alone; the two-tower's matches are the creator side's own.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reclab.core.chance import rng
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.errors import DataError, check_float, check_int
from reclab.core.metrics import auc, ece, mean_and_spread, reliability
from reclab.core.types import Array
from reclab.dualrec.activity import AGAIN, AGAIN_MS, Activity, ActivityConfig
from reclab.dualrec.visit_log import FEATURES, VisitLog
from reclab.lab.kept import kept
from reclab.lab.lab import Lab, Progress, progress_bar
from reclab.world.behaviour import first_habit, p_return

NAMES = {DAY_MS: "day", HOUR_MS: "hour", AGAIN: "session"}
TAG_WEIGHTS = np.array([1.0, 0.5, 0.3])
PROBABILITIES = ("trees", "logistic", "ceiling")


@dataclass(frozen=True)
class ActivityStudyConfig:
    """What is held out, and how it is matched."""

    days: int = 3
    """last days of the log, each predicted by those before (1-10)"""
    hours: tuple[int, ...] = (9, 13, 17, 21)
    """hours at which the next hour is predicted"""
    items: int = 50
    """new items that ask for users at each moment (1-1000)"""
    users_per_item: int = 200
    """at most, and at most a tenth of the users"""
    shares: tuple[float, ...] = (0.5, 0.25, 0.1)
    """sizes of the pools, as shares of the registered users"""
    activity: ActivityConfig = field(default_factory=ActivityConfig)

    def __post_init__(self) -> None:
        check_int("ActivityStudyConfig.days", self.days, 1, 10, "3")
        check_int("ActivityStudyConfig.items", self.items, 1, 1000, "50")
        check_int("ActivityStudyConfig.users_per_item", self.users_per_item, 1, 10_000, "200")
        for hour in self.hours:
            check_int("ActivityStudyConfig.hours", hour, 0, 22, "21")
        for share in self.shares:
            check_float("ActivityStudyConfig.shares", share, 0.01, 1.0, "0.25")


@dataclass(frozen=True)
class ActivityRow:
    """One predictor's pool over the days (d,): its ``share`` of the registered users, ``hit`` rate
    of the users in it, ``matched`` hit rate of matches with them, ``covers``: share of those who
    came that were in it. ``auc`` and ``ece`` (d,) of the predictor, NaN where it gives no order
    or no probability; ``said``, ``was`` (10,) its reliability over all days, else empty."""

    share: np.ndarray
    hit: np.ndarray
    matched: np.ndarray
    covers: np.ndarray
    auc: np.ndarray
    ece: np.ndarray
    said: np.ndarray
    was: np.ndarray


@dataclass(frozen=True)
class Moment:
    """A question to all registered users: who came after it (n,), the features (n, f) known
    before; for each new item the users from near to far (m, n); ``truth`` (n,) or None."""

    user_row: Array
    time_ms: Array
    came: Array
    x: Array
    nearest: Array | None
    truth: Array | None


def kept_activity(
    lab: Lab, config: ActivityStudyConfig | None = None, progress: bool | Progress = True
) -> dict[str, ActivityRow]:
    """ "horizon/predictor/pool" -> its row, computed once for a lab (seconds)."""
    config = config or ActivityStudyConfig()

    def compute() -> dict[str, ActivityRow]:
        with progress_bar("who will come", progress) as say:
            return study(lab, config, say)

    kind = f"activity_{zlib.crc32(repr(config).encode()):08x}"
    return kept(lab, kind, ActivityRow, compute)


def study(
    lab: Lab, config: ActivityStudyConfig | None = None, say: Progress | None = None
) -> dict[str, ActivityRow]:
    """The rows, computed now. Raises ``DataError`` for logs of too few days."""
    config, say = config or ActivityStudyConfig(), say or (lambda fraction, text: None)
    log = VisitLog.build(lab.logs)
    truth = own_chance(lab) if lab.has_truth else None
    end = int(lab.logs.interactions["time_ms"].max()) // DAY_MS + 1
    first = end - config.days
    if first < log.start_ms // DAY_MS + 5:
        raise DataError(f"the activity study needs {config.days + 5} days of log, got "
                        f"{end - log.start_ms // DAY_MS}")  # fmt: skip
    days: list[dict[str, dict[str, Any]]] = []
    for day in range(first, end):
        say((day - first) / config.days, f"day {day}")
        activity = Activity(log, config.activity).fit(day * DAY_MS)
        days.append({})
        for horizon in (*config.activity.horizons_ms, AGAIN):
            asked = list(_moments(lab, log, truth, config, day, horizon))
            scores = _scores(activity, asked, horizon, day * DAY_MS)
            days[-1] |= _rows(asked, scores, config, horizon)
    return {name: _over_days([day[name] for day in days]) for name in days[0]}


# ---- what is asked -------------------------------------------------------------------------


def _moments(
    lab: Lab,
    log: VisitLog,
    truth: Array | None,
    config: ActivityStudyConfig,
    day: int,
    horizon: int,
) -> Iterator[Moment]:
    """Midnight for the day, some hours for the hour, every page for the session."""
    begin = day * DAY_MS
    if horizon == AGAIN:
        row, when = log.moments(begin, begin + DAY_MS - HOUR_MS)  # the log's end cuts sessions
        yield Moment(
            row,
            when,
            log.asks_again(row, when, AGAIN_MS),
            log.features(row, when, AGAIN, config.activity.weekday),
            None,
            None,
        )
        return
    for hour in (0,) if horizon >= DAY_MS else config.hours:
        t = begin + hour * HOUR_MS
        row = np.flatnonzero(log.registered(np.arange(len(log)), t))
        x = log.features(row, t, horizon, config.activity.weekday)
        came = log.came(row, t, t + horizon)
        when = np.full(len(row), t)
        own = truth[day][row] if truth is not None and horizon == DAY_MS else None
        yield Moment(row, when, came, x, _nearest(lab, log.user_ids[row], t, config), own)


def own_chance(lab: Lab) -> Array:
    """(days, n_users) the world's own probability that each user comes on each day: the nights
    lived again from the truth and the long views. Not of a user's first day, which is certain."""
    truth, world, shown = lab.world.truth, lab.world.config, lab.logs.interactions
    c, n = world.behaviour, len(truth.activity)
    row = np.searchsorted(np.unique(lab.logs.users["user_id"]), shown["user_id"])
    cell = shown["time_ms"] // DAY_MS * n + row
    habit = first_habit(c, truth.click_bias.astype(float), world.users.click_bias)
    shape, satisfaction = (world.days, n), habit.copy()
    count = np.bincount(cell, minlength=world.days * n)[: world.days * n].reshape(shape)
    liked = np.bincount(cell, shown["is_long_view"], world.days * n)[: world.days * n]
    found = np.zeros(shape)
    for day, (k, good) in enumerate(zip(count, liked.reshape(shape), strict=True)):
        found[day] = p_return(c, truth.activity, satisfaction, habit)
        came, rate = k > 0, good / np.maximum(k, 1)
        satisfaction = np.where(
            came, 0.5 * rate + 0.5 * habit, satisfaction + 0.3 * (habit - satisfaction)
        )
        habit = np.where(came, habit + (1 - c.habit_memory) * (rate - habit), habit)
    return found


def _nearest(lab: Lab, user_ids: Array, t: int, config: ActivityStudyConfig) -> Array:
    """(m, n) the users from near to far of items posted in the day before ``t``, by how much of
    their interests lies in the tags."""
    users, items = lab.trained.parts.users, lab.logs.items
    posted = items["publish_ms"] if "publish_ms" in items else np.zeros(len(items), np.int64)
    new = np.flatnonzero((posted < t) & (posted >= t - DAY_MS))
    if not len(new):
        new = np.flatnonzero(posted < t)
    new = rng(0, "activity items", t // HOUR_MS).permutation(new)[: config.items]
    interest = users.long_term(users.rows(user_ids), np.full(len(user_ids), t))
    tags = items["tags"][new]
    weights = np.zeros((len(new), interest.shape[1] + 1))
    each = np.broadcast_to(np.arange(len(new))[:, None], tags.shape)
    np.add.at(weights, (each, tags), np.broadcast_to(TAG_WEIGHTS[: tags.shape[1]], tags.shape))
    near = weights[:, :-1] @ interest.T  # tag -1 (none) fell into the last column
    return np.argsort(-near, axis=1, kind="stable")


# ---- who answers ---------------------------------------------------------------------------


def _scores(
    activity: Activity, asked: list[Moment], horizon: int, until_ms: int
) -> dict[str, list[Array]]:
    """Predictor -> its score for each moment's users; probabilities of ``PROBABILITIES``."""
    logistic = _logistic(activity, until_ms, horizon)
    column = {name: place for place, name in enumerate(FEATURES)}
    found: dict[str, list[Array]] = {}
    for m in asked:
        model = activity.models[horizon]
        mine = {"trees": model.curve(model.trees.predict(m.x)), "logistic": logistic(m.x)}
        if horizon == AGAIN:
            mine["usual length"] = m.x[:, column["session_usual"]] - m.x[:, column["session_pages"]]
        else:
            mine["last visit"] = -m.x[:, column["since_page"]]
            mine["days of 14"] = m.x[:, column["days_14"]]
        if m.truth is not None:
            mine["ceiling"] = m.truth
        for name, score in mine.items():
            found.setdefault(name, []).append(np.asarray(score, np.float64))
    return found


def _logistic(activity: Activity, until_ms: int, horizon: int) -> Callable[[Array], Array]:
    """Logistic regression on the same rows and features, standardised."""
    from sklearn.linear_model import LogisticRegression

    learned, _ = activity.questions(until_ms, horizon)
    weekday = activity.config.weekday
    x = activity.log.features(learned.user_row, learned.time_ms, horizon, weekday)
    mean, deviation = x.mean(0), x.std(0) + 1e-6
    model = LogisticRegression(max_iter=300).fit((x - mean) / deviation, learned.came)
    return lambda x: np.asarray(model.predict_proba((x - mean) / deviation)[:, 1])


# ---- what came of it -----------------------------------------------------------------------


def _rows(
    asked: list[Moment], scores: Mapping[str, list[Array]], c: ActivityStudyConfig, horizon: int
) -> dict[str, dict[str, Any]]:
    """Name -> the numbers of one day."""
    came = np.concatenate([m.came for m in asked])
    title, none = NAMES.get(horizon, f"{horizon / HOUR_MS:g} h"), np.zeros(0)
    quality = dict(auc=np.nan, ece=np.nan, said=none, label=none)
    found = {f"{title}/everybody/all": _pool(asked, [m.came >= 0 for m in asked], c) | quality}
    if horizon != AGAIN:
        last = [np.expm1(m.x[:, FEATURES.index("since_page")]) * HOUR_MS <= horizon for m in asked]
        found[f"{title}/came in the last {title}/rule"] = _pool(asked, last, c) | quality
    for name, parts in scores.items():
        score = np.concatenate(parts)
        quality = dict(auc=auc(came, score), ece=np.nan, said=none, label=none)
        if name in PROBABILITIES:
            quality |= dict(ece=ece(came, score), said=score, label=came)
            sure = [part >= 0.5 for part in parts]
            found[f"{title}/{name}/p >= .5"] = _pool(asked, sure, c) | quality
        for share in c.shares:
            pool = [_likeliest(part, share) for part in parts]
            found[f"{title}/{name}/{share:.0%}"] = _pool(asked, pool, c) | quality
    return found


def _likeliest(score: Array, share: float) -> Array:
    chosen = np.zeros(len(score), bool)
    # ties in an order of chance: rows are in the order of nothing, but the same ones would win
    order = np.lexsort((rng(0, "activity ties").random(len(score)), -score))
    chosen[order[: round(share * len(score))]] = True
    return chosen


def _pool(asked: list[Moment], pools: list[Array], c: ActivityStudyConfig) -> dict[str, Array]:
    came, pool = (np.concatenate(parts) for parts in ([m.came for m in asked], pools))
    hits = [_matched(m, mine, c) for m, mine in zip(asked, pools, strict=True)]
    hit = came[pool].mean() if pool.any() else np.nan
    return {"share": pool.mean(), "hit": hit, "matched": np.mean(hits),
            "covers": (came & pool).sum() / max(1, came.sum())}  # fmt: skip


def _matched(moment: Moment, pool: Array, c: ActivityStudyConfig) -> float:
    """Share of matches whose user came: the nearest users in the pool of every new item."""
    if moment.nearest is None or not pool.any():
        return float("nan")
    n = max(1, min(c.users_per_item, len(pool) // 10, int(pool.sum())))
    mine = pool[moment.nearest]
    chosen = moment.nearest[mine & (np.cumsum(mine, axis=1) <= n)]
    return float(moment.came[chosen].mean())


def _over_days(days: list[dict[str, Any]]) -> ActivityRow:
    values = {name: np.array([day[name] for day in days])
              for name in ("share", "hit", "matched", "covers", "auc", "ece")}  # fmt: skip
    said, label = (np.concatenate([day[name] for day in days]) for name in ("said", "label"))
    points = reliability(label, said)[:2] if len(said) else (np.zeros(0), np.zeros(0))
    return ActivityRow(**values, said=points[0], was=points[1])


# ---- shown ---------------------------------------------------------------------------------


def table(rows: Mapping[str, ActivityRow]) -> str:
    """The rows as text, mean and half range over the days."""
    head = ("horizon", "predictor", "pool", "share", "hit", "matched", "covers", "AUC", "ECE")
    lines: list[tuple[str, ...]] = [head]
    for name, row in rows.items():
        columns = (row.share, row.hit, row.matched, row.covers, row.auc, row.ece)
        lines.append((*name.split("/"), *(_text(values) for values in columns)))
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _text(values: Array) -> str:
    mean, spread = mean_and_spread(values)
    return "-" if mean != mean else f"{mean:.3f} ±{spread:.3f}"
