"""Real data sets as the four tables of the chapter: ``load(path)`` looks at the files, recognises
the data set, and returns ``Logs`` with a report of what was read, kept and set aside.

::

    path ──► recognise ──► globo.py · movielens.py · kuairec.py · kuairand.py   (what a file says)
                                        │ readers.py (typed columns, rejected rows)
                                        ▼
                             assemble.py ──► LoadedLogs(users, items, interactions, daily, report)

Reference: datasets/README.md has origin, licence and columns of each.

Simplified: industry has one catalogue of tables and a schema registry; here a data set is
recognised by the names of its files, or by the header of a single file.
"""

from reclab.datasets.recognise import load, recognise
from reclab.datasets.report import LoadedLogs, LoadReport, RejectedRows

__all__ = ["LoadReport", "LoadedLogs", "RejectedRows", "load", "recognise"]
