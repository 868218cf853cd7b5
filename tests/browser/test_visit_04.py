"""A reader's visit of lesson 04."""

from tests.browser.visit import Visits


class TestLesson04(Visits):
    notebook = "notebooks/04_degradation_dcaf/04_degradation_dcaf.ipynb"
