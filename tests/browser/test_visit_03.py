"""A reader's visit of lesson 03."""

from tests.browser.visit import Visits


class TestLesson03(Visits):
    notebook = "notebooks/03_offline_online/03_offline_online.ipynb"
