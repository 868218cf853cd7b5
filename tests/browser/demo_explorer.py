"""A small explorer on numbers made up by formula, and a slow one: what the browser tests drive."""

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from reclab.show import Check, Choice, Explorer, Row, Series, Slider, panels

PLACES = list(range(1, 11))


@dataclass(frozen=True)
class Point:
    """Sizes of the funnel (3,), value by place (10,), and the arithmetic."""

    sizes: np.ndarray
    value: np.ndarray
    mmac: float


class DemoExplorer(Explorer):
    """A funnel of two sizes."""

    title = "A funnel <of> two sizes"
    declared = (
        Slider("retrieve", 1000, "after retrieval", "items", (100, 200, 500, 1000, 2000, 5000)),
        Slider("rank", 100, "after ranking", "items", (10, 50, 100, 200, 500)),
        Slider("lam", 0.7, "λ of MMR", low=0.0, high=1.0, step=0.05),
        Slider("page", 10, "items on a page", low=1, high=30, step=1),
        Choice("model", ("DIN", "two-tower"), "DIN", "ranking model"),
        Check("popular", True, "popular items"),
        Check("item_cf", True, "item-to-item"),
    )
    funnel = ("retrieve", "rank")

    def compute(self, params):
        """Grows with the sizes, saturates with λ."""
        if not params["popular"] and not params["item_cf"]:
            raise ZeroDivisionError("no <channel> left")
        gain = 0.1 * params["item_cf"] + 0.05 * params["popular"]
        shape = 1 - np.exp(-np.array(PLACES) * (0.1 + params["lam"]))
        value = np.log10(params["retrieve"]) / 6 * shape + gain
        sizes = np.array([params["retrieve"], params["rank"], params["page"]])
        return Point(sizes, value, params["retrieve"] * 0.011)

    def figure_of(self):
        """Two panels."""
        titles = ["Funnel", "Value by place"]
        return panels(titles, ["stage", "place"], ["items", "P(long view)"])

    def traces(self):
        """Bars and a line."""
        stages = ["retrieval", "ranking", "page"]
        line = go.Scatter(x=PLACES, mode="lines+markers")
        return [Series("funnel", go.Bar(x=stages)), Series("value", line, col=2)]

    def series(self, result):
        """Data for both."""
        return {"funnel": {"y": result.sizes}, "value": {"y": result.value}}

    def rows(self, result):
        """Three numbers, one of them measured."""
        return [
            Row("mean value", result.value.mean()),
            Row("arithmetic", result.mmac, 1, "million multiply-adds"),
            Row("time", result.mmac / 3, 1, "ms", measured=True),
        ]


class SlowExplorer(DemoExplorer):
    """The same behind a Run button."""

    title = "A slow one"
    slow = True

    def compute(self, params, progress=None):
        """In four steps that tell how far they are."""
        for step in range(4):
            if progress:
                progress(step / 4, f"step {step + 1}")
        return super().compute(params)
