"""The control room of lesson 01: one day of pages among six businesses, served again at every move.

Simplified: a platform turns such knobs by experiment, on a few per cent of its traffic at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as w
import numpy as np
import plotly.graph_objects as go

from reclab.blending.allocation import BUSINESSES
from reclab.core.clock import DAY_MS
from reclab.core.types import Array
from reclab.lab.answer_times import requests_of
from reclab.lab.blend_panel import REQUESTS, SMALL, Blended, BlendKnobs, blend_panel, warm
from reclab.lab.blending import kept_front
from reclab.lab.lab import Lab
from reclab.show.controls import Slider
from reclab.show.explorer import Explorer, Params
from reclab.show.labels import add_labels, label
from reclab.show.readout import Row
from reclab.show.slate import Card, Feed
from reclab.show.theme import DASHES, MARKERS, PALETTE, TEXT, Series, panels

add_labels(
    {
        "blend.value": ("what counts", "统一价值的权重"),
        "blend.page": ("the page", "页面规则"),
        "blend.day": ("the day and the Router", "全天约束与路由"),
        "blend.revenue": ("weight of money", "收入权重"),
        "blend.satisfaction": ("weight of satisfaction", "满意度权重"),
        "blend.load": ("most ads on a page", "广告负载上限"),
        "blend.gap": ("cards between ads", "广告最小间隔"),
        "blend.quota": ("small businesses' quota", "小业务保量（占曝光）"),
        "blend.deadline": ("the Router waits", "路由截止时间"),
        "blend.request": ("request on the phone", "手机上的请求"),
        "blend.front": ("Minutes and money", "时长与收入"),
        "blend.return": ("Return and money", "次日回访与收入"),
        "blend.shares": ("Who is shown", "各业务曝光占比"),
        "blend.creators": ("Exposure among creators", "创作者之间的曝光"),
        "blend.prices": ("Prices over the day", "影子价格的一天"),
        "blend.answers": ("When the businesses answer", "各业务的响应时间"),
        "minutes a session": ("minutes a session", "分钟/会话"),
        "money a session": ("money a session", "收入/会话"),
        "return rate": ("users who return tomorrow", "次日回访率"),
        "share of creators": ("share of creators, least shown first", "创作者占比（曝光由少到多）"),
        "hour of the day": ("hour of the day", "小时"),
        "mean values": ("mean values", "相对平均价值的倍数"),
        "priced": ("priced page", "影子价格"),
        "fixed slots": ("fixed slots", "固定坑位"),
        "weave": ("weave", "比例穿插"),
        "weighted sum": ("weighted sum", "加权求和"),
        "here": ("you are here", "当前位置"),
        "money price": ("an agency's money", "代理商预算"),
        "deadline": ("deadline", "截止时间"),
        "most": ("80 % of requests", "80 % 的请求"),
        "ms": ("ms", "毫秒"),
        "blend.in_time": ("{0}: answers in time", "{0}：及时响应占比"),
        "blend.heading": ("user {0}, {1:02d}:{2:02d}", "用户 {0}，{1:02d}:{2:02d}"),
        "blend.worth": (
            "value {0:.2f} = watch {1:.2f} + money {2:.2f} + satisfaction {3:.2f}",
            "价值 {0:.2f} = 时长 {1:.2f} + 收入 {2:.2f} + 满意度 {3:.2f}",
        ),
        "blend.lifted": (", lifted by its quota {0:.2f}", "，保量加成 {0:.2f}"),
        "blend.charged": (", its agency's price {0:.2f}", "，预算价格 {0:.2f}"),
        "blend.tail": ("long tail of creators, share of exposure", "长尾作者曝光占比"),
        "blend.gini": ("Gini of exposure among creators", "作者曝光基尼系数"),
        "blend.filled": ("slots that are filled", "坑位填充率"),
        "blend.late": ("not waited for: {0}", "未等待：{0}"),
    }
)
MONEY = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
CARE = (0.0, 0.3, 1.0, 3.0, 10.0)
WAITS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 14.0, 16.0, 20.0, 25.0, 30.0, 50.0,
         100.0, 200.0)  # fmt: skip
LOADS, GAPS = range(4), range(1, 6)
FAMILIES = ("fixed slots", "weave", "weighted sum", "priced")
FAMILY_COLOURS = (PALETTE[7], PALETTE[1], PALETTE[2], PALETTE[0])
LORENZ = 60  # points of the curve that are drawn
GREY = "rgba(128,128,128,0.35)"


@dataclass(frozen=True)
class Shown:
    """A day of the panel, and the request that is on the phone."""

    day: Blended
    row: int


class BlendExplorer(Explorer):
    """``BlendExplorer(lab)``: every move serves ``n`` requests of the tuning day again. ``page``
    shows one of them on a phone, each card with its step against the pinned page."""

    title = ""

    def __init__(self, lab: Lab, n: int = REQUESTS) -> None:
        self.lab, self.panel = lab, blend_panel(lab, n)
        self.points, self.requests = kept_front(lab, "tuning", n), requests_of(lab, n)
        self._days: dict[BlendKnobs, Blended] = {}
        warm(BlendKnobs(), LOADS, GAPS)
        super().__init__(self.controls_of())

    def controls_of(self) -> list[Slider]:
        """The declarations, by group."""
        k, last = BlendKnobs(), len(self.panel) - 1
        value, page, day = "blend.value", "blend.page", "blend.day"
        return [
            Slider("revenue", k.revenue, "blend.revenue", values=MONEY, group=value),
            Slider("satisfaction", k.satisfaction, "blend.satisfaction", values=CARE, group=value),
            Slider("load", k.load, "blend.load", values=tuple(LOADS), group=page),
            Slider("gap", k.gap, "blend.gap", values=tuple(GAPS), group=page),
            Slider("quota", k.quota, "blend.quota", high=0.1, step=0.01, group=day),
            Slider("deadline_ms", k.deadline_ms, "blend.deadline", "ms", values=WAITS, group=day),
            Slider("request", last // 2, "blend.request", high=last, step=1, group=day),
        ]

    def knobs_now(self, params: Params) -> BlendKnobs:
        """The settings as the panel takes them."""
        names = BlendKnobs.__dataclass_fields__
        return BlendKnobs(**{name: params[name] for name in names})  # type: ignore[arg-type]

    def compute(self, params: Params) -> Shown:
        """The day is served again when a knob of its own has moved, not for another request."""
        knobs = self.knobs_now(params)
        if knobs not in self._days:
            if len(self._days) >= self.cache_size:
                self._days.pop(next(iter(self._days)))
            self._days[knobs] = self.panel.serve(knobs)
        return Shown(self._days[knobs], int(params["request"]))

    # ---- the phone ---------------------------------------------------------------------------

    def beside(self) -> w.Widget:
        self.page = w.HTML()
        return self.page

    def phone(self) -> Feed:
        """The page of the chosen request."""
        row, parts = self.result.row, self.lab.trained.parts
        page = self.panel.page(self.result.day, row)
        items = parts.index.get(page.item_row, ["tags", "author_id", "duration_sec"])
        steps = self._steps(page.item_row)
        cards = []
        for i, item in enumerate(parts.index.ids[page.item_row].tolist()):
            tags = [int(t) for t in np.atleast_1d(items["tags"][i]) if t >= 0]
            topics = [self.lab.logs.tag_names[t] for t in tags]
            worth = {name: float(values[i]) for name, values in page.terms.items()}
            price = float(page.price[i])
            card = Card(
                " ".join([*topics[:1], f"v{item}", steps[i]]),
                int(page.business[i]),
                topics,
                f"c{items['author_id'][i]}",
                float(items["duration_sec"][i]),
                _reason(worth, price),
                {"p": float(page.p[i]), "value": sum(worth.values()), "price": price},
            )
            cards.append(card)
        return Feed(cards, self._heading(page.late))

    def _steps(self, item_row: Array) -> list[str]:
        """How far each card has moved against the pinned page of the same request."""
        then = self.panel.page(self.baseline.day, self.result.row).item_row.tolist()
        words = []
        for place, item in enumerate(item_row.tolist()):
            step = then.index(item) - place if item in then else None
            arrow = "▲" if step and step > 0 else "▼"
            words.append("★" if step is None else f"{arrow}{abs(step)}" if step else "")
        return words

    def _heading(self, late: Sequence[int]) -> str:
        request = self.requests[self.result.row]
        minute = int(request.time_ms % DAY_MS // 60_000)
        words = label("blend.heading").format(request.user_id, *divmod(minute, 60))
        names = ", ".join(label(BUSINESSES[b]) for b in late)
        return f"{words}; {label('blend.late').format(names)}" if late else words

    # ---- drawing -----------------------------------------------------------------------------

    def figure_of(self) -> go.Figure:
        names = ("front", "return", "shares", "creators", "prices", "answers")
        fig = panels(
            [label(f"blend.{name}") for name in names],
            [label(x) for x in ("minutes a session", "return rate", "", "share of creators",
                                "hour of the day", "ms")],
            [label(y) for y in ("money a session", "money a session", "share_of_exposure",
                                "share_of_exposure", "mean values", "")],
            height=290,
            vertical_spacing=0.12,
        )  # fmt: skip
        self._add_front(fig)
        equal = go.Scatter(x=[0, 1], y=[0, 1], mode="lines", showlegend=False, hoverinfo="skip")
        fig.add_trace(equal.update(line={"color": TEXT, "dash": DASHES[2]}), row=2, col=2)
        self._add_answers(fig)
        fig.update_xaxes(tickformat=".1%", row=1, col=2)
        fig.update_yaxes(tickformat=".0%", range=[0, 1], row=2, col=1)
        for update in (fig.update_xaxes, fig.update_yaxes):
            update(tickformat=".0%", range=[0, 1], row=2, col=2)
        fig.update_xaxes(range=[0, 24], dtick=4, row=3, col=1)
        fig.update_yaxes(rangemode="tozero", row=3, col=1)
        return fig.update_layout(legend={"y": -0.07})

    def _add_front(self, fig: go.Figure) -> None:
        """Every setting of the four policies, on the same requests."""
        for i, family in enumerate(FAMILIES):
            mine = {name: p for name, p in self.points.items() if p.family == family}
            money = np.float32([p.money for p in mine.values()])
            minutes = np.float32([p.minutes for p in mine.values()])
            back = np.float32([p.back for p in mine.values()])
            look = {"color": FAMILY_COLOURS[i], "symbol": MARKERS[i], "size": 6, "opacity": 0.75}
            for col, x in ((1, minutes), (2, back)):
                dots = go.Scatter(x=x, y=money, mode="markers", marker=look, text=list(mine))
                dots.update(name=label(family), legendgroup=family, showlegend=col == 1)
                dots.update(hovertemplate="%{text}<extra></extra>")
                fig.add_trace(dots, row=1, col=col)

    def _add_answers(self, fig: go.Figure) -> None:
        """Four fifths of each business's answers."""
        words, gap = [label(name) for name in BUSINESSES], [None]
        low, high = np.quantile(self.panel.answer_ms, [0.1, 0.9], axis=0).round(2)
        x = [v for a, b in zip(low.tolist(), high.tolist(), strict=True) for v in (a, b, None)]
        y = [v for name in words for v in (name, name, *gap)]
        most = go.Scatter(x=x, y=y, mode="lines", name=label("most"), showlegend=False)
        most.update(line={"color": GREY, "width": 7}, hoverinfo="name")
        fig.add_trace(most, row=3, col=2)
        ends = np.log10([WAITS[0] * 0.8, WAITS[-1] * 1.3]).tolist()
        ticks = {"tickvals": [1, 2, 5, 10, 20, 50, 100], "exponentformat": "none"}
        fig.update_xaxes(type="log", range=ends, **ticks, row=3, col=2)

    def traces(self) -> Sequence[Series]:
        here = {"size": 15, "symbol": "star", "color": PALETTE[5]}
        star = go.Scatter(mode="markers", marker=here, showlegend=True)
        other = go.Scatter(mode="markers", marker=here, showlegend=False)
        bars = go.Bar(marker_color=list(PALETTE[:6]), texttemplate="%{y:.0%}", showlegend=False)
        curve = go.Scatter(mode="lines", line={"color": PALETTE[0], "width": 3}, showlegend=False)
        in_time = {"size": 12, "symbol": "diamond", "color": list(PALETTE[:6])}
        answer = go.Scatter(mode="markers", marker=in_time, showlegend=False)
        missed = {"size": 11, "symbol": "x", "color": TEXT}
        late = go.Scatter(mode="markers", marker=missed, showlegend=False)
        wait = go.Scatter(mode="lines", line={"color": PALETTE[5], "width": 3}, showlegend=False)
        return [
            Series("here", star, 1, 1),
            Series("back", other, 1, 2),
            Series("share", bars.update(textposition="outside", cliponaxis=False), 2, 1),
            Series("lorenz", curve, 2, 2),
            *(Series(BUSINESSES[b], self._line(b), 3, 1) for b in SMALL),
            Series("money price", self._line(7), 3, 1),
            Series("answer", answer, 3, 2),
            Series("late", late, 3, 2),
            Series("deadline", wait, 3, 2),
        ]

    def _line(self, place: int) -> go.Scatter:
        look = {"color": PALETTE[place], "dash": DASHES[place % 5], "width": 2}
        return go.Scatter(mode="lines+markers", line=look, marker_size=5)

    def _build_parts(self) -> None:
        super()._build_parts()
        for name in ("answer", "late"):  # a ghost would be the same times once more
            self.figure.data[self.index[name][1]].visible = False

    def series(self, result: Shown) -> Mapping[str, Mapping[str, Any]]:
        day, words = result.day, [label(name) for name in BUSINESSES]
        minutes, money, back = day.three.tolist()
        some = np.linspace(0, len(day.lorenz) - 1, LORENZ).astype(int)
        hours, ms = day.hours.round(2), self.panel.answer_ms[result.row].round(2)
        late = ~day.in_time[result.row]
        wait = [day.knobs.deadline_ms] * 2
        return {
            "here": {"x": [minutes], "y": [money]},
            "back": {"x": [back], "y": [money]},
            "share": {"x": words, "y": day.share},
            "lorenz": {"x": (some + 1) / len(day.lorenz), "y": day.lorenz[some]},
            **{BUSINESSES[b]: {"x": hours, "y": day.bonus[:, b]} for b in SMALL},
            "money price": {"x": hours, "y": day.money},
            "answer": {"x": np.where(late, np.nan, ms), "y": words},
            "late": {"x": np.where(late, ms, np.nan), "y": words},
            "deadline": {"x": wait, "y": [words[0], words[-1]]},
        }

    def draw(self, figure: go.FigureWidget, result: Shown, baseline: Shown) -> None:
        super().draw(figure, result, baseline)
        self.page.value = self.phone().html()

    def rows(self, result: Shown) -> Sequence[Row]:
        """What follows from a deadline that some answer has missed depends on the machine."""
        day = result.day
        cut = not (self.result.day.in_time.all() and self.baseline.day.in_time.all())
        minutes, money, back = day.three.tolist()
        numbers = [
            ("minutes a session", minutes, 1, ""),
            ("money a session", money, 1, ""),
            ("return rate", 100 * back, 1, "%"),
            *((name, 100 * day.share[b], 0, "%") for b, name in enumerate(BUSINESSES)),
            ("blend.tail", 100 * day.tail, 0, "%"),
            ("blend.gini", day.gini, 2, ""),
            ("blend.filled", 100 * day.filled, 0, "%"),
        ]
        kept = (100 * day.in_time.mean(0)).tolist()
        in_time = [
            Row(label("blend.in_time").format(label(name)), share, 0, "%", measured=True)
            for name, share in zip(BUSINESSES, kept, strict=True)
        ]
        return [*(Row(*number, measured=cut) for number in numbers), *in_time]


def _reason(worth: Mapping[str, float], price: float) -> str:
    """Why a card is on the page: its value by objective, and what prices did to it."""
    words = label("blend.worth").format(sum(worth.values()), *worth.values())
    if abs(price) < 0.005:
        return words
    return words + label("blend.lifted" if price < 0 else "blend.charged").format(abs(price))
