"""What a reader sees: plots, explorers, the feed on a phone, drawings of live pipelines.

theme     one small look for every plot; figure(), panels()
fusion_explorer  two targets, one weight
labels    words in English or Chinese
controls  sliders with number boxes, switches, choices
explorer  controls + one live figure + summary table, against a pinned baseline
blend_explorer   one day among six businesses, served again at every move
slate     the feed as a phone shows it
diagram   a pipeline's stages, drawn from the live objects
waterfall the calls behind one page of the Router, when they began and how they ended
live      the one FigureWidget, fitted to its box
run_once  a long measurement behind a button, its result kept
readout   the numbers as text and as a table

Only notebooks import this package.
"""

from reclab.show.controls import Check, Choice, Slider
from reclab.show.diagram import diagram
from reclab.show.explorer import Explorer
from reclab.show.labels import add_labels, label
from reclab.show.readout import Row
from reclab.show.slate import Card, Feed, phone
from reclab.show.theme import Series, figure, panels

__all__ = [
    "Card",
    "Check",
    "Choice",
    "Explorer",
    "Feed",
    "Row",
    "Series",
    "Slider",
    "add_labels",
    "diagram",
    "figure",
    "label",
    "panels",
    "phone",
]
