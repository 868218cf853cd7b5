"""Degraded answers by the age of their cache, and the cache under stress, at the smoke scale."""

import numpy as np
import pytest

from reclab.lab import cache_stress, cached_answers
from reclab.stores.kv import KV


@pytest.fixture(scope="module")
def pages(lab):
    return cached_answers.cached_answers(lab, n=60, progress=False)


class TestCachedAnswers:
    def test_every_age_has_three_pages_and_the_scale_is_beside_them(self, pages):
        ages = ["hot pool", *cached_answers.AGES_S]
        named = [f"{age}, page {page}" for age in ages for page in cached_answers.PAGES]
        assert [*pages] == ["live 1-10", "live 11-20", "live 21-30", *named]
        for page in pages.values():
            assert 0 < page.share < 1 and 0 <= page.hot <= 1 and 0 <= page.tail <= 1
            assert 0 < page.error < 0.1 and page.n == 60

    def test_a_fresh_cache_is_the_live_answers_next_ranks(self, pages):
        assert pages["1 min, page 1"].share == pytest.approx(pages["live 11-20"].share, abs=0.02)
        assert pages["1 min, page 2"].share == pytest.approx(pages["live 21-30"].share, abs=0.02)
        assert pages["1 min, page 1"].hot < 0.02 and pages["1 min, page 1"].alive > 0.95

    def test_later_pages_and_older_caches_are_worth_less(self, pages):
        for age in cached_answers.AGES_S:
            shares = [pages[f"{age}, page {page}"].share for page in cached_answers.PAGES]
            assert shares[0] > shares[1] > shares[2]
        assert pages["1 min, page 1"].share > pages["3 days, page 1"].share
        assert pages["1 min, page 1"].alive > pages["3 days, page 1"].alive

    def test_the_third_page_is_from_the_hot_pool_which_is_worth_least(self, pages):
        hot = pages["hot pool, page 1"]
        assert hot.hot == 1.0 and hot.tail < 0.1 < pages["live 1-10"].tail
        assert pages["1 min, page 3"].hot > 0.99
        assert np.isnan(hot.alive) and np.isnan(pages["live 1-10"].alive)
        assert hot.share < pages["3 days, page 1"].share < pages["live 1-10"].share

    def test_the_table_names_every_page(self, pages):
        lines = cached_answers.table(pages).splitlines()
        assert len(lines) == len(pages) + 1
        assert lines[1].split()[:4] == ["live", "1-10", f"{pages['live 1-10'].share:.3f}", "1.00"]

    def test_nothing_is_left_in_redis(self, pages):
        with KV(namespace=cached_answers.NAMESPACE) as kv:
            assert kv.names() == []


@pytest.mark.slow
class TestStress:
    def test_of_200_takers_none_gets_what_another_has_and_nothing_is_lost(self):
        found = cache_stress.takers()
        for way in ("script", "claim"):
            one = found[way]
            assert (one.put, one.handed, one.twice, one.left, one.lost) == (100, 100, 0, 0, 0)
        wrong = found["read and write"]
        assert wrong.twice > 0  # which is why the script exists

    def test_fewer_takers_than_items_leave_the_rest(self):
        one = cache_stress.takers(n_takers=30, n_users=3)["claim"]
        assert (one.handed, one.twice, one.left, one.lost) == (30, 0, 30, 0)

    def test_with_redis_killed_every_request_is_answered_in_full(self, lab):
        lab.stores.kv.reconnect()  # whatever tests before this one did to it
        found = cache_stress.killed(lab, n=60, after=30, workers=4)
        assert found.asked == found.answered == found.full == 60
        assert found.cached_before > 0.5 and found.cached_after == 0.0
        assert lab.stores.kv.ping()
