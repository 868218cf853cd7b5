"""The waterfall of a page: a bar a call, from when it began to when it ended, coloured by how.

Below the calls stand the Router's own steps. The outcome is written on each bar, so that colour is
not the only sign; the line is the deadline.

Simplified: a tracing system draws it from spans that every service reports, of one request in many.
"""

import plotly.graph_objects as go

from reclab.blending.trace import OUTCOMES, CallTrace, RouterTrace
from reclab.core.types import StageTrace
from reclab.show.labels import add_labels, label
from reclab.show.theme import PALETTE, TEXT, Plot, figure

add_labels(
    {
        "call ok": ("ok", "成功"),
        "call late": ("late", "超时"),
        "call failed": ("failed", "失败"),
        "call open": ("not asked: breaker open", "熔断，未调用"),
        "call hedged": ("overtaken by the second call", "被对冲请求取代"),
        "second call": ("second call", "对冲请求"),
        "the router": ("the Router", "路由服务"),
        "deadline": ("deadline", "截止时间"),
        "ms since the request came": ("ms since the request came", "距请求到达（毫秒）"),
        "step dispatch": ("dispatch", "请求分发"),
        "step answers": ("waiting for answers", "等待应答"),
        "step check": ("check", "结果校验"),
        "step blend": ("blend", "混排"),
        "step candidates": ("to the blending service", "送入混排服务"),
        "step calibration": ("calibration", "校准"),
        "step value": ("value", "统一价值"),
        "step allocation": ("allocation", "分配"),
        "short_video": ("short video", "短视频"),
        "image_text": ("image-text", "图文"),
    }
)
COLOURS = dict(
    zip(OUTCOMES, (PALETTE[2], PALETTE[1], PALETTE[5], PALETTE[7], PALETTE[4]), strict=True)
)
THIN_MS = 0.4  # share of the axis, in per cent, below which a bar could not be seen


def waterfall(trace: RouterTrace, title: str = "") -> Plot:
    """Draw the calls of a trace and the Router's own steps, first on top."""
    end = max([trace.ms, trace.deadline_ms, *(call.end_ms for call in trace.calls)])
    thin = end * THIN_MS / 100
    bars = [
        _bar([call for call in trace.calls if call.outcome == outcome], outcome, thin)
        for outcome in OUTCOMES
        if outcome in trace.outcomes()
    ]
    height = 110 + 26 * (len(trace.calls) + len(trace.steps.stages))
    words = ", ".join(f"{_how(name)} {n}" for name, n in trace.outcomes().items()) or "-"
    alt = f"waterfall: {words}; {trace.ms:.0f} of {trace.deadline_ms:g} ms"
    axis = label("ms since the request came")
    fig = figure(*bars, _steps(trace, thin), title=title, x=axis, height=height, alt=alt)
    rows = [*map(_row, trace.calls), *(_step(stage) for stage in trace.steps.stages)]
    fig.update_yaxes(categoryorder="array", categoryarray=rows[::-1], ticks="")
    fig.update_xaxes(range=[0, end * 1.05])
    fig.add_vline(
        trace.deadline_ms,
        line={"color": TEXT, "dash": "dash"},
        annotation_text=label("deadline"),
        annotation_position="top left",
    )
    return fig.update_layout(barmode="overlay", bargap=0.3)


def _how(outcome: str) -> str:
    return label(f"call {outcome}")


def _step(stage: StageTrace) -> str:
    return label(f"step {stage.name}")


def _row(call: CallTrace) -> str:
    name = label(call.business)
    return f"{name}: {label('second call')}" if call.second else name


def _bar(calls: list[CallTrace], outcome: str, thin: float) -> go.Bar:
    return go.Bar(
        y=[_row(call) for call in calls],
        base=[call.begin_ms for call in calls],
        x=[max(call.end_ms - call.begin_ms, thin) for call in calls],
        orientation="h",
        name=_how(outcome),
        text=[_how(outcome)] * len(calls),
        hovertext=[
            f"{call.end_ms - call.begin_ms:.1f} ms, {call.n_offers} {label('candidates')}"
            + (f"<br>{call.note}" if call.note else "")
            for call in calls
        ],
        hoverinfo="text",
        textposition="auto",
        marker={"color": COLOURS[outcome]},
    )


def _steps(trace: RouterTrace, thin: float) -> go.Bar:
    """The stages one after the other, up to the page's end."""
    stages = trace.steps.stages
    begin = [trace.ms - sum(stage.ms for stage in stages[n:]) for n in range(len(stages))]
    return go.Bar(
        y=[_step(stage) for stage in stages],
        base=[max(ms, 0.0) for ms in begin],
        x=[max(stage.ms, thin) for stage in stages],
        orientation="h",
        name=label("the router"),
        hovertext=[f"{stage.ms:.2f} ms" for stage in stages],
        hoverinfo="text",
        marker={"color": "rgba(0,0,0,0)", "line": {"color": PALETTE[0], "width": 2}},
    )
