"""A reader's visit of lesson 02."""

from tests.browser.visit import Visits


class TestLesson02(Visits):
    notebook = "notebooks/02_cascade/02_cascade.ipynb"
