"""The control room of lesson 03: a day of the service, its machines, budgets, rungs and outages.

Simplified: a platform sees today beside last week; here the pinned settings stand there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import plotly.graph_objects as go

from reclab.lab.rung_values import LADDER, STAGES
from reclab.lab.serving_day import CORES, MACHINES, MID, PARTS, STATIC, SURGE, DayKnobs, ServingDay
from reclab.offline_online.serving.fallback import FRESH
from reclab.offline_online.serving.resource_allocation import Day, busy_share
from reclab.show.controls import Check, Choice, Slider
from reclab.show.explorer import Explorer, Params
from reclab.show.labels import add_labels, label
from reclab.show.readout import Row
from reclab.show.theme import DASHES, MARKERS, PALETTE, Series, panels

add_labels(
    {
        "day.traffic": ("traffic", "流量"),
        "day.budgets": ("deadline and budgets", "截止时间与延迟预算"),
        "day.cluster": ("machines", "机器"),
        "day.rungs": ("rungs that are on", "启用的兜底层级"),
        "day.down": ("what is down", "故障部分"),
        "day.curve": ("curve", "流量曲线"),
        "day.peak": ("usual peak", "日常峰值"),
        "day.height": ("surge, times the usual", "突增倍数"),
        "day.lasts": ("surge lasts", "突增持续"),
        "day.deadline": ("deadline", "截止时间"),
        "day.reserve": ("kept for lower rungs", "留给下层的比例"),
        "day.retrieval": ("share of retrieval", "召回的预算份额"),
        "day.ranking": ("share of ranking", "精排的预算份额"),
        "day.machines": ("machines are", "机器数量"),
        "day.sized": ("times what is needed", "冗余倍数"),
        "day.start": ("a machine starts in", "机器启动时间"),
        "day.price": ("price of a machine-hour", "每机器小时价格"),
        "day.mix": ("rungs mixed by value per cost", "按性价比分配层级"),
        "day.from": ("from", "开始时刻"),
        "day.hours": ("for", "持续"),
        "day.thousand": ("k long views", "千次长播"),
        "down.retrieval": ("retrieval is down", "召回故障"),
        "down.ranker": ("ranker is down", "精排故障"),
        "down.cache": ("cache is down", "缓存故障"),
        "requests come": ("requests", "请求"),
        "fresh capacity": ("the fresh cascade could do", "实时级联的容量"),
        "half are under": ("p50", "p50"),
        "99 % are under": ("p99", "p99"),
        "deadline line": ("deadline", "截止时间"),
        "page worth": ("value of a request", "每次请求的价值"),
        "stage limit": ("limit", "预算"),
        "stage takes": ("takes", "实际"),
        "ways to size": ("machines", "机器策略"),
    }
)


CHINESE = {
    "q/s": "次/秒",
    "h": "小时",
    "o'clock": "点",
    "tide": "潮汐",
    "tide with a surge": "潮汐加突增",
    "sized for the peak": "按峰值固定",
    "following the load": "跟随负载",
    "by yesterday's curve": "按昨日曲线",
    "by value": "按价值",
    "deep funnel": "深漏斗",
    "fresh cascade": "实时级联",
    "shallow funnel": "浅漏斗",
    "without ranking": "跳过精排",
    "cached answer": "缓存结果",
    "hot pool": "高热内容池",
    "editors' pool": "运营内容池",
    "Requests and capacity": "请求量与容量",
    "Time until the answer": "响应时间",
    "Who answers": "由哪一层回答",
    "Value of a request": "每次请求的价值",
    "Latency budget of the fresh cascade": "实时级联的延迟预算",
    "The whole day, by how machines are had": "全天：各种机器策略",
    "hour": "时刻",
    "machine-hours": "机器小时",
    "share of requests": "请求占比",
    "share of the fresh cascade": "相对实时级联",
    "value kept": "保住的价值",
    "cost saved against machines for the peak": "比按峰值固定节省的成本",
    "requests without an answer": "无结果的请求",
    "requests while p99 is beyond the deadline": "p99 超时期间的请求",
    "worst p99": "最差 p99",
    "machines at most": "最多机器数",
}  # of words that are their own key
add_labels({words: (words, chinese) for words, chinese in CHINESE.items()})
THIN = 3  # of the ticks are drawn: one in fifteen minutes
TITLES = (
    "Requests and capacity",
    "Time until the answer",
    "Who answers",
    "Value of a request",
    "Latency budget of the fresh cascade",
    "The whole day, by how machines are had",
)
PLACES = ("middle left", "middle right", "top right", "bottom center")  # of names at dots


@dataclass(frozen=True)
class Days:
    """The day under the settings, and the same day under each way to have machines."""

    service: ServingDay
    knobs: DayKnobs
    ways: Mapping[str, Day]

    @property
    def day(self) -> Day:
        """Of the way that is chosen."""
        return self.ways[self.knobs.machines]

    def kept(self, day: Day) -> float:
        """Value as a share of the fresh cascade's for all."""
        return self.service.kept(day)


