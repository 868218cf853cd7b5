"""The exercises of lesson 05, DualRec (§2.5): one file each.

5.1 open_rows     online user pool: whom may an item look for? (replaces ours live)
5.2 regroup       matches by item -> D_u by user, within its room (replaces ours live)
5.3 choose_lambda a boost weight that costs users at most 1 %
5.4 estimate      what a plain user split sees of creators, and what a co-diverted one does
5.5 pace          quota protection: exposures promised, paced over the day's traffic
5.6 lorenz_gini   Lorenz curve and Gini by hand, zeros and ties included
5.7 boost         merge: f + lambda g for the items of D_u (replaces ours live)
"""

from reclab.learn.lesson_05 import (
    boost,
    choose_lambda,
    estimate,
    lorenz_gini,
    open_rows,
    pace,
    regroup,
)

EXERCISES = (
    open_rows.TASK,
    regroup.TASK,
    choose_lambda.TASK,
    estimate.TASK,
    pace.TASK,
    lorenz_gini.TASK,
    boost.TASK,
)
