"""Ranking (精排): a dear model for few candidates, several targets, one score.

    features.py    numbers as of now   (vocabulary.py: codes; past.py: counters)   --+
    training.py    the one loop, with negatives beyond the exposed                   |
    layers.py      embeddings, scales, MLP     ranker.py    the shared contract      |
    fields.py      one vector a field, all numbers, the linear part                  |
    zoo.py         wide_deep  deep_fm  x_deep_fm  dcn      cross the fields          |
                   din  dien  transformer                  read the sequence         |
                   mmoe  ple  (experts.py)                 share among targets       |
    towers.py      two towers, for retrieval and pre-ranking                         |
    targets.py (watch_time.py)     what is learned of an exposure, and its loss      |
    calibration.py                 predictions as large as what they predict         |
    fusion.py      clicks, views, seconds, likes … --> one score                   <-+

A ranker has ``fit(logs, features, until_ms)``, ``predict(batch, candidates) -> {target: (n,)}``,
``save(folder)``, ``load(folder, features)`` and ``macs_per_candidate``.
"""
