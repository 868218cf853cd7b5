"""A reader's visit of lesson 01."""

from tests.browser.visit import Visits


class TestLesson01(Visits):
    notebook = "notebooks/01_blending/01_blending.ipynb"
