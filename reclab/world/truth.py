"""The hidden truth: what recommenders never see and evaluation may ask.

value(u, i, day) = P(click) · P(long view | click), closed form, with nothing known of the session;
request_value(held, i) = the same with the session's mood, excitation and satiation as they were at
a logged request, first place on the page. Items not yet published have value 0.
targets, request_targets = the same for all that a ranker may learn, under its names.

Reference: reclab.world.behaviour holds the formulas.
Simplified: real platforms have no such oracle; they run A/B tests.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pyarrow.parquet as pq

from reclab.core.clock import DAY_MS
from reclab.core.errors import DataError
from reclab.core.tables import Table
from reclab.core.types import Array
from reclab.world import behaviour
from reclab.world.behaviour import BehaviourConfig
from reclab.world.catalogue import AD, LIVE, PRODUCT


@dataclass(frozen=True)
class Truth:
    """Hidden state as arrays; ``user_row`` and ``item_row`` are those of the logs.

    Users: ``theta`` (days, n, 24), ``user_style`` (n, 8), ``click_bias``, ``ad_tolerance``,
    ``activity``, ``price_sensitivity``, ``purchase`` (n,), ``follows`` (n, width) creator rows and
    ``follows_since`` (n, width) days. Items: ``weights`` (m, 24), ``item_style`` (m, 8),
    ``quality``, ``business``, ``duration_sec``, ``price_ratio`` (1 = a product's median price),
    ``creator``, ``publish_ms`` (m,). ``held_out`` and ``tuning``: requests of the last day and of
    the day before, with the state of their session.
    """

    behaviour: BehaviourConfig
    theta: Array
    user_style: Array
    click_bias: Array
    ad_tolerance: Array
    activity: Array
    price_sensitivity: Array
    purchase: Array
    follows: Array
    follows_since: Array
    weights: Array
    item_style: Array
    quality: Array
    business: Array
    duration_sec: Array
    price_ratio: Array
    creator: Array
    publish_ms: Array
    held_out: Table
    tuning: Table

    @property
    def n_items(self) -> int:
        """Items ever published."""
        return len(self.creator)

    # -- without session state --------------------------------------------------------------

    def value(self, user_row: Array, item_row: Array | None, day: int) -> Array:
        """(B, K) expected P(long view) of items (B, K), or of all items when ``None``."""
        affinity, click = self._usual(user_row, item_row, day)
        return self._long(affinity, click, item_row, np.full(len(user_row), (day + 1) * DAY_MS))

    def p_click(self, user_row: Array, item_row: Array | None, day: int) -> Array:
        """(B, K) expected P(click), without session state."""
        return self._usual(user_row, item_row, day)[1]

    def targets(self, user_row: Array, item_row: Array | None, day: int) -> dict[str, Array]:
        """(B, K) each: expected ``p_click``, ``p_long_view``, ``watch_sec`` (seconds), ``p_like``,
        ``p_share``, ``p_follow`` and ``p_purchase`` (a product bought or a live show tipped)."""
        affinity, click = self._usual(user_row, item_row, day)
        end_ms = np.full(len(user_row), (day + 1) * DAY_MS)
        return self._targets(user_row, affinity, click, item_row, end_ms)

    def _usual(self, user_row: Array, item_row: Array | None, day: int) -> tuple[Array, Array]:
        theta = self.theta[self._day(day), user_row]
        wish = behaviour.typical_wish(self.behaviour, theta)
        affinity = self._affinity(user_row, wish, item_row, day)
        return affinity, self._click(user_row, affinity, item_row, 0.0)

    def _day(self, day: int) -> int:
        if not 0 <= day < len(self.theta):
            raise DataError(f"day must be in 0..{len(self.theta) - 1}, got {day}")
        return day

    # -- with the state of a logged request -------------------------------------------------

    def request_value(self, held: Table, item_row: Array | None = None) -> Array:
        """(B, K) P(long view) at the requests ``held`` (rows of ``held_out`` or ``tuning``)."""
        affinity, click = self._at_request(held, item_row)
        return self._long(affinity, click, item_row, held["time_ms"])

    def request_p_click(self, held: Table, item_row: Array | None = None) -> Array:
        """(B, K) P(click) at the requests ``held``."""
        return self._at_request(held, item_row)[1]

    def request_targets(self, held: Table, item_row: Array | None = None) -> dict[str, Array]:
        """``targets`` at the requests ``held``."""
        affinity, click = self._at_request(held, item_row)
        return self._targets(held["user_row"], affinity, click, item_row, held["time_ms"])

    def _at_request(self, held: Table, item_row: Array | None) -> tuple[Array, Array]:
        user, day = held["user_row"], int(held["day"][0]) if len(held) else 0
        state = held["mood"], held["excitation"], held["satiation"]
        wish = behaviour.topic_wish(self.behaviour, self.theta[self._day(day), user], *state)
        affinity = self._affinity(user, wish, item_row, day)
        tired = self.behaviour.tiredness * held["shown_before"].astype(np.float32)
        return affinity, self._click(user, affinity, item_row, tired[:, None])

    # -- shared -----------------------------------------------------------------------------

    def _affinity(self, user: Array, wish: Array, item_row: Array | None, day: int) -> Array:
        """(B, K) float32 logits."""
        c = self.behaviour
        style = self.user_style[user] * np.float32(c.style)
        taste = np.concatenate([wish.astype(np.float32), style], 1)
        if item_row is None:
            affinity = taste @ np.concatenate([self.weights, self.item_style], 1).T
            affinity += self._appeal(slice(None))
            followed = np.zeros((len(user), int(self.creator.max()) + 1), np.float32)
            rows, slots = np.nonzero(self._following(user, day))
            followed[rows, self.follows[user[rows], slots]] = c.follows
            affinity += followed[:, self.creator]
            return affinity
        items = np.concatenate([self.weights[item_row], self.item_style[item_row]], -1)
        affinity = np.einsum("bd,bkd->bk", taste, items) + self._appeal(item_row)
        same = self.creator[item_row][:, :, None] == self.follows[user][:, None, :]
        same &= self._following(user, day)[:, None, :]
        return np.asarray(affinity + np.float32(c.follows) * same.any(2))

    def _appeal(self, item_row: Array | slice) -> Array:
        """What an item has for everyone: quality and business."""
        business = np.array(self.behaviour.business, np.float32)[self.business[item_row]]
        return np.float32(self.behaviour.quality) * self.quality[item_row] + business

    def _following(self, user: Array, day: int) -> Array:
        """(B, width) bool: follow slots in use since before ``day``."""
        return (self.follows[user] >= 0) & (self.follows_since[user] < day)

    def _click(
        self, user: Array, affinity: Array, item_row: Array | None, fatigue: Array | float
    ) -> Array:
        bias = np.broadcast_to(self.click_bias[user][:, None], affinity.shape)
        is_ad = self.business[slice(None) if item_row is None else item_row] == AD
        tolerance = np.float32(self.behaviour.ad_tolerance) * (self.ad_tolerance[user] - 0.5)
        bias = bias + tolerance[:, None].astype(np.float32) * is_ad
        return behaviour.p_click(affinity, bias, fatigue).astype(np.float32, copy=False)

    def _long(self, affinity: Array, click: Array, item_row: Array | None, end_ms: Array) -> Array:
        rows = slice(None) if item_row is None else item_row
        watched = behaviour.p_long_given_click(self.behaviour, affinity, self.duration_sec[rows])
        alive = self.publish_ms[rows] <= end_ms[:, None]
        return np.asarray(click * watched * alive, np.float32)

    def _targets(
        self, user: Array, affinity: Array, click: Array, item_row: Array | None, end_ms: Array
    ) -> dict[str, Array]:
        c, rows = self.behaviour, slice(None) if item_row is None else item_row
        alive, duration = self.publish_ms[rows] <= end_ms[:, None], self.duration_sec[rows]
        react, shop = behaviour.p_reactions(c, affinity), self.business[rows]
        buy, tip = behaviour.p_pay(
            c, affinity, self.price_ratio[rows], 1.0,
            self.price_sensitivity[user][:, None], self.purchase[user][:, None],
        )  # fmt: skip
        found = {
            "p_click": click,
            "p_long_view": click * behaviour.p_long_given_click(c, affinity, duration),
            "watch_sec": behaviour.expected_watch_seconds(c, click, affinity, duration),
            **{f"p_{kind}": click * react[kind] for kind in ("like", "share", "follow")},
            "p_purchase": click * (buy * (shop == PRODUCT) + tip * (shop == LIVE)),
        }
        return {name: np.asarray(values * alive, np.float32) for name, values in found.items()}

    # -- on disk ----------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write ``truth.npz``, the two tables of requests and the constants."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {f.name: getattr(self, f.name) for f in fields(self)[1:-2]}
        np.savez(folder / "truth.npz", **arrays)
        for name in ("held_out", "tuning"):
            pq.write_table(getattr(self, name).to_arrow(), folder / f"{name}.parquet")
        text = json.dumps(asdict(self.behaviour), indent=1)
        (folder / "behaviour.json").write_text(text, encoding="utf-8")

    @staticmethod
    def load(folder: Path) -> "Truth":
        """Read what ``save`` wrote. Raises ``DataError`` naming the folder when damaged."""
        try:
            constants = json.loads((folder / "behaviour.json").read_text(encoding="utf-8"))
            constants["business"] = tuple(constants["business"])
            with open(folder / "truth.npz", "rb") as file:
                columns = dict(np.load(file, allow_pickle=False))
            held, tuning = (
                Table.from_arrow(pq.ParquetFile(folder / f"{name}.parquet").read())
                for name in ("held_out", "tuning")
            )
            return Truth(BehaviourConfig(**constants), **columns, held_out=held, tuning=tuning)
        except (OSError, ValueError, TypeError, KeyError, BadZipFile) as error:
            raise DataError(f"cannot read the world's truth in {folder}: {error}") from error
