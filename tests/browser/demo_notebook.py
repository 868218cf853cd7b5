"""Writes demo.ipynb here: executed, and without widget state, the way the lessons are saved."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

from reclab.show.explorer import WIDGET_VIEW

CELLS = (
    "from demo_explorer import DemoExplorer, SlowExplorer\n"
    "import plotly.graph_objects as go\n"
    "from reclab.show import Card, Feed, figure",
    "figure(go.Bar(x=['a', 'b', 'c'], y=[3, 1, 2]), title='At rest', x='group', y='share')",
    "explorer = DemoExplorer()\nexplorer",
    "print(explorer.summary())",
    "Feed([Card(f'Video {i}', i % 6, ('cooking', 'travel'), 'Anna', 31 + i,\n"
    "           'because you watched <b>Knife skills</b>', {'score': 1 / (i + 1)})\n"
    "      for i in range(6)], 'A feed')",
    "from reclab.show.diagram import Box, Diagram\n"
    "Diagram([Box('retrieval', 'reclab/cascade/retrieval/merge.py', 'Merges.', 'keep 1,000'),\n"
    "         Box('ranking', 'reclab/cascade/ranking/din.py', 'Ranks.', 'keep 10')])",
    "slow = SlowExplorer()\nslow",
)

if __name__ == "__main__":
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS])
    nb.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    NotebookClient(nb, timeout=60, store_widget_state=False).execute()
    for output in (output for cell in nb.cells for output in cell.outputs):
        output.get("data", {}).pop(WIDGET_VIEW, None)
    nbformat.write(nb, Path("demo.ipynb"))
