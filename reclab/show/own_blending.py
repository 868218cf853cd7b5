"""The plots of lesson 01 that set the reader's component beside ours.

    shares          who is seen how much: pages woven by ours and by theirs        exercise 1.1
    calibration     what was said against what came                                exercise 1.2
    quota_prices    the day's prices, and how far from its quotas it ended         exercise 1.4
    profits         what a bidder gains by bidding more or less than the truth     exercise 1.5

Simplified: a team would keep them on a dashboard, with an interval at every point.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from reclab.blending.allocation import BUSINESSES, Account, PageRules, Quotas
from reclab.blending.allocation.rules import exposures
from reclab.core.clock import DAY_MS, HOUR_MS
from reclab.core.metrics import reliability
from reclab.core.types import Array
from reclab.lab.blending_pool import Pool, Served
from reclab.show.labels import label, text_table
from reclab.show.theme import DASHES, PALETTE, Plot, figure, line, panels, still

PATTERNS = ("", "/", "x", "\\", ".", "+")


def shares(found: Mapping[str, Served], pool: Pool, rules: PageRules | None = None) -> Plot:
    """Share of expected exposures of each business, a group of bars a way of making pages."""
    rules = rules or PageRules()
    fig = figure(y="share of expected exposures", alt="plot: exposures of each business")
    names = [label(name) for name in rules.businesses]
    for i, (name, served) in enumerate(found.items()):
        held = exposures(served.pages, pool.candidates, rules).sum(0)
        bars = go.Bar(x=names, y=np.float32(held / held.sum()), name=label(name))
        look = {"color": PALETTE[i % 8], "pattern": {"shape": PATTERNS[i % 6]}}
        fig.add_trace(bars.update(marker=look))
    return fig.update_yaxes(tickformat=".0%", rangemode="tozero")


def worth_table(found: Mapping[str, Served]) -> str:
    """A line a way of making pages: what a session is worth."""
    rows = [("pages by", "minutes", "money", "return rate")]
    for name, served in found.items():
        minutes, money, back = served.worth.three()
        rows.append((label(name), f"{minutes:.1f}", f"{money:.2f}", f"{back:.1%}"))
    return text_table(rows)


def calibration(said: Mapping[str, Array], label_of: Array, bins: int = 10) -> Plot:
    """Reliability of several ways to turn the same scores into probabilities (n,), against what
    came of the cards, ``label_of`` (n,)."""
    fig = figure(x="probability that was said", y="share that came true", height=360)
    even = go.Scatter(x=[0, 1], y=[0, 1], mode="lines", name=label("as said"))
    fig.add_trace(even.update(line={"color": PALETTE[7], "dash": DASHES[2]}))
    for i, (name, p) in enumerate(said.items()):
        mean, rate, _ = reliability(label_of, p, bins)
        fig.add_trace(line(mean, rate, name, i).update(mode="lines+markers"))
    return fig


def quota_prices(days: Mapping[str, Account], quotas: Quotas) -> Plot:
    """The prices of the businesses under a quota through the day, and where their shares ended as
    multiples of the quota."""
    bound = [b for b in range(len(quotas.low)) if quotas.low[b] > 0 or quotas.high[b] < 1]
    fig = panels(
        ["Price of an exposure", "Share of exposures at the day's end"],
        ["hour", ""],
        ["value", "times the quota"],
        height=330,
    )
    for i, (name, day) in enumerate(days.items()):
        hours = np.float32(day.times % DAY_MS / HOUR_MS)
        for j, b in enumerate(bound):
            told = f"{label(BUSINESSES[b])}, {label(name)}"
            drawn = go.Scatter(x=hours, y=np.float32(day.prices[:, b]), mode="lines", name=told)
            drawn.update(line={"color": PALETTE[j % 8], "dash": DASHES[i % 8]})
            fig.add_trace(drawn, row=1, col=1)
        limit = [quotas.low[b] if quotas.low[b] > 0 else quotas.high[b] for b in bound]
        ended = np.float32(day.shares()[bound] / np.array(limit))
        names = [label(BUSINESSES[b]) for b in bound]
        bars = go.Bar(x=names, y=ended, name=label(name), showlegend=False)
        look = {"color": PALETTE[(3 + i) % 8], "pattern": {"shape": PATTERNS[i % 6]}}
        fig.add_trace(bars.update(marker=look), row=1, col=2)
    return still(fig, "plot: prices of the quotas through the day, and the shares at its end")


def profits(factors: Sequence[float], found: Mapping[str, Array]) -> Plot:
    """A bidder's profit (m,) against what it bids, as multiples of its worth (m,)."""
    fig = figure(x="bid, times the worth", y="profit of the day (money)", height=340)
    for i, (name, profit) in enumerate(found.items()):
        drawn = line(np.array(factors), profit, name, i).update(mode="lines+markers")
        fig.add_trace(drawn)
    return fig
