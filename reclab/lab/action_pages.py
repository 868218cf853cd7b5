"""Pages of actions: what each action answers, what the degraded path does, and what comes of them.

    answers         ten settings of the cascade on the same requests, and what the ranker told
    fallback_pages  ranks 11-30 of the answer to the user's page before, or the hot pool
    outcomes        P(click), P(long view), P(payment) of every card, by the hidden truth

Simplified: a degraded answer is made from one earlier answer; in a long failure the cache empties.
"""

from collections.abc import Callable, Sequence

import numpy as np

from reclab.cascade.batch import read_batch
from reclab.cascade.pipeline import HOT_POOL, Cascade
from reclab.core.chance import rng
from reclab.core.clock import DAY_MS
from reclab.core.tables import Table
from reclab.core.types import Array, Candidates, Request
from reclab.degradation_dcaf.actions import BATCH, Action, cascade_of
from reclab.degradation_dcaf.cache import DegradationCacheConfig
from reclab.lab.lab import Lab, train_until
from reclab.world.catalogue import AD, LIVE, PRODUCT

GIFT = 5.0 * float(np.exp(0.5 * 1.2**2))
"""mean money of a tip: 5 exp(1.2 N), as the platform draws it"""
K = 10  # cards of a page


def answers(
    lab: Lab, requests: Sequence[Request], actions: Sequence[Action], say: Callable[[float], None]
) -> tuple[Array, Array, Array]:
    """(n, m, K) item rows, (n, m) predicted long views and money of each action's page."""
    n, m = len(requests), len(actions)
    lists = np.full((n, m, K), -1, np.int32)
    told, money = np.zeros((n, m), np.float32), np.zeros((n, m), np.float32)
    ladder = [cascade_of(lab.trained, action) for action in actions]
    pays = money_of_a_click(lab)
    for at in range(0, n, BATCH):
        say(at / n)
        some = requests[at : at + BATCH]
        for j, cascade in enumerate(ladder):
            slates, _ = cascade.recommend_batch(some)
            for b, slate in enumerate(slates, at):
                lists[b, j, : len(slate)] = slate.item_row[:K]
        part = slice(at, at + len(some))
        told[part], money[part] = predicted(lab.trained, some, lists[part], pays)
    return lists, told, money


def predicted(
    cascade: Cascade, requests: Sequence[Request], lists: Array, pays: Array
) -> tuple[Array, Array]:
    """(B, m) long views (or what is ranked by) and money that the ranker predicts of the pages
    (B, m, K), the unranked ones too; ``pays`` (n_items,) money of a click. Each item is asked
    once a request."""
    p, n_items = cascade.parts, len(pays)
    key = np.arange(len(lists))[:, None, None] * n_items + lists
    pairs, which = np.unique(np.where(lists >= 0, key, -1), return_inverse=True)
    owner, rows = np.divmod(pairs[pairs >= 0], n_items)
    targets = p.ranker.predict(
        read_batch(requests, p.users, p.index), Candidates(len(lists), owner, rows)
    )
    score = np.asarray(p.fuse(targets), np.float64)
    money = np.asarray(targets.get("p_click", score) * pays[rows], np.float64)
    blank = np.zeros(int(pairs[0] < 0))  # what empty places are worth
    wide = (
        np.concatenate([blank, values])[which.reshape(lists.shape)] for values in (score, money)
    )
    return tuple(values.sum(2).astype(np.float32) for values in wide)


def outcomes(lab: Lab, held: Table | None, pages: Array) -> tuple[Array, ...]:
    """``p_click``, ``p_long``, ``p_pay`` and ``money`` of the cards of pages (n, m, K)."""
    if held is None:
        return tuple(np.full(pages.shape, np.nan, np.float32) for _ in range(4))
    truth, items = lab.world.truth, lab.logs.items
    rows, there = np.maximum(pages, 0), pages >= 0
    wide = rows.reshape(len(pages), -1)
    parts = [slice(at, at + 200) for at in range(0, len(pages), 200)]
    found = [truth.request_targets(held.take(np.arange(len(held))[p]), wide[p]) for p in parts]
    click, long, buy = (
        np.concatenate([f[name] for f in found]).reshape(pages.shape) * there
        for name in ("p_click", "p_long_view", "p_purchase")
    )
    shop = items["business"][rows]
    money = np.where(shop == AD, items["bid"][rows], 0.0)
    money = np.where(shop == PRODUCT, items["price"][rows], money)
    money = np.where(shop == LIVE, GIFT, money).astype(np.float32)
    return click, long, np.where(shop == AD, click, buy), money