class ServingExplorer(Explorer):
    """``ServingExplorer(ServingDay(rung_offers(lab), traces))``."""

    title = ""

    def __init__(self, service: ServingDay) -> None:
        self.service = service
        super().__init__(self.controls_of())

    def controls_of(self) -> list[Slider | Choice | Check]:
        """The declarations, by group."""
        k, t, b, m = DayKnobs(), "day.traffic", "day.budgets", "day.cluster"
        peaks = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
        limits = (8, 10, 12, 15, 20, 30, 50, 70, 100, 150, 200, 300)
        prices = (50, 100, 200, 400, 600, 700, 800, 900, 1000, 1500, 3000)
        starts, d = (0, 1, 2, 5, 10, 15, 20, 30, 45, 60), "day.down"
        return [
            Choice("curve", self.service.curves, SURGE, "day.curve", group=t),
            Slider("peak_qps", int(k.peak_qps), "day.peak", "q/s", peaks, group=t),
            Slider("height", k.height, "day.height", low=1.0, high=10.0, step=0.5, group=t),
            Slider("lasts_h", k.lasts_h, "day.lasts", "h", low=0.5, high=3.0, step=0.5, group=t),
            Slider("deadline_ms", int(k.deadline_ms), "day.deadline", "ms", limits, group=b),
            Slider("reserve", k.reserve, "day.reserve", low=0.0, high=0.6, group=b),
            Slider("retrieval", k.retrieval, "day.retrieval", low=0.05, high=1.0, group=b),
            Slider("ranking", k.ranking, "day.ranking", low=0.05, high=1.0, group=b),
            Choice("machines", MACHINES, k.machines, "day.machines", group=m),
            Slider("sized", k.sized, "day.sized", low=0.2, high=2.0, step=0.1, group=m),
            Slider("start_min", int(k.start_min), "day.start", "min", starts, group=m),
            Slider("price", int(k.price), "day.price", "day.thousand", prices, group=m),
            Check("by_value", k.by_value, "day.mix", group=m),
            *(Check(name, True, group="day.rungs") for name in LADDER),
            Slider("from_h", int(k.from_h), "day.from", "o'clock", tuple(range(24)), group=d),
            Slider("hours", int(k.hours), "day.hours", "h", tuple(range(1, 9)), group=d),
            *(Check(f"down.{part}", part == "ranker", group=d) for part in PARTS),
        ]  # fmt: skip

    def knobs_now(self, params: Params) -> DayKnobs:
        """The settings as the day takes them."""
        own = set(DayKnobs.__dataclass_fields__) - {"on", "down"}
        values: dict[str, Any] = {name: params[name] for name in own}
        on = {name: bool(params[name]) for name in LADDER}
        down = tuple(part for part in PARTS if params[f"down.{part}"])
        return DayKnobs(**values, on=on, down=down)

    def check(self, params: Params) -> str | None:
        if not any(params[name] for name in LADDER):
            return "Leave at least one rung on."
        return None

    def compute(self, params: Params) -> Days:
        knobs = self.knobs_now(params)
        ways = {way: self.service.run(replace(knobs, machines=way)) for way in MACHINES}
        return Days(self.service, knobs, ways)

    # ---- drawing ---------------------------------------------------------------------------

    def figure_of(self) -> go.Figure:
        fig = panels(
            [label(title) for title in TITLES],
            [label(words) for words in (*["hour"] * 4, "", "machine-hours")],
            [
                "q/s",
                "ms",
                *map(label, ("share of requests", "share of the fresh cascade")),
                "ms",
                label("value kept"),
            ],
            height=270,
        )
        for row, col in ((2, 1), (2, 2), (3, 2)):
            fig.update_yaxes(tickformat=".1%" if row == 3 else ".0%", row=row, col=col)
        for row, col in ((1, 1), (1, 2), (2, 2)):
            fig.update_yaxes(rangemode="tozero", row=row, col=col)
        fig.update_yaxes(range=[0, 1], row=2, col=1)
        self._areas = {}
        for i, name in enumerate(LADDER):
            area = go.Scatter(mode="lines", name=label(name), stackgroup="rungs", legendgroup=name)
            area.update(line={"color": PALETTE[i], "width": 1})
            fig.add_trace(area, row=2, col=1)
            self._areas[name] = len(fig.data) - 1
        return fig.update_layout(legend={"y": -0.08}, bargap=0.3)

    def traces(self) -> Sequence[Series]:
        def line(place: int) -> go.Scatter:
            drawn = go.Scatter(mode="lines")
            return drawn.update(line={"color": PALETTE[place], "dash": DASHES[place], "width": 2})

        dots = go.Scatter(mode="markers+text", textposition=PLACES, cliponaxis=False)
        dots.update(text=[label(way) for way in MACHINES])
        dots.update(marker={"size": 12, "color": PALETTE[:4], "symbol": "circle"})
        return [
            Series("requests come", line(0), 1, 1),
            Series("fresh capacity", line(1), 1, 1),
            Series("half are under", line(0), 1, 2),
            Series("99 % are under", line(1), 1, 2),
            Series("deadline line", line(7), 1, 2),
            Series("page worth", line(2), 2, 2),
            Series("stage limit", go.Bar(marker_color=PALETTE[4]), 3, 1),
            Series("stage takes", go.Bar(marker_color=PALETTE[1]), 3, 1),
            Series("ways to size", dots, 3, 2),
        ]

    def series(self, result: Days) -> Mapping[str, Mapping[str, Any]]:
        hours, day, knobs = _thin(self.service.hours), result.day, result.knobs
        limit, takes = _budget(result)
        names = [label(f"stage.{name}") for name in STAGES]
        ways = list(result.ways.values())
        return {
            "requests come": {"x": hours, "y": _thin(day.qps)},
            "fresh capacity": {"x": hours, "y": _thin(_capacity(result))},
            "half are under": {"x": hours, "y": _thin(day.p50_ms)},
            "99 % are under": {"x": hours, "y": _thin(day.p99_ms)},
            "deadline line": {"x": [0, 24], "y": [knobs.deadline_ms] * 2},
            "page worth": {"x": hours, "y": _thin(day.value / self.service.usual)},
            "stage limit": {"x": names, "y": limit},
            "stage takes": {"x": names, "y": takes},
            "ways to size": {
                "x": [way.machine_hours for way in ways],
                "y": [result.kept(way) for way in ways],
            },
        }

    def draw(self, figure: go.FigureWidget, result: Days, baseline: Days) -> None:
        super().draw(figure, result, baseline)
        # only here, and key by key: a batch forgets a second value that equals the old one, and a
        # whole marker would reach the page as none at all
        dots = figure.data[self.index["ways to size"][0]]
        dots["marker.symbol"] = MARKERS[: len(MACHINES)]
        dots["marker.size"] = [16 if way == result.knobs.machines else 9 for way in MACHINES]
        hours = _thin(self.service.hours)
        for k, name in enumerate(LADDER):
            area = figure.data[self._areas[name]]
            area.x, area.y = hours, _thin(result.day.shares[:, k])

    def rows(self, result: Days) -> Sequence[Row]:
        day, most = result.day, result.ways[STATIC].machine_hours
        shares = day.of_requests(day.shares)
        late = float(day.of_requests(day.p99_ms > result.knobs.deadline_ms))
        return [
            Row("value kept", 100 * result.kept(day), 1, "%"),
            Row("machine-hours", day.machine_hours, 0, measured=True),
            Row("cost saved against machines for the peak", 100 * (1 - day.machine_hours / most), 0,
                "%"),
            Row("requests without an answer", 100 * float(day.of_requests(day.missed)), 2, "%"),
            Row("requests while p99 is beyond the deadline", 100 * late, 1, "%"),
            Row("worst p99", float(day.p99_ms.max()), 0, "ms", measured=True),
            Row("machines at most", float(day.machines.max()), 0, measured=True),
            *(Row(f"{label(name)}: share", 100 * float(share), 1, "%")
              for name, share in zip(LADDER, shares, strict=True)),
        ]  # fmt: skip


