"""The control room of lesson 02: sizes of the funnel, channels and λ against value, recall,
latency and exposure.

Simplified: a platform turns such knobs in an A/B test, and waits days for what this shows at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import plotly.graph_objects as go

from reclab.cascade.pipeline import CHANNELS, CascadeConfig
from reclab.lab import Lab
from reclab.lab.latency import STAGES, stage_costs
from reclab.lab.panel import Replay, replay
from reclab.show.controls import Check, Slider
from reclab.show.explorer import Explorer, Params, shrinking
from reclab.show.labels import add_labels, label
from reclab.show.readout import Row
from reclab.show.theme import PALETTE, Series, panels

add_labels(
    {
        "retrieve": ("kept after retrieval", "召回后保留"),
        "pre_rank": ("kept after pre-ranking", "粗排后保留"),
        "rank": ("kept after ranking", "精排后保留"),
        "lam": ("λ: relevance against diversity", "λ：相关性与多样性"),
        "popular": ("popular", "热门召回"),
        "item_cf": ("item-to-item CF", "协同过滤召回"),
        "two_tower": ("two-tower embedding", "双塔向量召回"),
        "retrieval": ("retrieval", "召回"),
        "filters": ("filters", "过滤"),
        "pre_ranking": ("pre-ranking", "粗排"),
        "ranking": ("ranking", "精排"),
        "re_ranking": ("re-ranking", "重排"),
        "head": ("head 1 %", "头部 1 %"),
        "middle": ("middle", "腰部"),
        "tail": ("tail 80 %", "长尾 80 %"),
    }
)
SIZES = (20, 50, 100, 150, 200, 300, 400, 500, 600, 800, 1000, 1200, 1500)


@dataclass(frozen=True)
class Result:
    """A replay of the funnel with the time and the arithmetic it would take."""

    replay: Replay
    ms: np.ndarray
    mmac: float


class CascadeExplorer(Explorer):
    """``CascadeExplorer(lab)``: every slider move runs the funnel again on the panel's requests."""

    title = ""
    declared = (
        Slider("retrieve", 1000, unit="candidates", values=SIZES),
        Slider("pre_rank", 300, unit="candidates", values=SIZES),
        Slider("rank", 100, unit="candidates", values=(10, *SIZES)),
        Slider("lam", 0.9, low=0.0, high=1.0, step=0.05),
        *(Check(name) for name in CHANNELS),
    )

    def __init__(self, lab: Lab) -> None:
        self.lab, self.panel = lab, lab.panel
        self.latency = lab.latency
        super().__init__()

    def config(self, params: Params) -> CascadeConfig:
        """The settings as the live cascade takes them: ``lab.cascade.with_config`` runs them."""
        base = self.lab.cascade.config
        return replace(
            base,
            retrieve=int(params["retrieve"]),
            pre_rank=int(params["pre_rank"]),
            rank=int(params["rank"]),
            channels=tuple(name for name in CHANNELS if params[name]),
            mmr=replace(base.mmr, lam=float(params["lam"])),
        )

    def live_settings(self) -> dict[str, Any]:
        """The settings as they stand, for ``lab.cascade.with_config(**…)``."""
        now = self.config(self.params)
        names = ("retrieve", "pre_rank", "rank", "channels", "mmr")
        return {name: getattr(now, name) for name in names}

    def check(self, params: Params) -> str | None:
        if not any(params[name] for name in CHANNELS):
            return "Switch on at least one channel: " + ", ".join(label(c) for c in CHANNELS) + "."
        return shrinking(params, ["retrieve", "pre_rank", "rank"])

    def compute(self, params: Params) -> Result:
        config = self.config(params)
        done = replay(self.panel, config, self.lab.cascade.parts.index)
        live = self.lab.cascade.with_config(channels=config.channels)
        mmac = stage_costs(live, done.given).sum()
        return Result(done, self.latency.predict(done.given), float(mmac))

    def figure_of(self) -> go.Figure:
        fig = panels(
            [
                "What the list of ten is worth",
                "How much of the oracle's 100 best is left",
                "Time of one request by stage",
                "Who is shown",
            ],
            ["", "after stage", "stage", "items by past exposure"],
            ["share of the oracle", "share left", "ms", "share of exposure"],
        )
        for place in ((1, 1), (1, 2), (2, 2)):
            fig.update_yaxes(range=[0, 1], tickformat=".0%", row=place[0], col=place[1])
        return fig.update_layout(showlegend=False)

    def traces(self) -> Sequence[Series]:
        stages = [label(name) for name in STAGES]
        groups = [label(name) for name in ("head", "middle", "tail")]
        left = go.Scatter(x=stages[:4], mode="lines+markers", line_color=PALETTE[3])
        return (
            Series("worth", _bar([label("value"), "NDCG@10"], PALETTE[0]), 1, 1),
            Series("left", left, 1, 2),
            Series("time", _bar(stages, PALETTE[1]), 2, 1),
            Series("shown", _bar(groups, PALETTE[2]), 2, 2),
        )

    def series(self, result: Result) -> Mapping[str, Mapping[str, Any]]:
        done = result.replay
        return {
            "worth": {"y": [done.share, done.ndcg.mean()]},
            "left": {"y": done.recall},
            "time": {"y": result.ms},
            "shown": {"y": done.exposure},
        }

    def rows(self, result: Result) -> Sequence[Row]:
        done = result.replay
        return (
            Row("value of the list, share of the oracle", done.share),
            Row("NDCG@10", float(done.ndcg.mean())),
            *(
                Row(f"oracle's 100 best left after {label(name)}", float(left), 2)
                for name, left in zip(STAGES, done.recall, strict=False)
            ),
            Row("exposure of the tail 80 %", float(done.exposure[2])),
            Row("Gini of exposure", done.gini),
            Row("topics on a page", done.topics),
            Row("arithmetic", result.mmac, 1, "million multiply-adds"),
            Row("time of one request", float(result.ms.sum()), 1, "ms", measured=True),
        )


def _bar(x: Sequence[str], colour: str) -> go.Bar:
    return go.Bar(x=list(x), marker_color=colour, texttemplate="%{y:.2f}", textposition="outside")
