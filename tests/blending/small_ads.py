"""A small ad business with real budgets: every click costs 1, and who has spent its budget is not
offered any more. Its ledger lies where the environment says."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reclab.blending.businesses.ads import AdBudgets
from reclab.blending.businesses.ledger import ClickLedger
from reclab.blending.contract import Clicks, Deadline, Offers
from reclab.core.tables import Table
from reclab.core.types import Request
from reclab.stores.forward_index import ForwardIndex
from tests.blending.small import ITEM_IDS, N_ITEMS, Small

PAYERS, BUDGET, BID = 5, 40.0, 1.0
IS_AD = np.arange(N_ITEMS) % 6 == 3
PAYER_OF = np.where(IS_AD, np.arange(N_ITEMS) // 6 % PAYERS, -1)


def ads_index() -> ForwardIndex:
    """The catalogue with bids."""
    return ForwardIndex(Table({"video_id": ITEM_IDS, "bid": np.full(N_ITEMS, BID)}))


def budgets() -> AdBudgets:
    """A day's money of five advertisers."""
    return AdBudgets(PAYER_OF, np.full(PAYERS, BUDGET), np.ones(24))


class SmallAds(Small):
    """Offers carry ``left``, the money that their advertiser still has."""

    def __init__(self, name: str = "ad", journal: Path | None = None) -> None:
        super().__init__(name)
        self.budgets = budgets()
        self.ledger = ClickLedger(self.budgets, ads_index(), journal)
        self.payer = PAYER_OF[np.searchsorted(ITEM_IDS, self.items)]

    def hear(self, clicks: Clicks) -> int:
        """Charge them."""
        return self.ledger.hear(clicks)

    def offer(self, requests: Sequence[Request], k: int, deadline: Deadline) -> Offers:
        left = self.budgets.left(requests[0].time_ms)[self.payer]
        can = np.flatnonzero(left >= BID)
        counts, ids, scores, money = [], [], [], []
        for request in requests:
            score = self.users[request.user_id % len(self.users)] @ self.vectors[can].T
            best = can[np.argsort(-score, kind="stable")[:k]]
            counts.append(len(best))
            ids.append(self.items[best])
            scores.append(-np.arange(len(best), dtype=np.float32))
            money.append(left[best].astype(np.float32))
        return Offers(
            np.array(counts), np.concatenate(ids), np.concatenate(scores),
            {"left": np.concatenate(money)},
        )  # fmt: skip


def open_ads(name: str) -> Small:
    """What a server process opens: ads with a ledger, and others without."""
    if name != "ad":
        return Small(name)
    return SmallAds(name, Path(os.environ["RECLAB_LEDGER"]))
