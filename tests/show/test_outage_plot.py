"""The plot of an outage: three panels over one axis of seconds."""

import pytest

from reclab.show.labels import label
from reclab.show.outage_plot import outage_plot
from tests.lab.test_outage import small


@pytest.fixture(scope="module")
def plot():
    return outage_plot(small(), 1.0)


def test_value_pool_pages_and_breakers_are_drawn(plot):
    names = [trace.name for trace in plot.data]
    assert names[:3] == [label(n) for n in ("true value", "from the pool", "a page's time")]
    assert plot.data[0].y.tolist() == pytest.approx([1.0, 5 / 6, 1.0, 0.75])
    assert len(plot.data[2].x) == 6


def test_an_open_breaker_is_a_bar_from_when_to_when(plot):
    (bar,) = [trace for trace in plot.data if trace.name == label("breaker open")]
    assert bar.y == ("live (killed)",) and bar.base == (1.2,)
    assert bar.x[0] == pytest.approx(1.3)


def test_phases_are_named_and_the_text_alternative_has_the_numbers(plot):
    words = {note.text for note in plot.layout.annotations}
    assert {"healthy", "broken", "mending", "healthy again", "deadline"} <= words
    assert "value lost" in plot.alt
    bundle = plot._repr_mimebundle_()
    assert len(str(bundle)) < 20_000
