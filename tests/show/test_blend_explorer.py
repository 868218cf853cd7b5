"""The control room of lesson 01 at the smoke scale: what it draws is what the panel serves."""

from time import process_time

import numpy as np
import pytest

from reclab.blending.allocation import BUSINESSES
from reclab.lab.blend_panel import BlendKnobs
from reclab.show.blend_explorer import BlendExplorer

N = 60


@pytest.fixture(scope="module")
def explorer(lab):
    return BlendExplorer(lab, N)


@pytest.fixture(autouse=True)
def as_it_opens(explorer):
    explorer.reset()


def now(explorer, name):
    return explorer.figure.data[explorer.index[name][0]]


def pinned(explorer, name):
    return explorer.figure.data[explorer.index[name][1]]


MOVES = {
    "revenue": 4.0,
    "satisfaction": 10.0,
    "load": 0,
    "gap": 5,
    "quota": 0.1,
    "deadline_ms": 1.0,
}


@pytest.mark.parametrize("name", [*MOVES, "request"])
def test_every_knob_changes_what_is_drawn(explorer, name):
    def drawn():
        shown = (now(explorer, one) for one in explorer.index)
        return [np.array([*t.x, *t.y], object).tolist() for t in shown]

    before, start = drawn(), process_time()
    explorer.set(**{name: {**MOVES, "request": 3}[name]})
    print(f"{name}: {1e3 * (process_time() - start):.0f} ms of compute and drawing")
    assert str(drawn()) != str(before)


def test_the_point_is_the_panels_own_and_the_baseline_stays(explorer):
    start = explorer.result.day
    explorer.set(revenue=4.0, load=3)
    told = explorer.panel.serve(BlendKnobs(revenue=4.0, load=3))
    assert (now(explorer, "here").x[0], now(explorer, "here").y[0]) == tuple(told.three[:2])
    assert pinned(explorer, "here").x[0] == start.three[0]
    assert now(explorer, "share").y == pytest.approx(told.share)


def test_another_request_serves_no_day_again(explorer):
    day = explorer.result.day
    assert explorer.set(request=3).result.day is day


def test_a_tight_deadline_is_seen_on_the_phone_and_not_in_the_compared_text(explorer):
    assert "minutes a session" in explorer.summary()
    explorer.set(deadline_ms=1.0)
    assert "not waited for: short video" in explorer.phone().heading
    assert "minutes a session" not in explorer.summary()
    assert "minutes a session" in explorer._table.value


def test_the_phone_shows_the_page_and_how_cards_moved(explorer):
    pages = explorer.result.day.served.pages
    feed = explorer.phone()
    code = explorer.panel.pool.candidates["business"]
    row = explorer.result.row
    assert [card.business for card in feed.cards] == code[pages[row]].tolist()
    assert "= watch" in feed.cards[0].reason and "★" not in str(feed)
    explorer.set(revenue=0.0, load=0)
    assert any(mark in str(explorer.phone()) for mark in "★▲▼")
    assert explorer.phone().html() == explorer.page.value


def test_labels_are_in_the_readers_language(lab, monkeypatch):
    monkeypatch.setenv("RECLAB_LANG", "zh")
    other = BlendExplorer(lab, N)
    assert "收入权重" in other.summary() and len(other.panel) == N
    assert other.figure.data[other.index[BUSINESSES[1]][0]].name == "直播"
