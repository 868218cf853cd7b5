"""The join panel, made once and kept: whole sessions of the tuning day with their reports, chance,
what the learned rules know of the two days before, and a model judged on the last day.

    numbers of an impression = its pair's and its request's, as served, with place, hour and network

Simplified: a sample of sessions; a platform studies such settings on copied traffic.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from reclab.cascade.ranking.statistics import REQUEST
from reclab.core.chance import rng
from reclab.core.clock import DAY_MS
from reclab.core.errors import DataError
from reclab.core.tables import Table
from reclab.core.types import Array
from reclab.lab.cache import built
from reclab.lab.click_model import ClickModel
from reclab.lab.join_panel import (
    CHANCES,
    WINDOWS_MIN,
    WORTHS_MIN,
    Draws,
    JoinPanel,
    learned_rule,
)
from reclab.lab.join_study import Streams, platform_streams
from reclab.lab.kept import cache_name
from reclab.lab.lab import Lab, Progress, progress_bar
from reclab.offline_online.join.batch_join import Matched

IMPRESSIONS = 16_000  # of the day that is joined, and of the day that judges
PAST = 50_000  # impressions that rules learn from
RETRY_MS = (150_000, 600_000)  # longer than any disorder, so that a copy never overtakes
FILE = "panel.npz"


def join_panel(lab: Lab, n: int = IMPRESSIONS, progress: bool | Progress = True) -> JoinPanel:
    """The panel of a lab's platform: made once (seconds), then read. Raises ``DataError`` on logs
    without late reports."""
    if not lab.has_truth or "report_ms" not in lab.logs.feedback:
        raise DataError("the join panel needs a platform's log with late reports")

    def build(folder: Path) -> None:
        with progress_bar("a day to join again", progress) as say:
            np.savez(folder / FILE, **_arrays(lab, n, say))

    folder = built(*cache_name(lab, f"join_panel_{n}"), build)
    with np.load(folder / FILE) as held:
        return _read({name: held[name] for name in held.files})


def _arrays(lab: Lab, n: int, say: Progress) -> dict[str, Array]:
    day = lab.world.config.days - 2
    say(0.0, "sessions and their reports")
    streams = platform_streams(lab.logs, day=day)
    times = streams.now.shown["time_ms"]
    today = times < (day + 1) * DAY_MS
    mine = _sessions(streams.now.shown["session_id"], today, n)
    other = _sessions(streams.now.shown["session_id"], ~today, n)
    shown = lab.logs.interactions
    shown = shown.take(np.isin(shown["time_ms"] // DAY_MS, (day, day + 1)))
    rows = {"learn": _places(shown, streams.now.shown, mine),
            "judged": _places(shown, streams.now.shown, other)}  # fmt: skip
    parts = _reports(streams, mine)
    parts |= _draws(lab.seed, len(parts["row"]), shown["device_id"][rows["learn"]])
    say(0.1, "what the learned rules know")
    parts |= _quiet(streams.past, lambda share: say(0.1 + 0.5 * share, "quiet times"))
    for i, (name, which) in enumerate(rows.items()):
        say(0.6 + 0.2 * i, "features as they were served")
        parts[f"model.{name}"] = _numbers(lab, shown.take(which))
        parts[f"model.{name}_clicks"] = shown["is_click"][which]
    parts["in_day"] = np.array(today.sum() / mine.sum())
    return parts


def _sessions(session: Array, which: Array, n: int) -> Array:
    """(rows,) bool: whole sessions among ``which``, spread over them, with about n rows."""
    names, first = np.unique(session[which], return_index=True)
    share = min(1.0, n / max(which.sum(), 1))
    order = np.argsort(first)  # in order of time
    taken = np.diff(np.floor(np.arange(len(names) + 1) * share)) > 0
    return which & np.isin(session, names[order[taken]])


def _reports(streams: Streams, mine: Array) -> dict[str, Array]:
    """Impressions of the panel and their reports, when sent, and how long on the way."""
    now = streams.now
    new_row = np.cumsum(mine) - 1
    kept = (now.row >= 0) & mine[now.row]
    told = {name: column[kept] for name, column in now.told.items()}
    row = new_row[now.row[kept]]
    shown = {name: column[mine] for name, column in now.shown.items()}
    sent = shown["time_ms"][row] + streams.before_ms[kept]
    parts = {f"shown.{name}": column for name, column in shown.items()}
    parts |= {f"told.{name}": column for name, column in told.items()}
    return {**parts, "row": row, "sent_ms": sent, "way_ms": told["report_ms"] - sent}


def _draws(seed: int, m: int, device_id: Array) -> dict[str, Array]:
    """Chance for m reports, and for the device of each impression (n,)."""
    chance, (low, high) = rng(seed, "join-panel"), RETRY_MS
    drawn = {name: chance.random(m) for name in ("lost", "copied", "copy_lost", "transit")}
    drawn["retry_ms"] = chance.integers(low, high, m)
    device, at = np.unique(device_id, return_inverse=True)
    drawn["wrong"] = chance.random(len(device))[at]
    return {f"draws.{name}": values for name, values in drawn.items()}


def _quiet(past: Matched, say: Callable[[float], None]) -> dict[str, Array]:
    """Quiet times by rule, window and setting, from whole impressions of the past."""
    n = len(past.shown["time_ms"])
    some = np.zeros(n, bool)
    some[:: max(1, n // PAST)] = True
    kept = (past.row >= 0) & some[past.row]
    row = (np.cumsum(some) - 1)[past.row[kept]]
    cases = (past.shown["time_ms"][some], row, past.told["report_ms"][kept],
             past.told["kind"][kept])  # fmt: skip
    settings = [("hazard", one) for one in CHANCES] + [("priced", float(one)) for one in WORTHS_MIN]
    found = {}
    for i, window in enumerate(WINDOWS_MIN):
        for name, setting in settings:
            rule = learned_rule(name, window, setting).fit(*cases)
            found[f"quiet.{name}.{window}.{setting}"] = rule.state()["quiet_ms"]
        say((i + 1) / len(WINDOWS_MIN))
    return found


def _places(shown: Table, panel: dict[str, Array], which: Array) -> Array:
    """Rows of the log of the panel's impressions, found by request and item."""
    both = [(rows["req_id"].astype(np.int64) << 32) + rows["video_id"] for rows in (shown, panel)]
    order = np.argsort(both[0])
    return np.asarray(order[np.searchsorted(both[0], both[1][which], sorter=order)])


