"""The tables of lesson 01 as text: six kinds of score, and five ways to fill a page.

Simplified: a team would read them from a dashboard, with yesterday's beside them.
"""

from collections.abc import Mapping

import numpy as np

from reclab.blending.allocation import BUSINESSES
from reclab.lab.blending_candidates import Pool
from reclab.lab.blending_compared import Compared
from reclab.show.labels import label, text_table


def scores_table(pool: Pool) -> str:
    """What each business says of its cards, median and largest score; and what that is worth to the
    platform, median and largest."""
    c = pool.candidates
    rows = [("", "median score", "largest", "median worth", "largest")]
    for code, name in enumerate(BUSINESSES):
        mine = c["business"] == code
        score, value = c["score"][mine], c["value"][mine]
        rows.append(
            (
                label(name),
                f"{np.median(score):,.1f}",
                f"{score.max():,.1f}",
                f"{np.median(value):.2f}",
                f"{value.max():.1f}",
            )
        )
    return text_table(rows)


def policies_table(found: Mapping[str, Compared]) -> str:
    """A line a policy: believed value beside the exact page's, what came by the truth, rules that
    are broken, and speed beside the exact page."""
    head = ("pages by", "optimum", "minutes", "money", "return", "broken rules", "times as fast")
    rows = [head]
    for name, row in found.items():
        p = row.point
        rows.append(
            (
                label(name),
                f"{row.optimum:.2%}",
                f"{p.minutes:.1f}",
                f"{p.money:.2f}",
                f"{p.back:.1%}",
                str(row.broken),
                f"{row.ratio:,.0f}",
            )
        )
    return text_table(rows)
