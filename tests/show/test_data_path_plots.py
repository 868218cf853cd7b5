"""The plot of a data path: three panels over one axis of seconds."""

import numpy as np

from reclab.lab.data_path_watch import Watched
from reclab.show.data_path_plots import data_path_plot
from reclab.show.labels import label


def watched():
    at = np.array([0.0, 0.5, 1.0, 1.5])
    entries = np.array([[0, 0], [10, 20], [np.nan, np.nan], [20, 60]])
    lag = np.array([[0.0], [5.0], [np.nan], [2.0]])
    labels, reports = np.array([0, 8, 8, 18]), np.array([0, 10, 10, 20])
    marks = ((0.9, "killed redis"), (1.2, "restarted redis"))
    return Watched(("features", "events"), ("joiner",), at, entries, lag, labels, reports, marks)


def test_rates_are_entries_a_second_and_nothing_where_nobody_answered():
    seen = watched()
    assert seen.rate[:2].tolist() == [[0, 0], [20, 40]]
    assert np.isnan(seen.rate[2:]).all()
    assert seen.join_rate[1:].tolist() == [0.8, 0.8, 0.9] and np.isnan(seen.join_rate[0])
    assert "90.0%" in seen.table()


def test_rates_lag_and_join_rate_are_drawn_with_what_was_done():
    plot = data_path_plot(watched())
    names = [trace.name for trace in plot.data]
    wanted = ("topic features", "topic events", "group joiner", "join rate")
    assert names == [label(name) for name in wanted]
    assert plot.data[1].y[:2].tolist() == [0, 40]
    words = {note.text for note in plot.layout.annotations}
    assert {"killed redis", "restarted redis"} <= words
    assert len([s for s in plot.layout.shapes if s.x0 == 0.9]) == 3
    assert "restarted redis" in plot.alt and len(str(plot._repr_mimebundle_())) < 30_000