def _numbers(lab: Lab, rows: Table) -> Array:
    """(n, k) float32 numbers of impressions, as they were when served."""
    builder = lab.trained.parts.features
    _, first, owner = np.unique(rows["req_id"], return_index=True, return_inverse=True)
    order = np.argsort(owner, kind="stable")
    item = builder.index.rows(rows["video_id"])[order]
    user, when = builder.users.rows(rows["user_id"][first]), rows["time_ms"][first]
    made = builder.build(user, when, rows["network"][first], owner[order], item)
    angle = 2 * np.pi * when / DAY_MS
    context = np.stack([np.sin(angle), np.cos(angle), rows["network"][first]], 1)
    request = np.hstack([made.request[:, -len(REQUEST) :], context])[owner[order]]
    place = rows["position"][order]
    found = np.empty((len(order), made.pair.shape[1] + request.shape[1] + 1), np.float32)
    found[order] = np.hstack([made.pair, request, place[:, None]])
    return found


def _read(held: dict[str, Array]) -> JoinPanel:
    def under(kind: str) -> dict[str, Array]:
        return {k.removeprefix(f"{kind}."): v for k, v in held.items() if k.startswith(f"{kind}.")}

    model, quiet = under("model"), {}
    for key, table in under("quiet").items():
        name, window, setting = key.split(".", 2)
        quiet[name, int(window), float(setting)] = table
    return JoinPanel(
        under("shown"), under("told"), held["row"], held["sent_ms"], held["way_ms"],
        Draws(**under("draws")), quiet,
        ClickModel(model["learn"], model["learn_clicks"], model["judged"], model["judged_clicks"]),
        float(held["in_day"]),
    )  # fmt: skip
