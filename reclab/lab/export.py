"""A lesson as one HTML file that opens offline, with its plots and its formulas.

Plots are drawn from the plotly JSON kept in each output, with one copy of plotly.js in the head;
formulas become MathML, which browsers draw by themselves. No script and no style is fetched.

Simplified: live controls need a kernel; the page shows each explorer as it stood when saved.
"""

import copy
import re
from html import escape
from pathlib import Path
from typing import Any

import plotly.io as pio
from jinja2 import pass_context
from latex2mathml import exceptions as latex_errors
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from plotly.offline import get_plotlyjs

PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"

# The stock template loads require.js, MathJax and Mermaid from the net: those blocks are replaced.
_TEMPLATE = """
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js_requirejs -%}<script>{{ resources.plotlyjs }}</script>{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
"""
# `sendChartToCloud` would upload the chart.
_CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "modeBarButtonsToRemove": ["sendChartToCloud", "lasso2d", "select2d"],
}
# The library's errors share no base class of their own.
_BAD_LATEX = tuple(error for error in vars(latex_errors).values() if isinstance(error, type))


def mathml(latex: str, display: str = "inline") -> str:
    r"""One formula as MathML; one that cannot be read stays as its LaTeX source.

    >>> mathml(r"\lambda").startswith("<math")
    True
    >>> mathml(r"\frac{")
    '<code>\\frac{</code>'
    """
    try:
        return convert(latex, display=display)
    except _BAD_LATEX:
        return f"<code>{escape(latex)}</code>"


class _Renderer(IPythonRenderer):
    def block_math(self, body: str) -> str:
        return mathml(body, "block")

    def inline_math(self, body: str) -> str:
        return mathml(body)

    def latex_environment(self, name: str, body: str) -> str:
        return mathml(rf"\begin{{{name}}}{body}\end{{{name}}}", "block")


class _Exporter(HTMLExporter):
    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        attachments = context.get("cell", {}).get("attachments", {})
        renderer = _Renderer(escape=False, attachments=attachments)
        return MarkdownWithMath(renderer=renderer).render(source)

    def default_filters(self) -> Any:
        yield from super().default_filters()
        yield ("markdown2html", self.markdown2html)


def _draw(figure: dict[str, Any], div_id: str) -> str:
    config = {**_CONFIG, **figure.get("config", {})}
    body = {key: figure[key] for key in ("data", "layout", "frames") if key in figure}
    return pio.to_html(
        body, config, include_plotlyjs=False, full_html=False, validate=False, div_id=div_id
    )


def to_html(nb: NotebookNode, title: str) -> str:
    """The whole page. ``nb`` is left as it is."""
    nb = copy.deepcopy(nb)
    nb.metadata.pop("widgets", None)
    nb.metadata.title = title
    for i, cell in enumerate(nb.cells):
        for j, output in enumerate(cell.get("outputs", [])):
            data = output.get("data", {})
            data.pop(WIDGET, None)
            if PLOTLY in data:
                data["text/html"] = _draw(data.pop(PLOTLY), f"plot-{i}-{j}")
    exporter = _Exporter(raw_template=_TEMPLATE, embed_images=True)
    resources = {"plotlyjs": get_plotlyjs(), "metadata": {"name": title}}
    return exporter.from_notebook_node(nb, resources)[0]


def fetched(page: str) -> list[str]:
    """Addresses that the page would fetch on opening; empty for a self-contained page.

    >>> fetched('<script src="https://x.example/a.js"></script><a href="https://y.example">y</a>')
    ['https://x.example/a.js']
    """
    return re.findall(r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=\"(https?:[^\"]+)\"", page)


def write(nb: NotebookNode, path: Path, title: str) -> None:
    """Write the page to ``path``; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_html(nb, title), encoding="utf-8")
