"""Small real businesses over arrays, for tests and for the Router's bench: a user's vector, items'
vectors, the best k by their product. Some of them misbehave on purpose."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reclab.blending.contract import Deadline, Offers
from reclab.core.chance import rng
from reclab.core.tables import Table
from reclab.core.types import Request
from reclab.stores.forward_index import ForwardIndex

NAMES = ("short_video", "live", "product", "ad", "image_text", "campaign")
N_ITEMS, N_DIMS, N_USERS = 3000, 16, 1000
ITEM_IDS = 10_000 + 7 * np.arange(N_ITEMS)
POOL = ITEM_IDS[::10]


def index() -> ForwardIndex:
    """The catalogue: item i belongs to business i % 6."""
    return ForwardIndex(Table({"video_id": ITEM_IDS, "kind": np.arange(N_ITEMS) % len(NAMES)}))


@dataclass
class Small:
    """The best of its own items for each user. ``ms``: how long it takes."""

    name: str
    ms: float = 0.0

    def __post_init__(self) -> None:
        place = NAMES.index(self.name)
        self.items = ITEM_IDS[place :: len(NAMES)]
        self.vectors = rng(0, "items", place).normal(size=(len(self.items), N_DIMS))
        self.users = rng(0, "users").normal(size=(N_USERS, N_DIMS))
        self.asked: list[list[Request]] = []
        self.left_ms: list[float] = []

    def offer(self, requests: Sequence[Request], k: int, deadline: Deadline) -> Offers:
        self.asked.append([*requests])
        self.left_ms.append(deadline.left_ms)
        time.sleep(self.ms / 1000)
        users = self.users[[request.user_id % N_USERS for request in requests]]
        score = users @ self.vectors.T
        k = min(k, score.shape[1])
        best = (
            np.argpartition(-score, k - 1, axis=1)[:, :k] if k else np.zeros((len(score), 0), int)
        )
        order = np.argsort(-np.take_along_axis(score, best, 1), axis=1, kind="stable")
        best = np.take_along_axis(best, order, 1)
        value = np.take_along_axis(score, best, 1).ravel().astype(np.float32)
        counts = np.full(len(requests), best.shape[1])
        return Offers(
            counts, self.items[best].ravel(), value, {"p_click": 1 / (1 + np.exp(-value))}
        )


class Garbage(Small):
    """Answers in time, with nonsense: unknown ids, no numbers, the same item again and again."""

    def offer(self, requests: Sequence[Request], k: int, deadline: Deadline) -> Offers:
        n = len(requests) * k
        ids = np.tile([-5, 10**15, int(ITEM_IDS[0]), int(ITEM_IDS[0])], n // 4 + 1)[:n]
        score = np.tile(np.array([np.nan, np.inf, np.nan, 0.5], np.float32), n // 4 + 1)[:n]
        return Offers(np.full(len(requests), k), ids, score)


def open_business(name: str) -> Small:
    """What a server process opens."""
    return Small(name)


def open_as_told(name: str) -> Small:
    """One of any name, with the items of the business that the environment names."""
    small = Small(os.environ["SMALL_ITEMS_OF"])
    small.name = name
    return small


def open_slow(name: str) -> Small:
    """One that works 5 ms on every call."""
    return Small(name, ms=5.0)


def open_garbage(name: str) -> Small:
    """A bad release."""
    return Garbage(name)


def open_nothing(name: str) -> Small:
    """A release that does not start."""
    raise FileNotFoundError(f"the model of {name} is missing")
