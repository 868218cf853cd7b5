"""The slider of fusion: two targets, one weight, and the front that all weights span.

Simplified: industry fuses ten targets, and finds the weights by experiment, one arm each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from reclab.lab import Lab
from reclab.lab.kept import is_kept
from reclab.lab.targets import STEPS, Front, TargetPanel, front, make_target_panel, target_lab
from reclab.show.controls import Choice, Slider
from reclab.show.explorer import Explorer, Params
from reclab.show.labels import add_labels, label
from reclab.show.readout import Row
from reclab.show.theme import PALETTE, Series, panels

PAIRS = (
    ("p_long_view", "watch_sec"),
    ("p_long_view", "p_like"),
    ("p_click", "watch_sec"),
    ("p_like", "p_follow"),
)
add_labels(
    {
        "weight": ("weight of the second target", "第二目标的权重"),
        "pair": ("targets", "目标"),
        "kind": ("fusion", "融合方式"),
        "kind.sum": ("weighted sum", "加权和"),
        "kind.product": ("product of powers", "幂乘积"),
    }
)


@dataclass(frozen=True)
class Fused:
    """The front by predictions and by the truth, and the place of the weight on both."""

    told: Front
    true: Front
    at: int


class FusionExplorer(Explorer):
    """``FusionExplorer(lab)``: lists of ten by two targets, and what they are truly worth in both.

    The ranker of all targets serves if it has been trained, else the cascade's own."""

    title = ""

    def __init__(self, lab: Lab) -> None:
        self.targets = target_panel(lab)
        known = [pair for pair in PAIRS if set(pair) <= self.targets.told.keys()]
        if not known:  # logs with one target: its front is a point
            known = [(next(iter(self.targets.told)),) * 2]
        options = [(f"{label(one)}, {label(other)}", f"{one} {other}") for one, other in known]
        self._fronts: dict[tuple[str, str], tuple[Front, Front]] = {}
        super().__init__(
            [
                Slider("weight", 0.5),
                Choice("pair", options, options[0][1]),
                Choice("kind", [("kind.sum", "sum"), ("kind.product", "product")], "sum"),
            ]
        )

    def compute(self, params: Params) -> Fused:
        chosen = str(params["pair"]), str(params["kind"])
        if chosen not in self._fronts:
            one, other = chosen[0].split()
            by = (None, self.targets.true)
            told, true = (front(self.targets, one, other, chosen[1], by=b) for b in by)
            self._fronts[chosen] = told, true
        return Fused(*self._fronts[chosen], round(float(params["weight"]) * (STEPS - 1)))

    def figure_of(self) -> go.Figure:
        return panels([""], ["first target"], ["second target"], columns=1)

    def traces(self) -> Sequence[Series]:
        words = {"told": "by the ranker's predictions", "true": "by the truth", "at": "this weight"}
        looks = {"told": "lines+markers", "true": "lines", "at": "markers"}
        marks = {"told": 5, "true": 5, "at": 14}
        return [
            Series(name, go.Scatter(mode=mode, name=words[name], line_color=PALETTE[i],
                   marker={"color": PALETTE[i], "size": marks[name]}), 1, 1)
            for i, (name, mode) in enumerate(looks.items())
        ]  # fmt: skip

    def series(self, result: Fused) -> Mapping[str, Mapping[str, Any]]:
        one, other = result.told.one, result.told.other
        shown = {"told": result.told, "true": result.true}
        lines = {name: {"x": f.value[one], "y": f.value[other]} for name, f in shown.items()}
        now = {axis: values[[result.at]] for axis, values in lines["told"].items()}
        return {**lines, "at": now}

    def draw(self, figure: go.FigureWidget, result: Fused, baseline: Fused) -> None:
        super().draw(figure, result, baseline)
        page = "on a page of ten"
        figure.layout.xaxis.title.text = f"{label(result.told.one)} {page}"
        figure.layout.yaxis.title.text = f"{label(result.told.other)} {page}"

    def rows(self, result: Fused) -> Sequence[Row]:
        told, true = result.told, result.true
        usual = [n for n in ("p_click", "p_long_view", "watch_sec") if n in told.value]
        names = dict.fromkeys([*usual, told.one, told.other])
        return [
            *(Row(f"{label(n)} on a page", float(told.value[n][result.at])) for n in names),
            *(
                Row(f"{label(n)} if the truth were known", float(true.value[n][result.at]))
                for n in (told.one, told.other)
            ),
        ]


def target_panel(lab: Lab) -> TargetPanel:
    """The panel of all targets if it is there, else that of the cascade's own ranker."""
    if is_kept(lab, "targets"):
        return target_lab(lab).panel
    return make_target_panel(lab, lab.trained.parts.ranker)
