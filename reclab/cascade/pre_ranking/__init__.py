"""Pre-ranking (粗排): a cheap score that cuts thousands of candidates to hundreds.

    two_tower.py   user vector · precomputed item vectors

A pre-ranker has ``fit(logs, features, until_ms)`` and ``score(batch, candidates) -> (n,)``.
"""
