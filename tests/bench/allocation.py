"""Blending: pages of the fast solver beside HiGHS's, a day of 20,000 pages beside the best it could
have been, and what a bid that is not the truth earns.

Pages are random: 60 candidates from 6 businesses, 10 slots, every rule on. The day has its tide;
the forecast of it is 5 % too low; its ads have 12 payers, half of them short of money.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from reclab.blending.allocation import (
    Account,
    DualPrices,
    ExactPage,
    FixedSlots,
    Optimum,
    PagePolicy,
    PageRules,
    PricedPage,
    Prices,
    PricingConfig,
    Quotas,
    RatioWeave,
    WeightedSum,
    day_optimum,
    page_value,
    proved_short,
    serve_day,
    violations,
)
from reclab.blending.allocation.day import parts
from reclab.blending.auction import PRICING, AuctionConfig, utility_of_bidding
from reclab.core.types import Array, Candidates
from reclab.world.traffic import HOURLY
from tests.blending.pages import random_day, random_pages

RULES = PageRules(most_in_a_row=(3, 2, 2, 1, 2, 1), floors=(2, 1, 1, 0, 1, 0),
                  ceilings=(6, 3, 3, 2, 3, 1))  # fmt: skip
PAGES, DAY, PAYERS = 1_000, 20_000, 12


def cpu_ms(call: Callable[[], Any]) -> tuple[float, Any]:
    """CPU ms of a call, and what came out."""
    began = time.process_time()
    found = call()
    return (time.process_time() - began) * 1e3, found


def alone(policy: PagePolicy, requests: list[Candidates]) -> tuple[Array, Array]:
    """CPU ms and wall ms of each request on its own."""
    policy.allocate(requests[0])
    cpu, wall = [], []
    for request in requests:
        began = time.perf_counter()
        cpu.append(cpu_ms(lambda request=request: policy.allocate(request))[0])
        wall.append((time.perf_counter() - began) * 1e3)
    return np.array(cpu), np.array(wall)


def pages() -> None:
    """The fast solver beside the exact one, and the other policies."""
    candidates = random_pages(PAGES, seed=1)
    requests = [some for _, some in parts(candidates, 1)]
    exact_ms, exact = cpu_ms(lambda: ExactPage(RULES).allocate(candidates))
    best = page_value(exact, candidates, RULES)
    print(f"{'policy':<24}{'value':>8}{'worst':>8}{'broken':>8}{'CPU ms a page':>15}{'ratio':>7}")
    print(f"{'ExactPage':<24}{1:>8.4f}{1:>8.3f}{len(violations(exact, candidates, RULES)):>8}"
          f"{exact_ms / PAGES:>15.3f}{1:>7}")  # fmt: skip
    policies: list[tuple[str, PagePolicy]] = [
        *((f"PricedPage, beam {beam}", PricedPage(RULES, beam=beam)) for beam in (1, 4, 16, 64)),
        ("WeightedSum of values", WeightedSum(RULES, column="value")),
        ("WeightedSum of scores", WeightedSum(RULES)),
        ("RatioWeave", RatioWeave(RULES)),
        ("FixedSlots", FixedSlots(RULES)),
    ]
    for name, policy in policies:
        ms, found = cpu_ms(lambda policy=policy: policy.allocate(candidates))
        value = page_value(found, candidates, RULES)
        print(f"{name:<24}{value.sum() / best.sum():>8.4f}{(value / best).min():>8.3f}"
              f"{len(violations(found, candidates, RULES)):>8}{ms / PAGES:>15.4f}"
              f"{exact_ms / ms:>7.0f}")  # fmt: skip
    print(f"\n{'one request at a time':<34}{'CPU p50':>9}{'CPU p99':>9}{'wall p99 ms':>13}"
          f"{'x exact':>9}")  # fmt: skip
    no_organic = [some.take(some["business"] > 1) for some in requests]
    many = [random_pages(1, seed, each=1667, creators=3000) for seed in range(50)]
    for name, given in (("60 candidates", requests), ("two businesses down", no_organic),
                        ("10,000 candidates", many)):  # fmt: skip
        cpu, wall = alone(PricedPage(RULES), given)
        ratio = f"{exact_ms / PAGES / cpu.mean():>9.0f}" if given is requests else ""
        print(f"{name:<34}{np.median(cpu):>9.3f}{np.quantile(cpu, 0.99):>9.3f}"
              f"{np.quantile(wall, 0.99):>13.3f}{ratio}")  # fmt: skip


def promised() -> Quotas:
    """Live and ads get less than they would, image-text and campaigns more; every other payer has
    half of the money that it would spend."""
    candidates, time_ms = random_day(DAY, seed=1)
    freely = serve_day(PricedPage(PageRules()), candidates, time_ms, 500, PAYERS)
    half = np.where(np.arange(PAYERS) % 2, 0.5, 2.0)
    budgets = tuple((freely.shown.spend * half).tolist())
    return Quotas((0, 0, 0, 0, 0.12, 0.05), (1, 0.18, 1, 0.12, 1, 1), budgets)


def told(name: str, account: Account, quotas: Quotas, best: Optimum, bound: float) -> None:
    """One line of the day's table."""
    spent = account.shown.spend / np.array(quotas.budgets)
    value, net = account.shown.value, account.net_value(quotas, best.prices.business)
    print(f"  {name:<30}{value / bound:>8.4f}{net / bound:>8.4f}"
          f"{100 * account.misses(quotas).max():>8.2f}{100 * spent[1::2].min():>9.1f}"
          f"{100 * spent.max():>8.1f}", flush=True)  # fmt: skip


