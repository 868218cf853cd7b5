"""The exercises of lesson 04, degradation and DCAF (§2.4): one file each.

4.1 bisection       DCAF: the paper's loop for the price, run, seen to fail, mended
4.2 choose_action   DCAF: the policy executor (replaces ours live)
4.3 pid_step        MaxPower: a set point and a clamped integral (replaces ours in a surge)
4.4 tune            MaxPower: gains that neither swing nor starve
4.5 leftovers       degradation cache: what is handed out, what stays (replaces ours live)
4.6 hysteresis      decision service: a threshold that does not flap (in a loop it changes)
4.7 what_is_hidden  what "a quarter less cost at equal revenue" leaves out
4.8 knowable        which saving may a platform expect?
4.9 refresh_price   DCAF: a price for the traffic of now
"""

from reclab.learn.lesson_04 import (
    bisection,
    choose_action,
    hysteresis,
    knowable,
    leftovers,
    pid_step,
    refresh_price,
    tune,
    what_is_hidden,
)

EXERCISES = (
    bisection.TASK,
    choose_action.TASK,
    pid_step.TASK,
    tune.TASK,
    leftovers.TASK,
    hysteresis.TASK,
    what_is_hidden.TASK,
    knowable.TASK,
    refresh_price.TASK,
)
