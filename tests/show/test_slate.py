"""Rules of the feed: everything is on the card, nothing is executed, nothing is fetched."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from reclab.core.errors import ConfigError
from reclab.core.types import Request, Slate
from reclab.show.slate import BUSINESSES, Card, Feed, phone

HOSTILE = "\"'><img src=x onerror=alert(1)><script>alert(1)</script>"
# What JupyterLab keeps of HTML in a notebook that is not trusted, of the tags used here.
SAFE_TAGS = {"section", "p", "ol", "li", "div", "span", "strong", "details", "summary"}


class Tags(HTMLParser):
    """Collects tags and attributes, and checks that tags close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def card() -> Card:
    return Card(
        "Knife skills", 2, ("cooking", "home"), "Anna", 31.4, "because you watched Soup",
        {"rank_score": 0.81249, "p_click": 0.1},
    )  # fmt: skip


def test_a_card_shows_all_that_is_known(card: Card) -> None:
    for form in (str(Feed([card], "Monday")), Feed([card], "Monday").html()):
        for words in ("Monday", "Knife skills", "product", "#cooking #home", "creator Anna",
                      "31 s", "because you watched Soup", "rank_score 0.812"):  # fmt: skip
            assert words in form


def test_scores_are_a_tooltip_and_behind_a_fold_that_the_keyboard_opens(card: Card) -> None:
    html = Feed([card]).html()
    assert 'title="rank_score 0.812 · p_click 0.100"' in html
    assert re.search(r"<details.*<summary.*</summary><div>rank_score 0.812", html)


def test_each_business_has_its_own_colour() -> None:
    html = [Feed([Card("x", b)]).html() for b in range(len(BUSINESSES))]
    assert len({re.search(r"border-left:6px solid (#\w+)", h).group(1) for h in html}) == 6


def test_hostile_text_is_shown_and_not_executed() -> None:
    card = Card(HOSTILE, 0, (HOSTILE,), HOSTILE, 3, HOSTILE, {HOSTILE: 1.0})
    page = Tags(Feed([card], HOSTILE).html())
    assert page.open == [] and page.seen <= SAFE_TAGS
    assert page.attributes <= {"style", "title"}


def test_the_feed_fetches_nothing_and_fixes_no_text_colour(card: Card) -> None:
    html = Feed([card]).html()
    assert not re.search(r"https?:|url\(|<style|<script|<img", html)
    # only the badge, white on its own background, sets a colour for text
    assert re.findall(r"[;\"]color:(#\w+)", html) == ["#ffffff"]


def test_an_empty_slate_says_so() -> None:
    assert "empty" in str(Feed([])) and "empty" in Feed([]).html()


def test_unknown_business_is_an_error() -> None:
    with pytest.raises(ConfigError, match="Card.business must be in 0..5, got 9"):
        Card("x", 9)


def slate() -> Slate:
    columns = {"rank_score": np.array([0.9, 0.4], np.float32), "other": np.zeros(2)}
    return Slate(Request(7, 0), np.array([11, 12]), np.array([3, 5]), columns)


def test_a_slate_becomes_cards_with_what_the_index_has() -> None:
    items = {
        "tags": np.array([[1, -1], [0, 1]]),
        "business": np.array([0, 4], np.int8),
        "author_id": np.array([70, 71]),
        "duration_sec": np.array([15.0, 0.0], np.float32),
    }
    feed = phone(slate(), items, ("music", "cats"), ["popular", "because you watched v9"])
    first, second = feed.cards
    assert first.title == "cats v11" and first.topics == ["cats"] and second.business == 4
    assert first.reason == "popular" and first.creator == "c70"
    assert list(first.scores) == ["rank_score"]
    assert "15 s" in first.facts and " s" not in second.facts


def test_a_slate_without_features_still_shows() -> None:
    feed = phone(slate(), {}, title_of=lambda place: f"row {place}")
    assert [card.title for card in feed.cards] == ["row 0", "row 1"]
    assert feed.cards[0].facts == ""


def test_one_reason_a_card_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="reasons must be one an item, got 1"):
        phone(slate(), {}, reasons=["only one"])
