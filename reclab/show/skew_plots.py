"""Plots of train/serve skew and of what rebuilds heal.

Simplified: a team would alarm on them by feature, every day.
"""

import numpy as np

from reclab.lab.feature_drift import Drift
from reclab.lab.skew_study import Skew, lag_name
from reclab.show.labels import add_labels, label
from reclab.show.theme import Plot, figure, line, panels, still

add_labels(
    {
        "trained on the log": ("trained on features from the log", "用日志回算特征训练"),
        "trained as logged": ("trained on features logged when served", "用线上落盘特征训练"),
        "offline, from the log": ("offline, features from the log", "离线评估（日志回算特征）"),
        "update lag": ("update lag of the stores", "特征更新延迟"),
        "unequal values": ("Unequal values", "取值不一致占比"),
        "mean shift": ("Shift of the mean", "均值偏移"),
        "psi": ("Population stability index", "群体稳定性指标 PSI"),
        "standard deviations": ("standard deviations", "标准差"),
        "rebuilt never": ("never rebuilt", "从不全量重建"),
        "hours of stream": ("hours since the stream began", "流式更新小时数"),
        "error of counters": ("error of the items' click counts", "物品点击计数误差"),
        "log loss": ("log loss", "对数损失"),
    }
)
SHOWN = 8  # features with the largest PSI at the longest lag


def by_feature(skew: Skew, n: int = SHOWN) -> Plot:
    """Unequal values, shift and PSI of the most skewed features, a line each, against the lag."""
    measures = (skew.unequal, skew.shift, skew.psi)
    titles = [label(key) for key in ("unequal values", "mean shift", "psi")]
    units = ["", label("standard deviations"), ""]
    fig = panels(titles, [label("update lag")] * 3, units, columns=3, height=330)
    lags = [lag_name(lag) for lag in skew.lags_ms]
    for place, f in enumerate(np.argsort(-skew.psi[-1], kind="stable")[:n]):
        for column, values in enumerate(measures, 1):
            drawn = line(lags, values[:, f], skew.features[f], place).update(mode="lines+markers")
            fig.add_trace(drawn.update(showlegend=column == 1), row=1, col=column)
    fig.update_yaxes(tickformat=".0%", row=1, col=1)
    return still(fig, "plot: unequal values, shift of the mean and PSI by feature against the lag")


def effect(skew: Skew) -> Plot:
    """AUC and log loss against the lag: trained on features from the log or as logged."""
    fig = panels(["AUC", label("log loss")], [label("update lag")] * 2, ["", ""], height=310)
    lags = [lag_name(lag) for lag in skew.lags_ms]
    both = (
        (skew.auc_log, skew.auc_logged, skew.auc_offline),
        (skew.loss_log, skew.loss_logged, skew.loss_offline),
    )
    for column, (log, logged, offline) in enumerate(both, 1):
        flat = np.full(len(lags), offline)
        named = {"offline, from the log": flat, "trained on the log": log,
                 "trained as logged": logged}  # fmt: skip
        for place, (name, values) in enumerate(named.items()):
            drawn = line(lags, values, name, place).update(mode="lines+markers")
            fig.add_trace(drawn.update(showlegend=column == 1), row=1, col=column)
    return still(fig, "plot: AUC and log loss against the lag, by what the ranker was trained on")


def healed(drift: Drift) -> Plot:
    """Error of the counters by the hour, a line a schedule of rebuilds."""
    fig = figure(x=label("hours of stream"), y=label("error of counters"))
    for place, (every, error) in enumerate(zip(drift.every_h, drift.error, strict=True)):
        name = f"{every} h" if every else "rebuilt never"
        fig.add_trace(line(drift.hours, error, name, place))
    fig.add_hline(y=drift.loss, line_dash="dot", line_width=1)
    return fig.update_yaxes(tickformat=".1%", rangemode="tozero")
