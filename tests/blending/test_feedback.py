"""Clicks find their way back: to the business that owns the card, charged once, over both roads,
whatever dies meanwhile."""

import threading
import time

import numpy as np
import pytest

from reclab.blending.businesses.ledger import ROW, ClickLedger
from reclab.blending.contract import CallRefused, Clicks
from reclab.blending.messages import decode_clicks, encode_clicks
from reclab.blending.outbox import Outbox, OutboxConfig
from reclab.blending.router import Router, RouterConfig
from reclab.blending.rpc import Local
from reclab.blending.servers import Servers
from reclab.core.clock import DAY_MS
from reclab.core.errors import DataError
from reclab.core.types import Request
from tests.blending.small import ITEM_IDS, POOL, Small, index
from tests.blending.small_ads import (
    BID,
    BUDGET,
    IS_AD,
    PAYER_OF,
    PAYERS,
    SmallAds,
    ads_index,
    budgets,
    open_ads,
)

CONFIG = RouterConfig(deadline_ms=5000)
ADS = ITEM_IDS[IS_AD]


def clicks(n, time_ms=0, user=7, first=0):
    """``n`` clicks on the first ads, each of a request of its own."""
    ids = first + np.arange(n)
    return Clicks(np.full(n, user), ids, np.full(n, time_ms), ADS[ids % len(ADS)])


def page(router, user, req_id):
    """A page and which of its cards are ads."""
    slate, _ = router.recommend(Request(user, 0, req_id))
    return slate, np.isin(slate.item_id, ADS) & (slate.columns["business"] >= 0)


def written(journal):
    """What a fresh process would know to be spent."""
    till = budgets()
    ClickLedger(till, ads_index(), journal)
    return till.spent


@pytest.fixture(params=["in this process", "in processes"])
def wired(request, tmp_path):
    """A Router over live and ad, and the journal of the ads."""
    journal = tmp_path / "ad.clicks"
    if request.param == "in this process":
        router = Router(
            [Local(Small("live")), Local(SmallAds("ad", journal))], index(), POOL, config=CONFIG
        )
        yield router, journal
        router.close()
    else:
        factory, where = "tests.blending.small_ads:open_ads", {"RECLAB_LEDGER": str(journal)}
        with Servers(("live", "ad"), factory, environment=where) as servers:
            router = Router(servers.clients(), index(), POOL, config=CONFIG)
            yield router, journal
            router.close()


def heard(router):
    assert all(outbox.empty(20.0) for outbox in router.outboxes)


# -- over both roads -------------------------------------------------------------------------


def test_what_is_spent_is_what_was_clicked_and_repeats_cost_nothing(wired):
    router, journal = wired
    count = np.zeros(PAYERS)
    for user in range(12):
        slate, ads = page(router, user, user)
        ads &= np.arange(10) < 6
        for _ in range(1 + user % 3):
            router.feedback(slate, ads)
        at = np.searchsorted(ITEM_IDS, slate.item_id[ads])
        count += np.bincount(PAYER_OF[at], minlength=PAYERS)
    heard(router)
    assert count.sum() > 20 and written(journal).tolist() == (BID * count).tolist()
    left = {}
    slate, ads = page(router, 99, 99)
    for item, money in zip(slate.item_id[ads], slate.columns["left"][ads], strict=True):
        left[PAYER_OF[np.searchsorted(ITEM_IDS, item)]] = money
    assert left == {payer: BUDGET - count[payer] for payer in left}


def test_who_has_spent_its_budget_is_offered_no_more(wired):
    router, _ = wired
    mine = ADS[PAYER_OF[IS_AD] == 2]
    before = [page(router, user, 0)[0] for user in range(8)]
    assert any(np.isin(slate.item_id, mine).any() for slate in before)
    n = int(BUDGET / BID)
    router.outboxes[1].put(Clicks(np.arange(n), np.arange(n), np.zeros(n, int), mine[:n]))
    heard(router)
    after = [page(router, user, 1) for user in range(8)]
    assert not any((np.isin(slate.item_id, mine) & ads).any() for slate, ads in after)
    assert all(ads.any() for _, ads in after)


def test_cards_of_others_and_of_the_pool_cost_no_advertiser(wired):
    router, journal = wired
    slate, ads = page(router, 3, 3)
    router.feedback(slate, ~ads)
    heard(router)
    assert not written(journal).any()
    with pytest.raises(DataError, match=r"bool of shape \(10,\)"):
        router.feedback(slate, np.ones(9, bool))
    with pytest.raises(DataError, match="int64"):
        router.feedback(slate, np.arange(10))


# -- kill in the middle ----------------------------------------------------------------------