def a_day() -> None:
    """Prices learned, learned from yesterday's, and left at yesterday's."""
    rules, quotas = PageRules(), promised()
    forecast = HOURLY / HOURLY.sum() * DAY / 1.05

    def serve(day: tuple[Candidates, Array], config: PricingConfig | None = None,
              start: Prices | None = None, every: int = 20) -> tuple[Account, Prices]:  # fmt: skip
        prices = DualPrices(quotas, rules, forecast, config, start)
        account = serve_day(PricedPage(rules, prices), *day, every, PAYERS)
        return account, prices.average()

    _, yesterday = serve(random_day(DAY, seed=2))
    stale = PricingConfig(step=0.0, budget_step=0.0)
    head = f"{'value':>8}{'net':>8}{'miss %':>8}{'least %':>9}{'most %':>8}"
    print(f"\n{'a day of 20,000 pages':<32}{head}   (least, most: of a budget)")
    for what, drift, business in (("as forecast", 1.0, 1), ("live x 1.5 at noon", 1.5, 1),
                                  ("ads x 1.5 at noon", 1.5, 3)):  # fmt: skip
        day = random_day(DAY, seed=3, drift=drift, drifting=business)
        began = time.process_time()
        best = day_optimum(day[0], rules, quotas)
        short, error = proved_short(day[0], rules, best.prices)
        bound = best.bound + DAY * short
        print(f"{what}: programme {best.value / best.bound:.4f} of its bound in {best.rounds} "
              f"rounds, {time.process_time() - began:.0f} s; exact pages lift the bound by "
              f"{100 * DAY * short / bound:.2f} +- {100 * DAY * error / bound:.2f} %")  # fmt: skip
        told("prices learned today", serve(day)[0], quotas, best, bound)
        told("learned, from yesterday's", serve(day, start=yesterday)[0], quotas, best, bound)
        told("learned, every 500 pages", serve(day, every=500)[0], quotas, best, bound)
        told("yesterday's, stale", serve(day, stale, yesterday)[0], quotas, best, bound)
        if drift == 1.0:
            nothing = serve_day(PricedPage(rules), *day, 500, PAYERS)
            told("no prices", nothing, quotas, best, bound)
            weave = RatioWeave(rules, (4, 1.8, 1.7, 1.4, 1.3, 0.8))
            told("a ratio near the quotas", serve_day(weave, *day, 500, PAYERS), quotas, best,
                 bound)  # fmt: skip


def bids() -> None:
    """Mean gain of an advertiser by what it bids, in units of the truth."""
    factors = np.array([0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.5, 2.0, 4.0])
    weights = PageRules().weights
    chance = np.random.default_rng(4)
    gains = {pricing: np.zeros(len(factors)) for pricing in PRICING}
    for _ in range(1000):
        paid = np.arange(20) % 3 == 0
        worth = np.where(paid, chance.uniform(-0.5, 0.3, 20), chance.gamma(2, 0.5, 20))
        truth = np.where(paid, chance.gamma(2, 0.8, 20), np.nan)
        for pricing, sums in gains.items():
            config = AuctionConfig(pricing=pricing)
            sums += utility_of_bidding(worth, truth, weights, factors, 0, config)
    print(f"\n{'bid / truth':<14}" + "".join(f"{factor:>8.2f}" for factor in factors))
    for pricing, sums in gains.items():
        print(f"{pricing:<14}" + "".join(f"{gain:>8.4f}" for gain in sums / 1000))


def main() -> None:
    """Print the tables."""
    pages()
    a_day()
    bids()


if __name__ == "__main__":
    main()
