"""The plot of the flywheel: three panels over the days."""

import numpy as np

from reclab.lab.flywheel import Flywheel, FlywheelConfig, Turns
from reclab.show.flywheel_plots import flywheel_plot
from reclab.show.labels import label


def run(quality, waiting):
    columns = {name: np.zeros(len(quality)) for name in Turns.__dataclass_fields__}
    return Turns(**columns | {"quality": np.array(quality), "joiner": np.array(waiting)})


def test_quality_and_what_waits_are_drawn_with_the_stop_shaded():
    config = FlywheelConfig(days=4, stop=1, again=2)
    runs = {
        "all running": run([0.0, 0.1, 0.2, 0.3], [0, 0, 0, 0]),
        "joiner stopped": run([0.0, 0.1, 0.1, 0.3], [0, 50, 0, 0]),
    }
    plot = flywheel_plot(Flywheel(config, runs))
    assert [t.name for t in plot.data if t.showlegend] == [label(name) for name in runs]
    assert plot.data[3].y.tolist() == np.float32(runs["joiner stopped"].quality).tolist()
    assert plot.data[5].y.tolist() == [0, 50, 0, 0]
    assert [(shape.x0, shape.x1) for shape in plot.layout.shapes] == [(1, 2)] * 3
    assert "joiner stopped" in plot.alt and len(str(plot._repr_mimebundle_())) < 30_000