def test_a_kill_in_the_middle_loses_no_click_and_charges_none_twice(tmp_path):
    journal = tmp_path / "ad.clicks"
    factory, where = "tests.blending.small_ads:open_ads", {"RECLAB_LEDGER": str(journal)}
    with Servers(("ad",), factory, environment=where) as servers:
        (client,) = servers.clients()
        outbox = Outbox(client, OutboxConfig(timeout_ms=500, pause_ms=20, most_ms=100))
        over = threading.Event()

        def click():
            for n in range(150):
                outbox.put(clicks(1, first=n))
                outbox.put(clicks(1, first=max(n - 5, 0)))  # again
                time.sleep(0.01)
            over.set()

        thread = threading.Thread(target=click)
        thread.start()
        time.sleep(0.4)
        for _ in range(2):
            servers.kill("ad")
            time.sleep(0.2)
            servers.start("ad")
        thread.join()
        assert over.is_set() and outbox.empty(20.0) and outbox.lost == 0
        outbox.close()
    wanted = np.bincount(PAYER_OF[IS_AD][:150], minlength=PAYERS) * BID
    assert written(journal).tolist() == wanted.tolist()


def test_feedback_does_not_wait_for_a_business_that_is_away(tmp_path):
    class Away(Local):
        def tell(self, clicked, left_ms, done):
            pass  # no answer, ever

    router = Router([Local(Small("live")), Away(SmallAds("ad"))], index(), POOL, config=CONFIG)
    slate, ads = page(router, 1, 1)
    for _ in range(1000):
        router.feedback(slate, ads)
    assert not router.outboxes[1].empty(0.0)
    router.close()


# -- the outbox ------------------------------------------------------------------------------


def test_what_is_refused_for_good_is_counted_and_not_sent_again():
    class Refuses(Local):
        asked = 0

        def tell(self, clicked, left_ms, done):
            self.asked += 1
            done(CallRefused("another version"))

    client = Refuses(SmallAds())
    outbox = Outbox(client)
    outbox.put(clicks(3))
    assert outbox.empty() and outbox.lost == 3 and client.asked == 1
    outbox.close()


def test_an_outbox_that_overflows_drops_the_oldest():
    class Away(Local):
        def tell(self, clicked, left_ms, done):
            pass

    outbox = Outbox(Away(SmallAds()), OutboxConfig(keep=10))
    outbox.put(clicks(25))
    assert outbox.lost == 15
    outbox.close()


def test_a_business_that_does_not_listen_has_heard():
    outbox = Outbox(Local(open_ads("live")))
    outbox.put(clicks(2))
    assert outbox.empty() and outbox.lost == 0
    outbox.close()


def test_reports_survive_the_wire():
    sent = clicks(4, time_ms=5)
    again = decode_clicks(encode_clicks(sent))
    assert (again.table() == sent.table()).all()
    with pytest.raises(DataError, match="one length"):
        Clicks(np.zeros(2, int), np.zeros(1, int), np.zeros(2, int), np.zeros(2, int))


# -- the ledger ------------------------------------------------------------------------------


def test_a_click_counts_once_also_after_a_restart(tmp_path):
    journal = tmp_path / "clicks"
    till = budgets()
    ledger = ClickLedger(till, ads_index(), journal)
    assert ledger.hear(clicks(6)) == 6 and ledger.hear(clicks(8)) == 2
    assert till.spent.sum() == 8 * BID
    till = budgets()
    again = ClickLedger(till, ads_index(), journal)
    assert till.spent.sum() == 8 * BID and again.hear(clicks(8)) == 0


def test_a_row_cut_short_by_the_kill_is_left_out(tmp_path):
    journal = tmp_path / "clicks"
    ClickLedger(budgets(), ads_index(), journal).hear(clicks(3))
    journal.write_bytes(journal.read_bytes()[: 2 * ROW + 5])
    till = budgets()
    ledger = ClickLedger(till, ads_index(), journal)
    assert till.spent.sum() == 2 * BID
    assert ledger.hear(clicks(3)) == 1 and journal.stat().st_size == 3 * ROW


def test_a_new_day_has_a_new_budget_and_yesterdays_clicks_do_not_cost_it(tmp_path):
    journal, till = tmp_path / "clicks", budgets()
    ledger = ClickLedger(till, ads_index(), journal)
    ledger.hear(clicks(5))
    ledger.hear(clicks(3, time_ms=DAY_MS))
    assert till.spent.sum() == 3 * BID
    assert ledger.hear(clicks(5)) == 0 and ledger.hear(clicks(9)) == 0
    assert till.spent.sum() == 3 * BID and written(journal).sum() == 3 * BID


def test_items_that_are_no_ads_or_unknown_cost_nobody():
    till = budgets()
    ledger = ClickLedger(till, ads_index())
    ledger.hear(Clicks(*np.array([[1, 1], [1, 2], [0, 0], [ITEM_IDS[0], -5]])))
    assert not till.spent.any()
