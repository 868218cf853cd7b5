"""The control room of lesson 02: sizes, channels, models, duties and diversity against value,
recall, latency and exposure.

Simplified: a platform turns such knobs in an A/B test, and waits days for what this shows at once.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import plotly.graph_objects as go

from reclab.cascade.pipeline import CHANNELS, Cascade, CascadeConfig
from reclab.cascade.pre_ranking.duties import RESERVING, DutiesConfig
from reclab.cascade.ranking.zoo import RANKERS
from reclab.cascade.re_ranking.dpp import DPPConfig, DPPStage
from reclab.cascade.re_ranking.mmr import MMRStage
from reclab.cascade.retrieval.merge import HOW
from reclab.lab import Lab
from reclab.lab.duties import duties_of
from reclab.lab.latency import STAGES, stage_costs
from reclab.lab.model_scores import ModelScores, known_scores, with_models
from reclab.lab.panel import Panel
from reclab.lab.pre_ranking import MODELS, WAYS
from reclab.lab.replay import GROUPS, Replay, ReRanker, replay
from reclab.show.controls import Choice, Slider
from reclab.show.explorer import Explorer, Params, shrinking
from reclab.show.labels import add_labels, label
from reclab.show.readout import Row
from reclab.show.theme import PALETTE, Series, panels

add_labels(
    {
        "retrieve": ("kept after retrieval", "召回后保留"),
        "merge": ("merge by", "合并方式"),
        "quota": ("quota", "配额"),
        "round_robin": ("round robin", "轮询"),
        "score": ("calibrated score", "校准分数"),
        "pre_rank": ("kept after pre-ranking", "粗排后保留"),
        "rank": ("kept after ranking", "精排后保留"),
        "lam": ("λ: relevance 1, variety 0", "λ：1 相关，0 多样"),
        "first": (
            "retrieval: candidates, and a quota for each channel (0 = off)",
            "召回：数量与配额（0 = 关）",
        ),
        "second": (
            "pre-ranking: candidates, model, and places kept for duties",
            "粗排：数量、模型与流量调控",
        ),
        "third": (
            "ranking and re-ranking: candidates, models, diversity",
            "精排与重排：数量、模型与多样性",
        ),
        "pre_ranker": ("pre-ranker", "粗排模型"),
        "own.two_tower": ("two towers (own)", "双塔（默认）"),
        "own.din": ("DIN (own)", "DIN（默认）"),
        "ranker": ("ranker", "精排模型"),
        "re_ranker": ("re-ranker", "重排模型"),
        "of_best": ("{0} ({1} best)", "{0}（前{1}）"),
        "duty.long_tail": ("for the long tail", "长尾扶持"),
        "duty.cold_start": ("for new items", "新品冷启动"),
        "duty.creators": ("for small creators", "创作者保护"),
        "duty.category": ("most of one category", "类目配额上限"),
        "popular": ("popular", "热门召回"),
        "item_cf": ("item-to-item CF", "协同过滤召回"),
        "two_tower": ("two-tower embedding", "双塔向量召回"),
        "content": ("content", "内容召回"),
        "social": ("social", "社交召回"),
        "sequential": ("sequential interest", "序列兴趣召回"),
        "retrieval": ("retrieval", "召回"),
        "filters": ("filters", "过滤"),
        "pre_ranking": ("pre-ranking", "粗排"),
        "ranking": ("ranking", "精排"),
        "re_ranking": ("re-ranking", "重排"),
        "head": ("head 1 %", "头部 1 %"),
        "middle": ("middle", "腰部"),
        "tail": ("tail 80 %", "长尾 80 %"),
        "new": ("new", "新品"),
        "small_creators": ("small creators", "中小作者"),
        "largest_topic": ("largest topic", "最大类目"),
    }
)
SIZES = (20, 50, 100, 150, 200, 300, 400, 500, 600, 800, 1000, 1200, 1500)
QUOTAS = (0, 0.25, 0.5, 1, 2, 4)
PRE_RANKERS = tuple(f"{kind.name}, {way}" for way in WAYS for kind in MODELS)
DEFAULT = {"pre_ranker": "two_tower", "ranker": "din"}
READ = 50
"""candidates that a learned re-ranker reads here, so that a move stays under 50 ms"""


@dataclass(frozen=True)
class Result:
    """A replay of the funnel with the time and the arithmetic it would take; ``promised`` (6,) what
    the duties keep for each of GROUPS, NaN = nothing."""

    replay: Replay
    promised: np.ndarray
    ms: np.ndarray
    mmac: float


class CascadeExplorer(Explorer):
    """``CascadeExplorer(lab)``: every slider move runs the funnel again on the panel's requests.

    A stage offers the models that have scored the panel: its own, and those that the lesson has
    trained since; ``re_rankers`` are learned ones, as ``with_parts`` takes them."""

    title = ""

    def __init__(self, lab: Lab, re_rankers: Mapping[str, ReRanker] | None = None) -> None:
        self.lab, self.latency = lab, lab.latency
        self.re_rankers = dict(re_rankers or {})
        self.scores = {
            "pre_ranker": known_scores(lab, "pre_ranking", ("two_tower", *PRE_RANKERS)),
            "ranker": known_scores(lab, "ranking", tuple(kind.name for kind in RANKERS)),
        }
        self._panels: dict[tuple[Any, Any], Panel] = {}
        self._duties = duties_of(lab, DutiesConfig())
        super().__init__(self.controls_of())

    def controls_of(self) -> list[Slider | Choice]:
        """The declarations, by stage."""
        places = [Slider(name, 0.0, f"duty.{name}", high=0.3, group="second") for name in RESERVING]
        last = "third"
        return [
            Slider("retrieve", 1000, values=SIZES, group="first"),
            Choice("merge", HOW, HOW[0], group="first"),
            *(Slider(name, 1, values=QUOTAS, group="first") for name in CHANNELS),
            Slider("pre_rank", 300, values=SIZES, group="second"),
            self._choice("pre_ranker", "second"),
            *places,
            Slider("category", 1.0, "duty.category", low=0.1, group="second"),
            Slider("rank", 100, values=(10, *SIZES), group=last),
            self._choice("ranker", last),
            Choice("re_ranker", self._re_ranker_names(), "MMR", group=last),
            Slider("lam", 0.9, group=last),
        ]

    def _choice(self, name: str, group: str) -> Choice:
        first = DEFAULT[name]
        others = [other for other in self.scores[name] if other != first]
        options = [(f"own.{first}", first), *((other, other) for other in others)]
        return Choice(name, options, first, group=group)

    def _re_ranker_names(self) -> list[tuple[str, str]]:
        learned = [(label("of_best").format(name, READ), name) for name in self.re_rankers]
        return [("MMR", "MMR"), ("DPP", "DPP"), *learned]

    def config(self, params: Params) -> CascadeConfig:
        """The settings as the live cascade takes them: ``lab.cascade.with_config`` runs them."""
        base, on = self.lab.cascade.config, [name for name in CHANNELS if params[name]]
        return replace(
            base,
            retrieve=int(params["retrieve"]),
            pre_rank=int(params["pre_rank"]),
            rank=int(params["rank"]),
            channels=tuple(on),
            merge=str(params["merge"]),
            shares={name: float(params[name]) for name in on},
            mmr=replace(base.mmr, lam=float(params["lam"])),
        )

    def parts(self, params: Params) -> dict[str, Any]:
        """The parts that the settings choose, for ``lab.cascade.with_parts(**…)``: duties and
        re-ranker."""
        theta = min(0.999, (1 + float(params["lam"])) / 2)  # so that both start alike
        known = {"MMR": MMRStage, "DPP": partial(DPPStage, dpp=DPPConfig(theta=theta))}
        known |= {name: partial(part, read=READ) for name, part in self.re_rankers.items()}
        duties = copy(self._duties)
        duties.config = DutiesConfig(**{n: float(params[n]) for n in (*RESERVING, "category")})
        return {
            "duties": duties if duties.config != DutiesConfig() else None,
            "re_ranker": known[params["re_ranker"]],
        }

    def live(self) -> Cascade:
        """The live cascade under the settings as they stand. The models stay the cascade's own."""
        now = self.params
        return self.lab.cascade.with_config(**self.live_settings()).with_parts(**self.parts(now))

    def live_settings(self) -> dict[str, Any]:
        """The settings as they stand, for ``lab.cascade.with_config(**…)``."""
        now = self.config(self.params)
        names = ("retrieve", "pre_rank", "rank", "channels", "merge", "shares", "mmr")
        return {name: getattr(now, name) for name in names}

    def panel(self, params: Params) -> Panel:
        """The panel as the chosen models have it."""
        chosen = (params["pre_ranker"], params["ranker"])
        if chosen not in self._panels:
            pre, rank = (self._score(name, params) for name in ("pre_ranker", "ranker"))
            self._panels[chosen] = with_models(self.lab.panel, pre, rank)
        return self._panels[chosen]

    def _score(self, name: str, params: Params) -> ModelScores | None:
        chosen = params[name]
        return None if chosen == DEFAULT[name] else self.scores[name][chosen]

    def check(self, params: Params) -> str | None:
        if not any(params[name] for name in CHANNELS):
            return "Switch on at least one channel: " + ", ".join(label(c) for c in CHANNELS) + "."
        return shrinking(params, ["retrieve", "pre_rank", "rank"])

    def compute(self, params: Params) -> Result:
        config, live = self.config(params), self.lab.cascade
        done = replay(self.panel(params), config, live.parts.index, **self.parts(params))
        ms = self.latency.predict(done.given)
        macs = stage_costs(live.with_config(channels=config.channels), done.given)
        for name, stage in (("pre_ranker", 2), ("ranker", 3)):
            other, usual = self._score(name, params), self.scores[name].get(DEFAULT[name])
            if other and usual:  # dearer or cheaper by so much a candidate
                ms[stage] = max(0.0, ms[stage] + (other.us - usual.us) * done.given[stage] / 1e3)
                macs[stage] += (other.macs - usual.macs) * done.given[stage] / 1e6
        acts = {"tail": "long_tail", "new": "cold_start", "small_creators": "creators"}
        acts = {group: float(params[duty]) for group, duty in acts.items() if params[duty]}
        if params["category"] < 1:
            acts["largest_topic"] = float(params["category"])
        promised = np.array([acts.get(group, np.nan) for group in GROUPS])
        return Result(done, promised, ms, float(macs.sum()))

    def figure_of(self) -> go.Figure:
        fig = panels(
            [
                "What the list of ten is worth",
                "How much of the oracle's 100 best is left",
                "Time of one request by stage",
                "Who is shown (bar), was handed on (dot), is promised (dash)",
            ],
            ["", "after stage", "stage", ""],
            ["share of the oracle", "share left", "ms", "share of cards"],
        )
        for place in ((1, 1), (1, 2), (2, 2)):
            fig.update_yaxes(range=[0, 1], tickformat=".0%", row=place[0], col=place[1])
        return fig.update_layout(showlegend=False)

    def traces(self) -> Sequence[Series]:
        stages = [label(name) for name in STAGES]
        groups = [label(name) for name in GROUPS]
        dots, dash = (go.Scatter(x=groups, mode="markers") for _ in range(2))
        dots.update(marker={"color": PALETTE[4], "size": 9, "symbol": "circle"})
        line = {"width": 3, "color": PALETTE[3]}
        dash.update(marker={"color": PALETTE[3], "size": 22, "symbol": "line-ew", "line": line})
        left = go.Scatter(x=stages[:4], mode="lines+markers", line_color=PALETTE[3])
        return (
            Series("worth", _bar([label("value"), "NDCG@10"], PALETTE[0]), 1, 1),
            Series("left", left, 1, 2),
            Series("time", _bar(stages, PALETTE[1]), 2, 1),
            Series("shown", _bar(groups, PALETTE[2]), 2, 2),
            Series("handed", dots, 2, 2),
            Series("promised", dash, 2, 2),
        )

    def series(self, result: Result) -> Mapping[str, Mapping[str, Any]]:
        done = result.replay
        return {
            "worth": {"y": [done.share, done.ndcg.mean()]},
            "left": {"y": done.recall},
            "time": {"y": result.ms},
            "shown": {"y": done.shown},
            "handed": {"y": done.handed},
            "promised": {"y": result.promised},
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
            Row("exposure of items younger than a day", done.new),
            Row("Gini of exposure", done.gini),
            Row("topics on a page", done.topics),
            Row("arithmetic", result.mmac, 1, "million multiply-adds"),
            Row("time of one request", float(result.ms.sum()), 1, "ms", measured=True),
        )


def _bar(x: Sequence[str], colour: str) -> go.Bar:
    return go.Bar(x=list(x), marker_color=colour, texttemplate="%{y:.2f}", textposition="outside")
