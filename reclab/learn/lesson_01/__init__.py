"""The exercises of lesson 01, blending (§2.1): one file each.

1.1 weave         ratio weave: the businesses' lists become one (replaces ours live)
1.2 calibrate     calibration: scores that mean what they say (replaces the ads' live)
1.3 page_check    page rules: the gate before a page is shown (beside ours on live pages)
1.4 price_step    dual prices: a price that holds a quota (replaces ours through a day)
1.5 overbidder    auction: who bids above worth?
1.6 vcg_payment   auction: what a slot costs (replaces ours on live pages)
1.7 breaker_size  Router: a breaker that is neither nervous nor patient
1.8 conflict      quotas and rules that cannot be met together
"""

from reclab.learn.lesson_01 import (
    breaker_size,
    calibrate,
    conflict,
    overbidder,
    page_check,
    price_step,
    vcg_payment,
    weave,
)

EXERCISES = (
    weave.TASK,
    calibrate.TASK,
    page_check.TASK,
    price_step.TASK,
    overbidder.TASK,
    vcg_payment.TASK,
    breaker_size.TASK,
    conflict.TASK,
)
