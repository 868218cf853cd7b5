"""Words on plots and controls, in English or, with ``RECLAB_LANG=zh``, in Chinese.

One table from a key to both languages. A key without an entry is its own label, so a lesson may
pass plain words. Chapters add their terms with ``add_labels``.

Simplified: a product keeps such tables outside the code and has translators fill them.
"""

import os
import unicodedata
from collections.abc import Mapping

_LABELS: dict[str, tuple[str, str]] = {
    "measure": ("measure", "指标"),
    "now": ("now", "当前"),
    "pinned": ("pinned", "基线"),
    "difference": ("difference", "差值"),
    "setting": ("setting", "设置"),
    "pin": ("Pin as baseline", "设为基线"),
    "reset": ("Reset", "重置"),
    "run": ("Run", "运行"),
    "running": ("running", "运行中"),
    "stale": (
        "The settings have changed; press Run to compute them.",
        "设置已改变，按“运行”重新计算。",
    ),
    "invalid": ("These settings do not work together", "这些设置不能同时使用"),
    "grows": (
        "“{0}” ({1}) must not be larger than “{2}” ({3}).",
        "“{0}”（{1}）不能大于“{2}”（{3}）。",
    ),
    "kept_last": (
        "The plots still show the last settings that worked.",
        "图中仍为上一次有效设置的结果。",
    ),
    "failed": ("The computation failed", "计算出错"),
    "yes": ("on", "开"),
    "no": ("off", "关"),
    "reason": ("Why", "推荐理由"),
    "because_watched": ("because you watched", "因为你看过"),
    "scores": ("scores", "分数"),
    "creator": ("creator", "作者"),
    "seconds": ("s", "秒"),
    "empty_feed": ("Nothing to show: the slate is empty.", "没有可展示的内容：结果为空。"),
    "feed": ("Feed", "推荐流"),
    "candidates": ("candidates", "候选"),
    "catalogue": ("catalogue", "全部物品"),
    "dropped": ("dropped", "淘汰"),
    "stage": ("stage", "阶段"),
    "latency_ms": ("latency (ms)", "延迟（毫秒）"),
    "share_of_items": ("share of items, least shown first", "物品占比（曝光由少到多）"),
    "share_of_exposure": ("share of exposure", "曝光占比"),
    "equal": ("equal exposure", "完全均等"),
    "kept": ("kept", "保留"),
    "short video": ("short video", "短视频"),
    "live": ("live", "直播"),
    "product": ("product", "商品"),
    "ad": ("ad", "广告"),
    "image-text": ("image-text", "图文"),
    "campaign": ("campaign", "活动"),
    "p_click": ("clicks", "点击"),
    "p_long_view": ("long views", "长播"),
    "watch_sec": ("seconds watched", "观看秒数"),
    "p_like": ("likes", "点赞"),
    "p_share": ("shares", "分享"),
    "p_follow": ("follows", "关注"),
    "p_purchase": ("purchases", "购买"),
    "wide_deep": ("Wide & Deep", "Wide & Deep"),
    "deep_fm": ("DeepFM", "DeepFM"),
    "x_deep_fm": ("xDeepFM", "xDeepFM"),
    "dcn": ("DCN-v2", "DCN-v2"),
    "din": ("DIN", "DIN"),
    "dien": ("DIEN", "DIEN"),
    "transformer": ("Transformer", "Transformer"),
    "mmoe": ("MMoE", "MMoE"),
    "ple": ("PLE", "PLE"),
}


def language() -> str:
    """``"zh"`` when the environment's RECLAB_LANG starts with zh, else ``"en"``."""
    return "zh" if os.environ.get("RECLAB_LANG", "").lower().startswith("zh") else "en"


def label(key: str) -> str:
    """The words for a key in the reader's language; an unknown key is returned as it is.

    >>> label("pin"), label("number of candidates")
    ('Pin as baseline', 'number of candidates')
    """
    words = _LABELS.get(key)
    return key if words is None else words[1 if language() == "zh" else 0]


def add_labels(words: Mapping[str, tuple[str, str]]) -> None:
    """Add ``{key: (English, 中文)}``; a key that is there already is replaced."""
    _LABELS.update(words)


def text_width(text: str) -> int:
    """Columns that the text takes in a fixed-width font; a Chinese character takes two.

    >>> text_width("recall"), text_width("召回")
    (6, 4)
    """
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def text_table(rows: list[tuple[str, ...]]) -> str:
    """Rows of words as a text table: the first column left, the others right, two spaces apart."""
    if not rows:
        return ""
    widths = [max(text_width(row[c]) for row in rows) for c in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0] + " " * (widths[0] - text_width(row[0]))]
        cells += [
            " " * (width - text_width(cell)) + cell
            for cell, width in zip(row[1:], widths[1:], strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
