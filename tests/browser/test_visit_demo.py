"""A reader's visit of the demonstration notebook."""

from tests.browser.visit import Visits


class TestDemo(Visits):
    notebook = "demo/demo.ipynb"
