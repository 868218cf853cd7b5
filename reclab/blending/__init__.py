"""§2.1 Blending (混合推荐系统): one page from many businesses.

    short video | live | product | ad | image-text | campaign    candidates, each with own scores
                          |
    service.py    calibration.py      score -> probability, a curve for each business
    (pipeline.py)         |
                  currency.py         probability -> expected objectives -> one value
                          |
                  allocation/         which card gets which slot
                          |   fixed_slots  ratio_weave  weighted_sum  exact_page  priced_page
                          |   under allocation/rules.py, at allocation/prices.py
                          |
    page, and what its ads pay: auction.py

Still to come: the Router, the businesses and the RPC between them, lesson 01. This file imports
nothing, so that a process loads only what it serves.
"""
