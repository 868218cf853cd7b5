"""Ranking (精排): a dear model for few candidates, several targets, one score.

    features.py    numbers as of now   (vocabulary.py: codes; past.py: counters)   --+
    training.py    the one loop, with negatives beyond the exposed                   |
    layers.py      embeddings, scales, MLP     ranker.py    the shared contract      |
    din.py         target attention over the behaviour sequence    towers.py         |
    fusion.py      p_click, p_long_view, watch_sec --> one score                   <-+

A ranker has ``fit(logs, features, until_ms)``, ``predict(batch, candidates) -> {target: (n,)}``,
``save(folder)``, ``load(folder, features)`` and ``macs_per_candidate``.
"""
