"""The feed as a phone shows it: one card per item, with business, topics, creator and reason.

Everything is inline: no script, no style element, no network, so the feed looks the same in a
notebook that has not been trusted or run. Text takes the page's colour, so both themes read. The
scores are a tooltip, and a fold-out that the keyboard opens and a screen reader reads.

Simplified: real cards carry a cover image and are laid out by the client's own code.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from reclab.cascade.ranking.targets import TARGETS
from reclab.core.errors import check
from reclab.core.types import Slate
from reclab.show.labels import label

BUSINESSES = ("short video", "live", "product", "ad", "image-text", "campaign")
# White words on each reach 4.5 : 1; each itself reaches 3 : 1 on Lab's dark #111.
COLOURS = ("#0072B2", "#B8471B", "#007A5A", "#756700", "#A8417D", "#9A5B00")
_SHOWN = ("rank_score", "score", "p", "value", *TARGETS)


@dataclass(frozen=True)
class Card:
    """One item on the screen. ``business`` indexes ``BUSINESSES``; ``duration_sec`` 0 = not said;
    ``scores`` by name, shown with three digits."""

    title: str
    business: int = 0
    topics: Sequence[str] = ()
    creator: str = ""
    duration_sec: float = 0.0
    reason: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = 0 <= self.business < len(BUSINESSES)
        check(known, "Card.business", self.business, f"be in 0..{len(BUSINESSES) - 1}", "0")

    @property
    def scores_text(self) -> str:
        """``score 0.812 · p_click 0.104``"""
        return " · ".join(f"{name} {value:.3f}" for name, value in self.scores.items())

    @property
    def facts(self) -> str:
        """Topics, creator and duration in one line."""
        parts = [" ".join(f"#{topic}" for topic in self.topics)]
        parts += [f"{label('creator')} {self.creator}" if self.creator else ""]
        parts += [f"{self.duration_sec:.0f} {label('seconds')}" if self.duration_sec > 0 else ""]
        return " · ".join(part for part in parts if part)


@dataclass(frozen=True)
class Feed:
    """Cards under a heading; displays as HTML, and as text where there is no HTML."""

    cards: Sequence[Card]
    heading: str = ""

    def __str__(self) -> str:
        lines = [self.heading or label("feed")]
        for place, card in enumerate(self.cards, 1):
            parts = (card.title, label(BUSINESSES[card.business]), card.facts, card.reason)
            parts += (card.scores_text,)
            lines.append(f"{place:>2}. " + " | ".join(part for part in parts if part))
        return "\n".join(lines if self.cards else [*lines, label("empty_feed")])

    def html(self) -> str:
        """The feed as self-contained HTML; every text in it is escaped."""
        body = "".join(_card(place, card) for place, card in enumerate(self.cards, 1))
        body = body or f'<p style="padding:12px">{escape(label("empty_feed"))}</p>'
        heading = escape(self.heading or label("feed"))
        return (
            '<section style="width:340px;max-width:100%;box-sizing:border-box;padding:10px 8px;'
            'border:3px solid #808080;border-radius:26px;line-height:1.35">'
            f'<p style="text-align:center;font-weight:bold;margin:2px 0 8px 0">{heading}</p>'
            '<ol style="list-style:none;margin:0;padding:0 4px;max-height:560px;overflow-y:auto">'
            f"{body}</ol></section>"
        )

    def _repr_mimebundle_(self, *args: Any, **kwargs: Any) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": str(self)}


def _card(place: int, card: Card) -> str:
    colour, scores = COLOURS[card.business], escape(card.scores_text)
    badge = (
        f'<span style="background-color:{colour};color:#ffffff;border-radius:8px;'
        f'padding:0 7px;font-size:11px">{escape(label(BUSINESSES[card.business]))}</span>'
    )
    more = f'<div style="font-size:12px">{escape(card.facts)}</div>' if card.facts else ""
    if card.reason or scores:
        summary = escape(card.reason or label("scores"))
        more += (
            f'<details style="font-size:12px"><summary style="cursor:pointer">{summary}</summary>'
            f"<div>{scores}</div></details>"
        )
    return (
        f'<li title="{scores}" style="border:1px solid rgba(128,128,128,0.45);'
        f'border-left:6px solid {colour};border-radius:10px;padding:6px 9px;margin:0 0 7px 0">'
        f"<div>{place}. <strong>{escape(card.title)}</strong> {badge}</div>{more}</li>"
    )


def phone(
    slate: Slate,
    items: Mapping[str, np.ndarray],
    tag_names: Sequence[str] = (),
    reasons: Sequence[str] = (),
    heading: str = "",
    title_of: Callable[[int], str] | None = None,
) -> Feed:
    """The feed of one slate.

    ``items``: columns of the slate's items in its order, ``forward_index.get(slate.item_row)``;
    those of tags, business, author_id and duration_sec that exist are shown. ``reasons``: one
    sentence an item ("because you watched …", or its channels). ``title_of(place)`` gives a title
    (default: the main topic and the item's number).
    """
    if reasons:
        check(
            len(reasons) == len(slate), "reasons", len(reasons), "be one an item", str(len(slate))
        )
    return Feed(
        [_card_of(slate, items, tag_names, reasons, title_of, i) for i in range(len(slate))],
        heading,
    )


def _card_of(
    slate: Slate,
    items: Mapping[str, np.ndarray],
    tag_names: Sequence[str],
    reasons: Sequence[str],
    title_of: Callable[[int], str] | None,
    place: int,
) -> Card:
    tags = (
        [int(t) for t in np.atleast_1d(items["tags"][place]) if t >= 0] if "tags" in items else []
    )
    topics = [tag_names[t] if t < len(tag_names) else str(t) for t in tags]
    title = f"{topics[0]} v{slate.item_id[place]}" if topics else f"v{slate.item_id[place]}"
    return Card(
        title=title_of(place) if title_of else title,
        business=int(items["business"][place]) if "business" in items else 0,
        topics=topics,
        creator=f"c{items['author_id'][place]}" if "author_id" in items else "",
        duration_sec=float(items["duration_sec"][place]) if "duration_sec" in items else 0.0,
        reason=reasons[place] if reasons else "",
        scores={n: float(slate.columns[n][place]) for n in _SHOWN if n in slate.columns},
    )