def _thin(values: np.ndarray) -> np.ndarray:
    """Every ``THIN``-th tick, as it is drawn."""
    return np.float32(values[::THIN])


def _capacity(result: Days) -> np.ndarray:
    """(T,) requests a second that the machines could answer by the fresh cascade."""
    day, offers = result.day, result.service.offers
    cores = np.maximum(day.machines * CORES, 1)
    limit = result.service.cluster(result.knobs).deadline_ms
    busy = busy_share(offers, cores, limit)
    return 1000 * busy * cores / result.service.rungs[FRESH].cost_ms


def _budget(result: Days) -> tuple[list[float], list[float]]:
    """ms that each stage may take, and takes with two deviations, when those before it took their
    mean."""
    k, rung = result.knobs, result.service.rungs[FRESH]
    shares = MID | {"retrieval": k.retrieval, "ranking": k.ranking}
    left, limit = k.deadline_ms * (1 - k.reserve), []
    for at, stage in enumerate(STAGES):
        behind = sum(shares[name] for name in STAGES[at:])
        limit.append(left * shares[stage] / behind)
        left = max(left - rung.stage_ms[at], 0.0)
    return limit, [ms * (1 + 2 * rung.spread) for ms in rung.stage_ms]


add_labels(
    {
        "stage.retrieval": ("retrieval is down", "召回故障"),
        "stage.pre_ranking": ("pre-ranking", "粗排"),
        "stage.ranking": ("ranking", "精排"),
        "stage.re_ranking": ("re-ranking", "重排"),
    }
)
