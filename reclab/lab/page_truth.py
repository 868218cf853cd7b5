"""What whole pages are truly worth on the simulated platform, and what users click on them: of any
pages that were served to requests of a split, by the Router or anybody else.

    v = a watch + b money + g satisfaction,       satisfaction = long views - c (left after a card)
    watch = sum_j reached_j (skip_j + p_j more_j),   money = sum_j reached_j p_j pay_j

one page each, symbols as in ``blending_pool``, c as in ``blending_values``.

Simplified: a real platform sees one outcome of each page, and no expectation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reclab.blending.businesses import Money
from reclab.blending.currency import Currency
from reclab.core.chance import rng
from reclab.core.clock import DAY_MS
from reclab.core.tables import Table
from reclab.core.types import Array, Candidates, Slate
from reclab.lab.blending_candidates import card_truths
from reclab.lab.blending_values import cost_of_leaving
from reclab.lab.lab import Lab, train_until
from reclab.lab.page_simulator import PageSimulator


@dataclass(frozen=True)
class Pages:
    """Pages (B, K) as rows of the catalogue, -1 = empty, and the truth of them: ``p_click``,
    ``p_long`` and ``p_leave`` of each card when it is reached."""

    held: Table
    rows: Array
    p_click: Array
    p_long: Array
    p_leave: Array

    @staticmethod
    def of(lab: Lab, split: str, requests: Array, slates: Sequence[Slate]) -> "Pages":
        """Of the ``requests`` (B,) of a split, by their places in it."""
        held = lab.judge.table(split, int(requests.max(initial=0)) + 1).take(requests)
        longest = max((len(slate) for slate in slates), default=0)
        rows = np.full((len(slates), longest), -1)
        for row, slate in enumerate(slates):
            rows[row, : len(slate)] = slate.item_row
        lists = np.where(rows >= 0, np.arange(longest), -1)
        simulator = PageSimulator.of(lab.world.truth, held, rows)
        return Pages(held, rows, *simulator.chances(np.arange(len(rows)), lists))

    @property
    def reached(self) -> Array:
        """(B, K) P(the user gets as far as this card)."""
        stays = np.cumprod(1 - self.p_leave, 1)
        return np.concatenate([np.ones((len(stays), 1)), stays[:, :-1]], 1) * (self.rows >= 0)


def drawn_clicks(
    lab: Lab, split: str, requests: Array, slates: Sequence[Slate], seed: int = 0
) -> list[Array]:
    """(cards,) bool of each page: what the users of the ``requests`` (n,) of a split clicked, drawn
    by the truth, for ``Router.feedback``."""
    pages, chance = Pages.of(lab, split, requests, slates), rng(seed, "clicks on pages")
    stays = chance.random(pages.rows.shape) >= pages.p_leave
    there = np.cumprod(np.concatenate([np.ones((len(stays), 1)), stays[:, :-1]], 1), 1) > 0
    clicked = there & (chance.random(pages.rows.shape) < pages.p_click)
    return [row[: len(slate)] for row, slate in zip(clicked, slates, strict=True)]


def true_value(
    lab: Lab, split: str, requests: Array, slates: Sequence[Slate], currency: Currency
) -> Array:
    """(n,) what pages are truly worth to the requests (n,) of a split, one page each."""
    pages = Pages.of(lab, split, requests, slates)
    owner, slot = np.nonzero(pages.rows >= 0)
    alone = Candidates(len(slates), owner, pages.rows[owner, slot])
    cards = card_truths(lab, pages.held, alone, Money())

    def on_page(values: Array) -> Array:
        page = np.zeros(pages.rows.shape)
        page[owner, slot] = values
        return page

    cost = cost_of_leaving(lab, train_until(lab) // DAY_MS)
    reached, click = pages.reached, pages.p_click
    watch = reached * (on_page(cards.skip_sec) + click * on_page(cards.more_sec))
    return currency.value(
        {
            "watch_sec": watch.sum(1),
            "revenue": (reached * click * on_page(cards.pay)).sum(1),
            "satisfaction": (reached * (pages.p_long - cost * pages.p_leave)).sum(1),
        }
    )