def money_of_a_click(lab: Lab) -> Array:
    """(n_items,) money that a click on each item brings on average, as the training log tells: an
    ad's bid; of products and live shows the mean payment of a click, of a product in proportion to
    the square root of its price, for the dear are bought less."""
    items, log = lab.logs.items, lab.logs.interactions
    early = (log["time_ms"] < train_until(lab)) & log["is_click"]
    item_row = lab.trained.parts.index.rows(log["video_id"][early])
    paid, shop = log["pay_amount"][early], items["business"]
    size = np.where(shop == PRODUCT, np.sqrt(np.maximum(items["price"], 0)), 1.0)
    worth = np.where(shop == AD, items["bid"], 0.0)
    for business in (PRODUCT, LIVE):
        mine = shop[item_row] == business
        rate = paid[mine].sum() / max(size[item_row[mine]].sum(), 1e-9)
        worth = np.where(shop == business, rate * size, worth)
    return worth.astype(np.float32)


def fallback_pages(lab: Lab, requests: Sequence[Request]) -> tuple[Array, Array]:
    """(n,) whether the cache has something for the request, and (n, K) the degraded path's page:
    the user's ranks 11-30 at the page before, if that is not older than the cache keeps lists, less
    what was shown since; then the hot pool, unseen first."""
    p, kept = lab.trained.parts, DegradationCacheConfig()
    now = np.array([r.time_ms for r in requests])
    before = _page_before(lab, np.array([r.user_id for r in requests]), now)
    cached = now - before <= 1000 * kept.ttl_s
    pages = np.full((len(requests), K), -1, np.int32)
    for at in range(0, len(requests), BATCH):
        some = requests[at : at + BATCH]
        batch = read_batch(some, p.users, p.index)
        hot = p.popular.retrieve(batch, HOT_POOL)[0]
        earlier = [
            Request(r.user_id, int(before[at + b]), n=kept.last) if cached[at + b] else None
            for b, r in enumerate(some)
        ]
        slates = iter(lab.trained.recommend_batch([r for r in earlier if r])[0])
        for b, known in enumerate(earlier):
            seen = batch.seen_rows[batch.seen_starts[b] : batch.seen_starts[b + 1]]
            left = next(slates).item_row[kept.first - 1 :] if known else np.zeros(0, np.int64)
            pages[at + b] = _page(left, hot[b], seen)
    return cached, pages


def _page(left: Array, hot: Array, seen: Array) -> Array:
    """(K,) of the cached rows, and the hot pool where they are too few."""
    left = left[~np.isin(left, seen)][:K]
    hot = hot[(hot >= 0) & ~np.isin(hot, left)]
    old = np.isin(hot, seen)
    page = np.concatenate([left, hot[~old], hot[old]])[:K]
    return np.pad(page, (0, K - len(page)), constant_values=-1)


def _page_before(lab: Lab, user_id: Array, time_ms: Array) -> Array:
    """(n,) ms when each user's last page before ``time_ms`` was shown; long ago if never."""
    log = lab.logs.interactions
    key = np.sort(log["user_id"] << 41 | log["time_ms"])
    at = np.searchsorted(key, user_id << 41 | time_ms) - 1
    found = key[np.maximum(at, 0)]
    mine = (at >= 0) & (found >> 41 == user_id)
    return np.where(mine, found & ((1 << 41) - 1), -(10**12))


def logged_requests(lab: Lab, n: int) -> list[Request]:
    """``n`` requests of the tuning day and the day before that are not judged, as logged."""
    log, tuning = lab.logs.interactions, lab.world.truth.tuning
    day = int(tuning["day"][0])
    mine = (log["time_ms"] // DAY_MS >= day - 1) & (log["time_ms"] // DAY_MS <= day)
    rows = np.flatnonzero(mine & ~np.isin(log["req_id"], tuning["req_id"]))
    rows = rows[np.unique(log["req_id"][rows], return_index=True)[1]]
    rows = rng(lab.seed, "logged requests").permutation(rows)[:n]
    columns = zip(*(log[c][rows] for c in ("user_id", "time_ms", "req_id", "network")), strict=True)
    return [Request(int(u), int(t), int(r), network=int(w)) for u, t, r, w in columns]
