"""Pre-ranking (粗排): a cheap score that cuts thousands of candidates to hundreds.

    two_tower.py    user vector · precomputed item vectors; from the log, or distilled
    shallow.py      the same vectors also meet in a hidden layer
    three_tower.py  a small third tower for the numbers of the pair
    precision.py    the item vectors in 4, 2 or 1 bytes a number
    duties.py       places kept for the long tail, new items, small creators; category quota

A pre-ranker has ``fit(logs, features, until_ms)`` and ``score(batch, candidates) -> (n,)``.
"""
